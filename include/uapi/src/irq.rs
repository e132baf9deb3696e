// SPDX-License-Identifier: GPL-2.0
//! Interrupts of a device (contract row F074).
//!
//! Interrupts come in indices (for PCI: INTx, MSI, MSI-X and two of VFIO's
//! own), and each index has numbered vectors. A vector is delivered by adding
//! to an eventfd.

use crate::request;

/// Reads [`IrqInfo`] of the index whose number the caller put in `index`.
pub const DEVICE_GET_IRQ_INFO: u32 = request(9);

/// Sets vectors up, masks, unmasks or triggers them: [`IrqSet`].
pub const DEVICE_SET_IRQS: u32 = request(10);

/// [`IrqInfo::flags`]: vectors can be delivered to an eventfd.
pub const IRQ_INFO_EVENTFD: u32 = 1 << 0;
/// [`IrqInfo::flags`]: masking and unmasking works.
pub const IRQ_INFO_MASKABLE: u32 = 1 << 1;
/// [`IrqInfo::flags`]: each delivery masks the vector; the program unmasks it
/// to get the next one. So for level-triggered lines.
pub const IRQ_INFO_AUTOMASKED: u32 = 1 << 2;
/// [`IrqInfo::flags`]: the number of vectors is settled when the index is
/// enabled; more need a disable first.
pub const IRQ_INFO_NORESIZE: u32 = 1 << 3;

/// Answer of [`DEVICE_GET_IRQ_INFO`].
#[doc(alias = "vfio_irq_info")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IrqInfo {
    /// In: bytes offered, at least 16.
    pub argsz: u32,
    /// Out: `IRQ_INFO_*`.
    pub flags: u32,
    /// In: which index.
    pub index: u32,
    /// Out: how many vectors it has; 0 if the device lacks the index.
    pub count: u32,
}

/// [`IrqSet::flags`]: no data; the action is done now to each vector named.
pub const IRQ_SET_DATA_NONE: u32 = 1 << 0;
/// [`IrqSet::flags`]: one byte for each vector, 0 leaves the vector alone.
pub const IRQ_SET_DATA_BOOL: u32 = 1 << 1;
/// [`IrqSet::flags`]: one 32-bit file descriptor for each vector; -1 means no
/// eventfd.
pub const IRQ_SET_DATA_EVENTFD: u32 = 1 << 2;
/// [`IrqSet::flags`]: mask the vectors.
pub const IRQ_SET_ACTION_MASK: u32 = 1 << 3;
/// [`IrqSet::flags`]: unmask the vectors.
pub const IRQ_SET_ACTION_UNMASK: u32 = 1 << 4;
/// [`IrqSet::flags`]: deliver the vectors: with eventfds, from now on when the
/// device asks; without, once and as if it had asked. With no data and count
/// 0 the whole index is disabled.
pub const IRQ_SET_ACTION_TRIGGER: u32 = 1 << 5;
/// The bits of [`IrqSet::flags`] of which exactly one says what the data is.
pub const IRQ_SET_DATA_TYPE_MASK: u32 =
    IRQ_SET_DATA_NONE | IRQ_SET_DATA_BOOL | IRQ_SET_DATA_EVENTFD;
/// The bits of [`IrqSet::flags`] that say what to do.
pub const IRQ_SET_ACTION_TYPE_MASK: u32 =
    IRQ_SET_ACTION_MASK | IRQ_SET_ACTION_UNMASK | IRQ_SET_ACTION_TRIGGER;

/// Argument of [`DEVICE_SET_IRQS`]: one action on the vectors from `start`,
/// `count` of them.
#[doc(alias = "vfio_irq_set")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IrqSet {
    /// Bytes offered: 20 and the data.
    pub argsz: u32,
    /// One `IRQ_SET_DATA_*` and one `IRQ_SET_ACTION_*`.
    pub flags: u32,
    /// Which index.
    pub index: u32,
    /// The first vector.
    pub start: u32,
    /// How many vectors.
    pub count: u32,
    /// What `flags` says, one element for each vector.
    pub data: [u8; 0],
}
