// SPDX-License-Identifier: GPL-2.0

//! IOMMU domains (page tables for devices) and the groups of devices that are attached to them.
//!
//! In the kernel crate: `kernel::iommu` has page tables that a driver uses directly, not yet domains
//! of the IOMMU core; `PagingDomain` would be added there, and reserved regions to a type for
//! IOMMU groups.
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

/// What devices may do with mapped memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct IommuProt {
    /// Devices may read.
    pub(crate) read: bool,
    /// Devices may write.
    pub(crate) write: bool,
}

impl IommuProt {
    /// Whether all of `prot`, flags of the IOMMU API, is allowed.
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

    /// The flags of the IOMMU API. Memory of the user is always cache-coherent.
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

/// What a reserved region is for (`enum iommu_resv_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResvType {
    /// Mapped one to one at boot; users may use the addresses instead.
    DirectRelaxable,
    /// Where devices write their interrupt messages.
    Msi,
    /// Where the kernel shall place the mapping of an interrupt controller.
    SwMsi,
    /// Anything else, which must not be mapped by users.
    Other,
}

/// A region of the address space of a group that the IOMMU driver reports.
pub(crate) struct ReservedRegion {
    /// The first address.
    pub(crate) start: u64,
    /// The size in bytes; may be 0, and may exceed the address space.
    pub(crate) length: u64,
    /// What it is for.
    pub(crate) kind: ResvType,
}

/// An IOMMU group that the core attached to a container.
///
/// # Invariants
///
/// The pointer is valid: the core holds a reference from before it attaches the group until after
/// it has detached it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupHandle(NonNull<bindings::iommu_group>);

// SAFETY: IOMMU groups have a lock of their own.
unsafe impl Send for GroupHandle {}

impl GroupHandle {
    /// The group that the core names.
    ///
    /// # Safety
    ///
    /// The group must stay valid while values of this type are used: until the core has detached
    /// it, or for the duration of the call if it is not attached.
    pub(crate) unsafe fn from_raw(group: *mut bindings::iommu_group) -> Option<Self> {
        // INVARIANT: By the contract of this function.
        NonNull::new(group).map(Self)
    }

    /// Makes a domain that the devices of the group can be attached to.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the group has no device, otherwise what the IOMMU driver says.
    pub(crate) fn new_domain(self) -> Result<PagingDomain> {
        let mut domain: *mut bindings::iommu_domain = ptr::null_mut();
        // SAFETY: The group is valid, and `first_device` gets the pointer it expects. Devices
        // cannot leave the group during the call.
        unsafe {
            bindings::iommu_group_for_each_dev(
                self.0.as_ptr(),
                (&raw mut domain).cast(),
                Some(first_device),
            )
        };
        let domain = NonNull::new(from_err_ptr(domain)?).ok_or(ENODEV)?;
        // INVARIANT: The domain is new and nobody else has it.
        Ok(PagingDomain(domain))
    }

    /// Calls `f` with each region of the address space that users cannot use freely.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what the IOMMU core says; those of `f`, which end the walk.
    #[doc(alias = "iommu_get_group_resv_regions")]
    pub(crate) fn for_each_reserved(self, mut f: impl FnMut(ReservedRegion) -> Result) -> Result {
        let mut head = bindings::list_head::default();
        let head = &raw mut head;
        // SAFETY: The list head is valid and becomes an empty list.
        unsafe {
            (*head).next = head;
            (*head).prev = head;
        }
        // SAFETY: The head is initialised, and in scope for longer than the list.
        let list = unsafe { ReservedList::new(head) };
        // SAFETY: The group and the list are valid. Even if the call fails, the list may have
        // elements.
        to_result(unsafe { bindings::iommu_get_group_resv_regions(self.0.as_ptr(), head) })?;
        list.for_each(|region| {
            // SAFETY: `for_each` passes valid elements.
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

    /// Whether a device of the group can only raise the interrupts that it was given.
    pub(crate) fn has_isolated_msi(self) -> bool {
        // SAFETY: The group is valid.
        unsafe { bindings::iommu_group_has_isolated_msi(self.0.as_ptr()) }
    }
}

/// Allocates a domain for `dev` and ends the walk over the group.
///
/// # Safety
///
/// Called by `iommu_group_for_each_dev` with a device of the group; `data` points to a pointer to
/// a domain, which is written.
unsafe extern "C" fn first_device(
    dev: *mut bindings::device,
    data: *mut kernel::ffi::c_void,
) -> kernel::ffi::c_int {
    // SAFETY: By the contract of this function.
    unsafe {
        *data.cast::<*mut bindings::iommu_domain>() =
            bindings::vfio_rs_iommu_paging_domain_alloc(dev)
    };
    1
}

/// The list that the IOMMU core makes. Dropping it frees the elements.
///
/// # Invariants
///
/// The pointer is the head of a list of `struct iommu_resv_region`, which belong to this value.
struct ReservedList(*mut bindings::list_head);

impl ReservedList {
    /// The list with this head.
    ///
    /// # Safety
    ///
    /// The invariants must hold from now until the value is dropped.
    unsafe fn new(head: *mut bindings::list_head) -> Self {
        // INVARIANT: By the contract of this function.
        Self(head)
    }

    /// Calls `f` with each element, which `f` may free.
    fn for_each(&self, mut f: impl FnMut(*mut bindings::iommu_resv_region) -> Result) -> Result {
        // SAFETY: The list is a ring that begins and ends at its head.
        let mut entry = unsafe { (*self.0).next };
        while !ptr::eq(entry, self.0) {
            // SAFETY: Not the head, so an element that is still allocated.
            let next = unsafe { (*entry).next };
            // SAFETY: Each element is a region, linked by its field `list`.
            f(unsafe { kernel::container_of!(entry, bindings::iommu_resv_region, list) })?;
            entry = next;
        }
        Ok(())
    }
}

impl Drop for ReservedList {
    fn drop(&mut self) {
        let _ = self.for_each(|region| {
            // SAFETY: The element was allocated for us and is not used again.
            unsafe { bindings::kfree(region.cast()) };
            Ok(())
        });
    }
}

/// A page table for devices, of the kind that we fill. Dropping it frees the page table.
///
/// # Invariants
///
/// The domain is valid and belongs to this value.
pub(crate) struct PagingDomain(NonNull<bindings::iommu_domain>);

// SAFETY: IOMMU drivers let any thread use a domain.
unsafe impl Send for PagingDomain {}

impl PagingDomain {
    /// The C object, for the operation that hands it out.
    pub(crate) fn as_ptr(&self) -> *mut bindings::iommu_domain {
        self.0.as_ptr()
    }

    /// Lets the devices of `group` use this domain.
    ///
    /// # Errors
    ///
    /// What the IOMMU driver says: `EINVAL` if domain and devices do not match, `EBUSY` if
    /// another domain is attached.
    pub(crate) fn attach(&self, group: GroupHandle) -> Result {
        // SAFETY: Both are valid.
        to_result(unsafe { bindings::iommu_attach_group(self.0.as_ptr(), group.0.as_ptr()) })
    }

    /// The opposite of [`PagingDomain::attach`].
    pub(crate) fn detach(&self, group: GroupHandle) {
        // SAFETY: Both are valid.
        unsafe { bindings::iommu_detach_group(self.0.as_ptr(), group.0.as_ptr()) };
    }

    /// The page sizes of the page table, as a bitmap.
    pub(crate) fn page_sizes(&self) -> u64 {
        // SAFETY: By the invariant.
        unsafe { (*self.0.as_ptr()).pgsize_bitmap as u64 }
    }

    /// Returns the first and the last address that can be mapped, both inclusive.
    pub(crate) fn aperture(&self) -> (u64, u64) {
        // SAFETY: By the type invariants.
        let geometry = unsafe { (*self.0.as_ptr()).geometry };
        (geometry.aperture_start, geometry.aperture_end)
    }

    /// Whether both domains are of the same IOMMU driver and kind.
    pub(crate) fn same_kind(&self, other: &Self) -> bool {
        ptr::eq(self.ops(), other.ops())
    }

    fn ops(&self) -> *const bindings::iommu_domain_ops {
        // SAFETY: By the invariant.
        unsafe { (*self.0.as_ptr()).ops }
    }

    /// Makes all DMA cache-coherent, whatever the device asks for. Returns whether it is.
    pub(crate) fn enforce_coherency(&self) -> bool {
        // SAFETY: The table belongs to the IOMMU driver, which cannot go while it has domains.
        let ops = unsafe { self.ops().as_ref() };
        match ops.and_then(|ops| ops.enforce_cache_coherency) {
            // SAFETY: The domain is valid.
            Some(enforce) => unsafe { enforce(self.0.as_ptr()) },
            None => false,
        }
    }

    /// Lets the kernel map the interrupt controller of attached devices, from `base` on.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. A kernel that has no use for it says `ENODEV`, which is not an error here.
    pub(crate) fn place_msi(&self, base: u64) -> Result {
        // SAFETY: The domain is valid and new.
        let ret = unsafe { bindings::vfio_rs_iommu_get_msi_cookie(self.0.as_ptr(), base) };
        match to_result(ret) {
            Err(error) if error == ENODEV => Ok(()),
            result => result,
        }
    }

    /// Maps `bytes` bytes of physical memory from `physical` on at `iova`; all three are multiples
    /// of the smallest page size.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what the IOMMU driver says. Nothing is mapped then.
    ///
    /// # Safety
    ///
    /// Devices may use the memory as `prot` says until [`PagingDomain::unmap`] has taken it away, or
    /// the domain is gone. Nothing else may rely on it meanwhile.
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

    /// Removes what is mapped in the `bytes` bytes from `iova` on, and waits until no device can
    /// use it any more. Returns how many bytes from `iova` on were mapped and are now gone.
    #[doc(alias = "iommu_unmap")]
    pub(crate) fn unmap(&self, iova: usize, bytes: usize) -> usize {
        // SAFETY: The domain is valid by the type invariants.
        unsafe { bindings::iommu_unmap(self.0.as_ptr(), iova, bytes) }
    }
}

impl Drop for PagingDomain {
    fn drop(&mut self) {
        // SAFETY: The domain belongs to this value and has no group attached any more.
        unsafe { bindings::iommu_domain_free(self.0.as_ptr()) };
    }
}
