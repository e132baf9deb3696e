// SPDX-License-Identifier: GPL-2.0

//! The file of a group, `/dev/vfio/<n>`: opening it, and its ioctls.
//!
//! Corresponds to `vfio_group_fops` in `drivers/vfio/group.c`; contract section 3.2.

use kernel::{
    fs::file::{
        File,
        FileDescriptorReservation, //
    },
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    group::{
        attachment::Attachment,
        device_file,
        state::{
            Group,
            GroupData,
            Users, //
        }, //
    },
    kernel::{
        file::{
            fget,
            OpenFile, //
        },
        fops::{
            FileOps,
            FopsTable,
            Inode,
            OpeningFile, //
        },
        uaccess::{
            UserAddr,
            UserString, //
        }, //
    },
    noiommu,
    uapi::{
        ioctls,
        structs::{
            GroupStatus,
            GROUP_FLAGS_CONTAINER_SET,
            GROUP_FLAGS_VIABLE, //
        }, //
    },
    views::device::{
        Device,
        Registered, //
    }, //
};

/// The table of group files.
pub(super) static FOPS: FopsTable<Group> = FopsTable::new();

impl GroupData {
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
        let attachment = Attachment::new(&file, self.kind, state.identity()?)?;
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
}

impl Group {
    /// GET_DEVICE_FD.
    fn device_fd(&self, arg: UserAddr) -> Result<isize> {
        let name = UserString::read(arg)?;
        let device = self.find_device(&name)?;
        let fd =
            FileDescriptorReservation::get_unused_fd_flags(kernel::fs::file::flags::O_CLOEXEC)?;
        let file = device_file::open(self, device)?;
        let number = isize::try_from(fd.reserved_fd())?;
        fd.fd_install(file);
        Ok(number)
    }
}

#[vtable]
impl FileOps for Group {
    type Ptr = ARef<Group>;

    fn open(inode: &Inode, file: &OpeningFile<'_>) -> Result<ARef<Group>> {
        // SAFETY: Every node in the region of groups is that of a group.
        let group = unsafe { Group::from_inode(inode) };
        let mut state = group.state.lock();
        state.identity()?;
        noiommu::check_rawio(group.kind)?;
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
            ioctls::VFIO_GROUP_GET_STATUS => this.status(arg),
            ioctls::VFIO_GROUP_SET_CONTAINER => this.set_container(arg),
            ioctls::VFIO_GROUP_UNSET_CONTAINER => this.unset_container(),
            ioctls::VFIO_GROUP_GET_DEVICE_FD => this.device_fd(arg),
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
