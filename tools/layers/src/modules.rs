// SPDX-License-Identifier: GPL-2.0
//! The modules of a crate: which file each one is, and what is in it.
//!
//! All `mod` items are followed whatever their conditions, so one path can stand for several
//! modules: `group` is one file where there are groups, and another where there are none.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

use anyhow::{bail, Context, Result};
use syn::{Attribute, Item, ItemMod};

use crate::{
    cfg::Condition,
    names::{name, Names},
    source::{line, Source, Sources},
};

/// The place of a module in [`Crate::modules`].
pub(crate) type Id = usize;

/// The crate root.
pub(crate) const ROOT: Id = 0;

/// A module.
pub(crate) struct Module {
    /// Its name; that of the root is `crate`.
    pub(crate) name: String,
    /// The module around it, which the root is itself.
    pub(crate) parent: Id,
    /// The file that it is in, below `rust_vfio/`.
    pub(crate) file: String,
    pub(crate) children: BTreeMap<String, Vec<Id>>,
    /// `#[macro_use]`: its macros are known around it.
    pub(crate) macro_use: bool,
    pub(crate) names: Names,
}

/// A crate that becomes one kernel module.
pub(crate) struct Crate {
    pub(crate) modules: Vec<Module>,
}

impl Crate {
    /// Reads a crate, beginning with the file of its root.
    pub(crate) fn read(root: &str, sources: &Sources) -> Result<Self> {
        let mut reader = Reader {
            sources,
            modules: Vec::new(),
        };
        reader.file("crate", ROOT, root, true, &Condition::default())?;
        Ok(Self {
            modules: reader.modules,
        })
    }

    /// Returns the files that the crate consists of.
    pub(crate) fn files(&self) -> BTreeSet<&str> {
        self.modules.iter().map(|m| m.file.as_str()).collect()
    }

    /// Returns whether `outer` is `inner` or a module around it.
    pub(crate) fn is_around(&self, outer: Id, inner: Id) -> bool {
        let mut at = inner;
        while at != outer && at != ROOT {
            at = self.modules[at].parent;
        }
        at == outer
    }
}

/// What is known where an item stands.
struct Scope<'a> {
    module: Id,
    source: &'a Source,
    condition: Condition,
    /// Where the files of child modules are looked for.
    children: PathBuf,
    /// What `#[path]` begins at.
    paths: PathBuf,
}

/// A crate that is being read.
struct Reader<'a> {
    sources: &'a Sources,
    modules: Vec<Module>,
}

impl Reader<'_> {
    /// Adds a module that is a file. `owner` says whether its children are beside it instead of in
    /// a directory of its name.
    fn file(
        &mut self,
        name: &str,
        parent: Id,
        file: &str,
        owner: bool,
        around: &Condition,
    ) -> Result<Id> {
        let sources = self.sources;
        let source = sources
            .rust
            .get(file)
            .with_context(|| format!("rust_vfio/{file} is not there"))?;
        let path = Path::new(file);
        let beside = path.parent().unwrap_or(Path::new("")).to_owned();
        let scope = Scope {
            module: self.add(name, parent, file),
            source,
            condition: around.and(&source.syntax.attrs),
            children: if owner {
                beside.clone()
            } else {
                path.with_extension("")
            },
            paths: beside,
        };
        self.items(&source.syntax.items, &scope)?;
        Ok(scope.module)
    }

    fn add(&mut self, name: &str, parent: Id, file: &str) -> Id {
        self.modules.push(Module {
            name: name.to_owned(),
            parent,
            file: file.to_owned(),
            children: BTreeMap::new(),
            macro_use: false,
            names: Names::default(),
        });
        self.modules.len() - 1
    }

    fn items(&mut self, items: &[Item], scope: &Scope<'_>) -> Result<()> {
        for item in items {
            let Item::Mod(item) = item else {
                let names = &mut self.modules[scope.module].names;
                names.add(item, scope.source, &scope.condition);
                continue;
            };
            let line = line(item.ident.span());
            if scope.source.is_test(line) {
                continue;
            }
            let child = self.child(item, scope).with_context(|| {
                let file = &self.modules[scope.module].file;
                format!("rust_vfio/{file}:{line}: mod {}", item.ident)
            })?;
            self.modules[child].macro_use =
                item.attrs.iter().any(|a| a.path().is_ident("macro_use"));
            let children = &mut self.modules[scope.module].children;
            children.entry(name(&item.ident)).or_default().push(child);
        }
        Ok(())
    }

    fn child(&mut self, item: &ItemMod, scope: &Scope<'_>) -> Result<Id> {
        let parent = scope.module;
        let name = name(&item.ident);
        let condition = scope.condition.and(&item.attrs);
        let path = path_attribute(&item.attrs)?.map(|path| scope.paths.join(path));
        if let Some((_, items)) = &item.content {
            let inside = path.unwrap_or_else(|| scope.children.join(&name));
            let file = self.modules[parent].file.clone();
            let scope = Scope {
                module: self.add(&name, parent, &file),
                source: scope.source,
                condition,
                children: inside.clone(),
                paths: inside,
            };
            self.items(items, &scope)?;
            return Ok(scope.module);
        }
        if let Some(path) = path {
            // Like the root, such a file has its children beside it.
            return self.file(&name, parent, &normal(&path)?, true, &condition);
        }
        let file = normal(&scope.children.join(format!("{name}.rs")))?;
        self.file(&name, parent, &file, false, &condition)
    }
}

/// Returns the value of `#[path = "..."]`.
fn path_attribute(attributes: &[Attribute]) -> Result<Option<String>> {
    for attribute in attributes {
        if attribute.path().is_ident("cfg_attr") {
            let list = attribute.meta.require_list()?;
            let conditional = list.tokens.to_string();
            // To follow one of two paths and not the other would be a hole.
            if conditional.contains("path =") {
                bail!("cfg_attr with a path is not supported: use two mod items");
            }
        }
        if attribute.path().is_ident("path") {
            if let syn::Expr::Lit(syn::ExprLit {
                lit: syn::Lit::Str(path),
                ..
            }) = &attribute.meta.require_name_value()?.value
            {
                return Ok(Some(path.value()));
            }
        }
    }
    Ok(None)
}

/// Returns a path without `.` and `..`.
fn normal(path: &Path) -> Result<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str().context("not UTF-8")?),
            Component::ParentDir if parts.pop().is_some() => {}
            Component::CurDir => {}
            _ => bail!("{} is outside of rust_vfio/", path.display()),
        }
    }
    Ok(parts.join("/"))
}
