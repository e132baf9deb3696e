// SPDX-License-Identifier: GPL-2.0

//! The files through which a device is saved and restored.
//!
//! A file shares the data with the state machine, which takes them away when the device leaves the
//! state in which they are moved. From then on the file fails with `ENODEV`.

use core::ptr::NonNull;

use kernel::{
    error::{
        from_err_ptr,
        from_result,
        Error, //
    },
    ffi::{
        c_char,
        c_int,
        c_long,
        c_uint,
        c_ulong,
        c_void, //
    },
    fs::File,
    module::this_module,
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        poll::PollTable,
        Arc,
        ArcBorrow,
        Mutex, //
    },
    types::ForeignOwnable,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

use super::arcs::{
    Left,
    Sink,
    Source,
    Support, //
};
use crate::{
    bindings,
    driver::{
        access::{
            Handle,
            Opened, //
        },
        data::Data,
        uapi::{
            self,
            PrecopyInfo, //
        }, //
    }, //
};

/// The data of a device that are moved.
pub(super) enum Content<D: Data, M: Support<D>> {
    /// None any more.
    Ended,
    /// Out of a device that is running.
    PreCopying(M::PreCopying),
    /// Out of a device that is stopped.
    Saving(M::Saving),
    /// Into a device.
    Resuming(M::Resuming),
}

/// What a file and the state machine share.
#[pin_data]
pub(super) struct Stream<D: Data, M: Support<D>> {
    device: Handle<D>,
    /// Held while data are moved, under the state machine's lock where both are held.
    #[pin]
    content: Mutex<Content<D, M>>,
}

/// A file of a stream that nobody has yet.
///
/// # Invariants
///
/// The pointer is a file to which this value owns a reference.
pub(super) struct StreamFile(NonNull<bindings::file>);

impl StreamFile {
    /// Returns the file with the reference.
    pub(super) fn into_raw(self) -> *mut bindings::file {
        let file = self.0.as_ptr();
        core::mem::forget(self);
        file
    }
}

impl Drop for StreamFile {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::fput(self.0.as_ptr()) };
    }
}

impl<D: Data, M: Support<D>> Stream<D, M> {
    /// Creates a stream and its file, for writing if `resuming`, and then its data by `begin`.
    ///
    /// # Errors
    ///
    /// - `ENOMEM` or `ENFILE` if there is no memory for a file, and `ENOENT` if the module is being
    ///   unloaded; `begin` is not called then.
    /// - Any error of `begin`.
    pub(super) fn begin(
        device: &Opened<'_, D>,
        resuming: bool,
        begin: impl FnOnce() -> Result<Content<D, M>>,
    ) -> Result<(Arc<Self>, StreamFile)> {
        let stream = Arc::pin_init(
            try_pin_init!(Self {
                device: device.handle(),
                content <- new_mutex!(Content::Ended, "vfio::stream"),
            }? Error),
            GFP_KERNEL_ACCOUNT,
        )?;
        let file = Self::file(stream.clone(), resuming)?;
        *stream.content.lock() = begin()?;
        Ok((stream, file))
    }

    /// Ends the data, and returns what there was.
    pub(super) fn end(&self) -> Content<D, M> {
        let content = core::mem::replace(&mut *self.content.lock(), Content::Ended);
        self.device.object().parts().data_changed.notify_all();
        content
    }

    /// Goes on with the data of a device that is stopped now.
    ///
    /// # Errors
    ///
    /// Any error of the driver. There are no data any more then.
    pub(super) fn stop(&self, device: &Opened<'_, D>) -> Result {
        let mut content = self.content.lock();
        let result = match core::mem::replace(&mut *content, Content::Ended) {
            Content::PreCopying(pre_copying) => {
                M::stopped(device, pre_copying).map(|saving| *content = Content::Saving(saving))
            }
            _ => Ok(()),
        };
        drop(content);
        // Also after an error, because that has ended the data.
        self.device.object().parts().data_changed.notify_all();
        result
    }

    /// Returns a file of the stream.
    ///
    /// # Errors
    ///
    /// As [`Stream::begin`] says.
    fn file(self: Arc<Self>, resuming: bool) -> Result<StreamFile> {
        let flags = if resuming {
            bindings::O_WRONLY
        } else {
            bindings::O_RDONLY
        };
        let foreign = self.into_foreign();
        // SAFETY: The name is a string, and the table is static. Its functions expect such a
        // pointer, which `file_release` takes back.
        let file = from_err_ptr(unsafe {
            bindings::anon_inode_getfile(
                c"[vfio-migration]".as_char_ptr(),
                &Self::FILE_OPS,
                foreign.cast(),
                flags as c_int,
            )
        })
        .inspect_err(|_| {
            // SAFETY: There is no file, so the reference comes back here.
            drop(unsafe { Arc::<Self>::from_foreign(foreign) });
        })?;
        // SAFETY: The file is new and has an inode. This says that it has no position.
        unsafe { bindings::stream_open((*file).f_inode, file) };
        // INVARIANT: The function returns a reference, or an error.
        NonNull::new(file).map(StreamFile).ok_or(ENOMEM)
    }

    /// Handles `read()`.
    ///
    /// # Errors
    ///
    /// - `ENODEV` if the device has left the state in which it is saved.
    /// - `ENOMSG` if it is running, and there is nothing to save now.
    /// - `EFAULT` if the memory of user space is not accessible. What could not be copied is lost.
    /// - `ENOMEM` if there is no memory.
    /// - Any error of [`Source::read`].
    fn read(&self, user: UserSlice) -> Result<usize> {
        let mut user = user.writer();
        let wants = !user.is_empty();
        let mut bounce = KVec::from_elem(0u8, user.len().min(PAGE_SIZE), GFP_KERNEL)?;
        let next = |device: &Opened<'_, D>| match &mut *self.content.lock() {
            Content::PreCopying(source) => match source.read(device, &mut bounce)? {
                0 if wants => Err(Error::from_errno(-(bindings::ENOMSG as c_int))),
                count => Ok(count),
            },
            Content::Saving(source) => source.read(device, &mut bounce),
            Content::Resuming(_) => Err(EBADF),
            Content::Ended => Err(ENODEV),
        };
        let count = self.device.enter(next).unwrap_or(Err(ENODEV))?;
        // Without a lock: user space may take its time.
        user.write_slice(bounce.get(..count).ok_or(EIO)?)?;
        Ok(count)
    }

    /// Handles `write()`.
    ///
    /// # Errors
    ///
    /// - `ENODEV` if the device has left the state in which it is restored.
    /// - `EFAULT` if the memory of user space is not accessible.
    /// - `ENOMEM` if there is no memory.
    /// - Any error of [`Sink::write`].
    fn write(&self, user: UserSlice) -> Result<usize> {
        let mut user = user.reader();
        let mut bounce = KVec::from_elem(0u8, user.len().min(PAGE_SIZE), GFP_KERNEL)?;
        user.read_slice(&mut bounce)?;
        let enter = |device: &Opened<'_, D>| match &mut *self.content.lock() {
            _ if bounce.is_empty() => Ok(0),
            Content::Resuming(sink) => {
                let count = sink.write(device, &bounce)?;
                Ok(count.min(bounce.len()))
            }
            Content::Ended => Err(ENODEV),
            _ => Err(EBADF),
        };
        self.device.enter(enter).unwrap_or(Err(ENODEV))
    }

    /// Handles VFIO_MIG_GET_PRECOPY_INFO.
    ///
    /// # Errors
    ///
    /// - `ENOTTY` for other requests.
    /// - `EFAULT` if the structure is not accessible.
    /// - `EINVAL` if user space says that it is too small.
    /// - `EINVAL` if the device is not being saved any more, or not running.
    fn ioctl(&self, cmd: u32, arg: usize) -> Result<isize> {
        if cmd != uapi::MIG_GET_PRECOPY_INFO {
            return Err(ENOTTY);
        }
        let mut info: PrecopyInfo = uapi::read(arg, |info: &PrecopyInfo| info.argsz)?;
        let left = |device: &Opened<'_, D>| match &*self.content.lock() {
            Content::PreCopying(source) => Ok(M::left(device, source)),
            _ => Err(EINVAL),
        };
        let left = self.device.enter(left).unwrap_or(Err(EINVAL))?;
        if self.device.object().reports_precopy_flags() {
            // Nothing is added to the initial bytes later.
            info.flags = 0;
        }
        info.initial_bytes = left.initial;
        info.dirty_bytes = left.dirty;
        uapi::write(arg, &info)?;
        Ok(0)
    }

    /// Handles `poll()`: data can be moved, or they have ended.
    fn poll(&self, file: &File, table: PollTable<'_>) -> u32 {
        table.register_wait(file, &self.device.object().parts().data_changed);
        let over = bindings::POLLHUP | bindings::POLLERR;
        let ready = |device: &Opened<'_, D>| match &*self.content.lock() {
            // While the device runs there may be nothing for now.
            Content::PreCopying(source) if M::left(device, source) == Left::default() => 0,
            Content::PreCopying(_) | Content::Saving(_) => bindings::POLLIN | bindings::POLLRDNORM,
            Content::Resuming(_) => bindings::POLLOUT | bindings::POLLWRNORM,
            Content::Ended => over,
        };
        self.device.enter(ready).unwrap_or(over)
    }

    const FILE_OPS: bindings::file_operations = bindings::file_operations {
        owner: this_module::<D::Owner>().as_ptr(),
        read: Some(Self::file_read),
        write: Some(Self::file_write),
        unlocked_ioctl: Some(Self::file_ioctl),
        #[cfg(CONFIG_COMPAT)]
        compat_ioctl: bindings::compat_ptr_ioctl,
        poll: Some(Self::file_poll),
        release: Some(Self::file_release),
        ..pin_init::zeroed()
    };

    /// Returns the stream of a file.
    ///
    /// # Safety
    ///
    /// `file` must be from [`Stream::begin`], and not released during the lifetime of the
    /// result.
    unsafe fn of<'a>(file: *mut bindings::file) -> ArcBorrow<'a, Self> {
        // SAFETY: By the safety requirements of this function.
        unsafe { Arc::<Self>::borrow((*file).private_data) }
    }

    /// Handles `read()`.
    ///
    /// # Safety
    ///
    /// `file` must be from [`Stream::begin`], and open during the call. The other arguments
    /// must be those of the file operation.
    unsafe extern "C" fn file_read(
        file: *mut bindings::file,
        buf: *mut c_char,
        count: usize,
        _pos: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: The file is open.
        let this = unsafe { Self::of(file) };
        let user = UserSlice::new(UserPtr::from_ptr(buf.cast()), count);
        from_result(|| Ok(isize::try_from(this.read(user)?)?))
    }

    /// Handles `write()`.
    ///
    /// # Safety
    ///
    /// `file` must be from [`Stream::begin`], and open during the call. The other arguments
    /// must be those of the file operation.
    unsafe extern "C" fn file_write(
        file: *mut bindings::file,
        buf: *const c_char,
        count: usize,
        _pos: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: The file is open.
        let this = unsafe { Self::of(file) };
        let user = UserSlice::new(UserPtr::from_ptr(buf.cast_mut().cast()), count);
        from_result(|| Ok(isize::try_from(this.write(user)?)?))
    }

    /// Handles an ioctl.
    ///
    /// # Safety
    ///
    /// `file` must be from [`Stream::begin`], and open during the call. The other arguments
    /// must be those of the file operation.
    unsafe extern "C" fn file_ioctl(
        file: *mut bindings::file,
        cmd: c_uint,
        arg: c_ulong,
    ) -> c_long {
        // SAFETY: The file is open.
        let this = unsafe { Self::of(file) };
        from_result(|| this.ioctl(cmd, arg))
    }

    /// Handles `poll()`.
    ///
    /// # Safety
    ///
    /// `file` must be from [`Stream::begin`], and open during the call. The other arguments
    /// must be those of the file operation.
    unsafe extern "C" fn file_poll(
        file: *mut bindings::file,
        table: *mut bindings::poll_table,
    ) -> bindings::__poll_t {
        // SAFETY: The file is open, and nobody changes its position. The core passes a valid table.
        let (this, file, table) = unsafe {
            (
                Self::of(file),
                File::from_raw_file(file),
                PollTable::from_raw(table),
            )
        };
        this.poll(file, table)
    }

    /// Drops the reference of a file.
    ///
    /// # Safety
    ///
    /// Called once for each file from [`Stream::begin`].
    unsafe extern "C" fn file_release(
        _inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> c_int {
        // SAFETY: The reference that `into_file` gave to the file.
        let private: *mut c_void = unsafe { (*file).private_data };
        // SAFETY: As above.
        drop(unsafe { Arc::<Self>::from_foreign(private) });
        0
    }
}
