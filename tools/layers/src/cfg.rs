// SPDX-License-Identifier: GPL-2.0
//! Conditions of compilation: what is only in tests, and which items are never compiled together.
//!
//! Both branches of a condition are read elsewhere. Only two questions are asked of a condition,
//! and both are whether any configuration at all makes it true, so all of them are tried.

use std::collections::BTreeSet;

use anyhow::{bail, Context, Result};
use cfg_expr::{Expression, Predicate};
use syn::Attribute;

/// More options than this in one condition are refused: all combinations of them are tried.
const MAX_OPTIONS: usize = 16;

/// The conditions of an item and of the modules around it, all of which must be true.
#[derive(Clone, Default)]
pub(crate) struct Condition(Vec<String>);

impl Condition {
    /// Adds the conditions in the attributes of an item.
    pub(crate) fn and(&self, attributes: &[Attribute]) -> Self {
        let mut all = self.clone();
        for attribute in attributes {
            if let syn::Meta::List(list) = &attribute.meta {
                if list.path.is_ident("cfg") {
                    all.0.push(list.tokens.to_string());
                }
            }
        }
        all
    }

    /// Returns whether no configuration compiles both an item of `self` and one of `other`.
    pub(crate) fn excludes(&self, other: &Self) -> Result<bool> {
        let both = self.0.iter().chain(&other.0);
        let both: Vec<_> = both.map(String::as_str).collect();
        Ok(!satisfiable(&both.join(","))?)
    }
}

/// Returns whether an item under `#[cfg(condition)]` is compiled for tests only. What a macro makes
/// a condition of (`$condition`) is not known.
pub(crate) fn only_in_tests(condition: &str) -> bool {
    satisfiable(condition).is_ok_and(|possible| !possible)
}

/// Returns whether a configuration that is not for tests makes a comma-separated list of conditions
/// true.
fn satisfiable(conditions: &str) -> Result<bool> {
    let expression = Expression::parse(&format!("all({conditions})"))
        .with_context(|| format!("condition {conditions}"))?;
    // Without `test`, which so is never true.
    let options: Vec<String> = expression
        .predicates()
        .filter(|predicate| !matches!(predicate, Predicate::Test))
        .map(|predicate| format!("{predicate:?}"))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    if options.len() > MAX_OPTIONS {
        bail!(
            "condition {conditions}: {} options are too many",
            options.len()
        );
    }
    Ok((0..1_u32 << options.len()).any(|chosen| {
        expression.eval(|predicate| {
            let option = options.binary_search(&format!("{predicate:?}"));
            option.is_ok_and(|bit| chosen & 1 << bit != 0)
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(text: &str) -> Condition {
        let file = syn::parse_str::<syn::File>(&format!("{text} struct S;")).unwrap();
        match &file.items[0] {
            syn::Item::Struct(item) => Condition::default().and(&item.attrs),
            _ => unreachable!(),
        }
    }

    #[test]
    fn opposites_exclude_each_other() {
        let excludes = |a: &str, b: &str| condition(a).excludes(&condition(b)).unwrap();
        assert!(excludes("#[cfg(A)]", "#[cfg(not(A))]"));
        assert!(excludes("#[cfg(A)] #[cfg(B)]", "#[cfg(not(all(A, B)))]"));
        assert!(excludes("#[cfg(A = \"m\")]", "#[cfg(not(A = \"m\"))]"));
        assert!(excludes("#[cfg(any(A, B))]", "#[cfg(not(any(A, B)))]"));
        assert!(!excludes("#[cfg(A)]", "#[cfg(B)]"));
        assert!(!excludes("#[cfg(A)]", "#[cfg(not(all(A, B)))]"));
        assert!(!excludes("", "#[cfg(A)]"));
        assert!(!excludes("", ""));
    }

    #[test]
    fn tests_are_told_from_what_tests_change() {
        for (text, wanted) in [
            ("test", true),
            ("all(test, A)", true),
            ("not(test)", false),
            ("any(test, A)", false),
            ("A", false),
            ("$a", false),
        ] {
            assert_eq!(only_in_tests(text), wanted, "{text}");
        }
    }
}
