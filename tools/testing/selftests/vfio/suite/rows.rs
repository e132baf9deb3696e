// SPDX-License-Identifier: GPL-2.0
//! All tests, by subject. A new file of tests is named here twice.

mod cdev;
mod cdev_attach;
mod compat;
mod container;
mod device;
mod dirty;
mod dirty_errors;
mod dirty_words;
mod dma_rw;
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
mod load;
mod map;
mod mmio;
mod module;
mod node_bugs;
mod noiommu;
mod notify;
mod passing;
mod pci;
mod pin_accounts;
mod pinning;
mod samples;
mod teardown;
mod unmap;
mod vaddr;

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
        pinning::ROWS,
        pin_accounts::ROWS,
        dma_rw::ROWS,
        notify::ROWS,
        vaddr::ROWS,
        dirty::ROWS,
        dirty_words::ROWS,
        dirty_errors::ROWS,
        mmio::ROWS,
        samples::ROWS,
        load::ROWS,
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
