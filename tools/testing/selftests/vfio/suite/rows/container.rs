// SPDX-License-Identifier: GPL-2.0
//! The container file before it has a backend: rows F001-F007 and F009-F011.

use crate::harness::{rows, Row, TestResult};
pub(crate) const ROWS: &[Row] = rows![F003_get_api_version];
use vfio_selftests::{container::Container, uapi};

fn F003_get_api_version() -> TestResult {
    let container = Container::open()?;
    assert_eq!(container.api_version()?, uapi::API_VERSION);
    Ok(())
}
