// SPDX-License-Identifier: GPL-2.0
//! Which file of a crate uses which.
//!
//! The link goes to the file that defines what is used. A module that only passes it on (`pub
//! use`, or a private `use` that a child module reaches with `super::`) has links of its own to
//! what it passes on; whoever names it depends on its name, which is kept apart: it counts where
//! the direction is checked, not where circles are.
//!
//! A type can have methods in other files than its own (`impl State` in the file of a request), and
//! a call of one (`state.map()`) names no file. It is a use all the same if no other method of the
//! crate has that name; the types of expressions are not worked out.

use std::collections::{btree_map::Entry, BTreeMap, BTreeSet};

use crate::{
    modules::{Crate, Id},
    names::{Binds, Import, Path},
    resolve::{Resolver, Target},
};

/// Where a file uses another one, in the first line that does.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) line: usize,
    /// What is written there.
    pub(crate) text: String,
}

/// From which file to which.
pub(crate) type Links = BTreeMap<(String, String), Link>;

/// A method in another file than its type.
#[derive(PartialEq, Eq)]
struct Method {
    module: Id,
    /// What the path of the type leads to.
    of: BTreeSet<Target>,
}

/// Where a file names raw bindings.
pub(crate) struct Raw {
    pub(crate) first: Link,
    pub(crate) places: usize,
}

/// How the files of a crate depend on each other.
#[derive(Default)]
pub(crate) struct Dependencies {
    /// Uses of what another file defines.
    pub(crate) uses: Links,
    /// Uses of a name that another file only passes on.
    pub(crate) facades: Links,
    /// Files that name raw bindings.
    pub(crate) raw: BTreeMap<String, Raw>,
}

impl Dependencies {
    /// Looks up everything that is named in a crate.
    pub(crate) fn find(krate: &Crate) -> Self {
        let mut finder = Finder {
            krate,
            resolver: Resolver::new(krate),
            found: Self::default(),
        };
        let elsewhere = finder.methods_elsewhere();
        for (id, module) in krate.modules.iter().enumerate() {
            for import in &module.names.imports {
                finder.import(id, import);
            }
            for mention in &module.names.mentions {
                let link = Link {
                    line: mention.line,
                    text: mention.path.to_string(),
                };
                finder.named(id, &mention.path, false, &link);
                if let Some(to) = finder.method_of_type(id, &mention.path, &elsewhere) {
                    finder.uses(id, to, &link);
                }
            }
            for call in &module.names.method_calls {
                let link = Link {
                    line: call.line,
                    text: format!(".{}()", call.path),
                };
                if let Some(method) = elsewhere.get(&*call.path.names[0]) {
                    finder.uses(id, method.module, &link);
                }
            }
            for call in &module.names.macro_calls {
                let link = Link {
                    line: call.line,
                    text: format!("{}!", call.path),
                };
                for target in finder.resolver.macros(id, &call.path.names[0]) {
                    finder.uses(id, target, &link);
                }
            }
        }
        finder.found
    }

    /// Returns the direct uses, and of the other ones those that are between other files.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&(String, String), &Link)> {
        let others = self.facades.iter();
        let others = others.filter(|(files, _)| !self.uses.contains_key(files));
        self.uses.iter().chain(others)
    }
}

struct Finder<'a> {
    krate: &'a Crate,
    resolver: Resolver<'a>,
    found: Dependencies,
}

impl<'a> Finder<'a> {
    /// Returns the methods that are in other files than their types, by those names that mean
    /// nothing else in this crate.
    fn methods_elsewhere(&mut self) -> BTreeMap<&'a str, Method> {
        let modules = &self.krate.modules;
        // Nothing for a name that means several things.
        let mut found: BTreeMap<&str, Option<Method>> = BTreeMap::new();
        for (id, module) in modules.iter().enumerate() {
            for method in &module.names.methods {
                let targets = match &method.of {
                    Some(of) => self.resolver.path(id, of).targets,
                    None => BTreeSet::new(),
                };
                let mut homes = targets.iter().map(|target| match *target {
                    Target::Item(home) | Target::Module(home) => &modules[home].file,
                });
                let elsewhere = !targets.is_empty() && homes.all(|home| *home != module.file);
                let new = elsewhere.then_some(Method {
                    module: id,
                    of: targets,
                });
                match found.entry(&method.name) {
                    Entry::Vacant(entry) => {
                        entry.insert(new);
                    }
                    // The same twice: under conditions that exclude each other.
                    Entry::Occupied(entry) if *entry.get() == new => {}
                    Entry::Occupied(mut entry) => {
                        entry.insert(None);
                    }
                }
            }
        }
        let known = |(name, method): (_, Option<Method>)| Some((name, method?));
        found.into_iter().filter_map(known).collect()
    }

    /// Returns the module of a method that a path names, like `State::map` or `Self::map`.
    fn method_of_type(
        &mut self,
        from: Id,
        path: &Path,
        elsewhere: &BTreeMap<&str, Method>,
    ) -> Option<Id> {
        let (last, of) = path.names.split_last()?;
        let method = elsewhere.get(&**last)?;
        let of = Path {
            global: path.global,
            names: of.to_vec(),
        };
        let is_type = of.names == ["Self"] || self.resolver.path(from, &of).targets == method.of;
        is_type.then_some(method.module)
    }

    fn import(&mut self, from: Id, import: &Import) {
        let all = matches!(import.binds, Binds::All);
        let link = Link {
            line: import.line,
            text: format!("{}{}", import.path, if all { "::*" } else { "" }),
        };
        self.named(from, &import.path, import.exported, &link);
        if all {
            self.passed_on(from, from, &import.path, &link, &mut BTreeSet::new());
        }
    }

    /// Adds links to what `module` brings in with `use path::*`: the re-exports there, and
    /// everything that is imported there if it is a module around `from`, since that can be seen.
    fn passed_on(
        &mut self,
        from: Id,
        module: Id,
        path: &Path,
        link: &Link,
        seen: &mut BTreeSet<Id>,
    ) {
        let krate = self.krate;
        for target in self.resolver.path(module, path).targets {
            let Target::Module(other) = target else {
                continue;
            };
            if !seen.insert(other) {
                continue;
            }
            for import in &krate.modules[other].names.imports {
                if import.local || !(import.exported || krate.is_around(other, from)) {
                    continue;
                }
                for target in self.resolver.path(other, &import.path).targets {
                    if let Target::Item(definer) = target {
                        self.uses(from, definer, link);
                    }
                }
                if matches!(import.binds, Binds::All) {
                    self.passed_on(from, other, &import.path, link, seen);
                }
            }
        }
    }

    /// Adds links to what a path means.
    fn named(&mut self, from: Id, path: &Path, exported: bool, link: &Link) {
        let krate = self.krate;
        let meaning = self.resolver.path(from, path);
        let file = &krate.modules[from].file;
        if meaning.raw {
            match self.found.raw.entry(file.clone()) {
                Entry::Occupied(raw) => {
                    let raw = raw.into_mut();
                    raw.places += 1;
                    if link.line < raw.first.line {
                        raw.first = link.clone();
                    }
                }
                Entry::Vacant(raw) => {
                    raw.insert(Raw {
                        first: link.clone(),
                        places: 1,
                    });
                }
            }
        }
        for target in meaning.targets {
            match target {
                Target::Item(id) => self.uses(from, id, link),
                // To import a module that defines nothing is to import the modules in it, of which
                // each one that is used has a link of its own.
                Target::Module(id) if exported || !krate.modules[id].names.items.is_empty() => {
                    self.uses(from, id, link);
                }
                Target::Module(_) => {}
            }
        }
        for id in meaning.facades {
            put(&mut self.found.facades, file, &krate.modules[id].file, link);
        }
    }

    fn uses(&mut self, from: Id, to: Id, link: &Link) {
        let modules = &self.krate.modules;
        put(
            &mut self.found.uses,
            &modules[from].file,
            &modules[to].file,
            link,
        );
    }
}

/// Adds a link, unless there is one in a line before.
fn put(links: &mut Links, from: &str, to: &str, link: &Link) {
    if from == to {
        return;
    }
    let entry = links.entry((from.to_owned(), to.to_owned()));
    let old = entry.or_insert_with(|| link.clone());
    if link.line < old.line {
        *old = link.clone();
    }
}
