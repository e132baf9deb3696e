// SPDX-License-Identifier: GPL-2.0
//! Upward uses, and uses between rooms of one layer.

use crate::tree::Tree;

/// A tree in which `low.rs`, in layer 1, is this, and `high.rs` above it defines `Thing`.
fn low(text: &str) -> Tree {
    Tree::new("mod low; mod high;")
        .file_room(1, "low.rs", text)
        .file_room(2, "high.rs", "pub(crate) struct Thing;")
}

const UPWARD: &str = "`low.rs` in layer 1 uses high.rs of `high.rs` in layer 2, a higher layer";

#[test]
fn downward_is_fine() {
    Tree::new("mod low; mod high; use high::f;")
        .file_room(1, "low.rs", "pub(crate) struct Thing;")
        .file_room(
            2,
            "high.rs",
            "use crate::low::Thing;\npub(crate) fn f(_: Thing) {}",
        )
        .is_fine();
}

#[test]
fn upward_is_found_in_each_kind_of_use() {
    for text in [
        "\nuse crate::high::Thing;",
        "\nuse super::high::Thing;",
        "use crate::{\nhigh::Thing};",
        "use crate::{low,\nhigh::{Thing as Other}};",
        "\nuse crate::high::*;",
        "\nuse crate::high::{self};",
        "\nuse crate::high as other;",
        "\nuse crate::high::Thing as _;",
        "fn f() {\nuse crate::high::Thing; }",
        "mod inner {\nuse super::super::high::Thing; }",
        "\npub(crate) use crate::high;",
    ] {
        let report = low(text).report().0;
        assert_eq!(report.len(), 1, "{text}: {report:#?}");
        let wanted = format!("rust_vfio/low.rs:2: {UPWARD}: `");
        assert!(report[0].starts_with(&wanted), "{text}: {report:#?}");
    }
}

#[test]
fn upward_is_found_in_each_kind_of_path() {
    for text in [
        "fn f() {\ncrate::high::Thing; }",
        "fn f(\n_: &super::high::Thing) {}",
        "struct S {\nfield: crate::high::Thing }",
        "impl\ncrate::high::Thing {}",
        "fn f() { pin_init!(S {\nfield <- crate::high::Thing::new() }); }",
        "macro_rules! m { () => {\n$crate::high::Thing }; }",
        "fn f() {\n<crate::high::Thing>::g(); }",
        "fn f() { a::<\ncrate::high::Thing>(); }",
    ] {
        low(text).finds(&[&format!("rust_vfio/low.rs:2: {UPWARD}: `")]);
    }
}

#[test]
fn the_first_line_counts() {
    let text = "fn f() { m!(crate::high::Thing); }\nuse crate::high::Thing;";
    low(text).finds(&[&format!("rust_vfio/low.rs:1: {UPWARD}")]);
}

#[test]
fn what_only_looks_like_a_use_is_none() {
    for text in [
        "//! crate::high::Thing\n/// [`crate::high::Thing`]\nfn f() {}",
        "fn f() { ::high::Thing; }",
        "use ::high::Thing;",
        "use kernel::high::Thing;",
        "const S: &str = \"crate::high::Thing\";",
        "pub(in crate::high) fn f() {}",
        "#[cfg(test)]\nmod tests { use crate::high::Thing; }",
        "impl S { #[cfg(test)]\nfn f() { m!(crate::high::Thing); } }",
        "#[cfg(all(test, A))]\nuse crate::high::Thing;",
        // A module of its own with the same name.
        "mod high { pub(super) struct Other; }\nuse high::Other;",
    ] {
        low(text).is_fine();
    }
}

#[test]
fn rooms_of_one_layer_keep_apart() {
    Tree::new("mod a; mod b;")
        .file_room(1, "a.rs", "use crate::b::Thing;")
        .file_room(1, "b.rs", "pub(crate) struct Thing;")
        .finds(&[
            "rust_vfio/a.rs:1: `a.rs` in layer 1 uses b.rs of `b.rs` in layer 1, \
                  another room of the same layer: `crate::b::Thing`",
        ]);
}

#[test]
fn files_of_one_room_use_each_other() {
    Tree::new("mod a; mod b;")
        .room(1, "`a.rs`, `b.rs`")
        .file("a.rs", "use crate::b::Thing;")
        .file("b.rs", "pub(crate) struct Thing;")
        .is_fine();
}

#[test]
fn a_facade_hides_nothing() {
    // `low` takes from a module in its own layer what that has from above.
    let tree = Tree::new("mod low; mod facade; mod high;")
        .room(1, "`low.rs`, `facade.rs`")
        .file("low.rs", "use crate::facade::Thing;")
        .file_room(2, "high.rs", "pub(crate) struct Thing;");
    for facade in [
        "pub(crate) use crate::high::Thing;",
        "pub(crate) use crate::high::*;",
        "pub(crate) use inner::Thing;\nmod inner { pub(crate) use crate::high::Thing; }",
    ] {
        let found = tree.clone().file("facade.rs", facade).report().0;
        let [first, second] = &found[..] else {
            panic!("{facade}: {found:#?}");
        };
        assert!(
            first.starts_with("rust_vfio/facade.rs:"),
            "{facade}: {first}"
        );
        assert!(first.contains("uses high.rs"), "{facade}: {first}");
        assert!(
            second.starts_with("rust_vfio/low.rs:1:"),
            "{facade}: {second}"
        );
        assert!(second.contains("uses high.rs"), "{facade}: {second}");
    }
}

#[test]
fn to_re_export_a_module_is_to_use_it() {
    // It defines nothing by itself, so that a private `use` of it would be none.
    let tree = low("pub(crate) use crate::high;")
        .file("high.rs", "pub(crate) mod inner;")
        .file_room(0, "high/inner.rs", "pub(crate) struct Thing;");
    tree.finds(&[&format!("rust_vfio/low.rs:1: {UPWARD}")]);
    tree.file("low.rs", "use crate::high;\nfn f() { high::inner::Thing; }")
        .is_fine();
}

#[test]
fn a_facade_above_is_above() {
    // What `low` gets is below it, but the name belongs to a module above.
    Tree::new("mod lowest; mod low; mod high;")
        .file_room(0, "lowest.rs", "pub(crate) struct Thing;")
        .file_room(1, "low.rs", "use crate::high::Thing;")
        .file_room(2, "high.rs", "pub(crate) use crate::lowest::Thing;")
        .finds(&["rust_vfio/low.rs:1: `low.rs` in layer 1 uses high.rs"]);
}

#[test]
fn both_sides_of_a_condition_are_read() {
    Tree::new("#[cfg(A)] mod a; #[cfg(not(A))] #[path = \"b.rs\"] mod a; mod low;")
        .file_room(1, "low.rs", "fn f() { crate::a::g() }")
        .file_room(2, "a.rs", "pub(crate) fn g() {}")
        .file_room(3, "b.rs", "pub(crate) fn g() {}")
        .finds(&[
            "rust_vfio/low.rs:1: `low.rs` in layer 1 uses a.rs of `a.rs` in layer 2",
            "rust_vfio/low.rs:1: `low.rs` in layer 1 uses b.rs of `b.rs` in layer 3",
        ]);
}

#[test]
fn each_module_has_its_own_order() {
    let shared = "use crate::other::Thing;";
    let other = "pub(crate) struct Thing;";
    let tree = Tree::new("mod shared; mod other;")
        .file("rust_type1.rs", "mod bindings; mod shared; mod other;")
        .file_room(2, "shared.rs", shared)
        .file_room(1, "other.rs", other);
    let same = tree
        .clone()
        .type1_room(2, "`shared.rs`")
        .type1_room(1, "`other.rs`");
    same.is_fine();
    let upside_down = tree
        .type1_room(1, "`shared.rs`")
        .type1_room(2, "`other.rs`");
    upside_down
        .finds(&["rust_vfio/shared.rs:1: `type1` in layer 1 uses other.rs of `type1` in layer 2"]);
}
