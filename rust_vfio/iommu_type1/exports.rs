// SPDX-License-Identifier: GPL-2.0

//! The table of operations that the core calls, and its registration.
//!
//! Each function turns the core's pointers into references, calls one method, and turns the result
//! into an errno.
//!
//! The core guarantees for all functions:
//!
//! * `iommu_data` is a pointer that [`open`] has returned and that was not passed to [`release`]
//!   yet. No other function is called for it during or after `release`.
//! * A group that is passed is valid during the call, and after a successful [`attach_group`] until
//!   [`detach_group`] has returned.
//! * The functions are called in process context, and no lock of this module is held.
//!
//! Corresponds to `vfio_iommu_driver_ops_type1` and the functions in it.

use core::ptr::{
    self,
    NonNull, //
};

use kernel::{
    error::{
        from_result,
        to_result, //
    },
    ffi::{
        c_int,
        c_long,
        c_uint,
        c_ulong,
        c_void, //
    },
    module::this_module,
    prelude::*,
    seq_file::SeqFile,
    types::ForeignOwnable, //
};

use crate::{
    bindings,
    iommu_type1::{
        info,
        logic::units::Iova,
        state::Type1,
        views::{
            driver_buffers::{
                DmaBuffer,
                PageSlots, //
            },
            unmap_listener::UnmapListener, //
        }, //
    },
    kernel::{
        iommu::{
            GroupHandle,
            PagingDomain, //
        },
        slab::SlabBox,
        uaccess::UserAddr, //
    },
    uapi::ioctls,
    LocalModule, //
};

type Owned = Pin<SlabBox<Type1>>;

// The functions below are called by any thread, several at the same time.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Type1>()
};

/// The table of operations, which the core reads.
struct Table(bindings::vfio_iommu_driver_ops);

// SAFETY: The table is only read: it has no interior mutability, and the core takes it as const.
unsafe impl Sync for Table {}

static TABLE: Table = Table(bindings::vfio_iommu_driver_ops {
    name: c"vfio-iommu-type1".to_bytes_with_nul().as_ptr().cast_mut(),
    owner: this_module::<LocalModule>().as_ptr(),
    open: Some(open),
    release: Some(release),
    ioctl: Some(ioctl),
    attach_group: Some(attach_group),
    detach_group: Some(detach_group),
    pin_pages: Some(pin_pages),
    unpin_pages: Some(unpin_pages),
    register_device: Some(register_device),
    unregister_device: Some(unregister_device),
    dma_rw: Some(dma_rw),
    group_iommu_domain: Some(group_iommu_domain),
});

/// The registration of the backend with the core. Dropping it unregisters the backend.
pub(crate) struct Registration(());

impl Registration {
    /// Registers the backend, so that containers can be opened with it.
    ///
    /// # Errors
    ///
    /// - `ENOMEM` if there is no memory.
    /// - `EINVAL` if the backend is registered already.
    #[doc(alias = "vfio_register_iommu_driver")]
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The table is static, so it is valid until `drop` unregisters it, which happens
        // before the module is unloaded.
        to_result(unsafe { bindings::vfio_register_iommu_driver(&TABLE.0) })?;
        Ok(Self(()))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: A value exists only if `new` has registered the table.
        unsafe { bindings::vfio_unregister_iommu_driver(&TABLE.0) };
    }
}

/// Returns the state of a container.
///
/// # Safety
///
/// `iommu_data` must be a pointer that [`open`] has returned, and must not be passed to [`release`]
/// during the lifetime of the result.
unsafe fn type1<'a>(iommu_data: *mut c_void) -> Pin<&'a Type1> {
    // SAFETY: `open` returned the result of `into_foreign` of the same type. By the safety
    // requirements of this function it is not turned back meanwhile.
    unsafe { Owned::borrow(iommu_data) }
}

/// Creates the state of a container of the type `arg`. Returns a pointer to it, or an error
/// pointer.
///
/// Called by SET_IOMMU with the lock of the container in the core held for writing. Corresponds to
/// `vfio_iommu_type1_open()`.
///
/// # Safety
///
/// There are no safety requirements.
unsafe extern "C" fn open(arg: c_ulong) -> *mut c_void {
    match Type1::open(arg) {
        Ok(type1) => type1.into_foreign(),
        Err(error) => ptr::without_provenance_mut(error.to_errno() as usize),
    }
}

/// Frees the state of a container, and with it all mappings and domains.
///
/// Called when the last group was detached or the last reference to the container is dropped.
/// Corresponds to `vfio_iommu_type1_release()`.
///
/// # Safety
///
/// `iommu_data` must be as the header of this file says, and nobody else may use it any more.
unsafe extern "C" fn release(iommu_data: *mut c_void) {
    // SAFETY: `open` returned the result of `into_foreign` of the same type. By the safety
    // requirements of this function nobody has a reference to it.
    drop(unsafe { Owned::from_foreign(iommu_data) });
}

/// Handles an ioctl on the container, in the context of the task that made it.
///
/// Called without locks of the core, except for CHECK_EXTENSION with a null `iommu_data`.
/// Corresponds to `vfio_iommu_type1_ioctl()`.
///
/// # Safety
///
/// `iommu_data` must be null or as the header of this file says.
unsafe extern "C" fn ioctl(iommu_data: *mut c_void, cmd: c_uint, arg: c_ulong) -> c_long {
    let result = if iommu_data.is_null() {
        match cmd {
            ioctls::VFIO_CHECK_EXTENSION => Ok(info::check_extension(None, arg)),
            _ => Err(ENOTTY),
        }
    } else {
        // SAFETY: `iommu_data` is not null. By the safety requirements of this function it is a
        // pointer from `open`, and not released during the call.
        unsafe { type1(iommu_data) }.ioctl(cmd, UserAddr::new(arg))
    };
    from_result(|| result)
}

/// Attaches a group to the container.
///
/// Called with the lock of the container in the core held for writing. Corresponds to
/// `vfio_iommu_type1_attach_group()`.
///
/// # Safety
///
/// `iommu_data` and `group` must be as the header of this file says; `group` may be null.
unsafe extern "C" fn attach_group(
    iommu_data: *mut c_void,
    group: *mut bindings::iommu_group,
    kind: bindings::vfio_group_type,
) -> c_int {
    from_result(|| {
        // SAFETY: By the safety requirements of this function `iommu_data` is a pointer from `open`
        // and not released during the call, and `group` is valid until it is detached.
        let (type1, group) = unsafe { (type1(iommu_data), GroupHandle::from_raw(group)) };
        let emulated = kind == bindings::vfio_group_type::VFIO_EMULATED_IOMMU;
        type1.attach_group(group.ok_or(EINVAL)?, emulated)?;
        Ok(0)
    })
}

/// Detaches a group from the container.
///
/// Called with the lock of the container in the core held for writing. Corresponds to
/// `vfio_iommu_type1_detach_group()`.
///
/// # Safety
///
/// `iommu_data` and `group` must be as the header of this file says; `group` may be null.
unsafe extern "C" fn detach_group(iommu_data: *mut c_void, group: *mut bindings::iommu_group) {
    // SAFETY: By the safety requirements of this function `iommu_data` is a pointer from `open` and
    // not released during the call, and `group` is valid until `detach_group` has returned.
    let (type1, group) = unsafe { (type1(iommu_data), GroupHandle::from_raw(group)) };
    if let Some(group) = group {
        type1.detach_group(group);
    }
}

/// Pins `npage` pages for a driver. Returns `npage` or a negative errno.
///
/// Called by drivers through the core, with locks of their own held. Corresponds to
/// `vfio_iommu_type1_pin_pages()`.
///
/// # Safety
///
/// `iommu_data` and `group` must be null or as the header of this file says. `pages` must be null
/// or valid for writing `npage` pointers, which nobody else accesses during the call.
unsafe extern "C" fn pin_pages(
    iommu_data: *mut c_void,
    group: *mut bindings::iommu_group,
    user_iova: bindings::dma_addr_t,
    npage: c_int,
    prot: c_int,
    pages: *mut *mut bindings::page,
) -> c_int {
    from_result(|| {
        let count = usize::try_from(npage).map_err(|_| EINVAL)?;
        let pages = NonNull::new(pages).ok_or(EINVAL)?;
        if iommu_data.is_null() || count == 0 {
            return Err(EINVAL);
        }
        // SAFETY: `iommu_data` is not null. By the safety requirements of this function it is a
        // pointer from `open` and not released during the call, and `group` is valid or null.
        let (type1, group) = unsafe { (type1(iommu_data), GroupHandle::from_raw(group)) };
        // SAFETY: `pages` is not null. By the safety requirements of this function it is valid for
        // writing `count` pointers, which nobody else accesses.
        let mut pages = unsafe { PageSlots::from_raw(pages, count) };
        let group = group.ok_or(EINVAL)?;
        type1.pin_pages(group, Iova::new(user_iova), prot, &mut pages)?;
        Ok(npage)
    })
}

/// Unpins `npage` pages for a driver.
///
/// Called by drivers through the core, with locks of their own held. Corresponds to
/// `vfio_iommu_type1_unpin_pages()`.
///
/// # Safety
///
/// `iommu_data` must be as the header of this file says.
unsafe extern "C" fn unpin_pages(
    iommu_data: *mut c_void,
    user_iova: bindings::dma_addr_t,
    npage: c_int,
) {
    // SAFETY: By the safety requirements of this function `iommu_data` is a pointer from `open` and
    // not released during the call.
    unsafe { type1(iommu_data) }.unpin_pages(Iova::new(user_iova), npage);
}

/// Registers a device, so that its driver is notified before mappings are removed.
///
/// Called with the lock of the device set held, before the driver opens the device. Corresponds to
/// `vfio_iommu_type1_register_device()`.
///
/// # Safety
///
/// `iommu_data` must be as the header of this file says. `device` must be null or stay valid until
/// [`unregister_device`] has returned.
unsafe extern "C" fn register_device(iommu_data: *mut c_void, device: *mut bindings::vfio_device) {
    // SAFETY: By the safety requirements of this function `iommu_data` is a pointer from `open` and
    // not released during the call, and `device` stays valid until `unregister_device` has removed
    // the listener and waited for calls of its driver.
    let (type1, listener) = unsafe { (type1(iommu_data), UnmapListener::from_raw(device)) };
    if let Some(listener) = listener {
        type1.register_device(listener);
    }
}

/// Unregisters a device. When this function returns its driver is not being called any more.
///
/// Called with the lock of the device set held, after the driver has closed the device. Corresponds
/// to `vfio_iommu_type1_unregister_device()`.
///
/// # Safety
///
/// `iommu_data` must be as the header of this file says. `device` must be null or valid during the
/// call.
unsafe extern "C" fn unregister_device(
    iommu_data: *mut c_void,
    device: *mut bindings::vfio_device,
) {
    // SAFETY: By the safety requirements of this function `iommu_data` is a pointer from `open` and
    // not released during the call. `device` is null or valid during the call, and the listener
    // made from it here is not used after it.
    let (type1, listener) = unsafe { (type1(iommu_data), UnmapListener::from_raw(device)) };
    if let Some(listener) = listener {
        type1.unregister_device(listener);
    }
}

/// Copies `count` bytes between a driver's buffer and user memory, to user memory if `write`.
///
/// Called by drivers through the core, with locks of their own held. Corresponds to
/// `vfio_iommu_type1_dma_rw()`.
///
/// # Safety
///
/// `iommu_data` must be as the header of this file says. `data` must be null or valid for `count`
/// bytes, for reading if `write` and for writing otherwise. During the call nobody may write to
/// them, or access them unless `write`.
unsafe extern "C" fn dma_rw(
    iommu_data: *mut c_void,
    user_iova: bindings::dma_addr_t,
    data: *mut c_void,
    count: usize,
    write: bool,
) -> c_int {
    from_result(|| {
        let data = NonNull::new(data.cast()).ok_or(EINVAL)?;
        // SAFETY: By the safety requirements of this function `iommu_data` is a pointer from `open`
        // and not released during the call.
        let type1 = unsafe { type1(iommu_data) };
        // SAFETY: `data` is not null. By the safety requirements of this function it is valid for
        // `count` bytes for the direction that `write` says, and not accessed by others in a way
        // that conflicts.
        let buffer = unsafe { DmaBuffer::from_raw(data, count, write) };
        type1.dma_rw(Iova::new(user_iova), buffer)?;
        Ok(0)
    })
}

/// Returns the domain to which a group is attached, which is valid as long as the group is
/// attached, or an error pointer: `EINVAL` if a pointer is null, `ENODEV` if the group has no
/// domain.
///
/// The kernel has no caller of this operation. Corresponds to
/// `vfio_iommu_type1_group_iommu_domain()`.
///
/// # Safety
///
/// `iommu_data` and `group` must be null or as the header of this file says.
unsafe extern "C" fn group_iommu_domain(
    iommu_data: *mut c_void,
    group: *mut bindings::iommu_group,
) -> *mut bindings::iommu_domain {
    let domain = || {
        if iommu_data.is_null() {
            return Err(EINVAL);
        }
        // SAFETY: `iommu_data` is not null. By the safety requirements of this function it is a
        // pointer from `open` and not released during the call, and `group` is valid or null.
        let (type1, group) = unsafe { (type1(iommu_data), GroupHandle::from_raw(group)) };
        type1.domain_of(group.ok_or(EINVAL)?, PagingDomain::as_ptr)
    };
    match domain() {
        Ok(domain) => domain,
        Err(error) => ptr::without_provenance_mut(error.to_errno() as usize),
    }
}

/// Prints what `docs/observability.md` lists about a container, if `ops` is the table of this
/// module. Our core looks the function up by its name; the C core does not know it.
///
/// # Safety
///
/// If `ops` is the table of this module, `iommu_data` must be as the header of this file says. `m`
/// must be a valid sequence file that nobody else uses during the call.
#[no_mangle]
unsafe extern "C" fn vfio_iommu_type1_show(
    ops: *const bindings::vfio_iommu_driver_ops,
    iommu_data: *mut c_void,
    m: *mut bindings::seq_file,
) {
    if !ptr::eq(ops, &raw const TABLE.0) {
        return;
    }
    // SAFETY: By the safety requirements of this function.
    let (type1, m) = unsafe { (type1(iommu_data), SeqFile::from_raw(m)) };
    type1.show(m);
}
