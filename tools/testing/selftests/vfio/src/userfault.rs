// SPDX-License-Identifier: GPL-2.0
//! Memory whose pages a program provides itself (userfaultfd).
//!
//! Who touches a page that is not there waits until the program that watches
//! the memory has brought it in, or has allowed to write to it.

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::{Errno, Result},
    mm::UserfaultfdFlags,
};

use crate::{memory::Memory, PAGE};

/// Requests, of which the numbers contain the size of the structure.
mod request {
    const fn number(number: u64, size: usize) -> u64 {
        3 << 30 | (size as u64) << 16 | 0xaa << 8 | number
    }
    pub(super) const API: u64 = number(0x3f, size_of::<[u64; 3]>());
    pub(super) const REGISTER: u64 = number(0, size_of::<[u64; 4]>());
    pub(super) const COPY: u64 = number(3, size_of::<[u64; 5]>());
    pub(super) const WRITE_PROTECT: u64 = number(6, size_of::<[u64; 3]>());
}

const API: u64 = 0xaa;
/// Shared memory can be write-protected too.
const FEATURE_WP_SHMEM: u64 = 1 << 12;
const EVENT_PAGEFAULT: u8 = 0x12;
/// The size of a message.
const MESSAGE: usize = 32;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Pages that are not there.
    Missing = 1,
    /// Pages that were made read-only in this way.
    Writes = 2,
}

/// What this process watches.
#[derive(Debug)]
pub struct Userfault {
    fd: OwnedFd,
}

impl Userfault {
    /// Watches nothing yet. `ENOSYS` if this kernel cannot do that.
    pub fn new() -> Result<Self> {
        // SAFETY: Without memory that is watched nothing changes for anybody.
        let fd = unsafe {
            rustix::mm::userfaultfd(UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::NONBLOCK)?
        };
        let this = Self { fd };
        this.send(request::API, &mut [API, FEATURE_WP_SHMEM, 0])?;
        Ok(this)
    }

    /// Does a request whose structure consists of these numbers.
    fn send<const N: usize>(&self, request: u64, arg: &mut [u64; N]) -> Result<()> {
        assert_eq!(request >> 16 & 0x3fff, size_of::<[u64; N]>() as u64);
        // SAFETY: The number says how large the structure is, and `arg` is as
        // large. The addresses in it belong to memory of `Memory`.
        match unsafe { libc::ioctl(self.fd.as_raw_fd(), request, arg.as_mut_ptr()) } {
            -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
            _ => Ok(()),
        }
    }

    /// Watches a part of memory.
    pub fn watch(&self, memory: &Memory, pages: std::ops::Range<usize>, what: Watch) -> Result<()> {
        let (start, len) = part(memory, &pages);
        self.send(request::REGISTER, &mut [start, len, what as u64, 0])
    }

    /// Makes pages that are watched for writes read-only, or writable again.
    pub fn protect(
        &self,
        memory: &Memory,
        pages: std::ops::Range<usize>,
        read_only: bool,
    ) -> Result<()> {
        let (start, len) = part(memory, &pages);
        self.send(request::WRITE_PROTECT, &mut [start, len, read_only.into()])
    }

    /// Brings in a missing page, with this byte everywhere.
    pub fn provide(&self, memory: &Memory, page: usize, byte: u8) -> Result<()> {
        let (start, len) = part(memory, &(page..page + 1));
        let bytes = [byte; PAGE];
        self.send(
            request::COPY,
            &mut [start, bytes.as_ptr() as u64, len, 0, 0],
        )
    }

    /// The address of the next access that waits, if there is one in this time.
    pub fn next(&self, within: Duration) -> Result<Option<u64>> {
        let timeout = Timespec {
            tv_sec: within.as_secs() as i64,
            tv_nsec: within.subsec_nanos().into(),
        };
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        if rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&timeout)))? == 0 {
            return Ok(None);
        }
        let mut message = [0; MESSAGE];
        match rustix::io::read(&self.fd, &mut message) {
            // Who waited does so no more.
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error),
            Ok(MESSAGE) if message[0] == EVENT_PAGEFAULT => {
                let address = message[16..24].try_into().expect("8 bytes");
                Ok(Some(u64::from_ne_bytes(address)))
            }
            Ok(_) => Err(Errno::PROTO),
        }
    }
}

impl AsFd for Userfault {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The address and the length of pages.
fn part(memory: &Memory, pages: &std::ops::Range<usize>) -> (u64, u64) {
    assert!(pages.end * PAGE <= memory.len(), "{pages:?} is not within");
    let start = memory.address() + pages.start * PAGE;
    (start as u64, (pages.len() * PAGE) as u64)
}
