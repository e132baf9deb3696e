// SPDX-License-Identifier: GPL-2.0
//! The kernel's old interface for input and output in the background
//! (`linux/aio_abi.h`), one request at a time.

use std::{
    mem,
    os::fd::{AsFd, AsRawFd},
};

use rustix::io::{Errno, Result};

use crate::{memory::Memory, request::last_error};

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Command {
    /// Reads at an offset.
    Read = 0,
    /// Writes at an offset.
    Write = 1,
    /// Writes back what the kernel holds.
    Sync = 2,
    /// Waits until something is possible: `POLL*` bits.
    Poll = 5,
    /// Reads into several pieces.
    ReadVectored = 7,
    /// Writes several pieces.
    WriteVectored = 8,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    fildes: u32,
    buf: u64,
    nbytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    resfd: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Event {
    data: u64,
    obj: u64,
    res: i64,
    res2: i64,
}

/// Room for requests.
#[derive(Debug)]
pub struct Context {
    id: libc::c_ulong,
}

/// 0 or more, or the error of the call.
fn check(result: libc::c_long) -> Result<u32> {
    u32::try_from(result).map_err(|_| last_error())
}

impl Context {
    /// Makes some.
    pub fn new() -> Result<Self> {
        let mut id: libc::c_ulong = 0;
        // SAFETY: The kernel writes the number of the new context to `id`.
        check(unsafe { libc::syscall(libc::SYS_io_setup, 1, &raw mut id) })?;
        Ok(Self { id })
    }

    /// Reads or writes all of `memory` at this offset of a file, and waits for
    /// the end: how many bytes.
    pub fn transfer(
        &self,
        command: Command,
        file: impl AsFd,
        memory: &Memory,
        offset: i64,
    ) -> Result<u64> {
        let pieces = [[memory.address(), memory.len()]];
        let (buf, nbytes) = match command {
            Command::ReadVectored | Command::WriteVectored => (pieces.as_ptr() as usize, 1),
            Command::Sync => (0, 0),
            _ => (memory.address(), memory.len()),
        };
        self.submit(Iocb {
            opcode: command as u16,
            fildes: number(file),
            buf: buf as u64,
            nbytes: nbytes as u64,
            offset,
            ..Default::default()
        })?;
        self.wait(i64::MAX)?.ok_or(Errno::TIMEDOUT)
    }

    /// Begins to wait until one of these `POLL*` bits is set.
    pub fn poll(&self, file: impl AsFd, events: i16) -> Result<()> {
        self.submit(Iocb {
            opcode: Command::Poll as u16,
            fildes: number(file),
            buf: u64::from(events as u16),
            ..Default::default()
        })
    }

    fn submit(&self, mut iocb: Iocb) -> Result<()> {
        let list = [&raw mut iocb];
        // SAFETY: The list has one request, which names memory that no reference
        // points into, or a list that lives until `transfer` returns. The kernel
        // does not look at the request any more when the call has returned.
        check(unsafe { libc::syscall(libc::SYS_io_submit, self.id, 1, list.as_ptr()) })?;
        Ok(())
    }

    /// Waits up to so many seconds for the end of a request: its result. `None`
    /// if there is no end.
    pub fn wait(&self, seconds: i64) -> Result<Option<u64>> {
        let mut event = Event::default();
        let mut time = libc::timespec {
            // A number that the kernel can count to.
            tv_sec: seconds.min(3600),
            tv_nsec: 0,
        };
        // SAFETY: The kernel writes up to one event, and reads the time.
        let count = check(unsafe {
            libc::syscall(
                libc::SYS_io_getevents,
                self.id,
                1,
                1,
                &raw mut event,
                &raw mut time,
            )
        })?;
        if count == 0 {
            return Ok(None);
        }
        match u64::try_from(event.res) {
            Ok(done) => Ok(Some(done)),
            Err(_) => Err(Errno::from_raw_os_error((-event.res) as i32)),
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: The context is ours. Waits for what is under way.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.id) };
    }
}

fn number(file: impl AsFd) -> u32 {
    // CAST: Descriptors are not negative.
    file.as_fd().as_raw_fd() as u32
}

const _: () = assert!(mem::size_of::<Iocb>() == 64 && mem::size_of::<Event>() == 32);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PAGE;

    #[test]
    fn a_file_is_read() {
        let context = Context::new().unwrap();
        let memory = Memory::anonymous(PAGE).unwrap();
        memory.fill(1);
        let zero = std::fs::File::open("/dev/zero").unwrap();
        let read = |command| context.transfer(command, &zero, &memory, 0);
        assert_eq!(read(Command::Read), Ok(PAGE as u64));
        assert_eq!(memory.read(0, 4), [0; 4]);
        assert_eq!(read(Command::ReadVectored), Ok(PAGE as u64));
        assert_eq!(read(Command::Write), Err(Errno::BADF));
        assert_eq!(read(Command::Sync), Err(Errno::INVAL));
    }

    #[test]
    fn an_eventfd_is_waited_for() {
        let context = Context::new().unwrap();
        let event = crate::device::Event::new().unwrap();
        context.poll(&event, libc::POLLIN).unwrap();
        assert_eq!(context.wait(0), Ok(None));
        event.signal().unwrap();
        assert_eq!(context.wait(10), Ok(Some(libc::POLLIN as u64)));
    }
}
