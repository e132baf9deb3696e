/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The border between vfio.ko and an IOMMU backend (vfio_iommu_type1.ko, the
 * sPAPR backend): from the kernel's own header, or from our copy where the
 * kernel's build tree lacks it.
 */
#ifndef RUST_VFIO_IOMMU_DRIVER_H
#define RUST_VFIO_IOMMU_DRIVER_H

#ifdef VFIO_RS_PRIVATE_HEADER
#include <vfio.h>
#else
#include "iommu_driver_copy.h"
#endif

#endif
