// SPDX-License-Identifier: GPL-2.0

//! A group: its members, and the locks that protect them.
//!
//! Locks: `state` (`group_lock` in C) is taken under the registry's, and outside those of device
//! sets and containers. `devices` (`device_lock`) is taken under the registry's, and by KVM, which
//! may call under a lock of a device set. `kvm` (`kvm_ref_lock`) is a spinlock, because KVM needs
//! it while it holds locks of its own, or we hold `state`. Drivers need `active` in the same way,
//! and often, so it has no lock at all.
//!
//! Corresponds to `struct vfio_group` in `drivers/vfio/vfio.h`.
//!
//! Deviation: a device that has left its group keeps the number of the group, which no other group
//! gets. C keeps the pointer, so that it takes a new group for the one that is gone if the new one
//! has its memory.

use core::{
    num::NonZeroUsize,
    ptr, //
};

use kernel::{
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Mutex,
        SpinLock, //
    }, //
};

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
        kvm::KvmPtr,
        task::TaskName, //
    },
    trace,
    views::{
        device::Device,
        device_set::{
            DeviceList,
            GroupLink, //
        },
        group_type::GroupType, //
    }, //
};

#[cfg(CONFIG_VFIO_CONTAINER)]
use crate::{
    container::backend::Backend,
    kernel::{
        published::Published,
        slab::Counted, //
    }, //
};

/// A group: a counted device with a device node, and the data of VFIO.
#[doc(alias = "vfio_group")]
pub(crate) type Group = CharDevice<GroupData>;

/// The data of a group.
#[pin_data]
pub(crate) struct GroupData {
    /// The minor number of the device node, which is free again when the group is freed.
    _minor: Id,
    /// The number of the group, which no other group has or will have.
    serial: usize,
    pub(super) kind: GroupType,
    /// The number of devices in the group.
    pub(super) members: Members,
    /// The state; its lock is C's `group_lock`.
    #[pin]
    pub(super) state: Mutex<GroupState>,
    /// The devices that user space can open; the lock is C's `device_lock`.
    #[pin]
    pub(super) devices: Mutex<GroupDevices>,
    /// The virtual machine that KVM named, for devices that are opened from then on.
    #[pin]
    pub(super) kvm: SpinLock<KvmPtr>,
    /// The backend, while devices are open through a container. It changes only under the lock of
    /// `state`.
    #[cfg(CONFIG_VFIO_CONTAINER)]
    pub(super) active: Published<Counted<Backend>>,
}

/// The number of devices in a group, which is in the registry while it has any.
///
/// Devices are added, and the last one is removed, under the registry's lock. Removing another one
/// takes no lock, so it does not wait for a group that is being made or taken down.
#[doc(alias = "vfio_group.drivers")]
pub(super) struct Members(Atomic<usize>);

impl Members {
    /// Counts the device for which a group is created.
    const fn one() -> Self {
        Self(Atomic::new(1))
    }

    /// Adds a device to those that are there. The registry's lock is held.
    pub(super) fn add(&self) {
        self.0.add(1usize, Relaxed);
    }

    /// Removes a device, unless it is the last one, and returns whether it did. Whatever was done
    /// for the device before is done for whoever removes the last one.
    pub(super) fn remove_unless_last(&self) -> bool {
        let mut seen = self.0.load(Relaxed);
        while seen > 1 {
            match self.0.cmpxchg(seen, seen - 1, Full) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }
}

/// The list of devices, pinned inside of its lock.
#[pin_data]
pub(super) struct GroupDevices {
    #[pin]
    pub(super) list: DeviceList<GroupLink>,
}

/// What the lock of a group protects.
pub(super) struct GroupState {
    /// The IOMMU group; none once the last device has left.
    pub(super) identity: Option<IommuGroup>,
    /// The open file of the group, or the bound files of cdevs.
    pub(super) users: Users,
    /// The container or iommufd that the group is in.
    pub(super) attachment: Option<Attachment>,
    /// The devices that are open through the group, perhaps through an iommufd that it has left.
    pub(super) sessions: Sessions,
}

/// The files by which the devices of a group are used: that of the group, or those of cdevs, but
/// never both at once.
pub(super) enum Users {
    /// None.
    Nobody,
    /// The file of the group, which is open, and who opened it.
    #[cfg_attr(
        not(CONFIG_VFIO_CONTAINER),
        expect(dead_code, reason = "only containers keep the file")
    )]
    GroupFile(OpenFile, TaskName),
    /// The number of files of cdevs that are bound to an iommufd, and who bound the latest.
    #[cfg_attr(
        not(CONFIG_VFIO_DEVICE_CDEV),
        expect(dead_code, reason = "devices have no nodes")
    )]
    CdevFiles(NonZeroUsize, TaskName),
}

impl GroupState {
    /// Returns the IOMMU group.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the last device has left.
    pub(super) fn identity(&self) -> Result<&IommuGroup> {
        self.identity.as_ref().ok_or(ENODEV)
    }

    /// Returns the number of the IOMMU group for messages, or -1 if the last device has left.
    pub(super) fn number(&self) -> i32 {
        self.identity.as_ref().map_or(-1, IommuGroup::id)
    }

    /// Returns who opened the file by which the group is used, or bound the latest one.
    pub(super) fn user(&self) -> Option<&TaskName> {
        match &self.users {
            Users::Nobody => None,
            Users::GroupFile(_, by) | Users::CdevFiles(_, by) => Some(by),
        }
    }

    /// Takes the group out of its container or iommufd, if it is in one. Takes the container's
    /// lock; sleeps. Warns if a device is open through a container.
    pub(super) fn detach(&mut self) {
        kernel::warn_on!(self.sessions.need_container());
        if self.attachment.take().is_some() {
            trace::group_detach(|| self.number());
        }
    }

    /// Removes and returns the IOMMU group, because the last device has left, and detaches the
    /// group from its container. It stays in an iommufd, which does not use the IOMMU group. Takes
    /// the container's lock; sleeps.
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
    /// Returns an initialiser of a group that nobody uses. `serial` must be new.
    pub(super) fn new(
        minor: Id,
        serial: usize,
        kind: GroupType,
        identity: IommuGroup,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            _minor: minor,
            serial,
            kind,
            members: Members::one(),
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
            active: Published::new(),
        })
    }

    /// Returns a reference to the IOMMU group, unless the last device has left. Takes the group's
    /// lock.
    pub(crate) fn identity(&self) -> Option<IommuGroup> {
        self.state.lock().identity.clone()
    }

    /// Sets the virtual machine for devices that are opened from now on. Takes the spinlock `kvm`;
    /// does not sleep.
    #[doc(alias = "vfio_group_set_kvm")]
    pub(crate) fn set_kvm(&self, kvm: KvmPtr) {
        *self.kvm.lock() = kvm;
    }

    /// Returns whether the IOMMU can enforce cache coherency of the DMA of every device in the
    /// group. Takes the lock of the list of devices; KVM calls this.
    #[doc(alias = "vfio_group_enforced_coherent")]
    pub(crate) fn is_enforced_coherent(&self) -> bool {
        let incoherent = |device: &Device| (!device.is_enforced_coherent()).then_some(());
        self.devices.lock().list.find(incoherent).is_none()
    }
}

/// What `vfio_device.group` says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupOf {
    /// The device was never in a group.
    Never,
    /// The address of the group of the device. It is in the registry.
    Now(*const Group),
    /// The number of the group that the device was in last. The group may be gone.
    Last(usize),
}

impl GroupOf {
    /// The lowest bit of the word, which is 0 in the address of a group, marks a number.
    const LAST: usize = 1;

    /// Returns what the device says.
    pub(super) fn read(device: &Device) -> Self {
        let group = device.group_ptr();
        if group.is_null() {
            Self::Never
        } else if group.addr() & Self::LAST != 0 {
            Self::Last(group.addr() >> 1)
        } else {
            Self::Now(group.cast_const().cast())
        }
    }

    /// Makes the device say this. Called only while it is being registered or unregistered.
    pub(super) fn write(self, device: &Device) {
        device.set_group_ptr(match self {
            Self::Never => ptr::null_mut(),
            Self::Now(group) => group.cast_mut().cast(),
            Self::Last(serial) => ptr::without_provenance_mut((serial << 1) | Self::LAST),
        });
    }
}

impl Group {
    /// Returns the group of a device, from its registration until it is unregistered.
    pub(crate) fn of(device: &Device) -> Option<&Self> {
        let GroupOf::Now(group) = GroupOf::read(device) else {
            return None;
        };
        // SAFETY: `join` set the pointer to a group in the registry, whose entry holds a reference
        // while it counts the device. `leave` replaces the pointer before it gives up that count,
        // and by its safety requirements nobody uses the result any more.
        Some(unsafe { &*group })
    }

    /// Returns what a device says that has left the group.
    pub(super) fn as_last(&self) -> GroupOf {
        GroupOf::Last(self.serial)
    }

    /// Returns whether the group is that of the device, or the one that it was in last.
    #[doc(alias = "vfio_file_has_dev")]
    pub(super) fn has(&self, device: &Device) -> bool {
        let group = GroupOf::read(device);
        // The pointer is only compared, since the device may be leaving its group.
        group == GroupOf::Now(self) || group == self.as_last()
    }
}

/// Returns whether nothing translates the DMA of a device that is in a group.
#[doc(alias = "vfio_device_is_noiommu")]
pub(crate) fn is_noiommu(device: &Device) -> bool {
    Group::of(device).is_some_and(|group| group.kind == GroupType::NoIommu)
        || (cfg!(CONFIG_IOMMUFD_NOIOMMU) && device.is_marked_noiommu())
}

/// Returns who uses the group of a device: the task that opened its file, or bound a file of a node
/// last. Does not wait for the group's lock: returns none if somebody else has it.
pub(crate) fn user_of(device: &Device) -> Option<TaskName> {
    Group::of(device)?.state.try_lock()?.user().copied()
}

/// Returns the backend for a device that is open through a container, or none if no device of its
/// group is. Takes no lock; does not sleep.
///
/// Called for drivers that access user memory. They do so only while their device is open; the
/// caller has seen that it is not open through an iommufd. What is returned stays until then.
#[cfg(CONFIG_VFIO_CONTAINER)]
pub(crate) fn active_backend(device: &Device) -> Option<&Backend> {
    Group::of(device)?.active.get().map(|backend| &**backend)
}
