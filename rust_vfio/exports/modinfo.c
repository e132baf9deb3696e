// SPDX-License-Identifier: GPL-2.0
/*
 * What modinfo shows of vfio.ko and the `module!` macro of Rust cannot express:
 * the parameter, the version, aliases, dependencies and namespaces (contract
 * section 8.1).
 */
#include <linux/module.h>
#include <linux/vfio.h>

/* The variable is a Rust atomic (noiommu.rs) with the layout of a bool. */
#ifdef CONFIG_VFIO_NOIOMMU
extern bool vfio_rs_noiommu;
module_param_named(enable_unsafe_noiommu_mode, vfio_rs_noiommu, bool, 0644);
MODULE_PARM_DESC(enable_unsafe_noiommu_mode,
		 "Let users with CAP_SYS_RAWIO have devices without an IOMMU. UNSAFE: such a device can read and write all memory of the host, nothing isolates it or translates its DMA, and it cannot be assigned to a virtual machine. The kernel is tainted when one is used. (default: N)");
#endif

MODULE_VERSION("0.3");
MODULE_SOFTDEP("post: vfio_iommu_type1 vfio_iommu_spapr_tce");
#if IS_ENABLED(CONFIG_VFIO_CONTAINER)
MODULE_ALIAS("char-major-10-196");
MODULE_ALIAS("devname:vfio/vfio");
#endif
MODULE_IMPORT_NS("IOMMUFD");
MODULE_IMPORT_NS("IOMMUFD_VFIO");
