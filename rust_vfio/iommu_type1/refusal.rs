// SPDX-License-Identifier: GPL-2.0

//! Why a request about the memory of a container was refused, for the people who have to find out.
//!
//! User space gets an errno, which is part of the ABI and often stands for several reasons. The
//! reason goes to the tracepoint `vfio_dma_refused` and to the kernel log, there at most ten times
//! in five seconds for each kind. `docs/observability.md` lists the reasons.
//!
//! Deviation: C says nothing in these cases, except that a limit of locked memory was reached or
//! that interrupts are not isolated. These lines are as in C, and ours come in addition.

use kernel::{
    fmt,
    prelude::*,
    str::CStr, //
};

use crate::{
    iommu_type1::{
        logic::{
            iova_ranges::span,
            units::{
                IovaRange,
                PageCount, //
            }, //
        },
        params,
        trace, //
    },
    kernel::{
        mm,
        task::TaskName,
        text::Text, //
    }, //
};

/// A reason.
pub(super) enum DmaRefusal {
    /// The request has a size or flags that the interface does not have.
    Arguments { argsz: u32, flags: u32 },
    /// Numbers are no multiples of the smallest page of the IOMMU, are zero, or wrap.
    Range { iova: u64, vaddr: u64, size: u64 },
    /// A mapping is in the way.
    Overlap { range: IovaRange, other: IovaRange },
    /// The container has as many mappings as it may have.
    Entries,
    /// The IOMMU cannot translate the addresses.
    Aperture { range: IovaRange, all: IovaRange },
    /// The addresses, or some of them, are reserved: for interrupts, say, or by the firmware.
    Reserved { range: IovaRange },
    /// There is no user memory, or none that may be used in this way.
    NoMemory {
        vaddr: usize,
        size: u64,
        write: bool,
    },
    /// The process may not lock so much memory.
    Memlock {
        more: PageCount,
        used: PageCount,
        limit: PageCount,
    },
    /// A mapping can only be unmapped as a whole.
    Partial {
        range: IovaRange,
        mapping: IovaRange,
    },
    /// Drivers of emulated devices did not unpin pages.
    Pinned { mapping: IovaRange },
    /// A group cannot have what is mapped already.
    Mapped {
        group: i32,
        range: Option<IovaRange>,
    },
    /// Devices of a group could raise any interrupt.
    Interrupts { group: i32 },
}

impl DmaRefusal {
    /// Returns the reason for numbers that no range of addresses can have.
    pub(super) fn of_numbers(iova: u64, vaddr: u64, size: u64) -> Self {
        Self::Range { iova, vaddr, size }
    }

    /// Returns why `range` is not within one of the `valid` ranges.
    pub(super) fn of_addresses(range: IovaRange, valid: &[IovaRange]) -> Self {
        match span(valid) {
            Some(all) if !all.contains(range) => Self::Aperture { range, all },
            _ => Self::Reserved { range },
        }
    }

    /// Returns the reason if a request for `range` would cut `mapping`.
    pub(super) fn partial(range: IovaRange, mapping: IovaRange) -> Self {
        Self::Partial { range, mapping }
    }

    /// Reports the reason, and returns `error`, which user space gets.
    #[cold]
    pub(super) fn report(&self, error: Error) -> Error {
        let (kind, name) = self.kind();
        if trace::refused_is_on() {
            trace::refused(name, error.to_errno(), Text::of(self).as_c_str());
        }
        if mm::may_report(kind) {
            pr_notice!(
                "{}: error {}: {}\n",
                TaskName::current(),
                error.to_errno(),
                self
            );
        }
        error
    }

    /// Returns a number for the kind of the reason, by which the log is limited, and a short name
    /// of it, for filters.
    fn kind(&self) -> (u32, &'static CStr) {
        match self {
            Self::Arguments { .. } => (0, c"arguments"),
            Self::Range { .. } => (1, c"range"),
            Self::Overlap { .. } => (2, c"overlap"),
            Self::Entries => (3, c"entries"),
            Self::Aperture { .. } => (4, c"aperture"),
            Self::Reserved { .. } => (5, c"reserved"),
            Self::NoMemory { .. } => (6, c"no-memory"),
            Self::Memlock { .. } => (7, c"memlock"),
            Self::Partial { .. } => (8, c"partial"),
            Self::Pinned { .. } => (9, c"pinned"),
            Self::Mapped { .. } => (10, c"mapped"),
            Self::Interrupts { .. } => (11, c"interrupts"),
        }
    }
}

impl fmt::Display for DmaRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments { argsz, flags } => write!(
                f,
                "argsz {argsz} is too small, or flags {flags:#x} are unknown or exclude each other"
            ),
            Self::Range { iova, vaddr, size } => write!(
                f,
                "iova {iova:#x}, vaddr {vaddr:#x} or size {size:#x} is no multiple of the \
                 smallest page of the IOMMU, or zero, or too large"
            ),
            Self::Overlap { range, other } => {
                write!(
                    f,
                    "{range} overlaps what is mapped at {other}; unmap that first"
                )
            }
            Self::Entries => write!(
                f,
                "the container has as many mappings as the module parameter dma_entry_limit \
                 allowed ({} by now); map larger pieces, or raise it before SET_IOMMU",
                params::dma_entry_limit()
            ),
            Self::Aperture { range, all } => write!(
                f,
                "{range} is outside of {all}, which is what the IOMMU can translate; GET_INFO \
                 lists the valid ranges"
            ),
            Self::Reserved { range } => write!(
                f,
                "{range} has addresses that are reserved for interrupts or by the firmware; \
                 GET_INFO lists the valid ranges"
            ),
            Self::NoMemory { vaddr, size, write } => write!(
                f,
                "{size} bytes at vaddr {vaddr:#x} are not all {} memory that can be pinned",
                if *write { "writable" } else { "readable" }
            ),
            Self::Memlock { more, used, limit } => write!(
                f,
                "{} KiB of memory would be locked besides {} KiB, RLIMIT_MEMLOCK is {} KiB; raise \
                 it (ulimit -l, LimitMEMLOCK= of a service, hard_limit of libvirt)",
                kib(*more),
                kib(*used),
                kib(*limit)
            ),
            Self::Partial { range, mapping } => write!(
                f,
                "{range} has a part of the mapping {mapping}, which can only be unmapped as a whole"
            ),
            Self::Pinned { mapping } => write!(
                f,
                "the driver of an emulated device does not unpin pages of the mapping {mapping}"
            ),
            Self::Mapped {
                group,
                range: Some(range),
            } => write!(
                f,
                "group {group} reserves {range}, where something is mapped"
            ),
            Self::Mapped { group, range: None } => write!(
                f,
                "the IOMMU of group {group} cannot translate the addresses that are in use"
            ),
            Self::Interrupts { group } => write!(
                f,
                "the interrupts of group {group} are not isolated; switch interrupt remapping on, \
                 or set the module parameter allow_unsafe_interrupts"
            ),
        }
    }
}

/// Returns `pages` in KiB.
fn kib(pages: PageCount) -> u64 {
    pages.bytes(mm::SHIFT) >> 10
}
