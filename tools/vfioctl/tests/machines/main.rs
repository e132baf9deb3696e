// SPDX-License-Identifier: GPL-2.0
//! The whole program on made-up machines: a tree of files each, as sysfs and procfs have
//! them. Each rule of the program has a machine on which it makes the difference.

mod bind;
mod doctor;
mod in_use;
mod list;
mod samples;
mod saved;
mod tree;
mod watch;
mod why;
