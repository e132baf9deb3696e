// SPDX-License-Identifier: GPL-2.0
//! A tree of a few files, and what the check says about it.

use std::{collections::BTreeMap, fs};

/// The rooms that all trees have. The bindings are marked, the other rooms are not.
const ROOMS: &str = "| 0 | bindings | `bindings.rs` | [raw, unsafe] |\n";

/// A tree under construction: a crate `vfio.ko` with the files of a test, and the crates
/// `vfio_iommu_type1.ko` and `vfio` in which there is nothing unless a test puts it there.
#[derive(Clone)]
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
    core: String,
    type1: String,
    driver: String,
    twice: String,
}

impl Tree {
    /// A tree with this root of `vfio.ko`, in layer 9. Rooms in lower layers are what comes next.
    pub(crate) fn new(root: &str) -> Self {
        let tree = Self {
            files: BTreeMap::new(),
            core: format!("{ROOMS}| 9 | root | `rust_vfio.rs` | |\n"),
            type1: format!("{ROOMS}| 9 | root | `rust_type1.rs` | |\n"),
            driver: format!("{ROOMS}| 9 | root | `rust_driver.rs` | |\n"),
            twice: String::new(),
        };
        tree.file("rust_vfio.rs", &format!("mod bindings; {root}"))
            .file("rust_type1.rs", "mod bindings;")
            .file("rust_driver.rs", "mod bindings;")
            .file("bindings.rs", "pub(crate) use vfio_bindings::*;")
    }

    /// Adds or replaces a file below `rust_vfio/`.
    pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.to_owned(), text.to_owned());
        self
    }

    /// Adds a room of `vfio.ko`: its layer, and its files in backquotes. It is called after them.
    pub(crate) fn room(self, layer: u32, files: &str) -> Self {
        self.marked_room(layer, files, "")
    }

    /// Adds a room with marks.
    pub(crate) fn marked_room(mut self, layer: u32, files: &str, marks: &str) -> Self {
        let name = files.replace('`', "");
        self.core += &format!("| {layer} | {name} | {files} | {marks} |\n");
        self
    }

    /// Adds a file that is a room of its own.
    pub(crate) fn file_room(self, layer: u32, path: &str, text: &str) -> Self {
        self.room(layer, &format!("`{path}`")).file(path, text)
    }

    /// Adds a room of `vfio_iommu_type1.ko`.
    pub(crate) fn type1_room(mut self, layer: u32, files: &str) -> Self {
        self.type1 += &format!("| {layer} | type1 | {files} | |\n");
        self
    }

    /// Adds a room of `vfio`, the crate for drivers.
    pub(crate) fn driver_room(mut self, layer: u32, files: &str) -> Self {
        self.driver += &format!("| {layer} | driver | {files} | |\n");
        self
    }

    /// Allows a name for several types.
    pub(crate) fn twice(mut self, name: &str, files: &str) -> Self {
        self.twice += &format!("| `{name}` | {files} | a reason |\n");
        self
    }

    /// Writes the tree and checks it. Returns the findings as they are printed, and the summary.
    pub(crate) fn report(&self) -> (Vec<String>, Vec<String>) {
        let top = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = top.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (path, text) in &self.files {
            write(&format!("rust_vfio/{path}"), text);
        }
        let header = "| Layer | Room | Files | What it is |\n|---|---|---|---|\n";
        let Self {
            core,
            type1,
            driver,
            twice,
            ..
        } = self;
        write(
            "docs/architecture.md",
            &format!(
                "<!-- layers: begin -->\n`vfio.ko`:\n\n{header}{core}\n\
                 `vfio_iommu_type1.ko`:\n\n{header}{type1}\n\
                 `vfio`:\n\n{header}{driver}\n\
                 | Name | Files | Why there are several |\n|---|---|---|\n{twice}\n\
                 <!-- layers: end -->\n"
            ),
        );
        let report = layers::check(top.path()).unwrap();
        let findings = report.findings.iter().map(ToString::to_string).collect();
        (findings, report.summary)
    }

    /// Checks that nothing is found.
    pub(crate) fn is_fine(&self) {
        assert_eq!(self.report().0, [""; 0]);
    }

    /// Checks that there is one finding for each of these, in their order, which it begins with.
    pub(crate) fn finds(&self, wanted: &[&str]) {
        let found = self.report().0;
        let same =
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(f, w)| f.starts_with(w));
        assert!(same, "found: {found:#?}\nwanted: {wanted:#?}");
    }
}
