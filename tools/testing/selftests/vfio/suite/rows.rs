// SPDX-License-Identifier: GPL-2.0
//! All tests, by subject. A new file of tests is named here twice.

mod container;

use crate::harness::Row;

/// All tests, in the order in which they run.
pub(crate) fn all() -> Vec<Row> {
    [container::ROWS].concat()
}
