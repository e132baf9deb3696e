// SPDX-License-Identifier: GPL-2.0

//! The internal file system that gives each device an inode of its own.
//!
//! All files of one device share the address space of that inode, so a driver can take away every
//! mapping of the device at once (`unmap_mapping_range()`), whoever made it. User space never sees
//! the file system; it is mounted while there is a device.

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

/// "VFIO", for those who look at the superblock.
const VFIO_FS_MAGIC: kernel::ffi::c_ulong = 0x5646_494f;

/// # Safety
///
/// Called by the VFS with a new context of the type below.
unsafe extern "C" fn init_fs_context(fc: *mut bindings::fs_context) -> kernel::ffi::c_int {
    // SAFETY: By the contract of this callback.
    if unsafe { bindings::init_pseudo(fc, VFIO_FS_MAGIC) }.is_null() {
        return ENOMEM.to_errno();
    }
    0
}

/// The C objects of the file system.
struct PseudoFs {
    fs_type: Opaque<bindings::file_system_type>,
    mount: Opaque<*mut bindings::vfsmount>,
    users: Opaque<kernel::ffi::c_int>,
}

// SAFETY: `simple_pin_fs()` and `simple_release_fs()` bring a lock for the last two members; the
// VFS looks after the first.
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

/// Gives the device its inode.
///
/// # Errors
///
/// `ENOMEM`, or what mounting the file system returned.
pub(crate) fn add_inode(device: &Device) -> Result {
    // SAFETY: The objects are static, and only these two functions use them.
    to_result(unsafe {
        bindings::simple_pin_fs(FS.fs_type.get(), FS.mount.get(), FS.users.get())
    })?;
    // SAFETY: The file system is pinned, so it is mounted.
    match from_err_ptr(unsafe { bindings::alloc_anon_inode((**FS.mount.get()).mnt_sb) }) {
        Ok(inode) => {
            // SAFETY: The device is new and nobody else sees it.
            unsafe { (*device.as_raw()).inode = inode };
            Ok(())
        }
        Err(e) => {
            release_fs();
            Err(e)
        }
    }
}

/// Takes the device's inode away. No file of the device may be left.
pub(crate) fn remove_inode(device: &Device) {
    // SAFETY: The inode was set by `add_inode`, and this reference to it is the last.
    unsafe { bindings::iput((*device.as_raw()).inode) };
    release_fs();
}

fn release_fs() {
    // SAFETY: The file system was pinned by `add_inode`.
    unsafe { bindings::simple_release_fs(FS.mount.get(), FS.users.get()) };
}
