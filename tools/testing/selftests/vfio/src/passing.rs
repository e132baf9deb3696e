// SPDX-License-Identifier: GPL-2.0
//! Handing open files to another process, over a socket between the two, and
//! taking them from a process that need not know of it.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd},
};

use anyhow::{ensure, Context, Result};
use rustix::{
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    },
    process::{Pid, PidfdFlags, PidfdGetfdFlags},
};

/// How many files go into one message.
const MOST: usize = 8;

/// The two ends of a new socket.
pub fn socket() -> Result<[OwnedFd; 2]> {
    let (a, b) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .context("make a socket")?;
    Ok([a, b])
}

/// Sends these files. The receiver gets descriptors of its own.
pub fn send(socket: impl AsFd, files: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    ensure!(
        control.push(SendAncillaryMessage::ScmRights(files)),
        "{} files are too many for one message",
        files.len()
    );
    // Files travel with at least one byte.
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(b"f")],
        &mut control,
        SendFlags::empty(),
    )
    .context("send files")?;
    Ok(())
}

/// Receives exactly `N` files, in the order in which they were sent.
pub fn receive<const N: usize>(socket: impl AsFd) -> Result<[OwnedFd; N]> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .context("receive files")?;
    let files: Vec<_> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        })
        .flatten()
        .collect();
    let count = files.len();
    files
        .try_into()
        .ok()
        .with_context(|| format!("{count} files came, not {N}"))
}

/// Takes the file that has this number in another process, which keeps it too.
/// Needs the right to trace that process.
pub fn take(owner: Pid, number: RawFd) -> Result<OwnedFd> {
    let owner =
        rustix::process::pidfd_open(owner, PidfdFlags::empty()).context("name a process")?;
    rustix::process::pidfd_getfd(owner, number, PidfdGetfdFlags::empty())
        .with_context(|| format!("take file {number} of another process"))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_file_arrives() {
        let [here, there] = socket().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let zero = std::fs::File::open("/dev/zero").unwrap();
        send(&here, &[null.as_fd(), zero.as_fd()]).unwrap();
        let [null, zero] = receive(&there).unwrap().map(std::fs::File::from);
        let mut bytes = [1; 4];
        assert_eq!((&null).read(&mut bytes).unwrap(), 0);
        assert_eq!((&zero).read(&mut bytes).unwrap(), 4);
        assert_eq!(bytes, [0; 4]);
    }

    #[test]
    fn a_file_is_taken() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&null);
        let own = take(rustix::process::getpid(), number).unwrap();
        let mut file = std::fs::File::from(own);
        assert_eq!(file.read(&mut [1; 4]).unwrap(), 0);
        assert!(take(rustix::process::getpid(), 99_999).is_err());
    }

    #[test]
    fn a_wrong_number_of_files_is_an_error() {
        let [here, there] = socket().unwrap();
        send(&here, &[here.as_fd()]).unwrap();
        assert!(receive::<2>(&there).is_err());
    }
}
