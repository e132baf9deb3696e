/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A copy of the declarations in the kernel's private header drivers/vfio/vfio.h
 * for the interface between vfio.ko and an IOMMU backend: a table of
 * operations, and two functions to register it. Either side may be the kernel's
 * C module, so layout and types must be the same; iommu_driver_check.c compares
 * them if the build tree has the kernel's header.
 */
#ifndef RUST_VFIO_IOMMU_DRIVER_COPY_H
#define RUST_VFIO_IOMMU_DRIVER_COPY_H

#include <linux/types.h>

struct iommu_domain;
struct iommu_group;
struct module;
struct page;
struct vfio_device;

/* How the DMA of a group's devices is translated. */
enum vfio_group_type {
	VFIO_IOMMU,		/* by an IOMMU */
	VFIO_EMULATED_IOMMU,	/* in software, by the device's driver */
	VFIO_NO_IOMMU,		/* not at all */
};

struct vfio_iommu_driver_ops {
	char *name;
	struct module *owner;
	void *(*open)(unsigned long arg);
	void (*release)(void *iommu_data);
	long (*ioctl)(void *iommu_data, unsigned int cmd, unsigned long arg);
	int (*attach_group)(void *iommu_data, struct iommu_group *group,
			    enum vfio_group_type type);
	void (*detach_group)(void *iommu_data, struct iommu_group *group);
	int (*pin_pages)(void *iommu_data, struct iommu_group *group,
			 dma_addr_t user_iova, int npage, int prot,
			 struct page **pages);
	void (*unpin_pages)(void *iommu_data, dma_addr_t user_iova, int npage);
	void (*register_device)(void *iommu_data, struct vfio_device *vdev);
	void (*unregister_device)(void *iommu_data, struct vfio_device *vdev);
	int (*dma_rw)(void *iommu_data, dma_addr_t user_iova, void *data,
		      size_t count, bool write);
	struct iommu_domain *(*group_iommu_domain)(void *iommu_data,
						   struct iommu_group *group);
};

int vfio_register_iommu_driver(const struct vfio_iommu_driver_ops *ops);
void vfio_unregister_iommu_driver(const struct vfio_iommu_driver_ops *ops);

#endif
