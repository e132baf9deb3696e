// SPDX-License-Identifier: GPL-2.0
//! All tests, by subject. A new file of tests is named here twice.

mod asked_back;
mod bystanders;
mod cdev;
mod cdev_attach;
mod compat;
mod container;
mod device;
mod dirty;
mod dirty_errors;
mod dirty_words;
mod dma_rw;
mod driver_api;
mod driver_api_edu;
mod driver_api_faults;
mod driver_api_migration;
mod fault_injection;
mod fixture_faults;
mod fixture_features;
mod fixture_helpers;
mod fixture_iommu;
mod fixture_life;
mod fixture_logging;
mod fixture_ops;
mod fixture_returns;
mod fixture_states;
mod fixture_unregister;
mod fixture_virqfd;
mod group;
mod info;
mod iommufd;
mod kept;
mod load;
mod machine;
mod map;
mod map_cgroup;
mod map_changes;
mod map_cow;
mod map_frames;
mod map_fuse;
mod map_merged;
mod map_movable;
mod map_poison;
mod map_protection;
mod map_special;
mod map_userfault;
mod migration;
mod mmio;
mod module;
mod node_bugs;
mod noiommu;
mod notify;
mod observe;
mod passing;
mod pci;
mod pin_accounts;
mod pinning;
mod refusals;
mod samples;
mod siblings;
mod teardown;
mod unmap;
mod vaddr;
mod vfioctl;
mod waiting;

use crate::harness::Row;

/// Which modules decide how the rows of a subject end.
enum Decides {
    /// The core, or the backend, or a driver: it cannot matter whose the other
    /// one is.
    One,
    /// The core and the backend together. These rows go through the calls that
    /// the two make to each other (`struct vfio_iommu_driver_ops`: open and
    /// release, attach and detach, register a device, pin, copy) or look at
    /// both modules, so they run on mixtures of C and Rust modules as well.
    Both,
}
use Decides::{Both, One};

/// All subjects, in the order in which they run.
const SUBJECTS: &[(Decides, &[Row])] = &[
    (Both, container::ROWS),
    (Both, group::ROWS),
    (One, device::ROWS),
    (One, cdev::ROWS),
    (One, cdev_attach::ROWS),
    (One, iommufd::ROWS),
    (One, noiommu::ROWS),
    (One, node_bugs::ROWS),
    (One, passing::ROWS),
    (One, kept::ROWS),
    (One, asked_back::ROWS),
    (One, siblings::ROWS),
    (One, waiting::ROWS),
    (One, machine::ROWS),
    (One, migration::ROWS),
    (Both, map::ROWS),
    (One, map_frames::ROWS),
    (One, map_protection::ROWS),
    (One, map_userfault::ROWS),
    (One, map_special::ROWS),
    (One, map_poison::ROWS),
    (One, map_fuse::ROWS),
    (One, map_cow::ROWS),
    (One, map_merged::ROWS),
    (One, map_changes::ROWS),
    (One, map_cgroup::ROWS),
    (One, map_movable::ROWS),
    (Both, unmap::ROWS),
    (Both, info::ROWS),
    (Both, pinning::ROWS),
    (Both, pin_accounts::ROWS),
    (Both, dma_rw::ROWS),
    (Both, notify::ROWS),
    (Both, vaddr::ROWS),
    (Both, dirty::ROWS),
    (One, dirty_words::ROWS),
    (One, dirty_errors::ROWS),
    (One, mmio::ROWS),
    (Both, samples::ROWS),
    (Both, driver_api::ROWS),
    (One, driver_api_migration::ROWS),
    (One, driver_api_edu::ROWS),
    (One, driver_api_faults::ROWS),
    (Both, observe::ROWS),
    (Both, refusals::ROWS),
    (Both, load::ROWS),
    (One, pci::ROWS),
    (One, compat::ROWS),
    (One, vfioctl::ROWS),
    (Both, teardown::ROWS),
    (One, bystanders::ROWS),
    (One, fixture_life::ROWS),
    (One, fixture_unregister::ROWS),
    (One, fixture_ops::ROWS),
    (One, fixture_returns::ROWS),
    (One, fixture_helpers::ROWS),
    (One, fixture_virqfd::ROWS),
    (One, fixture_features::ROWS),
    (One, fixture_states::ROWS),
    (One, fixture_logging::ROWS),
    (Both, fixture_iommu::ROWS),
    (One, fixture_faults::ROWS),
    (One, fault_injection::ROWS),
    // Last, because it takes everything down.
    (Both, module::ROWS),
];

/// All tests, in the order in which they run.
pub(crate) fn all() -> Vec<Row> {
    SUBJECTS
        .iter()
        .flat_map(|(decides, rows)| {
            rows.iter().map(move |row| match decides {
                One => *row,
                Both => row.at_the_border(),
            })
        })
        .collect()
}
