// SPDX-License-Identifier: GPL-2.0

//! The type1 backend: one I/O address space per container, filled with memory of the user.
//!
//! A [`Type1`](state::Type1) is the state of one container. Groups are attached to it, each to a
//! domain, which is a page table of the IOMMU; groups share a domain when the hardware lets them.
//! The user maps ranges of its memory, which are pinned and put into *every* domain, so that all
//! devices of the container see the same addresses. The container goes when its last group is
//! detached.
//!
//! | Part | What it does |
//! |---|---|
//! | [`logic`] | Rules that need no kernel, tested on the host |
//! | [`views`] | C structures of drivers: buffers, and devices that are told what is unmapped |
//! | [`memory`] | Memory of the user: pinned, counted against its limit, in runs of frames |
//! | [`mapping`], [`pin_table`], [`tracking`] | What is remembered of each mapping |
//! | [`domains`], [`iova`], [`listeners`] | Page tables; addresses that can be mapped; devices to notify |
//! | [`state`] | All of that, and the lock around it |
//! | [`populate`] | Memory of a mapping into the domains, and back |
//! | [`ioctl`] | Which request goes where |
//! | [`map`], [`unmap`], [`vaddr`] | MAP_DMA; UNMAP_DMA; mappings whose memory moves |
//! | [`dirty`], [`dirty_report`] | DIRTY_PAGES |
//! | [`info`] | GET_INFO and CHECK_EXTENSION |
//! | [`attach`] | Groups come and go |
//! | [`pins`], [`dma_rw`], [`notify`] | Drivers of emulated devices pin, copy, and are notified |
//! | [`exports`], [`params`] | The operations table that the core calls; module parameters |
//!
//! C file: `vfio_iommu_type1.c`.
//!
//! Deviation: each mapping remembers the physical memory behind it. C asks the page table of the
//! first domain, page by page, when it unmaps or when a domain is added.

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
mod state;
mod tracking;
mod uapi;
mod unmap;
mod vaddr;

// The host crate makes these modules public; here nobody outside sees them.
#[allow(unreachable_pub)]
mod logic {
    //! Rules that need no kernel.
    #![forbid(unsafe_code)]

    pub(crate) mod account;
    pub(crate) mod dirty;
    pub(crate) mod iova_ranges;
    pub(crate) mod runs;
    pub(crate) mod units;
    pub(crate) mod unmap_plan;
}

mod memory {
    //! Memory of the user: where it is, that it stays there, and whom it is counted against.

    pub(crate) mod account;
    pub(crate) mod hugetlb;
    pub(crate) mod pfnmap;
    pub(crate) mod pin;
}

mod views {
    //! C structures that the core and drivers pass.

    pub(crate) mod driver_buffers;
    pub(crate) mod unmap_listener;
}
