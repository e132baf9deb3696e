// SPDX-License-Identifier: GPL-2.0
//! Files without a room, and rooms without files.

use crate::tree::Tree;

#[test]
fn a_file_needs_a_room() {
    let tree = Tree::new("mod a;").file("a.rs", "").file("b/c.h", "");
    tree.clone().finds(&[
        "rust_vfio/a.rs:1: this file is in no room",
        "rust_vfio/b/c.h:1: this file is in no room",
    ]);
    tree.room(1, "`a.rs`, `b/`").is_fine();
}

#[test]
fn what_a_build_leaves_behind_needs_none() {
    Tree::new("")
        .file("rust_vfio.o", "")
        .file(".rust_vfio.o.cmd", "")
        .file("vfio.mod.c", "")
        .file("bindings_generated.rs", "not even Rust")
        .is_fine();
}

#[test]
fn a_room_needs_files() {
    Tree::new("mod a;")
        .file("a.rs", "")
        .room(1, "`a.rs`, `a/`")
        .room(2, "`b.rs`")
        .finds(&[
            "docs/architecture.md:8: room `a.rs, a/`: `a/` is no file's place",
            "docs/architecture.md:9: room `b.rs`: `b.rs` is no file's place",
        ]);
}

#[test]
fn a_file_needs_a_room_of_each_module_that_it_is_part_of() {
    let tree = Tree::new("mod a;")
        .file("rust_type1.rs", "mod bindings; mod a;")
        .file_room(1, "a.rs", "");
    tree.clone().finds(&[
        "rust_vfio/a.rs:1: this file is part of vfio_iommu_type1.ko, but in no room of it",
    ]);
    tree.type1_room(1, "`a.rs`").is_fine();
}

#[test]
fn a_file_that_no_module_is_made_of_is_found() {
    Tree::new("")
        .file_room(1, "a.rs", "")
        .file_room(1, "low/vfio_bindings.rs", "")
        .finds(&["rust_vfio/a.rs:1: no `mod` leads to this file, so it is not checked"]);
}
