// SPDX-License-Identifier: GPL-2.0
/*
 * The export records of vfio.ko. The functions are in Rust; the prototypes
 * come from the headers of the kernel.
 *
 * KVM looks up four of the functions by name at run time (symbol_get()), which
 * works with GPL-only exports only. So the licence of each export must stay.
 */
#include <linux/export.h>
#include <linux/vfio.h>

#include "../bindings/iommu_driver.h"

/* Exports of functions in Rust, which they cannot follow as they do in C. */
#define EXPORT_RUST(function) EXPORT_SYMBOL(function)
/* The same, for modules with a licence that agrees with the GPL. */
#define EXPORT_RUST_GPL(function) EXPORT_SYMBOL_GPL(function)

/* Devices and device sets. */
EXPORT_RUST_GPL(_vfio_alloc_device);
EXPORT_RUST_GPL(vfio_register_group_dev);
EXPORT_RUST_GPL(vfio_register_emulated_iommu_dev);
EXPORT_RUST_GPL(vfio_unregister_group_dev);
EXPORT_RUST_GPL(vfio_device_try_get_registration);
EXPORT_RUST_GPL(vfio_device_put_registration);
EXPORT_RUST_GPL(vfio_assign_device_set);
EXPORT_RUST_GPL(vfio_device_set_open_count);
EXPORT_RUST_GPL(vfio_find_device_in_devset);

/* Files, for KVM and drivers. */
EXPORT_RUST_GPL(vfio_file_is_valid);
EXPORT_RUST_GPL(vfio_file_enforced_coherent);
EXPORT_RUST_GPL(vfio_file_set_kvm);
#if IS_ENABLED(CONFIG_VFIO_GROUP)
EXPORT_RUST_GPL(vfio_file_iommu_group);
EXPORT_RUST_GPL(vfio_file_is_group);
EXPORT_RUST_GPL(vfio_file_has_dev);
#endif

/* Helpers for ioctls. */
EXPORT_RUST_GPL(vfio_info_cap_add);
EXPORT_RUST(vfio_info_cap_shift);
EXPORT_RUST(vfio_info_add_capability);
EXPORT_RUST(vfio_set_irqs_validate_and_prepare);

/* Migration. */
EXPORT_RUST_GPL(vfio_mig_get_next_state);
EXPORT_RUST_GPL(vfio_combine_iova_ranges);

/* User memory, for drivers of emulated devices. */
EXPORT_RUST(vfio_pin_pages);
EXPORT_RUST(vfio_unpin_pages);
EXPORT_RUST(vfio_dma_rw);

/* IOMMU backends. */
#if IS_ENABLED(CONFIG_VFIO_CONTAINER)
EXPORT_RUST_GPL(vfio_register_iommu_driver);
EXPORT_RUST_GPL(vfio_unregister_iommu_driver);
#endif

#if IS_ENABLED(CONFIG_IOMMUFD)
EXPORT_RUST_GPL(vfio_iommufd_device_ictx);
EXPORT_RUST_GPL(vfio_iommufd_get_dev_id);
EXPORT_RUST_GPL(vfio_iommufd_physical_bind);
EXPORT_RUST_GPL(vfio_iommufd_physical_unbind);
EXPORT_RUST_GPL(vfio_iommufd_physical_attach_ioas);
EXPORT_RUST_GPL(vfio_iommufd_physical_detach_ioas);
EXPORT_RUST_GPL(vfio_iommufd_physical_pasid_attach_ioas);
EXPORT_RUST_GPL(vfio_iommufd_physical_pasid_detach_ioas);
EXPORT_RUST_GPL(vfio_iommufd_emulated_bind);
EXPORT_RUST_GPL(vfio_iommufd_emulated_unbind);
EXPORT_RUST_GPL(vfio_iommufd_emulated_attach_ioas);
EXPORT_RUST_GPL(vfio_iommufd_emulated_detach_ioas);
#endif

/* Eventfds that call a driver. */
#if IS_ENABLED(CONFIG_VFIO_VIRQFD)
EXPORT_RUST_GPL(vfio_virqfd_enable);
EXPORT_RUST_GPL(vfio_virqfd_disable);
EXPORT_RUST_GPL(vfio_virqfd_flush_thread);
#endif
