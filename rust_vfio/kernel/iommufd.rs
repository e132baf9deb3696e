// SPDX-License-Identifier: GPL-2.0

//! iommufd: contexts, and what binds a device to one.
//!
//! In the kernel crate: a module `kernel::iommufd` with these types.
//!
//! C header: `include/linux/iommufd.h`.

use core::ptr::NonNull;

use kernel::{
    device,
    error::{
        from_err_ptr,
        to_result, //
    },
    fs::File,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque, //
};

use crate::{
    bindings,
    kernel::{
        device::as_raw,
        iommu_group::IommuGroup, //
    }, //
};

/// A context: what a file of `/dev/iommu` stands for.
#[repr(transparent)]
pub(crate) struct IommufdCtx(Opaque<bindings::iommufd_ctx>);

// SAFETY: Contexts have locks of their own.
unsafe impl Send for IommufdCtx {}
// SAFETY: As above.
unsafe impl Sync for IommufdCtx {}

// SAFETY: The functions count references to the context.
unsafe impl AlwaysRefCounted for IommufdCtx {
    fn inc_ref(&self) {
        // SAFETY: The context is valid.
        unsafe { bindings::iommufd_ctx_get(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: By the safety requirements the caller owns a reference.
        unsafe { bindings::iommufd_ctx_put(obj.as_ptr().cast()) };
    }
}

impl PartialEq for IommufdCtx {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self, other)
    }
}

impl IommufdCtx {
    /// Wraps the context at `ptr`, or returns none if it is null.
    ///
    /// # Safety
    ///
    /// A context at `ptr` must stay valid for `'a`.
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::iommufd_ctx) -> Option<&'a Self> {
        // SAFETY: By the safety requirements; the type is transparent.
        unsafe { ptr.cast::<Self>().as_ref() }
    }

    /// Returns the C object.
    pub(crate) fn as_raw(&self) -> *mut bindings::iommufd_ctx {
        self.0.get()
    }

    /// Returns the context behind a descriptor of the calling process.
    ///
    /// # Errors
    ///
    /// `EBADF` if there is no such descriptor, `EBADFD` if it is something else.
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    pub(crate) fn from_fd(fd: i32) -> Result<ARef<Self>> {
        // SAFETY: There are no safety requirements; any number may be asked for.
        Self::from_counted(unsafe { bindings::iommufd_ctx_from_fd(fd) })
    }

    /// Returns the context that `file` stands for.
    ///
    /// # Errors
    ///
    /// `EBADFD` if it is something else.
    #[cfg(CONFIG_VFIO_GROUP)]
    pub(crate) fn from_file(file: &File) -> Result<ARef<Self>> {
        // SAFETY: The file is valid.
        Self::from_counted(unsafe { bindings::iommufd_ctx_from_file(file.as_ptr()) })
    }

    fn from_counted(ctx: *mut bindings::iommufd_ctx) -> Result<ARef<Self>> {
        let ctx = NonNull::new(from_err_ptr(ctx)?).ok_or(EBADFD)?;
        // SAFETY: The C functions return a reference, which the result owns.
        Ok(unsafe { ARef::from_raw(ctx.cast()) })
    }

    /// Returns whether a device of `group` is bound to the context.
    pub(crate) fn has_group(&self, group: &IommuGroup) -> bool {
        // SAFETY: Both are valid.
        unsafe { bindings::iommufd_ctx_has_group(self.as_raw(), group.as_ptr()) }
    }
}

/// What a context does for users of containers: it has one I/O address space that requests without
/// an id mean, or none, if nothing translates.
#[cfg(CONFIG_VFIO_GROUP)]
impl IommufdCtx {
    /// The id of the address space for users of containers.
    ///
    /// # Errors
    ///
    /// `ENODEV` if there is none.
    pub(crate) fn compat_ioas(&self) -> Result<u32> {
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
    pub(crate) fn ensure_compat_ioas(&self) -> Result {
        // SAFETY: The context is valid.
        to_result(unsafe { bindings::iommufd_vfio_compat_ioas_create(self.as_raw()) })
    }

    /// Notes that nothing translates.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is such an address space.
    pub(crate) fn set_no_iommu(&self) -> Result {
        // SAFETY: The context is valid.
        to_result(unsafe { bindings::iommufd_vfio_compat_set_no_iommu(self.as_raw()) })
    }
}

/// A device with DMA of its own that is bound to a context (`struct iommufd_device`).
#[repr(transparent)]
pub(crate) struct IommufdDevice(Opaque<bindings::iommufd_device>);

/// Which I/O address space of a device: the one for requests without a PASID, or that of a PASID.
pub(crate) type Pasid = u32;

/// Requests without a PASID.
pub(crate) const NO_PASID: Pasid = 0;

impl IommufdDevice {
    /// Binds `dev` to `ctx`, and returns the binding and its id in the context. Claims the IOMMU
    /// group of the device for user space.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the device has no IOMMU group; `EPERM` if a kernel driver uses a device of it,
    /// or interrupts are not isolated; `EINVAL`, `ENOMEM`.
    #[doc(alias = "iommufd_device_bind")]
    pub(crate) fn bind(dev: &device::Device, ctx: &IommufdCtx) -> Result<(NonNull<Self>, u32)> {
        let mut id = 0;
        // SAFETY: Context and device are valid, and `id` for the call.
        let bound = from_err_ptr(unsafe {
            bindings::iommufd_device_bind(ctx.as_raw(), as_raw(dev), &mut id)
        })?;
        Ok((NonNull::new(bound).ok_or(ENODEV)?.cast(), id))
    }

    /// Undoes [`IommufdDevice::bind`].
    ///
    /// # Safety
    ///
    /// Nothing may be attached, and nobody may use the binding afterwards.
    pub(crate) unsafe fn unbind(this: NonNull<Self>) {
        // SAFETY: By the safety requirements.
        unsafe { bindings::iommufd_device_unbind(this.as_ptr().cast()) };
    }

    /// Returns the context it is bound to.
    pub(crate) fn ctx(&self) -> Option<&IommufdCtx> {
        // SAFETY: The binding is valid, and keeps its context.
        unsafe { IommufdCtx::from_raw(bindings::iommufd_device_to_ictx(self.0.get())) }
    }

    /// Returns its id in the context.
    pub(crate) fn id(&self) -> u32 {
        // SAFETY: The binding is valid.
        unsafe { bindings::iommufd_device_to_id(self.0.get()) }
    }

    /// Attaches what has the id `*pt`, and says in `pt` which page table is used.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such id; `EINVAL` if it cannot be used for the device; `ENOMEM`.
    pub(crate) fn attach(&self, pasid: Pasid, pt: &mut u32) -> Result {
        // SAFETY: The binding is valid, and `pt` for the call.
        to_result(unsafe { bindings::iommufd_device_attach(self.0.get(), pasid, pt) })
    }

    /// Attaches something else. On failure what was attached stays.
    ///
    /// # Errors
    ///
    /// As [`IommufdDevice::attach`].
    pub(crate) fn replace(&self, pasid: Pasid, pt: &mut u32) -> Result {
        // SAFETY: The binding is valid, and `pt` for the call.
        to_result(unsafe { bindings::iommufd_device_replace(self.0.get(), pasid, pt) })
    }

    /// Detaches what is attached, which must be something.
    pub(crate) fn detach(&self, pasid: Pasid) {
        // SAFETY: The binding is valid.
        unsafe { bindings::iommufd_device_detach(self.0.get(), pasid) };
    }
}

/// The access of an emulated device to an I/O address space (`struct iommufd_access`).
#[repr(transparent)]
pub(crate) struct IommufdAccess(Opaque<bindings::iommufd_access>);

/// What iommufd calls when memory goes that somebody with access may have pinned.
pub(crate) struct AccessOps(bindings::iommufd_access_ops);

// SAFETY: The table is never written.
unsafe impl Sync for AccessOps {}

impl AccessOps {
    /// Makes the table of somebody who pins pages.
    ///
    /// `unmap` gets the data that was passed to [`IommufdAccess::create`], and the first address
    /// and the number of bytes that go.
    pub(crate) const fn pinning(unmap: unsafe extern "C" fn(*mut c_void, usize, usize)) -> Self {
        Self(bindings::iommufd_access_ops {
            // `needs_pin_pages`, the first bit. The binding's setter is not for constants.
            _bitfield_1: bindings::__BindgenBitfieldUnit::new([if cfg!(target_endian = "big") {
                1 << 7
            } else {
                1
            }]),
            unmap: Some(unmap),
            ..pin_init::zeroed()
        })
    }
}

impl IommufdAccess {
    /// Creates access to what will be attached, and returns it and its id in the context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The functions of `ops` must be callable with `data` until the access is destroyed.
    #[doc(alias = "iommufd_access_create")]
    pub(crate) unsafe fn create(
        ctx: &IommufdCtx,
        ops: &'static AccessOps,
        data: *mut c_void,
    ) -> Result<(NonNull<Self>, u32)> {
        let mut id = 0;
        // SAFETY: The context is valid and the table static; for the data see the safety
        // requirements.
        let access = from_err_ptr(unsafe {
            bindings::iommufd_access_create(ctx.as_raw(), &ops.0, data, &mut id)
        })?;
        Ok((NonNull::new(access).ok_or(ENODEV)?.cast(), id))
    }

    /// Undoes [`IommufdAccess::create`], and everything that was done through it.
    ///
    /// # Safety
    ///
    /// Nobody may use the access afterwards.
    pub(crate) unsafe fn destroy(this: NonNull<Self>) {
        // SAFETY: By the safety requirements.
        unsafe { bindings::iommufd_access_destroy(this.as_ptr().cast()) };
    }

    /// Returns the C object.
    pub(crate) fn as_raw(&self) -> *mut bindings::iommufd_access {
        self.0.get()
    }

    /// Attaches the address space with this id.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is none; `EINVAL` if one is attached; `ENOMEM`.
    pub(crate) fn attach(&self, ioas: u32) -> Result {
        // SAFETY: The access is valid.
        to_result(unsafe { bindings::iommufd_access_attach(self.0.get(), ioas) })
    }

    /// Attaches another one. On failure the one that was attached stays.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is none with this id; `ENOMEM`.
    pub(crate) fn replace(&self, ioas: u32) -> Result {
        // SAFETY: The access is valid.
        to_result(unsafe { bindings::iommufd_access_replace(self.0.get(), ioas) })
    }

    /// Detaches the address space, which must be there.
    pub(crate) fn detach(&self) {
        // SAFETY: The access is valid.
        unsafe { bindings::iommufd_access_detach(self.0.get()) };
    }
}
