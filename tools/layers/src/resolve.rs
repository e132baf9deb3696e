// SPDX-License-Identifier: GPL-2.0
//! Finds out what a path means: which modules define what it names.
//!
//! The rules are those of the language, without namespaces and visibility: where a name could be
//! two things, or is one thing in one configuration and another in the next, it is all of them.

use std::collections::BTreeSet;

use crate::{
    modules::{Crate, Id, Module, ROOT},
    names::{Binds, Import, Path},
};

/// The name of the module that has the raw bindings, in each crate and in the kernel's own.
const BINDINGS: &str = "bindings";
/// The same as a library.
const BINDINGS_LIBRARY: &str = "vfio_bindings";

/// What the `module!` of the kernel defines in the crate root, for all modules.
const OF_MODULE_MACRO: [&str; 2] = ["LocalModule", "THIS_MODULE"];

/// What a path leads to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Module(Id),
    /// Something that this module defines.
    Item(Id),
}

/// The meaning of a path.
#[derive(Default)]
pub(crate) struct Meaning {
    /// Empty for what comes from libraries.
    pub(crate) targets: BTreeSet<Target>,
    /// Modules which only pass on what the path names.
    pub(crate) facades: BTreeSet<Id>,
    /// The path goes through a module of raw bindings.
    pub(crate) raw: bool,
}

/// Finds the meaning of paths in one crate.
pub(crate) struct Resolver<'a> {
    modules: &'a [Module],
    /// Names that are being looked up, for `use` items that go round in a circle.
    busy: BTreeSet<(Id, String)>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(krate: &'a Crate) -> Self {
        Self {
            modules: &krate.modules,
            busy: BTreeSet::new(),
        }
    }

    /// Returns what a path means where it stands in a module.
    pub(crate) fn path(&mut self, from: Id, path: &Path) -> Meaning {
        let mut meaning = Meaning::default();
        let names: Vec<&str> = path.names.iter().map(String::as_str).collect();
        meaning.raw = match names[..] {
            ["kernel", second, ..] if second == BINDINGS => true,
            [first, ..] => first == BINDINGS_LIBRARY,
            [] => false,
        };
        if path.global {
            return meaning;
        }
        let mut rest = &names[..];
        let mut targets = match rest.first().copied() {
            Some("crate") => BTreeSet::from([Target::Module(ROOT)]),
            Some("self") => BTreeSet::from([Target::Module(from)]),
            Some("super") => BTreeSet::from([Target::Module(self.modules[from].parent)]),
            Some(first) => self.name(from, first, true, &mut meaning.facades),
            None => return meaning,
        };
        loop {
            meaning.raw |= targets.iter().any(|target| match target {
                Target::Module(id) => self.modules[*id].name == BINDINGS,
                Target::Item(_) => false,
            });
            rest = &rest[1..];
            let Some(next) = rest.first() else {
                break;
            };
            targets = self.step(&targets, next, &mut meaning.facades);
        }
        meaning.targets = targets;
        meaning
    }

    /// Returns what a name means in any of several modules. What is unknown there comes from a
    /// macro or a library, and is counted as the module's own.
    fn step(
        &mut self,
        targets: &BTreeSet<Target>,
        name: &str,
        facades: &mut BTreeSet<Id>,
    ) -> BTreeSet<Target> {
        let mut found = BTreeSet::new();
        let mut unknown = BTreeSet::new();
        for &target in targets {
            match (target, name) {
                (Target::Module(id), "super") => {
                    found.insert(Target::Module(self.modules[id].parent));
                }
                (Target::Module(ROOT), name) if OF_MODULE_MACRO.contains(&name) => {}
                (Target::Module(id), name) => {
                    let here = self.name(id, name, false, facades);
                    if here.is_empty() {
                        unknown.insert(Target::Item(id));
                    }
                    found.extend(here);
                }
                // A variant, a method: it belongs to the type.
                (item, _) => {
                    found.insert(item);
                }
            }
        }
        if found.is_empty() {
            unknown
        } else {
            found
        }
    }

    /// Returns what a name means in a module, `inside` of it or looking at it from another one.
    fn name(
        &mut self,
        id: Id,
        name: &str,
        inside: bool,
        facades: &mut BTreeSet<Id>,
    ) -> BTreeSet<Target> {
        let key = (id, name.to_owned());
        if !self.busy.insert(key.clone()) {
            return BTreeSet::new();
        }
        let modules = self.modules;
        let module = &modules[id];
        let mut found = BTreeSet::new();
        if let Some(children) = module.children.get(name) {
            found.extend(children.iter().map(|&child| Target::Module(child)));
        }
        if module.names.items.contains(name) {
            found.insert(Target::Item(id));
        }
        let visible = |import: &&Import| inside || !import.local;
        for import in module.names.imports.iter().filter(visible) {
            if matches!(&import.binds, Binds::Name(bound) if bound == name) {
                self.follow(id, import, inside, facades, &mut found);
            }
        }
        if found.is_empty() {
            for import in module.names.imports.iter().filter(visible) {
                if !matches!(import.binds, Binds::All) {
                    continue;
                }
                for target in self.path(id, &import.path).targets {
                    let Target::Module(other) = target else {
                        // The variants of an enum: the `use` is all that there is to know.
                        continue;
                    };
                    let there = self.name(other, name, false, facades);
                    if !there.is_empty() && !inside {
                        facades.insert(id);
                    }
                    found.extend(there);
                }
            }
        }
        self.busy.remove(&key);
        found
    }

    /// Adds what an import leads to.
    fn follow(
        &mut self,
        id: Id,
        import: &Import,
        inside: bool,
        facades: &mut BTreeSet<Id>,
        found: &mut BTreeSet<Target>,
    ) {
        let meaning = self.path(id, &import.path);
        if !inside && !meaning.targets.is_empty() {
            facades.insert(id);
            facades.extend(meaning.facades);
        }
        found.extend(meaning.targets);
    }

    /// Returns the modules that define a macro which a module calls by its name alone: itself, one
    /// around it, or one beside these that is marked with `#[macro_use]`.
    pub(crate) fn macros(&self, from: Id, name: &str) -> BTreeSet<Id> {
        let mut at = from;
        loop {
            let found = self.macros_in(at, name);
            if !found.is_empty() || at == ROOT {
                return found;
            }
            at = self.modules[at].parent;
        }
    }

    fn macros_in(&self, id: Id, name: &str) -> BTreeSet<Id> {
        let module = &self.modules[id];
        if module.names.macros.contains(name) {
            return BTreeSet::from([id]);
        }
        let children = module.children.values().flatten();
        children
            .filter(|&&child| self.modules[child].macro_use)
            .flat_map(|&child| self.macros_in(child, name))
            .collect()
    }
}
