// SPDX-License-Identifier: GPL-2.0
//! The files below `rust_vfio/`: their syntax, how long they are, and where they say `unsafe`.
//!
//! Tests are left out of everything. An item that is compiled for tests only is found among the
//! tokens, as `#[cfg(test)]` and what follows up to a brace or semicolon; so it does not matter
//! whether it is a module, a method or a statement. Lines tell whether something is in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::RangeInclusive,
    path::Path,
};

use anyhow::{anyhow, Context, Result};
use proc_macro2::{Delimiter, LexError, Span, TokenStream, TokenTree};
use walkdir::WalkDir;

use crate::{cfg, report::DIRECTORY};

/// The kinds of files that belong to a room. What a build leaves behind has other names.
const KINDS: [&str; 3] = ["rs", "c", "h"];
/// What a build in the source directory generates.
const GENERATED: &str = "bindings_generated.rs";

/// A file in Rust.
pub(crate) struct Source {
    pub(crate) syntax: syn::File,
    /// How many lines the file has, tests left out.
    pub(crate) lines: usize,
    /// The line of each `unsafe` block, function, implementation, trait and `extern` block.
    pub(crate) unsafe_lines: Vec<usize>,
    tests: Vec<RangeInclusive<usize>>,
}

impl Source {
    /// Parses a file. Errors begin with the line.
    fn parse(text: &str) -> Result<Self> {
        let at = |span, message: String| anyhow!("{}: {message}", line(span));
        let tokens: TokenStream = text
            .parse()
            .map_err(|e: LexError| at(e.span(), e.to_string()))?;
        let mut census = Census::default();
        census.tokens(tokens.clone());
        let syntax = syn::parse2(tokens).map_err(|e| at(e.span(), e.to_string()))?;
        let Census { mut unsafes, tests } = census;
        let counts = |line: &usize| !tests.iter().any(|test| test.contains(line));
        let lines = (1..=text.lines().count()).filter(counts).count();
        unsafes.retain(counts);
        Ok(Self {
            syntax,
            lines,
            unsafe_lines: unsafes,
            tests,
        })
    }

    /// Returns whether a line is part of a test.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.tests.iter().any(|test| test.contains(&line))
    }
}

/// The files of the modules, by their paths below `rust_vfio/`.
pub(crate) struct Sources {
    pub(crate) rust: BTreeMap<String, Source>,
    /// C files and headers.
    pub(crate) others: BTreeSet<String>,
}

impl Sources {
    /// Reads all files below a directory.
    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let mut sources = Self {
            rust: BTreeMap::new(),
            others: BTreeSet::new(),
        };
        for entry in WalkDir::new(directory) {
            let entry = entry?;
            let path = entry.path();
            let kind = path.extension().and_then(|kind| kind.to_str());
            let name = entry.file_name().to_string_lossy();
            if !kind.is_some_and(|kind| KINDS.contains(&kind))
                || name == GENERATED
                || name.ends_with(".mod.c")
                || name.starts_with('.')
            {
                continue;
            }
            let below = path
                .strip_prefix(directory)?
                .to_str()
                .with_context(|| format!("{} is no usable name", path.display()))?
                .to_owned();
            if kind != Some("rs") {
                sources.others.insert(below);
                continue;
            }
            let text = fs::read_to_string(path).with_context(|| format!("read {below}"))?;
            let source = Source::parse(&text).map_err(|e| anyhow!("{DIRECTORY}/{below}:{e:#}"))?;
            sources.rust.insert(below, source);
        }
        Ok(sources)
    }

    /// Returns the paths of all files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &String> {
        self.rust.keys().chain(&self.others)
    }
}

/// Returns the line in which something begins.
pub(crate) fn line(span: Span) -> usize {
    span.start().line
}

/// What is counted in the tokens of a file.
#[derive(Default)]
struct Census {
    unsafes: Vec<usize>,
    tests: Vec<RangeInclusive<usize>>,
}

impl Census {
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut rest = &tokens[..];
        while let Some((first, mut after)) = rest.split_first() {
            if let Some((attribute, next)) = attribute(rest) {
                after = next;
                if is_word(attribute.first(), "doc") && is_punct(attribute.get(1), '=') {
                    // A comment, as the compiler sees it.
                    rest = after;
                    continue;
                }
                if let [name, TokenTree::Group(condition)] = &attribute[..] {
                    if is_word(Some(name), "cfg")
                        && cfg::only_in_tests(&condition.stream().to_string())
                    {
                        let inner = is_punct(rest.get(1), '!');
                        let end = if inner {
                            after.last()
                        } else {
                            end_of_item(after)
                        };
                        let end = end.map_or(0, |token| token.span().end().line);
                        self.tests.push(line(first.span())..=end);
                    }
                }
            } else if is_word(Some(first), "unsafe") && !is_type_of_function(after) {
                self.unsafes.push(line(first.span()));
            }
            if let TokenTree::Group(group) = first {
                self.tokens(group.stream());
            }
            rest = &rest[1..];
        }
    }
}

/// Returns the inside of the attribute at the beginning of `tokens`, and what comes after it.
fn attribute(tokens: &[TokenTree]) -> Option<(Vec<TokenTree>, &[TokenTree])> {
    let rest = tokens.get(1..).filter(|_| is_punct(tokens.first(), '#'))?;
    let rest = if is_punct(rest.first(), '!') {
        &rest[1..]
    } else {
        rest
    };
    match rest.split_first()? {
        (TokenTree::Group(group), after) if group.delimiter() == Delimiter::Bracket => {
            Some((group.stream().into_iter().collect(), after))
        }
        _ => None,
    }
}

/// Returns the last token of the item or statement at the beginning of `tokens`.
fn end_of_item(tokens: &[TokenTree]) -> Option<&TokenTree> {
    let end = tokens.iter().find(|token| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        other => is_punct(Some(other), ';'),
    });
    end.or(tokens.last())
}

/// Returns whether what follows `unsafe` makes it a type (`unsafe fn(u32)`), which does nothing.
fn is_type_of_function(after: &[TokenTree]) -> bool {
    // Between the two there can be `extern` and the name of an ABI.
    let mut near = after.iter().take(3);
    let function = near.position(|token| is_word(Some(token), "fn"));
    function.is_some_and(|at| matches!(after.get(at + 1), Some(TokenTree::Group(_))))
}

fn is_word(token: Option<&TokenTree>, word: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == word)
}

fn is_punct(token: Option<&TokenTree>, punct: char) -> bool {
    matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == punct)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_count_as_lines() {
        let source = Source::parse("//! Header.\n\nfn f() {\n    // Why.\n    g();\n}\n");
        assert_eq!(source.unwrap().lines, 6);
    }

    #[test]
    fn unsafe_is_found_in_each_place() {
        let source = Source::parse(
            "unsafe fn a() {\n    unsafe { b() }\n}\nunsafe impl S for T {}\n\
             unsafe extern \"C\" {}\nunsafe trait U {}\n\
             unsafe extern \"C\" fn d() {}\nm!(x <- unsafe { y });\n",
        );
        assert_eq!(source.unwrap().unsafe_lines, [1, 2, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn types_of_functions_and_comments_are_not_unsafe() {
        let source = Source::parse(
            "// unsafe\ntype F = unsafe fn(u32);\ntype G = Option<unsafe extern \"C\" fn(u32)>;\n\
             const S: &str = \"unsafe\";\n",
        );
        assert!(source.unwrap().unsafe_lines.is_empty());
    }

    #[test]
    fn tests_are_left_out() {
        let source = Source::parse(
            "fn a() {}\n#[cfg(test)]\nuse x::y;\n#[cfg(test)]\n#[allow(z)]\nmod tests {\n    \
             fn b() { unsafe {} }\n}\nfn c() {\n    #[cfg(not(test))]\n    unsafe { d() };\n}\n",
        )
        .unwrap();
        assert_eq!(source.unsafe_lines, [11]);
        assert_eq!(source.lines, 1 + 4);
        let test: Vec<_> = (1..13).filter(|&line| source.is_test(line)).collect();
        assert_eq!(test, [2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_file_can_be_a_test_as_a_whole() {
        let source = Source::parse("#![cfg(test)]\nfn a() {}\nfn b() { unsafe {} }\n").unwrap();
        assert_eq!((source.lines, source.unsafe_lines.len()), (0, 0));
    }
}
