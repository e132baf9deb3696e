// SPDX-License-Identifier: GPL-2.0

//! A list that mostly has one element, and needs no memory of its own for that.
//!
//! In the kernel crate: `kernel::alloc::Vec` would get a sibling that keeps its first elements in
//! itself, as the crate `smallvec` does outside of the kernel.

use kernel::{
    alloc::Flags,
    prelude::*, //
};

/// A list that keeps its first element in itself, and the others in a vector.
///
/// If it has no first element then it has no others. There is no vector as long as there were no
/// others, because dropping an empty one costs a call.
pub(crate) struct ShortVec<T> {
    first: Option<T>,
    others: Option<KVec<T>>,
}

impl<T> ShortVec<T> {
    /// Creates an empty list.
    pub(crate) const fn new() -> Self {
        Self {
            first: None,
            others: None,
        }
    }

    /// Returns whether the list is empty.
    pub(crate) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Returns the elements in their order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        let others = self.others.iter().flatten();
        Iterator::chain(self.first.iter(), others)
    }

    /// Makes sure that one more element can be added without allocating memory. Sleeps if `flags`
    /// allow that.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn reserve_one(&mut self, flags: Flags) -> Result {
        if self.first.is_some() {
            let others = self.others.get_or_insert_with(KVec::new);
            others.reserve(1, flags)?;
        }
        Ok(())
    }

    /// Appends `element`. Allocates no memory.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no room, which [`ShortVec::reserve_one`] makes.
    pub(crate) fn push_within_capacity(&mut self, element: T) -> Result {
        if self.first.is_none() {
            self.first = Some(element);
            return Ok(());
        }
        let others = self.others.as_mut().ok_or(ENOMEM)?;
        others.push_within_capacity(element).map_err(|_| ENOMEM)
    }

    /// Removes and returns the first element for which `matches` is true, if there is one.
    pub(crate) fn take(&mut self, mut matches: impl FnMut(&T) -> bool) -> Option<T> {
        if self.first.as_ref().is_some_and(&mut matches) {
            let next = self
                .others
                .as_mut()
                .and_then(|others| others.remove(0).ok());
            return core::mem::replace(&mut self.first, next);
        }
        let others = self.others.as_mut()?;
        let at = others.iter().position(matches)?;
        others.remove(at).ok()
    }

    /// Returns the first element for which `precedes` is false. All elements for which it is true
    /// come before those for which it is false, so the search is a binary one.
    pub(crate) fn first_after(&self, precedes: impl Fn(&T) -> bool) -> Option<&T> {
        match &self.first {
            Some(first) if precedes(first) => {
                let others = self.others.as_deref()?;
                others.get(others.partition_point(precedes))
            }
            first => first.as_ref(),
        }
    }
}

#[cfg(CONFIG_VFIO_RUST_KUNIT_TEST)]
#[kernel::macros::kunit_tests(vfio_short_vec)]
mod tests {
    use super::*;

    fn list(elements: &[u32]) -> Result<ShortVec<u32>> {
        let mut list = ShortVec::new();
        for element in elements {
            list.reserve_one(GFP_KERNEL)?;
            list.push_within_capacity(*element)?;
        }
        Ok(list)
    }

    fn has(list: &ShortVec<u32>, elements: &[u32]) -> bool {
        list.iter().eq(elements)
            && list.iter().rev().eq(elements.iter().rev())
            && list.is_empty() == elements.is_empty()
    }

    #[test]
    fn elements_keep_their_order() -> Result {
        for elements in [&[][..], &[7], &[7, 8], &[7, 8, 9]] {
            assert!(has(&list(elements)?, elements));
        }
        Ok(())
    }

    #[test]
    fn only_the_first_needs_no_room() {
        let mut list = ShortVec::new();
        assert!(list.push_within_capacity(7).is_ok());
        assert!(list.push_within_capacity(8).is_err());
        assert!(has(&list, &[7]));
    }

    #[test]
    fn what_is_taken_is_gone() -> Result {
        for (taken, rest) in [(7, &[8, 9, 8][..]), (8, &[7, 9, 8]), (9, &[7, 8, 8])] {
            let mut list = list(&[7, 8, 9, 8])?;
            assert_eq!(list.take(|element| *element == taken), Some(taken));
            assert!(has(&list, rest));
            assert_eq!(list.take(|_| false), None);
            assert!(has(&list, rest));
        }
        let mut list = list(&[7])?;
        assert_eq!(list.take(|_| true), Some(7));
        assert!(list.is_empty());
        assert_eq!(list.take(|_| true), None);
        Ok(())
    }

    #[test]
    fn the_first_after_is_found() -> Result {
        for (elements, limit, found) in [
            (&[][..], 0, None),
            (&[7], 7, Some(7)),
            (&[7], 8, None),
            (&[7, 9, 11], 7, Some(7)),
            (&[7, 9, 11], 8, Some(9)),
            (&[7, 9, 11], 11, Some(11)),
            (&[7, 9, 11], 12, None),
        ] {
            let list = list(elements)?;
            assert_eq!(list.first_after(|element| *element < limit), found.as_ref());
        }
        Ok(())
    }
}
