// SPDX-License-Identifier: GPL-2.0
//! rust-vmm's `vfio-ioctls`, used as cloud-hypervisor and others use it: each test by group
//! and by node, and each of these with and without a virtual machine of KVM.

mod device;
mod dma;
mod interrupts;
mod migration;
mod node;
mod refusals;
mod vmm;

use vfio_selftests::harness::{Holds, Row, TestResult};

use crate::machine::leaves_nothing;
use vmm::{Vmm, Way};

/// Makes the row of a test by one of the ways.
macro_rules! row {
    ($file:ident, $test:ident, $way:ident, $words:literal) => {
        Row::new(
            concat!(
                "vfio_ioctls_",
                stringify!($file),
                "_",
                stringify!($test),
                $words
            ),
            || run($file::$test, Way::$way),
        )
    };
}

macro_rules! rows_by_node {
    ($($file:ident::$test:ident),* $(,)?) => {
        &[$(
            row!($file, $test, Node, "_by_node"),
            row!($file, $test, NodeAndKvm, "_by_node_with_kvm"),
        )*]
    };
}

macro_rules! rows_by_all {
    ($($file:ident::$test:ident),* $(,)?) => {
        &[$(
            row!($file, $test, Group, "_by_group"),
            row!($file, $test, GroupAndKvm, "_by_group_with_kvm"),
            row!($file, $test, Node, "_by_node"),
            row!($file, $test, NodeAndKvm, "_by_node_with_kvm"),
        )*]
    };
}

/// What can be done in each way.
pub(crate) const ROWS: &[Row] = rows_by_all![
    device::edu,
    device::igb,
    device::reset,
    device::again_and_again,
    device::two_groups,
    device::two_in_a_group,
    dma::round_trip,
    dma::memory_of_a_file,
    dma::huge_pages,
    dma::unmapped,
    dma::guest_grows,
    dma::between_devices,
    interrupts::msi,
    interrupts::msi_x,
    interrupts::line,
    interrupts::given_back,
    migration::serial_port,
    migration::edu,
    migration::none,
    refusals::maps,
    refusals::limit,
    refusals::unmaps,
    refusals::opens,
    refusals::features,
];

/// Where one of the ways does not hold on C.
pub(crate) const TAKEN: &[Row] = &[
    row!(refusals, taken, Group, "_by_group"),
    row!(refusals, taken, GroupAndKvm, "_by_group_with_kvm"),
    row!(refusals, taken, Node, "_by_node"),
    row!(refusals, taken, NodeAndKvm, "_by_node_with_kvm").holds(Holds::OnlyRustCore),
];

/// Only users of nodes do this.
pub(crate) const BY_NODE: &[Row] = rows_by_node![
    node::file_of_another,
    node::bound_before,
    node::memory_by_its_file,
    node::page_tables
];

fn run(test: fn(&Vmm) -> TestResult, way: Way) -> TestResult {
    leaves_nothing(|| test(&Vmm::new(way)?))
}
