// SPDX-License-Identifier: GPL-2.0

//! A group, and what it is in.
//!
//! Locks: `state` (`group_lock` in C) is taken inside the registry's and outside those of device
//! sets and containers; `devices` (`device_lock`) is taken inside `state`; `kvm` and `active` are
//! spinlocks because they are wanted where a mutex above could be held already.
//!
//! Corresponds to `struct vfio_group`.

use core::num::NonZeroUsize;

use kernel::{
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        Mutex,
        SpinLock, //
    }, //
};

#[cfg(CONFIG_VFIO_CONTAINER)]
use crate::group::membership::ActiveContainer;
use crate::{
    group::{
        attachment::Attachment,
        sessions::Sessions, //
    },
    kernel::{
        chardev::CharDevice,
        file::OpenFile,
        ida::Id,
        iommu_group::IommuGroup,
        kvm::KvmPtr, //
    },
    views::{
        device::{
            Device,
            IommuCap, //
        },
        device_set::{
            DeviceList,
            GroupLink, //
        },
        group_type::GroupType, //
    }, //
};

/// A group: a device with a node, and what VFIO knows about it.
pub(crate) type Group = CharDevice<GroupData>;

/// What VFIO knows about a group.
#[pin_data]
pub(crate) struct GroupData {
    /// The minor of the node.
    _minor: Id,
    pub(super) kind: GroupType,
    /// `group_lock`.
    #[pin]
    pub(super) state: Mutex<GroupState>,
    /// `device_lock`: the devices that user space can ask for.
    #[pin]
    pub(super) devices: Mutex<GroupDevices>,
    /// The virtual machine that KVM named; seen by devices that are opened later.
    #[pin]
    pub(super) kvm: SpinLock<KvmPtr>,
    /// The backend of the devices that are open through a container.
    #[cfg(CONFIG_VFIO_CONTAINER)]
    #[pin]
    pub(super) active: SpinLock<Option<ActiveContainer>>,
}

/// The list of devices, pinned inside its lock.
#[pin_data]
pub(super) struct GroupDevices {
    #[pin]
    pub(super) list: DeviceList<GroupLink>,
}

/// What the lock of a group protects.
pub(super) struct GroupState {
    /// The IOMMU group; gone when the last device is.
    pub(super) identity: Option<IommuGroup>,
    pub(super) users: Users,
    /// What the group was put into.
    pub(super) attachment: Option<Attachment>,
    /// The devices that are open through the group, perhaps by what it was in before.
    pub(super) sessions: Sessions,
}

/// Which way the devices of a group are used: never two at once.
pub(super) enum Users {
    /// None.
    Nobody,
    /// The file of the group, which hands them out.
    #[cfg_attr(
        not(CONFIG_VFIO_CONTAINER),
        expect(dead_code, reason = "only containers keep the file")
    )]
    GroupFile(OpenFile),
    /// So many files of the devices' own nodes that are bound to an iommufd.
    #[cfg_attr(
        not(CONFIG_VFIO_DEVICE_CDEV),
        expect(dead_code, reason = "devices have no nodes")
    )]
    NodeFiles(NonZeroUsize),
}

impl GroupState {
    pub(super) fn identity(&self) -> Result<&IommuGroup> {
        self.identity.as_ref().ok_or(ENODEV)
    }

    /// Takes the group out of whatever it is in.
    pub(super) fn detach(&mut self) {
        kernel::warn_on!(self.sessions.need_container());
        self.attachment = None;
    }

    /// The last device is gone: nothing of the IOMMU group may be used any more. An iommufd has
    /// nothing of it.
    pub(super) fn lose_identity(&mut self) -> Option<IommuGroup> {
        if self
            .attachment
            .as_ref()
            .is_some_and(Attachment::is_container)
        {
            self.detach();
        }
        self.identity.take()
    }
}

impl GroupData {
    pub(super) fn new(minor: Id, kind: GroupType, identity: IommuGroup) -> impl PinInit<Self> {
        pin_init!(Self {
            _minor: minor,
            kind,
            state <- new_mutex!(
                GroupState {
                    identity: Some(identity),
                    users: Users::Nobody,
                    attachment: None,
                    sessions: Sessions::new(),
                },
                "vfio_group.group_lock"
            ),
            devices <- new_mutex!(
                pin_init!(GroupDevices { list <- DeviceList::new() }),
                "vfio_group.device_lock"
            ),
            kvm <- new_spinlock!(KvmPtr::none(), "vfio_group.kvm_ref_lock"),
            #[cfg(CONFIG_VFIO_CONTAINER)]
            active <- new_spinlock!(None, "vfio_group.active"),
        })
    }

    /// The IOMMU group, unless this is a zombie.
    pub(crate) fn identity(&self) -> Option<IommuGroup> {
        self.state.lock().identity.clone()
    }

    /// Names the virtual machine for devices that are opened from now on. Does not sleep.
    pub(crate) fn set_kvm(&self, kvm: KvmPtr) {
        *self.kvm.lock() = kvm;
    }

    /// Whether the IOMMU makes the DMA of every device coherent, whatever the device asks for.
    pub(crate) fn is_enforced_coherent(&self) -> bool {
        let incoherent = |device: &Device| {
            (!device.iommu_capable(IommuCap::EnforceCacheCoherency)).then_some(())
        };
        self.devices.lock().list.find(incoherent).is_none()
    }
}

impl Group {
    /// Returns the group of a device, from its registration until it is unregistered.
    pub(crate) fn of(device: &Device) -> Option<&Self> {
        // SAFETY: The pointer was set by `join`, and the device belongs to the group, which is thus
        // valid, until `leave`.
        unsafe { device.group_ptr().cast::<Self>().as_ref() }
    }
}

/// Returns whether nothing translates the DMA of a device, which has a group already.
pub(crate) fn is_noiommu(device: &Device) -> bool {
    Group::of(device).is_some_and(|group| group.kind == GroupType::NoIommu)
        || (cfg!(CONFIG_IOMMUFD_NOIOMMU) && device.is_marked_noiommu())
}

/// Returns what finds the user's memory for a device that is open through a container. Takes no lock
/// but a spinlock.
#[cfg(CONFIG_VFIO_CONTAINER)]
pub(crate) fn active_container(device: &Device) -> Option<ActiveContainer> {
    Group::of(device)?.active.lock().clone()
}
