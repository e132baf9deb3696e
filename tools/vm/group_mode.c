// SPDX-License-Identifier: GPL-2.0
/*
 * Linked to the kernel's vfio_pci_device_test, unchanged, so that it opens its
 * device through a group and a container instead of its default, iommufd.
 */
extern const char *default_iommu_mode;

__attribute__((constructor)) static void use_groups(void)
{
	default_iommu_mode = GROUP_MODE;
}
