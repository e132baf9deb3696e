// SPDX-License-Identifier: GPL-2.0

//! The operations of an IOMMU backend (`struct vfio_iommu_driver_ops`).
//!
//! A backend is another module, in C or Rust, that registers a table of operations with the core. A
//! [`BackendState`] is the state that its `open` returned for a container. It holds a reference to
//! the module. Backends lock their state themselves. What their operations return is passed on as
//! it is ([`Failure`]).
//!
//! Corresponds to the calls through `struct vfio_iommu_driver` in `drivers/vfio/container.c`;
//! contract section 4.8. C header: `bindings/iommu_driver.h`.

use core::ptr;

use kernel::{
    error::from_err_ptr,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    str::CStr, //
};

use crate::{
    bindings,
    kernel::{
        iommu_group::IommuGroup,
        module::ModuleRef,
        returned::Failure,
        symbol::Symbol,
        uaccess::UserAddr, //
    },
    uapi::ioctls,
    views::{
        device::Device,
        group_type::GroupType,
        user_dma::{
            DmaCopy,
            PinRequest, //
        }, //
    }, //
};

impl From<GroupType> for bindings::vfio_group_type {
    fn from(kind: GroupType) -> Self {
        match kind {
            GroupType::Iommu => Self::VFIO_IOMMU,
            GroupType::Emulated => Self::VFIO_EMULATED_IOMMU,
            GroupType::NoIommu => Self::VFIO_NO_IOMMU,
        }
    }
}

/// A function by which a backend prints what it says of itself, if the table is its own.
type ShowBackend = unsafe extern "C" fn(
    *const bindings::vfio_iommu_driver_ops,
    *mut kernel::ffi::c_void,
    *mut bindings::seq_file,
);

/// The table of operations of a backend. The backend unregisters it before it is unloaded.
///
/// # Invariants
///
/// The table is valid until [`crate::container::backend::unregister_driver`] returns for it, and as
/// long as a [`ModuleRef`] of its owner exists.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct IommuDriver(*const bindings::vfio_iommu_driver_ops);

// SAFETY: The table is constant, so any thread may read it.
unsafe impl Send for IommuDriver {}
// SAFETY: As above.
unsafe impl Sync for IommuDriver {}

impl IommuDriver {
    /// Wraps the table of a backend.
    ///
    /// # Safety
    ///
    /// `ops` must be valid until it is unregistered, and as long as there is a reference to its
    /// module.
    pub(crate) unsafe fn from_raw(ops: *const bindings::vfio_iommu_driver_ops) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self(ops)
    }

    fn ops(&self) -> &bindings::vfio_iommu_driver_ops {
        // SAFETY: By the type invariants the table is valid while the value is used.
        unsafe { &*self.0 }
    }

    /// Returns whether the table has both or none of `register_device` and `unregister_device`.
    pub(crate) fn is_consistent(&self) -> bool {
        self.ops().register_device.is_some() == self.ops().unregister_device.is_some()
    }

    /// Takes a reference to the backend's module, or returns none if it is being unloaded.
    pub(crate) fn pin(&self) -> Option<PinnedDriver> {
        // SAFETY: The table is part of the module `owner`, which is valid as long as the table, or
        // null.
        let module = unsafe { ModuleRef::get(self.ops().owner) }?;
        Some(PinnedDriver {
            driver: *self,
            _module: module,
        })
    }
}

/// A backend with a reference to its module, which cannot be unloaded.
pub(crate) struct PinnedDriver {
    driver: IommuDriver,
    _module: ModuleRef,
}

impl PinnedDriver {
    /// Returns the backend's answer to CHECK_EXTENSION, of a container that does not use it.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the backend has no `ioctl`.
    /// - Any failure of the backend's `ioctl`.
    pub(crate) fn check_extension(&self, arg: UserAddr) -> Result<isize, Failure> {
        ioctl(
            self.driver,
            ptr::null_mut(),
            ioctls::VFIO_CHECK_EXTENSION,
            arg,
        )
    }

    /// Creates the backend's state for a container. `arg` is the number of the IOMMU type that the
    /// user passed to SET_IOMMU. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the backend has no `open`.
    /// - Any errno of the backend's `open`.
    pub(crate) fn open(self, arg: UserAddr) -> Result<BackendState> {
        let open = self.driver.ops().open.ok_or(EINVAL)?;
        // SAFETY: `self` holds a reference to the backend's module, so the function is there. It
        // takes any number.
        let data = from_err_ptr(unsafe { open(arg.get()) })?;
        // INVARIANT: `open` returned `data`.
        Ok(BackendState { data, driver: self })
    }
}

fn ioctl(
    driver: IommuDriver,
    data: *mut kernel::ffi::c_void,
    cmd: u32,
    arg: UserAddr,
) -> Result<isize, Failure> {
    let ioctl = driver.ops().ioctl.ok_or(EINVAL)?;
    // SAFETY: Both callers hold a reference to the backend's module, and pass null or the state
    // that its `open` returned. The backend checks the argument.
    Failure::check_value(unsafe { ioctl(data, cmd, arg.get()) })
}

/// The state of a backend for one container. Dropping it releases the state, then the reference to
/// the module.
///
/// # Invariants
///
/// `data` came from `open` of `driver`, and is valid until this value is dropped.
pub(crate) struct BackendState {
    data: *mut kernel::ffi::c_void,
    driver: PinnedDriver,
}

// SAFETY: Any thread may call the operations of a backend, which locks its state itself.
unsafe impl Send for BackendState {}
// SAFETY: As above.
unsafe impl Sync for BackendState {}

impl BackendState {
    fn ops(&self) -> &bindings::vfio_iommu_driver_ops {
        self.driver.driver.ops()
    }

    /// Passes an ioctl of a container to the backend. May sleep.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the backend has no `ioctl`.
    /// - Any failure of the backend's `ioctl`.
    pub(crate) fn ioctl(&self, cmd: u32, arg: UserAddr) -> Result<isize, Failure> {
        ioctl(self.driver.driver, self.data, cmd, arg)
    }

    /// Prints the name of the backend, and what it says of itself if it is our type1. Does not wait
    /// for its lock.
    pub(crate) fn show(&self, m: &SeqFile) {
        let name = self.ops().name;
        if !name.is_null() {
            // SAFETY: The name of a backend is a NUL-terminated string that stays as long as the
            // table.
            let name = unsafe { CStr::from_char_ptr(name) };
            seq_print!(m, "vfio-container-backend:\t{name}\n");
        }
        let Some(symbol) = Symbol::get(c"vfio_iommu_type1_show") else {
            return;
        };
        // CAST: A `SeqFile` is a transparent wrapper of the C object.
        let m = (&raw const *m).cast_mut().cast();
        // SAFETY: Only our type1 exports the symbol, which is a function of this type.
        let show: ShowBackend = unsafe { core::mem::transmute(symbol.address()) };
        // SAFETY: The state is valid by the type invariants, and belongs to this table. The
        // sequence file is valid, being a reference, and nobody else uses it.
        unsafe { show(self.driver.driver.0, self.data, m) };
    }

    /// Attaches a group, so that the backend translates the DMA of its devices. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the backend has no `attach_group`.
    /// - Any failure of the backend's `attach_group`.
    pub(crate) fn attach_group(&self, group: &IommuGroup, kind: GroupType) -> Result<(), Failure> {
        let attach = self.ops().attach_group.ok_or(EINVAL)?;
        // SAFETY: The state is valid by the type invariants, and `group` owns a reference.
        Failure::check(unsafe { attach(self.data, group.as_ptr(), kind.into()) })
    }

    /// Detaches a group; undoes [`BackendState::attach_group`]. Sleeps.
    pub(crate) fn detach_group(&self, group: &IommuGroup) {
        if let Some(detach) = self.ops().detach_group {
            // SAFETY: The state is valid by the type invariants. The only caller has attached the
            // group, to which `group` owns a reference.
            unsafe { detach(self.data, group.as_ptr()) };
        }
    }

    /// Tells the backend that a device is about to be opened.
    pub(crate) fn register_device(&self, device: &Device) {
        if let Some(register) = self.ops().register_device {
            // SAFETY: The state is valid by the type invariants, and the device is valid, being a
            // reference.
            unsafe { register(self.data, device.as_raw()) };
        }
    }

    /// Tells the backend that a device was closed; undoes [`BackendState::register_device`].
    pub(crate) fn unregister_device(&self, device: &Device) {
        if let Some(unregister) = self.ops().unregister_device {
            // SAFETY: The state is valid by the type invariants, and the device is valid, being a
            // reference. The caller has registered it.
            unsafe { unregister(self.data, device.as_raw()) };
        }
    }

    /// Pins pages for an emulated device in `group`, and returns their number. Sleeps.
    ///
    /// # Errors
    ///
    /// - `ENOTTY` if the backend has no `pin_pages`.
    /// - Any failure of the backend's `pin_pages`.
    pub(crate) fn pin_pages(
        &self,
        group: &IommuGroup,
        request: &PinRequest,
    ) -> Result<isize, Failure> {
        let pin = self.ops().pin_pages.ok_or(ENOTTY)?;
        // SAFETY: The state is valid by the type invariants, and `group` owns a reference. By the
        // type invariants of `PinRequest` the array has room for all pages, and the caller has
        // checked that it is not null.
        let ret = unsafe {
            pin(
                self.data,
                group.as_ptr(),
                request.iova,
                request.count,
                request.prot,
                request.pages,
            )
        };
        // CAST: An `isize` has at least the bits of a `c_int` in a kernel.
        Failure::check_value(ret as isize)
    }

    /// Unpins `count` pages from IOVA `iova` on; undoes [`BackendState::pin_pages`]. Sleeps.
    pub(crate) fn unpin_pages(&self, iova: u64, count: i32) {
        if let Some(unpin) = self.ops().unpin_pages {
            // SAFETY: The state is valid by the type invariants. The backend checks the range.
            unsafe { unpin(self.data, iova, count) };
        }
    }

    /// Copies between kernel memory and user memory. Sleeps.
    ///
    /// # Errors
    ///
    /// - `ENOTTY` if the backend has no `dma_rw`.
    /// - Any failure of the backend's `dma_rw`.
    pub(crate) fn dma_rw(&self, copy: &DmaCopy) -> Result<(), Failure> {
        let rw = self.ops().dma_rw.ok_or(ENOTTY)?;
        // SAFETY: The state is valid by the type invariants. By those of `DmaCopy` the buffer is
        // valid for `len` bytes, and the caller has checked that it is not null.
        Failure::check(unsafe { rw(self.data, copy.iova, copy.data, copy.len, copy.write) })
    }
}

impl Drop for BackendState {
    fn drop(&mut self) {
        if let Some(release) = self.ops().release {
            // SAFETY: By the type invariants the state came from `open`. It is not used afterwards.
            unsafe { release(self.data) };
        }
    }
}
