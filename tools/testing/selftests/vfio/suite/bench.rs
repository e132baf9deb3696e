// SPDX-License-Identifier: GPL-2.0
//! The devices that tests may use.
//!
//! Two edu devices on the root bus, each alone in its IOMMU group; two more
//! behind a bridge that cannot keep them apart, so in one group; a network
//! card with MSI-X and virtual functions; memory as a PCI device; and emulated
//! serial ports, made when needed. All are free when a test begins.

use anyhow::{Context, Result};
use rustix::io::Errno;
use vfio_selftests::{
    iommufd::Iommufd,
    mdev::Mdev,
    pci::{self, Bound, PciDevice},
    sysfs,
    target::{Session, Target},
    uapi,
};

use crate::{
    fixture::{Fixture, PCI_DRIVER},
    harness::skip,
};

/// Gives back whatever a test that was killed has left behind.
pub(crate) fn tidy() -> Result<()> {
    for pci in PciDevice::all() {
        let driver = pci.driver();
        if matches!(driver.as_deref(), Some(pci::VFIO_PCI | PCI_DRIVER)) {
            pci.release()?;
        }
    }
    for mdev in Mdev::all() {
        mdev.remove()?;
    }
    Ok(())
}

/// The edu devices that are alone in their groups.
pub(crate) fn lone_edus() -> Vec<PciDevice> {
    edus(|members| members == 1)
}

/// The edu devices that share a group.
pub(crate) fn paired_edus() -> Vec<PciDevice> {
    edus(|members| members > 1)
}

fn edus(fits: impl Fn(usize) -> bool) -> Vec<PciDevice> {
    PciDevice::find(pci::EDU)
        .into_iter()
        .filter(|edu| fits(edu.group_members().len()))
        .collect()
}

/// The first edu device that is alone in its group.
pub(crate) fn edu() -> Result<PciDevice> {
    lone_edus()
        .into_iter()
        .next()
        .context("no edu device alone in its group")
}

/// The same, handed to VFIO.
pub(crate) fn bound_edu() -> Result<Bound> {
    edu()?.bind()
}

/// Two edu devices in two groups, handed to VFIO.
pub(crate) fn two_bound_edus() -> Result<[Bound; 2]> {
    let edus = lone_edus();
    let [a, b, ..] = &edus[..] else {
        anyhow::bail!("{} edu devices alone in their groups, not 2", edus.len());
    };
    Ok([a.bind()?, b.bind()?])
}

/// Two edu devices in one group. Neither is handed to VFIO yet.
pub(crate) fn edu_pair() -> Result<[PciDevice; 2]> {
    let edus = paired_edus();
    let [a, b, ..] = &edus[..] else {
        anyhow::bail!("{} edu devices share a group, not 2", edus.len());
    };
    anyhow::ensure!(
        a.iommu_group() == b.iommu_group(),
        "the pair is not in one group"
    );
    // The kernel gave the serial port beside them to a driver when it booted.
    if let Some(port) = serial_port_beside(a).filter(|port| port.driver().is_some()) {
        port.unbind()?;
    }
    Ok([a.clone(), b.clone()])
}

/// An edu device for the fixture to make a device on, which is then a real one:
/// what its group may do, that device may do.
pub(crate) fn edu_for_fixture(_loaded: &Fixture) -> Result<Bound> {
    edu()?.bind_driver(PCI_DRIVER)
}

/// The network card, handed to VFIO.
pub(crate) fn bound_igb() -> Result<Bound> {
    PciDevice::find(pci::IGB)
        .first()
        .context("no network card")?
        .bind()
}

/// An emulated device with this number.
pub(crate) fn mtty(number: u32) -> Result<Mdev> {
    match Mdev::available() {
        true => Mdev::create(number),
        false => skip("this kernel has no mtty sample"),
    }
}

/// A new iommufd, for groups.
pub(crate) fn iommufd_for_groups() -> Result<Iommufd> {
    match Iommufd::open() {
        Err(Errno::NOENT) => skip("this kernel has no iommufd"),
        opened => Ok(opened?),
    }
}

/// A new iommufd, for devices that are opened by their own nodes.
pub(crate) fn iommufd() -> Result<Iommufd> {
    // Without nodes nothing registers the numbers for them.
    match sysfs::read("/proc/devices")?.contains(" vfio-dev") {
        true => iommufd_for_groups(),
        false => skip("devices of this kernel have no nodes"),
    }
}

/// A device and an open session with it.
pub(crate) struct Open {
    // Closed before the device is given back.
    pub(crate) session: Session,
    pub(crate) pci: Bound,
}

/// An edu device, opened with this backend.
pub(crate) fn open_edu(backend: u32) -> Result<Open> {
    let pci = bound_edu()?;
    Ok(Open {
        session: pci.open(backend)?,
        pci,
    })
}

/// An edu device, opened with the second version of type1.
pub(crate) fn open() -> Result<Open> {
    open_edu(uapi::TYPE1v2_IOMMU)
}

/// QEMU's serial port as a PCI device, which sits beside the paired edus: a
/// driver that is always in the kernel wants it.
const PCI_SERIAL: (u16, u16) = (0x1b36, 0x0002);
const SERIAL_DRIVER: &str = "/sys/bus/pci/drivers/serial/bind";

/// Gives a device in the same group to a driver of the kernel. Fails if the
/// kernel does not allow that.
pub(crate) fn kernel_driven_sibling(edu: &PciDevice) -> Result<PciDevice> {
    let sibling = serial_port_beside(edu).context("no serial port in the group")?;
    sysfs::write(SERIAL_DRIVER, sibling.name())?;
    Ok(sibling)
}

fn serial_port_beside(edu: &PciDevice) -> Option<PciDevice> {
    let group = edu.iommu_group();
    PciDevice::find(PCI_SERIAL)
        .into_iter()
        .find(|port| port.iommu_group() == group)
}
