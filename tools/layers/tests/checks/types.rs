// SPDX-License-Identifier: GPL-2.0
//! Names that stand for several types.

use crate::tree::Tree;

/// A tree with two files.
fn two(a: &str, b: &str) -> Tree {
    Tree::new("mod a; mod b;")
        .file_room(1, "a.rs", a)
        .file_room(1, "b.rs", b)
}

#[test]
fn each_kind_of_type_is_found() {
    for text in [
        "struct T;",
        "enum T {}",
        "union T { a: u32 }",
        "trait T {}",
        "type T = u32;",
        "mod inner { struct T; }",
    ] {
        two("struct T;", &format!("\n{text}"))
            .finds(&["rust_vfio/b.rs:2: `T` is also a type in rust_vfio/a.rs:1"]);
    }
}

#[test]
fn both_modules_have_the_same_names() {
    Tree::new("mod a;")
        .file_room(1, "a.rs", "struct T;")
        .file("rust_type1.rs", "mod bindings; struct T;")
        .finds(&["rust_vfio/rust_type1.rs:1: `T` is also a type in rust_vfio/a.rs:1"]);
}

#[test]
fn the_crate_for_drivers_has_names_of_its_own() {
    let tree = Tree::new("mod a;")
        .file_room(1, "a.rs", "struct T;")
        .file("rust_driver.rs", "mod bindings; mod b; struct T;")
        .file("b.rs", "")
        .driver_room(1, "`b.rs`");
    tree.clone().is_fine();
    tree.file("b.rs", "struct T;")
        .finds(&["rust_vfio/rust_driver.rs:1: `T` is also a type in rust_vfio/b.rs:1"]);
}

#[test]
fn a_file_of_both_modules_defines_its_types_once() {
    Tree::new("mod a;")
        .file("rust_type1.rs", "mod bindings; mod a;")
        .file_room(1, "a.rs", "struct T;")
        .type1_room(1, "`a.rs`")
        .is_fine();
}

#[test]
fn other_things_may_have_the_same_name() {
    two(
        "struct T;",
        "fn T() {}\nuse kernel::T;\nimpl S { type T = u32; }",
    )
    .is_fine();
    two("struct T;", "fn f() { struct T; }").is_fine();
    two("struct T;", "#[cfg(test)]\nmod tests { struct T; }").is_fine();
    two("struct T;", "#[cfg(test)]\nstruct T;").is_fine();
}

#[test]
fn definitions_may_exclude_each_other() {
    two("#[cfg(A)] struct T;", "#[cfg(not(A))] struct T;").is_fine();
    two(
        "#![cfg(A)]\nstruct T;",
        "#[cfg(not(any(A, B)))] mod m { struct T; }",
    )
    .is_fine();
    two("#[cfg(A)] struct T;", "#[cfg(B)] struct T;").finds(&["rust_vfio/b.rs:1: `T` is also"]);
    Tree::new("#[cfg(A)] mod a; #[cfg(not(A))] #[path = \"b.rs\"] mod a;")
        .file_room(1, "a.rs", "struct T;")
        .file_room(1, "b.rs", "struct T;")
        .is_fine();
}

#[test]
fn the_table_allows_several_in_the_files_that_it_names() {
    let tree = two("struct T;", "struct T;").twice("T", "`a.rs`, `b.rs`");
    tree.is_fine();
    tree.file("a.rs", "struct T;\nmod m;")
        .file_room(1, "a/m.rs", "struct T;")
        .finds(&[
            "rust_vfio/a/m.rs:1: `T` is also a type in rust_vfio/a.rs:1",
            "rust_vfio/b.rs:1: `T` is also a type in rust_vfio/a/m.rs:1",
        ]);
}

#[test]
fn the_table_allows_nothing_that_is_not_there() {
    two("struct T;", "struct U;")
        .twice("T", "`a.rs`, `b.rs`")
        .twice("V", "`a.rs`")
        .finds(&[
            "docs/architecture.md:27: `a.rs` has no `T` of which there is a second one",
            "docs/architecture.md:27: `b.rs` has no `T` of which there is a second one",
            "docs/architecture.md:28: `a.rs` has no `V` of which there is a second one",
        ]);
}
