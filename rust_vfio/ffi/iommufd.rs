// SPDX-License-Identifier: GPL-2.0

//! iommufd: contexts, and what binds a device to one.
//!
//! What a device is bound with is kept in members of `struct vfio_device`: `iommufd_device` and
//! `pasids` for a device with DMA of its own, `iommufd_access` for an emulated one, and
//! `iommufd_attached` for both. They are protected by the lock of the device's set, which is held
//! whenever one of the methods here is called: drivers call them from callbacks under that lock.
//!
//! C header: `include/linux/iommufd.h`.

use core::ptr::{
    null_mut,
    NonNull, //
};

use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    fs::File,
    prelude::*, //
};

use super::{
    bindings,
    device::Device, //
};

/// A context that somebody else keeps alive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Context(NonNull<bindings::iommufd_ctx>);

impl Context {
    /// The context at `ptr`, or none if it is null.
    ///
    /// # Safety
    ///
    /// A context at `ptr` must stay valid while the result is used.
    pub(crate) unsafe fn from_raw(ptr: *mut bindings::iommufd_ctx) -> Option<Self> {
        NonNull::new(ptr).map(Self)
    }

    /// The C object.
    pub(crate) fn as_raw(self) -> *mut bindings::iommufd_ctx {
        self.0.as_ptr()
    }

    /// Whether a device of the IOMMU group of `device` is bound to the context.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the device is in no group.
    pub(crate) fn has_group_of(self, device: &Device) -> Result<bool> {
        // SAFETY: The device of the bus is valid.
        let group = unsafe { bindings::iommu_group_get(device.bus_device_raw()) };
        if group.is_null() {
            return Err(ENODEV);
        }
        // SAFETY: The context is valid, and so is the group, a reference to which is given back.
        unsafe {
            let has_group = bindings::iommufd_ctx_has_group(self.as_raw(), group);
            bindings::iommu_group_put(group);
            Ok(has_group)
        }
    }
}

/// A counted reference to a context; dropping it gives the reference back.
#[derive(PartialEq, Eq)]
pub(crate) struct OwnedContext(Context);

// SAFETY: Contexts are counted atomically and have locks of their own.
unsafe impl Send for OwnedContext {}
// SAFETY: As above.
unsafe impl Sync for OwnedContext {}

impl OwnedContext {
    /// The context behind a descriptor of the calling process.
    ///
    /// # Errors
    ///
    /// `EBADF` if there is no such descriptor, `EBADFD` if it is something else.
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    pub(crate) fn from_fd(fd: i32) -> Result<Self> {
        // SAFETY: Any number may be asked for.
        Self::from_counted(unsafe { bindings::iommufd_ctx_from_fd(fd) })
    }

    /// The context that `file` stands for.
    ///
    /// # Errors
    ///
    /// `EBADFD` if it is something else.
    #[cfg(CONFIG_VFIO_GROUP)]
    pub(crate) fn from_file(file: &File) -> Result<Self> {
        // SAFETY: The file is valid.
        Self::from_counted(unsafe { bindings::iommufd_ctx_from_file(file.as_ptr()) })
    }

    fn from_counted(context: *mut bindings::iommufd_ctx) -> Result<Self> {
        let context = NonNull::new(from_err_ptr(context)?).ok_or(EBADFD)?;
        Ok(Self(Context(context)))
    }

    /// The context, for as long as this reference lives.
    pub(crate) fn get(&self) -> Context {
        self.0
    }
}

impl Clone for OwnedContext {
    fn clone(&self) -> Self {
        // SAFETY: This value owns a reference.
        unsafe { bindings::iommufd_ctx_get(self.0.as_raw()) };
        Self(self.0)
    }
}

impl Drop for OwnedContext {
    fn drop(&mut self) {
        // SAFETY: This value owns a reference.
        unsafe { bindings::iommufd_ctx_put(self.0.as_raw()) };
    }
}

/// What a context does for users of containers: one address space that requests without an id
/// mean, or none, if nothing translates.
#[cfg(CONFIG_VFIO_GROUP)]
impl Context {
    /// The id of the address space for users of containers.
    ///
    /// # Errors
    ///
    /// `ENODEV` if there is none.
    pub(crate) fn compat_ioas(self) -> Result<u32> {
        let mut id = 0;
        // SAFETY: The context is valid, and `id` for the call.
        to_result(unsafe { bindings::iommufd_vfio_compat_ioas_get_id(self.as_raw(), &mut id) })?;
        Ok(id)
    }

    /// Makes that address space unless there is one.
    ///
    /// # Errors
    ///
    /// `EINVAL` if nothing translates, `ENOMEM`.
    pub(crate) fn ensure_compat_ioas(self) -> Result {
        // SAFETY: The context is valid.
        to_result(unsafe { bindings::iommufd_vfio_compat_ioas_create(self.as_raw()) })
    }

    /// Notes that nothing translates.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is such an address space.
    pub(crate) fn set_no_iommu(self) -> Result {
        // SAFETY: The context is valid.
        to_result(unsafe { bindings::iommufd_vfio_compat_set_no_iommu(self.as_raw()) })
    }
}

/// What a device with DMA of its own is bound with.
#[derive(Clone, Copy)]
pub(crate) struct Binding(NonNull<bindings::iommufd_device>);

/// Which address space of a device: the one for requests without a PASID, or that of a PASID.
pub(crate) type Pasid = u32;

/// Requests without a PASID.
pub(crate) const NO_PASID: Pasid = 0;

impl Binding {
    /// Binds the device. Claims its IOMMU group for user space.
    ///
    /// # Errors
    ///
    /// iommufd's errno.
    pub(crate) fn new(device: &Device, context: Context) -> Result<(Self, u32)> {
        let mut id = 0;
        // SAFETY: Context and device of the bus are valid, and `id` for the call.
        let binding = from_err_ptr(unsafe {
            bindings::iommufd_device_bind(context.as_raw(), device.bus_device_raw(), &mut id)
        })?;
        Ok((Self(NonNull::new(binding).ok_or(ENODEV)?), id))
    }

    /// Undoes [`Binding::new`].
    ///
    /// # Safety
    ///
    /// Nothing may be attached, and nobody may use the binding afterwards.
    pub(crate) unsafe fn unbind(self) {
        // SAFETY: By the contract of this function.
        unsafe { bindings::iommufd_device_unbind(self.0.as_ptr()) };
    }

    /// The context it is bound to.
    pub(crate) fn context(self) -> Option<Context> {
        // SAFETY: The binding is valid, and keeps its context.
        unsafe { Context::from_raw(bindings::iommufd_device_to_ictx(self.0.as_ptr())) }
    }

    /// Its id in the context.
    pub(crate) fn id(self) -> u32 {
        // SAFETY: The binding is valid.
        unsafe { bindings::iommufd_device_to_id(self.0.as_ptr()) }
    }

    /// Attaches what has the id `*pt`, and says in `pt` which page table is used.
    pub(crate) fn attach(self, pasid: Pasid, pt: &mut u32) -> Result {
        // SAFETY: The binding is valid, and `pt` for the call.
        to_result(unsafe { bindings::iommufd_device_attach(self.0.as_ptr(), pasid, pt) })
    }

    /// Attaches something else. On failure what was attached stays.
    pub(crate) fn replace(self, pasid: Pasid, pt: &mut u32) -> Result {
        // SAFETY: The binding is valid, and `pt` for the call.
        to_result(unsafe { bindings::iommufd_device_replace(self.0.as_ptr(), pasid, pt) })
    }

    /// Detaches what is attached, which must be something.
    pub(crate) fn detach(self, pasid: Pasid) {
        // SAFETY: The binding is valid.
        unsafe { bindings::iommufd_device_detach(self.0.as_ptr(), pasid) };
    }
}

/// What an emulated device is bound with.
#[derive(Clone, Copy)]
pub(crate) struct Access(NonNull<bindings::iommufd_access>);

/// Called by iommufd when memory that an emulated device may have pinned is unmapped.
static ACCESS_OPS: AccessOps = AccessOps(bindings::iommufd_access_ops {
    // `needs_pin_pages`, the first bit. The binding's setter is not for constants.
    _bitfield_1: bindings::__BindgenBitfieldUnit::new([if cfg!(target_endian = "big") {
        1 << 7
    } else {
        1
    }]),
    unmap: Some(unmap),
    ..pin_init::zeroed()
});

struct AccessOps(bindings::iommufd_access_ops);

// SAFETY: The table is never written.
unsafe impl Sync for AccessOps {}

/// # Safety
///
/// Called by iommufd with the device that [`Access::new`] passed on.
unsafe extern "C" fn unmap(data: *mut c_void, iova: usize, length: usize) {
    let device = data.cast::<bindings::vfio_device>();
    // SAFETY: The device is valid until after the access was destroyed, and `ops` never changes.
    // The driver wants to hear of it whether or not the device is open.
    unsafe {
        if let Some(dma_unmap) = (*(*device).ops).dma_unmap {
            dma_unmap(device, iova as u64, length as u64);
        }
    }
}

impl Access {
    /// The access at `ptr`, or none if it is null.
    ///
    /// # Safety
    ///
    /// An access at `ptr` must stay valid while the result is used.
    pub(super) unsafe fn from_raw(ptr: *mut bindings::iommufd_access) -> Option<Self> {
        NonNull::new(ptr).map(Self)
    }

    /// The C object.
    pub(super) fn as_raw(self) -> *mut bindings::iommufd_access {
        self.0.as_ptr()
    }

    /// Binds the device.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(device: &Device, context: Context) -> Result<(Self, u32)> {
        let mut id = 0;
        // SAFETY: The context is valid, the table static, and the device valid until after the
        // access is destroyed.
        let access = from_err_ptr(unsafe {
            bindings::iommufd_access_create(
                context.as_raw(),
                &ACCESS_OPS.0,
                device.as_raw().cast(),
                &mut id,
            )
        })?;
        Ok((Self(NonNull::new(access).ok_or(ENODEV)?), id))
    }

    /// Undoes [`Access::new`], and everything that was done through it.
    ///
    /// # Safety
    ///
    /// Nobody may use the access afterwards.
    pub(crate) unsafe fn destroy(self) {
        // SAFETY: By the contract of this function.
        unsafe { bindings::iommufd_access_destroy(self.0.as_ptr()) };
    }

    /// Attaches the address space with this id.
    pub(crate) fn attach(self, ioas: u32) -> Result {
        // SAFETY: The access is valid.
        to_result(unsafe { bindings::iommufd_access_attach(self.0.as_ptr(), ioas) })
    }

    /// Attaches another one. On failure the one that was attached stays.
    pub(crate) fn replace(self, ioas: u32) -> Result {
        // SAFETY: The access is valid.
        to_result(unsafe { bindings::iommufd_access_replace(self.0.as_ptr(), ioas) })
    }

    /// Detaches the address space, which must be there.
    pub(crate) fn detach(self) {
        // SAFETY: The access is valid.
        unsafe { bindings::iommufd_access_detach(self.0.as_ptr()) };
    }
}

/// The members of a device. The lock of its set is held.
impl Device {
    /// Makes lockdep complain unless the lock of the device's set is held.
    pub(crate) fn assert_set_locked(&self) {
        // SAFETY: A registered device is in a set.
        unsafe { bindings::vfio_rs_assert_mutex_held(&raw mut (*(*self.as_raw()).dev_set).lock) };
    }

    /// What the device is bound with, if it has DMA of its own and is bound.
    pub(crate) fn iommufd_binding(&self) -> Option<Binding> {
        // SAFETY: The lock of the set is held.
        NonNull::new(unsafe { (*self.as_raw()).iommufd_device }).map(Binding)
    }

    /// Sets what the device is bound with, and starts without any PASID.
    pub(crate) fn set_iommufd_binding(&self, binding: Option<Binding>) {
        let raw = binding.map_or(null_mut(), |binding| binding.0.as_ptr());
        // SAFETY: The lock of the set is held. Every PASID was removed before, so that the set of
        // them owns no memory.
        unsafe {
            (*self.as_raw()).iommufd_device = raw;
            bindings::vfio_rs_ida_init(&raw mut (*self.as_raw()).pasids);
        }
    }

    /// What the device is bound with, if it is emulated and bound.
    pub(crate) fn iommufd_access(&self) -> Option<Access> {
        // SAFETY: The lock of the set is held.
        NonNull::new(unsafe { (*self.as_raw()).iommufd_access }).map(Access)
    }

    /// Sets what the device is bound with.
    pub(crate) fn set_iommufd_access(&self, access: Option<Access>) {
        let raw = access.map_or(null_mut(), |access| access.0.as_ptr());
        // SAFETY: The lock of the set is held.
        unsafe { (*self.as_raw()).iommufd_access = raw };
    }

    /// Whether something is attached for requests without a PASID.
    pub(crate) fn is_iommufd_attached(&self) -> bool {
        // SAFETY: The lock of the set is held.
        unsafe { bindings::vfio_device::iommufd_attached_raw(self.as_raw()) != 0 }
    }

    /// Notes whether something is attached.
    pub(crate) fn set_iommufd_attached(&self, attached: bool) {
        // SAFETY: The lock of the set is held, which also protects the other bits of the byte that
        // change.
        unsafe { bindings::vfio_device::set_iommufd_attached_raw(self.as_raw(), attached.into()) };
    }

    /// The lowest PASID from `from` on for which something is attached.
    pub(crate) fn next_pasid(&self, from: Pasid) -> Option<Pasid> {
        // SAFETY: The member is initialised while the device is bound; it has a lock of its own.
        let id = unsafe {
            bindings::ida_find_first_range(&raw mut (*self.as_raw()).pasids, from, u32::MAX)
        };
        Pasid::try_from(id).ok()
    }

    /// Notes that something is attached for the PASID.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENOSPC` if it was noted before or is no PASID at all.
    pub(crate) fn add_pasid(&self, pasid: Pasid) -> Result {
        // The C function takes numbers up to `INT_MAX`.
        i32::try_from(pasid).map_err(|_| ENOSPC)?;
        // SAFETY: The member is initialised while the device is bound; it has a lock of its own.
        to_result(unsafe {
            bindings::ida_alloc_range(
                &raw mut (*self.as_raw()).pasids,
                pasid,
                pasid,
                bindings::GFP_KERNEL,
            )
        })
    }

    /// Forgets a PASID that was noted.
    pub(crate) fn remove_pasid(&self, pasid: Pasid) {
        // SAFETY: The member is initialised while the device is bound; it has a lock of its own.
        unsafe { bindings::ida_free(&raw mut (*self.as_raw()).pasids, pasid) };
    }
}
