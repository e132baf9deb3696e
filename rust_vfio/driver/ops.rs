// SPDX-License-Identifier: GPL-2.0

//! The functions that the core calls for a device, in the tables that it wants.
//!
//! Each one turns the core's pointers into references and calls one function. What the core
//! guarantees (`struct vfio_device_ops`, docs/contract.md 2.3):
//!
//! * No function is called before registration or after unregistration has returned, but `release`.
//! * `open_device`, `close_device` and what concerns iommufd run under the lock of the device's
//!   set, one at a time. `open_device` begins a session and `close_device` ends it, when no file of
//!   the device is left.
//! * `read`, `write`, `ioctl`, `mmap` and the functions of migration and logging are called for a
//!   file of the device, so between these two.
//! * `dma_unmap` may be called from before `open_device` until after `close_device`.

use core::marker::PhantomData;

use kernel::{
    error::from_result,
    ffi::{
        c_char,
        c_int,
        c_long,
        c_uint,
        c_ulong, //
    },
    mm::virt::VmaNew,
    prelude::*,
    str::CStr,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

use crate::{
    bindings,
    driver::{
        access::{
            Access,
            Handle,
            Opened, //
        },
        device::{
            self,
            Driver,
            Iommu, //
        },
        dirty::{
            self,
            LogSupport as _, //
        },
        ioctl,
        migration::{
            self,
            Support as _, //
        },
        object::Object,
        pins,
        region, //
    }, //
};

/// The tables for devices of one driver.
pub(crate) struct Table<D>(PhantomData<D>);

/// Calls `f` with the open device.
///
/// # Safety
///
/// `vdev` must be a device of this driver that is open and is not closed during the call.
unsafe fn opened<D: Driver, T>(
    vdev: *mut bindings::vfio_device,
    f: impl FnOnce(&Opened<'_, D>) -> Result<T>,
) -> Result<T> {
    // SAFETY: By the safety requirements of this function.
    let opened = unsafe { Opened::new(Object::<D>::from_raw(vdev)) };
    f(&opened.ok_or(ENODEV)?)
}

impl<D: Driver> Table<D> {
    /// The table of operations.
    pub(crate) const OPS: bindings::vfio_device_ops = bindings::vfio_device_ops {
        name: D::NAME.to_bytes_with_nul().as_ptr().cast_mut(),
        release: Some(Self::release),
        #[cfg(CONFIG_IOMMUFD)]
        bind_iommufd: Some(if D::Iommu::IS_PHYSICAL {
            bindings::vfio_iommufd_physical_bind
        } else {
            bindings::vfio_iommufd_emulated_bind
        }),
        #[cfg(CONFIG_IOMMUFD)]
        unbind_iommufd: Some(if D::Iommu::IS_PHYSICAL {
            bindings::vfio_iommufd_physical_unbind
        } else {
            bindings::vfio_iommufd_emulated_unbind
        }),
        #[cfg(CONFIG_IOMMUFD)]
        attach_ioas: Some(if D::Iommu::IS_PHYSICAL {
            bindings::vfio_iommufd_physical_attach_ioas
        } else {
            bindings::vfio_iommufd_emulated_attach_ioas
        }),
        #[cfg(CONFIG_IOMMUFD)]
        detach_ioas: Some(if D::Iommu::IS_PHYSICAL {
            bindings::vfio_iommufd_physical_detach_ioas
        } else {
            bindings::vfio_iommufd_emulated_detach_ioas
        }),
        #[cfg(CONFIG_IOMMUFD)]
        pasid_attach_ioas: if D::Iommu::IS_PHYSICAL {
            Some(bindings::vfio_iommufd_physical_pasid_attach_ioas)
        } else {
            None
        },
        #[cfg(CONFIG_IOMMUFD)]
        pasid_detach_ioas: if D::Iommu::IS_PHYSICAL {
            Some(bindings::vfio_iommufd_physical_pasid_detach_ioas)
        } else {
            None
        },
        open_device: Some(Self::open_device),
        close_device: Some(Self::close_device),
        read: Some(Self::read),
        write: Some(Self::write),
        ioctl: Some(Self::ioctl),
        get_region_info_caps: Some(Self::region_info),
        mmap: Some(Self::mmap),
        request: if D::HAS_REQUEST {
            Some(Self::request)
        } else {
            None
        },
        match_: if D::HAS_MATCHES {
            Some(Self::matches)
        } else {
            None
        },
        match_token_uuid: if D::HAS_CHECK_TOKEN {
            Some(Self::check_token)
        } else {
            None
        },
        dma_unmap: if D::Iommu::IS_PHYSICAL {
            None
        } else {
            Some(Self::dma_unmap)
        },
        ..pin_init::zeroed()
    };

    const MIGRATION: bindings::vfio_migration_ops = bindings::vfio_migration_ops {
        migration_set_state: Some(Self::set_state),
        migration_get_state: Some(Self::get_state),
        migration_get_data_size: Some(Self::data_size),
    };

    const LOGGING: bindings::vfio_log_ops = bindings::vfio_log_ops {
        log_start: Some(Self::log_start),
        log_stop: Some(Self::log_stop),
        log_read_and_clear: Some(Self::log_report),
    };

    /// Tells the core whether the device migrates and logs what it writes.
    ///
    /// # Safety
    ///
    /// `vdev` must be valid and not registered.
    pub(crate) unsafe fn announce(vdev: *mut bindings::vfio_device) {
        if D::Migration::FLAGS != 0 {
            // SAFETY: By the safety requirements. The table is static.
            unsafe {
                (*vdev).mig_ops = &Self::MIGRATION;
                (*vdev).migration_flags = D::Migration::FLAGS;
            }
        }
        if D::DirtyLog::EXISTS {
            // SAFETY: As above.
            unsafe { (*vdev).log_ops = &Self::LOGGING };
        }
    }

    /// Drops what is ours of a device.
    ///
    /// # Safety
    ///
    /// As the header of this file says.
    unsafe extern "C" fn release(vdev: *mut bindings::vfio_device) {
        // SAFETY: The core calls this when the last reference is gone.
        unsafe { Object::<D>::release(vdev) };
    }

    /// Begins a session, for the first file of a device. Returns an errno if the driver refuses it.
    ///
    /// # Safety
    ///
    /// As the header of this file says.
    unsafe extern "C" fn open_device(vdev: *mut bindings::vfio_device) -> c_int {
        // SAFETY: The device is registered, and counts as open during the call.
        let access = unsafe { Access::new(Object::<D>::from_raw(vdev)) };
        let parts = access.object().parts();
        from_result(|| {
            let session = KBox::pin_init(D::open(&access), GFP_KERNEL_ACCOUNT)
                // It may have pinned pages before it failed.
                .inspect_err(|_| pins::close(access.object()))?;
            let mut gate = parts.gate.write();
            // SAFETY: The device has no file yet, and the gate is closed.
            let before = unsafe { parts.set_session(Some(session)) };
            *gate = true;
            drop(gate);
            drop(before);
            Ok(0)
        })
    }

    /// Ends the session, after the last file of a device was closed.
    ///
    /// # Safety
    ///
    /// As the header of this file says.
    unsafe extern "C" fn close_device(vdev: *mut bindings::vfio_device) {
        // SAFETY: The device is registered.
        let object = unsafe { Object::<D>::from_raw(vdev) };
        let parts = object.parts();
        // Waits for whoever came from elsewhere.
        *parts.gate.write() = false;
        // SAFETY: The device is open until this function returns.
        if let Some(opened) = unsafe { Opened::new(object) } {
            migration::close(&opened);
            dirty::close::<D, D::DirtyLog>(&opened);
            D::close(&opened);
            parts.irqs.close();
        }
        pins::close(object);
        // SAFETY: The device has no file any more, and the gate is closed.
        drop(unsafe { parts.set_session(None) });
    }

    /// Handles `read()` of a file.
    ///
    /// # Safety
    ///
    /// As the header of this file says.
    unsafe extern "C" fn read(
        vdev: *mut bindings::vfio_device,
        buf: *mut c_char,
        count: usize,
        pos: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: Called for an open file.
        from_result(|| unsafe {
            opened::<D, _>(vdev, |device| {
                let user = UserSlice::new(UserPtr::from_ptr(buf.cast()), count).writer();
                // SAFETY: The core passes a valid pointer.
                region::read(D::REGIONS, device, user, &mut *pos)
            })
        })
    }

    /// Handles `write()` of a file.
    ///
    /// # Safety
    ///
    /// As the header of this file says.
    unsafe extern "C" fn write(
        vdev: *mut bindings::vfio_device,
        buf: *const c_char,
        count: usize,
        pos: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: Called for an open file.
        from_result(|| unsafe {
            opened::<D, _>(vdev, |device| {
                let from = UserPtr::from_ptr(buf.cast_mut().cast());
                let user = UserSlice::new(from, count).reader();
                // SAFETY: The core passes a valid pointer.
                region::write(D::REGIONS, device, user, &mut *pos)
            })
        })
    }

    /// Handles an ioctl of a file that the core has passed on.
    ///
    /// # Safety
    ///
    /// As the header of this file says.
    unsafe extern "C" fn ioctl(
        vdev: *mut bindings::vfio_device,
        cmd: c_uint,
        arg: c_ulong,
    ) -> c_long {
        // SAFETY: Called for an open file.
        from_result(|| unsafe { opened::<D, _>(vdev, |device| ioctl::handle(device, cmd, arg)) })
    }

    /// Answers VFIO_DEVICE_GET_REGION_INFO.
    ///
    /// # Safety
    ///
    /// As the header of this file says.
    unsafe extern "C" fn region_info(
        _vdev: *mut bindings::vfio_device,
        info: *mut bindings::vfio_region_info,
        caps: *mut bindings::vfio_info_cap,
    ) -> c_int {
        // SAFETY: The core passes pointers that are valid and not used by others.
        let (info, caps) = unsafe { (&mut *info, &mut *caps) };
        to_result_int(region::info(D::REGIONS, device::regions::<D>(), info, caps))
    }

    /// Handles `mmap()` of a file.
    ///
    /// # Safety
    ///
    /// As the header of this file says.
    unsafe extern "C" fn mmap(
        vdev: *mut bindings::vfio_device,
        vma: *mut bindings::vm_area_struct,
    ) -> c_int {
        // SAFETY: Called for an open file, in `mmap()`: the area is new, and its lock is held.
        from_result(|| unsafe {
            opened::<D, _>(vdev, |device| {
                region::mmap(D::REGIONS, device, VmaNew::from_raw(vma))
            })?;
            Ok(0)
        })
    }

    /// Asks user space to give a device back.
    ///
    /// # Safety
    ///
    /// As the header of this file says.
    unsafe extern "C" fn request(vdev: *mut bindings::vfio_device, count: c_uint) {
        // SAFETY: The device is registered.
        let object = unsafe { Object::<D>::from_raw(vdev) };
        D::request(&Handle::new(object), count);
    }

    /// Returns whether user space means this device, which a group asks: 1 or 0, or an errno.
    ///
    /// # Safety
    ///
    /// As the header of this file says.
    unsafe extern "C" fn matches(vdev: *mut bindings::vfio_device, text: *mut c_char) -> c_int {
        // SAFETY: The device is registered, and the core passes a string.
        let (object, text) = unsafe { (Object::<D>::from_raw(vdev), CStr::from_char_ptr(text)) };
        from_result(|| Ok(c_int::from(object.data().matches(text)?)))
    }

    /// Checks the token with which user space opens a device by its node.
    ///
    /// # Safety
    ///
    /// As the header of this file says.
    unsafe extern "C" fn check_token(
        vdev: *mut bindings::vfio_device,
        token: *const bindings::uuid_t,
    ) -> c_int {
        // SAFETY: The device is registered. The token is valid or null.
        let (object, token) = unsafe { (Object::<D>::from_raw(vdev), token.as_ref()) };
        from_result(|| {
            object.data().check_token(token.map(|token| &token.b))?;
            Ok(0)
        })
    }

    /// Takes pages back that user space unmaps.
    ///
    /// # Safety
    ///
    /// As the header of this file says.
    unsafe extern "C" fn dma_unmap(vdev: *mut bindings::vfio_device, iova: u64, length: u64) {
        // SAFETY: The device is registered.
        let object = unsafe { Object::<D>::from_raw(vdev) };
        pins::unmapped(object, iova, length, |pages| object.data().unmapped(pages));
    }

    /// Brings a device to a state of migration. Returns a file, null, or an error pointer.
    ///
    /// # Safety
    ///
    /// As the header of this file says.
    unsafe extern "C" fn set_state(
        vdev: *mut bindings::vfio_device,
        state: bindings::vfio_device_mig_state,
    ) -> *mut bindings::file {
        // SAFETY: Called for an open file.
        unsafe { opened::<D, _>(vdev, |device| migration::set_state(device, state)) }
            .unwrap_or_else(Error::to_ptr)
    }

    /// Returns the state of migration of a device.
    ///
    /// # Safety
    ///
    /// As the header of this file says.
    unsafe extern "C" fn get_state(
        vdev: *mut bindings::vfio_device,
        state: *mut bindings::vfio_device_mig_state,
    ) -> c_int {
        // SAFETY: Called for a registered device, with a valid pointer.
        unsafe { *state = migration::state(Object::<D>::from_raw(vdev)) };
        0
    }

    /// Returns how many bytes there would be to save.
    ///
    /// # Safety
    ///
    /// As the header of this file says.
    unsafe extern "C" fn data_size(vdev: *mut bindings::vfio_device, size: *mut c_ulong) -> c_int {
        // SAFETY: Called for an open file, with a valid pointer.
        to_result_int(unsafe {
            opened::<D, _>(vdev, |device| {
                *size = usize::try_from(migration::size(device))?;
                Ok(())
            })
        })
    }

    /// Starts the dirty log.
    ///
    /// # Safety
    ///
    /// As the header of this file says.
    unsafe extern "C" fn log_start(
        vdev: *mut bindings::vfio_device,
        ranges: *mut bindings::rb_root_cached,
        _count: u32,
        page_size: *mut u64,
    ) -> c_int {
        // SAFETY: Called for an open file. The core passes a tree that nobody changes, and a valid
        // pointer.
        to_result_int(unsafe {
            opened::<D, _>(vdev, |device| {
                dirty::start::<D, D::DirtyLog>(
                    device,
                    &dirty::Ranges::from_raw(ranges),
                    &mut *page_size,
                )
            })
        })
    }

    /// Stops the dirty log.
    ///
    /// # Safety
    ///
    /// As the header of this file says.
    unsafe extern "C" fn log_stop(vdev: *mut bindings::vfio_device) -> c_int {
        // SAFETY: Called for an open file.
        to_result_int(unsafe { opened::<D, _>(vdev, dirty::stop::<D, D::DirtyLog>) })
    }

    /// Reports what a device has written.
    ///
    /// # Safety
    ///
    /// As the header of this file says.
    unsafe extern "C" fn log_report(
        vdev: *mut bindings::vfio_device,
        iova: c_ulong,
        length: c_ulong,
        bitmap: *mut bindings::iova_bitmap,
    ) -> c_int {
        // SAFETY: Called for an open file, with a bitmap for this range that nobody else uses.
        to_result_int(unsafe {
            opened::<D, _>(vdev, |device| {
                let range = dirty::Range::new(iova as u64, length as u64).ok_or(EINVAL)?;
                dirty::report::<D, D::DirtyLog>(device, &mut dirty::Bitmap::from_raw(bitmap, range))
            })
        })
    }
}

/// Returns the errno of a result, or 0.
fn to_result_int(result: Result) -> c_int {
    result.map_or_else(Error::to_errno, |()| 0)
}
