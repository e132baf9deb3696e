// SPDX-License-Identifier: GPL-2.0
/*
 * Inline functions and macros of the kernel, wrapped in functions: see
 * helpers_type1.h.
 */
#include <linux/mm.h>
#include <linux/ratelimit.h>
#include <linux/scatterlist.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "helpers_type1.h"

/* Weak: both modules have it, and both may be built into the kernel. */
void *__weak vfio_rs_kmalloc(size_t size, gfp_t flags)
{
	return kmalloc(size, flags);
}

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

bool vfio_rs_ratelimit(void)
{
	static DEFINE_RATELIMIT_STATE(state, DEFAULT_RATELIMIT_INTERVAL,
				      DEFAULT_RATELIMIT_BURST);

	return __ratelimit(&state);
}

bool vfio_rs_type1_may_report(unsigned int kind)
{
	static struct ratelimit_state states[] = {
		[0 ... 31] = RATELIMIT_STATE_INIT_FLAGS(states,
							DEFAULT_RATELIMIT_INTERVAL,
							DEFAULT_RATELIMIT_BURST,
							RATELIMIT_MSG_ON_RELEASE),
	};

	/* Not indexed: of that UBSAN notes the full path of this file. */
	return kind < ARRAY_SIZE(states) && __ratelimit(states + kind);
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

unsigned long vfio_rs_folio_nr_pages(const struct folio *folio)
{
	return folio_nr_pages(folio);
}

bool vfio_rs_folio_test_hugetlb(const struct folio *folio)
{
	return folio_test_hugetlb(folio);
}

bool vfio_rs_pfn_reserved(unsigned long pfn)
{
	return PageReserved(pfn_to_page(pfn));
}

bool vfio_rs_page_has_mapping(const struct page *page)
{
	return page_folio(page)->mapping;
}

void vfio_rs_unpin_pfns(unsigned long pfn, unsigned long npages, bool dirty)
{
	unpin_user_page_range_dirty_lock(pfn_to_page(pfn), npages, dirty);
}

void vfio_rs_sg_set_pfn(struct scatterlist *sg, unsigned long pfn,
			unsigned int len)
{
	sg_set_page(sg, pfn_to_page(pfn), len, 0);
}

struct iommu_domain *vfio_rs_iommu_paging_domain_alloc(struct device *dev)
{
	return iommu_paging_domain_alloc(dev);
}

int vfio_rs_iommu_get_msi_cookie(struct iommu_domain *domain, dma_addr_t base)
{
	return iommu_get_msi_cookie(domain, base);
}
