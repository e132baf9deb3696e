// SPDX-License-Identifier: GPL-2.0
//! Raw bindings and `unsafe` outside of the rooms that are marked for them.

use crate::tree::Tree;

#[test]
fn raw_bindings_are_for_marked_rooms() {
    for (text, what) in [
        ("use crate::bindings;", "crate::bindings`"),
        ("use super::bindings::{file};", "super::bindings::file`"),
        ("use crate::bindings::*;", "crate::bindings::*`"),
        ("use kernel::bindings;", "kernel::bindings`"),
        ("use vfio_bindings as b;", "vfio_bindings`"),
        (
            "fn f(_: *mut ::kernel::bindings::file) {}",
            "::kernel::bindings::file`",
        ),
        (
            "fn f() { m!(crate::bindings::kfree(p)); }",
            "crate::bindings::kfree`",
        ),
        (
            "use crate::bindings::file; fn f() { crate::bindings::kfree() }",
            "crate::bindings::file` (the first of 2 places)",
        ),
    ] {
        let tree = Tree::new("mod a;").file("a.rs", text);
        tree.clone().room(1, "`a.rs`").finds(&[&format!(
            "rust_vfio/a.rs:1: `a.rs` is not marked `raw`, but names raw bindings: `{what}"
        )]);
        tree.marked_room(1, "`a.rs`", "[raw] has them").is_fine();
    }
}

#[test]
fn what_a_wrapper_passes_on_is_not_raw() {
    Tree::new("mod uapi; mod a;")
        .file("uapi.rs", "pub(crate) use crate::bindings::info as Info;")
        .marked_room(1, "`uapi.rs`", "[raw]")
        .file_room(
            2,
            "a.rs",
            "use crate::uapi::Info;\nfn f() { Info::default(); }",
        )
        .is_fine();
}

/// A file that makes a thousand lines with those of the roots, of which some are unsafe.
fn file(unsafes: usize) -> String {
    let comments = "// unsafe\n\n".repeat(300);
    let lines = "fn f() {}\n".repeat(397 - unsafes);
    format!(
        "{comments}{}{lines}",
        "fn g() { unsafe { h() } }\n".repeat(unsafes)
    )
}

#[test]
fn few_unsafe_sites_are_allowed() {
    let tree = Tree::new("mod a;").room(1, "`a.rs`").file("a.rs", &file(3));
    tree.is_fine();
    assert_eq!(
        tree.report().1.last().map(String::as_str),
        Some(
            "3 unsafe sites in 1000 lines outside of rooms marked `unsafe`: \
             0.30 per 100, 0.30 at most"
        )
    );
}

#[test]
fn too_many_unsafe_sites_are_found() {
    let tree = Tree::new("mod a;").room(1, "`a.rs`").file("a.rs", &file(4));
    tree.finds(&[
        "rust_vfio/a.rs:601: 4 of the 4 unsafe sites outside of rooms marked `unsafe`, \
                  in lines [601, 602, 603, 604]",
    ]);
    assert!(tree.report().1.last().unwrap().contains("0.40 per 100"));
}

#[test]
fn marked_rooms_are_not_counted() {
    let tree = Tree::new("mod a;").file("a.rs", "unsafe fn f() {}");
    tree.clone()
        .room(1, "`a.rs`")
        .finds(&["rust_vfio/a.rs:1: 1 of the 1 unsafe sites"]);
    let tree = tree.marked_room(1, "`a.rs`", "[unsafe]");
    tree.is_fine();
    assert!(tree
        .report()
        .1
        .last()
        .unwrap()
        .starts_with("0 unsafe sites in 3 lines"));
}
