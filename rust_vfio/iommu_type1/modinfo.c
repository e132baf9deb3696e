// SPDX-License-Identifier: GPL-2.0
/*
 * What modinfo shows of vfio_iommu_type1.ko and the Rust `module!` macro cannot
 * express: the parameters and the version.
 */
#include <linux/module.h>

/*
 * The variables are Rust atomics (params.rs). A `bool` and an
 * `unsigned int` have the layout that these parameter types expect.
 */
extern bool vfio_rs_allow_unsafe_interrupts;
module_param_named(allow_unsafe_interrupts, vfio_rs_allow_unsafe_interrupts,
		   bool, 0644);
MODULE_PARM_DESC(allow_unsafe_interrupts,
		 "Let users have devices whose interrupts are not isolated, so that a device can raise any interrupt.");

extern bool vfio_rs_disable_hugepages;
module_param_named(disable_hugepages, vfio_rs_disable_hugepages, bool, 0644);
MODULE_PARM_DESC(disable_hugepages,
		 "Use no huge pages in the page tables of the IOMMU.");

extern unsigned int vfio_rs_dma_entry_limit;
module_param_named(dma_entry_limit, vfio_rs_dma_entry_limit, uint, 0644);
MODULE_PARM_DESC(dma_entry_limit,
		 "How many mappings a container can have at most (65535).");

MODULE_VERSION("0.2");
