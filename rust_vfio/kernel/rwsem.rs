// SPDX-License-Identifier: GPL-2.0

//! A sleeping lock that admits many readers or one writer, and owns the value that it protects.
//!
//! In the kernel crate: `kernel::sync` has no reader/writer semaphore. It would get this type, with
//! the variants of `read()` and `write()` that can fail (`_killable`, `trylock`).
//!
//! C header: `include/linux/rwsem.h`.

use core::{
    cell::UnsafeCell,
    ops::{
        Deref,
        DerefMut, //
    }, //
};

use kernel::{
    prelude::*,
    str::CStr,
    sync::LockClassKey,
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

use crate::bindings;

/// A `struct rw_semaphore` and the value it protects.
#[pin_data]
pub(crate) struct RwSem<T> {
    #[pin]
    sem: Opaque<bindings::rw_semaphore>,
    value: UnsafeCell<T>,
}

// SAFETY: Moving the lock between threads moves the value.
unsafe impl<T: Send> Send for RwSem<T> {}
// SAFETY: Readers on several threads share `&T`; a writer has it alone.
unsafe impl<T: Send + Sync> Sync for RwSem<T> {}

impl<T> RwSem<T> {
    /// Creates an initialiser for the lock. `name` and `key` identify its class to lockdep.
    #[doc(alias = "init_rwsem")]
    pub(crate) fn new(
        value: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `ffi_init` passes a slot that is valid for writing. Name and key are static,
            // as the type of the arguments says.
            sem <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_rwsem(slot, name.as_char_ptr(), key.as_ptr())
            }),
            value: UnsafeCell::new(value),
        })
    }

    /// Acquires the lock for reading. Sleeps while a writer holds it.
    #[doc(alias = "down_read")]
    pub(crate) fn read(&self) -> ReadGuard<'_, T> {
        // SAFETY: The semaphore was initialised by `new`, the only constructor.
        unsafe { bindings::down_read(self.sem.get()) };
        ReadGuard {
            lock: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Acquires the lock for writing. Sleeps while anybody else holds it.
    #[doc(alias = "down_write")]
    pub(crate) fn write(&self) -> WriteGuard<'_, T> {
        // SAFETY: The semaphore was initialised by `new`, the only constructor.
        unsafe { bindings::down_write(self.sem.get()) };
        WriteGuard {
            lock: self,
            _not_send: NotThreadSafe,
        }
    }
}

/// The lock held for reading. Dropping the guard releases the lock.
pub(crate) struct ReadGuard<'a, T> {
    lock: &'a RwSem<T>,
    _not_send: NotThreadSafe,
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The guard holds the lock for reading, so there is no writer.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> Drop for ReadGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: The guard holds the lock for reading. It cannot be sent to another task.
        unsafe { bindings::up_read(self.lock.sem.get()) };
    }
}

/// The lock held for writing. Dropping the guard releases the lock.
pub(crate) struct WriteGuard<'a, T> {
    lock: &'a RwSem<T>,
    _not_send: NotThreadSafe,
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The guard holds the lock for writing, so nobody else uses the value.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: The guard holds the lock for writing, so nobody else uses the value.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: The guard holds the lock for writing. It cannot be sent to another task.
        unsafe { bindings::up_write(self.lock.sem.get()) };
    }
}
