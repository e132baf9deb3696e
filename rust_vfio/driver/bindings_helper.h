/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The input of bindgen for the crate vfio. Only definitions from the headers
 * that driver.mk names become bindings. The rest comes from kernel::bindings.
 */
#include <linux/anon_inodes.h>
#include <linux/eventfd.h>
#include <linux/vfio.h>
