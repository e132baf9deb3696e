// SPDX-License-Identifier: GPL-2.0

//! Character devices with a class: regions of device numbers, classes, and objects that are
//! themselves a `struct device` and a `struct cdev`.
//!
//! C headers: `include/linux/fs.h`, `include/linux/device/class.h`, `include/linux/cdev.h`.

use core::{
    mem::offset_of,
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    str::CStr,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque, //
};

use crate::{
    bindings,
    kernel::fops::{
        FileOps,
        FopsTable,
        Inode, //
    }, //
};

/// Bits of a device number that are the minor.
const MINORBITS: u32 = 20;

/// All 2^20 minors of a major that the kernel chose. Dropping it gives them back.
pub(crate) struct Region(RegionHandle);

/// A region that somebody else owns.
#[derive(Clone, Copy)]
pub(crate) struct RegionHandle {
    first: bindings::dev_t,
}

impl RegionHandle {
    /// The device number of `minor`.
    pub(crate) fn devt(self, minor: u32) -> bindings::dev_t {
        self.first | minor
    }
}

impl Region {
    /// Registers a region; `name` shows in `/proc/devices`.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        let mut first = 0;
        // SAFETY: `first` is valid for writing and the name is static.
        to_result(unsafe {
            bindings::alloc_chrdev_region(&mut first, 0, 1 << MINORBITS, name.as_char_ptr())
        })?;
        Ok(Self(RegionHandle { first }))
    }

    /// The region, for making nodes. It must not be used when `self` is gone.
    pub(crate) fn handle(&self) -> RegionHandle {
        self.0
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: The region was registered with these values.
        unsafe { bindings::unregister_chrdev_region(self.0.first, 1 << MINORBITS) };
    }
}

/// A class of devices, `/sys/class/<name>`. Dropping it removes it.
pub(crate) struct Class(NonNull<bindings::class>);

// SAFETY: The C object has its own locks.
unsafe impl Send for Class {}
// SAFETY: As above.
unsafe impl Sync for Class {}

/// Names a device's node below `/dev`: a format with one `%s` for the device's name.
pub(crate) trait NodePath {
    /// The format.
    const FORMAT: &'static CStr;
}

impl Class {
    /// Creates a class whose devices get nodes of the default place and mode.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: The name is static.
        let class = from_err_ptr(unsafe { bindings::class_create(name.as_char_ptr()) })?;
        Ok(Self(NonNull::new(class).ok_or(ENOMEM)?))
    }

    /// Creates a class whose devices get nodes as `P` says.
    pub(crate) fn with_nodes<P: NodePath>(name: &'static CStr) -> Result<Self> {
        let class = Self::new(name)?;
        // SAFETY: No device of this class exists yet, so nobody reads the member.
        unsafe { (*class.0.as_ptr()).devnode = Some(devnode::<P>) };
        Ok(class)
    }

    /// The class, for making devices. It must not be used when `self` is gone.
    pub(crate) fn handle(&self) -> ClassHandle {
        ClassHandle(self.0)
    }
}

/// A class that somebody else owns.
#[derive(Clone, Copy)]
pub(crate) struct ClassHandle(NonNull<bindings::class>);

// SAFETY: The C object has its own locks.
unsafe impl Send for ClassHandle {}
// SAFETY: As above.
unsafe impl Sync for ClassHandle {}

impl ClassHandle {
    /// The C class.
    pub(crate) fn as_ptr(self) -> *mut bindings::class {
        self.0.as_ptr()
    }
}

impl Drop for Class {
    fn drop(&mut self) {
        // SAFETY: The class was created by `new` and has no devices any more: the module that owns
        // it is about to go, and each device pins the module.
        unsafe { bindings::class_destroy(self.0.as_ptr()) };
    }
}

/// # Safety
///
/// Called by the driver core for a device of a class made by [`Class::with_nodes`].
unsafe extern "C" fn devnode<P: NodePath>(
    dev: *const bindings::device,
    _mode: *mut bindings::umode_t,
) -> *mut kernel::ffi::c_char {
    // SAFETY: The device is valid, so its name is; the format takes one string.
    unsafe {
        bindings::kasprintf(
            bindings::GFP_KERNEL,
            P::FORMAT.as_char_ptr(),
            bindings::dev_name(dev),
        )
    }
}

/// An object that is a device with a character-device node.
///
/// It is counted by the reference count of its `struct device`, which an open file holds through
/// the `struct cdev`, and freed with the last reference.
#[pin_data]
#[repr(C)]
pub(crate) struct CharDevice<T> {
    #[pin]
    dev: Opaque<bindings::device>,
    #[pin]
    cdev: Opaque<bindings::cdev>,
    #[pin]
    data: T,
}

// SAFETY: The C parts have their own locks.
unsafe impl<T: Send> Send for CharDevice<T> {}
// SAFETY: As above.
unsafe impl<T: Sync> Sync for CharDevice<T> {}

// SAFETY: The count is that of the embedded device, whose release callback frees the object.
unsafe impl<T> AlwaysRefCounted for CharDevice<T> {
    fn inc_ref(&self) {
        // SAFETY: The device was initialised by `new`.
        unsafe { bindings::get_device(self.dev.get()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller owns a reference, so the object is valid.
        unsafe { bindings::put_device((&raw mut (*obj.as_ptr()).dev).cast()) };
    }
}

impl<T: 'static> CharDevice<T> {
    /// Creates the object with the device number `devt`; nobody else sees it until
    /// [`CharDevice::publish`].
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(
        class: ClassHandle,
        devt: bindings::dev_t,
        fops: &'static FopsTable<Self>,
        data: impl PinInit<T>,
    ) -> Result<ARef<Self>>
    where
        Self: FileOps,
    {
        let object = KBox::pin_init(
            pin_init!(Self {
                dev: Opaque::zeroed(),
                // SAFETY: The slot is valid for writing.
                cdev <- Opaque::ffi_init(|slot| unsafe {
                    bindings::cdev_init(slot, fops.as_ptr());
                    (*slot).owner = kernel::module::this_module::<crate::LocalModule>().as_ptr();
                }),
                data <- data,
            }),
            GFP_KERNEL,
        )?;
        // SAFETY: The object does not move: it is only reached through counted references.
        let object = KBox::into_raw(unsafe { Pin::into_inner_unchecked(object) });
        // SAFETY: The device is zeroed, and from here on freed by its release callback only.
        unsafe {
            let dev = (*object).dev.get();
            bindings::device_initialize(dev);
            (*dev).devt = devt;
            (*dev).class = class.as_ptr();
            (*dev).release = Some(Self::release);
            Ok(ARef::from_raw(NonNull::new_unchecked(object)))
        }
    }

    /// # Safety
    ///
    /// Called by the driver core when the last reference to `dev`, a device of [`Self::new`], is
    /// gone.
    unsafe extern "C" fn release(dev: *mut bindings::device) {
        // SAFETY: `dev` is the first member of an object that came from a `KBox`.
        drop(unsafe { Pin::new_unchecked(KBox::from_raw(dev.cast::<Self>())) });
    }

    /// Names the device: `prefix` followed by `number`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn set_name(&self, prefix: &CStr, number: i32) -> Result {
        // SAFETY: The format takes a string and an int.
        to_result(unsafe {
            bindings::dev_set_name(
                self.dev.get(),
                c"%s%d".as_char_ptr(),
                prefix.as_char_ptr(),
                number,
            )
        })
    }

    /// Makes the device and its node visible.
    pub(crate) fn publish(&self) -> Result {
        // SAFETY: Both objects are initialised and the device has a name.
        to_result(unsafe { bindings::cdev_device_add(self.cdev.get(), self.dev.get()) })
    }

    /// Takes the device and its node away. Files that are open stay open.
    pub(crate) fn unpublish(&self) {
        // SAFETY: The device was published.
        unsafe { bindings::cdev_device_del(self.cdev.get(), self.dev.get()) };
    }

    /// The object whose node is being opened.
    ///
    /// # Safety
    ///
    /// The inode must stand for a `CharDevice<T>` with this very `T`.
    pub(crate) unsafe fn from_inode(inode: &Inode) -> ARef<Self> {
        let cdev = inode.cdev();
        // SAFETY: By the contract of this function the cdev is a member of a `Self`, and the
        // character device's core holds a reference to it during the open call.
        unsafe {
            let object = cdev.byte_sub(offset_of!(Self, cdev)).cast::<Self>();
            ARef::from(&*object)
        }
    }
}

impl<T> Deref for CharDevice<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}
