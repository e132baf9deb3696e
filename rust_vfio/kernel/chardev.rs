// SPDX-License-Identifier: GPL-2.0

//! Character devices with a class: regions of device numbers, classes, and reference counted
//! objects that consist of a `struct device`, a `struct cdev` and a Rust value.
//!
//! In the kernel crate: a module `kernel::chardev` with these types; `kernel::class` would get an
//! owned class. Only misc devices exist there (`kernel::miscdevice`).
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
    types::{
        ForeignOwnable,
        Opaque, //
    }, //
};

use crate::{
    bindings,
    kernel::fops::{
        FileOps,
        FopsTable,
        Inode, //
    }, //
};

/// The number of bits of a device number that are the minor.
const MINORBITS: u32 = 20;

/// A region of device numbers: all 2^20 minors of a major that the kernel chose. Dropping it
/// unregisters them.
///
/// # Invariants
///
/// The numbers are registered, and this value owns them.
pub(crate) struct Region(RegionHandle);

/// A borrowed region.
#[derive(Clone, Copy)]
pub(crate) struct RegionHandle {
    first: bindings::dev_t,
}

impl RegionHandle {
    /// Returns the device number of `minor`, which must be less than 2^20.
    pub(crate) fn devt(self, minor: u32) -> bindings::dev_t {
        self.first | minor
    }
}

impl Region {
    /// Registers a region, which is called `name` in `/proc/devices`. Sleeps.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`.
    /// - `EBUSY` if no major is free.
    #[doc(alias = "alloc_chrdev_region")]
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        let mut first = 0;
        // SAFETY: `first` is valid for writing, and the name is static.
        to_result(unsafe {
            bindings::alloc_chrdev_region(&mut first, 0, 1 << MINORBITS, name.as_char_ptr())
        })?;
        // INVARIANT: Registered above.
        Ok(Self(RegionHandle { first }))
    }

    /// Borrows the region. The caller must not use the result after `self` is dropped.
    pub(crate) fn handle(&self) -> RegionHandle {
        self.0
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: By the type invariants these numbers are registered and owned by this value.
        unsafe { bindings::unregister_chrdev_region(self.0.first, 1 << MINORBITS) };
    }
}

/// A class of devices (`/sys/class/<name>`). Dropping it removes the class.
pub(crate) struct Class(NonNull<bindings::class>);

// SAFETY: Any thread may use a class; the driver core locks it.
unsafe impl Send for Class {}
// SAFETY: As above.
unsafe impl Sync for Class {}

/// Where the device nodes of a class are.
pub(crate) trait NodePath {
    /// The path of a device node below `/dev`: a format with one `%s` for the name of the device.
    const FORMAT: &'static CStr;
}

impl Class {
    /// Creates a class whose devices get device nodes with the default path and mode. Sleeps.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`.
    /// - `EEXIST` if there is a class of this name.
    #[doc(alias = "class_create")]
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: The name is a NUL-terminated string, and static.
        let class = from_err_ptr(unsafe { bindings::class_create(name.as_char_ptr()) })?;
        Ok(Self(NonNull::new(class).ok_or(ENOMEM)?))
    }

    /// Creates a class whose devices get device nodes at the path `P`. Sleeps.
    ///
    /// # Errors
    ///
    /// As for [`Class::new`].
    pub(crate) fn with_nodes<P: NodePath>(name: &'static CStr) -> Result<Self> {
        let class = Self::new(name)?;
        // SAFETY: No device of this class exists yet, so nobody reads the member.
        unsafe { (*class.0.as_ptr()).devnode = Some(devnode::<P>) };
        Ok(class)
    }

    /// Borrows the class. The caller must not use the result after `self` is dropped.
    pub(crate) fn handle(&self) -> ClassHandle {
        ClassHandle(self.0)
    }
}

/// A borrowed class.
#[derive(Clone, Copy)]
pub(crate) struct ClassHandle(NonNull<bindings::class>);

// SAFETY: Any thread may use a class; the driver core locks it.
unsafe impl Send for ClassHandle {}
// SAFETY: As above.
unsafe impl Sync for ClassHandle {}

impl ClassHandle {
    /// Returns the C object.
    pub(crate) fn as_ptr(self) -> *mut bindings::class {
        self.0.as_ptr()
    }
}

impl Drop for Class {
    fn drop(&mut self) {
        // SAFETY: The class was created by `new`. It has no devices any more: it is dropped when
        // the module is unloaded, and until then the drivers of the devices hold references to the
        // module.
        unsafe { bindings::class_destroy(self.0.as_ptr()) };
    }
}

/// Returns the path of the device node of `dev`, in memory of `kmalloc()`, or null.
///
/// # Safety
///
/// Must be called by the driver core with a named device of a class of [`Class::with_nodes`].
unsafe extern "C" fn devnode<P: NodePath>(
    dev: *const bindings::device,
    _mode: *mut bindings::umode_t,
) -> *mut kernel::ffi::c_char {
    // SAFETY: By the safety requirements of this function the device is valid and has a name. The
    // format takes one string, as `NodePath::FORMAT` demands.
    unsafe {
        bindings::kasprintf(
            bindings::GFP_KERNEL,
            P::FORMAT.as_char_ptr(),
            bindings::dev_name(dev),
        )
    }
}

/// An object that is a device with a character device.
///
/// References are counted in its `struct device`. An open file holds a reference, by way of the
/// `struct cdev`. The object is freed with the last reference.
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

// SAFETY: Any thread may use the C parts, which the driver core locks, and drop the value.
unsafe impl<T: Send> Send for CharDevice<T> {}
// SAFETY: Any thread may use the C parts, which the driver core locks, and share the value.
unsafe impl<T: Sync> Sync for CharDevice<T> {}

// SAFETY: References are counted in the embedded device, whose release callback frees the object.
unsafe impl<T> AlwaysRefCounted for CharDevice<T> {
    fn inc_ref(&self) {
        // SAFETY: The device was initialised by `new`, the only constructor.
        unsafe { bindings::get_device(self.dev.get()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: By the safety requirements of this function the caller owns a reference, so the
        // object is valid.
        unsafe { bindings::put_device((&raw mut (*obj.as_ptr()).dev).cast()) };
    }
}

impl<T: 'static> CharDevice<T> {
    /// Creates an object with the device number `devt`. User space does not see it before
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
                // SAFETY: `ffi_init` passes a slot that is valid for writing. The table is static.
                cdev <- Opaque::ffi_init(|slot| unsafe {
                    bindings::cdev_init(slot, fops.as_ptr());
                    (*slot).owner = kernel::module::this_module::<crate::LocalModule>().as_ptr();
                }),
                data <- data,
            }),
            GFP_KERNEL,
        )?;
        // SAFETY: The object does not move from here on: it is reached through counted references
        // only, and dropped in place.
        let object = KBox::into_raw(unsafe { Pin::into_inner_unchecked(object) });
        // SAFETY: The device is zeroed, as `device_initialize()` requires, and nobody else sees it.
        // From here on it is freed by its release callback only. The pointer of a box is not null,
        // and the result takes over the reference that `device_initialize()` created.
        unsafe {
            let dev = (*object).dev.get();
            bindings::device_initialize(dev);
            (*dev).devt = devt;
            (*dev).class = class.as_ptr();
            (*dev).release = Some(Self::release);
            Ok(ARef::from_raw(NonNull::new_unchecked(object)))
        }
    }

    /// Frees the object.
    ///
    /// # Safety
    ///
    /// Must be called by the driver core when the last reference to `dev`, a device of
    /// [`Self::new`], is dropped.
    unsafe extern "C" fn release(dev: *mut bindings::device) {
        // SAFETY: `dev` is the first member of an object that came from a `KBox` and is pinned. By
        // the safety requirements of this function nobody refers to it any more.
        drop(unsafe { Pin::new_unchecked(KBox::from_raw(dev.cast::<Self>())) });
    }

    /// Sets the name of the device to `prefix` followed by `number`. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn set_name(&self, prefix: &CStr, number: i32) -> Result {
        // SAFETY: The device was initialised by `new`. The format takes a string and an int.
        to_result(unsafe {
            bindings::dev_set_name(
                self.dev.get(),
                c"%s%d".as_char_ptr(),
                prefix.as_char_ptr(),
                number,
            )
        })
    }

    /// Adds the device to sysfs and creates its device node. The device must have a name. Sleeps.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`.
    /// - `EINVAL` if the device has no name.
    /// - `EEXIST` if there is a device of this name, or any other errno of sysfs.
    #[doc(alias = "cdev_device_add")]
    pub(crate) fn publish(&self) -> Result {
        // SAFETY: `new` initialised both objects. A device without a name is an error.
        to_result(unsafe { bindings::cdev_device_add(self.cdev.get(), self.dev.get()) })
    }

    /// Removes the device from sysfs, and its device node; undoes [`CharDevice::publish`]. Open
    /// files stay open. Sleeps.
    #[doc(alias = "cdev_device_del")]
    pub(crate) fn unpublish(&self) {
        // SAFETY: The only caller has published the device.
        unsafe { bindings::cdev_device_del(self.cdev.get(), self.dev.get()) };
    }

    /// Returns the object whose device node is being opened.
    ///
    /// # Safety
    ///
    /// The inode must be that of the device node of a `CharDevice<T>` with the same `T`. If the
    /// result outlives the call of open, then as what the file owns.
    pub(crate) unsafe fn from_inode(inode: &Inode) -> NodeRef<T> {
        let cdev = inode.cdev();
        // SAFETY: By the safety requirements of this function the cdev is a member of a `Self`. The
        // VFS has a reference to it during the call of open.
        let object = unsafe { cdev.byte_sub(offset_of!(Self, cdev)).cast::<Self>() };
        // SAFETY: A member of an object is not at the address 0, nor is the object.
        // INVARIANT: By the safety requirements of this function the file owns the result, so it is
        // gone when its release callback has returned.
        NodeRef(unsafe { NonNull::new_unchecked(object) })
    }
}

/// The object behind the device node of an open file.
///
/// It counts nothing: an open file of a device node has a reference to the `struct cdev`, and that
/// one to the object.
///
/// # Invariants
///
/// The file is being opened, or open, or its release callback runs.
pub(crate) struct NodeRef<T>(NonNull<CharDevice<T>>);

// SAFETY: It is as good as a reference to the object.
unsafe impl<T: Send + Sync> Send for NodeRef<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for NodeRef<T> {}

impl<T> Deref for NodeRef<T> {
    type Target = CharDevice<T>;

    fn deref(&self) -> &CharDevice<T> {
        // SAFETY: The VFS gives the reference of the file to the cdev back after the release
        // callback has returned. By the type invariants it has not.
        unsafe { self.0.as_ref() }
    }
}

// SAFETY: The pointer is that of a `CharDevice`, which is aligned for it.
unsafe impl<T: 'static> ForeignOwnable for NodeRef<T> {
    const FOREIGN_ALIGN: usize = core::mem::align_of::<CharDevice<T>>();
    type Borrowed<'a> = &'a CharDevice<T>;
    type BorrowedMut<'a> = &'a CharDevice<T>;

    fn into_foreign(self) -> *mut c_void {
        self.0.as_ptr().cast()
    }

    unsafe fn from_foreign(ptr: *mut c_void) -> Self {
        // SAFETY: By the safety requirements of this function the pointer came from `into_foreign`,
        // and is not null.
        // INVARIANT: For the pointer that it came from, and for the same file.
        Self(unsafe { NonNull::new_unchecked(ptr.cast()) })
    }

    unsafe fn borrow<'a>(ptr: *mut c_void) -> &'a CharDevice<T> {
        // SAFETY: By the safety requirements of this function the pointer came from `into_foreign`
        // and is not taken back during `'a`. Until then it is valid by the type invariants.
        unsafe { &*ptr.cast() }
    }

    unsafe fn borrow_mut<'a>(ptr: *mut c_void) -> &'a CharDevice<T> {
        // SAFETY: The safety requirements of this function include those of `borrow`.
        unsafe { Self::borrow(ptr) }
    }
}

impl<T> Deref for CharDevice<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}
