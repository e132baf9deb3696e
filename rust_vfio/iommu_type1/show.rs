// SPDX-License-Identifier: GPL-2.0

//! What one can see of a container: the lines that the core prints into the fdinfo of its file, and
//! in debugfs.
//!
//! The lock of the container is not waited for: MAP_DMA holds it as long as it takes until the
//! memory is there. The keys are stable; `docs/observability.md` explains them.
//!
//! Deviation: C has no such lines, and no symbol by which the core could ask for them.

use kernel::{
    seq_file::SeqFile,
    seq_print, //
};

use crate::{
    iommu_type1::{
        logic::{
            units::PageCount, //
            unmap_plan::Version,
        },
        state::{
            Type1,
            Type1State, //
        }, //
    },
    kernel::mm, //
};

impl Type1 {
    /// Prints the state of the container, or that somebody else has its lock.
    pub(super) fn show(&self, m: &SeqFile) {
        match self.state.try_lock() {
            Some(state) => state.show(m),
            None => seq_print!(m, "vfio-busy:\tyes\n"),
        }
    }
}

impl Type1State {
    fn show(&self, m: &SeqFile) {
        let version = match self.version {
            Version::V1 => 1,
            Version::V2 => 2,
        };
        let totals = self.mappings.totals();
        let locked = self
            .locked
            .as_ref()
            .map_or(PageCount::ZERO, |locked| locked.pages());
        seq_print!(m, "vfio-type1-version:\t{version}\n");
        seq_print!(m, "vfio-mappings:\t{}\n", totals.mappings);
        seq_print!(m, "vfio-mapped-bytes:\t{}\n", totals.bytes);
        seq_print!(m, "vfio-pinned-bytes:\t{}\n", locked.bytes(mm::SHIFT));
        seq_print!(m, "vfio-entries-left:\t{}\n", self.available);
        seq_print!(m, "vfio-driver-pins:\t{}\n", self.driver_pins);
        seq_print!(m, "vfio-domains:\t{}\n", self.domains.list.len());
        let tracked = if self.tracking.is_some() { "on" } else { "off" };
        seq_print!(m, "vfio-dirty-tracking:\t{tracked}\n");
        if let Some(owner) = &self.owner {
            seq_print!(m, "vfio-account-owner:\t{}\n", owner.name());
        }
    }
}
