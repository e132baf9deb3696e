// SPDX-License-Identifier: GPL-2.0
//! The way to an open device: bind, container, group, backend, device file;
//! and the way back.

use anyhow::{ensure, Context, Result};
use vfio_selftests::{
    container::{self, Container},
    device::Device,
    group::{self, Group},
    module,
    pci::{Bound, Config, PciDevice},
    process,
    target::{wait_for, Target},
    uapi,
};

use crate::report::say;

/// Names of the interrupt indices of PCI devices.
const IRQS: [&str; uapi::PCI_NUM_IRQS as usize] = ["INTx", "MSI", "MSI-X", "error", "request"];

/// Takes the first device of this kind, alone in its group, from its driver
/// and gives it to vfio-pci.
pub(crate) fn hand_over(id: (u16, u16)) -> Result<Bound> {
    let (vendor, device) = id;
    let pci = PciDevice::find(id)
        .into_iter()
        .find(|pci| pci.group_members().len() == 1)
        .with_context(|| format!("no PCI device {vendor:04x}:{device:04x} alone in its group"))?;
    let before = pci.driver().unwrap_or_else(|| "no driver".to_owned());
    let bound = pci.bind()?;
    say!(
        "{} ({vendor:04x}:{device:04x}): {before} -> vfio-pci, IOMMU group {}: {}",
        bound.name(),
        bound.group_name()?,
        group::path(&bound.group_name()?).display(),
    );
    Ok(bound)
}

/// Opens a container.
pub(crate) fn container() -> Result<Container> {
    let container = Container::open().context(container::PATH)?;
    let version = container.api_version().context("GET_API_VERSION")?;
    ensure!(
        version == uapi::API_VERSION,
        "API version {version}, not {}",
        uapi::API_VERSION
    );
    let type1v2 = container
        .check_extension(uapi::TYPE1v2_IOMMU)
        .context("CHECK_EXTENSION")?;
    ensure!(type1v2 > 0, "there is no type1 backend");
    say!(
        "{}: API version {version}, type1 version 2 is there",
        container::PATH
    );
    Ok(container)
}

/// Opens the group of a device, and puts it into the container.
pub(crate) fn group(pci: &Bound, container: &Container) -> Result<Group> {
    let name = pci.group_name()?;
    let group = Group::open_when_free(&name).with_context(|| format!("open group {name}"))?;
    let free = group.status().context("GROUP_GET_STATUS")?;
    ensure!(
        free == uapi::GROUP_FLAGS_VIABLE,
        "group {name} should be viable and in no container, but its flags are {free:#x}"
    );
    group
        .set_container(container)
        .context("GROUP_SET_CONTAINER")?;
    let taken = group.status().context("GROUP_GET_STATUS")?;
    ensure!(
        taken == uapi::GROUP_FLAGS_VIABLE | uapi::GROUP_FLAGS_CONTAINER_SET,
        "group {name} should be viable and in a container, but its flags are {taken:#x}"
    );
    say!("group {name}: viable (all its devices are ours), now in the container");
    Ok(group)
}

/// Chooses the backend, which gives the groups an empty IOMMU page table.
pub(crate) fn iommu(container: &Container) -> Result<()> {
    container
        .set_iommu(uapi::TYPE1v2_IOMMU)
        .context("SET_IOMMU")?;
    let info = container.info().context("IOMMU_GET_INFO")?;
    let sizes: Vec<String> = (0..u64::BITS)
        .map(|bit| 1_u64 << bit)
        .filter(|size| info.head.iova_pgsizes & size != 0)
        .map(bytes)
        .collect();
    let largest = sizes.last().context("the IOMMU has no page size")?;
    say!("mapping granule {}; sizes up to {largest}", sizes[0]);
    for range in info.iova_ranges().context("no list of usable addresses")? {
        say!(
            "usable device addresses (IOVA): {:#x} - {:#x}",
            range.start,
            range.end
        );
    }
    if let Some(left) = info.dma_avail() {
        say!("{left} mappings can be made");
    }
    Ok(())
}

/// Opens a device, and prints what it consists of.
pub(crate) fn device(group: &Group, pci: &Bound) -> Result<Device> {
    let device = group
        .device(pci.name())
        .with_context(|| format!("GROUP_GET_DEVICE_FD {}", pci.name()))?;
    let info = device.info().context("DEVICE_GET_INFO")?;
    ensure!(
        info.flags & uapi::DEVICE_FLAGS_PCI != 0,
        "{} is no PCI device",
        pci.name()
    );
    let (vendor, id) = Config::of(&device)?
        .id()
        .context("read configuration space")?;
    say!("{} ({vendor:04x}:{id:04x}):", pci.name());
    for index in 0..info.num_regions {
        // A VGA region that the device does not have is an error, not empty.
        let Ok(region) = device.region(index) else {
            continue;
        };
        if region.head.size == 0 {
            continue;
        }
        let has = |flag: u32, word: &'static str| match region.head.flags & flag {
            0 => "",
            _ => word,
        };
        say!(
            "  region {index}  {:<6} {:>8}{}{}{}",
            region_name(index),
            bytes(region.head.size),
            has(uapi::REGION_INFO_FLAG_READ, "  read"),
            has(uapi::REGION_INFO_FLAG_WRITE, "  write"),
            has(uapi::REGION_INFO_FLAG_MMAP, "  mmap"),
        );
    }
    let irqs: Vec<String> = (0..info.num_irqs)
        .filter_map(|index| Some((index, device.irq_info(index).ok()?.count)))
        .filter(|(_, count)| *count > 0)
        .map(|(index, count)| {
            let name = IRQS.get(index as usize).copied().unwrap_or("other");
            format!("{name} x{count}")
        })
        .collect();
    say!("  interrupts {}", irqs.join(", "));
    Ok(device)
}

/// Closes what is left when the devices are closed, and gives the devices back.
pub(crate) fn close(groups: [Group; 2], container: Container, bound: [Bound; 2]) -> Result<()> {
    for group in &groups {
        group.unset_container().context("GROUP_UNSET_CONTAINER")?;
        let flags = group.status().context("GROUP_GET_STATUS")?;
        ensure!(
            flags == uapi::GROUP_FLAGS_VIABLE,
            "a group is not free again: {flags:#x}"
        );
    }
    drop((groups, container));
    let locked = process::locked()?;
    ensure!(locked == 0, "{locked} bytes are still locked");
    wait_for("vfio_iommu_type1 has no users", || {
        module::users(module::TYPE1).is_ok_and(|users| users == 0)
    })?;
    say!("nothing is locked any more, and nobody uses the backend");
    for device in bound {
        let (name, node) = (device.name().to_owned(), group::path(&device.group_name()?));
        drop(device);
        let driver = PciDevice::at(&name).driver();
        ensure!(driver.is_none(), "{name} still belongs to {driver:?}");
        wait_for("the node of the group is gone", || !node.exists())?;
        say!(
            "{name}: taken back from vfio-pci; {} is gone",
            node.display()
        );
    }
    Ok(())
}

fn region_name(index: u32) -> String {
    match index {
        uapi::PCI_BAR0_REGION_INDEX..=uapi::PCI_BAR5_REGION_INDEX => format!("BAR{index}"),
        uapi::PCI_ROM_REGION_INDEX => "ROM".to_owned(),
        uapi::PCI_CONFIG_REGION_INDEX => "config".to_owned(),
        uapi::PCI_VGA_REGION_INDEX => "VGA".to_owned(),
        _ => "other".to_owned(),
    }
}

/// A number of bytes in the largest unit that divides it.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        n if n % (1 << 30) == 0 => format!("{} GiB", n >> 30),
        n if n % (1 << 20) == 0 => format!("{} MiB", n >> 20),
        n if n % (1 << 10) == 0 => format!("{} KiB", n >> 10),
        n => format!("{n} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_have_their_largest_unit() {
        assert_eq!(bytes(4096), "4 KiB");
        assert_eq!(bytes(3 << 20), "3 MiB");
        assert_eq!(bytes(1 << 30), "1 GiB");
        assert_eq!(bytes(257), "257 B");
    }
}
