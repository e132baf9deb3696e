// SPDX-License-Identifier: GPL-2.0

//! A view of `struct vfio_device`.
//!
//! The structure belongs to C: drivers embed it at offset 0 of their own, the core allocates and
//! frees it, and both sides read and write its members. So there is never a Rust reference to the
//! C object itself, only [`Device`], which projects single members.
//!
//! Which lock protects what: `open_count`, `kvm` and `put_kvm` belong to the lock of the device
//! set and are reached through [`OpenState`], which holds it. The other members are set before the
//! device is registered, or are counters of their own.
//!
//! C header: `include/linux/vfio.h`.

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

use crate::{
    bindings,
    kernel::chardev::ClassHandle, //
};

/// A VFIO device, as the core, the drivers and this module share it.
#[repr(transparent)]
pub(crate) struct Device(Opaque<bindings::vfio_device>);

// SAFETY: Every member is immutable while shared, atomic, or protected by a lock.
unsafe impl Send for Device {}
// SAFETY: As above.
unsafe impl Sync for Device {}

impl Device {
    /// A view of the C object.
    ///
    /// # Safety
    ///
    /// `ptr` must come from `_vfio_alloc_device()` and stay valid for `'a`.
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::vfio_device) -> &'a Self {
        // SAFETY: By the contract of this function; the type is transparent.
        unsafe { &*ptr.cast() }
    }

    /// The C object.
    pub(crate) fn as_raw(&self) -> *mut bindings::vfio_device {
        self.0.get()
    }

    /// The device of the bus: the PCI function, the mdev.
    pub(crate) fn bus_device(&self) -> &device::Device {
        // SAFETY: `dev` is set when the object is allocated and outlives it: the driver that owns
        // the object is bound to it.
        unsafe { device::Device::from_raw((*self.as_raw()).dev) }
    }

    /// The device of the bus, for the C API.
    pub(crate) fn bus_device_raw(&self) -> *mut bindings::device {
        // SAFETY: `dev` is never written after the object is allocated.
        unsafe { (*self.as_raw()).dev }
    }

    /// The device's own `struct device`, child of the one of the bus.
    pub(crate) fn own_device(&self) -> *mut bindings::device {
        // SAFETY: Projects a member; the object is valid.
        unsafe { &raw mut (*self.as_raw()).device }
    }

    /// The number that names the device: `vfio<index>`.
    pub(crate) fn index(&self) -> u32 {
        // SAFETY: `index` is never written after the object is allocated.
        unsafe { (*self.as_raw()).index }
    }

    /// Names the device: `prefix` followed by its index.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn set_name(&self, prefix: &CStr) -> Result {
        // SAFETY: The device is initialised; the format takes a string and an unsigned.
        to_result(unsafe {
            bindings::dev_set_name(
                self.own_device(),
                c"%s%u".as_char_ptr(),
                prefix.as_char_ptr(),
                self.index(),
            )
        })
    }

    /// Makes the device visible in `/sys`.
    #[cfg(not(CONFIG_VFIO_DEVICE_CDEV))]
    pub(crate) fn publish(&self) -> Result {
        // SAFETY: The device is initialised and named.
        to_result(unsafe { bindings::device_add(self.own_device()) })
    }

    /// Takes the device out of `/sys`.
    #[cfg(not(CONFIG_VFIO_DEVICE_CDEV))]
    pub(crate) fn unpublish(&self) {
        // SAFETY: The device was published.
        unsafe { bindings::device_del(self.own_device()) };
    }

    /// Whether the IOMMU in front of the device has the capability.
    pub(crate) fn iommu_capable(&self, cap: IommuCap) -> bool {
        let cap = match cap {
            IommuCap::CacheCoherency => bindings::iommu_cap_IOMMU_CAP_CACHE_COHERENCY,
            IommuCap::EnforceCacheCoherency => {
                bindings::iommu_cap_IOMMU_CAP_ENFORCE_CACHE_COHERENCY
            }
        };
        // SAFETY: The device of the bus is valid.
        unsafe { bindings::device_iommu_capable(self.bus_device_raw(), cap) }
    }

    /// Whether an IOMMU driver looks after the device.
    #[cfg(CONFIG_IOMMUFD_NOIOMMU)]
    pub(crate) fn has_iommu(&self) -> bool {
        // SAFETY: The device of the bus is valid and has been probed, which is when the member is
        // set.
        unsafe { !(*self.bus_device_raw()).iommu.is_null() }
    }

    /// Marks the device as one without IOMMU. Called before the device is registered.
    #[cfg(CONFIG_IOMMUFD_NOIOMMU)]
    pub(crate) fn mark_noiommu(&self) {
        // SAFETY: Nobody else sees the device yet, so the other bits of the byte do not change.
        unsafe { bindings::vfio_device::set_noiommu_raw(self.as_raw(), 1) };
    }

    /// Whether [`Device::mark_noiommu`] was called.
    pub(crate) fn is_marked_noiommu(&self) -> bool {
        // SAFETY: The bit is written before the device is registered only.
        unsafe { bindings::vfio_device::noiommu_raw(self.as_raw()) != 0 }
    }

    /// The pointer that `vfio_device.group` holds. Its type is the group layer's business.
    #[cfg(CONFIG_VFIO_GROUP)]
    pub(crate) fn group_ptr(&self) -> *mut bindings::vfio_group {
        // SAFETY: An aligned word; volatile because drivers may ask about a device that is just
        // being unregistered.
        unsafe { (&raw const (*self.as_raw()).group).read_volatile() }
    }

    /// Sets `vfio_device.group`. Called while the device is registered or unregistered.
    #[cfg(CONFIG_VFIO_GROUP)]
    pub(crate) fn set_group_ptr(&self, group: *mut bindings::vfio_group) {
        // SAFETY: An aligned word, and nobody else writes it.
        unsafe { (&raw mut (*self.as_raw()).group).write_volatile(group) };
    }

    /// Prints the path of the bus device below `/sys` to `m`, or nothing if memory is short.
    pub(crate) fn print_sysfs_path(&self, m: &SeqFile) {
        // SAFETY: The device of the bus is valid.
        let path = unsafe {
            let kobj = &raw const (*self.bus_device_raw()).kobj;
            bindings::kobject_get_path(kobj, bindings::GFP_KERNEL)
        };
        if path.is_null() {
            return;
        }
        // SAFETY: The path is a NUL-terminated string, and this function's own.
        let text = unsafe { CStr::from_char_ptr(path) };
        seq_print!(m, "vfio-device-syspath: /sys{}\n", text);
        // SAFETY: The path was allocated with `kmalloc` and is not used any more.
        unsafe { bindings::kfree(path.cast()) };
    }

    /// How many files share the open session, for a glance without the set's lock.
    pub(crate) fn peek_open_count(&self) -> u32 {
        // SAFETY: An aligned word; the volatile read keeps the compiler from assuming that nobody
        // else writes it.
        unsafe { (&raw const (*self.as_raw()).open_count).read_volatile() }
    }

    /// Locks the device set and gives access to what its lock protects.
    pub(crate) fn lock_set(&self) -> OpenState<'_> {
        // SAFETY: A registered device is in a set until it is freed; the lock was initialised when
        // the set was made. A `Lock<()>` is laid out like the C mutex.
        let lock = unsafe {
            Lock::<(), MutexBackend>::from_raw(&raw mut (*(*self.as_raw()).dev_set).lock)
        };
        OpenState {
            device: self,
            _guard: lock.lock(),
        }
    }
}

/// What happens at the end of a device's life.
pub(crate) trait Lifecycle {
    /// The last reference is gone; the device must be freed.
    fn release(device: &Device);
}

/// # Safety
///
/// Called by the driver core when the last reference to the own device of a VFIO device is gone.
unsafe extern "C" fn release<L: Lifecycle>(own: *mut bindings::device) {
    let device = own.wrapping_byte_sub(offset_of!(bindings::vfio_device, device));
    // SAFETY: `own` is a member of a device, which is valid until it is freed.
    L::release(unsafe { Device::from_raw(device.cast()) });
}

/// What a driver asks for when it allocates a device: the size of its structure, which begins with
/// the device, the device of the bus, and its callbacks.
///
/// # Invariants
///
/// Both pointers are valid as long as the device.
pub(crate) struct Blueprint {
    size: usize,
    dev: *mut bindings::device,
    ops: *const bindings::vfio_device_ops,
}

impl Blueprint {
    /// A request for a device.
    ///
    /// # Safety
    ///
    /// `dev` and `ops` must be valid as long as the device.
    pub(crate) unsafe fn new(
        size: usize,
        dev: *mut bindings::device,
        ops: *const bindings::vfio_device_ops,
    ) -> Self {
        // INVARIANT: By the contract of this function.
        Self { size, dev, ops }
    }

    /// Allocates the zeroed structure.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` (and a warning) if the structure is too small to begin with a device.
    pub(crate) fn allocate(&self) -> Result<Allocated> {
        if kernel::warn_on!(self.size < size_of::<bindings::vfio_device>()) {
            return Err(EINVAL);
        }
        // SAFETY: A function without requirements.
        let object = unsafe { bindings::vfio_rs_kvzalloc(self.size) };
        let object = NonNull::new(object.cast::<bindings::vfio_device>()).ok_or(ENOMEM)?;
        // SAFETY: The object is new, zeroed and large enough.
        unsafe {
            let object = object.as_ptr();
            (*object).dev = self.dev;
            (*object).ops = self.ops;
            bindings::init_completion(&raw mut (*object).comp);
        }
        Ok(Allocated(object.cast()))
    }
}

/// A device, as C drivers want it.
pub(crate) type RawDevice = *mut bindings::vfio_device;

/// The memory of a device that nobody refers to. Dropping it frees it.
pub(crate) struct Allocated(NonNull<Device>);

impl Allocated {
    /// The memory of a device of which the last reference is gone.
    ///
    /// # Safety
    ///
    /// Nobody may use `device` any more, except through the result.
    pub(crate) unsafe fn reclaim(device: &Device) -> Self {
        Self(device.into())
    }

    /// Sets the number that names the device.
    pub(crate) fn set_index(&mut self, index: u32) {
        // SAFETY: The memory is this value's.
        unsafe { (*self.as_raw()).index = index };
    }

    /// Gives the memory to the reference count of the device's own `struct device`. `L::release`
    /// is called when the last reference is gone.
    pub(crate) fn into_counted<L: Lifecycle>(self, class: ClassHandle) -> RawDevice {
        let dev = self.own_device();
        // SAFETY: The object is new and zeroed, and nobody else sees it.
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
        // SAFETY: The memory is this value's.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Allocated {
    fn drop(&mut self) {
        // SAFETY: The memory came from `vfio_rs_kvzalloc`, and nobody uses it any more.
        unsafe { bindings::kvfree(self.0.as_ptr().cast()) };
    }
}

/// A property of the IOMMU in front of a device.
pub(crate) enum IommuCap {
    /// DMA is cache coherent as far as the device asks for it.
    CacheCoherency,
    /// DMA can be made coherent whatever the device asks for.
    EnforceCacheCoherency,
}

/// The members of a device that the lock of its set protects. The lock is held.
pub(crate) struct OpenState<'a> {
    device: &'a Device,
    _guard: Guard<'a, (), MutexBackend>,
}

impl<'a> OpenState<'a> {
    /// The device.
    pub(crate) fn device(&self) -> &'a Device {
        self.device
    }

    /// How many files share the open session.
    pub(crate) fn open_count(&self) -> u32 {
        // SAFETY: The lock is held.
        unsafe { (*self.device.as_raw()).open_count }
    }

    /// Sets the number of files. Drivers read it, with or without the lock.
    pub(crate) fn set_open_count(&mut self, count: u32) {
        // SAFETY: The lock is held; volatile for those who read without it.
        unsafe { (&raw mut (*self.device.as_raw()).open_count).write_volatile(count) };
    }

    /// Forgets the opt-in to the second version of the precopy information.
    pub(crate) fn clear_precopy_info_v2(&mut self) {
        // SAFETY: The lock is held and the device is being closed.
        unsafe { (*self.device.as_raw()).precopy_info_v2 = 0 };
    }
}

/// How often the device is in use.
///
/// The count starts at 0; registration sets it to 1, every file adds 1. When it drops to 0, the
/// task that unregisters the device goes on.
impl Device {
    /// Starts the count at 1: the device is registered.
    pub(crate) fn start_registration(&self) {
        // SAFETY: A C `refcount_t`, and the last step before the device can be found.
        unsafe { bindings::refcount_set(&raw mut (*self.as_raw()).refcount, 1) };
    }

    /// Adds 1 unless the device is not, or no longer, registered.
    pub(crate) fn try_get_registration(&self) -> bool {
        // SAFETY: A C `refcount_t`.
        unsafe { bindings::vfio_rs_refcount_inc_not_zero(&raw mut (*self.as_raw()).refcount) }
    }

    /// Takes 1 away, and wakes the task that unregisters the device when none is left. Does not
    /// sleep.
    ///
    /// # Safety
    ///
    /// The caller must own one count, and must not use the device afterwards unless it has another
    /// reason to know that it is alive.
    pub(crate) unsafe fn put_registration(&self) {
        // SAFETY: A C `refcount_t` of which the caller owns one, and a completion that was
        // initialised when the device was allocated.
        unsafe {
            if bindings::refcount_dec_and_test(&raw mut (*self.as_raw()).refcount) {
                bindings::complete(&raw mut (*self.as_raw()).comp);
            }
        }
    }

    /// Whether the count has dropped to 0; consumes the event.
    pub(crate) fn is_unused(&self) -> bool {
        // SAFETY: The completion was initialised when the device was allocated.
        unsafe { bindings::try_wait_for_completion(&raw mut (*self.as_raw()).comp) }
    }

    /// Waits up to `jiffies` for the count to drop to 0, not minding signals.
    pub(crate) fn wait_unused(&self, jiffies: usize) -> bool {
        // SAFETY: The completion was initialised when the device was allocated.
        unsafe {
            bindings::wait_for_completion_timeout(&raw mut (*self.as_raw()).comp, jiffies) != 0
        }
    }

    /// As [`Device::wait_unused`], but a signal ends it.
    ///
    /// # Errors
    ///
    /// `ERESTARTSYS` after a signal.
    pub(crate) fn wait_unused_interruptible(&self, jiffies: usize) -> Result<bool> {
        // SAFETY: The completion was initialised when the device was allocated.
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

/// One count of the registration of a device; dropping it gives the count back.
///
/// # Invariants
///
/// The device is registered, and so valid, for as long as this value lives.
pub(crate) struct Registered(NonNull<Device>);

// SAFETY: `Device` may be shared between threads, and the count is atomic.
unsafe impl Send for Registered {}
// SAFETY: As above.
unsafe impl Sync for Registered {}

impl Registered {
    /// Takes a count unless the device is not, or no longer, registered.
    pub(crate) fn get(device: &Device) -> Option<Self> {
        // INVARIANT: The count was taken.
        device.try_get_registration().then(|| Self(device.into()))
    }
}

impl core::ops::Deref for Registered {
    type Target = Device;

    fn deref(&self) -> &Device {
        // SAFETY: By the invariant.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // SAFETY: By the invariant this value owns one count, and it is not used afterwards.
        unsafe { self.0.as_ref().put_registration() };
    }
}
