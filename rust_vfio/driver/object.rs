// SPDX-License-Identifier: GPL-2.0

//! The object behind a device: the `struct vfio_device` of the core, and behind it ours.
//!
//! The core allocates the memory (`_vfio_alloc_device()`) and frees it after the last reference to
//! the device is gone. [`Parts`] are made after the allocation, and dropped by the `release`
//! callback.

use core::{
    cell::UnsafeCell,
    mem::MaybeUninit,
    ptr::NonNull, //
};

use kernel::{
    device,
    error::from_err_ptr,
    new_mutex,
    new_poll_condvar,
    prelude::*,
    static_lock_class,
    sync::{
        poll::PollCondVar,
        Mutex, //
    },
    types::Opaque, //
};

use crate::{
    bindings,
    driver::{
        data::Data,
        pin_table::Pins,
        vectors::Interrupts,
        written::WriteLog, //
    },
    rwsem::RwSem, //
};

/// A device. The core's object comes first, as C drivers have it.
#[repr(C)]
pub(crate) struct Object<D: Data> {
    vdev: Opaque<bindings::vfio_device>,
    /// Whether `parts` exist. Zero after the allocation.
    complete: UnsafeCell<bool>,
    parts: UnsafeCell<MaybeUninit<Parts<D>>>,
}

// SAFETY: The core's object is made for several threads, and `Parts` are `Sync`. `complete` is
// written only before anybody else knows the device.
unsafe impl<D: Data> Sync for Object<D> {}

/// What is ours of a device.
#[pin_data]
pub(crate) struct Parts<D: Data> {
    /// The driver's data.
    #[pin]
    pub(crate) data: D,
    /// Whether the device is open. Whoever comes from elsewhere holds it for reading, and closing
    /// the device waits for them.
    #[pin]
    pub(crate) gate: RwSem<bool>,
    /// The driver's session, while the device is open.
    session: UnsafeCell<Option<Pin<KBox<D::Session>>>>,
    #[pin]
    pub(crate) irqs: Interrupts,
    #[pin]
    pub(crate) pins: Mutex<Pins<D::Pin>>,
    #[pin]
    pub(crate) migration: Mutex<D::Machine>,
    /// Woken up when data of a migration come or end.
    #[pin]
    pub(crate) data_changed: PollCondVar,
    /// Whether the device logs what it writes.
    #[pin]
    pub(crate) is_logging: Mutex<bool>,
    /// What it has written, if this crate keeps its log.
    #[pin]
    pub(crate) written: WriteLog,
}

// SAFETY: Everything but the session is `Sync` by itself. The session is `Send` and `Sync`; it is
// replaced only by `set_session`, whose callers have the device for themselves.
unsafe impl<D: Data> Sync for Parts<D> {}
// SAFETY: As above.
unsafe impl<D: Data> Send for Parts<D> {}

/// A reference to a device, which keeps its memory.
///
/// # Invariants
///
/// The pointer is to an object with parts, and this value owns a reference to it.
pub(crate) struct Ref<D: Data>(NonNull<Object<D>>);

// SAFETY: `Object` is `Sync`, and the count is atomic.
unsafe impl<D: Data> Send for Ref<D> {}
// SAFETY: As above.
unsafe impl<D: Data> Sync for Ref<D> {}

impl<D: Data> Object<D> {
    /// Allocates a device whose parent is `parent`, with these interrupts, and the driver's data
    /// from `data`.
    ///
    /// # Errors
    ///
    /// - `ENOMEM` if there is no memory.
    /// - Any error of `irqs` and `data`.
    ///
    /// # Safety
    ///
    /// The functions of the table must be made for devices of this type, and `release` must call
    /// [`Object::release`].
    pub(crate) unsafe fn alloc(
        parent: &device::Device,
        ops: &'static bindings::vfio_device_ops,
        irqs: impl PinInit<Interrupts, Error>,
        data: impl PinInit<D, Error>,
    ) -> Result<Ref<D>> {
        // CAST: `device::Device` is a transparent wrapper of `struct device`.
        let parent = core::ptr::from_ref(parent).cast_mut().cast();
        // SAFETY: The parent is valid, being a reference, and the core takes its own reference to
        // it. By the safety requirements the functions of the table expect an `Object` around the
        // core's object.
        let vdev =
            from_err_ptr(unsafe { bindings::_vfio_alloc_device(size_of::<Self>(), parent, ops) })?;
        let object = vdev.cast::<Self>();
        // SAFETY: The core allocated that many bytes, zeroed, and nobody else knows them yet.
        let parts = unsafe { UnsafeCell::raw_get(&raw const (*object).parts) }.cast::<Parts<D>>();
        // SAFETY: The memory is valid for writing and does not move. If this fails nothing is
        // dropped, since `complete` is false.
        let made = unsafe { Parts::new(irqs, data).__init(parts) };
        if let Err(error) = made {
            // SAFETY: The reference of the allocation.
            unsafe { bindings::put_device(&raw mut (*vdev).device) };
            return Err(error);
        }
        // SAFETY: As above, nobody else knows the object.
        unsafe { *UnsafeCell::raw_get(&raw const (*object).complete) = true };
        // INVARIANT: The parts exist, and the reference of the allocation goes to this value.
        NonNull::new(object).map(Ref).ok_or(ENOMEM)
    }

    /// Drops the parts. Called once, by the core, when the last reference is gone.
    ///
    /// # Safety
    ///
    /// `vdev` must be a device of this driver to which nobody has a reference.
    pub(crate) unsafe fn release(vdev: *mut bindings::vfio_device) {
        let object = vdev.cast::<Self>();
        // SAFETY: By the safety requirements nobody else uses the object, whose memory is freed
        // after this.
        unsafe {
            if *UnsafeCell::raw_get(&raw const (*object).complete) {
                UnsafeCell::raw_get(&raw const (*object).parts)
                    .cast::<Parts<D>>()
                    .drop_in_place();
            }
        }
    }

    /// Returns the object around the core's.
    ///
    /// # Safety
    ///
    /// `vdev` must be a registered device of this driver, or one that is being unregistered, for
    /// the lifetime of the result.
    pub(crate) unsafe fn from_raw<'a>(vdev: *mut bindings::vfio_device) -> &'a Self {
        // SAFETY: By the safety requirements; the core's object comes first.
        unsafe { &*vdev.cast() }
    }

    /// Returns the core's object.
    pub(crate) fn raw(&self) -> *mut bindings::vfio_device {
        self.vdev.get()
    }

    /// Returns the core's object.
    pub(crate) fn as_non_null(&self) -> NonNull<bindings::vfio_device> {
        NonNull::from(self).cast()
    }

    /// Returns what is ours.
    pub(crate) fn parts(&self) -> &Parts<D> {
        // SAFETY: References to objects come from `Ref` or `from_raw`, so the parts exist. They are
        // pinned, and only shared.
        unsafe { &*self.parts.get().cast() }
    }

    /// Returns the driver's data.
    pub(crate) fn data(&self) -> &D {
        &self.parts().data
    }

    /// Returns the device on the bus.
    pub(crate) fn parent(&self) -> &device::Device {
        // SAFETY: The core's object has a reference to its parent, which never changes.
        unsafe { device::Device::from_raw((*self.raw()).dev) }
    }

    /// Returns whether user space takes the flags of VFIO_MIG_GET_PRECOPY_INFO for what they are
    /// (`VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2`).
    pub(crate) fn reports_precopy_flags(&self) -> bool {
        // SAFETY: The object is valid, being a reference. The core writes the byte while the device
        // is open, to which nothing is ordered.
        unsafe { (&raw const (*self.raw()).precopy_info_v2).read_volatile() != 0 }
    }

    /// Returns a new reference.
    pub(crate) fn get(&self) -> Ref<D> {
        // SAFETY: The object is valid, being a reference.
        unsafe { bindings::get_device(&raw mut (*self.raw()).device) };
        // INVARIANT: The reference was taken above, and by `parts` the parts exist.
        Ref(NonNull::from(self))
    }
}

impl<D: Data> Parts<D> {
    fn new(
        irqs: impl PinInit<Interrupts, Error>,
        data: impl PinInit<D, Error>,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            data <- data,
            gate <- RwSem::new(false, c"vfio::gate", static_lock_class!()),
            session: UnsafeCell::new(None),
            irqs <- irqs,
            pins <- new_mutex!(Pins::new(), "vfio::pins"),
            migration <- new_mutex!(D::Machine::default(), "vfio::migration"),
            data_changed <- new_poll_condvar!("vfio::data_changed"),
            is_logging <- new_mutex!(false, "vfio::dirty_log"),
            written <- WriteLog::new(),
        }? Error)
    }

    /// Returns the driver's session, if there is one.
    ///
    /// # Safety
    ///
    /// The session must not be replaced during the lifetime of the result: the device is open and
    /// cannot be closed meanwhile.
    pub(crate) unsafe fn session(&self) -> Option<Pin<&D::Session>> {
        // SAFETY: By the safety requirements nobody writes.
        unsafe { (*self.session.get()).as_ref() }.map(|session| session.as_ref())
    }

    /// Replaces the driver's session, and returns the one that was there.
    ///
    /// # Safety
    ///
    /// Nobody else may use the session during the call: the device has no file, and the gate is
    /// held for writing or closed.
    pub(crate) unsafe fn set_session(
        &self,
        session: Option<Pin<KBox<D::Session>>>,
    ) -> Option<Pin<KBox<D::Session>>> {
        // SAFETY: By the safety requirements.
        unsafe { self.session.get().replace(session) }
    }
}

impl<D: Data> core::ops::Deref for Ref<D> {
    type Target = Object<D>;

    fn deref(&self) -> &Object<D> {
        // SAFETY: By the type invariants.
        unsafe { self.0.as_ref() }
    }
}

impl<D: Data> Drop for Ref<D> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value owns a reference.
        unsafe { bindings::put_device(&raw mut (*self.raw()).device) };
    }
}
