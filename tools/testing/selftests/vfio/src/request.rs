// SPDX-License-Identifier: GPL-2.0
//! The `ioctl` system call, and arguments that cannot do harm.
//!
//! Programs use the types of this crate. Tests say wrong things on purpose,
//! for example that more bytes follow than there are; [`Arg`] holds such an
//! argument in memory that ends at an inaccessible page, so that the worst
//! that can come of it is `EFAULT`.

use std::{
    ffi::CStr,
    mem,
    os::fd::{AsFd, AsRawFd},
};

use rustix::io::{Errno, Result};
use vfio_uapi as uapi;

use crate::{memory::Memory, PAGE};

/// No address of a program: every access to it by the kernel is `EFAULT`.
pub const BAD_ADDRESS: usize = usize::MAX & !(PAGE - 1);

/// Types that are plain bytes.
///
/// # Safety
///
/// Every pattern of bytes is a value of the type, and it has no padding.
pub unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($type:ty),* $(,)?) => {
        // SAFETY: Structures of numbers whose members leave no gaps; the sizes
        // are checked below.
        $(unsafe impl Plain for $type {})*
    };
}

plain!(
    u8,
    u16,
    u32,
    u64,
    i32,
    uapi::InfoCapHeader,
    uapi::GroupStatus,
    uapi::DeviceInfo,
    uapi::RegionInfo,
    uapi::RegionSparseMmapArea,
    uapi::IrqInfo,
    uapi::IrqSet,
    uapi::PciDependentDevice,
    uapi::PciHotReset,
    uapi::PciHotResetInfo,
    uapi::DeviceIoeventfd,
    uapi::DeviceFeature,
    uapi::DeviceFeatureDmaBuf,
    uapi::DeviceFeatureDmaLoggingControl,
    uapi::DeviceFeatureDmaLoggingRange,
    uapi::DeviceFeatureDmaLoggingReport,
    uapi::DeviceFeatureMigState,
    uapi::DeviceFeatureMigration,
    uapi::DeviceFeatureMigDataSize,
    uapi::DeviceBindIommufd,
    uapi::DeviceAttachIommufdPt,
    uapi::DeviceDetachIommufdPt,
    uapi::PrecopyInfo,
    uapi::IommuType1Info,
    uapi::IovaRange,
    uapi::IommuType1DmaMap,
    uapi::IommuType1DmaUnmap,
    uapi::IommuType1DirtyBitmap,
    uapi::IommuType1DirtyBitmapGet,
    uapi::Bitmap,
);

/// The bytes of a value.
pub fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: `Plain` types have no padding, so all `size_of` bytes behind the
    // reference are initialised, and the borrow lasts as long as the result.
    unsafe { std::slice::from_raw_parts((value as *const T).cast(), mem::size_of::<T>()) }
}

/// The value that some bytes are. `None` if there are too few of them.
pub fn from_bytes<T: Plain>(bytes: &[u8]) -> Option<T> {
    let bytes = bytes.get(..mem::size_of::<T>())?;
    // SAFETY: The slice has the size of `T`, any bytes are a `T`, and the read
    // needs no alignment.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// Calls `ioctl` with a bare number.
///
/// # Safety
///
/// If the request takes a pointer then `arg` must be an address that the kernel
/// may read and write as the request says, or one that faults.
unsafe fn ioctl(fd: impl AsFd, request: u32, arg: usize) -> Result<u32> {
    // SAFETY: The descriptor is open; the caller answers for `arg`.
    let result = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), request.into(), arg) };
    u32::try_from(result).map_err(|_| last_error())
}

/// The answer of a system call as the kernel gave it: a driver may answer with
/// numbers that stand neither for success nor for an errno.
fn as_it_is(answer: libc::c_long) -> i64 {
    match answer {
        // The C library has put a number from -4095 to -1 into `errno`.
        -1 => -i64::from(last_error().raw_os_error()),
        answer => answer,
    }
}

/// A system call on a file, with its answer as it is.
///
/// # Safety
///
/// The kernel may use the arguments as the system call says.
unsafe fn system_call(number: libc::c_long, fd: &impl AsFd, args: [usize; 3]) -> i64 {
    let [a, b, c] = args;
    // SAFETY: The descriptor is open; the caller answers for the rest.
    as_it_is(unsafe { libc::syscall(number, fd.as_fd().as_raw_fd(), a, b, c) })
}

/// Maps the first page of a file where the kernel likes, and returns the answer
/// of the kernel as it is. A mapping, if there is one, stays until the process
/// ends.
pub fn map_raw(fd: impl AsFd) -> i64 {
    let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: The kernel chooses an address where nothing is.
    as_it_is(unsafe { libc::syscall(libc::SYS_mmap, 0usize, PAGE, prot, flags, fd, 0usize) })
}

/// The error of the system call that just failed in this thread.
pub(crate) fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// A request whose argument is a number that stands for no address, or is
/// ignored. Numbers beyond 32 bits are refused, so that none can be one.
pub fn with_number(fd: impl AsFd, request: u32, number: u32) -> Result<u32> {
    // Below this limit lies nothing: neither code nor data of a 64-bit program.
    assert!(number < 0x1_0000 || number as usize >= u32::MAX as usize - PAGE);
    // SAFETY: Nothing of this process is at such an address.
    unsafe { ioctl(fd, request, number as usize) }
}

/// A request with an argument that the kernel cannot read.
pub fn with_bad_address(fd: impl AsFd, request: u32) -> Result<u32> {
    // SAFETY: The address faults.
    unsafe { ioctl(fd, request, BAD_ADDRESS) }
}

/// A request whose argument is a string, which the kernel reads up to its NUL.
pub(crate) fn with_string(fd: impl AsFd, request: u32, string: &CStr) -> Result<u32> {
    // SAFETY: The callers in this crate make requests that read a string.
    unsafe { ioctl(fd, request, string.as_ptr() as usize) }
}

/// A request whose argument is this structure, all of it and nothing more:
/// its `argsz` must be the size of the structure.
pub(crate) fn with_struct<T: Plain>(fd: impl AsFd, request: u32, value: &mut T) -> Result<u32> {
    // SAFETY: The callers in this crate pass structures that the request asks
    // for, with an `argsz` of exactly their size.
    unsafe { ioctl(fd, request, value as *mut T as usize) }
}

/// The argument of a request, in front of an inaccessible page.
#[derive(Debug)]
pub struct Arg {
    memory: Memory,
    len: usize,
    start: usize,
}

impl Arg {
    /// Room for `len` bytes, all 0. Whatever begins there is aligned to 4.
    pub fn zeroed(len: usize) -> Self {
        Self::place(len, Memory::anonymous)
    }

    /// Room in low memory, where a 32-bit program can have it, that holds these
    /// bytes.
    pub fn low(bytes: &[u8]) -> Self {
        let arg = Self::place(bytes.len(), Memory::low);
        arg.memory.write(arg.start, bytes);
        arg
    }

    fn place(len: usize, memory: fn(usize) -> Result<Memory>) -> Self {
        // An odd length leaves up to 3 accessible bytes behind it, or the
        // numbers in it would not be aligned.
        let room = len.next_multiple_of(4).max(4);
        let data = room.next_multiple_of(PAGE);
        let memory = memory(data + PAGE).expect("memory for an argument");
        memory.protect(data, PAGE, 0).expect("a guard page");
        Self {
            memory,
            len,
            start: data - room,
        }
    }

    /// Room that holds these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let arg = Self::zeroed(bytes.len());
        arg.memory.write(arg.start, bytes);
        arg
    }

    /// Room that holds this value.
    pub fn new<T: Plain>(value: &T) -> Self {
        Self::from_bytes(bytes_of(value))
    }

    /// Room that holds this value and `more` bytes behind it.
    pub fn with_tail<T: Plain>(value: &T, more: usize) -> Self {
        let mut bytes = bytes_of(value).to_vec();
        bytes.resize(bytes.len() + more, 0);
        Self::from_bytes(&bytes)
    }

    /// Does the request.
    pub fn send(&self, fd: impl AsFd, request: u32) -> Result<u32> {
        // SAFETY: The address belongs to memory that no reference points into,
        // and what lies behind it cannot be written.
        unsafe { ioctl(fd, request, self.address()) }
    }

    /// Does the request, and returns the answer of the kernel as it is.
    pub fn send_raw(&self, fd: impl AsFd, request: u32) -> i64 {
        // SAFETY: As in `send`.
        unsafe { system_call(libc::SYS_ioctl, &fd, [request as usize, self.address(), 0]) }
    }

    /// Reads from the beginning of a file, and returns the answer of the kernel
    /// as it is.
    pub fn read_raw(&self, fd: impl AsFd) -> i64 {
        // SAFETY: No reference points into the memory, which has this length.
        unsafe { system_call(libc::SYS_pread64, &fd, [self.address(), self.len, 0]) }
    }

    /// Writes to the beginning of a file, and returns the answer of the kernel
    /// as it is.
    pub fn write_raw(&self, fd: impl AsFd) -> i64 {
        // SAFETY: The memory has this length.
        unsafe { system_call(libc::SYS_pwrite64, &fd, [self.address(), self.len, 0]) }
    }

    /// Where it is.
    pub fn address(&self) -> usize {
        self.memory.address() + self.start
    }

    /// What is there now.
    pub fn bytes(&self) -> Vec<u8> {
        self.memory.read(self.start, self.len)
    }

    /// A part of what is there now.
    pub fn get<T: Plain>(&self, offset: usize) -> T {
        from_bytes(&self.bytes()[offset..]).expect("within the argument")
    }

    /// Lets the kernel read the argument but not write it. All of the page
    /// before the guard page is concerned.
    pub fn make_read_only(&self) {
        self.memory
            .protect(0, self.memory.len() - PAGE, libc::PROT_READ)
            .expect("a read-only page");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_structures_have_no_padding() {
        // The two types of the header that have some, or end unaligned, must
        // not be `Plain`; the others are the sum of their members.
        assert_eq!(mem::size_of::<uapi::IommuType1DmaMap>(), 32);
        assert_eq!(mem::size_of::<uapi::RegionInfo>(), 32);
        assert_eq!(mem::size_of::<uapi::IrqSet>(), 20);
        assert_eq!(mem::size_of::<uapi::IommuType1DirtyBitmapGet>(), 40);
        assert_eq!(mem::size_of::<uapi::DeviceBindIommufd>(), 24);
        assert_eq!(mem::size_of::<uapi::PciHotReset>(), 12);
    }

    #[test]
    fn an_argument_ends_at_an_inaccessible_page() {
        for len in [1, 4, 20, 32, PAGE, PAGE + 8] {
            let arg = Arg::zeroed(len);
            assert_eq!(arg.bytes(), vec![0; len]);
            let end = arg.address() + len.next_multiple_of(4);
            assert_eq!(end % PAGE, 0, "{len} bytes");
        }
    }

    #[test]
    fn bytes_become_a_value_again() {
        let status = uapi::GroupStatus { argsz: 8, flags: 3 };
        assert_eq!(from_bytes(bytes_of(&status)), Some(status));
        assert_eq!(from_bytes::<u32>(&[1, 2, 3]), None);
    }
}
