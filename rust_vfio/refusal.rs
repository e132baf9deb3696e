// SPDX-License-Identifier: GPL-2.0

//! Why a request to use a group, a container or a device was refused, for the people who have to
//! find out.
//!
//! User space gets an errno, which is part of the ABI and often stands for several reasons. The
//! reason goes to the tracepoint `vfio_refused` and to the kernel log, there at most ten times in
//! five seconds for each kind. `docs/observability.md` lists the reasons.
//!
//! Deviation: C says nothing in these cases.

use kernel::{
    fmt,
    prelude::*,
    str::CStr, //
};

#[cfg(any(CONFIG_VFIO_CONTAINER, CONFIG_VFIO_DEVICE_CDEV))]
use crate::kernel::iommu_group::IommuGroup;
use crate::{
    kernel::{
        task::TaskName,
        text::Text,
        warn::may_report, //
    },
    trace, //
};

/// A reason.
#[cfg_attr(
    not(all(CONFIG_VFIO_GROUP, CONFIG_VFIO_CONTAINER, CONFIG_VFIO_DEVICE_CDEV)),
    allow(dead_code, reason = "a smaller configuration has less to refuse")
)]
pub(crate) enum Refusal<'a> {
    /// Somebody has the file of the group open.
    GroupOpen { group: i32, by: &'a TaskName },
    /// Somebody has a device of the group open by its node.
    NodeBound { group: i32, by: &'a TaskName },
    /// Nothing translates the DMA of the group, for which a capability is needed.
    RawIo,
    /// A driver of the kernel uses a device of the group.
    Driver {
        group: i32,
        device: &'a CStr,
        driver: &'a CStr,
    },
    /// Somebody else owns the DMA of the group.
    Owned { group: i32 },
    /// Groups with and without IOMMU in one container.
    Mixed { group: i32 },
    /// A file that is neither a container nor an iommufd.
    NoContainer { group: i32 },
    /// The group is in a container or an iommufd already.
    Attached { group: i32 },
    /// A container without a group, where one is needed.
    NoGroup,
    /// No IOMMU backend has this type.
    NoBackend { kind: usize },
    /// A container whose type is not chosen.
    NoType,
    /// A group that is in no container.
    NotAttached { group: i32 },
    /// The group has no device of this name.
    NoDevice { group: i32 },
    /// Devices of the group are open.
    DevicesOpen { group: i32 },
    /// The device is open by another file.
    DeviceOpen { device: &'a CStr },
    /// The file of a device is bound to no iommufd.
    NotBound { device: &'a CStr },
}

impl Refusal<'_> {
    /// Reports the reason, and returns `error`, which user space gets.
    #[cold]
    pub(crate) fn report(&self, error: Error) -> Error {
        let (kind, name) = self.kind();
        if trace::refused_is_on() {
            trace::refused(name, error.to_errno(), Text::of(self).as_c_str());
        }
        if may_report(kind) {
            pr_notice!(
                "{}: error {}: {}\n",
                TaskName::current(),
                error.to_errno(),
                self
            );
        }
        error
    }

    /// Returns a number for the kind of the reason, by which the log is limited, and a short name
    /// of it, for filters.
    fn kind(&self) -> (u32, &'static CStr) {
        match self {
            Self::GroupOpen { .. } => (0, c"group-open"),
            Self::NodeBound { .. } => (1, c"node-bound"),
            Self::RawIo => (2, c"rawio"),
            Self::Driver { .. } => (3, c"driver"),
            Self::Owned { .. } => (4, c"owned"),
            Self::Mixed { .. } => (5, c"mixed"),
            Self::NoContainer { .. } => (6, c"no-container"),
            Self::Attached { .. } => (7, c"attached"),
            Self::NoGroup => (8, c"no-group"),
            Self::NoBackend { .. } => (9, c"no-backend"),
            Self::NoType => (10, c"no-type"),
            Self::NotAttached { .. } => (11, c"not-attached"),
            Self::NoDevice { .. } => (12, c"no-device"),
            Self::DevicesOpen { .. } => (13, c"devices-open"),
            Self::DeviceOpen { .. } => (14, c"device-open"),
            Self::NotBound { .. } => (15, c"not-bound"),
        }
    }
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GroupOpen { group, by } => {
                write!(
                    f,
                    "group {group} is open already, by {by}, and only one file of it can be"
                )
            }
            Self::NodeBound { group, by } => write!(
                f,
                "{by} has a device of group {group} open by its node in /dev/vfio/devices"
            ),
            Self::RawIo => f.write_str(
                "nothing translates the DMA of this group, so CAP_SYS_RAWIO is needed to use it",
            ),
            Self::Driver {
                group,
                device,
                driver,
            } => write!(
                f,
                "group {group} is not viable: {} is used by the driver {}; unbind it, or bind all \
                 devices of the group to vfio-pci",
                Plain(device),
                Plain(driver)
            ),
            Self::Owned { group } => write!(
                f,
                "group {group} is in use: another container, iommufd or driver owns its DMA"
            ),
            Self::Mixed { group } => write!(
                f,
                "group {group} cannot be in a container with others: some have an IOMMU, some not"
            ),
            Self::NoContainer { group } => write!(
                f,
                "the file for group {group} is neither /dev/vfio/vfio nor /dev/iommu"
            ),
            Self::Attached { group } => {
                write!(f, "group {group} is in a container or an iommufd already")
            }
            Self::NoGroup => f.write_str("SET_IOMMU comes after SET_CONTAINER, and only once"),
            Self::NoBackend { kind } => write!(
                f,
                "no IOMMU backend has type {kind}; is the module vfio_iommu_type1 loaded?"
            ),
            Self::NoType => f.write_str("the container has no IOMMU type; SET_IOMMU comes first"),
            Self::NotAttached { group } => write!(
                f,
                "group {group} is in no container; SET_CONTAINER comes first"
            ),
            Self::NoDevice { group } => write!(f, "group {group} has no device of this name"),
            Self::DevicesOpen { group } => {
                write!(f, "devices of group {group} are open; close them first")
            }
            Self::DeviceOpen { device } => {
                write!(f, "{} is open by another file", Plain(device))
            }
            Self::NotBound { device } => write!(
                f,
                "the file of {} is bound to no iommufd; BIND_IOMMUFD comes first",
                Plain(device)
            ),
        }
    }
}

/// Reports why the DMA of `group` could not be claimed: which driver of the kernel uses a device of
/// it, or that somebody else owns it. Takes the lock of the group. Sleeps.
#[cfg(any(CONFIG_VFIO_CONTAINER, CONFIG_VFIO_DEVICE_CDEV))]
#[cold]
pub(crate) fn of_claim(group: &IommuGroup, error: Error) {
    let number = group.id();
    let mut found = false;
    group.find_driver(|device, driver| {
        // These do no DMA of their own, and share their groups.
        let shares = [c"pcieport", c"pci-stub"].contains(&driver);
        found = !shares && !driver.to_bytes().starts_with(b"vfio");
        if found {
            let group = number;
            Refusal::Driver {
                group,
                device,
                driver,
            }
            .report(error);
        }
        found
    });
    if !found {
        Refusal::Owned { group: number }.report(error);
    }
}

/// A name from the kernel, which is ASCII unless somebody chose otherwise.
struct Plain<'a>(&'a CStr);

impl core::fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.0.to_str().unwrap_or("?"))
    }
}
