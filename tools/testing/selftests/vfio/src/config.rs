// SPDX-License-Identifier: GPL-2.0
//! How the kernel that runs is configured, and how slow that makes it.

use anyhow::{Context, Result};

/// Where the test VM has it, and where distributions do.
fn text() -> Result<String> {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    ["/boot/config".to_owned(), format!("/boot/config-{release}")]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .context("this kernel's configuration is not in /boot")
}

/// Whether an option, such as `VFIO_NOIOMMU`, is on, built in or as a module.
pub fn has(option: &str) -> Result<bool> {
    Ok(text()?.lines().any(|line| is_on(line, option)))
}

/// How many times slower the kernel is than that of users: a debug kernel is many
/// times. The runner says it.
pub fn slow() -> u32 {
    let times = std::env::var("SLOW")
        .ok()
        .and_then(|text| text.parse().ok());
    times.unwrap_or(1)
}

fn is_on(line: &str, option: &str) -> bool {
    line.strip_prefix("CONFIG_")
        .and_then(|line| line.strip_prefix(option))
        .is_some_and(|value| matches!(value, "=y" | "=m"))
}

#[cfg(test)]
mod tests {
    use super::is_on;

    #[test]
    fn whole_names_that_are_on_count() {
        assert!(is_on("CONFIG_VFIO=m", "VFIO"));
        assert!(is_on("CONFIG_VFIO=y", "VFIO"));
        assert!(!is_on("CONFIG_VFIO_PCI=m", "VFIO"));
        assert!(!is_on("# CONFIG_VFIO is not set", "VFIO"));
        assert!(!is_on("CONFIG_VFIO=n", "VFIO"));
    }
}
