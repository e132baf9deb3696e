/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Inline functions and macros of the kernel that vfio_iommu_type1.ko needs,
 * as functions that Rust can call. Each is a single call.
 */
#ifndef RUST_VFIO_TYPE1_HELPERS_H
#define RUST_VFIO_TYPE1_HELPERS_H

#include <linux/iommu.h>
#include <linux/mm.h>

#endif
