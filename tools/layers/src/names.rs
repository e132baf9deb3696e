// SPDX-License-Identifier: GPL-2.0
//! What the items of a module define, import and mention, as written. Nothing is looked up here.

use std::collections::BTreeSet;

use syn::{ext::IdentExt, Attribute, ForeignItem, Ident, Item};

use crate::{
    cfg::Condition,
    source::{line, Source},
    walk,
};

/// A path, like `crate::group::Group`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path {
    /// It begins with `::`, so its first name is that of a library.
    pub(crate) global: bool,
    pub(crate) names: Vec<String>,
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start = if self.global { "::" } else { "" };
        write!(f, "{start}{}", self.names.join("::"))
    }
}

/// What a `use` does with the path that it names.
pub(crate) enum Binds {
    Name(String),
    /// `*`
    All,
}

/// One path of a `use`, with the groups around it resolved.
pub(crate) struct Import {
    pub(crate) path: Path,
    pub(crate) binds: Binds,
    pub(crate) line: usize,
    /// It has a visibility, so it is a re-export.
    pub(crate) exported: bool,
    /// It is inside of a block, so that no other module sees it.
    pub(crate) local: bool,
}

/// A path in a signature, a type or the body of a function.
pub(crate) struct Mention {
    pub(crate) path: Path,
    pub(crate) line: usize,
}

/// A function in an `impl` block or a trait.
pub(crate) struct Method {
    pub(crate) name: String,
    /// The type that has it, if no trait is involved.
    pub(crate) of: Option<Path>,
}

/// A struct, enum, union, trait or type alias.
pub(crate) struct Type {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) condition: Condition,
}

/// What there is in a module, its child modules left out.
#[derive(Default)]
pub(crate) struct Names {
    /// Everything that is defined.
    pub(crate) items: BTreeSet<String>,
    /// Macros among it, which child modules can use without a path.
    pub(crate) macros: BTreeSet<String>,
    pub(crate) types: Vec<Type>,
    pub(crate) imports: Vec<Import>,
    /// Paths of at least two names.
    pub(crate) mentions: Vec<Mention>,
    /// Macros that are called by their names alone.
    pub(crate) macro_calls: Vec<Mention>,
    /// Functions in `impl` blocks and traits.
    pub(crate) methods: Vec<Method>,
    /// Calls like `x.method()`.
    pub(crate) method_calls: Vec<Mention>,
}

impl Names {
    /// Adds an item that is no module.
    pub(crate) fn add(&mut self, item: &Item, source: &Source, around: &Condition) {
        walk::item(self, item, source);
        match item {
            Item::ForeignMod(block) => {
                for item in &block.items {
                    match item {
                        ForeignItem::Fn(item) => self.define(&item.sig.ident, source),
                        ForeignItem::Static(item) => self.define(&item.ident, source),
                        _ => {}
                    }
                }
            }
            Item::Macro(item) => {
                if let Some(ident) = &item.ident {
                    self.define(ident, source);
                    self.macros.insert(name(ident));
                }
            }
            Item::Const(item) => self.define(&item.ident, source),
            Item::Static(item) => self.define(&item.ident, source),
            Item::Fn(item) => self.define(&item.sig.ident, source),
            item => {
                let Some((ident, attributes)) = as_type(item) else {
                    return;
                };
                self.define(ident, source);
                let line = line(ident.span());
                if !source.is_test(line) {
                    self.types.push(Type {
                        name: name(ident),
                        line,
                        condition: around.and(attributes),
                    });
                }
            }
        }
    }

    fn define(&mut self, ident: &Ident, source: &Source) {
        if !source.is_test(line(ident.span())) {
            self.items.insert(name(ident));
        }
    }
}

/// Returns the name and the attributes of a type.
fn as_type(item: &Item) -> Option<(&Ident, &[Attribute])> {
    match item {
        Item::Struct(item) => Some((&item.ident, &item.attrs)),
        Item::Enum(item) => Some((&item.ident, &item.attrs)),
        Item::Union(item) => Some((&item.ident, &item.attrs)),
        Item::Trait(item) => Some((&item.ident, &item.attrs)),
        Item::TraitAlias(item) => Some((&item.ident, &item.attrs)),
        Item::Type(item) => Some((&item.ident, &item.attrs)),
        _ => None,
    }
}

/// Returns a name as it is meant: `r#type` is `type`.
pub(crate) fn name(ident: &Ident) -> String {
    ident.unraw().to_string()
}
