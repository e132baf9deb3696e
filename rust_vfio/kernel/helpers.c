// SPDX-License-Identifier: GPL-2.0
/*
 * Inline functions and macros of the kernel, wrapped in functions: see
 * helpers.h.
 */
#include <linux/anon_inodes.h>
#include <linux/pm_runtime.h>
#include <linux/ratelimit.h>
#include <linux/slab.h>

#include "helpers.h"

void vfio_rs_list_add(struct list_head *entry, struct list_head *head)
{
	list_add(entry, head);
}

void vfio_rs_list_add_tail(struct list_head *entry, struct list_head *head)
{
	list_add_tail(entry, head);
}

void vfio_rs_list_del(struct list_head *entry)
{
	list_del(entry);
}

void *vfio_rs_kvzalloc(size_t size)
{
	return kvzalloc(size, GFP_KERNEL);
}

/* Weak: both modules have it, and both may be built into the kernel. */
void *__weak vfio_rs_kmalloc(size_t size, gfp_t flags)
{
	return kmalloc(size, flags);
}

void vfio_rs_ida_init(struct ida *ida)
{
	ida_init(ida);
}

void vfio_rs_assert_mutex_held(struct mutex *lock)
{
	lockdep_assert_held(lock);
}

struct cdev *vfio_rs_inode_cdev(struct inode *inode)
{
	return inode->i_cdev;
}

struct file *vfio_rs_anon_inode_getfile_pread(const char *name,
					      const struct file_operations *fops,
					      void *private_data)
{
	return anon_inode_getfile_fmode(name, fops, private_data, O_RDWR,
					FMODE_PREAD | FMODE_PWRITE);
}

bool vfio_rs_refcount_inc_not_zero(refcount_t *refs)
{
	return refcount_inc_not_zero(refs);
}

/* The driver stays as long as the lock is held. If somebody else has it, give up. */
bool vfio_rs_driver_name(struct device *dev, char *name, size_t size)
{
	bool bound;

	if (!device_trylock(dev))
		return false;
	bound = dev->driver;
	if (bound)
		strscpy(name, dev->driver->name, size);
	device_unlock(dev);
	return bound;
}

void vfio_rs_pm_runtime_put_noidle(struct device *dev)
{
	pm_runtime_put_noidle(dev);
}

void vfio_rs_log_resume_failed(struct device *dev, int error)
{
	dev_info_ratelimited(dev, "vfio: cannot resume the device: %d\n", error);
}

bool vfio_rs_may_report(unsigned int kind)
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

struct workqueue_struct *vfio_rs_create_singlethread_workqueue(const char *name)
{
	return create_singlethread_workqueue(name);
}

void vfio_rs_init_waitqueue_func_entry(struct wait_queue_entry *entry,
				       wait_queue_func_t func)
{
	init_waitqueue_func_entry(entry, func);
}

void vfio_rs_init_poll_funcptr(struct poll_table_struct *table,
			       poll_queue_proc proc)
{
	init_poll_funcptr(table, proc);
}

__poll_t vfio_rs_vfs_poll(struct file *file, struct poll_table_struct *table)
{
	return vfs_poll(file, table);
}

struct iova_bitmap *vfio_rs_iova_bitmap_alloc(unsigned long iova, size_t length,
					      unsigned long page_size,
					      u64 __user *data)
{
	return iova_bitmap_alloc(iova, length, page_size, data);
}

void vfio_rs_iova_bitmap_free(struct iova_bitmap *bitmap)
{
	iova_bitmap_free(bitmap);
}

int vfio_rs_iova_bitmap_for_each(struct iova_bitmap *bitmap, void *opaque,
				 iova_bitmap_fn_t fn)
{
	return iova_bitmap_for_each(bitmap, opaque, fn);
}
