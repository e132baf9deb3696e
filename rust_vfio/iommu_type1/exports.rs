// SPDX-License-Identifier: GPL-2.0

//! The operations table that the core calls, and its registration.
//!
//! Each function turns the core's pointers into references, calls one method, and turns the
//! result into an errno. No policy.
//!
//! What the core promises, for all functions: `iommu_data` is what `open` returned, `release` is
//! called once and last, and a group that is passed is valid until it has been detached (or, if
//! attaching fails, for the duration of the call). No lock of this module is held.

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
        uaccess::UserAddr, //
    },
    uapi::ioctls,
    LocalModule, //
};

type Owned = Pin<KBox<Type1>>;

// Any thread may call the functions below.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Type1>()
};

/// The table, which other modules read.
struct Table(bindings::vfio_iommu_driver_ops);

// SAFETY: The table is never written.
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

/// The registration with the core. Dropping it ends it.
pub(crate) struct Registration(());

impl Registration {
    /// Offers this backend to containers.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` if it is registered already.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The table is static, and valid until `drop` has removed it.
        to_result(unsafe { bindings::vfio_register_iommu_driver(&TABLE.0) })?;
        Ok(Self(()))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: Registered by `new`.
        unsafe { bindings::vfio_unregister_iommu_driver(&TABLE.0) };
    }
}

/// The state of a container.
///
/// # Safety
///
/// `iommu_data` must come from [`open`], and [`release`] must not be called while the result is in
/// use.
unsafe fn type1<'a>(iommu_data: *mut c_void) -> Pin<&'a Type1> {
    // SAFETY: By the contract of this function.
    unsafe { Owned::borrow(iommu_data) }
}

/// # Safety
///
/// None; called by SET_IOMMU under the lock of the container. The caller gets the state, or an
/// error pointer.
unsafe extern "C" fn open(arg: c_ulong) -> *mut c_void {
    match Type1::open(arg) {
        Ok(type1) => type1.into_foreign(),
        Err(error) => ptr::without_provenance_mut(error.to_errno() as usize),
    }
}

/// # Safety
///
/// See the top of the file. Called when the container is given up or its last group was detached;
/// nobody else uses the state any more.
unsafe extern "C" fn release(iommu_data: *mut c_void) {
    // SAFETY: By the contract of this function.
    drop(unsafe { Owned::from_foreign(iommu_data) });
}

/// # Safety
///
/// See the top of the file. `iommu_data` may be null for CHECK_EXTENSION. Called in the context
/// of the user that made the request.
unsafe extern "C" fn ioctl(iommu_data: *mut c_void, cmd: c_uint, arg: c_ulong) -> c_long {
    let result = if iommu_data.is_null() {
        match cmd {
            ioctls::VFIO_CHECK_EXTENSION => Ok(info::check_extension(None, arg)),
            _ => Err(ENOTTY),
        }
    } else {
        // SAFETY: By the contract of this function.
        unsafe { type1(iommu_data) }.ioctl(cmd, UserAddr::new(arg))
    };
    from_result(|| result)
}

/// # Safety
///
/// See the top of the file. Called with the lock of the container held for writing.
unsafe extern "C" fn attach_group(
    iommu_data: *mut c_void,
    group: *mut bindings::iommu_group,
    kind: bindings::vfio_group_type,
) -> c_int {
    from_result(|| {
        // SAFETY: By the contract of this function.
        let (type1, group) = unsafe { (type1(iommu_data), GroupHandle::from_raw(group)) };
        let emulated = kind == bindings::vfio_group_type::VFIO_EMULATED_IOMMU;
        type1.attach_group(group.ok_or(EINVAL)?, emulated)?;
        Ok(0)
    })
}

/// # Safety
///
/// See the top of the file. Called with the lock of the container held for writing.
unsafe extern "C" fn detach_group(iommu_data: *mut c_void, group: *mut bindings::iommu_group) {
    // SAFETY: By the contract of this function.
    let (type1, group) = unsafe { (type1(iommu_data), GroupHandle::from_raw(group)) };
    if let Some(group) = group {
        type1.detach_group(group);
    }
}

/// # Safety
///
/// See the top of the file. `pages` must be null or have room for `npage` pointers. Called by
/// drivers, with locks of their own held.
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
        // SAFETY: By the contract of this function.
        let (type1, group) = unsafe { (type1(iommu_data), GroupHandle::from_raw(group)) };
        // SAFETY: As above.
        let mut pages = unsafe { PageSlots::from_raw(pages, count) };
        let group = group.ok_or(EINVAL)?;
        type1.pin_pages(group, Iova::new(user_iova), prot, &mut pages)?;
        Ok(npage)
    })
}

/// # Safety
///
/// See the top of the file. Called by drivers, with locks of their own held.
unsafe extern "C" fn unpin_pages(
    iommu_data: *mut c_void,
    user_iova: bindings::dma_addr_t,
    npage: c_int,
) {
    // SAFETY: By the contract of this function.
    unsafe { type1(iommu_data) }.unpin_pages(Iova::new(user_iova), npage);
}

/// # Safety
///
/// See the top of the file. `device` must stay valid until it was unregistered.
unsafe extern "C" fn register_device(iommu_data: *mut c_void, device: *mut bindings::vfio_device) {
    // SAFETY: By the contract of this function.
    let (type1, listener) = unsafe { (type1(iommu_data), UnmapListener::from_raw(device)) };
    if let Some(listener) = listener {
        type1.register_device(listener);
    }
}

/// # Safety
///
/// See the top of the file. `device` must be valid.
unsafe extern "C" fn unregister_device(
    iommu_data: *mut c_void,
    device: *mut bindings::vfio_device,
) {
    // SAFETY: By the contract of this function.
    let (type1, listener) = unsafe { (type1(iommu_data), UnmapListener::from_raw(device)) };
    if let Some(listener) = listener {
        type1.unregister_device(listener);
    }
}

/// # Safety
///
/// See the top of the file. `data` must be valid for `count` bytes, for writing unless `write`.
/// Called by drivers, with locks of their own held.
unsafe extern "C" fn dma_rw(
    iommu_data: *mut c_void,
    user_iova: bindings::dma_addr_t,
    data: *mut c_void,
    count: usize,
    write: bool,
) -> c_int {
    from_result(|| {
        let data = NonNull::new(data.cast()).ok_or(EINVAL)?;
        // SAFETY: By the contract of this function.
        let type1 = unsafe { type1(iommu_data) };
        // SAFETY: As above.
        let buffer = unsafe { DmaBuffer::from_raw(data, count, write) };
        type1.dma_rw(Iova::new(user_iova), buffer)?;
        Ok(0)
    })
}

/// # Safety
///
/// See the top of the file. The caller gets a domain that is valid while the group is attached,
/// or an error pointer: `EINVAL` without container or group, `ENODEV` for a group without domain.
unsafe extern "C" fn group_iommu_domain(
    iommu_data: *mut c_void,
    group: *mut bindings::iommu_group,
) -> *mut bindings::iommu_domain {
    let domain = || {
        if iommu_data.is_null() {
            return Err(EINVAL);
        }
        // SAFETY: By the contract of this function.
        let (type1, group) = unsafe { (type1(iommu_data), GroupHandle::from_raw(group)) };
        type1.domain_of(group.ok_or(EINVAL)?, PagingDomain::as_ptr)
    };
    match domain() {
        Ok(domain) => domain,
        Err(error) => ptr::without_provenance_mut(error.to_errno() as usize),
    }
}
