/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bindgen reads. Only definitions from the headers that Kbuild allows by
 * name end up in the bindings; the rest comes from the kernel's own crate.
 */
#include <linux/vfio.h>
#include <linux/iommufd.h>
#include <linux/anon_inodes.h>
#include <linux/pseudo_fs.h>

#include "iommu_driver.h"
#include "../kernel/helpers.h"
#include "../kernel/helpers_type1.h"
