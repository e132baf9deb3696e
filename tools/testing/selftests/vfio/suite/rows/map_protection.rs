// SPDX-License-Identifier: GPL-2.0
//! What devices may do with memory that the process itself may use in some ways
//! only: rows F180 and F181.

use rustix::io::Errno;
use vfio_selftests::{
    memory::{Memory, ProtectionKey, HUGE_2M},
    PAGE,
};

use crate::{
    harness::{cases, rows, skip, Row, TestResult},
    pinners::{with_pinners, ACCESS},
};

pub(crate) const ROWS: &[Row] = rows![
    F180_protection_of_private_memory.limit(120),
    F180_protection_of_shared_memory.limit(120),
    F180_protection_of_a_memfd.limit(120),
    F180_protection_of_hugetlb.limit(120),
    F180_protection_of_transparent_huge_pages.limit(120),
    F180_protection_changes_within_a_request,
    F180_low_memory,
    F181_keys_do_not_bind_devices,
    F181_keys_do_not_widen_protection,
];

const NONE: i32 = libc::PROT_NONE;
const R: i32 = libc::PROT_READ;
const W: i32 = libc::PROT_WRITE;
const X: i32 = libc::PROT_EXEC;

/// How a request ends.
type End = Result<(), Errno>;
const GOOD: End = Ok(());
const FAULT: End = Err(Errno::FAULT);

/// What the process may do, and what comes of it for devices that shall read,
/// write, or do both. Who may write may not always read.
const PROTECTION: [(&str, i32, [End; 3]); 6] = [
    ("nothing", NONE, [FAULT, FAULT, FAULT]),
    ("read", R, [GOOD, FAULT, FAULT]),
    ("write", W, [FAULT, GOOD, GOOD]),
    ("execute", X, [FAULT, FAULT, FAULT]),
    ("read and execute", R | X, [GOOD, FAULT, FAULT]),
    ("read and write", R | W, [GOOD, GOOD, GOOD]),
];

/// A page, as much as fits into the smallest batch, more than that, and more
/// than fits into the largest.
const SIZES: [usize; 4] = [1, 16, 64, 600];

/// Tries each protection of memory that `make` makes, each size and each access,
/// with the pages there already or not.
fn matrix(make: impl Fn(usize) -> anyhow::Result<Memory>, touched: &[bool]) -> TestResult {
    with_pinners(|pinners| {
        for (protection, prot, expected) in PROTECTION {
            for &touch in touched {
                for pages in cases(SIZES) {
                    for ((access, flags, _), expected) in ACCESS.into_iter().zip(expected) {
                        let memory = make(pages * PAGE)?;
                        if touch {
                            memory.fill(0x5a);
                        }
                        memory.protect(0, memory.len(), prot)?;
                        let there = if touch { "touched" } else { "new" };
                        let case = format!(
                            "{pages} {there} pages, the process may {protection}, \
                             devices shall {access}"
                        );
                        pinners.check(&case, &memory, 0..pages, flags, expected);
                    }
                }
            }
        }
        Ok(())
    })
}

fn F180_protection_of_private_memory() -> TestResult {
    matrix(|len| Ok(Memory::anonymous(len)?), &[true, false])
}

fn F180_protection_of_shared_memory() -> TestResult {
    matrix(|len| Ok(Memory::shared(len)?), &[true, false])
}

fn F180_protection_of_a_memfd() -> TestResult {
    matrix(
        |len| {
            let file = rustix::fs::memfd_create("matrix", rustix::fs::MemfdFlags::CLOEXEC)?;
            rustix::fs::ftruncate(&file, len as u64)?;
            Ok(Memory::of_file(&file, 0, len, true)?)
        },
        &[true, false],
    )
}

fn F180_protection_of_hugetlb() -> TestResult {
    matrix(|len| Ok(Memory::hugetlb(len)?), &[true, false])
}

fn F180_protection_of_transparent_huge_pages() -> TestResult {
    matrix(|len| Ok(Memory::transparent_huge(len)?), &[true])
}

/// The protection of each page counts, not that of the first.
fn F180_protection_changes_within_a_request() -> TestResult {
    with_pinners(|pinners| {
        for make in [Memory::anonymous, Memory::shared, Memory::transparent_huge] {
            let memory = make(HUGE_2M)?;
            memory.fill(1);
            for (first, pages) in cases([(1, 1), (15, 2), (300, 100), (511, 1)]) {
                memory.protect(first * PAGE, pages * PAGE, R)?;
                for ((access, flags, _), expected) in ACCESS.into_iter().zip([GOOD, FAULT, FAULT]) {
                    let case = format!("{pages} read-only pages from {first} on, {access}");
                    pinners.check(&case, &memory, 0..512, flags, expected);
                    // Up to there, and there alone.
                    pinners.check(&case, &memory, 0..first, flags, GOOD);
                    pinners.check(&case, &memory, first..first + pages, flags, expected);
                }
                memory.protect(first * PAGE, pages * PAGE, NONE)?;
                for (access, flags, _) in ACCESS {
                    let case = format!("{pages} inaccessible pages from {first} on, {access}");
                    pinners.check(&case, &memory, 0..512, flags, FAULT);
                    pinners.check(&case, &memory, 0..first, flags, GOOD);
                }
                memory.protect(first * PAGE, pages * PAGE, R | W)?;
            }
            for (_, flags, _) in ACCESS {
                pinners.check("as before", &memory, 0..512, flags, GOOD);
            }
        }
        Ok(())
    })
}

/// Memory where a 32-bit program has it is as good as any.
fn F180_low_memory() -> TestResult {
    with_pinners(|pinners| {
        for touch in [true, false] {
            for pages in cases(SIZES) {
                for (access, flags, _) in ACCESS {
                    let memory = Memory::low(pages * PAGE)?;
                    assert!(memory.address() < 1 << 31);
                    if touch {
                        memory.fill(1);
                    }
                    pinners.check(&format!("low, {access}"), &memory, 0..pages, flags, GOOD);
                }
            }
        }
        Ok(())
    })
}

/// A key, or the end of the test where there are none.
fn key(made: rustix::io::Result<ProtectionKey>) -> anyhow::Result<ProtectionKey> {
    match made {
        Err(Errno::NOSPC | Errno::INVAL | Errno::NOSYS) => {
            skip("this processor has no protection keys")
        }
        other => Ok(other?),
    }
}

/// Protection keys are for what a thread does itself.
fn F181_keys_do_not_bind_devices() -> TestResult {
    let keys = [
        ("no access", key(ProtectionKey::without_access())?),
        ("no writes", key(ProtectionKey::without_writes())?),
    ];
    with_pinners(|pinners| {
        for make in [Memory::anonymous, Memory::shared, Memory::hugetlb] {
            for touch in [true, false] {
                for pages in cases(SIZES) {
                    for ((name, key), access) in keys
                        .into_iter()
                        .flat_map(|key| ACCESS.map(|access| (key, access)))
                    {
                        let (access, flags, _) = access;
                        let memory = make(pages * PAGE)?;
                        if touch {
                            memory.fill(1);
                        }
                        memory.lock(key)?;
                        let case = format!("{pages} pages, {name}, touched: {touch}, {access}");
                        pinners.check(&case, &memory, 0..pages, flags, GOOD);
                    }
                }
            }
        }
        Ok(())
    })
}

/// A key takes rights away and gives none.
fn F181_keys_do_not_widen_protection() -> TestResult {
    let key = key(ProtectionKey::without_writes())?;
    with_pinners(|pinners| {
        let memory = Memory::anonymous(64 * PAGE)?;
        memory.fill(1);
        memory.lock(key)?;
        for (protection, prot, expected) in PROTECTION {
            // The key stays.
            memory.protect(0, memory.len(), prot)?;
            for ((access, flags, _), expected) in ACCESS.into_iter().zip(expected) {
                let case = format!("the process may {protection}, devices shall {access}");
                pinners.check(&case, &memory, 0..64, flags, expected);
            }
        }
        Ok(())
    })
}
