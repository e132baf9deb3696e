// SPDX-License-Identifier: GPL-2.0

//! The vectors of a device: which eventfd each has, and whether it is masked.
//!
//! Locks: the vectors of a kind have a spinlock, which is taken in any context. What a request of
//! user space changes besides is under the mutex [`Interrupts::settings`], which is taken before.

use core::{
    ffi::c_void,
    ptr, //
};

use kernel::{
    error::to_result,
    ffi::c_int,
    new_mutex,
    new_spinlock_irq,
    prelude::*,
    sync::{
        Mutex,
        SpinLockIrq, //
    },
    types::ForeignOwnable, //
};

use crate::{
    bindings,
    driver::eventfd::EventFd, //
};

/// A vector of a device.
#[derive(Default)]
struct Vector {
    eventfd: Option<EventFd>,
    masked: bool,
    /// Whether it was raised while it was masked.
    pending: bool,
}

/// The vectors of a kind.
///
/// The core refers to it from the eventfds that unmask, so it stays where it is.
#[pin_data]
pub(crate) struct Kind {
    count: usize,
    automasked: bool,
    #[pin]
    vectors: SpinLockIrq<KVec<Vector>>,
}

/// What raises interrupts in hardware, as long as it exists: a value of some type that is dropped
/// with this.
pub(crate) struct Enabled {
    value: *mut c_void,
    drop: unsafe fn(*mut c_void),
}

// SAFETY: `new` takes only values that may be dropped on any thread.
unsafe impl Send for Enabled {}

/// What a request of user space changes of a kind, besides its vectors.
pub(crate) struct Setting {
    /// The hardware, while a vector has an eventfd.
    pub(crate) enabled: Option<Enabled>,
    /// The eventfds that unmask vectors. The core writes to these places.
    unmaskers: KVec<*mut bindings::virqfd>,
}

// SAFETY: The pointers are used under the lock of the core and ours.
unsafe impl Send for Setting {}

/// All interrupts of a device.
#[pin_data]
pub(crate) struct Interrupts {
    kinds: KVec<Pin<KBox<Kind>>>,
    #[pin]
    pub(crate) settings: Mutex<KVec<Setting>>,
}

/// How many vectors a kind has, and whether they are masked when they are signalled.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) count: usize,
    pub(crate) automasked: bool,
}

impl Enabled {
    /// Takes a value over.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory.
    pub(crate) fn new<T: Send + 'static>(value: T) -> Result<Self> {
        let value = KBox::new(value, GFP_KERNEL)?;
        Ok(Self {
            value: value.into_foreign(),
            // SAFETY: `drop` below passes what `into_foreign` returned, once.
            drop: |value| drop(unsafe { KBox::<T>::from_foreign(value) }),
        })
    }
}

impl Drop for Enabled {
    fn drop(&mut self) {
        // SAFETY: The function and the value belong together, and this is called once.
        unsafe { (self.drop)(self.value) };
    }
}

impl Kind {
    fn new(shape: Shape) -> Result<Pin<KBox<Self>>> {
        let mut vectors = KVec::with_capacity(shape.count, GFP_KERNEL)?;
        for _ in 0..shape.count {
            vectors.push(Vector::default(), GFP_KERNEL)?;
        }
        KBox::pin_init(
            pin_init!(Self {
                count: shape.count,
                automasked: shape.automasked,
                vectors <- new_spinlock_irq!(vectors, "vfio::vectors"),
            }),
            GFP_KERNEL,
        )
    }

    /// Raises a vector.
    pub(crate) fn signal(&self, at: usize) {
        let mut vectors = self.vectors.lock();
        let Some(vector) = vectors.get_mut(at) else {
            return;
        };
        if vector.masked {
            vector.pending = true;
            return;
        }
        if let Some(eventfd) = &vector.eventfd {
            vector.masked = self.automasked;
            eventfd.signal();
        }
    }

    /// Masks a vector.
    pub(crate) fn mask(&self, at: usize) {
        if let Some(vector) = self.vectors.lock().get_mut(at) {
            vector.masked = true;
        }
    }

    /// Unmasks a vector, and raises it if it was raised meanwhile.
    pub(crate) fn unmask(&self, at: usize) {
        let pending = match self.vectors.lock().get_mut(at) {
            Some(vector) => {
                vector.masked = false;
                core::mem::take(&mut vector.pending)
            }
            None => false,
        };
        if pending {
            self.signal(at);
        }
    }

    /// Gives the vectors from `start` on these eventfds. A vector that has none any more is not
    /// masked either.
    pub(crate) fn replace(&self, start: usize, mut eventfds: KVec<Option<EventFd>>) {
        let mut vectors = self.vectors.lock();
        let places = vectors.iter_mut().skip(start);
        for (vector, eventfd) in places.zip(eventfds.iter_mut()) {
            core::mem::swap(&mut vector.eventfd, eventfd);
            if vector.eventfd.is_none() {
                vector.masked = false;
                vector.pending = false;
            }
        }
        drop(vectors);
        // What they had before goes here, without the lock.
        drop(eventfds);
    }

    /// Returns whether any vector has an eventfd.
    pub(crate) fn is_used(&self) -> bool {
        self.vectors.lock().iter().any(|v| v.eventfd.is_some())
    }

    /// Takes all eventfds of the kind back, and disables the hardware.
    pub(crate) fn disable(&self, setting: &mut Setting) {
        for place in setting.unmaskers.iter_mut() {
            // SAFETY: The place is null or was filled by `vfio_virqfd_enable()`. The core clears it
            // under its own lock.
            unsafe { bindings::vfio_virqfd_disable(place) };
        }
        // No interrupt is being handled any more after this.
        setting.enabled = None;
        for at in 0..self.count {
            let old = self.vectors.lock().get_mut(at).map(core::mem::take);
            // Without the lock.
            drop(old);
        }
    }

    /// Lets eventfds unmask the vectors from `start` on; a negative number takes one back.
    ///
    /// # Errors
    ///
    /// - `ENOTTY` if the vectors are not masked by being signalled.
    /// - `EBADF`, `EINVAL` if there is no eventfd behind a file descriptor.
    /// - `ENOMEM` if there is no memory.
    pub(crate) fn unmask_by(
        &self,
        setting: &mut Setting,
        start: usize,
        fds: impl Iterator<Item = i32>,
    ) -> Result {
        for (fd, vector) in fds.zip(start..) {
            let place: *mut _ = setting.unmaskers.get_mut(vector).ok_or(ENOTTY)?;
            // SAFETY: The place belongs to this kind, and stays where it is: the list never grows.
            // It is null or was filled below.
            unsafe { bindings::vfio_virqfd_disable(place) };
            if fd < 0 {
                continue;
            }
            // SAFETY: The kind is pinned, and `disable` takes the eventfd away before it is freed.
            // The functions expect a kind and the number of a vector.
            to_result(unsafe {
                bindings::vfio_virqfd_enable(
                    ptr::from_ref(self).cast_mut().cast(),
                    Some(unmask_later),
                    Some(unmask_now),
                    ptr::without_provenance_mut(vector),
                    place,
                    fd,
                )
            })?;
        }
        Ok(())
    }
}

/// Says that [`unmask_now`] shall be called where it may sleep: the lock of one eventfd is held
/// here, and unmasking may signal another.
///
/// # Safety
///
/// None; the type is that of a handler.
unsafe extern "C" fn unmask_later(_kind: *mut c_void, _vector: *mut c_void) -> c_int {
    1
}

/// Unmasks a vector.
///
/// # Safety
///
/// `kind` must be a valid [`Kind`].
unsafe extern "C" fn unmask_now(kind: *mut c_void, vector: *mut c_void) {
    // SAFETY: By the safety requirements of this function.
    unsafe { &*kind.cast::<Kind>() }.unmask(vector.addr());
}

impl Interrupts {
    /// Creates kinds of these shapes.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory.
    pub(crate) fn new(shapes: impl Iterator<Item = Shape>) -> impl PinInit<Self, Error> {
        let make = || -> Result<_> {
            let (mut kinds, mut settings) = (KVec::new(), KVec::new());
            for shape in shapes {
                kinds.push(Kind::new(shape)?, GFP_KERNEL)?;
                let count = if shape.automasked { shape.count } else { 0 };
                let setting = Setting {
                    enabled: None,
                    unmaskers: KVec::from_elem(ptr::null_mut(), count, GFP_KERNEL)?,
                };
                settings.push(setting, GFP_KERNEL)?;
            }
            Ok((kinds, settings))
        };
        pin_init::pin_init_scope(move || {
            let (kinds, settings) = make()?;
            Ok(try_pin_init!(Self {
                kinds,
                settings <- new_mutex!(settings, "vfio::interrupts"),
            }? Error))
        })
    }

    /// Returns the vectors of the kind with number `number`.
    pub(crate) fn kind(&self, number: usize) -> Option<&Kind> {
        self.kinds.get(number).map(|kind| &**kind)
    }

    /// Raises a vector, if there is such a one.
    pub(crate) fn raise(&self, kind: usize, vector: usize) {
        if let Some(kind) = self.kind(kind) {
            kind.signal(vector);
        }
    }

    /// Takes all eventfds back, because the device is being closed.
    pub(crate) fn close(&self) {
        let mut settings = self.settings.lock();
        for (kind, setting) in self.kinds.iter().zip(settings.iter_mut()) {
            kind.disable(setting);
        }
    }
}
