// SPDX-License-Identifier: GPL-2.0

//! IOMMU domains (page tables for the DMA of devices), and the groups of devices that are attached
//! to them. The IOMMU core locks groups; a caller must not map and unmap the same IOVAs of a domain
//! at the same time.
//!
//! In the kernel crate: `kernel::iommu::pgtable` has page tables that an IOMMU driver writes.
//! Domains of the IOMMU core ([`PagingDomain`]) would be added to `kernel::iommu`, and reserved
//! regions to a type for IOMMU groups.
//!
//! C header: `include/linux/iommu.h`.

use core::ptr::{
    self,
    NonNull, //
};

use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*, //
};

use crate::bindings;

/// The rights that devices have to mapped memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct IommuProt {
    /// Devices may read.
    pub(crate) read: bool,
    /// Devices may write.
    pub(crate) write: bool,
}

impl IommuProt {
    /// Returns whether these rights include all of `prot`, which are flags of the IOMMU API.
    pub(crate) fn allows(self, prot: i32) -> bool {
        let mut allowed = 0;
        if self.read {
            allowed |= bindings::IOMMU_READ as i32;
        }
        if self.write {
            allowed |= bindings::IOMMU_WRITE as i32;
        }
        prot & !allowed == 0
    }

    /// Returns the flags of the IOMMU API. User memory is always mapped cache coherent.
    fn flags(self) -> i32 {
        let mut flags = bindings::IOMMU_CACHE;
        if self.read {
            flags |= bindings::IOMMU_READ;
        }
        if self.write {
            flags |= bindings::IOMMU_WRITE;
        }
        flags as i32
    }
}

/// The purpose of a reserved region (`enum iommu_resv_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResvType {
    /// Mapped one to one for the firmware or a kernel driver; others may use the addresses.
    DirectRelaxable,
    /// Addresses to which devices write their interrupt messages.
    Msi,
    /// Addresses at which the kernel maps the interrupt controller.
    SwMsi,
    /// Anything else; user space must not map the addresses.
    Other,
}

/// A region of the IOVAs of a group that the IOMMU driver reserves.
pub(crate) struct ReservedRegion {
    /// The first IOVA.
    pub(crate) start: u64,
    /// The size in bytes. It may be 0, and the region may reach beyond the address space.
    pub(crate) length: u64,
    /// The purpose.
    pub(crate) kind: ResvType,
}

/// A borrowed IOMMU group.
///
/// # Invariants
///
/// The group is valid as long as a value of this type is used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupHandle(NonNull<bindings::iommu_group>);

// SAFETY: Any thread may use an IOMMU group, which has a lock of its own.
unsafe impl Send for GroupHandle {}

impl GroupHandle {
    /// Wraps a group, or returns none if `group` is null.
    ///
    /// # Safety
    ///
    /// `group` must be null or point to a group that stays valid as long as the result or a copy of
    /// it is used.
    pub(crate) unsafe fn from_raw(group: *mut bindings::iommu_group) -> Option<Self> {
        // INVARIANT: By the safety requirements of this function.
        NonNull::new(group).map(Self)
    }

    /// Allocates a domain to which the group can be attached. Sleeps.
    ///
    /// # Errors
    ///
    /// - `ENODEV` if the group has no device, or its first one has no IOMMU.
    /// - `EOPNOTSUPP` if the IOMMU driver has no such domains.
    /// - `ENOMEM`, or any other errno of the IOMMU driver.
    #[doc(alias = "iommu_paging_domain_alloc")]
    pub(crate) fn new_domain(self) -> Result<PagingDomain> {
        let mut domain: *mut bindings::iommu_domain = ptr::null_mut();
        // SAFETY: The group is valid by the type invariants, and `first_device` gets a pointer to a
        // pointer to a domain. Devices cannot leave the group during the call, which holds its
        // lock.
        unsafe {
            bindings::iommu_group_for_each_dev(
                self.0.as_ptr(),
                (&raw mut domain).cast(),
                Some(first_device),
            )
        };
        let domain = NonNull::new(from_err_ptr(domain)?).ok_or(ENODEV)?;
        // INVARIANT: The domain is new, and nobody else uses it.
        Ok(PagingDomain(domain))
    }

    /// Calls `f` with each reserved region of the group. Sleeps.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`.
    /// - Any errno of `f`, which ends the walk.
    #[doc(alias = "iommu_get_group_resv_regions")]
    pub(crate) fn for_each_reserved(self, mut f: impl FnMut(ReservedRegion) -> Result) -> Result {
        let mut head = bindings::list_head::default();
        let head = &raw mut head;
        // SAFETY: `head` points to a local variable, which becomes the head of an empty list.
        unsafe {
            (*head).next = head;
            (*head).prev = head;
        }
        // SAFETY: The head is initialised, and is in scope for longer than `list`.
        let list = unsafe { ReservedList::new(head) };
        // SAFETY: The group is valid by the type invariants, and the list was initialised above.
        // The list may have elements even if the call fails; `list` frees them.
        to_result(unsafe { bindings::iommu_get_group_resv_regions(self.0.as_ptr(), head) })?;
        list.for_each(|region| {
            // SAFETY: `for_each` passes elements of the list, which are valid until `list` is
            // dropped.
            let region = unsafe { &*region };
            f(ReservedRegion {
                start: region.start,
                length: region.length as u64,
                kind: match region.type_ {
                    bindings::iommu_resv_type_IOMMU_RESV_DIRECT_RELAXABLE => {
                        ResvType::DirectRelaxable
                    }
                    bindings::iommu_resv_type_IOMMU_RESV_MSI => ResvType::Msi,
                    bindings::iommu_resv_type_IOMMU_RESV_SW_MSI => ResvType::SwMsi,
                    _ => ResvType::Other,
                },
            })
        })
    }

    /// Returns whether the interrupts of all devices of the group are isolated: a device cannot
    /// raise interrupts other than those that were assigned to it.
    #[doc(alias = "iommu_group_has_isolated_msi")]
    pub(crate) fn has_isolated_msi(self) -> bool {
        // SAFETY: The group is valid by the type invariants.
        unsafe { bindings::iommu_group_has_isolated_msi(self.0.as_ptr()) }
    }
}

/// Allocates a domain for `dev`, and ends the walk over the devices of the group.
///
/// # Safety
///
/// Must be called by `iommu_group_for_each_dev()` with a device of the group. `data` must point to
/// a pointer to a domain, which this function sets.
unsafe extern "C" fn first_device(
    dev: *mut bindings::device,
    data: *mut kernel::ffi::c_void,
) -> kernel::ffi::c_int {
    // SAFETY: By the safety requirements of this function.
    unsafe {
        *data.cast::<*mut bindings::iommu_domain>() =
            bindings::vfio_rs_iommu_paging_domain_alloc(dev)
    };
    1
}

/// A list of reserved regions. Dropping it frees the elements.
///
/// # Invariants
///
/// The pointer is to the head of a list of `struct iommu_resv_region`, which this value owns.
struct ReservedList(*mut bindings::list_head);

impl ReservedList {
    /// Takes over the list with the head `head`.
    ///
    /// # Safety
    ///
    /// From now until the result is dropped, `head` must point to the head of a list of
    /// `struct iommu_resv_region` from `kmalloc()`, to which nobody else refers.
    unsafe fn new(head: *mut bindings::list_head) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self(head)
    }

    /// Calls `f` with each element until it fails. `f` may free the element.
    fn for_each(&self, mut f: impl FnMut(*mut bindings::iommu_resv_region) -> Result) -> Result {
        // SAFETY: By the type invariants the head is valid.
        let mut entry = unsafe { (*self.0).next };
        while !ptr::eq(entry, self.0) {
            // SAFETY: `entry` is not the head, so it is an element. `f` may have freed the ones
            // before it only.
            let next = unsafe { (*entry).next };
            // SAFETY: By the type invariants each element is a region, linked by its member `list`.
            f(unsafe { kernel::container_of!(entry, bindings::iommu_resv_region, list) })?;
            entry = next;
        }
        Ok(())
    }
}

impl Drop for ReservedList {
    fn drop(&mut self) {
        let _ = self.for_each(|region| {
            // SAFETY: By the type invariants this value owns the element, and it is not used again.
            unsafe { bindings::kfree(region.cast()) };
            Ok(())
        });
    }
}

/// A domain whose page table the owner fills (`IOMMU_DOMAIN_UNMANAGED`). Dropping it frees the page
/// table. No group may be attached then.
///
/// # Invariants
///
/// The domain is valid, and this value owns it.
pub(crate) struct PagingDomain(NonNull<bindings::iommu_domain>);

// SAFETY: Any thread may use a domain.
unsafe impl Send for PagingDomain {}

impl PagingDomain {
    /// Returns the C object.
    pub(crate) fn as_ptr(&self) -> *mut bindings::iommu_domain {
        self.0.as_ptr()
    }

    /// Attaches `group`, so that the DMA of its devices is translated by this domain. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EBUSY` if another domain is attached to the group.
    /// - `EINVAL` if the domain is not compatible with the devices.
    /// - Any other errno of the IOMMU driver.
    #[doc(alias = "iommu_attach_group")]
    pub(crate) fn attach(&self, group: GroupHandle) -> Result {
        // SAFETY: Domain and group are valid by their type invariants.
        to_result(unsafe { bindings::iommu_attach_group(self.0.as_ptr(), group.0.as_ptr()) })
    }

    /// Detaches `group`; undoes [`PagingDomain::attach`]. The DMA of its devices is blocked then,
    /// or uses the default domain if nobody owns it. Sleeps.
    #[doc(alias = "iommu_detach_group")]
    pub(crate) fn detach(&self, group: GroupHandle) {
        // SAFETY: Domain and group are valid by their type invariants.
        unsafe { bindings::iommu_detach_group(self.0.as_ptr(), group.0.as_ptr()) };
    }

    /// Returns the page sizes of the page table, as a bitmap: bit n stands for 2^n bytes.
    pub(crate) fn page_sizes(&self) -> u64 {
        // SAFETY: By the type invariants the domain is valid.
        unsafe { (*self.0.as_ptr()).pgsize_bitmap as u64 }
    }

    /// Returns the first and the last IOVA that can be mapped, both inclusive.
    pub(crate) fn aperture(&self) -> (u64, u64) {
        // SAFETY: By the type invariants the domain is valid.
        let geometry = unsafe { (*self.0.as_ptr()).geometry };
        (geometry.aperture_start, geometry.aperture_end)
    }

    /// Returns whether both domains have the same operations, and so the same IOMMU driver and
    /// format.
    pub(crate) fn same_kind(&self, other: &Self) -> bool {
        ptr::eq(self.ops(), other.ops())
    }

    fn ops(&self) -> *const bindings::iommu_domain_ops {
        // SAFETY: By the type invariants the domain is valid.
        unsafe { (*self.0.as_ptr()).ops }
    }

    /// Makes all DMA cache coherent, even if devices ask for it not to be. Returns whether that is
    /// possible.
    #[doc(alias = "enforce_cache_coherency")]
    pub(crate) fn enforce_coherency(&self) -> bool {
        // SAFETY: The table is part of the IOMMU driver, which is not unloaded while it has
        // domains.
        let ops = unsafe { self.ops().as_ref() };
        match ops.and_then(|ops| ops.enforce_cache_coherency) {
            // SAFETY: The domain is valid by the type invariants, and the function is its own.
            Some(enforce) => unsafe { enforce(self.0.as_ptr()) },
            None => false,
        }
    }

    /// Lets the kernel map the interrupt controller of attached devices from the IOVA `base` on.
    /// Does nothing in a kernel without such mappings (`CONFIG_IOMMU_DMA`). Sleeps.
    ///
    /// # Errors
    ///
    /// - `EEXIST` if this was called before.
    /// - `ENOMEM`.
    #[doc(alias = "iommu_get_msi_cookie")]
    pub(crate) fn place_msi(&self, base: u64) -> Result {
        // SAFETY: By the type invariants the domain is valid.
        let ret = unsafe { bindings::vfio_rs_iommu_get_msi_cookie(self.0.as_ptr(), base) };
        match to_result(ret) {
            Err(error) if error == ENODEV => Ok(()),
            result => result,
        }
    }

    /// Maps `bytes` bytes of memory from the physical address `physical` on at the IOVA `iova`. All
    /// three must be multiples of the smallest page size of the domain. Sleeps.
    ///
    /// # Errors
    ///
    /// Nothing is mapped then.
    ///
    /// - `EINVAL` if a number is not a multiple of the smallest page size.
    /// - `ENOMEM`, or any other errno of the IOMMU driver.
    ///
    /// # Safety
    ///
    /// Devices must be allowed to access the memory as `prot` says until [`PagingDomain::unmap`]
    /// has removed it or the domain is dropped. Until then the memory must not be used for anything
    /// that such accesses could break.
    #[doc(alias = "iommu_map")]
    pub(crate) unsafe fn map(
        &self,
        iova: usize,
        physical: u64,
        bytes: usize,
        prot: IommuProt,
    ) -> Result {
        // SAFETY: The domain is valid by the type invariants; for the memory see the safety
        // requirements.
        to_result(unsafe {
            bindings::iommu_map(
                self.0.as_ptr(),
                iova,
                physical,
                bytes,
                prot.flags(),
                bindings::GFP_KERNEL_ACCOUNT,
            )
        })
    }

    /// Unmaps the `bytes` bytes from the IOVA `iova` on, and waits until no device can access the
    /// memory any more. Returns the number of bytes that were unmapped, without a gap from `iova`
    /// on. It may be larger than `bytes`, if a large page had to be unmapped as a whole.
    #[doc(alias = "iommu_unmap")]
    pub(crate) fn unmap(&self, iova: usize, bytes: usize) -> usize {
        // SAFETY: The domain is valid by the type invariants.
        unsafe { bindings::iommu_unmap(self.0.as_ptr(), iova, bytes) }
    }
}

impl Drop for PagingDomain {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value owns the domain. The code that attaches groups
        // detaches them before it drops the domain.
        unsafe { bindings::iommu_domain_free(self.0.as_ptr()) };
    }
}
