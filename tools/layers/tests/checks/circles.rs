// SPDX-License-Identifier: GPL-2.0
//! Circles of files, also inside of a room.

use crate::tree::Tree;

#[test]
fn a_circle_is_found_and_shown() {
    let tree = Tree::new("mod room;")
        .room(1, "`room.rs`, `room/`")
        .file("room.rs", "mod a; mod b; mod c; mod aside;")
        .file("room/a.rs", "\npub(super) struct A(super::b::B);")
        .file("room/b.rs", "use super::c::C;\npub(super) struct B(C);")
        .file(
            "room/c.rs",
            "\n\nuse crate::room::{a::A}; pub(super) struct C(A);",
        )
        .file("room/aside.rs", "use super::a::A;");
    let found = tree.report().0;
    assert_eq!(
        found,
        [
            "rust_vfio/room/a.rs:2: a circle of 3 files, of 3 that use each other in circles\n    \
          room/a.rs:2 uses room/b.rs: `super::b::B`\n    \
          room/b.rs:1 uses room/c.rs: `super::c::C`\n    \
          room/c.rs:3 uses room/a.rs: `crate::room::a::A`"
        ]
    );
}

#[test]
fn every_file_of_a_knot_is_in_a_circle_that_is_shown() {
    Tree::new("mod a; mod b; mod c;")
        .room(1, "`a.rs`, `b.rs`, `c.rs`")
        .file("a.rs", "use crate::{b::B, c::C}; pub(crate) struct A;")
        .file("b.rs", "use crate::a::A; pub(crate) struct B;")
        .file("c.rs", "use crate::a::A; pub(crate) struct C;")
        .finds(&[
            "rust_vfio/a.rs:1: a circle of 2 files, of 3 ",
            "rust_vfio/c.rs:1: a circle of 2 files, of 3 ",
        ]);
}

#[test]
fn a_child_that_uses_what_its_parent_defines_makes_a_circle_if_the_parent_uses_it() {
    let tree = Tree::new("mod a;").room(1, "`a.rs`, `a/`").file(
        "a/child.rs",
        "use super::Thing;\npub(super) fn f(_: Thing) {}",
    );
    // `mod child;` by itself uses nothing.
    tree.clone()
        .file("a.rs", "mod child; struct Thing;")
        .is_fine();
    tree.file(
        "a.rs",
        "mod child; struct Thing; fn g() { child::f(Thing) }",
    )
    .finds(&["rust_vfio/a.rs:1: a circle of 2 files"]);
}

#[test]
fn a_facade_is_in_no_circle() {
    // The parent passes on what one child defines and another one uses.
    Tree::new("mod a; use a::{first, second};")
        .room(1, "`a.rs`, `a/`")
        .file(
            "a.rs",
            "mod one; mod two; use one::Helper; pub(crate) use one::first; \
             pub(crate) use two::second;",
        )
        .file(
            "a/one.rs",
            "pub(crate) fn first() {} pub(super) struct Helper;",
        )
        .file(
            "a/two.rs",
            "use super::{first, Helper}; pub(crate) fn second() {}",
        )
        .is_fine();
}

#[test]
fn methods_make_circles_as_well() {
    Tree::new("mod state; mod map; mod unmap;")
        .file_room(1, "state.rs", "pub(crate) struct State;")
        .room(2, "`map.rs`, `unmap.rs`")
        .file(
            "map.rs",
            "use crate::state::State; impl State { fn map(&self) { self.unmap() } }",
        )
        .file(
            "unmap.rs",
            "use crate::state::State; impl State { fn unmap(&self) { self.map() } }",
        )
        .finds(&["rust_vfio/map.rs:1: a circle of 2 files"]);
}

#[test]
fn the_module_that_a_macro_of_the_kernel_defines_is_no_use_of_the_root() {
    let root = "mod a; use a::Thing; module! { type: Thing, name: \"vfio\" }";
    Tree::new(root)
        .file_room(1, "a.rs", "pub(crate) struct Thing(crate::LocalModule);")
        .is_fine();
}
