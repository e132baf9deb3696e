// SPDX-License-Identifier: GPL-2.0
//! System calls as a 32-bit program makes them.
//!
//! A 64-bit program can use the old entry into the kernel, too: then the kernel
//! takes it for a 32-bit program during that call. Only the lower halves of
//! registers count, so what is pointed to must lie in low memory.

use std::{
    arch::asm,
    os::fd::{AsFd, AsRawFd},
};

use rustix::io::{Errno, Result};

use crate::request::Arg;

/// `ioctl` in the table of 32-bit system calls.
const IOCTL: u32 = 54;

/// Makes a system call with three arguments.
///
/// # Safety
///
/// As for the system call: what it writes to must be free to be written to.
unsafe fn call(number: u32, first: u32, second: u32, third: u32) -> Result<u32> {
    let result: u32;
    // SAFETY: The kernel preserves all registers but those named, and the
    // caller answers for the memory. The compiler keeps rbx for itself, so it
    // is put back.
    unsafe {
        asm!(
            "xchg {first:r}, rbx",
            "int 0x80",
            "xchg {first:r}, rbx",
            first = inout(reg) u64::from(first) => _,
            inlateout("eax") number => result,
            in("ecx") second,
            in("edx") third,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    match result as i32 {
        error @ -4095..=-1 => Err(Errno::from_raw_os_error(-error)),
        _ => Ok(result),
    }
}

/// A request whose argument is a number, or nothing.
pub fn with_number(fd: impl AsFd, request: u32, number: u32) -> Result<u32> {
    // Below this limit lies nothing.
    assert!(number < 0x1_0000);
    // SAFETY: Nothing of this process is at such an address.
    unsafe { call(IOCTL, fd.as_fd().as_raw_fd() as u32, request, number) }
}

/// A request with an address that no 32-bit program can have.
pub fn with_bad_address(fd: impl AsFd, request: u32) -> Result<u32> {
    // SAFETY: The last page below 4 GiB is never given to anybody.
    unsafe { call(IOCTL, fd.as_fd().as_raw_fd() as u32, request, 0xffff_f000) }
}

/// A request with an argument, made by [`Arg::low`].
pub fn send(arg: &Arg, fd: impl AsFd, request: u32) -> Result<u32> {
    let address = u32::try_from(arg.address()).map_err(|_| Errno::FAULT)?;
    // SAFETY: As for `Arg::send`.
    unsafe { call(IOCTL, fd.as_fd().as_raw_fd() as u32, request, address) }
}
