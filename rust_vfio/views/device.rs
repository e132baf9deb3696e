// SPDX-License-Identifier: GPL-2.0

//! A view of `struct vfio_device`.
//!
//! The structure belongs to C: drivers embed it at offset 0 of their own structure, the core
//! allocates and frees it, and both sides read and write its members. So there is never a Rust
//! reference to the C object itself, only to [`Device`], which accesses single members.
//!
//! Locks: `open_count`, `cdev_opened`, `kvm`, `put_kvm` and the members of iommufd are protected by
//! the lock of the device set. The first two are written through [`OpenState`], which holds it. The
//! other members are set before the device is registered, or are atomic.
//!
//! C header: `include/linux/vfio.h`; contract section 4.11.

use core::{
    mem::{
        offset_of,
        size_of, //
    },
    ptr::NonNull, //
};

use kernel::{
    device,
    error::to_result,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    str::CStr,
    sync::lock::{
        mutex::MutexBackend,
        Guard,
        Lock, //
    },
    types::Opaque, //
};

#[cfg(CONFIG_VFIO_GROUP)]
use {
    core::mem::ManuallyDrop,
    kernel::types::ForeignOwnable, //
};

use crate::{
    bindings,
    kernel::chardev::ClassHandle, //
};

/// A VFIO device (`struct vfio_device`), which the core and its driver share.
#[repr(transparent)]
pub(crate) struct Device(Opaque<bindings::vfio_device>);

// SAFETY: Every member that is accessed is immutable while shared, atomic, or protected by a lock.
unsafe impl Send for Device {}
// SAFETY: As above.
unsafe impl Sync for Device {}

impl Device {
    /// Returns the C object as a device.
    ///
    /// # Safety
    ///
    /// `ptr` must come from `_vfio_alloc_device()`, and the device must stay valid for `'a`.
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::vfio_device) -> &'a Self {
        // SAFETY: By the safety requirements of this function; the type is transparent.
        unsafe { &*ptr.cast() }
    }

    /// Returns the C object.
    pub(crate) fn as_raw(&self) -> *mut bindings::vfio_device {
        self.0.get()
    }

    /// Returns the device on the bus that the VFIO device stands for: the PCI function, the mdev.
    pub(crate) fn bus_device(&self) -> &device::Device {
        // SAFETY: `dev` is set when the object is allocated and never changes. It outlives the
        // object, by the safety requirements of `Blueprint::new`.
        unsafe { device::Device::from_raw((*self.as_raw()).dev) }
    }

    /// Returns the device on the bus as a C object.
    pub(crate) fn bus_device_raw(&self) -> *mut bindings::device {
        // SAFETY: The object is valid, being a reference, and `dev` is not written after it was
        // allocated.
        unsafe { (*self.as_raw()).dev }
    }

    /// Returns the `struct device` that is part of the VFIO device. Its parent is the device on the
    /// bus.
    pub(crate) fn own_device(&self) -> *mut bindings::device {
        // SAFETY: The object is valid, being a reference; nothing is read.
        unsafe { &raw mut (*self.as_raw()).device }
    }

    /// Returns the index of the device, which is part of its name (`vfio<index>`).
    pub(crate) fn index(&self) -> u32 {
        // SAFETY: The object is valid, being a reference, and `index` is written only by
        // `Allocated::set_index`, before the object is shared.
        unsafe { (*self.as_raw()).index }
    }

    /// Sets the name of the device to `prefix` followed by its index. Called before the device is
    /// published. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn set_name(&self, prefix: &CStr) -> Result {
        // SAFETY: `Allocated::into_counted` initialised the device. The format takes a string and
        // an unsigned int.
        to_result(unsafe {
            bindings::dev_set_name(
                self.own_device(),
                c"%s%u".as_char_ptr(),
                prefix.as_char_ptr(),
                self.index(),
            )
        })
    }

    /// Adds the device to sysfs. Called once for each registration, after [`Device::set_name`].
    /// Sleeps.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`.
    /// - `EEXIST` if there is a device of this name, or any other errno of sysfs.
    #[cfg(not(CONFIG_VFIO_DEVICE_CDEV))]
    #[doc(alias = "vfio_device_add")]
    pub(crate) fn publish(&self) -> Result {
        // SAFETY: `Allocated::into_counted` initialised the device, and the caller has named it.
        to_result(unsafe { bindings::device_add(self.own_device()) })
    }

    /// Removes the device from sysfs; undoes [`Device::publish`]. Sleeps.
    #[cfg(not(CONFIG_VFIO_DEVICE_CDEV))]
    #[doc(alias = "vfio_device_del")]
    pub(crate) fn unpublish(&self) {
        // SAFETY: The only caller unregisters a device, which was published when it was registered.
        unsafe { bindings::device_del(self.own_device()) };
    }

    /// Returns whether the IOMMU in front of the device keeps its DMA cache coherent, if the device
    /// wants that.
    #[doc(alias = "device_iommu_capable")]
    pub(crate) fn is_coherent(&self) -> bool {
        self.iommu_capable(bindings::iommu_cap_IOMMU_CAP_CACHE_COHERENCY)
    }

    /// Returns whether the IOMMU in front of the device can make all of its DMA cache coherent.
    #[doc(alias = "device_iommu_capable")]
    pub(crate) fn is_enforced_coherent(&self) -> bool {
        self.iommu_capable(bindings::iommu_cap_IOMMU_CAP_ENFORCE_CACHE_COHERENCY)
    }

    fn iommu_capable(&self, cap: bindings::iommu_cap) -> bool {
        // SAFETY: The device on the bus outlives the VFIO device (see `bus_device`).
        unsafe { bindings::device_iommu_capable(self.bus_device_raw(), cap) }
    }

    /// Returns whether the device on the bus has an IOMMU.
    #[cfg(CONFIG_IOMMUFD_NOIOMMU)]
    pub(crate) fn has_iommu(&self) -> bool {
        // SAFETY: The device on the bus outlives the VFIO device (see `bus_device`). Its member
        // `iommu` is set before a driver is bound to it.
        unsafe { !(*self.bus_device_raw()).iommu.is_null() }
    }

    /// Marks the device as one without IOMMU (`vfio_device.noiommu`). Called before the device is
    /// published.
    #[cfg(CONFIG_IOMMUFD_NOIOMMU)]
    pub(crate) fn mark_noiommu(&self) {
        // SAFETY: Nobody else sees the device yet, so the other bits of the byte do not change.
        unsafe { bindings::vfio_device::set_noiommu_raw(self.as_raw(), 1) };
    }

    /// Returns whether [`Device::mark_noiommu`] was called.
    pub(crate) fn is_marked_noiommu(&self) -> bool {
        // SAFETY: The object is valid, being a reference, and the bit is not written any more when
        // the device is published.
        unsafe { bindings::vfio_device::noiommu_raw(self.as_raw()) != 0 }
    }

    /// Returns the pointer `vfio_device.group`, which the group layer sets and interprets.
    #[cfg(CONFIG_VFIO_GROUP)]
    pub(crate) fn group_ptr(&self) -> *mut bindings::vfio_group {
        // SAFETY: The object is valid, being a reference, and the member is an aligned word. The
        // read is volatile because a driver may ask for the group while the device is unregistered.
        unsafe { (&raw const (*self.as_raw()).group).read_volatile() }
    }

    /// Sets the pointer `vfio_device.group`. Called only while the device is being registered or
    /// unregistered.
    #[cfg(CONFIG_VFIO_GROUP)]
    pub(crate) fn set_group_ptr(&self, group: *mut bindings::vfio_group) {
        // SAFETY: The object is valid, being a reference, and the member is an aligned word. A
        // driver does not register and unregister a device at the same time, so there is one
        // writer.
        unsafe { (&raw mut (*self.as_raw()).group).write_volatile(group) };
    }

    /// Prints the path in sysfs of the device on the bus to `m`, or nothing if there is no memory
    /// for it. Sleeps.
    #[doc(alias = "vfio_device_show_fdinfo")]
    pub(crate) fn print_sysfs_path(&self, m: &SeqFile) {
        // SAFETY: The device on the bus outlives the VFIO device (see `bus_device`).
        let path = unsafe {
            let kobj = &raw const (*self.bus_device_raw()).kobj;
            bindings::kobject_get_path(kobj, bindings::GFP_KERNEL)
        };
        if path.is_null() {
            return;
        }
        // SAFETY: The function returned a NUL-terminated string, which nobody else uses.
        let text = unsafe { CStr::from_char_ptr(path) };
        seq_print!(m, "vfio-device-syspath: /sys{}\n", text);
        // SAFETY: The path was allocated with `kmalloc()`, and is not used any more.
        unsafe { bindings::kfree(path.cast()) };
    }

    /// Returns `vfio_device.open_count`, the number of files that have the device open, as it is at
    /// some time during the call. The lock of the set need not be held.
    pub(crate) fn peek_open_count(&self) -> u32 {
        // SAFETY: The object is valid, being a reference, and the member is an aligned word. The
        // read is volatile because another task may write it.
        unsafe { (&raw const (*self.as_raw()).open_count).read_volatile() }
    }

    /// Locks the device set and returns access to the members that its lock protects. The device
    /// must be registered. Sleeps.
    pub(crate) fn lock_set(&self) -> OpenState<'_> {
        // SAFETY: A registered device is in a set until it is freed, and the lock was initialised
        // when the set was created. A `Lock<(), MutexBackend>` has the layout of the C mutex.
        let lock = unsafe {
            Lock::<(), MutexBackend>::from_raw(&raw mut (*(*self.as_raw()).dev_set).lock)
        };
        OpenState {
            device: self,
            _guard: lock.lock(),
        }
    }
}

/// What the core does at the end of a device's life.
pub(crate) trait Lifecycle {
    /// Frees `device`, to which the last reference was dropped. May sleep.
    fn release(device: &Device);
}

/// Passes the end of a device's life on to `L`.
///
/// # Safety
///
/// Must be called by the driver core when the last reference to `own`, the `struct device` in a
/// VFIO device, is dropped.
unsafe extern "C" fn release<L: Lifecycle>(own: *mut bindings::device) {
    let device = own.wrapping_byte_sub(offset_of!(bindings::vfio_device, device));
    // SAFETY: By the safety requirements of this function `own` is part of a device, which is valid
    // until `L` frees it.
    L::release(unsafe { Device::from_raw(device.cast()) });
}

/// The arguments with which a driver allocates a device: the size in bytes of its structure, which
/// begins with the device, the device on the bus, and the table of callbacks.
///
/// # Invariants
///
/// Both pointers are valid as long as any device that is allocated with them.
pub(crate) struct Blueprint {
    size: usize,
    dev: *mut bindings::device,
    ops: *const bindings::vfio_device_ops,
}

impl Blueprint {
    /// Creates the value from the arguments of the driver.
    ///
    /// # Safety
    ///
    /// `dev` and `ops` must be valid as long as any device that is allocated with them.
    pub(crate) unsafe fn new(
        size: usize,
        dev: *mut bindings::device,
        ops: *const bindings::vfio_device_ops,
    ) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self { size, dev, ops }
    }

    /// Allocates the driver's structure, which is zeroed but for the first members. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EINVAL` (and a warning) if the structure is too small to begin with a device.
    /// - `ENOMEM`.
    pub(crate) fn allocate(&self) -> Result<Allocated> {
        if kernel::warn_on!(self.size < size_of::<bindings::vfio_device>()) {
            return Err(EINVAL);
        }
        // SAFETY: There are no safety requirements.
        let object = unsafe { bindings::vfio_rs_kvzalloc(self.size) };
        let object = NonNull::new(object.cast::<bindings::vfio_device>()).ok_or(ENOMEM)?;
        // SAFETY: The object is new and zeroed, and was checked to be large enough for a device.
        unsafe {
            let object = object.as_ptr();
            (*object).dev = self.dev;
            (*object).ops = self.ops;
            bindings::init_completion(&raw mut (*object).comp);
        }
        Ok(Allocated(object.cast()))
    }
}

/// A pointer to a device, for C drivers.
pub(crate) type RawDevice = *mut bindings::vfio_device;

/// The memory of a device to which there is no reference. Dropping it frees the memory.
///
/// # Invariants
///
/// The memory came from `kvzalloc()` and begins with a device. This value owns it.
pub(crate) struct Allocated(NonNull<Device>);

impl Allocated {
    /// Takes back the memory of a device to which the last reference was dropped.
    ///
    /// # Safety
    ///
    /// Nobody may use `device` any more, except through the result, and the memory must be taken
    /// back only once.
    pub(crate) unsafe fn reclaim(device: &Device) -> Self {
        // INVARIANT: `Device` values come from `Blueprint::allocate` only. For the rest see the
        // safety requirements of this function.
        Self(device.into())
    }

    /// Sets the index of the device.
    pub(crate) fn set_index(&mut self, index: u32) {
        // SAFETY: By the type invariants this value owns the memory, so nobody else reads it.
        unsafe { (*self.as_raw()).index = index };
    }

    /// Initialises the `struct device` in the device, which counts references from now on. Returns
    /// the device with one reference. `L::release` is called when the last reference is dropped.
    pub(crate) fn into_counted<L: Lifecycle>(self, class: ClassHandle) -> RawDevice {
        let dev = self.own_device();
        // SAFETY: By the type invariants this value owns the memory. The `struct device` is zeroed
        // still, as `device_initialize()` requires: nobody else has written it.
        unsafe {
            bindings::device_initialize(dev);
            (*dev).release = Some(release::<L>);
            (*dev).class = class.as_ptr();
            (*dev).parent = self.bus_device_raw();
        }
        let raw = self.as_raw();
        core::mem::forget(self);
        raw
    }
}

impl core::ops::Deref for Allocated {
    type Target = Device;

    fn deref(&self) -> &Device {
        // SAFETY: By the type invariants the memory is a device, and is valid as long as `self`.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Allocated {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value owns the memory, which came from `kvzalloc()`.
        unsafe { bindings::kvfree(self.0.as_ptr().cast()) };
    }
}

/// Access to the members of a device that the lock of its set protects. The lock is held as long as
/// this value exists.
pub(crate) struct OpenState<'a> {
    device: &'a Device,
    _guard: Guard<'a, (), MutexBackend>,
}

impl<'a> OpenState<'a> {
    /// Returns the device.
    pub(crate) fn device(&self) -> &'a Device {
        self.device
    }

    /// Returns the number of files that have the device open.
    pub(crate) fn open_count(&self) -> u32 {
        // SAFETY: `self` holds the lock that protects the member.
        unsafe { (*self.device.as_raw()).open_count }
    }

    /// Sets the number of files that have the device open. Drivers read it with the lock or
    /// without.
    pub(crate) fn set_open_count(&mut self, count: u32) {
        // SAFETY: `self` holds the lock that protects the member. The write is volatile because
        // others may read the member without the lock.
        unsafe { (&raw mut (*self.device.as_raw()).open_count).write_volatile(count) };
    }

    /// Clears the opt-in to version 2 of the pre-copy information. Called at the last close, when
    /// no ioctl can set it.
    pub(crate) fn clear_precopy_info_v2(&mut self) {
        // SAFETY: The member is one byte, which nobody else accesses while the device is not open.
        unsafe { (*self.device.as_raw()).precopy_info_v2 = 0 };
    }
}

/// The registration count of the device (`vfio_device.refcount` and `vfio_device.comp`).
///
/// The count starts at 0. Registration sets it to 1, and each open file adds 1. When it drops to 0,
/// the task that unregisters the device goes on.
impl Device {
    /// Sets the count to 1, so that files can be opened.
    pub(crate) fn start_registration(&self) {
        // SAFETY: The object is valid, being a reference, and the member is an atomic `refcount_t`.
        unsafe { bindings::refcount_set(&raw mut (*self.as_raw()).refcount, 1) };
    }

    /// Adds 1 to the count unless it is 0, and returns whether it did. The count is 0 if the device
    /// is not, or no longer, registered. Does not sleep.
    #[doc(alias = "vfio_device_try_get_registration")]
    pub(crate) fn try_get_registration(&self) -> bool {
        // SAFETY: The object is valid, being a reference, and the member is an atomic `refcount_t`.
        unsafe { bindings::vfio_rs_refcount_inc_not_zero(&raw mut (*self.as_raw()).refcount) }
    }

    /// Subtracts 1 from the count. If it drops to 0, wakes the task that unregisters the device.
    /// Does not sleep.
    ///
    /// # Safety
    ///
    /// The caller must own one count. It must not use the device afterwards unless something else
    /// keeps it valid.
    #[doc(alias = "vfio_device_put_registration")]
    pub(crate) unsafe fn put_registration(&self) {
        // SAFETY: By the safety requirements of this function the caller owns one count, so the
        // device is registered until the decrement, and is not freed before the task that
        // unregisters it has seen the completion, which was initialised at allocation.
        unsafe {
            if bindings::refcount_dec_and_test(&raw mut (*self.as_raw()).refcount) {
                bindings::complete(&raw mut (*self.as_raw()).comp);
            }
        }
    }

    /// Returns whether the count has dropped to 0. If so, another wait would not return. Does not
    /// sleep.
    pub(crate) fn is_unused(&self) -> bool {
        // SAFETY: The completion was initialised when the device was allocated, and is valid as
        // long as the device.
        unsafe { bindings::try_wait_for_completion(&raw mut (*self.as_raw()).comp) }
    }

    /// Waits up to `jiffies` jiffies for the count to drop to 0, and returns whether it did.
    /// Signals do not end the wait. Sleeps.
    pub(crate) fn wait_unused(&self, jiffies: usize) -> bool {
        // SAFETY: The completion was initialised when the device was allocated, and is valid as
        // long as the device.
        unsafe {
            bindings::wait_for_completion_timeout(&raw mut (*self.as_raw()).comp, jiffies) != 0
        }
    }

    /// Waits up to `jiffies` jiffies for the count to drop to 0, and returns whether it did. A
    /// signal ends the wait. Sleeps.
    ///
    /// # Errors
    ///
    /// `ERESTARTSYS` if a signal ended the wait.
    pub(crate) fn wait_unused_interruptible(&self, jiffies: usize) -> Result<bool> {
        // SAFETY: The completion was initialised when the device was allocated, and is valid as
        // long as the device.
        let left = unsafe {
            bindings::wait_for_completion_interruptible_timeout(
                &raw mut (*self.as_raw()).comp,
                jiffies,
            )
        };
        if left < 0 {
            return Err(ERESTARTSYS);
        }
        Ok(left > 0)
    }
}

/// One count of the registration of a device. Dropping it subtracts the count.
///
/// # Invariants
///
/// This value owns one count, so the device is registered and valid as long as it exists.
pub(crate) struct Registered(NonNull<Device>);

// SAFETY: A `Device` may be shared between threads, and the count is atomic.
unsafe impl Send for Registered {}
// SAFETY: As above.
unsafe impl Sync for Registered {}

impl Registered {
    /// Takes a count, or returns none if the device is not, or no longer, registered.
    pub(crate) fn get(device: &Device) -> Option<Self> {
        // INVARIANT: The count was taken if the method returned true.
        device.try_get_registration().then(|| Self(device.into()))
    }
}

impl core::ops::Deref for Registered {
    type Target = Device;

    fn deref(&self) -> &Device {
        // SAFETY: By the type invariants the device is valid.
        unsafe { self.0.as_ref() }
    }
}

// SAFETY: The pointer is that of a device, and so not null and aligned for it.
#[cfg(CONFIG_VFIO_GROUP)]
unsafe impl ForeignOwnable for Registered {
    const FOREIGN_ALIGN: usize = core::mem::align_of::<Device>();
    type Borrowed<'a> = &'a Device;
    type BorrowedMut<'a> = &'a Device;

    fn into_foreign(self) -> *mut c_void {
        ManuallyDrop::new(self).0.as_ptr().cast()
    }

    unsafe fn from_foreign(ptr: *mut c_void) -> Self {
        // SAFETY: By the safety requirements of this function the pointer came from `into_foreign`,
        // and is not null.
        // INVARIANT: `into_foreign` did not subtract the count.
        Self(unsafe { NonNull::new_unchecked(ptr.cast()) })
    }

    unsafe fn borrow<'a>(ptr: *mut c_void) -> &'a Device {
        // SAFETY: By the safety requirements of this function the pointer came from `into_foreign`
        // and is not taken back during `'a`, so there is a count that keeps the device.
        unsafe { &*ptr.cast() }
    }

    unsafe fn borrow_mut<'a>(ptr: *mut c_void) -> &'a Device {
        // SAFETY: The safety requirements of this function include those of `borrow`.
        unsafe { Self::borrow(ptr) }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value owns one count. The device is not used
        // afterwards.
        unsafe { self.0.as_ref().put_registration() };
    }
}
