// SPDX-License-Identifier: GPL-2.0
//! All tests, by subject. A new file of tests is named here twice.

mod cdev;
mod cdev_attach;
mod compat;
mod container;
mod device;
mod fault_injection;
mod fixture_faults;
mod fixture_features;
mod fixture_helpers;
mod fixture_life;
mod fixture_logging;
mod fixture_ops;
mod fixture_states;
mod fixture_unregister;
mod fixture_virqfd;
mod group;
mod info;
mod iommufd;
mod map;
mod module;
mod node_bugs;
mod noiommu;
mod passing;
mod pci;
mod teardown;
mod unmap;

use crate::harness::Row;

/// All tests, in the order in which they run.
pub(crate) fn all() -> Vec<Row> {
    let subjects: &[&[Row]] = &[
        container::ROWS,
        group::ROWS,
        device::ROWS,
        cdev::ROWS,
        cdev_attach::ROWS,
        iommufd::ROWS,
        noiommu::ROWS,
        node_bugs::ROWS,
        passing::ROWS,
        map::ROWS,
        unmap::ROWS,
        info::ROWS,
        pci::ROWS,
        compat::ROWS,
        teardown::ROWS,
        fixture_life::ROWS,
        fixture_unregister::ROWS,
        fixture_ops::ROWS,
        fixture_helpers::ROWS,
        fixture_virqfd::ROWS,
        fixture_features::ROWS,
        fixture_states::ROWS,
        fixture_logging::ROWS,
        fixture_faults::ROWS,
        fault_injection::ROWS,
        // Last, because it takes everything down.
        module::ROWS,
    ];
    subjects.concat()
}
