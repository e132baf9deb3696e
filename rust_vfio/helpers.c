// SPDX-License-Identifier: GPL-2.0
/*
 * The C part of vfio.ko: see helpers.h, and the module information that the
 * Rust `module!` macro cannot express.
 */
#include <linux/module.h>
#include <linux/pm_runtime.h>

#include "helpers.h"

void vfio_rs_list_add(struct list_head *entry, struct list_head *head)
{
	list_add(entry, head);
}

void vfio_rs_list_del(struct list_head *entry)
{
	list_del(entry);
}

bool vfio_rs_refcount_inc_not_zero(refcount_t *refs)
{
	return refcount_inc_not_zero(refs);
}

int vfio_rs_pm_runtime_resume_and_get(struct device *dev)
{
	return pm_runtime_resume_and_get(dev);
}

void vfio_rs_pm_runtime_put(struct device *dev)
{
	pm_runtime_put(dev);
}

MODULE_VERSION("0.3");
MODULE_SOFTDEP("post: vfio_iommu_type1 vfio_iommu_spapr_tce");
#if IS_ENABLED(CONFIG_VFIO_CONTAINER)
MODULE_ALIAS("char-major-10-196");
MODULE_ALIAS("devname:vfio/vfio");
#endif
MODULE_IMPORT_NS("IOMMUFD");
MODULE_IMPORT_NS("IOMMUFD_VFIO");
