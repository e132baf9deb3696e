// SPDX-License-Identifier: GPL-2.0
//! All tests, by subject. A new file of tests is named here twice.

mod container;
mod device;
mod group;

use crate::harness::Row;

/// All tests, in the order in which they run.
pub(crate) fn all() -> Vec<Row> {
    let subjects: &[&[Row]] = &[container::ROWS, group::ROWS, device::ROWS];
    subjects.concat()
}
