// SPDX-License-Identifier: GPL-2.0

//! A view of `struct vfio_device_set`, and the C lists that link devices.
//!
//! Drivers lock `vfio_device_set.lock` and walk `vfio_device_set.device_list` themselves, so both
//! are C objects. That lock protects the list; `device_count` is protected by the lock of the table
//! of sets (`views/set_table.rs`).
//!
//! C header: `include/linux/vfio.h`; contract section 4.11.

use core::{
    mem::offset_of,
    ptr::NonNull, //
};

use kernel::{
    prelude::*,
    sync::lock::{
        mutex::MutexBackend,
        Lock, //
    },
    types::Opaque, //
};

use crate::{
    bindings,
    views::device::Device, //
};

/// A member of `struct vfio_device` that links it into a list.
pub(crate) trait Link {
    /// The offset of the `struct list_head` in bytes.
    const OFFSET: usize;
}

/// The link `vfio_device.dev_set_list`.
pub(crate) struct SetLink;

impl Link for SetLink {
    const OFFSET: usize = offset_of!(bindings::vfio_device, dev_set_list);
}

/// The link `vfio_device.group_next`.
#[cfg(CONFIG_VFIO_GROUP)]
pub(crate) struct GroupLink;

#[cfg(CONFIG_VFIO_GROUP)]
impl Link for GroupLink {
    const OFFSET: usize = offset_of!(bindings::vfio_device, group_next);
}

fn entry<L: Link>(device: &Device) -> *mut bindings::list_head {
    device.as_raw().wrapping_byte_add(L::OFFSET).cast()
}

/// Calls `f` for each device of a list until it returns something, and returns that.
///
/// # Safety
///
/// `head` must be the head of an initialised list of devices that are linked through `L`. The list
/// must not change, and the devices must stay valid, during the call.
unsafe fn find<L: Link, T>(
    head: *const bindings::list_head,
    mut f: impl FnMut(&Device) -> Option<T>,
) -> Option<T> {
    // SAFETY: By the safety requirements of this function the head is valid and initialised.
    let mut at = unsafe { (*head).next };
    while !core::ptr::eq(at, head) {
        let device = at.wrapping_byte_sub(L::OFFSET).cast();
        // SAFETY: `at` is not the head, so by the safety requirements of this function it is part
        // of a valid device.
        if let Some(found) = f(unsafe { Device::from_raw(device) }) {
            return Some(found);
        }
        // SAFETY: By the safety requirements of this function the entry is valid and still linked.
        at = unsafe { (*at).next };
    }
    None
}

/// A list of devices whose head this module owns. It must be empty when it is dropped.
#[pin_data]
pub(crate) struct DeviceList<L: Link> {
    #[pin]
    head: Opaque<bindings::list_head>,
    _link: core::marker::PhantomData<L>,
}

// SAFETY: The links of the devices are used through `&mut` and `&` to the list only, whichever
// thread has it.
unsafe impl<L: Link> Send for DeviceList<L> {}

impl<L: Link> DeviceList<L> {
    /// Creates an initialiser for an empty list.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `ffi_init` passes a slot that is valid for writing and pinned.
            head <- Opaque::ffi_init(|slot| unsafe { bindings::INIT_LIST_HEAD(slot) }),
            _link: core::marker::PhantomData,
        })
    }

    /// Adds the device at the front of the list.
    ///
    /// # Safety
    ///
    /// The device must not be on a list through `L`, and must be removed from this one before it is
    /// freed.
    pub(crate) unsafe fn push_front(self: Pin<&mut Self>, device: &Device) {
        // SAFETY: The head was initialised by `new`. By the safety requirements of this function
        // the entry is on no list.
        unsafe { bindings::vfio_rs_list_add(entry::<L>(device), self.head.get()) };
    }

    /// Removes the device from the list.
    ///
    /// # Safety
    ///
    /// The device must be on this list.
    pub(crate) unsafe fn remove(self: Pin<&mut Self>, device: &Device) {
        // SAFETY: By the safety requirements of this function.
        unsafe { bindings::vfio_rs_list_del(entry::<L>(device)) };
    }

    /// Calls `f` for each device, the last added one first, until it returns something, and returns
    /// that.
    pub(crate) fn find<T>(&self, f: impl FnMut(&Device) -> Option<T>) -> Option<T> {
        // SAFETY: `new` initialised the list, and it does not change while it is borrowed. By the
        // safety requirements of `push_front` its devices are valid.
        unsafe { find::<L, T>(self.head.get(), f) }
    }

    /// Returns whether there is no device on the list.
    pub(crate) fn is_empty(&self) -> bool {
        self.find(|_| Some(())).is_none()
    }
}

/// A pointer to a device set.
///
/// # Invariants
///
/// The object was allocated by [`DeviceSet::new`], and is valid as long as a copy of this value is
/// used.
#[derive(Clone, Copy)]
pub(crate) struct DeviceSet(NonNull<bindings::vfio_device_set>);

// SAFETY: The members are immutable, or protected by the set's own lock or that of the table of
// sets, whichever thread uses them.
unsafe impl Send for DeviceSet {}

impl DeviceSet {
    /// Allocates an empty set with the identifier `id`. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(id: usize) -> Result<Self> {
        let set = KBox::<bindings::vfio_device_set>::new(pin_init::zeroed(), GFP_KERNEL)?;
        let set = NonNull::from(KBox::leak(set));
        // SAFETY: The object is new, nobody else sees it, and it does not move, since the box was
        // leaked. Name and class of the lock are static.
        unsafe {
            let set = set.as_ptr();
            (*set).set_id = core::ptr::without_provenance_mut(id);
            bindings::__mutex_init(
                &raw mut (*set).lock,
                c"vfio_device_set.lock".as_char_ptr(),
                kernel::static_lock_class!().as_ptr(),
            );
            bindings::INIT_LIST_HEAD(&raw mut (*set).device_list);
        }
        // INVARIANT: Allocated above, and freed by `free` only.
        Ok(Self(set))
    }

    /// Returns the set of the device, or none if it is in no set.
    pub(crate) fn of(device: &Device) -> Option<Self> {
        // SAFETY: The member is written by `link` only, before the device is registered.
        // INVARIANT: A set is not freed while a device refers to it.
        NonNull::new(unsafe { (*device.as_raw()).dev_set }).map(Self)
    }

    /// Wraps the set that a driver passes.
    ///
    /// # Safety
    ///
    /// `set` must be the `dev_set` of a device that is not freed as long as the result is used.
    pub(crate) unsafe fn from_raw(set: *mut bindings::vfio_device_set) -> Self {
        // SAFETY: By the safety requirements of this function a device is in the set, so the
        // pointer is not null.
        // INVARIANT: The device keeps the set.
        Self(unsafe { NonNull::new_unchecked(set) })
    }

    /// Returns the identifier of the set.
    pub(crate) fn id(&self) -> usize {
        // SAFETY: By the type invariants the set is valid, and the member is not written after
        // `new`.
        unsafe { (*self.0.as_ptr()).set_id.addr() }
    }

    /// Adds 1 to the number of devices in the set.
    ///
    /// # Safety
    ///
    /// The lock of the table of sets must be held.
    pub(crate) unsafe fn get(&self) {
        // SAFETY: By the type invariants the set is valid, and by the safety requirements of this
        // function the lock is held.
        unsafe { (*self.0.as_ptr()).device_count += 1 };
    }

    /// Subtracts 1 from the number of devices in the set, and returns whether it is 0 now.
    ///
    /// # Safety
    ///
    /// The lock of the table of sets must be held.
    pub(crate) unsafe fn put(&self) -> bool {
        // SAFETY: By the type invariants the set is valid, and by the safety requirements of this
        // function the lock is held.
        unsafe {
            (*self.0.as_ptr()).device_count -= 1;
            (*self.0.as_ptr()).device_count == 0
        }
    }

    /// Frees the set.
    ///
    /// # Safety
    ///
    /// No device may be in the set, and no copy of `self` may be used again.
    pub(crate) unsafe fn free(self) {
        // SAFETY: By the type invariants the object came from the `KBox` of `new`, and by the
        // safety requirements of this function nobody uses it any more.
        unsafe {
            bindings::mutex_destroy(&raw mut (*self.0.as_ptr()).lock);
            drop(KBox::from_raw(self.0.as_ptr()));
        }
    }

    fn lock(&self) -> &Lock<(), MutexBackend> {
        // SAFETY: By the type invariants the set is valid, and `new` initialised its lock. A
        // `Lock<(), MutexBackend>` has the layout of the C mutex.
        unsafe { Lock::from_raw(&raw mut (*self.0.as_ptr()).lock) }
    }

    /// Adds the device, which is counted already and in no set, to the list of the set, where
    /// drivers can see it. Takes the set's lock. Sleeps.
    pub(crate) fn link(&self, device: &Device) {
        let _guard = self.lock().lock();
        // SAFETY: By the type invariants the set is valid, and its lock is held. The caller has
        // counted the device, which is in no set, so its link is unused.
        unsafe {
            (*device.as_raw()).dev_set = self.0.as_ptr();
            bindings::vfio_rs_list_add_tail(
                entry::<SetLink>(device),
                &raw mut (*self.0.as_ptr()).device_list,
            );
        }
    }

    /// Removes the device from the list of the set; undoes [`DeviceSet::link`]. Takes the set's
    /// lock. Sleeps.
    pub(crate) fn unlink(&self, device: &Device) {
        let _guard = self.lock().lock();
        // SAFETY: The lock is held. The caller passes a device of this set, so it is on the list.
        unsafe { bindings::vfio_rs_list_del(entry::<SetLink>(device)) };
    }

    /// Calls `f` for each device of the set until it returns something, and returns that. lockdep
    /// warns unless the set's lock is held.
    ///
    /// # Safety
    ///
    /// The set's lock must be held.
    pub(crate) unsafe fn find<T>(&self, f: impl FnMut(&Device) -> Option<T>) -> Option<T> {
        // SAFETY: By the type invariants the set is valid.
        unsafe { bindings::vfio_rs_assert_mutex_held(&raw mut (*self.0.as_ptr()).lock) };
        // SAFETY: By the type invariants the set is valid, and by the safety requirements of this
        // function the lock is held.
        unsafe { find::<SetLink, T>(&raw const (*self.0.as_ptr()).device_list, f) }
    }
}
