// SPDX-License-Identifier: GPL-2.0
//! What the kernel tells about an open file of VFIO, in `/proc/<pid>/fdinfo/<fd>`.
//!
//! docs/observability.md lists the keys of our modules. The C modules tell only where a device is
//! in sysfs. Whatever is missing is `None`.

use serde::Serialize;

/// The keys that modules may have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct FdInfo {
    /// Group: `container`, `iommufd` or `none`.
    pub(crate) attached: Option<String>,
    /// Container: `vfio-iommu-type1`, `noiommu` or `none`.
    pub(crate) backend: Option<String>,
    /// Container or group: `yes` while a request runs, so that the rest is not told.
    pub(crate) busy: Option<String>,
    /// Container: how many mappings there are.
    pub(crate) mappings: Option<u64>,
    /// Container: how many bytes they have.
    pub(crate) mapped_bytes: Option<u64>,
    /// Container: how many bytes of memory are held in place.
    pub(crate) pinned_bytes: Option<u64>,
    /// Container: how many mappings more there can be.
    pub(crate) entries_left: Option<u64>,
    /// Container: whether dirty pages are tracked, `on` or `off`.
    pub(crate) dirty_tracking: Option<String>,
    /// Device: its directory in sysfs.
    pub(crate) sysfs: Option<String>,
    /// Device: its migration state.
    pub(crate) migration_state: Option<String>,
}

impl FdInfo {
    /// Reads lines of `key:<tab>value`. Other keys, and values that are not understood,
    /// are passed over.
    pub(crate) fn parse(text: &str) -> Self {
        let value = |key: &str| {
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?
                .trim();
            (!value.is_empty()).then(|| value.to_owned())
        };
        let number = |key: &str| value(key)?.parse().ok();
        Self {
            attached: value("vfio-attached"),
            backend: value("vfio-container-backend"),
            busy: value("vfio-busy"),
            mappings: number("vfio-mappings"),
            mapped_bytes: number("vfio-mapped-bytes"),
            pinned_bytes: number("vfio-pinned-bytes"),
            entries_left: number("vfio-entries-left"),
            dirty_tracking: value("vfio-dirty-tracking"),
            sysfs: value("vfio-device-syspath"),
            migration_state: value("vfio-migration-state"),
        }
    }

    /// Returns the name of the device, if the file is one's.
    pub(crate) fn device_name(&self) -> Option<&str> {
        self.sysfs.as_ref()?.rsplit('/').next()
    }
}

#[cfg(test)]
mod tests {
    use super::FdInfo;

    const USUAL: &str = "pos:\t0\nflags:\t02\nmnt_id:\t16\nino:\t1\n";

    #[test]
    fn c_modules_tell_of_devices_only() {
        let info = FdInfo::parse(&format!(
            "{USUAL}vfio-device-syspath: /sys/devices/pci0000:00/0000:00:03.0\n"
        ));
        assert_eq!(info.device_name(), Some("0000:00:03.0"));
        assert_eq!(FdInfo::parse(USUAL), FdInfo::default());
    }

    #[test]
    fn a_key_is_no_beginning_of_another_one() {
        let info = FdInfo::parse("vfio-container:\t7\nvfio-container-backend:\tnone\n");
        assert_eq!(info.backend.as_deref(), Some("none"));
        let info = FdInfo::parse("vfio-container-backend-of-another:\tnone\n");
        assert_eq!(info, FdInfo::default());
    }

    #[test]
    fn what_is_not_understood_is_missing() {
        let info = FdInfo::parse(
            "vfio-mappings:\tmany\nvfio-pinned-bytes:\t\nvfio-mapped-bytes:\t4096\nnoise\n",
        );
        assert_eq!((info.mappings, info.pinned_bytes), (None, None));
        assert_eq!(info.mapped_bytes, Some(4096));
    }
}
