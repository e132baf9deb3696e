// SPDX-License-Identifier: GPL-2.0

//! The file of a group, `/dev/vfio/<n>`: opening it, and its ioctls.
//!
//! Locks: `state` of the group for all but the search for a device, which takes `devices`.
//!
//! Corresponds to `vfio_group_fops` in `drivers/vfio/group.c`; contract 3.2.

use kernel::{
    fs::file::{
        File,
        FileDescriptorReservation, //
    },
    prelude::*,
    seq_file::SeqFile, //
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
        chardev::NodeRef,
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
        returned::Failure,
        task::TaskName,
        uaccess::{
            UserAddr,
            UserString, //
        }, //
    },
    noiommu,
    refusal::Refusal,
    trace,
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

/// The file operations of groups.
pub(super) static FOPS: FopsTable<Group> = FopsTable::new();

impl GroupData {
    /// Handles GROUP_GET_STATUS: tells user space whether the group is in a container or an
    /// iommufd, and whether it could be. Takes the group's lock.
    ///
    /// # Errors
    ///
    /// - `EFAULT` if the request cannot be read.
    /// - `EINVAL` if `argsz` is less than the 8 bytes of the structure.
    /// - `ENODEV` if the last device of the group is gone.
    /// - `EFAULT` if the answer cannot be written.
    #[doc(alias = "vfio_group_ioctl_get_status")]
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

    /// Handles GROUP_SET_CONTAINER: puts the group into the container or iommufd whose file
    /// descriptor is at the user address `arg`. Takes the group's lock, and under it the
    /// container's. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EFAULT` if the file descriptor cannot be read.
    /// - `EBADF` if there is no such file descriptor.
    /// - `EINVAL` if the group is in a container or an iommufd.
    /// - `ENODEV` if the last device of the group is gone.
    ///
    /// If the file is a container:
    ///
    /// - `EPERM` if the group is without IOMMU and the calling task lacks `CAP_SYS_RAWIO`.
    /// - `EPERM` if the container has groups with an IOMMU and this one is without, or the other
    ///   way round.
    /// - `EPERM` if a kernel driver uses a device of the group, or if another container, an iommufd
    ///   or another owner has claimed its DMA.
    /// - `EBUSY` if a domain other than the default one is attached to the group or any to a PASID
    ///   of one of its devices, or if a device of the group is being reset.
    /// - Any errno of the IOMMU driver, which is asked to block the DMA of the group.
    /// - `ENOMEM`.
    ///
    /// If the container has a backend already, also those of attaching the group to it
    /// ([`Backend::attach_group`](crate::container::backend::Backend::attach_group)). For type1:
    ///
    /// - `EBUSY` while a mapping has lost its vaddr (UNMAP_DMA with the flag VADDR).
    /// - `ENOMEM`.
    /// - `EBUSY` if a device of the group is being reset, or any errno of the IOMMU driver as the
    ///   domain of the group is made and attached.
    /// - `EINVAL` if memory is mapped at IOVAs that the group cannot use.
    /// - `EPERM` if the interrupts of the group are not isolated.
    /// - `ENODEV`, `EFAULT`, `ENOMEM`, `EINTR`, `EBUSY` or another errno of pinning, or any errno
    ///   of the IOMMU driver, if what is mapped in the container cannot be pinned or mapped for the
    ///   group.
    ///
    /// If it is an iommufd:
    ///
    /// - `EINVAL` if groups with and without IOMMU would mix in it.
    /// - `ENOMEM`.
    ///
    /// Otherwise `EBADFD`.
    #[doc(alias = "vfio_group_ioctl_set_container")]
    fn set_container(&self, arg: UserAddr) -> Result<isize, Failure> {
        let file = fget(arg.read::<i32>()?)?;
        let mut state = self.state.lock();
        if state.attachment.is_some() {
            let group = state.number();
            return Err(Refusal::Attached { group }.report(EINVAL).into());
        }
        let attachment = Attachment::new(&file, self.kind, state.identity()?);
        trace::group_attach(|| state.number(), &attachment);
        state.attachment = Some(attachment?);
        Ok(0)
    }

    /// Makes `file` the open file of the group. Takes the group's lock.
    ///
    /// # Errors
    ///
    /// Those of opening the file.
    fn claim(&self, file: &File) -> Result {
        let mut state = self.state.lock();
        let identity = state.identity()?;
        let busy = |refusal: Refusal<'_>| Err(refusal.report(EBUSY));
        let result = noiommu::check_rawio(self.kind).and_then(|()| match &state.users {
            Users::Nobody => Ok(()),
            Users::GroupFile(_, by) => {
                let group = identity.id();
                busy(Refusal::GroupOpen { group, by })
            }
            Users::CdevFiles(_, by) => {
                let group = identity.id();
                busy(Refusal::NodeBound { group, by })
            }
        });
        trace::group_open(|| identity.id(), &result);
        result?;
        state.users = Users::GroupFile(OpenFile::new(file), TaskName::current());
        Ok(())
    }

    /// Returns the number of the IOMMU group for messages. Takes the group's lock.
    fn number(&self) -> i32 {
        self.state.lock().number()
    }

    /// Handles GROUP_UNSET_CONTAINER: takes the group out of its container or iommufd. Takes the
    /// group's lock, and under it the container's. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the group is neither in a container nor in an iommufd.
    /// - `EBUSY` if a device of the group is open through the container.
    #[doc(alias = "vfio_group_ioctl_unset_container")]
    fn unset_container(&self) -> Result<isize> {
        let mut state = self.state.lock();
        if state.attachment.is_none() {
            return Err(EINVAL);
        }
        if state.sessions.need_container() {
            let group = state.number();
            return Err(Refusal::DevicesOpen { group }.report(EBUSY));
        }
        state.detach();
        Ok(0)
    }

    /// Returns the device that user space names, with a count of its registration.
    ///
    /// The driver's `match` decides whether the name fits. If there is none, the name is compared
    /// with that of the bus device. A device that is being unregistered is skipped. Takes
    /// `devices`, under which `match` runs. Sleeps.
    ///
    /// # Errors
    ///
    /// - Any errno of a driver's `match`, which ends the search; `EINVAL` if it returns a number
    ///   below -4095.
    /// - `ENODEV` if no device has this name.
    #[doc(alias = "vfio_device_get_from_name")]
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
                    // The caller returns a file descriptor, so only an errno is seen as a failure.
                    Err(failure) => Some(Err(failure.to_error())),
                }
            })
            .unwrap_or(Err(ENODEV))
    }
}

impl Group {
    /// Handles GROUP_GET_DEVICE_FD: opens the device whose name is the string at the user address
    /// `arg`, and returns a file descriptor of the calling process. Takes the group's lock and that
    /// of the device's set. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EFAULT` if the string cannot be read.
    /// - `EINVAL` if it is longer than a page, the NUL included.
    /// - `ENOMEM`.
    /// - Any errno of a driver's `match`.
    /// - `ENODEV` if no device of the group has this name.
    /// - `EMFILE` if the process has no file descriptor left.
    /// - `ENOMEM`.
    /// - Those of [`Group::open_session`].
    /// - `ENFILE` if the system has too many open files.
    #[doc(alias = "vfio_group_ioctl_get_device_fd")]
    fn device_fd(&self, arg: UserAddr) -> Result<isize> {
        let name = UserString::read(arg)?;
        let device = self.find_device(&name).inspect_err(|error| {
            if *error == ENODEV {
                let group = self.number();
                Refusal::NoDevice { group }.report(ENODEV);
            }
        })?;
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
    type Ptr = NodeRef<GroupData>;

    /// Opens the file of the group. Takes the group's lock.
    ///
    /// # Errors
    ///
    /// - `ENODEV` if the last device of the group is gone.
    /// - `EPERM` if the group is without IOMMU and the calling task lacks `CAP_SYS_RAWIO`.
    /// - `EBUSY` if the file is open already, or the cdev of a device of the group is bound.
    #[doc(alias = "vfio_group_fops_open")]
    fn open(inode: &Inode, file: &OpeningFile<'_>) -> Result<Self::Ptr> {
        // SAFETY: `FOPS` is the table of groups only: `registry.rs` passes it to `Group::new`,
        // which makes the character device that `inode` leads to. The file owns the result.
        let group = unsafe { Group::from_inode(inode) };
        group.claim(file)?;
        Ok(group)
    }

    /// Takes the group out of its container or iommufd, and allows the next open. Takes the group's
    /// lock, and under it the container's.
    #[doc(alias = "vfio_group_fops_release")]
    fn release(this: Self::Ptr) {
        let mut state = this.state.lock();
        trace::group_close(|| state.number());
        // No device is open through a container, because it would hold the file. Those that are
        // open through an iommufd stay open.
        state.detach();
        state.users = Users::Nobody;
    }

    fn show_fdinfo(this: &Group, m: &SeqFile) {
        this.show(m);
    }

    /// Handles an ioctl of the file.
    ///
    /// # Errors
    ///
    /// Those of the method that handles the request; `ENOTTY` for an unknown one.
    #[doc(alias = "vfio_group_fops_unl_ioctl")]
    fn ioctl(this: &Group, cmd: u32, arg: UserAddr) -> Result<isize, Failure> {
        Ok(match cmd {
            ioctls::VFIO_GROUP_GET_STATUS => this.status(arg)?,
            ioctls::VFIO_GROUP_SET_CONTAINER => this.set_container(arg)?,
            ioctls::VFIO_GROUP_UNSET_CONTAINER => this.unset_container()?,
            ioctls::VFIO_GROUP_GET_DEVICE_FD => this.device_fd(arg)?,
            _ => return Err(ENOTTY.into()),
        })
    }
}

/// Returns whether `file` is the file of the device's group, or of the group that it was in before
/// it was unregistered. Takes no lock.
///
/// The latter matters to vfio-pci: a device stays in its device set until it is freed, and a reset
/// of the set asks for each device of it whether the user has the file of its group.
#[doc(alias = "vfio_file_has_dev")]
pub(crate) fn has_device(file: &File, device: &Device) -> bool {
    from_file(file).is_some_and(|group| group.has(device))
}

/// Returns the group whose file `file` is, if it is the file of a group.
#[doc(alias = "vfio_group_from_file")]
pub(crate) fn from_file(file: &File) -> Option<&Group> {
    FOPS.borrow(file)
}
