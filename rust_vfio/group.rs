// SPDX-License-Identifier: GPL-2.0

//! Groups, `/dev/vfio/<n>`: the devices of one IOMMU group, which user space gets all or none of.
//!
//! A group exists while it has devices (`group/registry.rs` makes and forgets it). Its node can be
//! opened by one file at a time, which puts the group into a container or an iommufd
//! (`group/attachment.rs`) and takes device files out of it (`group/sessions.rs`). A file that
//! stays open after the last device is gone is a zombie: the group has lost its IOMMU group and
//! answers `ENODEV`.
//!
//! Locks, outer first: the registry's, [`GroupData::state`], the device set's; and, below the
//! registry's only, [`GroupData::devices`]. [`GroupData::kvm`] is a spinlock of its own because
//! KVM sets it under locks that are taken inside `state`; [`GroupData::active`] is one because
//! drivers pin pages while the locks above are held.
//!
//! Corresponds to `drivers/vfio/group.c`; contract sections 1.6 to 1.8, 3.2.

use core::{
    mem::size_of,
    num::NonZeroUsize, //
};

use kernel::{
    fs::{
        file::FileDescriptorReservation,
        File, //
    },
    new_mutex, new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        Mutex,
        SpinLock, //
    },
};

use crate::{
    ffi::{
        chardev::CharDevice,
        device::{
            Device,
            IommuCap,
            Registered, //
        },
        device_set::{
            DeviceList,
            GroupLink, //
        },
        driver_ops::UserString,
        file::{
            fget,
            OpenFile, //
        },
        fops::{
            FileOps,
            FopsTable,
            Inode, //
        },
        group_kind::GroupKind,
        ida::Id,
        iommu_group::IommuGroup,
        kvm::KvmPtr,
        task,
        uapi::UserAddr,
        uapi_structs::{
            GroupStatus,
            GROUP_FLAGS_CONTAINER_SET,
            GROUP_FLAGS_VIABLE, //
        },
    },
    uapi, //
};

mod attachment;
#[cfg(CONFIG_VFIO_CONTAINER)]
mod container_use;
pub(crate) mod device_file;
mod registry;
mod sessions;

use attachment::Attachment;
use sessions::Sessions;

#[cfg(CONFIG_VFIO_CONTAINER)]
pub(crate) use container_use::{
    active_backend,
    active_group, //
};
pub(crate) use registry::{
    is_noiommu,
    join,
    leave,
    link,
    unlink,
    Groups, //
};

/// The table of group files.
static FOPS: FopsTable<Group> = FopsTable::new();

/// A group: a device with a node, and what VFIO knows about it.
pub(crate) type Group = CharDevice<GroupData>;

/// What VFIO knows about a group.
#[pin_data]
pub(crate) struct GroupData {
    /// The minor of the node.
    _minor: Id,
    kind: GroupKind,
    /// `group_lock`.
    #[pin]
    state: Mutex<State>,
    /// `device_lock`: the devices that user space can ask for.
    #[pin]
    devices: Mutex<Devices>,
    /// The virtual machine that KVM named; seen by devices that are opened later.
    #[pin]
    kvm: SpinLock<KvmPtr>,
    /// The backend of the devices that are open through a container.
    #[cfg(CONFIG_VFIO_CONTAINER)]
    #[pin]
    active: SpinLock<container_use::Active>,
}

/// The list of devices, pinned inside its lock.
#[pin_data]
struct Devices {
    #[pin]
    list: DeviceList<GroupLink>,
}

/// What the lock of a group protects.
struct State {
    /// The IOMMU group; gone when the last device is.
    identity: Option<IommuGroup>,
    users: Users,
    /// What the group was put into.
    attachment: Option<Attachment>,
    /// The devices that are open through the group, perhaps by what it was in before.
    sessions: Sessions,
}

/// Which way the devices of a group are used: never two at once.
enum Users {
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

impl State {
    fn identity(&self) -> Result<&IommuGroup> {
        self.identity.as_ref().ok_or(ENODEV)
    }

    /// Takes the group out of whatever it is in.
    fn detach(&mut self) {
        kernel::warn_on!(self.sessions.need_container());
        self.attachment = None;
    }

    /// The last device is gone: nothing of the IOMMU group may be used any more. An iommufd has
    /// nothing of it.
    fn lose_identity(&mut self) -> Option<IommuGroup> {
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
    fn new(minor: Id, kind: GroupKind, identity: IommuGroup) -> impl PinInit<Self> {
        pin_init!(Self {
            _minor: minor,
            kind,
            state <- new_mutex!(
                State {
                    identity: Some(identity),
                    users: Users::Nobody,
                    attachment: None,
                    sessions: Sessions::new(),
                },
                "vfio_group.group_lock"
            ),
            devices <- new_mutex!(
                pin_init!(Devices { list <- DeviceList::new() }),
                "vfio_group.device_lock"
            ),
            kvm <- new_spinlock!(KvmPtr::none(), "vfio_group.kvm_ref_lock"),
            #[cfg(CONFIG_VFIO_CONTAINER)]
            active <- new_spinlock!(None, "vfio_group.active"),
        })
    }

    /// Whether the caller may touch a group whose DMA nothing translates.
    fn check_rawio(&self) -> Result {
        match self.kind {
            GroupKind::NoIommu if !task::capable_rawio() => Err(EPERM),
            _ => Ok(()),
        }
    }

    /// GET_STATUS.
    fn status(&self, arg: UserAddr) -> Result<isize> {
        let mut status = arg.read::<GroupStatus>()?;
        if usize::try_from(status.argsz)? < size_of::<GroupStatus>() {
            return Err(EINVAL);
        }
        status.flags = {
            let state = self.state.lock();
            let identity = state.identity()?;
            if state.attachment.is_some() {
                GROUP_FLAGS_CONTAINER_SET | GROUP_FLAGS_VIABLE
            } else if identity.is_claimed() {
                0
            } else {
                GROUP_FLAGS_VIABLE
            }
        };
        arg.write(&status)?;
        Ok(0)
    }

    /// SET_CONTAINER.
    fn set_container(&self, arg: UserAddr) -> Result<isize> {
        let file = fget(arg.read::<i32>()?)?;
        let mut state = self.state.lock();
        if state.attachment.is_some() {
            return Err(EINVAL);
        }
        let attachment = Attachment::new(&file, self, state.identity()?)?;
        state.attachment = Some(attachment);
        Ok(0)
    }

    /// UNSET_CONTAINER.
    fn unset_container(&self) -> Result<isize> {
        let mut state = self.state.lock();
        if state.attachment.is_none() {
            return Err(EINVAL);
        }
        if state.sessions.need_container() {
            return Err(EBUSY);
        }
        state.detach();
        Ok(0)
    }

    /// The device that the user names, with a count of its registration.
    ///
    /// The driver decides whether the name fits, and may refuse with an error; without an opinion
    /// of the driver, names are compared. A device that is being unregistered is passed over.
    fn find_device(&self, name: &UserString) -> Result<Registered> {
        let devices = self.devices.lock();
        devices
            .list
            .find(|device| {
                match device
                    .driver_match(name)
                    .unwrap_or_else(|| Ok(device.is_named(name)))
                {
                    Ok(true) => Registered::get(device).map(Ok),
                    Ok(false) => None,
                    Err(e) => Some(Err(e)),
                }
            })
            .unwrap_or(Err(ENODEV))
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
    /// GET_DEVICE_FD.
    fn device_fd(&self, arg: UserAddr) -> Result<isize> {
        let name = UserString::read(arg)?;
        let device = self.find_device(&name)?;
        let fd =
            FileDescriptorReservation::get_unused_fd_flags(kernel::fs::file::flags::O_CLOEXEC)?;
        let file = self.open_device(device)?;
        let number = isize::try_from(fd.reserved_fd())?;
        fd.fd_install(file);
        Ok(number)
    }
}

/// Keeps the group's file from being opened, for a file of a device's own node.
#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
pub(crate) struct Blocked(ARef<Group>);

/// Blocks the group of a device.
///
/// # Errors
///
/// `EBUSY` if the group's file is open, `ENODEV` if the device has no group.
#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
pub(crate) fn block(device: &Device) -> Result<Blocked> {
    let group = registry::of(device).ok_or(ENODEV)?;
    let mut state = group.state.lock();
    let files = match state.users {
        Users::GroupFile(_) => return Err(EBUSY),
        Users::Nobody => NonZeroUsize::MIN,
        Users::NodeFiles(files) => files.checked_add(1).ok_or(EMFILE)?,
    };
    state.users = Users::NodeFiles(files);
    Ok(Blocked(group.into()))
}

#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
impl Drop for Blocked {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        if let Users::NodeFiles(files) = state.users {
            state.users = match NonZeroUsize::new(files.get() - 1) {
                Some(files) => Users::NodeFiles(files),
                None => Users::Nobody,
            };
        }
    }
}

#[vtable]
impl FileOps for Group {
    type Ptr = ARef<Group>;

    fn open(inode: &Inode, file: &File) -> Result<ARef<Group>> {
        // SAFETY: Every node in the region of groups is that of a group.
        let group = unsafe { Group::from_inode(inode) };
        let mut state = group.state.lock();
        state.identity()?;
        group.check_rawio()?;
        match state.users {
            Users::Nobody => state.users = Users::GroupFile(OpenFile::new(file)),
            Users::GroupFile(_) | Users::NodeFiles(_) => return Err(EBUSY),
        }
        drop(state);
        Ok(group)
    }

    fn release(this: ARef<Group>) {
        let mut state = this.state.lock();
        // Devices that are open through a container keep the file, so none is; those that are open
        // through an iommufd go on.
        state.detach();
        state.users = Users::Nobody;
    }

    fn ioctl(this: &Group, cmd: u32, arg: UserAddr) -> Result<isize> {
        match cmd {
            uapi::VFIO_GROUP_GET_STATUS => this.status(arg),
            uapi::VFIO_GROUP_SET_CONTAINER => this.set_container(arg),
            uapi::VFIO_GROUP_UNSET_CONTAINER => this.unset_container(),
            uapi::VFIO_GROUP_GET_DEVICE_FD => this.device_fd(arg),
            _ => Err(ENOTTY),
        }
    }
}

/// Whether `file` is the file of the device's group.
pub(crate) fn has_device(file: &File, device: &Device) -> bool {
    // Only compared: the device may be on its way out of its group.
    from_file(file).is_some_and(|group| (&raw const *group).cast() == device.group_ptr())
}

/// The group that `file` is a file of.
pub(crate) fn from_file(file: &File) -> Option<&Group> {
    FOPS.borrow(file)
}
