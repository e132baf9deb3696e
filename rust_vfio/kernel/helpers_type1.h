/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Inline functions and macros of the kernel that vfio_iommu_type1.ko needs,
 * wrapped in functions that Rust can call. None of them makes a decision. The
 * kernel crate has such functions in rust/helpers/, to which these would be
 * added.
 */
#ifndef RUST_VFIO_HELPERS_TYPE1_H
#define RUST_VFIO_HELPERS_TYPE1_H

#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>

void *vfio_rs_kmalloc(size_t size, gfp_t flags);

/* Scheduling, signals and limits of tasks. */
void vfio_rs_cond_resched(void);
bool vfio_rs_fatal_signal_pending(struct task_struct *task);
unsigned long vfio_rs_task_rlimit(const struct task_struct *task,
				  unsigned int limit);
bool vfio_rs_ratelimit(void);
bool vfio_rs_type1_may_report(unsigned int kind);

/* Address spaces and user virtual addresses. */
int vfio_rs_mmap_write_lock_killable(struct mm_struct *mm);
void vfio_rs_mmap_write_lock(struct mm_struct *mm);
void vfio_rs_mmap_write_unlock(struct mm_struct *mm);
unsigned long vfio_rs_untagged_addr_remote(struct mm_struct *mm,
					   unsigned long addr);
bool vfio_rs_access_ok(unsigned long addr, unsigned long size);

/* Pages, folios and page frame numbers. */
unsigned long vfio_rs_page_to_pfn(const struct page *page);
bool vfio_rs_pfn_valid(unsigned long pfn);
struct page *vfio_rs_pfn_to_page(unsigned long pfn);
struct folio *vfio_rs_page_folio(struct page *page);
unsigned long vfio_rs_folio_nr_pages(const struct folio *folio);
bool vfio_rs_folio_test_hugetlb(const struct folio *folio);
bool vfio_rs_pfn_reserved(unsigned long pfn);
bool vfio_rs_page_has_mapping(const struct page *page);
void vfio_rs_unpin_pfns(unsigned long pfn, unsigned long npages, bool dirty);

/* Scatterlists. */
void vfio_rs_sg_set_pfn(struct scatterlist *sg, unsigned long pfn,
			unsigned int len);

/* IOMMU domains. */
struct iommu_domain *vfio_rs_iommu_paging_domain_alloc(struct device *dev);
int vfio_rs_iommu_get_msi_cookie(struct iommu_domain *domain, dma_addr_t base);

#endif
