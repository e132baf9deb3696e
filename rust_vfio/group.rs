// SPDX-License-Identifier: GPL-2.0

//! Groups, `/dev/vfio/<n>`: the devices of one IOMMU group, which user space gets all or none of.
//!
//! A group exists while it has devices (`group/registry.rs` makes and forgets it). Its node can be
//! opened by one file at a time, which puts the group into a container and takes device files out
//! of it. A file that stays open after the last device is gone is a zombie: the group has lost its
//! IOMMU group and answers `ENODEV`.
//!
//! Locks, outer first: the registry's, [`GroupData::state`], the device set's; and, below the
//! registry's only, [`GroupData::devices`]. [`GroupData::kvm`] is a spinlock of its own because
//! KVM sets it under locks that are taken inside `state`; [`GroupData::session`] is one because
//! drivers pin pages while the locks above are held.
//!
//! Corresponds to `drivers/vfio/group.c`; contract sections 1.6 to 1.8, 3.2.

use core::mem::size_of;

use kernel::{
    fs::{
        file::FileDescriptorReservation,
        File, //
    },
    new_mutex, new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex,
        SpinLock, //
    },
};

use crate::{
    container::{
        backend::Backend,
        Container, //
    },
    core::{
        device_file::{
            self,
            DeviceFile, //
        },
        kvm,
        session::{
            self,
            SessionOwner, //
        },
    },
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
        ida::Id,
        iommu_driver::GroupKind,
        iommu_group::IommuGroup,
        kvm::KvmPtr,
        task::{
            self,
            Comm, //
        },
        uapi::UserAddr,
        uapi_structs::{
            GroupStatus,
            GROUP_FLAGS_CONTAINER_SET,
            GROUP_FLAGS_VIABLE, //
        },
    },
    uapi, //
};

mod registry;

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
    /// The backend of the open devices, for their drivers to pin pages with.
    #[pin]
    session: SpinLock<Option<(Arc<Backend>, IommuGroup)>>,
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
    /// The one file that is open.
    opened: Option<OpenFile>,
    /// The container that the group is in.
    attachment: Option<Attachment>,
}

/// A group's place in a container.
struct Attachment {
    container: Arc<Container>,
    /// How many devices are open. They keep the group's file.
    sessions: usize,
    _file: Option<ARef<File>>,
}

impl State {
    fn identity(&self) -> Result<&IommuGroup> {
        self.identity.as_ref().ok_or(ENODEV)
    }

    /// Takes the group out of its container, if it is in one.
    fn detach(&mut self) {
        if let (Some(attachment), Some(identity)) = (self.attachment.take(), &self.identity) {
            kernel::warn_on!(attachment.sessions > 0);
            attachment.container.detach(identity);
        }
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
                    opened: None,
                    attachment: None,
                },
                "vfio_group.group_lock"
            ),
            devices <- new_mutex!(
                pin_init!(Devices { list <- DeviceList::new() }),
                "vfio_group.device_lock"
            ),
            kvm <- new_spinlock!(KvmPtr::none(), "vfio_group.kvm_ref_lock"),
            session <- new_spinlock!(None, "vfio_group.session"),
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
        let identity = state.identity()?;
        let container = Container::from_file(&file).ok_or(EBADFD)?;
        self.check_rawio()?;
        container.attach(identity, self.kind)?;
        state.attachment = Some(Attachment {
            container,
            sessions: 0,
            _file: None,
        });
        Ok(0)
    }

    /// UNSET_CONTAINER.
    fn unset_container(&self) -> Result<isize> {
        let mut state = self.state.lock();
        match &state.attachment {
            None => Err(EINVAL),
            Some(attachment) if attachment.sessions > 0 => Err(EBUSY),
            Some(_) => {
                state.detach();
                Ok(0)
            }
        }
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

    /// Opens a device and makes a file of it.
    fn open_device(&self, device: Registered) -> Result<ARef<File>> {
        let file = DeviceFile::new(device, self.into())?;
        self.open_session(file.device())?;
        // From here on releasing the file ends the session, also if the file cannot be made.
        let file = DeviceFile::into_file(file)?;
        if self.kind == GroupKind::NoIommu {
            if let Some(opened) = device_file::from_file(&file) {
                dev_warn!(
                    opened.device().bus_device(),
                    "vfio-noiommu: device opened by {}:{}\n",
                    Comm::current(),
                    task::current_pid(),
                );
            }
        }
        Ok(file)
    }

    fn open_session(&self, device: &Device) -> Result {
        let mut state = self.state.lock();
        if state.attachment.is_none() {
            return Err(EINVAL);
        }
        let mut owner = Owner {
            group: self,
            state: &mut state,
        };
        let mut device = device.lock_set();
        session::open(&mut device, &mut owner)
    }
}

/// Ends a file's part of a device's session.
pub(crate) fn close_device(group: &Group, device: &Device) {
    let mut state = group.state.lock();
    let mut owner = Owner {
        group,
        state: &mut state,
    };
    let mut device = device.lock_set();
    session::close(&mut device, &mut owner);
}

/// A group whose lock is held, as the owner of the sessions of its devices.
struct Owner<'a> {
    group: &'a Group,
    state: &'a mut State,
}

impl SessionOwner for Owner<'_> {
    fn attach_kvm(&self, device: &Device) {
        kvm::attach(device, &self.group.kvm.lock());
    }

    fn use_iommu(&mut self, device: &Device) -> Result {
        let (Some(attachment), Some(identity)) = (&mut self.state.attachment, &self.state.identity)
        else {
            return Err(EINVAL);
        };
        let backend = attachment.container.backend()?;
        self.group.check_rawio()?;
        if attachment.sessions == 0 {
            // SAFETY: The lock is held that the file's release takes, and the file is open: it
            // carries this very call, or another device's session.
            attachment._file = self.state.opened.map(|file| unsafe { file.get() });
            *self.group.session.lock() = Some((backend.clone(), identity.clone()));
        }
        attachment.sessions += 1;
        backend.register_device(device);
        Ok(())
    }

    fn unuse_iommu(&mut self, device: &Device) {
        let Some(attachment) = &mut self.state.attachment else {
            return;
        };
        if let Ok(backend) = attachment.container.backend() {
            backend.unregister_device(device);
        }
        attachment.sessions = attachment.sessions.saturating_sub(1);
        if attachment.sessions == 0 {
            // Neither may be dropped under the spinlock. The file's release takes this group's
            // lock, but runs when the task returns to user space.
            let session = self.group.session.lock().take();
            drop(session);
            attachment._file = None;
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
        if state.opened.is_some() {
            return Err(EBUSY);
        }
        state.opened = Some(OpenFile::new(file));
        drop(state);
        Ok(group)
    }

    fn release(this: ARef<Group>) {
        let mut state = this.state.lock();
        // Devices keep the file, so none is open.
        state.detach();
        state.opened = None;
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

/// The backend that translates for the open devices of the device's group, and the group as the
/// backend knows it. Takes no lock but a spinlock.
///
/// # Errors
///
/// `EINVAL` if the device is not open through a container.
pub(crate) fn session_backend(device: &Device) -> Result<(Arc<Backend>, IommuGroup)> {
    let group = registry::of(device).ok_or(EINVAL)?;
    let session = group.session.lock().clone();
    session.ok_or(EINVAL)
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
