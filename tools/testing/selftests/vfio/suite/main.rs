// SPDX-License-Identifier: GPL-2.0
//! The tests of the contract: one for each row, named after it.
//!
//! A program for the test VM. It needs root, the modules in `/modules`, and
//! the devices that the VM has: see `bench`. Results are KTAP on standard
//! output.
//!
//! ```text
//! vfio-selftests --list          what there is
//! vfio-selftests F01,R           the rows whose names contain F01 or R
//! vfio-selftests --exact F003_get_api_version
//! ```
//!
//! The same tests run on the kernel's own modules and on ours (`IMPL` in the
//! environment says which are loaded). A row that states a deviation from the
//! kernel's modules says so where it is listed.

// The names of tests begin with the names of contract rows.
#![allow(non_snake_case)]

mod bench;
mod check;
mod emulated;
#[path = "../fixture/client.rs"]
mod fixture;
mod pinners;
mod rows;

use std::process::ExitCode;

use vfio_selftests::harness;

fn main() -> ExitCode {
    harness::main(rows::all(), bench::tidy)
}
