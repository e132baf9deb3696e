// SPDX-License-Identifier: GPL-2.0
//! `io_uring` (`linux/io_uring.h`), one request at a time.
//!
//! A crate that knows all of it would be larger than what the tests need: a
//! request, its result, and files that a ring keeps.

use std::{
    mem,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    sync::atomic::{fence, Ordering},
};

use rustix::io::{Errno, Result};

use crate::{
    memory::Memory,
    request::{self, bytes_of, last_error, Plain},
};

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Command {
    /// Writes back what the kernel holds.
    Sync = 3,
    /// Waits until something is possible.
    Poll = 6,
    /// Reads at an offset.
    Read = 22,
    /// Writes at an offset.
    Write = 23,
    /// Passes a command on to the file.
    Pass = 46,
}

/// The place of the first ring of a ring's file, and that of its requests.
const RINGS: u64 = 0;
const REQUESTS: u64 = 0x1000_0000;
/// `io_uring_params.features`: both rings are in one mapping.
const SINGLE_MAPPING: u32 = 1;
/// `io_uring_enter`: wait for results.
const GET_EVENTS: libc::c_uint = 1;
/// `io_uring_register`: files.
const REGISTER_FILES: libc::c_uint = 2;
/// `io_uring_sqe.flags`: the file is one that the ring keeps.
const FIXED_FILE: u8 = 1;
const REQUEST_LEN: usize = 64;
const RESULT_LEN: usize = 16;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct SubmitOffsets {
    head: u32,
    tail: u32,
    mask: u32,
    entries: u32,
    flags: u32,
    dropped: u32,
    array: u32,
    reserved: u32,
    address: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct ResultOffsets {
    head: u32,
    tail: u32,
    mask: u32,
    entries: u32,
    overflow: u32,
    results: u32,
    flags: u32,
    reserved: u32,
    address: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Params {
    submit_entries: u32,
    result_entries: u32,
    flags: u32,
    thread_cpu: u32,
    thread_idle: u32,
    features: u32,
    wq_fd: u32,
    reserved: [u32; 3],
    submit: SubmitOffsets,
    results: ResultOffsets,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    command: u8,
    flags: u8,
    priority: u16,
    file: i32,
    offset: u64,
    address: u64,
    len: u32,
    command_flags: u32,
    data: u64,
    more: [u64; 3],
}

// SAFETY: A structure of numbers whose members leave no gaps.
unsafe impl Plain for Entry {}

const _: () = assert!(mem::size_of::<Params>() == 120 && mem::size_of::<Entry>() == REQUEST_LEN);

/// What is to be done.
#[derive(Debug)]
pub struct Request<'a> {
    /// What.
    pub command: Command,
    /// From where or to where. Nothing is transferred without it.
    pub memory: Option<&'a Memory>,
    /// At which offset of the file; `u64::MAX` is wherever the file is.
    pub offset: u64,
    /// What to wait for: `POLL*` bits.
    pub events: u32,
}

impl Request<'_> {
    /// A request of this kind without anything else.
    pub fn new(command: Command) -> Self {
        Self {
            command,
            memory: None,
            offset: 0,
            events: 0,
        }
    }
}

/// A ring, which keeps the files that were registered with it.
#[derive(Debug)]
pub struct Ring {
    rings: Memory,
    requests: Memory,
    params: Params,
    fd: OwnedFd,
}

impl Ring {
    /// Makes one. `ENOSYS` from a kernel without any.
    pub fn new() -> Result<Self> {
        let mut params = Params::default();
        // SAFETY: The kernel fills the structure, which is its own.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, &raw mut params) };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0);
        // SAFETY: The call made the descriptor, and only we know of it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd.ok_or_else(last_error)?) };
        if params.features & SINGLE_MAPPING == 0 {
            return Err(Errno::NOSYS);
        }
        let submit = params.submit.array as usize + 4 * params.submit_entries as usize;
        let results = params.results.results as usize + RESULT_LEN * params.result_entries as usize;
        let len = REQUEST_LEN * params.submit_entries as usize;
        Ok(Self {
            rings: Memory::of_file(&fd, RINGS, submit.max(results), true)?,
            requests: Memory::of_file(&fd, REQUESTS, len, true)?,
            params,
            fd,
        })
    }

    /// Lets the ring keep these files, which then have numbers from 0 on.
    pub fn register(&self, files: &[impl AsFd]) -> Result<()> {
        let numbers: Vec<i32> = files.iter().map(|f| f.as_fd().as_raw_fd()).collect();
        // SAFETY: The kernel reads as many numbers as there are.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                self.fd.as_raw_fd(),
                REGISTER_FILES,
                numbers.as_ptr(),
                numbers.len(),
            )
        };
        match result {
            0 => Ok(()),
            _ => Err(last_error()),
        }
    }

    /// Does a request on a file and waits for its end.
    pub fn run(&self, file: impl AsFd, request: &Request<'_>) -> Result<u32> {
        self.submit(file.as_fd().as_raw_fd(), 0, request)
    }

    /// The same on a file that the ring keeps.
    pub fn run_registered(&self, number: u32, request: &Request<'_>) -> Result<u32> {
        let number = i32::try_from(number).map_err(|_| Errno::BADF)?;
        self.submit(number, FIXED_FILE, request)
    }

    fn submit(&self, file: i32, flags: u8, request: &Request<'_>) -> Result<u32> {
        let (address, len) = match request.memory {
            Some(memory) => (memory.address() as u64, memory.len() as u32),
            None => (0, 0),
        };
        let entry = Entry {
            command: request.command as u8,
            flags,
            file,
            offset: request.offset,
            address,
            len,
            command_flags: request.events,
            ..Default::default()
        };
        self.requests.write(0, bytes_of(&entry));
        let at = |offset: u32| offset as usize;
        let submit = &self.params.submit;
        self.rings.write_u32(at(submit.array), 0);
        let tail = self.rings.read_u32(at(submit.tail));
        // The kernel looks at the request when it sees the tail move.
        fence(Ordering::SeqCst);
        self.rings.write_u32(at(submit.tail), tail.wrapping_add(1));
        fence(Ordering::SeqCst);
        // SAFETY: The request names memory that no reference points into, and
        // its end is waited for.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.fd.as_raw_fd(),
                1,
                1,
                GET_EVENTS,
                std::ptr::null::<u8>(),
                0,
            )
        };
        if result < 0 {
            return Err(last_error());
        }
        let results = &self.params.results;
        fence(Ordering::SeqCst);
        let head = self.rings.read_u32(at(results.head));
        if head == self.rings.read_u32(at(results.tail)) {
            return Err(Errno::NODATA);
        }
        let mask = self.rings.read_u32(at(results.mask));
        let place = at(results.results) + RESULT_LEN * at(head & mask);
        let bytes = self.rings.read(place + 8, 4);
        let result: i32 = request::from_bytes(&bytes).unwrap_or_default();
        fence(Ordering::SeqCst);
        self.rings.write_u32(at(results.head), head.wrapping_add(1));
        u32::try_from(result).map_err(|_| Errno::from_raw_os_error(result.wrapping_neg()))
    }
}
