// SPDX-License-Identifier: GPL-2.0

//! Bitmaps in user memory with one bit per page of a range of IOVAs (`struct iova_bitmap`).
//!
//! C drivers set the bits. The C functions pin the memory of the bitmap piece by piece as bits are
//! set; bits in memory that cannot be pinned are lost. Without `CONFIG_IOMMUFD_DRIVER` the
//! functions are stubs, and walking a bitmap is `EOPNOTSUPP`.
//!
//! In the kernel crate: a module `kernel::iova_bitmap` with these types.
//!
//! C header: `include/linux/iova_bitmap.h`.

use kernel::{
    error::from_err_ptr,
    prelude::*, //
};

use crate::{
    bindings,
    kernel::{
        returned::Failure,
        uaccess::UserAddr, //
    }, //
};

/// A bitmap for the pages of a range of IOVAs.
///
/// # Invariants
///
/// The pointer came from `iova_bitmap_alloc()`, and this value owns the object. It is null without
/// `CONFIG_IOMMUFD_DRIVER`.
pub(crate) struct IovaBitmap(*mut bindings::iova_bitmap);

/// A bitmap in which bits can be set, as [`IovaBitmap::for_each`] passes it on.
pub(crate) struct MappedBitmap(*mut bindings::iova_bitmap);

impl MappedBitmap {
    /// Returns the C object, for a driver that sets bits.
    pub(crate) fn as_raw(&self) -> *mut bindings::iova_bitmap {
        self.0
    }
}

impl IovaBitmap {
    /// Creates a bitmap for the `length` bytes from IOVA `iova` on, whose pages have `page_size`
    /// bytes each. `bits` is the user virtual address of the bits, which is not accessed yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(
        iova: usize,
        length: usize,
        page_size: usize,
        bits: UserAddr,
    ) -> Result<Self> {
        let bits = bits.as_mut_ptr().cast();
        // SAFETY: There are no safety requirements: the function only stores the user address.
        // INVARIANT: It returns a new object, an error, or null without `CONFIG_IOMMUFD_DRIVER`.
        let bitmap = unsafe { bindings::vfio_rs_iova_bitmap_alloc(iova, length, page_size, bits) };
        from_err_ptr(bitmap).map(Self)
    }

    /// Calls `f` with the first IOVA and the length in bytes of each piece of the range; there may
    /// be only one. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EOPNOTSUPP` without `CONFIG_IOMMUFD_DRIVER`.
    /// - Any failure of `f`, which ends the walk.
    pub(crate) fn for_each<F>(&mut self, mut f: F) -> Result<(), Failure>
    where
        F: FnMut(&MappedBitmap, usize, usize) -> Result<(), Failure>,
    {
        let opaque = (&raw mut f).cast();
        // SAFETY: By the type invariants the object is valid, or null, which the stub ignores.
        // `each::<F>` is called with `opaque` during this call only, while `f` is borrowed.
        Failure::check(unsafe {
            bindings::vfio_rs_iova_bitmap_for_each(self.0, opaque, Some(each::<F>))
        })
    }
}

impl Drop for IovaBitmap {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value owns the object, or the pointer is null, which
        // the stub ignores.
        unsafe { bindings::vfio_rs_iova_bitmap_free(self.0) };
    }
}

/// Passes a piece of the bitmap on to the closure of [`IovaBitmap::for_each`].
///
/// # Safety
///
/// Must be called by `iova_bitmap_for_each()` with the `F` that [`IovaBitmap::for_each`] passed.
unsafe extern "C" fn each<F>(
    bitmap: *mut bindings::iova_bitmap,
    iova: usize,
    length: usize,
    opaque: *mut c_void,
) -> c_int
where
    F: FnMut(&MappedBitmap, usize, usize) -> Result<(), Failure>,
{
    // SAFETY: By the safety requirements of this function `opaque` is the `F` of `for_each`, which
    // does not use it during the call of `iova_bitmap_for_each()`.
    let f = unsafe { &mut *opaque.cast::<F>() };
    f(&MappedBitmap(bitmap), iova, length).map_or_else(Failure::get_int, |()| 0)
}
