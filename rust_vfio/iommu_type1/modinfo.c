// SPDX-License-Identifier: GPL-2.0
/*
 * Module information of vfio_iommu_type1.ko that the Rust `module!` macro cannot
 * express: the parameters and the version.
 */
#include <linux/export.h>
#include <linux/module.h>

#include "params.h"
#include "show.h"

module_param_named(allow_unsafe_interrupts, vfio_rs_allow_unsafe_interrupts,
		   bool, 0644);
MODULE_PARM_DESC(allow_unsafe_interrupts,
		 "Let users have devices on platforms without interrupt remapping. UNSAFE: such a device can raise any interrupt of the host. (default: N)");

module_param_named(disable_hugepages, vfio_rs_disable_hugepages, bool, 0644);
MODULE_PARM_DESC(disable_hugepages,
		 "Map user memory without huge pages of the IOMMU. (default: N)");

module_param_named(dma_entry_limit, vfio_rs_dma_entry_limit, uint, 0644);
MODULE_PARM_DESC(dma_entry_limit,
		 "Largest number of DMA mappings that a container can have. (default: 65535)");

/* Our core looks it up by its name, and goes without if there is none. */
EXPORT_SYMBOL_GPL(vfio_iommu_type1_show);

MODULE_VERSION("0.2");
