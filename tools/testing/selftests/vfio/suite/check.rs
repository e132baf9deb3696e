// SPDX-License-Identifier: GPL-2.0
//! What tests check again and again.

use std::fmt::Debug;

use anyhow::Result;
use rustix::io::Errno;
pub(crate) use vfio_selftests::process::pinned_pages;
use vfio_selftests::{process, PAGE};

/// The request must have failed with this error.
#[track_caller]
pub(crate) fn fails<T: Debug>(result: rustix::io::Result<T>, errno: Errno) {
    match result {
        Err(error) => assert_eq!(error, errno, "failed with {error}, not {errno}"),
        Ok(value) => panic!("succeeded with {value:?}, not {errno}"),
    }
}

/// The same in a loop over cases, which have names.
#[track_caller]
pub(crate) fn fails_in<T: Debug>(case: &str, result: rustix::io::Result<T>, errno: Errno) {
    match result {
        Err(error) => assert_eq!(error, errno, "{case}: failed with {error}, not {errno}"),
        Ok(value) => panic!("{case}: succeeded with {value:?}, not {errno}"),
    }
}

/// What this process and the kernel held before a test began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Books {
    locked: u64,
    pinned: i64,
}

impl Books {
    /// Notes how it is now.
    pub(crate) fn open() -> Result<Self> {
        Ok(Self {
            locked: process::locked()?,
            pinned: pinned_pages()?,
        })
    }

    /// How many pages the kernel held pinned then.
    pub(crate) fn pinned_before(&self) -> i64 {
        self.pinned
    }

    /// There must now be this many pages more: charged to this process as
    /// locked, and pinned by the kernel.
    #[track_caller]
    pub(crate) fn say(&self, locked: i64, pinned: i64) {
        self.say_in("here", locked, pinned);
    }

    /// The same in a loop over cases, which have names.
    #[track_caller]
    pub(crate) fn say_in(&self, case: &str, locked: i64, pinned: i64) {
        let now = Self::open().expect("numbers of the kernel");
        let page = PAGE as i64;
        let here = (
            (now.locked as i64 - self.locked as i64) / page,
            now.pinned - self.pinned,
        );
        assert_eq!(
            here,
            (locked, pinned),
            "{case}: pages charged, pages pinned"
        );
    }
}

/// Each order in which these can come.
pub(crate) fn permutations<T: Copy, const N: usize>(items: [T; N]) -> Vec<[T; N]> {
    fn extend<T: Copy, const N: usize>(items: [T; N], fixed: usize, all: &mut Vec<[T; N]>) {
        if fixed == N {
            all.push(items);
            return;
        }
        for next in fixed..N {
            let mut items = items;
            items.swap(fixed, next);
            extend(items, fixed + 1, all);
        }
    }
    let mut all = Vec::new();
    extend(items, 0, &mut all);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_things_have_six_orders() {
        let mut all = permutations(['a', 'b', 'c']);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 6);
    }
}
