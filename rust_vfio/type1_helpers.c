// SPDX-License-Identifier: GPL-2.0
/*
 * The C part of vfio_iommu_type1.ko: see type1_helpers.h, and the module
 * information that the Rust `module!` macro cannot express.
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "type1_helpers.h"

void vfio_rs_cond_resched(void)
{
	cond_resched();
}

bool vfio_rs_fatal_signal_pending(struct task_struct *task)
{
	return fatal_signal_pending(task);
}

unsigned long vfio_rs_task_rlimit(const struct task_struct *task,
				  unsigned int limit)
{
	return task_rlimit(task, limit);
}

int vfio_rs_mmap_write_lock_killable(struct mm_struct *mm)
{
	return mmap_write_lock_killable(mm);
}

void vfio_rs_mmap_write_lock(struct mm_struct *mm)
{
	mmap_write_lock(mm);
}

void vfio_rs_mmap_write_unlock(struct mm_struct *mm)
{
	mmap_write_unlock(mm);
}

unsigned long vfio_rs_untagged_addr_remote(struct mm_struct *mm,
					   unsigned long addr)
{
	return untagged_addr_remote(mm, addr);
}

bool vfio_rs_access_ok(unsigned long addr, unsigned long size)
{
	return access_ok((void __user *)addr, size);
}

unsigned long vfio_rs_page_to_pfn(const struct page *page)
{
	return page_to_pfn(page);
}

bool vfio_rs_pfn_valid(unsigned long pfn)
{
	return pfn_valid(pfn);
}

struct page *vfio_rs_pfn_to_page(unsigned long pfn)
{
	return pfn_to_page(pfn);
}

struct folio *vfio_rs_page_folio(struct page *page)
{
	return page_folio(page);
}

unsigned long vfio_rs_folio_pfn(const struct folio *folio)
{
	return folio_pfn(folio);
}

unsigned long vfio_rs_folio_nr_pages(const struct folio *folio)
{
	return folio_nr_pages(folio);
}

bool vfio_rs_page_reserved(const struct page *page)
{
	return PageReserved(page);
}

void vfio_rs_unpin_pfns(unsigned long pfn, unsigned long npages, bool dirty)
{
	unpin_user_page_range_dirty_lock(pfn_to_page(pfn), npages, dirty);
}

struct iommu_domain *vfio_rs_iommu_paging_domain_alloc(struct device *dev)
{
	return iommu_paging_domain_alloc(dev);
}

int vfio_rs_iommu_get_msi_cookie(struct iommu_domain *domain, dma_addr_t base)
{
	return iommu_get_msi_cookie(domain, base);
}

/*
 * The variables are Rust atomics (iommu_type1/params.rs). A `bool` and an
 * `unsigned int` have the layout that these parameter types expect.
 */
extern bool vfio_rs_allow_unsafe_interrupts;
module_param_named(allow_unsafe_interrupts, vfio_rs_allow_unsafe_interrupts,
		   bool, 0644);
MODULE_PARM_DESC(allow_unsafe_interrupts,
		 "Let users have devices whose interrupts are not isolated, so that a device can raise any interrupt.");

extern bool vfio_rs_disable_hugepages;
module_param_named(disable_hugepages, vfio_rs_disable_hugepages, bool, 0644);
MODULE_PARM_DESC(disable_hugepages,
		 "Use no huge pages in the page tables of the IOMMU.");

extern unsigned int vfio_rs_dma_entry_limit;
module_param_named(dma_entry_limit, vfio_rs_dma_entry_limit, uint, 0644);
MODULE_PARM_DESC(dma_entry_limit,
		 "How many mappings a container can have at most (65535).");

MODULE_VERSION("0.2");
