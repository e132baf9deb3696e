// SPDX-License-Identifier: GPL-2.0

//! The structures and the numbers of VFIO_DEVICE_FEATURE, with Rust names. They are those of
//! `include/uapi/linux/vfio.h`; contract sections 5.5 to 5.9.

use crate::kernel::uaccess::UapiStruct;

pub(crate) use crate::bindings::{
    vfio_device_feature as Feature,
    vfio_device_feature_dma_logging_control as LoggingControl,
    vfio_device_feature_dma_logging_range as LoggingRange,
    vfio_device_feature_dma_logging_report as LoggingReport,
    vfio_device_feature_mig_data_size as MigDataSize,
    vfio_device_feature_mig_state as MigState,
    vfio_device_feature_migration as Migration,
    VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 as MIG_PRECOPY_INFO_V2,
    VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT as DMA_LOGGING_REPORT,
    VFIO_DEVICE_FEATURE_DMA_LOGGING_START as DMA_LOGGING_START,
    VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP as DMA_LOGGING_STOP,
    VFIO_DEVICE_FEATURE_MIGRATION as MIGRATION,
    VFIO_DEVICE_FEATURE_MIG_DATA_SIZE as MIG_DATA_SIZE,
    VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE as MIG_DEVICE_STATE, //
};

// SAFETY: Two integers of 32 bits, without padding; the data behind them is not part of the type.
unsafe impl UapiStruct for Feature {}
// SAFETY: One integer of 64 bits.
unsafe impl UapiStruct for Migration {}
// SAFETY: Two integers of 32 bits, without padding.
unsafe impl UapiStruct for MigState {}
// SAFETY: One integer of 64 bits.
unsafe impl UapiStruct for MigDataSize {}
// SAFETY: An integer of 64 bits, two of 32 and one of 64, without padding.
unsafe impl UapiStruct for LoggingControl {}
// SAFETY: Two integers of 64 bits, without padding.
unsafe impl UapiStruct for LoggingRange {}
// SAFETY: Four integers of 64 bits, without padding.
unsafe impl UapiStruct for LoggingReport {}
