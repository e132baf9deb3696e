// SPDX-License-Identifier: GPL-2.0
/* The tracepoints of vfio_iommu_type1.ko, with functions by which Rust calls them. */
#define CREATE_TRACE_POINTS
#define CREATE_RUST_TRACE_POINTS
#include "type1_events.h"
