// SPDX-License-Identifier: GPL-2.0

//! References to a device, which say what may be done with it.

use core::{
    ops::Deref,
    pin::Pin, //
};

use kernel::{
    device::{
        self,
        Bound, //
    },
    error::to_result,
    prelude::*, //
};

use crate::{
    bindings,
    driver::{
        data::Data,
        object::{
            Object,
            Ref, //
        }, //
    }, //
};

/// A device that is being opened or is open. It dereferences to the driver's data.
pub struct Access<'a, D: Data> {
    object: &'a Object<D>,
}

/// A device that is open. It dereferences to [`Access`], and so to the driver's data.
pub struct Opened<'a, D: Data> {
    access: Access<'a, D>,
    session: Pin<&'a D::Session>,
}

/// A reference to a device for those who are not called by user space: work items, timers,
/// interrupt handlers in threads. It keeps the device's memory, and nothing else.
pub struct Handle<D: Data>(Ref<D>);

impl<'a, D: Data> Access<'a, D> {
    /// Creates a reference to a device.
    ///
    /// # Safety
    ///
    /// For the core the device must count as open for the lifetime `'a`.
    pub(crate) unsafe fn new(object: &'a Object<D>) -> Self {
        Self { object }
    }

    /// Returns the object.
    pub(crate) fn object(&self) -> &'a Object<D> {
        self.object
    }

    /// Returns the device on the bus, which stays bound to its driver as long as it is open here.
    pub fn parent(&self) -> &'a device::Device<Bound> {
        let parent = core::ptr::from_ref(self.object.parent());
        // SAFETY: The parent is bound: by the safety requirements of `Registration` the device is
        // unregistered before that ends, which waits until the device is closed.
        unsafe { &*parent.cast() }
    }

    /// Returns a reference for those who are not called by user space.
    pub fn handle(&self) -> Handle<D> {
        Handle::new(self.object)
    }

    /// Raises interrupt `vector` of the kind with number `kind`, if there is one: signals its
    /// eventfd, if user space has given it one and has not masked it. May be called in any context.
    pub fn raise(&self, kind: usize, vector: usize) {
        self.object.parts().irqs.raise(kind, vector);
    }

    /// Wakes up who waits for data of a migration with `poll()`, because there are some again.
    pub fn data_changed(&self) {
        self.object.parts().data_changed.notify_all();
    }

    /// Copies user memory from the I/O address `iova` on into `data`. For devices with an emulated
    /// IOMMU. Sleeps. Corresponds to `vfio_dma_rw()`.
    ///
    /// # Errors
    ///
    /// Part of `data` may be copied.
    ///
    /// - `EINVAL` if `data` is empty, or nothing is mapped at an address.
    /// - `EPERM` if an address may not be read.
    /// - `EFAULT` if the memory is not accessible.
    #[doc(alias = "vfio_dma_rw")]
    pub fn read_memory(&self, iova: u64, data: &mut [u8]) -> Result {
        self.rw(iova, data.as_mut_ptr(), data.len(), false)
    }

    /// Copies `data` to user memory from the I/O address `iova` on, which a
    /// [dirty log](crate::dirty::Kept) notes. For devices with an emulated IOMMU. Sleeps.
    /// Corresponds to `vfio_dma_rw()`.
    ///
    /// # Errors
    ///
    /// Those of [`Access::read_memory`], and `EPERM` if an address may not be written.
    #[doc(alias = "vfio_dma_rw")]
    pub fn write_memory(&self, iova: u64, data: &[u8]) -> Result {
        self.rw(iova, data.as_ptr().cast_mut(), data.len(), true)
    }

    fn rw(&self, iova: u64, data: *mut u8, len: usize, write: bool) -> Result {
        // SAFETY: The device is open for the core. The callers pass the pointer and the length of a
        // slice, which the core only reads if `write`.
        let result = to_result(unsafe {
            bindings::vfio_dma_rw(self.object.raw(), iova, data.cast(), len, write)
        });
        if write {
            // Also after an error, because a part may be copied.
            self.object.parts().written.add(iova, len);
        }
        result
    }
}

impl<D: Data> Deref for Access<'_, D> {
    type Target = D;

    fn deref(&self) -> &D {
        self.object.data()
    }
}

impl<'a, D: Data> Opened<'a, D> {
    /// Creates a reference to a device that is open, or returns `None` if it has no session.
    ///
    /// # Safety
    ///
    /// The device must not be closed during the lifetime `'a`, and be open for the core.
    pub(crate) unsafe fn new(object: &'a Object<D>) -> Option<Self> {
        // SAFETY: By the safety requirements the session stays.
        let session = unsafe { object.parts().session() }?;
        Some(Self {
            // SAFETY: By the safety requirements.
            access: unsafe { Access::new(object) },
            session,
        })
    }

    /// Returns what [`Driver::open`](crate::Driver::open) has made.
    pub fn session(&self) -> &'a D::Session {
        self.session.get_ref()
    }
}

impl<'a, D: Data> Deref for Opened<'a, D> {
    type Target = Access<'a, D>;

    fn deref(&self) -> &Access<'a, D> {
        &self.access
    }
}

impl<D: Data> Handle<D> {
    /// Calls `f` if the device is open, and keeps it open meanwhile. Sleeps.
    ///
    /// Who closes the device waits, so `f` must come to an end by itself, and must not call this
    /// again. Methods of the driver need no handle: they are called with an open device.
    pub fn enter<T>(&self, f: impl FnOnce(&Opened<'_, D>) -> T) -> Option<T> {
        let gate = self.0.parts().gate.read();
        if !*gate {
            return None;
        }
        // SAFETY: The gate is open and held for reading, and closing the device holds it for
        // writing before anything else.
        let opened = unsafe { Opened::new(&self.0) }?;
        Some(f(&opened))
    }

    /// Does the same as [`Access::raise`]. Only while the device is open can user space have given
    /// the interrupt an eventfd.
    pub fn raise(&self, kind: usize, vector: usize) {
        self.0.parts().irqs.raise(kind, vector);
    }

    /// Returns the driver's data, which is there also when the device is not open.
    pub fn data(&self) -> &D {
        self.0.data()
    }

    /// Returns the object.
    pub(crate) fn object(&self) -> &Object<D> {
        &self.0
    }

    /// Creates a reference to a device.
    pub(crate) fn new(object: &Object<D>) -> Self {
        Self(object.get())
    }
}

impl<D: Data> Clone for Handle<D> {
    fn clone(&self) -> Self {
        Self(self.0.get())
    }
}
