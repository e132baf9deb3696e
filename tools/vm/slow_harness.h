/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included before the kernel's vfio_pci_driver_test, which stays unchanged: its
 * harness gives each test 30 seconds, and these take 20 on an emulated machine.
 */
#include <kselftest_harness.h>

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 180
