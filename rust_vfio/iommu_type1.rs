// SPDX-License-Identifier: GPL-2.0

//! The type1 backend: one I/O address space per container, in which user memory is mapped.
//!
//! A [`Type1`](state::Type1) is the state of one container. Groups are attached to it, each to a
//! domain, which is a page table of the IOMMU. Groups share a domain if the IOMMU allows that. User
//! space maps ranges of its memory, which are pinned and mapped in *every* domain, so that all
//! devices of the container see the same addresses. The mappings are removed when the last group is
//! detached.
//!
//! | Part | What it contains |
//! |---|---|
//! | [`logic`] | Rules that need no kernel, tested on the host |
//! | [`views`] | Views of C structures: buffers of drivers, devices to notify of unmaps |
//! | [`memory`] | User memory: pins, the account of locked pages, runs of page frames |
//! | [`mapping`] | A mapping |
//! | [`pin_table`], [`tracking`] | Its pages that drivers have pinned; its dirty pages |
//! | [`domains`], [`iova`] | Page tables; addresses that can be mapped |
//! | [`listeners`] | Devices to notify |
//! | [`state`] | The state of a container, and its lock |
//! | [`populate`], [`writer`] | Pinning and mapping the memory of a mapping, and the reverse |
//! | [`ioctl`] | The dispatch of ioctls |
//! | [`map`], [`unmap`], [`vaddr`] | MAP_DMA; UNMAP_DMA; the change of user addresses |
//! | [`dirty`], [`dirty_report`] | DIRTY_PAGES |
//! | [`info`] | GET_INFO and CHECK_EXTENSION |
//! | [`attach`] | Attaching and detaching groups |
//! | [`pins`], [`dma_rw`] | Pinning and copies for drivers of emulated devices |
//! | [`notify`] | Notifications for these drivers |
//! | [`trace`], [`refusal`] | Tracepoints; why a request was refused |
//! | [`show`] | What one can see of a container |
//! | [`exports`], [`params`] | The table of operations that the core calls; module parameters |
//!
//! Corresponds to `vfio_iommu_type1.c`. See contract 6 for what user space and drivers see.
//!
//! Deviation: C asks the page table of the first domain for the physical memory of a mapping, page
//! by page, when it unmaps or when a domain is added. Our mappings record their physical memory in
//! runs of page frames, so that a page table is walked only for pages that are scattered over the
//! memory.

mod attach;
mod dirty;
mod dirty_report;
mod dma_rw;
mod domains;
pub(crate) mod exports;
mod info;
mod ioctl;
mod iova;
mod listeners;
mod map;
mod mapping;
mod notify;
mod params;
mod pin_table;
mod pins;
mod populate;
mod refusal;
mod show;
mod state;
mod trace;
mod tracking;
mod uapi;
mod unmap;
mod vaddr;
mod writer;

// The crate for tests on the host makes these modules public.
#[allow(unreachable_pub)]
mod logic {
    //! Rules that need no kernel.
    //!
    //! The macro for KUnit tests makes unsafe code; the rules themselves are always compiled for
    //! the host as well, where it is forbidden too.
    #![cfg_attr(not(CONFIG_VFIO_RUST_KUNIT_TEST), forbid(unsafe_code))]

    pub(crate) mod account;
    pub(crate) mod dirty;
    pub(crate) mod iova_ranges;
    pub(crate) mod runs;
    pub(crate) mod units;
    pub(crate) mod unmap_plan;
}

mod memory {
    //! User memory: pins, the account of locked pages, and runs of page frames.

    pub(crate) mod account;
    pub(crate) mod hugetlb;
    pub(crate) mod pfnmap;
    pub(crate) mod pin;
    pub(crate) mod pinned_memory;
}

mod views {
    //! Views of the C structures that the core and drivers pass.

    pub(crate) mod driver_buffers;
    pub(crate) mod unmap_listener;
}
