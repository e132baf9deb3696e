// SPDX-License-Identifier: GPL-2.0

//! The domains of a container: page tables of the IOMMU, and the groups whose devices use them.
//!
//! The same memory is mapped in each of them. A group that cannot use the domains that are there
//! brings one more.
//!
//! Corresponds to `struct vfio_domain` and `struct vfio_iommu_group`.

use kernel::prelude::*;

use crate::{
    iommu_type1::{
        iova,
        logic::{
            iova_ranges::{
                Reserved,
                ReservedKind, //
            },
            runs::Run,
            units::{
                Iova,
                IovaRange, //
            }, //
        }, //
    },
    kernel::{
        iommu::{
            GroupHandle,
            IommuProt,
            PagingDomain,
            ResvType, //
        },
        mm, //
    }, //
};

/// A group whose devices use a domain.
pub(super) struct DomainMember {
    pub(super) group: GroupHandle,
    /// Whether its drivers pin what the devices write, so that other pages stay clean.
    pub(super) pins: bool,
}

/// A page table and the groups whose devices use it. Dropping it detaches them.
pub(super) struct Domain {
    pub(super) paging: PagingDomain,
    pub(super) members: KVec<DomainMember>,
    /// All DMA is cache-coherent, even if a device asks for something else.
    pub(super) coherent: bool,
}

impl Domain {
    /// A new domain with `group` attached.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what the IOMMU driver says.
    pub(super) fn new(group: GroupHandle) -> Result<Self> {
        let mut domain = Self {
            paging: group.new_domain()?,
            members: KVec::new(),
            coherent: false,
        };
        domain.attach(group)?;
        Ok(domain)
    }

    pub(super) fn attach(&mut self, group: GroupHandle) -> Result {
        self.members.reserve(1, GFP_KERNEL)?;
        self.paging.attach(group)?;
        let member = DomainMember { group, pins: false };
        // There is room.
        self.members.push(member, GFP_KERNEL)?;
        Ok(())
    }

    /// Detaches `group`, if it was attached.
    pub(super) fn detach(&mut self, group: GroupHandle) -> Option<DomainMember> {
        let index = self.members.iter().position(|other| other.group == group)?;
        self.paging.detach(group);
        self.members.remove(index).ok()
    }

    /// Returns the addresses that can be mapped.
    pub(super) fn aperture(&self) -> Option<IovaRange> {
        let (first, last) = self.paging.aperture();
        IovaRange::new(Iova::new(first), Iova::new(last))
    }

    /// Maps `run` at `iova`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what the IOMMU driver says. Nothing is mapped then.
    pub(super) fn map(&self, iova: Iova, run: Run, prot: IommuProt) -> Result {
        let bytes = run.pages().bytes(mm::SHIFT);
        let physical = run.first().get() << mm::SHIFT;
        // CAST: Every run lies in a mapping, whose addresses fit native words.
        let (iova, bytes) = (iova.get() as usize, bytes as usize);
        // SAFETY: The run is memory that a user lends to the devices of the container: its pages
        // are pinned, and stay so until the run is unmapped from all domains, or it belongs to a
        // device.
        unsafe { self.paging.map(iova, physical, bytes, prot) }
    }

    /// Removes what is mapped in `range` and waits until no device can use it any more.
    ///
    /// Returns whether all of it was mapped and is now gone.
    pub(super) fn unmap(&self, range: IovaRange) -> bool {
        // CAST: As in `map`.
        let (iova, bytes) = (range.first().get() as usize, range.bytes() as usize);
        self.paging.unmap(iova, bytes) == bytes
    }

    /// Whether devices that need `other` can use this domain instead.
    pub(super) fn replaces(&self, other: &Self) -> bool {
        self.paging.same_kind(&other.paging) && self.coherent == other.coherent
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        for member in &self.members {
            self.paging.detach(member.group);
        }
    }
}

/// All domains of a container. The same ranges are mapped in each.
pub(super) struct Domains {
    pub(super) list: KVec<Domain>,
    /// The page sizes that all of them have.
    page_sizes: u64,
}

impl Domains {
    /// Page sizes that do not restrict anything: every one that is not smaller than a base page.
    const ALL_PAGE_SIZES: u64 = !((1 << mm::SHIFT) - 1);

    /// No domain.
    pub(super) const fn new() -> Self {
        Self {
            list: KVec::new(),
            page_sizes: Self::ALL_PAGE_SIZES,
        }
    }

    /// Whether there is none: then nothing is translated, and nothing pinned.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The page sizes that can be used, as a bitmap.
    pub(super) fn page_sizes(&self) -> u64 {
        self.page_sizes
    }

    /// Whether all DMA of all groups is cache-coherent.
    pub(super) fn all_enforce_coherency(&self) -> bool {
        self.list.iter().all(|domain| domain.coherent)
    }

    /// The domain that `group` uses.
    pub(super) fn of(&self, group: GroupHandle) -> Option<&PagingDomain> {
        let domain = self
            .list
            .iter()
            .find(|domain| domain.members.iter().any(|member| member.group == group))?;
        Some(&domain.paging)
    }

    /// Whether devices can write to whatever is mapped without anybody knowing.
    pub(super) fn write_anywhere(&self) -> bool {
        self.list
            .iter()
            .flat_map(|domain| domain.members.iter())
            .any(|member| !member.pins)
    }

    /// Notes that the drivers of `group` pin what its devices write, if it is here.
    pub(super) fn mark_as_pinning(&mut self, group: GroupHandle) {
        let members = self
            .list
            .iter_mut()
            .flat_map(|domain| domain.members.iter_mut());
        for member in members.filter(|member| member.group == group) {
            member.pins = true;
        }
    }

    /// The addresses that every domain can translate.
    pub(super) fn aperture(&self) -> Option<IovaRange> {
        self.list.iter().try_fold(IovaRange::ALL, |all, domain| {
            all.intersection(domain.aperture()?)
        })
    }

    /// The reserved regions of all groups.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what the IOMMU core says.
    pub(super) fn reserved(&self) -> Result<KVec<Reserved>> {
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
    /// `ENOMEM`, or what the IOMMU driver says; then it is mapped in none.
    pub(super) fn map(&self, iova: Iova, run: Run, prot: IommuProt) -> Result {
        for (done, domain) in self.list.iter().enumerate() {
            let Err(error) = domain.map(iova, run, prot) else {
                continue;
            };
            if let Ok(range) = IovaRange::with_len(iova, run.pages().bytes(mm::SHIFT)) {
                for domain in self.list.iter().take(done) {
                    domain.unmap(range);
                }
            }
            return Err(error);
        }
        Ok(())
    }

    /// Unmaps `range`, all of which is mapped, in every domain.
    ///
    /// Returns whether no device can reach it any more.
    pub(super) fn unmap(&self, range: IovaRange) -> bool {
        // No short cut: every domain has to be tried.
        let failed = self
            .list
            .iter()
            .filter(|domain| !domain.unmap(range))
            .count();
        kernel::warn_on!(failed != 0);
        failed == 0
    }

    /// Computes the page sizes after a domain came or went.
    ///
    /// Sizes below that of a base page are hidden behind it: memory is pinned in base pages, and
    /// the IOMMU may use its smaller ones for them.
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

/// Appends the regions that users cannot use freely because of `group` to `regions`.
///
/// # Errors
///
/// `ENOMEM`, or what the IOMMU core says.
pub(super) fn append_reserved(group: GroupHandle, regions: &mut KVec<Reserved>) -> Result {
    group.for_each_reserved(|region| {
        // A region without addresses reserves nothing; one that leaves the address space reserves
        // the rest of it.
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
