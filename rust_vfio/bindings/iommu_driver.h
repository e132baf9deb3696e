/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The interface between vfio.ko and an IOMMU backend (vfio_iommu_type1.ko, the
 * sPAPR backend). It is included from the kernel's private header, or from a
 * copy of the declarations if the kernel's build tree does not have it.
 */
#ifndef RUST_VFIO_IOMMU_DRIVER_H
#define RUST_VFIO_IOMMU_DRIVER_H

#ifdef VFIO_RS_PRIVATE_HEADER
#include <vfio.h>
#else
#include "iommu_driver_copy.h"
#endif

#endif
