// SPDX-License-Identifier: GPL-2.0

//! IOMMU domains (page tables for devices) and the groups of devices that are attached to them.
//!
//! In the kernel crate: `kernel::iommu` has only `pgtable`, page tables that a driver programs
//! itself. A module `kernel::iommu::domain` with `PagingDomain` and a module
//! `kernel::iommu::group` with a counted reference to `struct iommu_group` and its reserved
//! regions would replace this file.
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

use crate::{
    bindings,
    kernel::scatterlist::ScatterList, //
};

/// The accesses to mapped memory that devices are allowed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct IommuProt {
    /// Devices may read.
    pub(crate) read: bool,
    /// Devices may write.
    pub(crate) write: bool,
}

impl IommuProt {
    /// Returns whether all accesses in `prot`, flags of the IOMMU API (`IOMMU_READ` and others),
    /// are allowed.
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

    /// Returns the flags of the IOMMU API, always with `IOMMU_CACHE` (DMA is cache-coherent).
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
    /// Mapped one to one at boot; the addresses may be mapped otherwise once a driver has the
    /// device (`IOMMU_RESV_DIRECT_RELAXABLE`).
    DirectRelaxable,
    /// The addresses to which devices write interrupt messages (`IOMMU_RESV_MSI`).
    Msi,
    /// The addresses at which the kernel maps an interrupt controller (`IOMMU_RESV_SW_MSI`).
    SwMsi,
    /// Any other purpose; the addresses must not be mapped.
    Other,
}

/// A reserved region of the I/O address space of a group, as the IOMMU driver reports it
/// (`struct iommu_resv_region`).
pub(crate) struct ReservedRegion {
    /// The first I/O address.
    pub(crate) start: u64,
    /// The size in bytes. It may be 0, and the region may reach beyond the address space.
    pub(crate) length: u64,
    /// The purpose.
    pub(crate) kind: ResvType,
}

/// A reference to an IOMMU group that is not counted.
///
/// # Invariants
///
/// The pointer is valid as long as the value is used: the caller of [`GroupHandle::from_raw`] holds
/// a reference to the group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupHandle(NonNull<bindings::iommu_group>);

// SAFETY: The functions of the IOMMU core that take a group lock its mutex, so any thread may call
// them.
unsafe impl Send for GroupHandle {}

impl GroupHandle {
    /// Returns the group at `group`, or `None` for a null pointer.
    ///
    /// # Safety
    ///
    /// `group` must be null or point to an IOMMU group that stays valid as long as the result and
    /// its copies are used.
    pub(crate) unsafe fn from_raw(group: *mut bindings::iommu_group) -> Option<Self> {
        // INVARIANT: By the safety requirements of this function.
        NonNull::new(group).map(Self)
    }

    /// Returns the number that names the group in sysfs.
    #[doc(alias = "iommu_group_id")]
    pub(crate) fn id(self) -> i32 {
        // SAFETY: The group is valid by the type invariants.
        unsafe { bindings::iommu_group_id(self.0.as_ptr()) }
    }

    /// Creates a domain for the first device of the group, without attaching the group. May sleep.
    ///
    /// # Errors
    ///
    /// - `ENODEV` if the group has no device, or the device no IOMMU.
    /// - `ENOMEM`, or any errno of the IOMMU driver's `domain_alloc_paging`.
    #[doc(alias = "iommu_paging_domain_alloc")]
    pub(crate) fn new_domain(self) -> Result<PagingDomain> {
        let mut domain: *mut bindings::iommu_domain = ptr::null_mut();
        // SAFETY: The group is valid by the type invariants. `data` points to a pointer to a
        // domain, as `first_device` requires. The function holds the mutex of the group, so each
        // device that it passes stays valid for the duration of the callback.
        unsafe {
            bindings::iommu_group_for_each_dev(
                self.0.as_ptr(),
                (&raw mut domain).cast(),
                Some(first_device),
            )
        };
        let domain = NonNull::new(from_err_ptr(domain)?).ok_or(ENODEV)?;
        // INVARIANT: The domain was allocated above and nobody else has a pointer to it.
        Ok(PagingDomain(domain))
    }

    /// Calls `f` with each reserved region of the devices of the group, sorted by address. May
    /// sleep.
    ///
    /// # Errors
    ///
    /// - `ENOMEM` if there is no memory for the list of regions.
    /// - Any errno of `f`, which ends the iteration.
    #[doc(alias = "iommu_get_group_resv_regions")]
    pub(crate) fn for_each_reserved(self, mut f: impl FnMut(ReservedRegion) -> Result) -> Result {
        let mut head = bindings::list_head::default();
        let head = &raw mut head;
        // SAFETY: `head` points to a local variable.
        unsafe {
            (*head).next = head;
            (*head).prev = head;
        }
        // SAFETY: The head is that of an empty list, and lives longer than `list`. Only
        // `iommu_get_group_resv_regions()` below adds elements.
        let list = unsafe { ReservedList::new(head) };
        // If the call fails the list may have elements nevertheless; `list` frees them.
        // SAFETY: The group is valid by the type invariants, and `head` is an initialised list.
        to_result(unsafe { bindings::iommu_get_group_resv_regions(self.0.as_ptr(), head) })?;
        list.for_each(|region| {
            // SAFETY: `for_each` passes elements of the list, which are freed when `list` is
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

    /// Returns whether the devices of the group can only raise interrupts that they were given.
    #[doc(alias = "iommu_group_has_isolated_msi")]
    pub(crate) fn has_isolated_msi(self) -> bool {
        // SAFETY: The group is valid by the type invariants.
        unsafe { bindings::iommu_group_has_isolated_msi(self.0.as_ptr()) }
    }
}

/// Allocates a domain for `dev` and ends the iteration over the devices of the group.
///
/// # Safety
///
/// `dev` must be a valid device that is in an IOMMU group. `data` must be valid for writing a
/// pointer to a domain; it receives the domain or an error pointer.
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

/// A list of reserved regions from the IOMMU core. Dropping it frees the elements.
///
/// # Invariants
///
/// The pointer is the head of a list whose elements are linked by the field `list` of
/// `struct iommu_resv_region`. The elements were allocated by `kmalloc()` and are owned by this
/// value.
struct ReservedList(*mut bindings::list_head);

impl ReservedList {
    /// Returns the list with the head `head`.
    ///
    /// # Safety
    ///
    /// `head` must satisfy the type invariants until the result is dropped.
    unsafe fn new(head: *mut bindings::list_head) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self(head)
    }

    /// Calls `f` with each element. `f` may free the element.
    ///
    /// # Errors
    ///
    /// Any errno of `f`, which ends the iteration.
    fn for_each(&self, mut f: impl FnMut(*mut bindings::iommu_resv_region) -> Result) -> Result {
        // SAFETY: By the type invariants the head is valid.
        let mut entry = unsafe { (*self.0).next };
        while !ptr::eq(entry, self.0) {
            // SAFETY: `entry` is not the head, so by the type invariants it is in an element, which
            // was not passed to `f` yet.
            let next = unsafe { (*entry).next };
            // SAFETY: By the type invariants `entry` is the field `list` of a region.
            f(unsafe { kernel::container_of!(entry, bindings::iommu_resv_region, list) })?;
            entry = next;
        }
        Ok(())
    }
}

impl Drop for ReservedList {
    fn drop(&mut self) {
        let _ = self.for_each(|region| {
            // SAFETY: By the type invariants this value owns the element, which `kmalloc()`
            // allocated. `for_each` does not use it again, and nobody uses the list after `drop`.
            unsafe { bindings::kfree(region.cast()) };
            Ok(())
        });
    }
}

/// A domain whose page table is filled by its owner (`struct iommu_domain`). Dropping it frees the
/// page table; all groups must have been detached before.
///
/// # Invariants
///
/// The pointer is valid, and the domain is owned by this value.
pub(crate) struct PagingDomain(NonNull<bindings::iommu_domain>);

// SAFETY: The functions of the IOMMU API that take a domain are not bound to a thread.
unsafe impl Send for PagingDomain {}

impl PagingDomain {
    /// Returns the C structure. It is valid until this value is dropped.
    pub(crate) fn as_ptr(&self) -> *mut bindings::iommu_domain {
        self.0.as_ptr()
    }

    /// Attaches the devices of `group` to this domain. May sleep.
    ///
    /// # Errors
    ///
    /// - `EBUSY` if the group is attached to another domain that is not its default one.
    /// - `EINVAL` if the domain is not of the IOMMU driver of the devices.
    /// - `EBUSY` if a device of the group is being reset.
    /// - `EINVAL` if the domain does not fit the devices, or any other errno of the IOMMU driver's
    ///   `attach_dev`.
    #[doc(alias = "iommu_attach_group")]
    pub(crate) fn attach(&self, group: GroupHandle) -> Result {
        // SAFETY: Both pointers are valid by the type invariants.
        to_result(unsafe { bindings::iommu_attach_group(self.0.as_ptr(), group.0.as_ptr()) })
    }

    /// Detaches the devices of `group` from this domain; undoes [`PagingDomain::attach`]. May
    /// sleep.
    #[doc(alias = "iommu_detach_group")]
    pub(crate) fn detach(&self, group: GroupHandle) {
        // SAFETY: Both pointers are valid by the type invariants.
        unsafe { bindings::iommu_detach_group(self.0.as_ptr(), group.0.as_ptr()) };
    }

    /// Returns the page sizes of the page table as a bitmap: bit n stands for 2^n bytes.
    pub(crate) fn page_sizes(&self) -> u64 {
        // SAFETY: The pointer is valid by the type invariants.
        unsafe { (*self.0.as_ptr()).pgsize_bitmap as u64 }
    }

    /// Returns the first and the last I/O address that can be mapped, both inclusive.
    pub(crate) fn aperture(&self) -> (u64, u64) {
        // SAFETY: The pointer is valid by the type invariants.
        let geometry = unsafe { (*self.0.as_ptr()).geometry };
        (geometry.aperture_start, geometry.aperture_end)
    }

    /// Returns whether both domains have the same table of operations, that is, are of the same
    /// IOMMU driver and format.
    pub(crate) fn same_kind(&self, other: &Self) -> bool {
        ptr::eq(self.ops(), other.ops())
    }

    /// Returns the table of operations.
    fn ops(&self) -> *const bindings::iommu_domain_ops {
        // SAFETY: The pointer is valid by the type invariants.
        unsafe { (*self.0.as_ptr()).ops }
    }

    /// Makes all DMA through this domain cache-coherent, even if a device asks for no snooping.
    /// Returns whether the IOMMU driver can do that.
    #[doc(alias = "enforce_cache_coherency")]
    pub(crate) fn enforce_coherency(&self) -> bool {
        // SAFETY: The table is null or a static of the IOMMU driver, which cannot be unloaded while
        // it has devices.
        let ops = unsafe { self.ops().as_ref() };
        match ops.and_then(|ops| ops.enforce_cache_coherency) {
            // SAFETY: The domain is valid by the type invariants and belongs to this driver.
            Some(enforce) => unsafe { enforce(self.0.as_ptr()) },
            None => false,
        }
    }

    /// Reserves the I/O addresses from `base` on for the interrupt controllers of attached devices,
    /// which the kernel maps there when it needs them.
    ///
    /// Does nothing in a kernel that has no `CONFIG_IOMMU_DMA`.
    ///
    /// # Errors
    ///
    /// - `EEXIST` if that was done before.
    /// - `ENOMEM` if there is no memory.
    #[doc(alias = "iommu_get_msi_cookie")]
    pub(crate) fn place_msi(&self, base: u64) -> Result {
        // SAFETY: The domain is valid by the type invariants.
        let ret = unsafe { bindings::vfio_rs_iommu_get_msi_cookie(self.0.as_ptr(), base) };
        match to_result(ret) {
            Err(error) if error == ENODEV => Ok(()),
            result => result,
        }
    }

    /// Maps `bytes` bytes of memory from the physical address `physical` on at the I/O address
    /// `iova`. All three are multiples of the smallest page size of the domain. May sleep.
    ///
    /// # Errors
    ///
    /// Nothing is mapped then.
    ///
    /// - `EINVAL` if a number is not a multiple of the smallest page size.
    /// - `ENOMEM` if there is no memory for the page table.
    /// - Any other errno of the IOMMU driver.
    ///
    /// # Safety
    ///
    /// Until [`PagingDomain::unmap`] has removed the mapping or the domain is dropped, the memory
    /// must not be used for anything that breaks if attached devices access it as `prot` allows.
    #[doc(alias = "iommu_map")]
    pub(crate) unsafe fn map(
        &self,
        iova: usize,
        physical: u64,
        bytes: usize,
        prot: IommuProt,
    ) -> Result {
        // SAFETY: The domain is valid by the type invariants. Devices may access the memory by the
        // safety requirements of this function.
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

    /// Maps the pieces of `list`, one behind the other, from the I/O address `iova` on, a multiple
    /// of the smallest page size of the domain. Consecutive pieces are mapped as one. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`PagingDomain::map`]. Nothing is mapped then.
    ///
    /// # Safety
    ///
    /// Until [`PagingDomain::unmap`] has removed the mapping or the domain is dropped, the memory
    /// must not be used for anything that breaks if attached devices access it as `prot` allows.
    #[doc(alias = "iommu_map_sg")]
    pub(crate) unsafe fn map_list(
        &self,
        iova: usize,
        list: &ScatterList,
        prot: IommuProt,
    ) -> Result {
        if list.len() == 0 {
            return Ok(());
        }
        // SAFETY: The domain is valid by the type invariants. The function reads so many entries of
        // the list, which are set, and changes none. Devices may access the memory by the safety
        // requirements of this function.
        let mapped = unsafe {
            bindings::iommu_map_sg(
                self.0.as_ptr(),
                iova,
                list.as_ptr(),
                list.len() as u32,
                prot.flags(),
                bindings::GFP_KERNEL_ACCOUNT,
            )
        };
        // The function maps all or nothing.
        match i32::try_from(mapped) {
            Ok(error @ ..0) => Err(Error::from_errno(error)),
            _ => Ok(()),
        }
    }

    /// Returns the physical address to which `iova` is mapped, or `None` if it is not mapped.
    #[doc(alias = "iommu_iova_to_phys")]
    #[allow(
        clippy::unnecessary_cast,
        reason = "`phys_addr_t` has 32 bits on some machines"
    )]
    pub(crate) fn physical(&self, iova: u64) -> Option<u64> {
        // SAFETY: The domain is valid by the type invariants.
        match unsafe { bindings::iommu_iova_to_phys(self.0.as_ptr(), iova) } {
            0 => None,
            physical => Some(physical as u64),
        }
    }

    /// Unmaps the `bytes` bytes from the I/O address `iova` on and flushes the IOTLB, so that no
    /// device can access them any more. Returns the number of bytes from `iova` on that were mapped
    /// and have been unmapped. May sleep.
    #[doc(alias = "iommu_unmap")]
    pub(crate) fn unmap(&self, iova: usize, bytes: usize) -> usize {
        // SAFETY: The domain is valid by the type invariants.
        unsafe { bindings::iommu_unmap(self.0.as_ptr(), iova, bytes) }
    }
}

impl Drop for PagingDomain {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the domain is valid and owned by this value.
        unsafe { bindings::iommu_domain_free(self.0.as_ptr()) };
    }
}
