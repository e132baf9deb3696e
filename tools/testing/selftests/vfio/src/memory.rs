// SPDX-License-Identifier: GPL-2.0
//! Memory to be mapped for devices.
//!
//! [`Memory`] owns a range of addresses of this process and lends no
//! references to its content: devices write to it behind the compiler's back.
//! It can be of small pages, of transparent or reserved huge pages, read-only,
//! or a mapping of a file or of a device region.

use std::{
    os::fd::AsFd,
    ptr::{self, NonNull},
};

use rustix::{
    io::{Errno, Result},
    mm::{Advice, MapFlags, MprotectFlags, ProtFlags},
};

use crate::PAGE;

/// 2 MiB, the smaller size of huge pages.
pub const HUGE_2M: usize = 2 << 20;
/// 1 GiB, the larger one.
pub const HUGE_1G: usize = 1 << 30;

/// A range of addresses that is unmapped when dropped. What devices can reach
/// of it stays theirs: the kernel keeps the pages.
#[derive(Debug)]
pub struct Memory {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: The range belongs to the process, not to a thread, and all access is
// by copies.
unsafe impl Send for Memory {}
// SAFETY: As above; concurrent copies may see torn data, as with a device.
unsafe impl Sync for Memory {}

/// Readable and writable.
const RW: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

impl Memory {
    fn map(len: usize, prot: ProtFlags, flags: MapFlags) -> Result<Self> {
        // SAFETY: The kernel chooses an address where nothing is.
        let start = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, prot, flags)? };
        Self::own(start.cast(), len)
    }

    fn own(start: *mut u8, len: usize) -> Result<Self> {
        Ok(Self {
            start: NonNull::new(start).ok_or(Errno::NOMEM)?,
            len,
        })
    }

    /// Zeroed memory of small pages, at whatever address.
    pub fn anonymous(len: usize) -> Result<Self> {
        let memory = Self::map(len, RW, MapFlags::PRIVATE)?;
        memory.advise(Advice::LinuxNoHugepage)?;
        Ok(memory)
    }

    /// The same, shared with child processes.
    pub fn shared(len: usize) -> Result<Self> {
        Self::map(len, RW, MapFlags::SHARED)
    }

    /// Zeroed memory that can be read but not written: each page of it is the
    /// kernel's one zero page.
    pub fn read_only(len: usize) -> Result<Self> {
        let memory = Self::map(len, ProtFlags::READ, MapFlags::PRIVATE)?;
        memory.advise(Advice::LinuxNoHugepage)?;
        Ok(memory)
    }

    /// Addresses that nothing can be read from.
    pub fn inaccessible(len: usize) -> Result<Self> {
        Self::map(len, ProtFlags::empty(), MapFlags::PRIVATE)
    }

    /// Zeroed memory below 2 GiB, where a 32-bit program would have it.
    pub fn low(len: usize) -> Result<Self> {
        Self::map(
            len,
            RW,
            MapFlags::PRIVATE | MapFlags::from_bits_retain(libc::MAP_32BIT as u32),
        )
    }

    /// Memory of reserved 2 MiB pages. `ENOMEM` if there are not enough.
    pub fn hugetlb(len: usize) -> Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::HUGETLB | MapFlags::HUGE_2MB;
        Self::map(len.next_multiple_of(HUGE_2M), RW, flags)
    }

    /// Memory of reserved 1 GiB pages. `ENOMEM` if there are not enough.
    pub fn gigantic(len: usize) -> Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::HUGETLB | MapFlags::HUGE_1GB;
        Self::map(len.next_multiple_of(HUGE_1G), RW, flags)
    }

    /// Memory of transparent huge pages, aligned to them and touched, so that
    /// they are there if the kernel had any.
    pub fn transparent_huge(len: usize) -> Result<Self> {
        let len = len.next_multiple_of(HUGE_2M);
        let wide = Self::map(len + HUGE_2M, RW, MapFlags::PRIVATE)?;
        let memory = wide.keep_aligned(len);
        memory.advise(Advice::LinuxHugepage)?;
        memory.fill(0);
        Ok(memory)
    }

    /// Gives back what lies before and behind an aligned part of that length.
    fn keep_aligned(self, len: usize) -> Self {
        let before = self.address().next_multiple_of(HUGE_2M) - self.address();
        let behind = self.len - before - len;
        let start = self.start.as_ptr().wrapping_add(before);
        for (at, len) in [
            (self.start.as_ptr(), before),
            (start.wrapping_add(len), behind),
        ] {
            if len > 0 {
                // SAFETY: The part belongs to `self`, and nobody else uses it.
                unsafe { rustix::mm::munmap(at.cast(), len) }.expect("unmap a part");
            }
        }
        std::mem::forget(self);
        Self::own(start, len).expect("not at address 0")
    }

    /// A file, or a region of a device, from `offset` on.
    pub fn of_file(fd: impl AsFd, offset: u64, len: usize, write: bool) -> Result<Self> {
        let prot = if write { RW } else { ProtFlags::READ };
        // SAFETY: The kernel chooses an address where nothing is, and access to
        // the content is by copies only, whoever else writes to the file.
        let start =
            unsafe { rustix::mm::mmap(ptr::null_mut(), len, prot, MapFlags::SHARED, fd, offset)? };
        Self::own(start.cast(), len)
    }

    /// The same, but what is written stays with this process.
    pub fn of_file_private(fd: impl AsFd, offset: u64, len: usize) -> Result<Self> {
        let flags = MapFlags::PRIVATE;
        // SAFETY: As in `of_file`.
        let start = unsafe { rustix::mm::mmap(ptr::null_mut(), len, RW, flags, fd, offset)? };
        Self::own(start.cast(), len)
    }

    /// Addresses without anything, to put things at. The first is a multiple of
    /// [`HUGE_2M`].
    pub fn reserve(len: usize) -> Result<Self> {
        let len = len.next_multiple_of(HUGE_2M);
        Ok(Self::inaccessible(len + HUGE_2M)?.keep_aligned(len))
    }

    /// Puts a file, or a region of a device, at a part of it, in place of what
    /// was there.
    pub fn place_file(
        &self,
        at: usize,
        fd: impl AsFd,
        offset: u64,
        len: usize,
        write: bool,
    ) -> Result<()> {
        let prot = if write { RW } else { ProtFlags::READ };
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: The part was checked to be ours, and no reference points into
        // it.
        unsafe { rustix::mm::mmap(self.at(at, len).cast(), len, prot, flags, fd, offset)? };
        Ok(())
    }

    /// Puts zeroed memory of small pages at a part of it, in place of what was
    /// there.
    pub fn place_anonymous(&self, at: usize, len: usize) -> Result<()> {
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        let start = self.at(at, len).cast();
        // SAFETY: As in `place_file`.
        unsafe {
            rustix::mm::mmap_anonymous(start, len, RW, flags)?;
            match rustix::mm::madvise(start, len, Advice::LinuxNoHugepage) {
                // A kernel without transparent huge pages.
                Err(Errno::INVAL) => Ok(()),
                other => other,
            }
        }
    }

    /// Puts memory of transparent huge pages at a part of it, in place of what was
    /// there, if the kernel has any.
    pub fn place_huge(&self, at: usize, len: usize) -> Result<()> {
        self.place_anonymous(at, len)?;
        match self.advise_part(at, len, Advice::LinuxHugepage) {
            Err(Errno::INVAL) => Ok(()),
            other => other,
        }
    }

    /// Moves other memory to a part of it, in place of what was there.
    pub fn place(&self, at: usize, other: Self) -> Result<()> {
        let (from, to) = (other.start.as_ptr(), self.at(at, other.len));
        let flags = rustix::mm::MremapFlags::MAYMOVE;
        // SAFETY: Both ranges are ours, and no reference points into them.
        unsafe {
            rustix::mm::mremap_fixed(from.cast(), other.len, other.len, flags, to.cast())?;
        }
        // Nothing is left there.
        std::mem::forget(other);
        Ok(())
    }

    /// Where it begins.
    pub fn address(&self) -> usize {
        self.start.as_ptr() as usize
    }

    /// Its length in bytes.
    #[allow(clippy::len_without_is_empty)] // The kernel refuses empty ranges.
    pub fn len(&self) -> usize {
        self.len
    }

    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        let end = offset.checked_add(len).expect("an offset within memory");
        assert!(
            end <= self.len,
            "{offset}..{end} is not within {} bytes",
            self.len
        );
        self.start.as_ptr().wrapping_add(offset)
    }

    /// Copies bytes out.
    pub fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        // SAFETY: The range was checked to be ours, and `out` is not in it.
        unsafe { ptr::copy_nonoverlapping(self.at(offset, len), out.as_mut_ptr(), len) };
        out
    }

    /// Copies bytes in.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let at = self.at(offset, bytes.len());
        // SAFETY: As in `read`; no reference points into the range.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
    }

    /// Sets each byte, and so brings each page in.
    pub fn fill(&self, byte: u8) {
        // SAFETY: The range is ours, and no reference points into it.
        unsafe { ptr::write_bytes(self.start.as_ptr(), byte, self.len) };
    }

    /// Reads a 32-bit number in one access, as device registers need it.
    pub fn read_u32(&self, offset: usize) -> u32 {
        assert_eq!(offset % 4, 0, "a register at {offset:#x}");
        // SAFETY: The range was checked and is aligned; volatile because the
        // other side is a device.
        unsafe { self.at(offset, 4).cast::<u32>().read_volatile() }
    }

    /// Writes a 32-bit number in one access.
    pub fn write_u32(&self, offset: usize, value: u32) {
        assert_eq!(offset % 4, 0, "a register at {offset:#x}");
        // SAFETY: As in `read_u32`.
        unsafe { self.at(offset, 4).cast::<u32>().write_volatile(value) };
    }

    /// Changes what may be done with a part: `PROT_*` numbers.
    pub fn protect(&self, offset: usize, len: usize, prot: i32) -> Result<()> {
        let flags = MprotectFlags::from_bits_retain(prot as u32);
        // SAFETY: The range was checked to be ours. A part that is made
        // inaccessible makes later copies fault, which is no unsoundness.
        unsafe { rustix::mm::mprotect(self.at(offset, len).cast(), len, flags) }
    }

    /// Gives all of it a protection key with which the calling thread may do
    /// nothing. The key stays allocated. `ENOSPC` or `EINVAL` without such keys.
    pub fn lock_with_key(&self) -> Result<()> {
        self.lock(ProtectionKey::without_access()?)
    }

    /// Gives all of it this protection key.
    pub fn lock(&self, key: ProtectionKey) -> Result<()> {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let start = self.start.as_ptr();
        // SAFETY: The range is ours. Later copies fault, which is no unsoundness.
        check(unsafe { libc::syscall(libc::SYS_pkey_mprotect, start, self.len, prot, key.0) })?;
        Ok(())
    }

    fn advise(&self, advice: Advice) -> Result<()> {
        match self.advise_part(0, self.len, advice) {
            // A kernel without transparent huge pages.
            Err(Errno::INVAL) => Ok(()),
            other => other,
        }
    }

    /// Gives advice about a part, of which the kernel may refuse any.
    pub fn advise_part(&self, offset: usize, len: usize, advice: Advice) -> Result<()> {
        // SAFETY: The range was checked to be ours, and all access is by copies,
        // which may find it changed or fault.
        unsafe { rustix::mm::madvise(self.at(offset, len).cast(), len, advice) }
    }

    /// The same memory at other addresses.
    pub fn moved(self) -> Result<Self> {
        let target = Self::inaccessible(self.len)?;
        target.place(0, self)?;
        Ok(target)
    }

    /// Makes two of it, the first of them of that length.
    pub fn split(self, at: usize) -> (Self, Self) {
        assert!(at > 0 && at < self.len && at % PAGE == 0, "split at {at}");
        let halves = (
            Self::own(self.start.as_ptr(), at),
            Self::own(self.at(at, 0), self.len - at),
        );
        std::mem::forget(self);
        (
            halves.0.expect("not at address 0"),
            halves.1.expect("not at address 0"),
        )
    }

    /// Has the kernel put all of it into huge pages, if it can.
    pub fn collapse(&self) -> Result<()> {
        // SAFETY: The range is ours, and its content does not change.
        let result =
            unsafe { libc::madvise(self.start.as_ptr().cast(), self.len, libc::MADV_COLLAPSE) };
        check(result.into()).map(drop)
    }

    /// Makes child processes go without it.
    pub fn keep_from_children(&self) -> Result<()> {
        self.advise(Advice::LinuxDontFork)
    }

    /// Drops the pages, so that the next access brings in fresh ones: zeroes,
    /// or again what the file has.
    pub fn discard(&self) -> Result<()> {
        self.advise(Advice::LinuxDontNeed)
    }

    /// The page frame behind each page, 0 for one that is not there. For root.
    pub fn frames(&self) -> anyhow::Result<Vec<u64>> {
        use std::os::unix::fs::FileExt;

        let file = crate::sysfs::open("/proc/self/pagemap")?;
        let mut out = vec![0; self.len / PAGE * 8];
        file.read_exact_at(&mut out, (self.address() / PAGE * 8) as u64)?;
        // Bit 63: present; bits 0-54: the frame.
        Ok(out
            .chunks_exact(8)
            .map(|word| u64::from_ne_bytes(word.try_into().expect("8 bytes")))
            .map(|word| {
                if word >> 63 == 1 {
                    word & ((1 << 55) - 1)
                } else {
                    0
                }
            })
            .collect())
    }
}

/// A key to memory: what the thread that has made it may do there. Stays
/// allocated as long as the process lives, which can have 15.
#[derive(Clone, Copy, Debug)]
pub struct ProtectionKey(libc::c_long);

impl ProtectionKey {
    /// Allows nothing. `ENOSPC` or `EINVAL` if there are no such keys.
    pub fn without_access() -> Result<Self> {
        Self::denying(1)
    }

    /// Allows to read. `ENOSPC` or `EINVAL` if there are no such keys.
    pub fn without_writes() -> Result<Self> {
        Self::denying(2)
    }

    fn denying(rights: libc::c_ulong) -> Result<Self> {
        // SAFETY: No memory has this key yet.
        check(unsafe { libc::syscall(libc::SYS_pkey_alloc, 0, rights) }).map(Self)
    }
}

/// What a bare system call says.
fn check(value: libc::c_long) -> Result<libc::c_long> {
    match value {
        -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
        value => Ok(value),
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: The range is ours and nothing borrows it.
        if let Err(error) = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) } {
            eprintln!("munmap of {} bytes: {error}", self.len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let memory = Memory::anonymous(2 * PAGE).unwrap();
        memory.write(PAGE - 2, &[1, 2, 3, 4]);
        assert_eq!(memory.read(PAGE - 3, 6), [0, 1, 2, 3, 4, 0]);
        memory.write_u32(8, 0x0102_0304);
        assert_eq!(memory.read_u32(8), 0x0102_0304);
    }

    #[test]
    fn transparent_huge_memory_is_aligned() {
        let memory = Memory::transparent_huge(3 * HUGE_2M).unwrap();
        assert_eq!(memory.address() % HUGE_2M, 0);
        assert_eq!(memory.len(), 3 * HUGE_2M);
        memory.write(memory.len() - 1, &[9]);
    }

    #[test]
    #[should_panic(expected = "is not within")]
    fn access_beyond_the_end_is_refused() {
        Memory::anonymous(PAGE).unwrap().read(PAGE - 1, 2);
    }

    #[test]
    fn low_memory_fits_into_31_bits() {
        assert!(Memory::low(PAGE).unwrap().address() < 1 << 31);
    }
}
