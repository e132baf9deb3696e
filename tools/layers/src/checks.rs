// SPDX-License-Identifier: GPL-2.0
//! What is checked, one file for each thing.

pub(crate) mod circles;
pub(crate) mod direction;
pub(crate) mod marks;
pub(crate) mod rooms;
pub(crate) mod types;
