// SPDX-License-Identifier: GPL-2.0
//! Each kind of finding, on small trees that have it, and what looks similar and is none.

mod circles;
mod direction;
mod marks;
mod paths;
mod rooms;
mod tree;
mod types;
