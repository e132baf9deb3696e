/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The variables behind the module parameters. They are Rust atomics (params.rs),
 * which have the layout of the `bool` and the `unsigned int` that the types of
 * these parameters expect.
 */
#ifndef VFIO_RS_TYPE1_PARAMS_H
#define VFIO_RS_TYPE1_PARAMS_H

#include <linux/types.h>

extern bool vfio_rs_allow_unsafe_interrupts;
extern bool vfio_rs_disable_hugepages;
extern unsigned int vfio_rs_dma_entry_limit;

#endif
