// SPDX-License-Identifier: GPL-2.0

//! iommufd: contexts, and the two kinds of objects by which a driver's device uses one: a device
//! with DMA of its own, and the access of an emulated device. iommufd has locks of its own.
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
        iommu_group::IommuGroup,
        returned::Failure, //
    }, //
};

/// A context of iommufd: the object behind an open file of `/dev/iommu`.
#[repr(transparent)]
pub(crate) struct IommufdCtx(Opaque<bindings::iommufd_ctx>);

// SAFETY: Contexts have locks of their own.
unsafe impl Send for IommufdCtx {}
// SAFETY: As above.
unsafe impl Sync for IommufdCtx {}

// SAFETY: The C functions count references to the context, which is freed with the last one.
unsafe impl AlwaysRefCounted for IommufdCtx {
    fn inc_ref(&self) {
        // SAFETY: A reference to a context exists as long as the context is valid.
        unsafe { bindings::iommufd_ctx_get(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: By the safety requirements of this function the caller owns a reference.
        unsafe { bindings::iommufd_ctx_put(obj.as_ptr().cast()) };
    }
}

impl PartialEq for IommufdCtx {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self, other)
    }
}

impl IommufdCtx {
    /// Returns the context at `ptr`, or none if `ptr` is null.
    ///
    /// # Safety
    ///
    /// `ptr` must be null or point to a context that stays valid for `'a`.
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::iommufd_ctx) -> Option<&'a Self> {
        // SAFETY: By the safety requirements of this function; the type is transparent.
        unsafe { ptr.cast::<Self>().as_ref() }
    }

    /// Returns the C object.
    pub(crate) fn as_raw(&self) -> *mut bindings::iommufd_ctx {
        self.0.get()
    }

    /// Returns the context behind the descriptor `fd` of the calling process.
    ///
    /// # Errors
    ///
    /// - `EBADF` if there is no such descriptor.
    /// - `EBADFD` if the file is not one of iommufd.
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    #[doc(alias = "iommufd_ctx_from_fd")]
    pub(crate) fn from_fd(fd: i32) -> Result<ARef<Self>> {
        // SAFETY: There are no safety requirements: a number that is no descriptor gives an error.
        Self::from_counted(unsafe { bindings::iommufd_ctx_from_fd(fd) })
    }

    /// Returns the context behind `file`.
    ///
    /// # Errors
    ///
    /// `EBADFD` if the file is not one of iommufd.
    #[cfg(CONFIG_VFIO_GROUP)]
    #[doc(alias = "iommufd_ctx_from_file")]
    pub(crate) fn from_file(file: &File) -> Result<ARef<Self>> {
        // SAFETY: The file is valid, being a reference.
        Self::from_counted(unsafe { bindings::iommufd_ctx_from_file(file.as_ptr()) })
    }

    fn from_counted(ctx: *mut bindings::iommufd_ctx) -> Result<ARef<Self>> {
        let ctx = NonNull::new(from_err_ptr(ctx)?).ok_or(EBADFD)?;
        // SAFETY: Both callers pass the result of a C function that took a reference, which the
        // result owns.
        Ok(unsafe { ARef::from_raw(ctx.cast()) })
    }

    /// Returns whether any device of `group` is bound to the context.
    #[doc(alias = "iommufd_ctx_has_group")]
    pub(crate) fn has_group(&self, group: &IommuGroup) -> bool {
        // SAFETY: The context is valid, being a reference, and `group` owns a reference to the C
        // object.
        unsafe { bindings::iommufd_ctx_has_group(self.as_raw(), group.as_ptr()) }
    }
}

/// Compatibility with containers, whose requests name no I/O address space (IOAS): a context has at
/// most one *compat IOAS* for them, or is in the mode for devices without IOMMU and has none.
#[cfg(CONFIG_VFIO_GROUP)]
impl IommufdCtx {
    /// Returns the id of the compat IOAS.
    ///
    /// # Errors
    ///
    /// `ENODEV` if there is none.
    #[doc(alias = "iommufd_vfio_compat_ioas_get_id")]
    pub(crate) fn compat_ioas(&self) -> Result<u32> {
        let mut id = 0;
        // SAFETY: The context is valid, being a reference, and `id` is valid during the call.
        to_result(unsafe { bindings::iommufd_vfio_compat_ioas_get_id(self.as_raw(), &mut id) })?;
        Ok(id)
    }

    /// Creates the compat IOAS, unless there is one.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`.
    /// - `EINVAL` if the context is in the mode for devices without IOMMU.
    #[doc(alias = "iommufd_vfio_compat_ioas_create")]
    pub(crate) fn ensure_compat_ioas(&self) -> Result {
        // SAFETY: The context is valid, being a reference.
        to_result(unsafe { bindings::iommufd_vfio_compat_ioas_create(self.as_raw()) })
    }

    /// Switches the context to the mode for devices without IOMMU.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is a compat IOAS.
    #[doc(alias = "iommufd_vfio_compat_set_no_iommu")]
    pub(crate) fn set_no_iommu(&self) -> Result {
        // SAFETY: The context is valid, being a reference.
        to_result(unsafe { bindings::iommufd_vfio_compat_set_no_iommu(self.as_raw()) })
    }
}

/// A device with DMA of its own that is bound to a context (`struct iommufd_device`). The binding
/// holds a reference to the context.
#[repr(transparent)]
pub(crate) struct IommufdDevice(Opaque<bindings::iommufd_device>);

/// The number of one of the I/O address spaces of a device (process address space ID), or
/// [`NO_PASID`].
pub(crate) type Pasid = u32;

/// Selects the I/O address space for requests that carry no PASID (`IOMMU_NO_PASID`).
pub(crate) const NO_PASID: Pasid = 0;

impl IommufdDevice {
    /// Binds `dev` to `ctx`, and returns the binding and its id in the context. Claims the DMA of
    /// the device's IOMMU group for the context. Sleeps.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`.
    /// - `EINVAL` if the IOMMU cannot make the DMA of the device cache coherent.
    /// - `ENODEV` if the device is in no IOMMU group.
    /// - `EPERM` if interrupts are not isolated and iommufd does not allow that, or if a kernel
    ///   driver or another context owns the DMA of the group.
    /// - Any errno of `iommu_device_claim_dma_owner()`.
    #[doc(alias = "iommufd_device_bind")]
    pub(crate) fn bind(dev: &device::Device, ctx: &IommufdCtx) -> Result<(NonNull<Self>, u32)> {
        let mut id = 0;
        // SAFETY: Context and device are valid, being references, and `id` is valid during the
        // call.
        let bound = from_err_ptr(unsafe {
            bindings::iommufd_device_bind(ctx.as_raw(), as_raw(dev), &mut id)
        })?;
        Ok((NonNull::new(bound).ok_or(ENODEV)?.cast(), id))
    }

    /// Unbinds the device and frees the binding; undoes [`IommufdDevice::bind`]. Sleeps.
    ///
    /// # Safety
    ///
    /// `this` must come from [`IommufdDevice::bind`]. Nothing may be attached to it, and nobody may
    /// use it afterwards.
    #[doc(alias = "iommufd_device_unbind")]
    pub(crate) unsafe fn unbind(this: NonNull<Self>) {
        // SAFETY: By the safety requirements of this function the binding is valid and unused.
        unsafe { bindings::iommufd_device_unbind(this.as_ptr().cast()) };
    }

    /// Returns the context that the device is bound to.
    #[doc(alias = "iommufd_device_to_ictx")]
    pub(crate) fn ctx(&self) -> Option<&IommufdCtx> {
        // SAFETY: The binding is valid, being a reference, and owns a reference to its context.
        unsafe { IommufdCtx::from_raw(bindings::iommufd_device_to_ictx(self.0.get())) }
    }

    /// Returns the id of the binding in its context.
    #[doc(alias = "iommufd_device_to_id")]
    pub(crate) fn id(&self) -> u32 {
        // SAFETY: The binding is valid, being a reference.
        unsafe { bindings::iommufd_device_to_id(self.0.get()) }
    }

    /// Attaches the IOAS or the page table with the id `*pt` for `pasid`, to which nothing may be
    /// attached, and sets `*pt` to the id of the page table that is used. Sleeps.
    ///
    /// # Errors
    ///
    /// - `ENOENT` if the context has no object with this id.
    /// - `EINVAL` if the object is no IOAS or page table, or the device cannot use it.
    /// - `ENOMEM`, or any other errno of iommufd or the IOMMU driver.
    #[doc(alias = "iommufd_device_attach")]
    pub(crate) fn attach(&self, pasid: Pasid, pt: &mut u32) -> Result<(), Failure> {
        // SAFETY: The binding is valid, being a reference, and `pt` is valid during the call.
        Failure::check(unsafe { bindings::iommufd_device_attach(self.0.get(), pasid, pt) })
    }

    /// Attaches the IOAS or the page table with the id `*pt` for `pasid`, in place of the one that
    /// is attached, and sets `*pt` to the id of the page table that is used. Sleeps.
    ///
    /// # Errors
    ///
    /// As for [`IommufdDevice::attach`]. The attachment is then unchanged.
    #[doc(alias = "iommufd_device_replace")]
    pub(crate) fn replace(&self, pasid: Pasid, pt: &mut u32) -> Result<(), Failure> {
        // SAFETY: The binding is valid, being a reference, and `pt` is valid during the call.
        Failure::check(unsafe { bindings::iommufd_device_replace(self.0.get(), pasid, pt) })
    }

    /// Detaches the page table of `pasid`. The kernel warns if none is attached. Sleeps.
    #[doc(alias = "iommufd_device_detach")]
    pub(crate) fn detach(&self, pasid: Pasid) {
        // SAFETY: The binding is valid, being a reference.
        unsafe { bindings::iommufd_device_detach(self.0.get(), pasid) };
    }
}

/// The access of an emulated device to an IOAS (`struct iommufd_access`). It holds a reference to
/// its context.
#[repr(transparent)]
pub(crate) struct IommufdAccess(Opaque<bindings::iommufd_access>);

/// The functions that iommufd calls for an access (`struct iommufd_access_ops`).
pub(crate) struct AccessOps(bindings::iommufd_access_ops);

// SAFETY: The table is never written.
unsafe impl Sync for AccessOps {}

impl AccessOps {
    /// Creates the table of a user that pins pages.
    ///
    /// iommufd calls `unmap` when memory is unmapped that may be pinned. Its arguments are the data
    /// that were passed to [`IommufdAccess::create`], the first IOVA and the number of bytes.
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
    /// Creates an access to which no IOAS is attached, and returns it and its id in the context.
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
        // SAFETY: The context is valid, being a reference, the table is static, and by the safety
        // requirements of this function its functions may be called with `data`.
        let access = from_err_ptr(unsafe {
            bindings::iommufd_access_create(ctx.as_raw(), &ops.0, data, &mut id)
        })?;
        Ok((NonNull::new(access).ok_or(ENODEV)?.cast(), id))
    }

    /// Detaches the IOAS, if one is attached, and frees the access. iommufd calls `unmap` for all
    /// that is still pinned, and waits for calls that are under way. Sleeps.
    ///
    /// # Safety
    ///
    /// `this` must come from [`IommufdAccess::create`], and nobody may use it afterwards.
    #[doc(alias = "iommufd_access_destroy")]
    pub(crate) unsafe fn destroy(this: NonNull<Self>) {
        // SAFETY: By the safety requirements of this function the access is valid and unused.
        unsafe { bindings::iommufd_access_destroy(this.as_ptr().cast()) };
    }

    /// Returns the C object.
    pub(crate) fn as_raw(&self) -> *mut bindings::iommufd_access {
        self.0.get()
    }

    /// Attaches the IOAS with the id `ioas`. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EINVAL` (and a warning) if one is attached already.
    /// - `ENOENT` if the context has no object with this id.
    /// - `EINVAL` if the object is no IOAS.
    /// - `ENOMEM`, or any other errno of iommufd.
    #[doc(alias = "iommufd_access_attach")]
    pub(crate) fn attach(&self, ioas: u32) -> Result<(), Failure> {
        // SAFETY: The access is valid, being a reference.
        Failure::check(unsafe { bindings::iommufd_access_attach(self.0.get(), ioas) })
    }

    /// Attaches the IOAS with the id `ioas` in place of the one that is attached. Sleeps.
    ///
    /// # Errors
    ///
    /// The attachment is then unchanged.
    ///
    /// - `ENOENT` if none is attached, or the context has no object with this id.
    /// - `EINVAL` if the object is no IOAS.
    /// - `ENOMEM`, or any other errno of iommufd.
    #[doc(alias = "iommufd_access_replace")]
    pub(crate) fn replace(&self, ioas: u32) -> Result<(), Failure> {
        // SAFETY: The access is valid, being a reference.
        Failure::check(unsafe { bindings::iommufd_access_replace(self.0.get(), ioas) })
    }

    /// Detaches the IOAS. The kernel warns if none is attached. Sleeps.
    #[doc(alias = "iommufd_access_detach")]
    pub(crate) fn detach(&self) {
        // SAFETY: The access is valid, being a reference.
        unsafe { bindings::iommufd_access_detach(self.0.get()) };
    }
}
