/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Inline functions and macros of the kernel that vfio.ko needs, as functions
 * that Rust can call. Each is a single call.
 */
#ifndef RUST_VFIO_HELPERS_H
#define RUST_VFIO_HELPERS_H

#include <linux/device.h>
#include <linux/list.h>
#include <linux/refcount.h>

void vfio_rs_list_add(struct list_head *entry, struct list_head *head);
void vfio_rs_list_del(struct list_head *entry);

bool vfio_rs_refcount_inc_not_zero(refcount_t *refs);

int vfio_rs_pm_runtime_resume_and_get(struct device *dev);
void vfio_rs_pm_runtime_put(struct device *dev);

#endif
