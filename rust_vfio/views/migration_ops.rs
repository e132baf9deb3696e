// SPDX-License-Identifier: GPL-2.0

//! The callbacks of a device that can be migrated (`struct vfio_migration_ops`) or can log DMA
//! (`struct vfio_log_ops`).
//!
//! A driver that sets one of the tables has to set all functions of it. The tables and
//! `migration_flags` are set before the device is registered and do not change. The core holds no
//! lock during the calls; drivers serialise them themselves. All callbacks may sleep. What they
//! return is passed on as it is ([`Failure`]).
//!
//! Contract sections 4.10 and 5.
//!
//! Deviation: C calls the functions of a table that is set without looking whether they are there.
//! Here a missing function is `ENOTTY`, as a missing table is.

use core::ptr::NonNull;

use kernel::{
    error::from_err_ptr,
    fs::File,
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    bindings,
    kernel::{
        interval_tree::OwnedTree,
        iova_bitmap::MappedBitmap,
        returned::Failure, //
    },
    views::device::Device, //
};

impl Device {
    fn migration_ops(&self) -> Result<&bindings::vfio_migration_ops> {
        // SAFETY: The driver sets the member before it registers the device, and the table is part
        // of the driver, which outlives the device.
        unsafe { (*self.as_raw()).mig_ops.as_ref() }.ok_or(ENOTTY)
    }

    fn log_ops(&self) -> Result<&bindings::vfio_log_ops> {
        // SAFETY: The driver sets the member before it registers the device, and the table is part
        // of the driver, which outlives the device.
        unsafe { (*self.as_raw()).log_ops.as_ref() }.ok_or(ENOTTY)
    }

    /// Returns whether the device can be migrated: whether it has `mig_ops`.
    pub(crate) fn can_migrate(&self) -> bool {
        self.migration_ops().is_ok()
    }

    /// Returns whether the device can log DMA: whether it has `log_ops`.
    pub(crate) fn can_log_dma(&self) -> bool {
        self.log_ops().is_ok()
    }

    /// Returns the optional parts of migration that the device has (`VFIO_MIGRATION_*` bits of the
    /// user ABI).
    pub(crate) fn migration_flags(&self) -> u32 {
        // SAFETY: The object is valid, being a reference. The driver sets the member before it
        // registers the device.
        unsafe { (*self.as_raw()).migration_flags }
    }

    /// Opts in to version 2 of the pre-copy information, until the device is closed.
    pub(crate) fn opt_in_to_precopy_info_v2(&self) {
        // SAFETY: The object is valid, being a reference. The member is one byte, to which nothing
        // but 1 is written while the device is open. The write is volatile because drivers read the
        // member without a lock.
        unsafe { (&raw mut (*self.as_raw()).precopy_info_v2).write_volatile(1) };
    }

    /// Calls `migration_set_state`: moves the device to the state with the number `state`, which
    /// the driver checks. Returns the file for the migration data, if the driver opened one.
    ///
    /// # Errors
    ///
    /// - `ENOTTY` without a callback.
    /// - Any errno of the driver's `migration_set_state`.
    pub(crate) fn set_migration_state(&self, state: u32) -> Result<Option<ARef<File>>> {
        let set = self.migration_ops()?.migration_set_state.ok_or(ENOTTY)?;
        let state = bindings::vfio_device_mig_state(state);
        // SAFETY: The device is valid, being a reference, and an open file calls this.
        let file = from_err_ptr(unsafe { set(self.as_raw(), state) })?;
        let Some(file) = NonNull::new(file) else {
            return Ok(None);
        };
        // SAFETY: The driver returned a reference, which the result owns, to a new file that nobody
        // else uses.
        Ok(Some(unsafe { ARef::from_raw(file.cast::<File>()) }))
    }

    /// Calls `migration_get_state`: returns the number of the state of the device.
    ///
    /// # Errors
    ///
    /// - `ENOTTY` without a callback.
    /// - Any failure of the driver's `migration_get_state`.
    pub(crate) fn migration_state(&self) -> Result<u32, Failure> {
        let get = self.migration_ops()?.migration_get_state.ok_or(ENOTTY)?;
        let mut state = bindings::vfio_device_mig_state(0);
        // SAFETY: The device is valid, being a reference, and `state` is valid during the call.
        Failure::check(unsafe { get(self.as_raw(), &mut state) })?;
        Ok(state.0)
    }

    /// Calls `migration_get_data_size`: returns how many bytes there will be to copy when the
    /// device is stopped.
    ///
    /// # Errors
    ///
    /// - `ENOTTY` without a callback.
    /// - Any failure of the driver's `migration_get_data_size`.
    pub(crate) fn migration_data_size(&self) -> Result<usize, Failure> {
        let get = self.migration_ops()?.migration_get_data_size;
        let mut size = 0;
        // SAFETY: The device is valid, being a reference, and an open file calls this. `size` is
        // valid during the call.
        Failure::check(unsafe { get.ok_or(ENOTTY)?(self.as_raw(), &mut size) })?;
        Ok(size)
    }

    /// Calls `log_start`: starts to log DMA writes to the `count` ranges of the tree, which the
    /// driver may change. The driver sets `page_size` to the size in bytes of the pages that it
    /// logs.
    ///
    /// # Errors
    ///
    /// - `ENOTTY` without a callback.
    /// - Any failure of the driver's `log_start`.
    pub(crate) fn start_log(
        &self,
        ranges: &mut OwnedTree,
        count: u32,
        page_size: &mut u64,
    ) -> Result<(), Failure> {
        let start = self.log_ops()?.log_start.ok_or(ENOTTY)?;
        // SAFETY: The device is valid, being a reference, and an open file calls this. Tree and
        // page size are valid, and nobody else uses them, during the call.
        Failure::check(unsafe { start(self.as_raw(), ranges.as_raw(), count, page_size) })
    }

    /// Calls `log_stop`: stops to log DMA.
    ///
    /// # Errors
    ///
    /// - `ENOTTY` without a callback.
    /// - Any failure of the driver's `log_stop`.
    pub(crate) fn stop_log(&self) -> Result<(), Failure> {
        let stop = self.log_ops()?.log_stop.ok_or(ENOTTY)?;
        // SAFETY: The device is valid, being a reference, and an open file calls this.
        Failure::check(unsafe { stop(self.as_raw()) })
    }

    /// Calls `log_read_and_clear`: sets the bits of the pages in the `length` bytes from IOVA
    /// `iova` on that the device has written to, and clears the log of these bytes.
    ///
    /// # Errors
    ///
    /// - `ENOTTY` without a callback.
    /// - Any failure of the driver's `log_read_and_clear`.
    pub(crate) fn report_log(
        &self,
        iova: usize,
        length: usize,
        bitmap: &MappedBitmap,
    ) -> Result<(), Failure> {
        let report = self.log_ops()?.log_read_and_clear.ok_or(ENOTTY)?;
        // SAFETY: The device is valid, being a reference, and an open file calls this. Bits can be
        // set in a `MappedBitmap` as long as it exists.
        Failure::check(unsafe { report(self.as_raw(), iova, length, bitmap.as_raw()) })
    }
}
