// SPDX-License-Identifier: GPL-2.0
//! Walks through an item, and notes what it imports, mentions and calls.
//!
//! Macros are not expanded: in what they are given, and in their own definitions, whatever looks
//! like a path is taken for one.

use proc_macro2::{Spacing, TokenStream, TokenTree};
use syn::{visit::Visit, Ident, Item, UseTree, Visibility};

use crate::{
    names::{name, Binds, Import, Mention, Method, Names, Path},
    source::{line, Source},
};

/// Adds what an item imports, mentions and calls.
pub(crate) fn item(names: &mut Names, item: &Item, source: &Source) {
    let in_block = !matches!(item, Item::Use(_));
    let mut body = Body {
        names,
        source,
        in_block,
    };
    body.visit_item(item);
}

/// Walks through an item.
struct Body<'a> {
    names: &'a mut Names,
    source: &'a Source,
    /// The item is no `use`, so a `use` in it is in a block.
    in_block: bool,
}

impl Body<'_> {
    fn import(&mut self, item: &syn::ItemUse) {
        let path = Path {
            global: item.leading_colon.is_some(),
            names: Vec::new(),
        };
        let exported = !matches!(item.vis, Visibility::Inherited);
        self.import_tree(&item.tree, path, exported);
    }

    fn import_tree(&mut self, tree: &UseTree, mut path: Path, exported: bool) {
        let (binds, span) = match tree {
            UseTree::Path(tree) => {
                path.names.push(name(&tree.ident));
                return self.import_tree(&tree.tree, path, exported);
            }
            UseTree::Group(tree) => {
                for tree in &tree.items {
                    self.import_tree(tree, path.clone(), exported);
                }
                return;
            }
            UseTree::Name(tree) => {
                extend(&mut path, &tree.ident);
                let last = path.names.last().cloned().unwrap_or_default();
                (Binds::Name(last), tree.ident.span())
            }
            UseTree::Rename(tree) => {
                extend(&mut path, &tree.ident);
                (Binds::Name(name(&tree.rename)), tree.ident.span())
            }
            UseTree::Glob(tree) => (Binds::All, tree.star_token.spans[0]),
        };
        let line = line(span);
        if !self.source.is_test(line) {
            self.names.imports.push(Import {
                path,
                binds,
                line,
                exported,
                local: self.in_block,
            });
        }
    }

    fn method(&mut self, ident: &Ident, of: Option<Path>) {
        if !self.source.is_test(line(ident.span())) {
            let name = name(ident);
            self.names.methods.push(Method { name, of });
        }
    }

    /// Adds what is inside of a macro that has no name of its own.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(first) => {
                    let start = at;
                    let mut path = Path {
                        global: start >= 2 && is_colons(&tokens[start - 2..]),
                        names: vec![name(first)],
                    };
                    while let (true, Some(TokenTree::Ident(next))) =
                        (is_colons(&tokens[at + 1..]), tokens.get(at + 3))
                    {
                        path.names.push(name(next));
                        at += 3;
                    }
                    let call = matches!(
                        (tokens.get(at + 1), tokens.get(at + 2)),
                        (Some(TokenTree::Punct(mark)), Some(TokenTree::Group(_)))
                            if mark.as_char() == '!'
                    );
                    let dot = start > 0 && is_punct(&tokens[start - 1], '.');
                    match tokens.get(at + 1) {
                        Some(TokenTree::Group(_)) if dot => self.method_call(first),
                        _ => self.mention(path, line(first.span()), call),
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }

    fn method_call(&mut self, method: &Ident) {
        let line = line(method.span());
        if !self.source.is_test(line) {
            let path = single(method);
            self.names.method_calls.push(Mention { path, line });
        }
    }

    /// Adds a path. One name alone says nothing, unless a macro is called by it.
    fn mention(&mut self, path: Path, line: usize, call: bool) {
        if self.source.is_test(line) {
            return;
        }
        let mention = Mention { path, line };
        if mention.path.names.len() > 1 {
            self.names.mentions.push(mention);
        } else if call {
            self.names.macro_calls.push(mention);
        }
    }
}

impl<'ast> Visit<'ast> for Body<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.import(item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let of = match &*item.self_ty {
            syn::Type::Path(of) if item.trait_.is_none() => Some(path(&of.path)),
            _ => None,
        };
        for item in &item.items {
            if let syn::ImplItem::Fn(item) = item {
                self.method(&item.sig.ident, of.clone());
            }
        }
        syn::visit::visit_item_impl(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.method(&item.sig.ident, None);
        syn::visit::visit_trait_item_fn(self, item);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.method_call(&call.method);
        syn::visit::visit_expr_method_call(self, call);
    }

    fn visit_path(&mut self, mentioned: &'ast syn::Path) {
        if let Some(first) = mentioned.segments.first() {
            let at = line(first.ident.span());
            self.mention(path(mentioned), at, false);
        }
        syn::visit::visit_path(self, mentioned);
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        if let Some(called) = mac.path.get_ident() {
            self.mention(single(called), line(called.span()), true);
        }
        self.visit_path(&mac.path);
        self.tokens(mac.tokens.clone());
    }

    fn visit_token_stream(&mut self, tokens: &'ast TokenStream) {
        // Syntax that the parser passes on as it is.
        self.tokens(tokens.clone());
    }

    // `pub(in path)` and attributes use nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
}

/// Returns a path as a list of names.
fn path(path: &syn::Path) -> Path {
    Path {
        global: path.leading_colon.is_some(),
        names: path.segments.iter().map(|s| name(&s.ident)).collect(),
    }
}

/// Appends the last name of an import; `a::{self}` means `a`.
fn extend(path: &mut Path, last: &Ident) {
    if last != "self" {
        path.names.push(name(last));
    }
}

/// Returns a name as a path.
fn single(ident: &Ident) -> Path {
    Path {
        global: false,
        names: vec![name(ident)],
    }
}

fn is_punct(token: &TokenTree, punct: char) -> bool {
    matches!(token, TokenTree::Punct(p) if p.as_char() == punct)
}

fn is_colons(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Punct(a), TokenTree::Punct(b), ..]
        if a.as_char() == ':' && a.spacing() == Spacing::Joint && b.as_char() == ':')
}
