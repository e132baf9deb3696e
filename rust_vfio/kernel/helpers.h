/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Inline functions and macros of the kernel that vfio.ko needs, wrapped in
 * functions that Rust can call. None of them makes a decision. The kernel crate
 * has such functions in rust/helpers/, to which these would be added.
 */
#ifndef RUST_VFIO_HELPERS_H
#define RUST_VFIO_HELPERS_H

#include <linux/device.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/iova_bitmap.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/workqueue.h>

void vfio_rs_list_add(struct list_head *entry, struct list_head *head);
void vfio_rs_list_add_tail(struct list_head *entry, struct list_head *head);
void vfio_rs_list_del(struct list_head *entry);

void *vfio_rs_kmalloc(size_t size, gfp_t flags);
void *vfio_rs_kvzalloc(size_t size);
void vfio_rs_ida_init(struct ida *ida);
void vfio_rs_assert_mutex_held(struct mutex *lock);
struct cdev *vfio_rs_inode_cdev(struct inode *inode);
struct file *vfio_rs_anon_inode_getfile_pread(const char *name,
					      const struct file_operations *fops,
					      void *private_data);

bool vfio_rs_refcount_inc_not_zero(refcount_t *refs);

bool vfio_rs_driver_name(struct device *dev, char *name, size_t size);

void vfio_rs_pm_runtime_put_noidle(struct device *dev);
void vfio_rs_log_resume_failed(struct device *dev, int error);
bool vfio_rs_may_report(unsigned int kind);

struct workqueue_struct *vfio_rs_create_singlethread_workqueue(const char *name);
void vfio_rs_init_waitqueue_func_entry(struct wait_queue_entry *entry,
				       wait_queue_func_t func);
void vfio_rs_init_poll_funcptr(struct poll_table_struct *table,
			       poll_queue_proc proc);
__poll_t vfio_rs_vfs_poll(struct file *file, struct poll_table_struct *table);

struct iova_bitmap *vfio_rs_iova_bitmap_alloc(unsigned long iova, size_t length,
					      unsigned long page_size,
					      u64 __user *data);
void vfio_rs_iova_bitmap_free(struct iova_bitmap *bitmap);
int vfio_rs_iova_bitmap_for_each(struct iova_bitmap *bitmap, void *opaque,
				 iova_bitmap_fn_t fn);

#endif
