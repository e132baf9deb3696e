// SPDX-License-Identifier: GPL-2.0

//! The state of a container, and the lock that protects it.
//!
//! One mutex per container protects [`Type1State`], that is, everything. It is taken inside the
//! locks of the core, and outside of the `mmap_lock` of any process (pinning, accounting, page
//! faults of user memory that is copied) and the locks of the IOMMU core. Drivers are never called
//! under it; they call this module with locks of their own held. Before a driver is called, the
//! lock of its device's registration is taken, see [`notify`](crate::iommu_type1::notify).
//!
//! Corresponds to `struct vfio_iommu` and `vfio_iommu_type1_open()`.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use crate::{
    iommu_type1::{
        domains::Domains,
        listeners::Listeners,
        logic::{
            units::IovaRange,
            unmap_plan::{
                RangeRefusal,
                Target,
                Version, //
            }, //
        },
        mapping::Mappings,
        memory::account::Owner,
        params,
        tracking::Tracking,
        uapi, //
    },
    kernel::{
        iommu::GroupHandle,
        pages::PageBuffer, //
    }, //
};

/// The state of a container.
#[pin_data]
pub(crate) struct Type1 {
    #[pin]
    pub(super) state: Mutex<Type1State>,
}

/// What the lock of a container protects. See [`Type1`].
pub(super) struct Type1State {
    /// Which rules apply to the user's requests; never changes.
    pub(super) version: Version,
    /// What the user has mapped.
    pub(super) mappings: Mappings,
    /// The page tables and the groups that use them.
    pub(super) domains: Domains,
    /// Groups of emulated devices. They have no page table.
    pub(super) emulated: KVec<GroupHandle>,
    /// The addresses that may be mapped, sorted. Empty while no domain has ever been attached:
    /// then all may.
    pub(super) valid: KVec<IovaRange>,
    /// How many mappings can be added.
    pub(super) available: u32,
    /// How many mappings have lost their user address.
    pub(super) invalid_vaddrs: u32,
    /// Whether dirty pages are tracked.
    pub(super) tracking: Option<Tracking>,
    /// Devices whose drivers may have pinned pages.
    pub(super) listeners: Listeners,
    /// Who made the latest mapping, shared by all mappings of the same process.
    pub(super) owner: Option<Arc<Owner>>,
    /// For pinning.
    pub(super) buffer: PageBuffer,
}

impl Type1 {
    /// Creates the state for a container of type `kind`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` for a type that is not ours.
    pub(super) fn open(kind: usize) -> Result<Pin<KBox<Self>>> {
        let version = match kind {
            uapi::extension::TYPE1 => Version::V1,
            uapi::extension::TYPE1_V2 => Version::V2,
            _ => return Err(EINVAL),
        };
        KBox::pin_init(
            pin_init!(Self {
                state <- new_mutex!(Type1State {
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
}

impl Type1State {
    /// The calling process, as the owner of a mapping. Shared with earlier mappings of the same.
    pub(super) fn current_owner(&mut self) -> Result<Arc<Owner>> {
        if let Some(owner) = &self.owner {
            if owner.is_current() {
                return Ok(owner.clone());
            }
        }
        let owner = Arc::new(Owner::current()?, GFP_KERNEL)?;
        self.owner = Some(owner.clone());
        Ok(owner)
    }

    /// Refuses to cut a mapping in two.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `target` would.
    pub(super) fn check_cuts(&self, target: Target) -> Result {
        let request = target.range();
        for edge in [request.first(), request.last()] {
            let found = self.mappings.next_from(edge);
            if found.is_some_and(|found| target.cuts(self.version, found)) {
                return Err(EINVAL);
            }
        }
        Ok(())
    }
}

impl From<RangeRefusal> for Error {
    fn from(refusal: RangeRefusal) -> Self {
        match refusal {
            RangeRefusal::Invalid => EINVAL,
            RangeRefusal::Overflow => EOVERFLOW,
        }
    }
}
