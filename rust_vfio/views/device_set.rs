// SPDX-License-Identifier: GPL-2.0

//! A view of `struct vfio_device_set`, and the C lists that devices are on.
//!
//! Drivers lock `vfio_device_set.lock` and walk `vfio_device_set.device_list` themselves, so both
//! stay C objects.

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

/// A place in `struct vfio_device` that links it into a list.
pub(crate) trait Link {
    /// Where the `struct list_head` is, in bytes.
    const OFFSET: usize;
}

/// `vfio_device.dev_set_list`.
pub(crate) struct SetLink;

impl Link for SetLink {
    const OFFSET: usize = offset_of!(bindings::vfio_device, dev_set_list);
}

/// `vfio_device.group_next`.
#[cfg(CONFIG_VFIO_GROUP)]
pub(crate) struct GroupLink;

#[cfg(CONFIG_VFIO_GROUP)]
impl Link for GroupLink {
    const OFFSET: usize = offset_of!(bindings::vfio_device, group_next);
}

fn entry<L: Link>(device: &Device) -> *mut bindings::list_head {
    device.as_raw().wrapping_byte_add(L::OFFSET).cast()
}

/// Calls `f` for each device of a list until it returns something.
///
/// # Safety
///
/// `head` must be an initialised list of devices through `L` that does not change meanwhile.
unsafe fn find<L: Link, T>(
    head: *const bindings::list_head,
    mut f: impl FnMut(&Device) -> Option<T>,
) -> Option<T> {
    // SAFETY: By the contract of this function, here and below.
    let mut at = unsafe { (*head).next };
    while !core::ptr::eq(at, head) {
        let device = at.wrapping_byte_sub(L::OFFSET).cast();
        // SAFETY: As above: the list has devices only.
        if let Some(found) = f(unsafe { Device::from_raw(device) }) {
            return Some(found);
        }
        // SAFETY: As above.
        at = unsafe { (*at).next };
    }
    None
}

/// A list of devices that this module owns alone. It must be empty when it is dropped.
#[pin_data]
pub(crate) struct DeviceList<L: Link> {
    #[pin]
    head: Opaque<bindings::list_head>,
    _link: core::marker::PhantomData<L>,
}

// SAFETY: The list is only reached through `&mut` or `&` of its owner, which is a lock.
unsafe impl<L: Link> Send for DeviceList<L> {}

impl<L: Link> DeviceList<L> {
    /// An empty list.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: The slot is valid for writing and pinned.
            head <- Opaque::ffi_init(|slot| unsafe { bindings::INIT_LIST_HEAD(slot) }),
            _link: core::marker::PhantomData,
        })
    }

    /// Puts the device at the front.
    ///
    /// # Safety
    ///
    /// The device must not be on a list through `L`, and must be removed before it is freed.
    pub(crate) unsafe fn push_front(self: Pin<&mut Self>, device: &Device) {
        // SAFETY: The head is initialised, and the entry is free.
        unsafe { bindings::vfio_rs_list_add(entry::<L>(device), self.head.get()) };
    }

    /// Takes the device off the list.
    ///
    /// # Safety
    ///
    /// The device must be on this list.
    pub(crate) unsafe fn remove(self: Pin<&mut Self>, device: &Device) {
        // SAFETY: By the contract of this function.
        unsafe { bindings::vfio_rs_list_del(entry::<L>(device)) };
    }

    /// Calls `f` for each device, last added first, until it returns something.
    pub(crate) fn find<T>(&self, f: impl FnMut(&Device) -> Option<T>) -> Option<T> {
        // SAFETY: The list is initialised and borrowed for the call.
        unsafe { find::<L, T>(self.head.get(), f) }
    }

    /// Whether there is no device.
    pub(crate) fn is_empty(&self) -> bool {
        self.find(|_| Some(())).is_none()
    }
}

/// A `struct vfio_device_set` on the heap.
///
/// # Invariants
///
/// The pointer came from [`DeviceSet::new`], and the object is valid until [`DeviceSet::free`].
#[derive(Clone, Copy)]
pub(crate) struct DeviceSet(NonNull<bindings::vfio_device_set>);

// SAFETY: The members are protected by the set's own lock or by the lock of the table of sets.
unsafe impl Send for DeviceSet {}

impl DeviceSet {
    /// An empty set that is known by `id`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(id: usize) -> Result<Self> {
        let set = KBox::<bindings::vfio_device_set>::new(pin_init::zeroed(), GFP_KERNEL)?;
        let set = NonNull::from(KBox::leak(set));
        // SAFETY: The object is new, does not move, and nobody else sees it.
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
        Ok(Self(set))
    }

    /// The set that the device is in.
    pub(crate) fn of(device: &Device) -> Option<Self> {
        // SAFETY: The member is written before the device is registered and when it is freed.
        NonNull::new(unsafe { (*device.as_raw()).dev_set }).map(Self)
    }

    /// A set that a driver refers to.
    ///
    /// # Safety
    ///
    /// `set` must be the `dev_set` of a device that outlives the use of the result.
    pub(crate) unsafe fn from_raw(set: *mut bindings::vfio_device_set) -> Self {
        // SAFETY: By the contract of this function.
        Self(unsafe { NonNull::new_unchecked(set) })
    }

    /// What the set is known by.
    pub(crate) fn id(&self) -> usize {
        // SAFETY: By the invariant; the member never changes.
        unsafe { (*self.0.as_ptr()).set_id.addr() }
    }

    /// Counts one more device.
    ///
    /// # Safety
    ///
    /// The lock of the table of sets must be held.
    pub(crate) unsafe fn get(&self) {
        // SAFETY: By the invariant and the contract of this function.
        unsafe { (*self.0.as_ptr()).device_count += 1 };
    }

    /// Counts one device less and returns whether none is left.
    ///
    /// # Safety
    ///
    /// The lock of the table of sets must be held.
    pub(crate) unsafe fn put(&self) -> bool {
        // SAFETY: By the invariant and the contract of this function.
        unsafe {
            (*self.0.as_ptr()).device_count -= 1;
            (*self.0.as_ptr()).device_count == 0
        }
    }

    /// Frees the set.
    ///
    /// # Safety
    ///
    /// No device may refer to the set, and no copy of `self` may be used again.
    pub(crate) unsafe fn free(self) {
        // SAFETY: The pointer came from a `KBox`, by the invariant.
        unsafe {
            bindings::mutex_destroy(&raw mut (*self.0.as_ptr()).lock);
            drop(KBox::from_raw(self.0.as_ptr()));
        }
    }

    fn lock(&self) -> &Lock<(), MutexBackend> {
        // SAFETY: By the invariant; a `Lock<()>` is laid out like the C mutex.
        unsafe { Lock::from_raw(&raw mut (*self.0.as_ptr()).lock) }
    }

    /// Makes the device, which is counted already, a member that drivers can see.
    pub(crate) fn link(&self, device: &Device) {
        let _guard = self.lock().lock();
        // SAFETY: The lock is held; the device is new in this set.
        unsafe {
            (*device.as_raw()).dev_set = self.0.as_ptr();
            bindings::vfio_rs_list_add_tail(
                entry::<SetLink>(device),
                &raw mut (*self.0.as_ptr()).device_list,
            );
        }
    }

    /// The opposite of [`DeviceSet::link`].
    pub(crate) fn unlink(&self, device: &Device) {
        let _guard = self.lock().lock();
        // SAFETY: The lock is held, and the device is a member.
        unsafe { bindings::vfio_rs_list_del(entry::<SetLink>(device)) };
    }

    /// Calls `f` for each device until it returns something. lockdep warns unless the set's lock is
    /// held.
    ///
    /// # Safety
    ///
    /// The set's lock must be held.
    pub(crate) unsafe fn find<T>(&self, f: impl FnMut(&Device) -> Option<T>) -> Option<T> {
        // SAFETY: By the invariant.
        unsafe { bindings::vfio_rs_assert_mutex_held(&raw mut (*self.0.as_ptr()).lock) };
        // SAFETY: By the invariant and the contract of this function.
        unsafe { find::<SetLink, T>(&raw const (*self.0.as_ptr()).device_list, f) }
    }
}
