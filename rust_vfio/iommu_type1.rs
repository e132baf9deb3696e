// SPDX-License-Identifier: GPL-2.0

//! The type1 backend: one I/O address space per container, filled with memory of the user.
//!
//! A [`Type1`] is the state of one container. Groups are attached to it, each to a domain, which
//! is a page table of the IOMMU; groups share a domain when the hardware lets them. The user maps
//! ranges of its memory, which are pinned and put into *every* domain, so that all devices of the
//! container see the same addresses. The container goes when its last group is detached.
//!
//! | Part | What it does |
//! |---|---|
//! | [`abi`] | The operations table that the core calls |
//! | [`dma`] | MAP_DMA |
//! | [`unmap`] | UNMAP_DMA |
//! | [`vaddr`] | Mappings whose memory moves to another address or process |
//! | [`dirty`], [`dirty_report`] | DIRTY_PAGES |
//! | [`pins`] | Pages that drivers of emulated devices use |
//! | [`dma_rw`] | Copies that drivers make |
//! | [`listeners`] | Drivers that are told which mappings go |
//! | [`mapping`] | What is remembered of each mapping, and how one is found |
//! | [`populate`] | Memory of a mapping: pinned, charged, mapped into the domains, and back |
//! | [`domains`] | Groups come and go; domains |
//! | [`iova`] | Which addresses can be mapped |
//! | [`info`] | GET_INFO and CHECK_EXTENSION |
//! | [`params`] | Module parameters |
//!
//! # Locking
//!
//! One mutex per container protects [`State`], that is, everything. It is taken inside the locks
//! of the core, and outside of the `mmap_lock` of any process (pinning, charging, page faults of
//! user memory that is copied) and the locks of the IOMMU core. Drivers are never called under
//! it; they call this module with locks of their own held. Before a driver is called, the lock of
//! its device's registration is taken, see [`listeners`].
//!
//! C file: `vfio_iommu_type1.c`. Deviations, besides those that the parts name: each mapping
//! remembers the physical memory behind it. C asks the page table of the first domain, page by
//! page, when it unmaps or when a domain is added.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use crate::{
    ffi::{
        iommu::Group,
        mm::Owner,
        pin::PageBuffer,
        type1_uapi as uapi,
        uapi::UserAddr, //
    },
    logic::{
        units::IovaRange,
        unmap_plan::{
            Refusal,
            Version, //
        }, //
    }, //
};

pub(crate) mod abi;
mod dirty;
mod dirty_report;
mod dma;
mod dma_rw;
mod domains;
mod info;
mod iova;
mod listeners;
mod mapping;
mod params;
mod pins;
mod populate;
mod unmap;
mod vaddr;

use dirty::Tracking;
use domains::Domains;
use listeners::Listeners;
use mapping::Mappings;

/// The state of a container.
#[pin_data]
pub(crate) struct Type1 {
    #[pin]
    state: Mutex<State>,
}

/// What the lock of a container protects. See [`Type1`].
struct State {
    /// Which rules apply to the user's requests; never changes.
    version: Version,
    /// What the user has mapped.
    mappings: Mappings,
    /// The page tables and the groups that use them.
    domains: Domains,
    /// Groups of emulated devices. They have no page table.
    emulated: KVec<Group>,
    /// The addresses that may be mapped, sorted. Empty while no domain has ever been attached:
    /// then all may.
    valid: KVec<IovaRange>,
    /// How many mappings can be added.
    available: u32,
    /// How many mappings have lost their user address.
    invalid_vaddrs: u32,
    /// Whether dirty pages are tracked.
    tracking: Option<Tracking>,
    /// Devices whose drivers may have pinned pages.
    listeners: Listeners,
    /// Who made the latest mapping, shared by all mappings of the same process.
    owner: Option<Arc<Owner>>,
    /// For pinning.
    buffer: PageBuffer,
}

impl Type1 {
    /// Creates the state for a container of type `kind`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` for a type that is not ours.
    fn open(kind: usize) -> Result<Pin<KBox<Self>>> {
        let version = match kind {
            uapi::extension::TYPE1 => Version::V1,
            uapi::extension::TYPE1_V2 => Version::V2,
            _ => return Err(EINVAL),
        };
        KBox::pin_init(
            pin_init!(Self {
                state <- new_mutex!(State {
                    version,
                    mappings: Mappings::new(),
                    domains: Domains::new(),
                    emulated: KVec::new(),
                    valid: KVec::new(),
                    available: params::dma_entry_limit(),
                    invalid_vaddrs: 0,
                    tracking: None,
                    listeners: Listeners::new(),
                    owner: None,
                    buffer: PageBuffer::new(),
                }, "vfio_type1"),
            }),
            GFP_KERNEL,
        )
    }

    /// Handles a request of the user to the container that the core does not know.
    ///
    /// # Errors
    ///
    /// `ENOTTY` if this backend does not know it either, otherwise what the request says.
    fn ioctl(&self, request: u32, arg: UserAddr) -> Result<isize> {
        match request {
            uapi::CHECK_EXTENSION => Ok(info::check_extension(Some(self), arg.get())),
            uapi::IOMMU_GET_INFO => self.get_info(arg),
            uapi::IOMMU_MAP_DMA => self.map_dma(arg),
            uapi::IOMMU_UNMAP_DMA => self.unmap_dma(arg),
            uapi::IOMMU_DIRTY_PAGES => self.dirty_pages(arg),
            _ => Err(ENOTTY),
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // The groups that are left are detached after that, with their domains.
        self.remove_all_mappings();
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid => EINVAL,
            Refusal::Overflow => EOVERFLOW,
        }
    }
}
