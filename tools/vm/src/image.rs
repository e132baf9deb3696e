// SPDX-License-Identifier: GPL-2.0
//! The initramfs: static programs, busybox among them, the kernel modules and
//! the init script, packed into one uncompressed cpio archive.
//!
//! Guest layout: programs in `/bin`, the kernel's modules flat in `/modules`
//! with its two VFIO modules in `/modules/c`, ours in `/modules/rust`, and the
//! kernel's configuration in `/boot/config`.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{bail, Context, Result};
use cpio::newc;

/// The two modules that exist twice.
const TWINS: [&str; 2] = ["vfio.ko", "vfio_iommu_type1.ko"];
const INIT: &str = include_str!("../guest/init.sh");
const DIR: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// An initramfs under construction.
pub(crate) struct Image {
    out: BufWriter<File>,
    dirs: BTreeSet<PathBuf>,
    /// Which of [`TWINS`] the kernel has.
    twins: BTreeSet<&'static str>,
    next_inode: u32,
}

impl Image {
    /// Starts an archive that already holds the init script, for which busybox has to
    /// come with the programs.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        let mut image = Self {
            out: BufWriter::new(file),
            dirs: BTreeSet::new(),
            twins: BTreeSet::new(),
            next_inode: 1,
        };
        image.bytes("/init", INIT.as_bytes())?;
        // The shell that runs init itself; init links the other names.
        image.link("/bin/sh", "busybox")?;
        image.dir(Path::new("/modules"))?;
        image.device("/dev/console", 5, 1)?;
        Ok(image)
    }

    /// Adds a file of the host.
    pub(crate) fn file(&mut self, guest: &str, host: &Path) -> Result<()> {
        let data = fs::read(host).with_context(|| format!("read {}", host.display()))?;
        self.bytes(guest, &data)
    }

    /// Adds an executable file with this content.
    pub(crate) fn bytes(&mut self, guest: &str, data: &[u8]) -> Result<()> {
        self.parents(guest)?;
        let entry = self.entry(guest).mode(PROGRAM);
        self.put(entry, data)
    }

    /// Adds every module that a kernel build tree lists in `modules.order`; the
    /// list may name files of another tree.
    pub(crate) fn kernel_modules(&mut self, tree: &Path) -> Result<()> {
        let order = tree.join("modules.order");
        let list =
            fs::read_to_string(&order).with_context(|| format!("read {}", order.display()))?;
        for line in list.lines() {
            // The list names the object files that the modules are linked from.
            let module = tree.join(line).with_extension("ko");
            let name = file_name(&module)?;
            let twin = TWINS.into_iter().find(|twin| *twin == name);
            let dir = if twin.is_some() { "c/" } else { "" };
            self.twins.extend(twin);
            self.file(&format!("/modules/{dir}{name}"), &module)?;
        }
        Ok(())
    }

    /// Adds our modules: a twin of each that the kernel has, and anything else
    /// built beside them.
    pub(crate) fn rust_modules(&mut self, dir: &Path) -> Result<()> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
            let path = entry?.path();
            if path.extension().is_none_or(|e| e != "ko") {
                continue;
            }
            let name = file_name(&path)?;
            let twin = TWINS.into_iter().find(|twin| *twin == name);
            let place = if twin.is_some() { "rust/" } else { "" };
            found.extend(twin);
            self.file(&format!("/modules/{place}{name}"), &path)?;
        }
        // A kernel may be configured without the backend, but not we alone.
        if found != self.twins {
            bail!(
                "{} holds {found:?}, but the kernel has {:?}",
                dir.display(),
                self.twins
            );
        }
        Ok(())
    }

    /// Adds the programs of a directory.
    pub(crate) fn programs(&mut self, dir: &Path) -> Result<()> {
        for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
            let path = entry?.path();
            // Cargo and make keep more than programs in these places.
            if path.is_file() && path.extension().is_none_or(|e| e != "d" && e != "o") {
                self.file(&format!("/bin/{}", file_name(&path)?), &path)?;
            }
        }
        Ok(())
    }

    /// Writes the end mark and closes the file.
    pub(crate) fn finish(self) -> Result<()> {
        newc::trailer(self.out)?.flush()?;
        Ok(())
    }

    fn link(&mut self, guest: &str, target: &str) -> Result<()> {
        self.parents(guest)?;
        let entry = self.entry(guest).mode(0o120_777);
        self.put(entry, target.as_bytes())
    }

    fn device(&mut self, guest: &str, major: u32, minor: u32) -> Result<()> {
        self.parents(guest)?;
        let entry = self.entry(guest).mode(0o020_600);
        self.put(entry.rdev_major(major).rdev_minor(minor), &[])
    }

    fn parents(&mut self, guest: &str) -> Result<()> {
        match Path::new(guest).parent() {
            Some(parent) => self.dir(parent),
            None => Ok(()),
        }
    }

    fn dir(&mut self, guest: &Path) -> Result<()> {
        if guest == Path::new("/") || !self.dirs.insert(guest.to_path_buf()) {
            return Ok(());
        }
        if let Some(parent) = guest.parent() {
            self.dir(parent)?;
        }
        let entry = self.entry(&guest.to_string_lossy()).mode(DIR);
        self.put(entry, &[])
    }

    fn entry(&mut self, guest: &str) -> newc::Builder {
        // Distinct inode numbers, or the kernel takes the files for hard links.
        self.next_inode += 1;
        newc::Builder::new(guest.trim_start_matches('/'))
            .ino(self.next_inode)
            .nlink(1)
    }

    fn put(&mut self, entry: newc::Builder, data: &[u8]) -> Result<()> {
        let mut writer = entry.write(&mut self.out, u32::try_from(data.len())?);
        writer.write_all(data)?;
        writer.finish()?;
        Ok(())
    }
}

/// The last part of a path, as text.
pub(crate) fn file_name(path: &Path) -> Result<&str> {
    path.file_name()
        .and_then(|name| name.to_str())
        .with_context(|| format!("{} has no usable file name", path.display()))
}
