/* SPDX-License-Identifier: GPL-2.0 */
/* What vfio_iommu_type1.ko has to say about a container, for vfio.ko. */
#ifndef RUST_VFIO_SHOW_H
#define RUST_VFIO_SHOW_H

struct seq_file;
struct vfio_iommu_driver_ops;

void vfio_iommu_type1_show(const struct vfio_iommu_driver_ops *ops,
			   void *iommu_data, struct seq_file *m);

#endif
