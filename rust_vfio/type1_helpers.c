// SPDX-License-Identifier: GPL-2.0
/*
 * The C part of vfio_iommu_type1.ko: see type1_helpers.h, and the module
 * information that the Rust `module!` macro cannot express.
 */
#include <linux/module.h>

#include "type1_helpers.h"

MODULE_VERSION("0.2");
