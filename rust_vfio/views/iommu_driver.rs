// SPDX-License-Identifier: GPL-2.0

//! The operations of an IOMMU backend (`struct vfio_iommu_driver_ops`, `iommu_driver.h`).
//!
//! A backend is another module, in C or Rust, that registers its table with the core. A
//! [`BackendState`] is what its `open` returned, and keeps the module.

use core::ptr;

use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*, //
};

use crate::{
    bindings,
    kernel::{
        iommu_group::IommuGroup,
        module::ModuleRef,
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

/// A registered table. The backend's module removes it before it goes.
///
/// # Invariants
///
/// The table is valid until [`crate::container::backend::unregister_driver`] returns, or while a
/// [`ModuleRef`] of its owner is held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct IommuDriver(*const bindings::vfio_iommu_driver_ops);

// SAFETY: The table is constant.
unsafe impl Send for IommuDriver {}
// SAFETY: As above.
unsafe impl Sync for IommuDriver {}

impl IommuDriver {
    /// A table that a backend registers.
    ///
    /// # Safety
    ///
    /// `ops` must be valid until it is unregistered and while its module is referenced.
    pub(crate) unsafe fn from_raw(ops: *const bindings::vfio_iommu_driver_ops) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self(ops)
    }

    fn ops(&self) -> &bindings::vfio_iommu_driver_ops {
        // SAFETY: By the type invariants.
        unsafe { &*self.0 }
    }

    /// Whether the table has both or neither of the functions that must come in a pair.
    pub(crate) fn is_consistent(&self) -> bool {
        self.ops().register_device.is_some() == self.ops().unregister_device.is_some()
    }

    /// Keeps the backend's module, unless it is on its way out.
    pub(crate) fn pin(&self) -> Option<PinnedDriver> {
        // SAFETY: The table is valid by the type invariants, and its owner with it.
        let module = unsafe { ModuleRef::get(self.ops().owner) }?;
        Some(PinnedDriver {
            driver: *self,
            _module: module,
        })
    }
}

/// A backend whose module cannot go.
pub(crate) struct PinnedDriver {
    driver: IommuDriver,
    _module: ModuleRef,
}

impl PinnedDriver {
    /// What the backend says to CHECK_EXTENSION when no container uses it yet.
    ///
    /// # Errors
    ///
    /// The backend's errno.
    pub(crate) fn check_extension(&self, arg: UserAddr) -> Result<isize> {
        ioctl(
            self.driver,
            ptr::null_mut(),
            ioctls::VFIO_CHECK_EXTENSION,
            arg,
        )
    }

    /// Creates the backend's state for one container, of the type that the user asked for.
    ///
    /// # Errors
    ///
    /// The backend's errno.
    pub(crate) fn open(self, arg: UserAddr) -> Result<BackendState> {
        let open = self.driver.ops().open.ok_or(EINVAL)?;
        // SAFETY: The backend's module is held.
        let data = from_err_ptr(unsafe { open(arg.get()) })?;
        Ok(BackendState { data, driver: self })
    }
}

fn ioctl(
    driver: IommuDriver,
    data: *mut kernel::ffi::c_void,
    cmd: u32,
    arg: UserAddr,
) -> Result<isize> {
    let ioctl = driver.ops().ioctl.ok_or(EINVAL)?;
    // SAFETY: The caller holds the backend's module; `data` is null or came from its `open`.
    let ret = unsafe { ioctl(data, cmd, arg.get()) };
    if ret < 0 {
        return Err(Error::from_errno(i32::try_from(ret).unwrap_or(0)));
    }
    Ok(ret)
}

/// A backend's state for one container. Dropping it releases the state, then the module.
pub(crate) struct BackendState {
    data: *mut kernel::ffi::c_void,
    driver: PinnedDriver,
}

// SAFETY: A backend locks its state itself.
unsafe impl Send for BackendState {}
// SAFETY: As above.
unsafe impl Sync for BackendState {}

impl BackendState {
    fn ops(&self) -> &bindings::vfio_iommu_driver_ops {
        self.driver.driver.ops()
    }

    /// Passes an ioctl on.
    pub(crate) fn ioctl(&self, cmd: u32, arg: UserAddr) -> Result<isize> {
        ioctl(self.driver.driver, self.data, cmd, arg)
    }

    /// Lets the backend translate the DMA of a group.
    pub(crate) fn attach_group(&self, group: &IommuGroup, kind: GroupType) -> Result {
        let attach = self.ops().attach_group.ok_or(EINVAL)?;
        // SAFETY: The state is live and the group valid.
        to_result(unsafe { attach(self.data, group.as_ptr(), kind.into()) })
    }

    /// The opposite of [`BackendState::attach_group`].
    pub(crate) fn detach_group(&self, group: &IommuGroup) {
        if let Some(detach) = self.ops().detach_group {
            // SAFETY: The state is live and the group was attached.
            unsafe { detach(self.data, group.as_ptr()) };
        }
    }

    /// Tells the backend of a device that is about to be opened.
    pub(crate) fn register_device(&self, device: &Device) {
        if let Some(register) = self.ops().register_device {
            // SAFETY: The state is live and the device registered.
            unsafe { register(self.data, device.as_raw()) };
        }
    }

    /// The opposite of [`BackendState::register_device`], after the device was closed.
    pub(crate) fn unregister_device(&self, device: &Device) {
        if let Some(unregister) = self.ops().unregister_device {
            // SAFETY: The state is live and the device was registered with it.
            unsafe { unregister(self.data, device.as_raw()) };
        }
    }

    /// Pins pages of the user for an emulated device in `group`, and returns how many.
    ///
    /// # Errors
    ///
    /// `ENOTTY` if the backend cannot, otherwise its errno.
    pub(crate) fn pin_pages(&self, group: &IommuGroup, request: &PinRequest) -> Result<i32> {
        let pin = self.ops().pin_pages.ok_or(ENOTTY)?;
        // SAFETY: The state is live, and the array as long as the request says.
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
        to_result(ret)?;
        Ok(ret)
    }

    /// The opposite of [`BackendState::pin_pages`], for `count` pages from IOVA `iova` on.
    pub(crate) fn unpin_pages(&self, iova: u64, count: i32) {
        if let Some(unpin) = self.ops().unpin_pages {
            // SAFETY: The state is live.
            unsafe { unpin(self.data, iova, count) };
        }
    }

    /// Copies between kernel memory and the user's memory at an IOVA.
    ///
    /// # Errors
    ///
    /// `ENOTTY` if the backend cannot, otherwise its errno.
    pub(crate) fn dma_rw(&self, copy: &DmaCopy) -> Result {
        let rw = self.ops().dma_rw.ok_or(ENOTTY)?;
        // SAFETY: The state is live, and the buffer as long as the request says.
        to_result(unsafe { rw(self.data, copy.iova, copy.data, copy.len, copy.write) })
    }
}

impl Drop for BackendState {
    fn drop(&mut self) {
        if let Some(release) = self.ops().release {
            // SAFETY: The state came from `open`, and nobody else has it any more.
            unsafe { release(self.data) };
        }
    }
}
