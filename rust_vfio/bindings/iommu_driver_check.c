// SPDX-License-Identifier: GPL-2.0
/*
 * Compares our copy of the kernel's private declarations with the kernel's own,
 * member by member. A difference ends the build. Makes no code.
 */
#ifdef VFIO_RS_PRIVATE_HEADER

#include <linux/build_bug.h>
#include <linux/compiler.h>
#include <linux/stddef.h>
#include <linux/types.h>

/* The copy, under names of its own. */
#define vfio_group_type			copied_group_type
#define VFIO_IOMMU			COPIED_IOMMU
#define VFIO_EMULATED_IOMMU		COPIED_EMULATED_IOMMU
#define VFIO_NO_IOMMU			COPIED_NO_IOMMU
#define vfio_iommu_driver_ops		copied_iommu_driver_ops
#define vfio_register_iommu_driver	copied_register_iommu_driver
#define vfio_unregister_iommu_driver	copied_unregister_iommu_driver
#include "iommu_driver_copy.h"
#undef vfio_group_type
#undef VFIO_IOMMU
#undef VFIO_EMULATED_IOMMU
#undef VFIO_NO_IOMMU
#undef vfio_iommu_driver_ops
#undef vfio_register_iommu_driver
#undef vfio_unregister_iommu_driver

#include <vfio.h>

static_assert((int)COPIED_IOMMU == (int)VFIO_IOMMU);
static_assert((int)COPIED_EMULATED_IOMMU == (int)VFIO_EMULATED_IOMMU);
static_assert((int)COPIED_NO_IOMMU == (int)VFIO_NO_IOMMU);
static_assert(sizeof(enum copied_group_type) == sizeof(enum vfio_group_type));

static_assert(sizeof(struct copied_iommu_driver_ops) ==
	      sizeof(struct vfio_iommu_driver_ops));

#define SAME_PLACE(member)						\
	static_assert(offsetof(struct copied_iommu_driver_ops, member) ==	\
		      offsetof(struct vfio_iommu_driver_ops, member))
#define SAME(member)							\
	SAME_PLACE(member);						\
	static_assert(__same_type(((struct copied_iommu_driver_ops *)0)->member, \
				  ((struct vfio_iommu_driver_ops *)0)->member))

SAME(name);
SAME(owner);
SAME(open);
SAME(release);
SAME(ioctl);
/* Its type names the enumeration, which is another one here. */
SAME_PLACE(attach_group);
SAME(detach_group);
SAME(pin_pages);
SAME(unpin_pages);
SAME(register_device);
SAME(unregister_device);
SAME(dma_rw);
SAME(group_iommu_domain);

#endif
