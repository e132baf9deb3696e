// SPDX-License-Identifier: GPL-2.0

//! The callbacks of a device that can be migrated (`struct vfio_migration_ops`) or can log DMA
//! (`struct vfio_log_ops`).
//!
//! A driver that sets one of the tables sets all of it; a missing function is `ENOTTY` here. The
//! tables and `migration_flags` are set before the device is registered and do not change. The
//! driver serialises its callbacks itself.

use core::ptr::NonNull;

use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    fs::File,
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    bindings,
    kernel::{
        interval_tree::OwnedTree,
        iova_bitmap::MappedBitmap, //
    },
    views::device::Device, //
};

impl Device {
    fn migration_ops(&self) -> Result<&bindings::vfio_migration_ops> {
        // SAFETY: The member is set before registration; the table belongs to the driver, which
        // outlives the device.
        unsafe { (*self.as_raw()).mig_ops.as_ref() }.ok_or(ENOTTY)
    }

    fn log_ops(&self) -> Result<&bindings::vfio_log_ops> {
        // SAFETY: As in `migration_ops`.
        unsafe { (*self.as_raw()).log_ops.as_ref() }.ok_or(ENOTTY)
    }

    /// Whether the device can be migrated.
    pub(crate) fn can_migrate(&self) -> bool {
        self.migration_ops().is_ok()
    }

    /// Whether the device can log its DMA.
    pub(crate) fn can_log_dma(&self) -> bool {
        self.log_ops().is_ok()
    }

    /// The optional parts of migration that the device has, as bits of the user ABI.
    pub(crate) fn migration_flags(&self) -> u32 {
        // SAFETY: The member is set before registration.
        unsafe { (*self.as_raw()).migration_flags }
    }

    /// Opts in to the second version of the pre-copy information, until the device is closed.
    pub(crate) fn opt_in_to_precopy_info_v2(&self) {
        // SAFETY: A byte that is only ever set to 1 while the device is open, by whoever comes
        // first; drivers read it without a lock.
        unsafe { (&raw mut (*self.as_raw()).precopy_info_v2).write_volatile(1) };
    }

    /// `migration_set_state`: moves the device to the state of this number, which the driver
    /// checks. The result is the file through which its data goes, if the step opened one.
    pub(crate) fn set_migration_state(&self, state: u32) -> Result<Option<ARef<File>>> {
        let set = self.migration_ops()?.migration_set_state.ok_or(ENOTTY)?;
        let state = bindings::vfio_device_mig_state(state);
        // SAFETY: The device is open.
        let file = from_err_ptr(unsafe { set(self.as_raw(), state) })?;
        let Some(file) = NonNull::new(file) else {
            return Ok(None);
        };
        // SAFETY: The driver returned a reference to a file that nobody else knows.
        Ok(Some(unsafe { ARef::from_raw(file.cast::<File>()) }))
    }

    /// `migration_get_state`: the number of the state the device is in.
    pub(crate) fn migration_state(&self) -> Result<u32> {
        let get = self.migration_ops()?.migration_get_state.ok_or(ENOTTY)?;
        let mut state = bindings::vfio_device_mig_state(0);
        // SAFETY: The device is valid, and `state` for the call.
        to_result(unsafe { get(self.as_raw(), &mut state) })?;
        Ok(state.0)
    }

    /// `migration_get_data_size`: how many bytes there will be to copy once the device is stopped.
    pub(crate) fn migration_data_size(&self) -> Result<usize> {
        let get = self.migration_ops()?.migration_get_data_size;
        let mut size = 0;
        // SAFETY: The device is open, and `size` valid for the call.
        to_result(unsafe { get.ok_or(ENOTTY)?(self.as_raw(), &mut size) })?;
        Ok(size)
    }

    /// `log_start`: logs DMA to the ranges of the tree, of which there are `count`. The driver may
    /// change the tree, and sets `page_size` to what it will use.
    pub(crate) fn start_log(
        &self,
        ranges: &mut OwnedTree,
        count: u32,
        page_size: &mut u64,
    ) -> Result {
        let start = self.log_ops()?.log_start.ok_or(ENOTTY)?;
        // SAFETY: The device is open; tree and page size are valid for the call.
        to_result(unsafe { start(self.as_raw(), ranges.as_raw(), count, page_size) })
    }

    /// `log_stop`.
    pub(crate) fn stop_log(&self) -> Result {
        let stop = self.log_ops()?.log_stop.ok_or(ENOTTY)?;
        // SAFETY: The device is open.
        to_result(unsafe { stop(self.as_raw()) })
    }

    /// `log_read_and_clear`: sets the bits of the pages that were written to.
    pub(crate) fn report_log(&self, iova: usize, length: usize, bitmap: &MappedBitmap) -> Result {
        let report = self.log_ops()?.log_read_and_clear.ok_or(ENOTTY)?;
        // SAFETY: The device is open, and the bitmap mapped for the call.
        to_result(unsafe { report(self.as_raw(), iova, length, bitmap.as_raw()) })
    }
}
