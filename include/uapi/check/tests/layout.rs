// SPDX-License-Identifier: GPL-2.0
//! Each structure and each number of `vfio-uapi` is that of the kernel's
//! header, and nothing that this project covers is missing.

use std::{collections::BTreeSet, mem};

use vfio_uapi as ours;
use vfio_uapi_check::{header, inventory};

/// The size of a field, found through a function that borrows it.
const fn size_of_field<T, F>(_: fn(&T) -> &F) -> usize {
    mem::size_of::<F>()
}

/// Compares structures: name in C, name here, and the fields, each as its
/// name, or as `name in C = name here`. Gives back what it compared.
macro_rules! compare_structs {
    ($($c:ident = $rust:ident { $($field:ident $(= $renamed:ident)?),* $(,)? })*) => {
        vec![$({
            assert_eq!(
                mem::size_of::<header::$c>(), mem::size_of::<ours::$rust>(),
                "size of {}", stringify!($c),
            );
            assert_eq!(
                mem::align_of::<header::$c>(), mem::align_of::<ours::$rust>(),
                "alignment of {}", stringify!($c),
            );
            $(compare_structs!(@field $c $rust $field $($renamed)?);)*
            (stringify!($c), vec![$(stringify!($field).trim_start_matches("r#")),*])
        }),*]
    };
    (@field $c:ident $rust:ident $field:ident) => {
        compare_structs!(@field $c $rust $field $field)
    };
    (@field $c:ident $rust:ident $field:ident $here:ident) => {
        assert_eq!(
            mem::offset_of!(header::$c, $field), mem::offset_of!(ours::$rust, $here),
            "offset of {}.{}", stringify!($c), stringify!($field),
        );
        assert_eq!(
            size_of_field(|s: &header::$c| &s.$field), size_of_field(|s: &ours::$rust| &s.$here),
            "size of {}.{}", stringify!($c), stringify!($field),
        );
    };
}

/// Lists constants as pairs of the name here and the value here.
macro_rules! constants {
    ($($name:ident)*) => { [$((stringify!($name), ours::$name as i128)),*] };
}

/// What belongs to other architectures, other drivers or the past.
const NOT_COVERED: &[&str] = &[
    "VFIO_AP_",
    "VFIO_CCW_",
    "VFIO_DEVICE_FEATURE_ZPCI_ERROR",
    "VFIO_DEVICE_GET_GFX_DMABUF",
    "VFIO_DEVICE_GFX_",
    "VFIO_DEVICE_INFO_CAP_ZPCI_",
    "VFIO_DEVICE_QUERY_GFX_PLANE",
    "VFIO_DEVICE_STATE_MASK",
    "VFIO_DEVICE_STATE_V1_",
    "VFIO_EEH_PE_",
    "VFIO_GFX_",
    "VFIO_IOMMU_SPAPR_",
    "VFIO_REGION_INFO_CAP_NVLINK2_",
    "VFIO_REGION_SUBTYPE_",
    "VFIO_REGION_TYPE_CCW",
    "VFIO_REGION_TYPE_GFX",
    "VFIO_REGION_TYPE_MIGRATION_DEPRECATED",
    "vfio_device_feature_zpci_err",
    "vfio_device_gfx_plane_info",
    "vfio_device_migration_info",
    "vfio_eeh_",
    "vfio_iommu_spapr_",
    "vfio_region_gfx_edid",
    "vfio_region_info_cap_nvlink2_",
];

fn covered(name: &str) -> bool {
    !NOT_COVERED.iter().any(|prefix| name.starts_with(prefix))
}

#[test]
fn every_structure_has_the_layout_of_the_header() {
    let compared = compare_structs! {
        vfio_bitmap = Bitmap { pgsize, size, data }
        vfio_device_attach_iommufd_pt = DeviceAttachIommufdPt { argsz, flags, pt_id, pasid }
        vfio_device_bind_iommufd = DeviceBindIommufd {
            argsz, flags, iommufd, out_devid, token_uuid_ptr,
        }
        vfio_device_detach_iommufd_pt = DeviceDetachIommufdPt { argsz, flags, pasid }
        vfio_device_feature = DeviceFeature { argsz, flags, data }
        vfio_device_feature_bus_master = DeviceFeatureBusMaster { op }
        vfio_device_feature_dma_buf = DeviceFeatureDmaBuf {
            region_index, open_flags, flags, nr_ranges, dma_ranges,
        }
        vfio_device_feature_dma_logging_control = DeviceFeatureDmaLoggingControl {
            page_size, num_ranges, __reserved = reserved, ranges,
        }
        vfio_device_feature_dma_logging_range = DeviceFeatureDmaLoggingRange { iova, length }
        vfio_device_feature_dma_logging_report = DeviceFeatureDmaLoggingReport {
            iova, length, page_size, bitmap,
        }
        vfio_device_feature_mig_data_size = DeviceFeatureMigDataSize { stop_copy_length }
        vfio_device_feature_mig_state = DeviceFeatureMigState { device_state, data_fd }
        vfio_device_feature_migration = DeviceFeatureMigration { flags }
        vfio_device_info = DeviceInfo { argsz, flags, num_regions, num_irqs, cap_offset, pad }
        vfio_device_info_cap_pci_atomic_comp = DeviceInfoCapPciAtomicComp {
            header, flags, reserved,
        }
        vfio_device_ioeventfd = DeviceIoeventfd { argsz, flags, offset, data, fd, reserved }
        vfio_device_low_power_entry_with_wakeup = DeviceLowPowerEntryWithWakeup {
            wakeup_eventfd, reserved,
        }
        vfio_group_status = GroupStatus { argsz, flags }
        vfio_info_cap_header = InfoCapHeader { id, version, next }
        vfio_iommu_type1_dirty_bitmap = IommuType1DirtyBitmap { argsz, flags, data }
        vfio_iommu_type1_dirty_bitmap_get = IommuType1DirtyBitmapGet { iova, size, bitmap }
        vfio_iommu_type1_dma_map = IommuType1DmaMap { argsz, flags, vaddr, iova, size }
        vfio_iommu_type1_dma_unmap = IommuType1DmaUnmap { argsz, flags, iova, size, data }
        vfio_iommu_type1_info = IommuType1Info { argsz, flags, iova_pgsizes, cap_offset, pad }
        vfio_iommu_type1_info_cap_iova_range = IommuType1InfoCapIovaRange {
            header, nr_iovas, reserved, iova_ranges,
        }
        vfio_iommu_type1_info_cap_migration = IommuType1InfoCapMigration {
            header, flags, pgsize_bitmap, max_dirty_bitmap_size,
        }
        vfio_iommu_type1_info_dma_avail = IommuType1InfoDmaAvail { header, avail }
        vfio_iova_range = IovaRange { start, end }
        vfio_irq_info = IrqInfo { argsz, flags, index, count }
        vfio_irq_set = IrqSet { argsz, flags, index, start, count, data }
        vfio_pci_dependent_device = PciDependentDevice {
            __bindgen_anon_1 = id, segment, bus, devfn,
        }
        vfio_pci_hot_reset = PciHotReset { argsz, flags, count, group_fds }
        vfio_pci_hot_reset_info = PciHotResetInfo { argsz, flags, count, devices }
        vfio_precopy_info = PrecopyInfo { argsz, flags, initial_bytes, dirty_bytes }
        vfio_region_dma_range = RegionDmaRange { offset, length }
        vfio_region_info = RegionInfo { argsz, flags, index, cap_offset, size, offset }
        vfio_region_info_cap_sparse_mmap = RegionInfoCapSparseMmap {
            header, nr_areas, reserved, areas,
        }
        vfio_region_info_cap_type = RegionInfoCapType { header, type_ = r#type, subtype }
        vfio_region_sparse_mmap_area = RegionSparseMmapArea { offset, size }
    };

    // Each field of each structure that is covered has been compared above.
    let compared: BTreeSet<_> = compared
        .iter()
        .flat_map(|(name, fields)| fields.iter().map(move |f| (*name, *f)))
        .collect();
    for (name, fields) in inventory::STRUCTS.iter().filter(|(name, _)| covered(name)) {
        for field in *fields {
            assert!(
                compared.contains(&(*name, *field)),
                "{name}.{field} is not in vfio-uapi"
            );
        }
    }
}

#[test]
fn every_number_is_that_of_the_header() {
    let mut here: Vec<(String, i128)> = constants! {
        API_VERSION BASE TYPE
        GET_API_VERSION CHECK_EXTENSION SET_IOMMU
        TYPE1_IOMMU SPAPR_TCE_IOMMU TYPE1v2_IOMMU DMA_CC_IOMMU EEH SPAPR_TCE_v2_IOMMU
        NOIOMMU_IOMMU UNMAP_ALL UPDATE_VADDR
        GROUP_GET_STATUS GROUP_SET_CONTAINER GROUP_UNSET_CONTAINER GROUP_GET_DEVICE_FD
        GROUP_FLAGS_VIABLE GROUP_FLAGS_CONTAINER_SET
        DEVICE_GET_INFO DEVICE_RESET
        DEVICE_FLAGS_RESET DEVICE_FLAGS_PCI DEVICE_FLAGS_PLATFORM DEVICE_FLAGS_AMBA
        DEVICE_FLAGS_CCW DEVICE_FLAGS_AP DEVICE_FLAGS_FSL_MC DEVICE_FLAGS_CAPS DEVICE_FLAGS_CDX
        DEVICE_INFO_CAP_PCI_ATOMIC_COMP PCI_ATOMIC_COMP32 PCI_ATOMIC_COMP64 PCI_ATOMIC_COMP128
        DEVICE_GET_REGION_INFO
        REGION_INFO_FLAG_READ REGION_INFO_FLAG_WRITE REGION_INFO_FLAG_MMAP REGION_INFO_FLAG_CAPS
        REGION_INFO_CAP_SPARSE_MMAP REGION_INFO_CAP_TYPE REGION_INFO_CAP_MSIX_MAPPABLE
        REGION_TYPE_PCI_VENDOR_TYPE REGION_TYPE_PCI_VENDOR_MASK
        DEVICE_GET_IRQ_INFO DEVICE_SET_IRQS
        IRQ_INFO_EVENTFD IRQ_INFO_MASKABLE IRQ_INFO_AUTOMASKED IRQ_INFO_NORESIZE
        IRQ_SET_DATA_NONE IRQ_SET_DATA_BOOL IRQ_SET_DATA_EVENTFD
        IRQ_SET_ACTION_MASK IRQ_SET_ACTION_UNMASK IRQ_SET_ACTION_TRIGGER
        IRQ_SET_DATA_TYPE_MASK IRQ_SET_ACTION_TYPE_MASK
        PCI_BAR0_REGION_INDEX PCI_BAR1_REGION_INDEX PCI_BAR2_REGION_INDEX PCI_BAR3_REGION_INDEX
        PCI_BAR4_REGION_INDEX PCI_BAR5_REGION_INDEX PCI_ROM_REGION_INDEX PCI_CONFIG_REGION_INDEX
        PCI_VGA_REGION_INDEX PCI_NUM_REGIONS
        PCI_INTX_IRQ_INDEX PCI_MSI_IRQ_INDEX PCI_MSIX_IRQ_INDEX PCI_ERR_IRQ_INDEX
        PCI_REQ_IRQ_INDEX PCI_NUM_IRQS
        DEVICE_GET_PCI_HOT_RESET_INFO DEVICE_PCI_HOT_RESET
        PCI_DEVID_OWNED PCI_DEVID_NOT_OWNED
        PCI_HOT_RESET_FLAG_DEV_ID PCI_HOT_RESET_FLAG_DEV_ID_OWNED
        DEVICE_IOEVENTFD DEVICE_IOEVENTFD_8 DEVICE_IOEVENTFD_16 DEVICE_IOEVENTFD_32
        DEVICE_IOEVENTFD_64 DEVICE_IOEVENTFD_SIZE_MASK
        DEVICE_FEATURE DEVICE_FEATURE_MASK DEVICE_FEATURE_GET DEVICE_FEATURE_SET
        DEVICE_FEATURE_PROBE DEVICE_FEATURE_PCI_VF_TOKEN DEVICE_FEATURE_LOW_POWER_ENTRY
        DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP DEVICE_FEATURE_LOW_POWER_EXIT
        DEVICE_FEATURE_DMA_LOGGING_START DEVICE_FEATURE_DMA_LOGGING_STOP
        DEVICE_FEATURE_DMA_LOGGING_REPORT DEVICE_FEATURE_BUS_MASTER DEVICE_FEATURE_DMA_BUF
        DEVICE_FEATURE_CLEAR_MASTER DEVICE_FEATURE_SET_MASTER
        MIG_GET_PRECOPY_INFO DEVICE_FEATURE_MIGRATION DEVICE_FEATURE_MIG_DEVICE_STATE
        DEVICE_FEATURE_MIG_DATA_SIZE DEVICE_FEATURE_MIG_PRECOPY_INFOv2
        MIGRATION_STOP_COPY MIGRATION_P2P MIGRATION_PRE_COPY PRECOPY_INFO_REINIT
        DEVICE_STATE_ERROR DEVICE_STATE_STOP DEVICE_STATE_RUNNING DEVICE_STATE_STOP_COPY
        DEVICE_STATE_RESUMING DEVICE_STATE_RUNNING_P2P DEVICE_STATE_PRE_COPY
        DEVICE_STATE_PRE_COPY_P2P DEVICE_STATE_NR
        DEVICE_BIND_IOMMUFD DEVICE_ATTACH_IOMMUFD_PT DEVICE_DETACH_IOMMUFD_PT
        DEVICE_BIND_FLAG_TOKEN DEVICE_ATTACH_PASID DEVICE_DETACH_PASID
        IOMMU_GET_INFO IOMMU_MAP_DMA IOMMU_UNMAP_DMA IOMMU_ENABLE IOMMU_DISABLE IOMMU_DIRTY_PAGES
        IOMMU_INFO_PGSIZES IOMMU_INFO_CAPS
        IOMMU_TYPE1_INFO_CAP_IOVA_RANGE IOMMU_TYPE1_INFO_CAP_MIGRATION IOMMU_TYPE1_INFO_DMA_AVAIL
        DMA_MAP_FLAG_READ DMA_MAP_FLAG_WRITE DMA_MAP_FLAG_VADDR
        DMA_UNMAP_FLAG_GET_DIRTY_BITMAP DMA_UNMAP_FLAG_ALL DMA_UNMAP_FLAG_VADDR
        IOMMU_DIRTY_PAGES_FLAG_START IOMMU_DIRTY_PAGES_FLAG_STOP IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP
    }
    .into_iter()
    .map(|(name, value)| (format!("VFIO_{name}"), value))
    .collect();
    here.push((
        "__VFIO_RESERVED_TYPE1_NESTING_IOMMU".into(),
        ours::RESERVED_TYPE1_NESTING_IOMMU.into(),
    ));

    for (name, value) in &here {
        let (_, theirs) = inventory::CONSTS
            .iter()
            .find(|(known, _)| known == name)
            .unwrap_or_else(|| panic!("the header has no {name}"));
        // A macro of the form 1 << 31 is a negative number to C.
        assert_eq!(*theirs as u32, *value as u32, "{name}");
    }
    for (name, _) in inventory::CONSTS.iter().filter(|(name, _)| covered(name)) {
        assert!(
            here.iter().any(|(known, _)| known == name),
            "{name} is not in vfio-uapi"
        );
    }
}

/// An allowance for something that the header no longer has hides mistakes.
#[test]
fn every_exception_is_of_use() {
    let names: Vec<_> = (inventory::STRUCTS.iter().map(|(name, _)| *name))
        .chain(inventory::CONSTS.iter().map(|(name, _)| *name))
        .collect();
    for prefix in NOT_COVERED {
        assert!(
            names.iter().any(|name| name.starts_with(prefix)),
            "nothing begins with {prefix}"
        );
    }
    assert!(
        names.iter().filter(|name| covered(name)).count() > 150,
        "the inventory is too short"
    );
}
