/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The input of bindgen. Only definitions from the headers that Kbuild names
 * (vfio_bindgen_files) become bindings. The rest comes from kernel::bindings.
 */
#include <linux/vfio.h>
#include <linux/iommufd.h>
#include <linux/anon_inodes.h>
#include <linux/pseudo_fs.h>

#include "iommu_driver.h"
#include "../kernel/helpers.h"
#include "../kernel/helpers_type1.h"
#include "../trace/events.h"
#include "../iommu_type1/trace/type1_events.h"
