// SPDX-License-Identifier: GPL-2.0

//! Groups are attached to a container and detached from it, and with them come and go domains.
//!
//! A group is attached to a domain of its own first. If an earlier domain turns out to do for it
//! too (same IOMMU driver, same coherency) the group moves there, and everything is mapped for it
//! already. Otherwise all mappings are made in the new domain as well. Nothing of the container
//! changes before the last step that can fail has worked.
//!
//! Corresponds to `vfio_iommu_type1_attach_group()`, `vfio_iommu_type1_detach_group()`,
//! `vfio_iommu_replay()` and `vfio_iommu_resv_refresh()`.
//!
//! Deviation: the place for software-managed interrupts is reserved *before* the mappings are made,
//! so that its failure leaves nothing to undo.
//!
//! Deviation: when the first domain joins mappings of emulated devices, the memory pinned is that
//! of the process that made the mapping, not of the one that attaches the group.

use kernel::prelude::*;

use crate::{
    iommu_type1::{
        domains::{
            append_reserved,
            Domain, //
        },
        iova,
        logic::{
            iova_ranges::{
                aperture_conflicts,
                software_msi,
                span,
                Reserved, //
            },
            units::{
                Iova,
                IovaRange, //
            }, //
        },
        mapping::Mapping,
        params,
        populate::{
            populate,
            release, //
        },
        state::{
            Type1,
            Type1State, //
        }, //
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
    /// Lets the devices of `group` use the mappings of this container.
    ///
    /// # Errors
    ///
    /// See contract 6.12. Nothing has changed then.
    pub(super) fn attach_group(&self, group: GroupHandle, emulated: bool) -> Result {
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
    pub(super) fn detach_group(&self, group: GroupHandle) {
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
        group: GroupHandle,
        f: impl FnOnce(&PagingDomain) -> T,
    ) -> Result<T> {
        self.state.lock().domains.of(group).map(f).ok_or(ENODEV)
    }
}

impl Type1State {
    fn attach(&mut self, group: GroupHandle) -> Result {
        let mut domain = Domain::new(group)?;

        let aperture = domain.aperture().ok_or(EINVAL)?;
        if aperture_conflicts(&self.valid, aperture, |range| self.mappings.any_in(range)) {
            return Err(EINVAL);
        }
        let mut reserved = iova::reserved_list()?;
        append_reserved(group, &mut reserved)?;
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
                domain.paging.place_msi(base.get())?;
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
            populate(mapping, range, UserMm::Remote(&owner), domains, buffer)
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
            copy(mapping, range, domain)?;
            copied += 1;
            Ok(())
        });
        if result.is_err() {
            // Freeing the page table would do as well, but this way the IOMMU core's own
            // debugging sees that nothing is mapped in it any more.
            let _ = self.mappings.try_for_each(|range, _| {
                copied = usize::checked_sub(copied, 1).ok_or(EINVAL)?;
                domain.unmap(range);
                mm::cond_resched();
                Ok(())
            });
        }
        result
    }

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

impl Type1State {
    /// Removes all mappings when the last group goes. Its devices were closed before, so none can
    /// have pinned a page.
    fn remove_unused_mappings(&mut self) {
        kernel::warn_on!(!self.listeners.is_empty());
        self.remove_all_mappings();
    }
}

/// Makes `mapping`, which has all of `range`, in one more domain.
fn copy(mapping: &Mapping, range: IovaRange, domain: &Domain) -> Result {
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

impl Type1State {
    /// Builds the list anew after a group was detached, from the reserved regions of the groups
    /// that are left. `domain_gone` says whether a domain went with the group, whose aperture
    /// then restricts nobody any more.
    ///
    /// Keeps the old list, which is never too long, if that fails.
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
