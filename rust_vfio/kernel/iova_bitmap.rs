// SPDX-License-Identifier: GPL-2.0

//! Bitmaps in user memory, one bit per page of a range (`struct iova_bitmap`).
//!
//! Drivers set bits; the C helper maps the user's memory piece by piece. Pages that cannot be
//! mapped are passed over.
//!
//! C header: `include/linux/iova_bitmap.h`. Without `CONFIG_IOMMUFD_DRIVER` its functions are
//! stubs, and going through a bitmap is `EOPNOTSUPP`.

use kernel::{
    error::{
        from_err_ptr,
        from_result,
        to_result, //
    },
    prelude::*, //
};

use crate::{
    bindings,
    kernel::uaccess::UserAddr, //
};

/// A bitmap for the pages of a range.
pub(crate) struct IovaBitmap(*mut bindings::iova_bitmap);

/// A bitmap while a piece of it is mapped.
pub(crate) struct MappedBitmap(*mut bindings::iova_bitmap);

impl MappedBitmap {
    /// The C object.
    pub(crate) fn as_raw(&self) -> *mut bindings::iova_bitmap {
        self.0
    }
}

impl IovaBitmap {
    /// A bitmap at `bits` for `length` addresses from `iova`.
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
        // SAFETY: The function only notes the user address.
        let bitmap = unsafe { bindings::vfio_rs_iova_bitmap_alloc(iova, length, page_size, bits) };
        from_err_ptr(bitmap).map(Self)
    }

    /// Calls `f` with each piece of the range: its first address and its length.
    ///
    /// # Errors
    ///
    /// What `f` returned, which ends it; `EFAULT`; `EOPNOTSUPP` if the kernel has no such bitmaps.
    pub(crate) fn for_each<F>(&mut self, mut f: F) -> Result
    where
        F: FnMut(&MappedBitmap, usize, usize) -> Result,
    {
        let opaque = (&raw mut f).cast();
        // SAFETY: `each::<F>` is called with `opaque` during this call only.
        to_result(unsafe {
            bindings::vfio_rs_iova_bitmap_for_each(self.0, opaque, Some(each::<F>))
        })
    }
}

impl Drop for IovaBitmap {
    fn drop(&mut self) {
        // SAFETY: `new` made the object, or it is null where there are no such bitmaps.
        unsafe { bindings::vfio_rs_iova_bitmap_free(self.0) };
    }
}

/// # Safety
///
/// Called by `iova_bitmap_for_each()` with the `F` that [`IovaBitmap::for_each`] passed on.
unsafe extern "C" fn each<F>(
    bitmap: *mut bindings::iova_bitmap,
    iova: usize,
    length: usize,
    opaque: *mut c_void,
) -> c_int
where
    F: FnMut(&MappedBitmap, usize, usize) -> Result,
{
    // SAFETY: By the contract of this function; `for_each` is not using it meanwhile.
    let f = unsafe { &mut *opaque.cast::<F>() };
    from_result(|| f(&MappedBitmap(bitmap), iova, length).map(|()| 0))
}
