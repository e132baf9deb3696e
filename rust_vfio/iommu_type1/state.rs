// SPDX-License-Identifier: GPL-2.0

//! The state of a container, and the lock that protects it.
//!
//! One mutex per container protects [`Type1State`], which is all of its state. It is taken inside
//! of the locks of the core and of drivers that call this module, and outside of the `mmap_lock` of
//! processes (pinning, accounting, page faults of user memory that is copied) and the locks of the
//! IOMMU core. Drivers are never called with it held; see [`notify`](crate::iommu_type1::notify)
//! for the lock that is held instead.
//!
//! Corresponds to `struct vfio_iommu` and `vfio_iommu_type1_open()` (contract 6.1 and 6.2).

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
        iova::ValidRanges,
        listeners::Listeners,
        logic::{
            unmap_plan::{
                RangeRefusal,
                Target,
                Version, //
            }, //
        },
        mapping::Mappings,
        memory::account::{
            Locked,
            Owner, //
        },
        params,
        pin_table::PinSlot,
        populate::Buffers,
        refusal::DmaRefusal,
        tracking::Tracking,
        uapi, //
    },
    kernel::{
        iommu::GroupHandle,
        short_vec::ShortVec,
        slab::SlabBox, //
    }, //
};

/// The state of a container, with its lock. Corresponds to `struct vfio_iommu`.
#[pin_data]
pub(crate) struct Type1 {
    #[pin]
    pub(super) state: Mutex<Type1State>,
}

/// The state of a container that its lock protects.
pub(super) struct Type1State {
    /// The version of the interface, which never changes (`v2`).
    pub(super) version: Version,
    /// The mappings (`dma_list`).
    pub(super) mappings: Mappings,
    /// The page tables and the groups attached to them (`domain_list`).
    pub(super) domains: Domains,
    /// The groups of emulated devices, which have no page table (`emulated_iommu_groups`).
    pub(super) emulated: ShortVec<GroupHandle>,
    /// The I/O addresses that may be mapped, sorted (`iova_list`). Empty as long as no domain was
    /// attached, when every address may be mapped.
    pub(super) valid: ValidRanges,
    /// The number of mappings that can be added (`dma_avail`).
    pub(super) available: u32,
    /// The number of mappings whose user address is not valid (`vaddr_invalid_count`).
    pub(super) invalid_vaddrs: u32,
    /// How dirty pages are tracked, or `None` if they are not (`dirty_page_tracking`).
    pub(super) tracking: Option<Tracking>,
    /// The devices whose drivers may have pinned pages (`device_list`).
    pub(super) listeners: Listeners,
    /// The owner of the latest mapping, which further mappings of the same process share.
    pub(super) owner: Option<Arc<Owner>>,
    /// The number of pages that are accounted, once there was a mapping.
    pub(super) locked: Option<Arc<Locked>>,
    /// The number of pages that drivers have pinned.
    pub(super) driver_pins: u64,
    /// What is needed to pin and to map.
    pub(super) buffers: Buffers,
    /// The memory of a pin that a driver has given up, for the next one: many drivers pin a page
    /// for each transfer.
    pub(super) spare_pin: Option<PinSlot>,
}

impl Type1 {
    /// Creates the state for a container of the IOMMU type `kind`.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if `kind` is neither `VFIO_TYPE1_IOMMU` nor `VFIO_TYPE1v2_IOMMU`.
    /// - `ENOMEM` if there is no memory.
    #[doc(alias = "vfio_iommu_type1_open")]
    pub(super) fn open(kind: usize) -> Result<Pin<SlabBox<Self>>> {
        let version = match kind {
            uapi::extension::TYPE1 => Version::V1,
            uapi::extension::TYPE1_V2 => Version::V2,
            _ => return Err(EINVAL),
        };
        SlabBox::pin_init(
            pin_init!(Self {
                state <- new_mutex!(Type1State {
                    version,
                    mappings: Mappings::new(),
                    domains: Domains::new(),
                    emulated: ShortVec::new(),
                    valid: ValidRanges::new(),
                    available: params::dma_entry_limit(),
                    invalid_vaddrs: 0,
                    tracking: None,
                    listeners: Listeners::new(),
                    owner: None,
                    locked: None,
                    driver_pins: 0,
                    buffers: Buffers::default(),
                    spare_pin: None,
                }, "vfio_type1"),
            }),
            GFP_KERNEL,
        )
    }
}

impl Type1State {
    /// Returns the calling process as the owner of a mapping, shared with the latest mapping if
    /// that has the same owner.
    ///
    /// # Errors
    ///
    /// - `ENODEV` if the calling task has no user memory.
    /// - `ENOMEM` if there is no memory.
    pub(super) fn current_owner(&mut self) -> Result<Arc<Owner>> {
        if let Some(owner) = &self.owner {
            if owner.is_current() {
                return Ok(owner.clone());
            }
        }
        let locked = match &self.locked {
            Some(locked) => locked.clone(),
            None => self.locked.insert(Locked::new()?).clone(),
        };
        let owner = Arc::new(Owner::current(locked)?, GFP_KERNEL)?;
        self.owner = Some(owner.clone());
        Ok(owner)
    }

    /// Checks that `target` covers no mapping only in part. With version 1, or for all addresses,
    /// it may.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it does.
    pub(super) fn check_cuts(&self, target: Target) -> Result {
        let request = target.range();
        for edge in [request.first(), request.last()] {
            match self.mappings.next_from(edge) {
                Some(found) if target.cuts(self.version, found) => {
                    return Err(DmaRefusal::partial(request, found).report(EINVAL));
                }
                _ => {}
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
