// SPDX-License-Identifier: GPL-2.0

//! The internal file system in which each device has an inode.
//!
//! All files of a device share the address space of that inode, so a driver can remove all mappings
//! of the device at once (`unmap_mapping_range()`). User space does not see the file system. It is
//! mounted while there is a device, which the VFS counts under a lock of its own.
//!
//! Corresponds to `vfio_fs_inode_new()` and what belongs to it in `drivers/vfio/vfio_main.c`;
//! contract sections 1.2 to 1.4.

use core::ptr;

use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    types::Opaque, //
};

use crate::{
    bindings,
    views::device::Device, //
};

/// The magic number of the superblock: "VFIO" in ASCII.
const VFIO_FS_MAGIC: kernel::ffi::c_ulong = 0x5646_494f;

/// Initialises a context for mounting the file system.
///
/// # Safety
///
/// Must be called by the VFS with a new context of the file system type of [`FS`].
#[doc(alias = "vfio_fs_init_fs_context")]
unsafe extern "C" fn init_fs_context(fc: *mut bindings::fs_context) -> kernel::ffi::c_int {
    // SAFETY: By the safety requirements of this function.
    if unsafe { bindings::init_pseudo(fc, VFIO_FS_MAGIC) }.is_null() {
        return ENOMEM.to_errno();
    }
    0
}

/// The C objects of the file system: its type, and the mount with the number of its users.
struct PseudoFs {
    fs_type: Opaque<bindings::file_system_type>,
    mount: Opaque<*mut bindings::vfsmount>,
    users: Opaque<kernel::ffi::c_int>,
}

// SAFETY: `simple_pin_fs()` and `simple_release_fs()` access the last two members under a lock of
// their own. The VFS uses the first one from any thread.
unsafe impl Sync for PseudoFs {}

static FS: PseudoFs = PseudoFs {
    fs_type: Opaque::new(bindings::file_system_type {
        name: kernel::str::as_char_ptr_in_const_context(c"vfio"),
        owner: kernel::module::this_module::<crate::LocalModule>().as_ptr(),
        init_fs_context: Some(init_fs_context),
        kill_sb: Some(bindings::kill_anon_super),
        ..pin_init::zeroed()
    }),
    mount: Opaque::new(ptr::null_mut()),
    users: Opaque::new(0),
};

/// Allocates the inode of a new device. Sleeps.
///
/// # Errors
///
/// `ENOMEM`, or any other errno of the VFS if the file system cannot be mounted.
#[doc(alias = "vfio_fs_inode_new")]
pub(crate) fn add_inode(device: &Device) -> Result {
    // SAFETY: The objects are static. Mount and counter are used with this file system type only.
    to_result(unsafe {
        bindings::simple_pin_fs(FS.fs_type.get(), FS.mount.get(), FS.users.get())
    })?;
    // SAFETY: The file system was pinned above, so the mount is set and stays.
    match from_err_ptr(unsafe { bindings::alloc_anon_inode((**FS.mount.get()).mnt_sb) }) {
        Ok(inode) => {
            // SAFETY: The device is new, and nobody else sees it.
            unsafe { (*device.as_raw()).inode = inode };
            Ok(())
        }
        Err(e) => {
            release_fs();
            Err(e)
        }
    }
}

/// Drops the inode of the device, of which no file may be left; undoes [`add_inode`]. Sleeps.
pub(crate) fn remove_inode(device: &Device) {
    // SAFETY: `add_inode` set the member to a new inode, and the device is not used any more.
    unsafe { bindings::iput((*device.as_raw()).inode) };
    release_fs();
}

fn release_fs() {
    // SAFETY: `add_inode` pinned the file system with the same objects.
    unsafe { bindings::simple_release_fs(FS.mount.get(), FS.users.get()) };
}
