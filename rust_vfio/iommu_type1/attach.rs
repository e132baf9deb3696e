// SPDX-License-Identifier: GPL-2.0

//! Attaching groups to a container and detaching them (contract 6.12).
//!
//! A group is first attached to a new domain of its own. If an earlier domain is of the same IOMMU
//! driver and has the same coherency, the group is moved there, where everything is mapped already.
//! Otherwise all mappings are made in the new domain too, and it is added to the container. If any
//! step fails the container stays as it was.
//!
//! Corresponds to `vfio_iommu_type1_attach_group()`, `vfio_iommu_type1_detach_group()`,
//! `vfio_iommu_replay()`, `vfio_iommu_unmap_unpin_reaccount()`, `vfio_iommu_aper_expand()` and
//! `vfio_iommu_resv_refresh()`.
//!
//! Deviation: C reserves the addresses for software-managed interrupts after it has made the
//! mappings in the new domain, and does not undo these if that fails: pages stay pinned, and
//! mappings marked as mapped. We reserve the addresses before.
//!
//! Deviation: when the first domain is added to a container with mappings for emulated devices, C
//! pins the memory of the process that attaches the group. We pin that of the process that made the
//! mapping, to which it is accounted.

use kernel::prelude::*;

use crate::{
    iommu_type1::{
        domains::{
            append_reserved,
            Domain,
            Domains, //
        },
        iova,
        logic::{
            iova_ranges::{
                aperture_conflicts,
                software_msi,
                span,
                Reserved, //
            },
            units::IovaRange, //
        },
        mapping::{
            Mapping,
            Mappings, //
        },
        params,
        populate::{
            populate,
            release, //
        },
        refusal::DmaRefusal,
        state::{
            Type1,
            Type1State, //
        },
        trace, //
    },
    kernel::{
        iommu::{
            GroupHandle,
            PagingDomain, //
        },
        mm,
        pages::UserMm, //
    }, //
};

impl Type1 {
    /// Attaches `group` to the container, so that its devices can use the mappings. `emulated` says
    /// that the devices of the group are emulated and have no IOMMU.
    ///
    /// Takes the lock of the container, and may sleep.
    ///
    /// # Errors
    ///
    /// The container has not changed then.
    ///
    /// - `EBUSY` while a mapping has lost its user address.
    /// - `EINVAL` if the group is attached already.
    /// - `ENOMEM` if there is no memory; also at any later step.
    /// - `ENODEV` if the group has no device, or any errno of the IOMMU driver's
    ///   `domain_alloc_paging`.
    /// - `EBUSY` if the group is attached to another domain or a device of it is being reset,
    ///   `EINVAL` or any errno of the IOMMU driver's `attach_dev` if it refuses the domain.
    /// - `EINVAL` if the aperture of the new domain has no address in common with those that are
    ///   valid, or does not cover all mappings.
    /// - `EINVAL` if a mapping overlaps a reserved region of the group that is not relaxable.
    /// - `EINVAL` if no valid address is left.
    /// - `EPERM` if the interrupts of the group are not isolated and the module parameter
    ///   `allow_unsafe_interrupts` is not set.
    /// - `EBUSY` or any errno of `attach_dev`, as above, if the group could not be moved to an
    ///   earlier domain, and not back either.
    /// - For the first domain: `ENODEV` if a process that made a mapping has exited, and those of
    ///   [`populate`] for pinning the memory of the mappings.
    /// - Any errno of the IOMMU driver for making the mappings in the new domain.
    #[doc(alias = "vfio_iommu_type1_attach_group")]
    pub(super) fn attach_group(&self, group: GroupHandle, emulated: bool) -> Result {
        let mut state = self.state.lock();
        if state.invalid_vaddrs != 0 {
            return Err(EBUSY);
        }
        if state.emulated.iter().any(|other| *other == group) || state.domains.of(group).is_some() {
            return Err(EINVAL);
        }
        if emulated {
            // The devices do no DMA of their own, so they need no domain; their drivers pin pages.
            state.emulated.reserve_one(GFP_KERNEL)?;
            return state.emulated.push_within_capacity(group);
        }
        let result = state.attach(group);
        trace::domain_attach(|| group.id(), state.domains.list.len(), &result);
        result
    }

    /// Detaches `group`, if it is attached; undoes [`Type1::attach_group`]. Removes all mappings
    /// with the last group.
    ///
    /// Takes the lock of the container, and may sleep.
    #[doc(alias = "vfio_iommu_type1_detach_group")]
    pub(super) fn detach_group(&self, group: GroupHandle) {
        let mut state = self.state.lock();
        if state.emulated.take(|other| *other == group).is_some() {
            if state.emulated.is_empty() && state.domains.is_empty() {
                state.remove_unused_mappings();
            }
            return;
        }
        state.detach(group);
        trace::domain_detach(|| group.id(), state.domains.list.len());
    }

    /// Calls `f` with the domain to which `group` is attached, with the lock of the container held.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the group is attached to none.
    #[doc(alias = "vfio_iommu_type1_group_iommu_domain")]
    pub(super) fn domain_of<T>(
        &self,
        group: GroupHandle,
        f: impl FnOnce(&PagingDomain) -> T,
    ) -> Result<T> {
        self.state.lock().domains.of(group).map(f).ok_or(ENODEV)
    }
}

impl Type1State {
    /// Attaches `group`, whose devices have an IOMMU, to a domain.
    ///
    /// # Errors
    ///
    /// Those of [`Type1::attach_group`] from the first `ENOMEM` on.
    fn attach(&mut self, group: GroupHandle) -> Result {
        let mut domain = Domain::new(group)?;

        let aperture = domain.aperture().ok_or(EINVAL)?;
        let refused = |range| {
            let group = group.id();
            DmaRefusal::Mapped { group, range }.report(EINVAL)
        };
        if aperture_conflicts(&self.valid, aperture, |range| self.mappings.any_in(range)) {
            return Err(refused(None));
        }
        let mut reserved = iova::reserved_list()?;
        append_reserved(group, &mut reserved)?;
        let mut excluded = reserved.iter().filter_map(Reserved::excluded);
        if let Some(range) = excluded.find(|range| self.mappings.any_in(*range)) {
            return Err(refused(Some(range)));
        }
        let valid = iova::restricted(&self.valid, aperture, &reserved)?;

        if !params::allow_unsafe_interrupts() && !group.has_isolated_msi() {
            pr_warn!(
                "no interrupt remapping: a device of this group could raise any interrupt. \
                 The module parameter \"allow_unsafe_interrupts\" permits its use anyway\n"
            );
            let group = group.id();
            return Err(DmaRefusal::Interrupts { group }.report(EPERM));
        }
        domain.coherent = domain.paging.enforce_coherency();

        if !self.join(group, &mut domain)? {
            if let Some(base) = software_msi(&reserved) {
                domain.paging.place_msi(base.get())?;
            }
            self.add_domain(domain)?;
        }
        self.valid = valid;
        Ok(())
    }

    /// Moves `group` from its new domain `domain` to an earlier one if possible. Returns whether it
    /// was moved.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or any errno of the IOMMU driver's `attach_dev`, if the group could not be
    /// attached to `domain` again after an earlier domain had refused it.
    fn join(&mut self, group: GroupHandle, domain: &mut Domain) -> Result<bool> {
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

    /// Makes all mappings in `domain` and adds it to the container.
    ///
    /// # Errors
    ///
    /// The domain is freed then, and the mappings are as before.
    ///
    /// - `ENOMEM` if there is no memory.
    /// - For the first domain those of [`Type1State::pin_all`].
    /// - For others those of [`Type1State::copy_to_latest`].
    #[doc(alias = "vfio_iommu_replay")]
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

    /// Pins the memory of all mappings and maps it in the only domain. So far only emulated devices
    /// could use the mappings.
    ///
    /// # Errors
    ///
    /// No memory is pinned for a mapping then.
    ///
    /// - `ENODEV` if a process that made a mapping has exited.
    /// - Those of [`populate`].
    fn pin_all(&mut self) -> Result {
        let (domains, buffers) = (&self.domains, &mut self.buffers);
        let pinned = self.mappings.try_for_each(|range, mapping| {
            // The errno is that of `vfio_pin_pages()` for the memory of such a process.
            let owner = mapping.owner().memory().ok_or(ENODEV)?;
            populate(mapping, range, UserMm::Remote(&owner), domains, buffers)
        });
        if pinned.is_err() {
            self.unpin_all();
        }
        pinned
    }

    /// Unmaps the memory of all mappings from all domains and unpins it, except for the pages that
    /// drivers of emulated devices have pinned. Keeps the mappings.
    #[doc(alias = "vfio_iommu_unmap_unpin_reaccount")]
    fn unpin_all(&mut self) {
        let (domains, buffers) = (&self.domains, &mut self.buffers);
        let _ = self.mappings.try_for_each(|_, mapping| {
            release(mapping, domains, buffers);
            Ok(())
        });
    }

    /// Makes all mappings in the domain that was added last, as they are in the others.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or any errno of the IOMMU driver for mapping a run. Nothing is mapped in the
    /// domain then.
    fn copy_to_latest(&mut self) -> Result {
        let Some(domain) = self.domains.list.last() else {
            return Ok(());
        };
        let domains = &self.domains;
        let mut copied = 0;
        let result = self.mappings.try_for_each(|range, mapping| {
            copy(mapping, range, domains, domain)?;
            copied += 1;
            Ok(())
        });
        if result.is_err() {
            unmap_first(&mut self.mappings, copied, domain);
        }
        result
    }

    /// Detaches `group` from its domain, if it is attached to one, and removes the domain with its
    /// last group.
    fn detach(&mut self, group: GroupHandle) {
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
                // This is the last domain, so no mapping needs to be pinned any more.
                if self.emulated.is_empty() {
                    self.remove_unused_mappings();
                } else {
                    self.unpin_all();
                }
            }
            if let Ok(domain) = self.domains.list.remove(index) {
                // The other domains stay, so the mappings do.
                if !self.domains.is_empty() {
                    unmap_first(&mut self.mappings, usize::MAX, &domain);
                }
            }
            self.domains.update_page_sizes();
            self.page_sizes_changed();
        }
        if !member.pins {
            // Its devices can have written to any page, which will not be reported on account of
            // the group any more.
            self.mark_all_dirty();
        }
        if !self.domains.is_empty() || !self.emulated.is_empty() {
            self.refresh_valid(unused);
        }
    }
}

impl Type1State {
    /// Removes all mappings after the last group was detached. Its devices were closed before, so
    /// none of them can have pages pinned.
    fn remove_unused_mappings(&mut self) {
        kernel::warn_on!(!self.listeners.is_empty());
        self.remove_all_mappings();
    }
}

/// Maps the memory of `mapping`, whose addresses are `range`, in `domain`, as it is in `domains`.
///
/// # Errors
///
/// `ENOMEM`, or any errno of the IOMMU driver. Nothing is mapped in the domain then.
fn copy(mapping: &Mapping, range: IovaRange, domains: &Domains, domain: &Domain) -> Result {
    let mut done = None;
    let mapped = mapping
        .memory
        .try_for_each_run(range.first(), domains, |iova, run| {
            domain.map(iova, run, mapping.access())?;
            done = Some(iova.behind(run.pages(), mm::SHIFT));
            mm::cond_resched();
            Ok(())
        });
    if mapped.is_err() {
        if let Some(done) = done.and_then(|end| range.below(end)) {
            domain.unmap_in_steps(done);
        }
    }
    mapped
}

/// Unmaps the first `count` mappings from `domain`, which is not used any more.
///
/// Its page table is freed with it, but `CONFIG_IOMMU_DEBUG_PAGEALLOC` counts for each page how
/// often it is mapped.
fn unmap_first(mappings: &mut Mappings, count: usize, domain: &Domain) {
    let mut left = count;
    let _ = mappings.try_for_each(|range, mapping| {
        left = left.checked_sub(1).ok_or(EINVAL)?;
        if !mapping.memory.is_empty() {
            domain.unmap_in_steps(range);
        }
        Ok(())
    });
}

impl Type1State {
    /// Builds the list of valid addresses again after a group was detached, from the reserved
    /// regions of the groups that remain. `domain_gone` says whether a domain was removed with the
    /// group, so that the apertures have changed too.
    ///
    /// If that fails the old list is kept, which contains no address that is not valid.
    #[doc(alias = "vfio_iommu_resv_refresh")]
    #[doc(alias = "vfio_iommu_aper_expand")]
    fn refresh_valid(&mut self, domain_gone: bool) {
        let Some(old) = span(&self.valid) else {
            return;
        };
        let whole = if domain_gone {
            self.domains.aperture()
        } else {
            Some(old)
        };
        let list = whole.ok_or(EINVAL).and_then(|whole| {
            let reserved = self.domains.reserved()?;
            iova::restricted(&[], whole, &reserved)
        });
        if let Ok(list) = list {
            self.valid = list;
        }
    }
}
