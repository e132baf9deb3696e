// SPDX-License-Identifier: GPL-2.0
/*
 * Compares the copy of the kernel's private declarations with the kernel's own,
 * member by member. A difference fails the build. There is no code.
 */
#ifdef VFIO_RS_PRIVATE_HEADER

#include <linux/build_bug.h>
#include <linux/compiler.h>
#include <linux/container_of.h>
#include <linux/stddef.h>
#include <linux/types.h>

/* The copy, with names of its own. */
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

/* The kernel has no backends without containers. */
#if IS_ENABLED(CONFIG_VFIO_CONTAINER)

static_assert(sizeof(struct copied_iommu_driver_ops) ==
	      sizeof(struct vfio_iommu_driver_ops));

static_assert(offsetof(struct copied_iommu_driver_ops, name) ==
	      offsetof(struct vfio_iommu_driver_ops, name));
static_assert(offsetof(struct copied_iommu_driver_ops, owner) ==
	      offsetof(struct vfio_iommu_driver_ops, owner));
static_assert(offsetof(struct copied_iommu_driver_ops, open) ==
	      offsetof(struct vfio_iommu_driver_ops, open));
static_assert(offsetof(struct copied_iommu_driver_ops, release) ==
	      offsetof(struct vfio_iommu_driver_ops, release));
static_assert(offsetof(struct copied_iommu_driver_ops, ioctl) ==
	      offsetof(struct vfio_iommu_driver_ops, ioctl));
static_assert(offsetof(struct copied_iommu_driver_ops, attach_group) ==
	      offsetof(struct vfio_iommu_driver_ops, attach_group));
static_assert(offsetof(struct copied_iommu_driver_ops, detach_group) ==
	      offsetof(struct vfio_iommu_driver_ops, detach_group));
static_assert(offsetof(struct copied_iommu_driver_ops, pin_pages) ==
	      offsetof(struct vfio_iommu_driver_ops, pin_pages));
static_assert(offsetof(struct copied_iommu_driver_ops, unpin_pages) ==
	      offsetof(struct vfio_iommu_driver_ops, unpin_pages));
static_assert(offsetof(struct copied_iommu_driver_ops, register_device) ==
	      offsetof(struct vfio_iommu_driver_ops, register_device));
static_assert(offsetof(struct copied_iommu_driver_ops, unregister_device) ==
	      offsetof(struct vfio_iommu_driver_ops, unregister_device));
static_assert(offsetof(struct copied_iommu_driver_ops, dma_rw) ==
	      offsetof(struct vfio_iommu_driver_ops, dma_rw));
static_assert(offsetof(struct copied_iommu_driver_ops, group_iommu_domain) ==
	      offsetof(struct vfio_iommu_driver_ops, group_iommu_domain));

/* attach_group differs in type: the copied enumeration has another name. */
static_assert(__same_type(typeof_member(struct copied_iommu_driver_ops, name),
			  typeof_member(struct vfio_iommu_driver_ops, name)));
static_assert(__same_type(typeof_member(struct copied_iommu_driver_ops, owner),
			  typeof_member(struct vfio_iommu_driver_ops, owner)));
static_assert(__same_type(typeof_member(struct copied_iommu_driver_ops, open),
			  typeof_member(struct vfio_iommu_driver_ops, open)));
static_assert(__same_type(typeof_member(struct copied_iommu_driver_ops, release),
			  typeof_member(struct vfio_iommu_driver_ops, release)));
static_assert(__same_type(typeof_member(struct copied_iommu_driver_ops, ioctl),
			  typeof_member(struct vfio_iommu_driver_ops, ioctl)));
static_assert(__same_type(typeof_member(struct copied_iommu_driver_ops, detach_group),
			  typeof_member(struct vfio_iommu_driver_ops, detach_group)));
static_assert(__same_type(typeof_member(struct copied_iommu_driver_ops, pin_pages),
			  typeof_member(struct vfio_iommu_driver_ops, pin_pages)));
static_assert(__same_type(typeof_member(struct copied_iommu_driver_ops, unpin_pages),
			  typeof_member(struct vfio_iommu_driver_ops, unpin_pages)));
static_assert(__same_type(typeof_member(struct copied_iommu_driver_ops, register_device),
			  typeof_member(struct vfio_iommu_driver_ops, register_device)));
static_assert(__same_type(typeof_member(struct copied_iommu_driver_ops, unregister_device),
			  typeof_member(struct vfio_iommu_driver_ops, unregister_device)));
static_assert(__same_type(typeof_member(struct copied_iommu_driver_ops, dma_rw),
			  typeof_member(struct vfio_iommu_driver_ops, dma_rw)));
static_assert(__same_type(typeof_member(struct copied_iommu_driver_ops, group_iommu_domain),
			  typeof_member(struct vfio_iommu_driver_ops, group_iommu_domain)));

#endif /* CONFIG_VFIO_CONTAINER */

#endif /* VFIO_RS_PRIVATE_HEADER */
