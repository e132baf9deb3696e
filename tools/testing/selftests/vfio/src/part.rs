// SPDX-License-Identifier: GPL-2.0
//! Parts of a list of tests, for machines that share the work.

use std::{fmt, num::NonZeroUsize, str::FromStr};

/// One part of several: the first of two is written `1/2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// From 1 to `of`.
    number: NonZeroUsize,
    of: NonZeroUsize,
}

impl Part {
    /// Whether no part comes after it.
    pub fn is_last(self) -> bool {
        self.number == self.of
    }

    /// Chooses what belongs to this part. Neighbours, which tend to take as long
    /// as each other, are dealt to different parts.
    pub fn choose<T>(self, all: impl IntoIterator<Item = T>) -> Vec<T> {
        all.into_iter()
            .skip(self.number.get() - 1)
            .step_by(self.of.get())
            .collect()
    }
}

/// The whole.
impl Default for Part {
    fn default() -> Self {
        let one = NonZeroUsize::MIN;
        Self {
            number: one,
            of: one,
        }
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split_once('/')
            .and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)))
            .filter(|(number, of)| number <= of)
            .map(|(number, of)| Self { number, of })
            .ok_or_else(|| format!("{text} is no part as 1/2 is"))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_the_whole_together() {
        let part = |text: &str| text.parse::<Part>().unwrap();
        let chosen = |text| part(text).choose(0..5);
        assert_eq!(chosen("1/1"), [0, 1, 2, 3, 4]);
        assert_eq!(chosen("1/2"), [0, 2, 4]);
        assert_eq!(chosen("2/2"), [1, 3]);
        assert_eq!(chosen("3/3"), [2]);
        assert_eq!(part("1/1"), Part::default());
        assert!(part("2/2").is_last());
        assert!(!part("1/2").is_last());
        assert_eq!(part("2/3").to_string(), "2/3");
    }

    #[test]
    fn what_is_no_part_is_refused() {
        for text in ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b"] {
            assert!(text.parse::<Part>().is_err(), "{text}");
        }
    }
}
