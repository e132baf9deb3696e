// SPDX-License-Identifier: GPL-2.0

//! The domains of a container: page tables of the IOMMU, and the groups attached to them.
//!
//! The same memory is mapped in each domain. A group gets a domain of its own if it cannot be
//! attached to one of those that exist.
//!
//! Corresponds to `struct vfio_domain` and `struct vfio_iommu_group`, and to the functions
//! `vfio_iommu_map()` and `vfio_update_pgsize_bitmap()`.

use kernel::prelude::*;

use crate::{
    iommu_type1::{
        iova,
        logic::{
            iova_ranges::{
                Reserved,
                ReservedKind, //
            },
            runs::{
                room_at,
                Run, //
            },
            units::{
                Iova,
                IovaRange,
                Pfn, //
            }, //
        },
        memory::pinned_memory::PageTables, //
    },
    kernel::{
        iommu::{
            GroupHandle,
            IommuProt,
            PagingDomain,
            ResvType, //
        },
        mm,
        scatterlist::ScatterList, //
    }, //
};

/// A group that is attached to a domain. Corresponds to `struct vfio_iommu_group`.
pub(super) struct DomainMember {
    pub(super) group: GroupHandle,
    /// Whether drivers of the group pin the pages that its devices write to, so that other pages
    /// stay clean. Corresponds to `pinned_page_dirty_scope`.
    pub(super) pins: bool,
}

/// A page table and the groups attached to it. Dropping it detaches them. Corresponds to
/// `struct vfio_domain`.
pub(super) struct Domain {
    pub(super) paging: PagingDomain,
    pub(super) members: KVec<DomainMember>,
    /// Whether all DMA is cache-coherent, even if a device asks for no snooping. Corresponds to
    /// `enforce_cache_coherency`.
    pub(super) coherent: bool,
}

impl Domain {
    /// Creates a domain and attaches `group` to it.
    ///
    /// # Errors
    ///
    /// - `ENODEV` if the group has no device.
    /// - `ENOMEM`, or any errno of the IOMMU driver's `domain_alloc_paging`.
    /// - Those of [`Domain::attach`].
    pub(super) fn new(group: GroupHandle) -> Result<Self> {
        let mut domain = Self {
            paging: group.new_domain()?,
            members: KVec::new(),
            coherent: false,
        };
        domain.attach(group)?;
        Ok(domain)
    }

    /// Attaches `group`.
    ///
    /// # Errors
    ///
    /// - `ENOMEM` if there is no memory.
    /// - `EBUSY` if the group is attached to another domain, or a device of it is being reset.
    /// - `EINVAL` if the domain does not fit the devices, or any other errno of the IOMMU driver's
    ///   `attach_dev`.
    pub(super) fn attach(&mut self, group: GroupHandle) -> Result {
        self.members.reserve(1, GFP_KERNEL)?;
        self.paging.attach(group)?;
        let member = DomainMember { group, pins: false };
        // This does not fail, as room was reserved above.
        self.members.push(member, GFP_KERNEL)?;
        Ok(())
    }

    /// Detaches `group` and returns its entry, or `None` if it is not attached to this domain.
    pub(super) fn detach(&mut self, group: GroupHandle) -> Option<DomainMember> {
        let index = self.members.iter().position(|other| other.group == group)?;
        self.paging.detach(group);
        self.members.remove(index).ok()
    }

    /// Returns the I/O addresses that can be mapped, or `None` if the IOMMU driver reports none.
    pub(super) fn aperture(&self) -> Option<IovaRange> {
        let (first, last) = self.paging.aperture();
        IovaRange::new(Iova::new(first), Iova::new(last))
    }

    /// Maps `run` at `iova`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or any other errno of the IOMMU driver. Nothing is mapped then.
    pub(super) fn map(&self, iova: Iova, run: Run, prot: IommuProt) -> Result {
        let bytes = run.pages().bytes(mm::SHIFT);
        let physical = run.first().get() << mm::SHIFT;
        // CAST: Every run is in a mapping, for whose addresses MAP_DMA has checked that they fit
        // native words.
        let (iova, bytes) = (iova.get() as usize, bytes as usize);
        // SAFETY: The run is memory of user space, which may be changed at any time, or memory of a
        // device. The callers keep its pages pinned until `unmap` of all domains has succeeded
        // (`PinnedMemory::release`), so they are not used for anything else meanwhile.
        unsafe { self.paging.map(iova, physical, bytes, prot) }
    }

    /// Maps the pieces of `list`, one behind the other, from `iova` on.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or any other errno of the IOMMU driver. Nothing is mapped then.
    fn map_list(&self, iova: Iova, list: &ScatterList, prot: IommuProt) -> Result {
        // CAST: As in `map`.
        let iova = iova.get() as usize;
        // SAFETY: As in `map`.
        unsafe { self.paging.map_list(iova, list, prot) }
    }

    /// Unmaps `range` and flushes the IOTLB, so that no device can access it any more.
    ///
    /// Returns whether all of it was mapped and has been unmapped.
    pub(super) fn unmap(&self, range: IovaRange) -> bool {
        // CAST: The range is that of a mapping or a part of it, so its addresses fit native words.
        let (iova, bytes) = (range.first().get() as usize, range.bytes() as usize);
        self.paging.unmap(iova, bytes) == bytes
    }

    /// Unmaps `range` in steps, between which other tasks can run. For a domain that is not used
    /// any more.
    ///
    /// A step ends where no run goes on, as the IOMMU may map a run by one entry, which it can only
    /// remove as a whole.
    pub(super) fn unmap_in_steps(&self, range: IovaRange) {
        let mut rest = Some(range);
        while let Some(range) = rest {
            let first = range.first();
            let end = first.behind(room_at(first, mm::SHIFT), mm::SHIFT);
            // There is no such step at the top of the address space.
            let step = range.below(end).unwrap_or(range);
            self.unmap(step);
            mm::cond_resched();
            rest = range.above(step.last());
        }
    }

    /// Returns whether groups of the domain `other` may be attached to this one instead.
    pub(super) fn replaces(&self, other: &Self) -> bool {
        // Tests build a backend in which each group has a domain of its own (`make test SPLIT=1`).
        !cfg!(vfio_split_domains)
            && self.paging.same_kind(&other.paging)
            && self.coherent == other.coherent
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        for member in &self.members {
            self.paging.detach(member.group);
        }
    }
}

/// All domains of a container. Corresponds to `domain_list` and `pgsize_bitmap` of
/// `struct vfio_iommu`.
pub(super) struct Domains {
    pub(super) list: KVec<Domain>,
    /// The page sizes that all of them have, as a bitmap.
    page_sizes: u64,
}

impl Domains {
    /// The page sizes of a container without a domain: all that are not smaller than a base page.
    const ALL_PAGE_SIZES: u64 = !((1 << mm::SHIFT) - 1);

    /// Creates an empty list.
    pub(super) const fn new() -> Self {
        Self {
            list: KVec::new(),
            page_sizes: Self::ALL_PAGE_SIZES,
        }
    }

    /// Returns whether there is no domain. Then nothing is mapped for devices, and only drivers of
    /// emulated devices pin pages.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the page sizes that all domains have, as a bitmap: bit n stands for 2^n bytes.
    pub(super) fn page_sizes(&self) -> u64 {
        self.page_sizes
    }

    /// Returns whether all DMA of all groups is cache-coherent; true if there is no domain.
    #[doc(alias = "vfio_domains_have_enforce_cache_coherency")]
    pub(super) fn all_enforce_coherency(&self) -> bool {
        self.list.iter().all(|domain| domain.coherent)
    }

    /// Returns the domain to which `group` is attached.
    pub(super) fn of(&self, group: GroupHandle) -> Option<&PagingDomain> {
        let domain = self
            .list
            .iter()
            .find(|domain| domain.members.iter().any(|member| member.group == group))?;
        Some(&domain.paging)
    }

    /// Returns whether there is a group whose devices can write to any page without a driver of the
    /// group having pinned it. Corresponds to `num_non_pinned_groups` not being zero.
    pub(super) fn write_anywhere(&self) -> bool {
        self.list
            .iter()
            .flat_map(|domain| domain.members.iter())
            .any(|member| !member.pins)
    }

    /// Records that drivers of `group` pin the pages that its devices write to. Does nothing if the
    /// group is attached to none of the domains.
    pub(super) fn mark_as_pinning(&mut self, group: GroupHandle) {
        let members = self
            .list
            .iter_mut()
            .flat_map(|domain| domain.members.iter_mut());
        for member in members.filter(|member| member.group == group) {
            member.pins = true;
        }
    }

    /// Returns the addresses that can be mapped in every domain, or `None` if there are none.
    pub(super) fn aperture(&self) -> Option<IovaRange> {
        self.list.iter().try_fold(IovaRange::ALL, |all, domain| {
            all.intersection(domain.aperture()?)
        })
    }

    /// Returns the reserved regions of all groups.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory.
    pub(super) fn reserved(&self) -> Result<KVVec<Reserved>> {
        let mut all = iova::reserved_list()?;
        for member in self.list.iter().flat_map(|domain| domain.members.iter()) {
            append_reserved(member.group, &mut all)?;
        }
        Ok(all)
    }

    /// Maps `run` at `iova` in every domain.
    ///
    /// # Errors
    ///
    /// Those of [`Domain::map`] for one of the domains. The run is then mapped in no domain any
    /// more; [`NotMapped`] says whether that is certain.
    #[doc(alias = "vfio_iommu_map")]
    pub(super) fn map(&self, iova: Iova, run: Run, prot: IommuProt) -> Result<(), NotMapped> {
        let bytes = run.pages().bytes(mm::SHIFT);
        self.map_in_all(iova, bytes, |domain| domain.map(iova, run, prot))
    }

    /// Maps the pieces of `list`, one behind the other, from `iova` on in every domain.
    ///
    /// # Errors
    ///
    /// Those of [`Domain::map_list`] for one of the domains. Nothing of it is then mapped in any
    /// domain any more; [`NotMapped`] says whether that is certain.
    pub(super) fn map_list(
        &self,
        iova: Iova,
        list: &ScatterList,
        prot: IommuProt,
    ) -> Result<(), NotMapped> {
        // CAST: A `usize` fits into an `u64`.
        let bytes = list.bytes() as u64;
        self.map_in_all(iova, bytes, |domain| domain.map_list(iova, list, prot))
    }

    /// Calls `map`, which maps the `bytes` bytes from `iova` on, for each domain. If one fails they
    /// are unmapped from those before.
    ///
    /// # Errors
    ///
    /// The errno of `map`.
    fn map_in_all(
        &self,
        iova: Iova,
        bytes: u64,
        map: impl Fn(&Domain) -> Result,
    ) -> Result<(), NotMapped> {
        for (done, domain) in self.list.iter().enumerate() {
            let Err(error) = map(domain) else {
                continue;
            };
            let earlier = self.list.get(..done).unwrap_or_default();
            let reach = unmap_again(earlier, iova, bytes);
            return Err(NotMapped { error, reach });
        }
        Ok(())
    }

    /// Unmaps the `bytes` bytes from `iova` on, all of which is mapped, from every domain again.
    pub(super) fn withdraw(&self, iova: Iova, bytes: u64) -> Reach {
        unmap_again(&self.list, iova, bytes)
    }

    /// Computes the page sizes again after a domain was added or removed.
    ///
    /// Sizes below that of a base page are replaced by it: memory is pinned in base pages, which
    /// the IOMMU driver can map with smaller ones.
    #[doc(alias = "vfio_update_pgsize_bitmap")]
    pub(super) fn update_page_sizes(&mut self) {
        let common = self
            .list
            .iter()
            .fold(u64::MAX, |sizes, domain| sizes & domain.paging.page_sizes());
        self.page_sizes = common & Self::ALL_PAGE_SIZES;
        if common != self.page_sizes {
            self.page_sizes |= 1 << mm::SHIFT;
        }
    }
}

impl PageTables for Domains {
    fn frame_at(&self, iova: Iova) -> Option<Pfn> {
        // The same memory is mapped in all domains.
        let physical = self.list.first()?.paging.physical(iova.get())?;
        Some(Pfn::new(physical >> mm::SHIFT))
    }

    #[doc(alias = "unmap_unpin_fast")]
    fn unmap(&self, range: IovaRange) -> bool {
        unmap_all(&self.list, range)
    }
}

/// Unmaps `range`, all of which is mapped, from all `domains`.
///
/// Returns whether no device can access it any more. If not, the kernel warns.
fn unmap_all(domains: &[Domain], range: IovaRange) -> bool {
    // The range is unmapped from the other domains even if one fails.
    let failed = domains.iter().filter(|domain| !domain.unmap(range)).count();
    kernel::warn_on!(failed != 0);
    failed == 0
}

/// Unmaps the `bytes` bytes from `iova` on from all `domains`. Returns whether devices can still
/// reach them.
fn unmap_again(domains: &[Domain], iova: Iova, bytes: u64) -> Reach {
    let range = IovaRange::with_len(iova, bytes);
    match range.is_ok_and(|range| unmap_all(domains, range)) {
        true => Reach::Ended,
        false => Reach::Lasting,
    }
}

/// The failure of [`Domains::map`] and [`Domains::map_list`].
pub(super) struct NotMapped {
    pub(super) error: Error,
    pub(super) reach: Reach,
}

/// Whether devices can reach memory that could not be mapped everywhere. In any case they could for
/// a moment: also a domain that fails maps piece by piece, and then unmaps.
#[derive(Clone, Copy)]
pub(super) enum Reach {
    /// They cannot any more.
    Ended,
    /// A domain could not unmap it, so they can for ever.
    Lasting,
}

/// Appends the reserved regions of `group` to `regions`.
///
/// # Errors
///
/// `ENOMEM` if there is no memory.
pub(super) fn append_reserved(group: GroupHandle, regions: &mut KVVec<Reserved>) -> Result {
    group.for_each_reserved(|region| {
        // A region of size zero reserves nothing. One that reaches beyond the address space
        // reserves the rest of it.
        let first = Iova::new(region.start);
        let Some(rest) = region.length.checked_sub(1) else {
            return Ok(());
        };
        let last = first.checked_add(rest).unwrap_or(Iova::MAX);
        let kind = match region.kind {
            ResvType::DirectRelaxable => ReservedKind::Relaxable,
            ResvType::Msi => ReservedKind::Msi,
            ResvType::SwMsi => ReservedKind::SoftwareMsi,
            ResvType::Other => ReservedKind::Excluded,
        };
        if let Some(range) = IovaRange::new(first, last) {
            regions.push(Reserved { range, kind }, GFP_KERNEL)?;
        }
        Ok(())
    })
}
