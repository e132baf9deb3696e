// SPDX-License-Identifier: GPL-2.0
//! Which file a module is, and what names mean.

use crate::tree::Tree;

/// Checks which of these files a file uses.
fn uses(tree: Tree, file: &str, wanted: &[&str]) {
    // All files are rooms of layer 1, so that each use is a finding.
    let found = tree.report().0;
    let start = format!("rust_vfio/{file}:");
    let uses: Vec<_> = found
        .iter()
        .filter(|finding| finding.starts_with(&start))
        .filter_map(|finding| finding.split(" uses ").nth(1)?.split(' ').next())
        .collect();
    assert_eq!(uses, wanted, "{found:#?}");
}

fn tree(root: &str, files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new(root);
    for (file, text) in files {
        tree = tree.file_room(1, file, text);
    }
    tree
}

#[test]
fn files_of_modules_are_where_the_compiler_looks() {
    let thing = "pub(crate) struct Thing;";
    let root = "mod user; mod a; mod inline { mod b; #[path = \"c.rs\"] mod d; \
                #[path = \"x\"] mod e { mod f; } } #[path = \"odd/g.rs\"] mod g;";
    let user = "use crate::{a::inner::h::T1, inline::b::T2, inline::d::T3, inline::e::f::T4, \
                g::i::T5, g::j::T6};";
    let files = [
        ("user.rs", user),
        ("a.rs", "mod inner { mod h; }"),
        ("a/inner/h.rs", thing),
        ("inline/b.rs", thing),
        ("inline/c.rs", thing),
        ("inline/x/f.rs", thing),
        ("odd/g.rs", "mod i; #[path = \"../odd/k.rs\"] mod j;"),
        ("odd/i.rs", thing),
        ("odd/k.rs", thing),
    ];
    let wanted = [
        "a/inner/h.rs",
        "inline/b.rs",
        "inline/c.rs",
        "inline/x/f.rs",
        "odd/i.rs",
        "odd/k.rs",
    ];
    uses(tree(root, &files), "user.rs", &wanted);
}

#[test]
fn names_that_were_imported_lead_on() {
    let files = [
        (
            "user.rs",
            "use crate::{a::{self}};\nuse a::b as c;\nfn f() { c::Thing::new(); a::d::g(); }",
        ),
        ("a.rs", "pub(crate) mod b; pub(crate) mod d;"),
        ("a/b.rs", "pub(crate) struct Thing;"),
        ("a/d.rs", "pub(crate) fn g() {}"),
    ];
    uses(
        tree("mod user; mod a;", &files),
        "user.rs",
        &["a/b.rs", "a/d.rs"],
    );
}

#[test]
fn re_exports_are_followed_to_the_end() {
    let files = [
        ("user.rs", "use crate::a::{One, Two, Three, g};"),
        ("a.rs", "mod b; pub(crate) use b::{Renamed as One, *};"),
        (
            "a/b.rs",
            "pub(crate) use crate::c::Thing as Renamed; pub(crate) use crate::d::*; \
                    pub(crate) fn g() {}",
        ),
        ("c.rs", "pub(crate) struct Thing;"),
        (
            "d.rs",
            "pub(crate) struct Two; pub(crate) use crate::e::Three;",
        ),
        ("e.rs", "pub(crate) struct Three;"),
    ];
    let tree = tree("mod user; mod a; mod c; mod d; mod e;", &files);
    // a.rs and a/b.rs by their names, the others by what they define.
    uses(tree, "user.rs", &["a.rs", "a/b.rs", "c.rs", "d.rs", "e.rs"]);
}

#[test]
fn a_use_in_a_block_is_not_seen_from_outside() {
    let files = [
        ("user.rs", "fn f() { crate::a::Thing; }"),
        ("a.rs", "fn g() { use crate::b::Thing; }"),
        ("b.rs", "pub(crate) struct Thing;"),
    ];
    uses(
        tree("mod user; mod a; mod b;", &files),
        "user.rs",
        &["a.rs"],
    );
}

#[test]
fn a_library_is_no_module_of_the_same_name() {
    let files = [
        (
            "user.rs",
            "mod child;\nfn f() { ::child::Thing; m!(::child::Thing::new()); }",
        ),
        ("user/child.rs", "pub(crate) struct Thing;"),
    ];
    uses(tree("mod user;", &files), "user.rs", &[]);
}

#[test]
fn everything_of_a_parent_includes_its_own_imports() {
    let files = [
        (
            "a.rs",
            "mod child; use crate::b::Thing; struct Own; fn f() { use crate::c::Other; }",
        ),
        ("a/child.rs", "use super::*;"),
        ("b.rs", "pub(crate) struct Thing;"),
        ("c.rs", "pub(crate) struct Other;"),
    ];
    uses(
        tree("mod a; mod b; mod c;", &files),
        "a/child.rs",
        &["a.rs", "b.rs"],
    );
}

#[test]
fn macros_are_found_by_their_names_alone() {
    let files = [
        ("a.rs", "#[macro_use] mod defines; mod hides; mod user;"),
        ("a/defines.rs", "macro_rules! export { () => {} }"),
        ("a/hides.rs", "macro_rules! export { () => {} }"),
        ("a/user.rs", "export!();\nfn f() { other!(export!()); }"),
    ];
    uses(tree("mod a;", &files), "a/user.rs", &["a/defines.rs"]);
}

#[test]
fn methods_in_another_file_than_their_type_are_found() {
    let extension = "use crate::state::State; impl State { pub(crate) fn map(&self) {} } \
                     impl kernel::Trait for State { fn of_trait(&self) {} }";
    let state = "pub(crate) struct State;\nimpl State { pub(crate) fn get(&self) {} }";
    for (user, wanted) in [
        ("fn f(s: &S) { s.map() }", &["map.rs"][..]),
        ("fn f(s: &S) { m!(s.map()) }", &["map.rs"]),
        (
            "fn f() { crate::state::State::map() }",
            &["map.rs", "state.rs"],
        ),
        ("impl S { fn f() { Self::map() } }", &["map.rs"]),
        // A field, a method where the type is, and a name of a library.
        ("fn f(s: &S) { s.map; s.get(); kernel::S::map() }", &[]),
        ("fn f() { other::map() }\nmod other {}", &[]),
        // A trait may be below whoever implements it.
        ("fn f(s: &S) { s.of_trait() }", &[]),
        // Two of them: nobody can tell which it is.
        ("impl S { fn map(&self) {} } fn f(s: &S) { s.map() }", &[]),
        ("trait T { fn map(&self); } fn f(s: &S) { s.map() }", &[]),
    ] {
        let files = [
            ("state.rs", state),
            ("map.rs", extension),
            ("user.rs", user),
        ];
        uses(
            tree("mod state; mod map; mod user;", &files),
            "user.rs",
            wanted,
        );
    }
}

#[test]
fn circles_of_re_exports_end() {
    let files = [
        (
            "a.rs",
            "pub(crate) use crate::b::*; pub(crate) use crate::b::X;",
        ),
        (
            "b.rs",
            "pub(crate) use crate::a::*; pub(crate) use crate::a::X;",
        ),
        ("user.rs", "use crate::a::X;"),
    ];
    uses(
        tree("mod a; mod b; mod user;", &files),
        "user.rs",
        &["a.rs", "b.rs"],
    );
}

/// Returns the error for a tree with this root of `vfio.ko`.
fn error(root: &str) -> String {
    let top = tempfile::tempdir().unwrap();
    let table = "\n\n| Layer | Room | Files | What it is |\n|-|-|-|-|\n| 0 | a | `a` | |\n\n";
    let document = format!(
        "<!-- layers: begin -->\n`vfio.ko`{table}`vfio_iommu_type1.ko`{table}\
         `vfio`{table}<!-- layers: end -->\n"
    );
    for (path, text) in [
        ("docs/architecture.md", &*document),
        ("rust_vfio/rust_vfio.rs", root),
        ("rust_vfio/rust_type1.rs", ""),
        ("rust_vfio/rust_driver.rs", ""),
    ] {
        let path = top.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    format!("{:#}", layers::check(top.path()).unwrap_err())
}

#[test]
fn what_cannot_be_followed_is_an_error() {
    for (root, wanted) in [
        (
            "\nmod gone;",
            "rust_vfio/rust_vfio.rs:2: mod gone: rust_vfio/gone.rs is not there",
        ),
        (
            "\n#[path = \"../out.rs\"]\nmod out;",
            "rust_vfio/rust_vfio.rs:3: mod out: ../out.rs is outside of rust_vfio/",
        ),
        (
            "#[cfg_attr(A, path = \"b.rs\")] mod a;",
            "rust_vfio/rust_vfio.rs:1: mod a: cfg_attr with a path is not supported: \
             use two mod items",
        ),
        ("\nfn f() -> {}", "rust_vfio/rust_vfio.rs:2: expected"),
        ("\n\n}", "rust_vfio/rust_vfio.rs:3: "),
    ] {
        let error = error(root);
        assert!(error.starts_with(wanted), "{root}: {error}");
    }
}
