// SPDX-License-Identifier: GPL-2.0
/*
 * The floor of the benchmark: what the kernel functions take that no backend
 * can do without, called in the cheapest way that is known. There is no lock,
 * no accounting, no check and no memory of mappings beyond what unpinning
 * needs, so that nobody can be below it by much.
 *
 * Loading it with device=<PCI address> attaches that device, which must have no
 * driver, to an address space of its own. Writing "<user address> <size>", in
 * hexadecimal, to debugfs pins and maps that memory, then unmaps and unpins it;
 * reading tells how many cycles the two halves took. The memory must be of one
 * kind from begin to end: this is no code for programs that are not trusted.
 *
 * It is in C because it has no logic to get wrong and needs no bindings.
 */
#include <linux/debugfs.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/timex.h>
#include <linux/uaccess.h>

/* Pages that are pinned by one call, as both backends do. */
#define BATCH		512UL
/* Pages that are compared at once. */
#define BLOCK		32UL
/* Runs that are mapped by one call: a page of scatterlist entries. */
#define QUEUE		(PAGE_SIZE / sizeof(struct scatterlist))
/* As in the benchmark: above what is reserved, aligned to all huge pages. */
#define IOVA		(4ULL << 30)
#define PROT		(IOMMU_READ | IOMMU_WRITE)

static char *device;
module_param(device, charp, 0444);
MODULE_PARM_DESC(device, "PCI address of a device without a driver");

/* Pages that are consecutive in RAM. */
struct run {
	struct page *first;
	unsigned long pages;
};

static struct pci_dev *pdev;
static struct iommu_group *group;
static struct iommu_domain *domain;
static struct dentry *dir;

static DEFINE_MUTEX(lock);
/* Protected by the lock: scratch memory, and the last result. */
static struct page *batch[BATCH];
static struct run *runs;
static size_t run_count;
/* The last runs, which are not mapped yet. */
static struct scatterlist *queue;
static unsigned int queued;
static cycles_t map_cycles, unmap_cycles;

/*
 * How many pages from page number @at of the batch on are consecutive. Each must
 * be looked at: the first and the last page of a folio can be in place, and one
 * between them exchanged.
 */
static unsigned long consecutive(unsigned long at, unsigned long count)
{
	struct page *first = batch[at];
	unsigned long n, i;

	if (at + 1 == count || batch[at + 1] != first + 1)
		return 1;
	/* In blocks, without a loop for each. */
	for (n = 0; at + n + BLOCK <= count; n += BLOCK) {
		unsigned long different = 0;

#pragma GCC unroll 32
		for (i = 0; i < BLOCK; i++)
			different |= (uintptr_t)batch[at + n + i] ^ (uintptr_t)(first + n + i);
		if (different)
			break;
	}
	while (at + n < count && batch[at + n] == first + n)
		n++;
	return n;
}

/* Maps the runs that are queued, which saves a flush for each of them. */
static int map_queue(dma_addr_t *iova)
{
	ssize_t size;

	if (!queued)
		return 0;
	size = iommu_map_sg(domain, *iova, queue, queued, PROT, GFP_KERNEL);
	if (size <= 0)
		return size ?: -EIO;
	*iova += size;
	queued = 0;
	return 0;
}

/* Adds consecutive pages to the last run, or queues that and begins another. */
static int add(struct page *first, unsigned long pages, dma_addr_t *iova)
{
	struct run *last = queued ? &runs[run_count - 1] : NULL;
	int ret;

	/* The length of an entry has 32 bits. */
	if (last && last->first + last->pages == first &&
	    last->pages + pages <= UINT_MAX >> PAGE_SHIFT) {
		last->pages += pages;
		queue[queued - 1].length = last->pages << PAGE_SHIFT;
		return 0;
	}
	if (queued == QUEUE) {
		ret = map_queue(iova);
		if (ret)
			return ret;
	}
	sg_set_page(&queue[queued++], first, pages << PAGE_SHIFT, 0);
	runs[run_count++] = (struct run){ first, pages };
	return 0;
}

static int map_all(unsigned long vaddr, unsigned long pages)
{
	dma_addr_t iova = IOVA;
	/* The first page tells whether the memory is hugetlb. */
	unsigned long want = 1;

	while (pages) {
		struct folio *folio;
		unsigned long done = 0;
		int got = pin_user_pages_fast(vaddr, min(want, pages),
					      FOLL_WRITE | FOLL_LONGTERM, batch);

		if (got <= 0)
			return got ?: -EFAULT;
		folio = page_folio(batch[0]);
		if (folio_test_hugetlb(folio)) {
			/* One pin found the page; the others need no search. */
			done = folio_nr_pages(folio) - folio_page_idx(folio, batch[0]);
			done = min(done, pages);
			if (done > 1)
				folio_add_pins(folio, done - 1);
			if (add(batch[0], done, &iova))
				return -EIO;
		} else {
			want = BATCH;
			while (done < got) {
				unsigned long part = consecutive(done, got);

				if (add(batch[done], part, &iova))
					return -EIO;
				done += part;
			}
		}
		vaddr += done << PAGE_SHIFT;
		pages -= done;
	}
	return map_queue(&iova);
}

static int unmap_all(size_t size)
{
	size_t at;

	if (iommu_unmap(domain, IOVA, size) != size)
		return -EIO;
	for (at = 0; at < run_count; at++)
		unpin_user_page_range_dirty_lock(runs[at].first, runs[at].pages, true);
	return 0;
}

static int measure(unsigned long vaddr, size_t size)
{
	cycles_t start = get_cycles();
	int ret = map_all(vaddr, size >> PAGE_SHIFT);

	map_cycles = get_cycles() - start;
	/*
	 * After an error pins and mappings stay: the machine is only there to
	 * be measured, and the benchmark gives up.
	 */
	if (ret)
		return ret;
	start = get_cycles();
	ret = unmap_all(size);
	unmap_cycles = get_cycles() - start;
	return ret;
}

static ssize_t floor_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	unsigned long vaddr;
	char text[64] = {};
	size_t size;
	int ret;

	if (len >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, buf, len))
		return -EFAULT;
	if (sscanf(text, "%lx %zx", &vaddr, &size) != 2 || !size || !PAGE_ALIGNED(vaddr | size))
		return -EINVAL;
	guard(mutex)(&lock);
	runs = kvcalloc(size >> PAGE_SHIFT, sizeof(*runs), GFP_KERNEL);
	queue = kcalloc(QUEUE, sizeof(*queue), GFP_KERNEL);
	if (runs && queue) {
		sg_init_table(queue, QUEUE);
		run_count = 0;
		queued = 0;
		ret = measure(vaddr, size);
	} else {
		ret = -ENOMEM;
	}
	kfree(queue);
	kvfree(runs);
	return ret ?: len;
}

static ssize_t floor_read(struct file *file, char __user *buf, size_t len, loff_t *pos)
{
	char text[64];
	int used;

	scoped_guard(mutex, &lock)
		used = scnprintf(text, sizeof(text), "%llu %llu\n",
				 (u64)map_cycles, (u64)unmap_cycles);
	return simple_read_from_buffer(buf, len, pos, text, used);
}

static const struct file_operations floor_fops = {
	.owner = THIS_MODULE,
	.write = floor_write,
	.read = floor_read,
};

static int __init floor_init(void)
{
	unsigned int seg, bus, slot, func;
	int ret = -ENODEV;

	if (!device || sscanf(device, "%x:%x:%x.%x", &seg, &bus, &slot, &func) != 4)
		return -EINVAL;
	pdev = pci_get_domain_bus_and_slot(seg, bus, PCI_DEVFN(slot, func));
	if (!pdev)
		return -ENODEV;
	group = iommu_group_get(&pdev->dev);
	if (!group)
		goto put_device;
	ret = iommu_device_claim_dma_owner(&pdev->dev, &pdev);
	if (ret)
		goto put_group;
	domain = iommu_paging_domain_alloc(&pdev->dev);
	if (IS_ERR(domain)) {
		ret = PTR_ERR(domain);
		goto release;
	}
	ret = iommu_attach_group(domain, group);
	if (ret)
		goto free;
	dir = debugfs_create_dir("vfio_floor", NULL);
	debugfs_create_file("measure", 0600, dir, NULL, &floor_fops);
	return 0;
free:
	iommu_domain_free(domain);
release:
	iommu_device_release_dma_owner(&pdev->dev);
put_group:
	iommu_group_put(group);
put_device:
	pci_dev_put(pdev);
	return ret;
}

static void __exit floor_exit(void)
{
	debugfs_remove(dir);
	iommu_detach_group(domain, group);
	iommu_domain_free(domain);
	iommu_device_release_dma_owner(&pdev->dev);
	iommu_group_put(group);
	pci_dev_put(pdev);
}

module_init(floor_init);
module_exit(floor_exit);
MODULE_DESCRIPTION("The least that pinning and mapping memory takes");
MODULE_LICENSE("GPL");
