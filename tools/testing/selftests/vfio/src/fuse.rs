// SPDX-License-Identifier: GPL-2.0
//! A file system of one file, which a child process serves (FUSE). The process
//! can be told to be slow.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyEntry, Request,
};
use rustix::mount::UnmountFlags;

use crate::{memory::Memory, process::Child, target::wait_for, PAGE};

const NODE: &str = "/dev/fuse";
const DIRECTORY: &str = "/tmp/vfio-fuse";
const NAME: &str = "file";
const FILE: INodeNo = INodeNo(2);
/// How long the kernel may believe what it was told.
const TTL: Duration = Duration::from_secs(60);

/// Words in memory that both processes have: whether to be slow, and how many
/// reads have begun.
const STALL: usize = 0;
const READS: usize = 4;

/// A mounted file system, which goes when it is dropped.
#[derive(Debug)]
pub struct Fuse {
    control: Arc<Memory>,
    server: Option<Child>,
}

impl Fuse {
    /// Mounts a file of so many pages, each of which is full of its own number.
    /// `None` if this kernel has no such file systems. The process must have
    /// one thread only, and what it has open the server has too.
    pub fn mount(pages: usize) -> Result<Option<Self>> {
        if !Path::new(NODE).exists() {
            return Ok(None);
        }
        fs::create_dir_all(DIRECTORY).with_context(|| format!("create {DIRECTORY}"))?;
        let control = Arc::new(Memory::shared(PAGE)?);
        control.fill(0);
        let server = Child::fork(|| {
            let server = Server {
                control: control.clone(),
                len: (pages * PAGE) as u64,
            };
            fuser::mount(server, DIRECTORY, &Config::default()).context("serve files")
        })?;
        let this = Self {
            control,
            server: Some(server),
        };
        wait_for("the file system", || this.path().exists())?;
        Ok(Some(this))
    }

    fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(NAME)
    }

    /// Opens the file to read and write.
    pub fn open(&self) -> io::Result<File> {
        File::options().read(true).write(true).open(self.path())
    }

    /// Makes the server keep whoever reads waiting, or lets it go on.
    pub fn stall(&self, on: bool) {
        self.control.write_u32(STALL, on.into());
    }

    /// How often the server was asked for a part of the file.
    pub fn reads(&self) -> u32 {
        self.control.read_u32(READS)
    }

    /// Kills the server, and who waits for it gets an error.
    pub fn kill(&mut self) -> Result<()> {
        match self.server.take() {
            Some(server) => server.kill(),
            None => Ok(()),
        }
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        self.stall(false);
        if let Err(error) = rustix::mount::unmount(DIRECTORY, UnmountFlags::DETACH) {
            eprintln!("unmount {DIRECTORY}: {error}");
        }
    }
}

/// What the child process does.
struct Server {
    control: Arc<Memory>,
    len: u64,
}

impl Server {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let (kind, perm, size) = match inode {
            FILE => (FileType::RegularFile, 0o666, self.len),
            _ => (FileType::Directory, 0o777, 0),
        };
        FileAttr {
            ino: inode,
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: PAGE as u32,
        }
    }
}

impl Filesystem for Server {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match parent == INodeNo::ROOT && name == NAME {
            true => reply.entry(&TTL, &self.attributes(FILE), Generation(0)),
            false => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.attributes(inode));
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        // Only this thread writes the number.
        let reads = self.control.read_u32(READS);
        self.control.write_u32(READS, reads.wrapping_add(1));
        while self.control.read_u32(STALL) != 0 {
            thread::sleep(Duration::from_millis(1));
        }
        let end = self.len.min(offset + u64::from(size));
        let bytes: Vec<u8> = (offset..end).map(|at| (at / PAGE as u64) as u8).collect();
        reply.data(&bytes);
    }
}
