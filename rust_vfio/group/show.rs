// SPDX-License-Identifier: GPL-2.0

//! What one can see of groups and containers: the files `vfio/groups` and `vfio/containers` in
//! debugfs, and the lines of a group's file in fdinfo.
//!
//! Nothing here waits for a lock: somebody may hold it as long as the memory of a user takes to
//! appear. What is in use is said to be busy. The keys are stable; `docs/observability.md` explains
//! them.
//!
//! Deviation: C has no such files, and no such lines.

#[cfg(CONFIG_VFIO_DEBUGFS)]
use kernel::prelude::*;
use kernel::{
    seq_file::SeqFile,
    seq_print, //
};

use crate::{
    group::{
        attachment::Attachment,
        state::{
            GroupData,
            GroupState,
            Users, //
        }, //
    },
    views::group_type::GroupType, //
};

#[cfg(CONFIG_VFIO_DEBUGFS)]
use crate::group::{
    registry,
    state::Group, //
};

impl GroupState {
    /// Prints the number of the group, what it is in, and who opened it.
    fn print(&self, kind: GroupType, m: &SeqFile) {
        seq_print!(m, "vfio-group:\t{}\n", self.number());
        let kind = match kind {
            GroupType::Iommu => "iommu",
            GroupType::Emulated => "emulated",
            GroupType::NoIommu => "noiommu",
        };
        seq_print!(m, "vfio-type:\t{kind}\n");
        match &self.attachment {
            None => seq_print!(m, "vfio-attached:\tnone\n"),
            #[cfg(CONFIG_VFIO_CONTAINER)]
            Some(Attachment::Container(membership)) => {
                let id = membership.container().id();
                seq_print!(m, "vfio-attached:\tcontainer\nvfio-container:\t{id}\n");
            }
            #[cfg(CONFIG_IOMMUFD)]
            Some(Attachment::Iommufd(_)) => seq_print!(m, "vfio-attached:\tiommufd\n"),
        }
        match &self.users {
            Users::Nobody => {}
            Users::GroupFile(_, by) => seq_print!(m, "vfio-opened-by:\t{by}\n"),
            Users::CdevFiles(files, by) => {
                let files = files.get();
                seq_print!(m, "vfio-nodes-bound:\t{files}\nvfio-bound-by:\t{by}\n");
            }
        }
    }
}

impl GroupData {
    /// Prints the lines of the group's file in fdinfo.
    pub(super) fn show(&self, m: &SeqFile) {
        match self.state.try_lock() {
            Some(state) => state.print(self.kind, m),
            None => seq_print!(m, "vfio-busy:\tyes\n"),
        }
    }
}

/// The file `vfio/groups`: what fdinfo says of each group, and its devices.
#[cfg(CONFIG_VFIO_DEBUGFS)]
pub(crate) struct GroupList;

#[cfg(CONFIG_VFIO_DEBUGFS)]
impl crate::kernel::debugfs::Contents for GroupList {
    fn show(m: &SeqFile) -> Result {
        registry::try_for_each(|group| {
            group.show(m);
            print_devices(group, m);
            seq_print!(m, "\n");
            Ok(())
        })
    }
}

/// Prints the devices of a group, and how many files of each are open.
#[cfg(CONFIG_VFIO_DEBUGFS)]
fn print_devices(group: &Group, m: &SeqFile) {
    let Some(devices) = group.devices.try_lock() else {
        return seq_print!(m, "vfio-devices-busy:\tyes\n");
    };
    devices.list.find(|device| -> Option<()> {
        let name = device.bus_device().name();
        let files = device.peek_open_count();
        seq_print!(m, "vfio-device:\t{name} files {files}\n");
        None
    });
}

/// The file `vfio/containers`: what fdinfo says of each container that has a group.
#[cfg(all(CONFIG_VFIO_DEBUGFS, CONFIG_VFIO_CONTAINER))]
pub(crate) struct ContainerList;

#[cfg(all(CONFIG_VFIO_DEBUGFS, CONFIG_VFIO_CONTAINER))]
impl crate::kernel::debugfs::Contents for ContainerList {
    fn show(m: &SeqFile) -> Result {
        let mut shown = KVVec::new();
        registry::try_for_each(|group| {
            let Some(state) = group.state.try_lock() else {
                return Ok(());
            };
            if let Some(Attachment::Container(membership)) = &state.attachment {
                let container = membership.container();
                if !shown.contains(&container.id()) {
                    shown.push(container.id(), GFP_KERNEL)?;
                    container.show(m);
                    seq_print!(m, "\n");
                }
            }
            Ok(())
        })
    }
}
