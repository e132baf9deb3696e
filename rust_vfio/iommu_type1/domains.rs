// SPDX-License-Identifier: GPL-2.0

//! Groups come and go, and with them the domains that hold the mappings.
//!
//! A group is attached to a domain of its own first. If an earlier domain turns out to do for it
//! too (same IOMMU driver, same coherency) the group moves there, and everything is mapped for it
//! already. Otherwise all mappings are made in the new domain as well. Nothing of the container
//! changes before the last step that can fail has worked.
//!
//! Deviations from C: the place for software-managed interrupts is reserved *before* the mappings
//! are made, so that its failure leaves nothing to undo; and when the first domain joins mappings
//! of emulated devices, the memory pinned is that of the process that made the mapping, not of
//! the one that attaches the group.

use kernel::prelude::*;

use crate::{
    ffi::{
        iommu::{
            Access,
            Group,
            PagingDomain, //
        },
        mm,
        pin::Memory, //
    },
    logic::{
        iova_ranges::{
            aperture_conflicts,
            software_msi,
            Reserved, //
        },
        runs::Run,
        units::{
            Iova,
            IovaRange, //
        }, //
    }, //
};

use super::{
    iova,
    mapping::Mapping,
    params,
    populate::{
        populate,
        release, //
    },
    State,
    Type1, //
};

/// A group whose devices use a domain.
struct Member {
    group: Group,
    /// Whether its drivers pin what the devices write, so that other pages stay clean.
    pins: bool,
}

/// A page table and the groups whose devices use it. Dropping it detaches them.
struct Domain {
    paging: PagingDomain,
    members: KVec<Member>,
    /// All DMA is cache-coherent, even if a device asks for something else.
    coherent: bool,
}

impl Domain {
    /// A new domain with `group` attached.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what the IOMMU driver says.
    fn new(group: Group) -> Result<Self> {
        let mut domain = Self {
            paging: group.new_domain()?,
            members: KVec::new(),
            coherent: false,
        };
        domain.attach(group)?;
        Ok(domain)
    }

    fn attach(&mut self, group: Group) -> Result {
        self.members.reserve(1, GFP_KERNEL)?;
        self.paging.attach(group)?;
        let member = Member { group, pins: false };
        // There is room.
        self.members.push(member, GFP_KERNEL)?;
        Ok(())
    }

    /// Detaches `group`, if it was attached.
    fn detach(&mut self, group: Group) -> Option<Member> {
        let index = self.members.iter().position(|other| other.group == group)?;
        self.paging.detach(group);
        self.members.remove(index).ok()
    }

    /// Whether devices that need `other` can use this domain instead.
    fn replaces(&self, other: &Self) -> bool {
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
    list: KVec<Domain>,
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
    pub(super) fn of(&self, group: Group) -> Option<&PagingDomain> {
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
    pub(super) fn mark_as_pinning(&mut self, group: Group) {
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
            all.intersection(domain.paging.aperture()?)
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
            member.group.reserved(&mut all)?;
        }
        Ok(all)
    }

    /// Maps `run` at `iova` in every domain.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what the IOMMU driver says; then it is mapped in none.
    pub(super) fn map(&self, iova: Iova, run: Run, access: Access) -> Result {
        for (done, domain) in self.list.iter().enumerate() {
            let Err(error) = domain.paging.map(iova, run, access) else {
                continue;
            };
            if let Ok(range) = IovaRange::with_len(iova, run.pages().bytes(mm::SHIFT)) {
                for domain in self.list.iter().take(done) {
                    domain.paging.unmap(range);
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
            .filter(|domain| !domain.paging.unmap(range))
            .count();
        kernel::warn_on!(failed != 0);
        failed == 0
    }

    /// Computes the page sizes after a domain came or went.
    ///
    /// Sizes below that of a base page are hidden behind it: memory is pinned in base pages, and
    /// the IOMMU may use its smaller ones for them.
    fn update_page_sizes(&mut self) {
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

impl Type1 {
    /// Lets the devices of `group` use the mappings of this container.
    ///
    /// # Errors
    ///
    /// See contract 6.12. Nothing has changed then.
    pub(super) fn attach_group(&self, group: Group, emulated: bool) -> Result {
        let mut state = self.state.lock();
        if state.invalid_vaddrs != 0 {
            return Err(EBUSY);
        }
        if state.emulated.contains(&group) || state.domains.of(group).is_some() {
            return Err(EINVAL);
        }
        if emulated {
            // No device of the group uses a page table; its driver asks for pages.
            state.emulated.push(group, GFP_KERNEL)?;
            return Ok(());
        }
        state.attach(group)
    }

    /// The opposite of [`Type1::attach_group`]. With the last group all mappings go.
    pub(super) fn detach_group(&self, group: Group) {
        let mut state = self.state.lock();
        if let Some(index) = state.emulated.iter().position(|other| *other == group) {
            let _ = state.emulated.remove(index);
            if state.emulated.is_empty() && state.domains.is_empty() {
                state.remove_unused_mappings();
            }
            return;
        }
        state.detach(group);
    }

    /// Calls `f` with the domain that `group` uses.
    ///
    /// # Errors
    ///
    /// `ENODEV` if it has none.
    pub(super) fn domain_of<T>(
        &self,
        group: Group,
        f: impl FnOnce(&PagingDomain) -> T,
    ) -> Result<T> {
        self.state.lock().domains.of(group).map(f).ok_or(ENODEV)
    }
}

impl State {
    fn attach(&mut self, group: Group) -> Result {
        let mut domain = Domain::new(group)?;

        let aperture = domain.paging.aperture().ok_or(EINVAL)?;
        if aperture_conflicts(&self.valid, aperture, |range| self.mappings.any_in(range)) {
            return Err(EINVAL);
        }
        let mut reserved = iova::reserved_list()?;
        group.reserved(&mut reserved)?;
        let mut excluded = reserved.iter().filter_map(Reserved::excluded);
        if excluded.any(|range| self.mappings.any_in(range)) {
            return Err(EINVAL);
        }
        let valid = iova::restricted(&self.valid, aperture, &reserved)?;

        if !params::allow_unsafe_interrupts() && !group.has_isolated_msi() {
            pr_warn!(
                "no interrupt remapping: a device of this group could raise any interrupt. \
                 The module parameter \"allow_unsafe_interrupts\" permits its use anyway\n"
            );
            return Err(EPERM);
        }
        domain.coherent = domain.paging.enforce_coherency();

        if !self.join(group, &mut domain)? {
            if let Some(base) = software_msi(&reserved) {
                domain.paging.place_msi(base)?;
            }
            self.add_domain(domain)?;
        }
        self.valid = valid;
        Ok(())
    }

    /// Moves `group` from its own new `domain` to an earlier one, if there is one for it.
    ///
    /// # Errors
    ///
    /// If the group could not be attached to its own domain again either.
    fn join(&mut self, group: Group, domain: &mut Domain) -> Result<bool> {
        for other in &mut self.domains.list {
            if !other.replaces(domain) {
                continue;
            }
            domain.detach(group);
            if other.attach(group).is_ok() {
                return Ok(true);
            }
            domain.attach(group)?;
        }
        Ok(false)
    }

    /// Makes all mappings in `domain` and adds it.
    ///
    /// # Errors
    ///
    /// Those of making a mapping. Then the domain is gone, and all memory as before.
    fn add_domain(&mut self, domain: Domain) -> Result {
        let first = self.domains.is_empty();
        self.domains.list.push(domain, GFP_KERNEL)?;
        let replayed = if first {
            self.pin_all()
        } else {
            self.copy_to_latest()
        };
        if replayed.is_err() {
            drop(self.domains.list.pop());
        }
        self.domains.update_page_sizes();
        self.page_sizes_changed();
        replayed
    }

    /// Pins the memory of all mappings, which so far only emulated devices could use.
    fn pin_all(&mut self) -> Result {
        let (domains, buffer) = (&self.domains, &mut self.buffer);
        let pinned = self.mappings.try_for_each(|range, mapping| {
            // ENODEV as for every access to the memory of a process that is gone.
            let owner = mapping.owner().memory().ok_or(ENODEV)?;
            populate(mapping, range, Memory::Of(&owner), domains, buffer)
        });
        if pinned.is_err() {
            self.unpin_all();
        }
        pinned
    }

    /// Unpins the memory of all mappings and leaves the mappings to emulated devices.
    fn unpin_all(&mut self) {
        let domains = &self.domains;
        let _ = self.mappings.try_for_each(|_, mapping| {
            release(mapping, domains);
            Ok(())
        });
    }

    /// Makes all mappings in the domain that was added last. The others have them.
    fn copy_to_latest(&mut self) -> Result {
        let Some(domain) = self.domains.list.last() else {
            return Ok(());
        };
        let mut copied = 0;
        let result = self.mappings.try_for_each(|range, mapping| {
            copy(mapping, range, &domain.paging)?;
            copied += 1;
            Ok(())
        });
        if result.is_err() {
            // Freeing the page table would do as well, but this way the IOMMU core's own
            // debugging sees that nothing is mapped in it any more.
            let _ = self.mappings.try_for_each(|range, _| {
                copied = usize::checked_sub(copied, 1).ok_or(EINVAL)?;
                domain.paging.unmap(range);
                mm::cond_resched();
                Ok(())
            });
        }
        result
    }

    fn detach(&mut self, group: Group) {
        let mut domains = self.domains.list.iter_mut();
        let found = domains
            .by_ref()
            .enumerate()
            .find_map(|(index, domain)| Some((index, domain.detach(group)?)));
        let Some((index, member)) = found else {
            return;
        };
        let unused = self
            .domains
            .list
            .get(index)
            .is_some_and(|domain| domain.members.is_empty());
        if unused {
            if self.domains.list.len() == 1 {
                // Nobody translates addresses any more.
                if self.emulated.is_empty() {
                    self.remove_unused_mappings();
                } else {
                    self.unpin_all();
                }
            }
            drop(self.domains.list.remove(index));
            self.domains.update_page_sizes();
            self.page_sizes_changed();
        }
        if !member.pins {
            // Nobody will say any more that its devices can have written anywhere.
            self.mark_all_dirty();
        }
        if !self.domains.is_empty() || !self.emulated.is_empty() {
            self.refresh_valid(unused);
        }
    }
}

impl State {
    /// Removes all mappings when the last group goes. Its devices were closed before, so none can
    /// have pinned a page.
    fn remove_unused_mappings(&mut self) {
        kernel::warn_on!(!self.listeners.is_empty());
        self.remove_all_mappings();
    }
}

/// Makes `mapping`, which has all of `range`, in one more domain.
fn copy(mapping: &Mapping, range: IovaRange, domain: &PagingDomain) -> Result {
    let mut iova = range.first();
    for run in mapping.memory.as_slice() {
        if let Err(error) = domain.map(iova, *run, mapping.access()) {
            if let Some(done) = range.below(iova) {
                domain.unmap(done);
            }
            return Err(error);
        }
        // Nothing follows the run at the top of the address space.
        iova = iova
            .checked_add(run.pages().bytes(mm::SHIFT))
            .unwrap_or(Iova::MIN);
        mm::cond_resched();
    }
    Ok(())
}
