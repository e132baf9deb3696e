// SPDX-License-Identifier: GPL-2.0
//! The devices of the test VM, and what must be as it was when a test has ended.

use std::{io::ErrorKind, thread, time::Duration};

use anyhow::{bail, ensure, Context, Result};
use vfio_selftests::{
    harness::{skip, slow, TestResult},
    mdev::Mdev,
    module,
    pci::{self, Bound, PciDevice},
    process,
    target::Target,
};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use crate::complaints;

/// Gives back whatever a test that was killed has left behind.
pub(crate) fn tidy() -> TestResult {
    for pci in PciDevice::all() {
        if matches!(pci.driver().as_deref(), Some(pci::VFIO_PCI | EDU_DRIVER)) {
            pci.release()?;
        }
    }
    for mdev in Mdev::all() {
        mdev.remove()?;
    }
    Ok(())
}

/// Runs a test, after which nothing may be locked or pinned that was not before. Nor may a
/// crate have complained, unless the test has taken what it said.
pub(crate) fn leaves_nothing(test: impl FnOnce() -> TestResult) -> TestResult {
    let held = || anyhow::Ok((process::locked()?, process::pinned_pages()?));
    let before = held()?;
    test()?;
    assert_eq!(held()?, before, "bytes locked, pages pinned");
    assert_eq!(complaints::take(), [""; 0], "complaints");
    Ok(())
}

fn edus(alone: bool) -> impl Iterator<Item = PciDevice> {
    PciDevice::find(pci::EDU)
        .into_iter()
        .filter(move |edu| (edu.group_members().len() == 1) == alone)
}

/// Hands a device to `vfio-pci`, and waits for its group's file.
fn bound(device: &PciDevice) -> Result<Bound> {
    let bound = device.bind()?;
    bound.group_name()?;
    Ok(bound)
}

fn first(what: &str, mut devices: impl Iterator<Item = PciDevice>) -> Result<PciDevice> {
    match devices.next() {
        Some(device) => Ok(device),
        None => skip(format!("there is no {what}")),
    }
}

/// Returns an edu device that is alone in its group and belongs to nobody.
pub(crate) fn free_edu() -> Result<PciDevice> {
    first("edu device", edus(true))
}

/// Hands such a device to VFIO.
pub(crate) fn edu() -> Result<Bound> {
    bound(&free_edu()?)
}

fn two(edus: impl Iterator<Item = PciDevice>) -> Result<[PciDevice; 2]> {
    match edus.take(2).collect::<Vec<_>>().try_into() {
        Ok(two) => Ok(two),
        Err(_) => skip("there are not two edu devices"),
    }
}

/// Hands two edu devices in two groups to VFIO.
pub(crate) fn two_edus() -> Result<[Bound; 2]> {
    let [a, b] = two(edus(true))?;
    Ok([bound(&a)?, bound(&b)?])
}

/// Returns two edu devices in one group, which belong to nobody. Nor does the serial port
/// beside them any more, which the kernel has taken when it booted.
pub(crate) fn free_pair() -> Result<[PciDevice; 2]> {
    let pair = two(edus(false))?;
    for member in pair[0].group_members() {
        if !member.is_bridge() && member.driver().is_some() {
            member.unbind()?;
        }
    }
    Ok(pair)
}

/// Hands the network card to VFIO.
pub(crate) fn igb() -> Result<Bound> {
    let igb = first("network card", PciDevice::find(pci::IGB).into_iter())?;
    bound(&igb)
}

/// Hands the device that is memory to VFIO.
pub(crate) fn memory_device() -> Result<Bound> {
    let ivshmem = PciDevice::find(pci::IVSHMEM).into_iter();
    bound(&first("ivshmem", ivshmem)?)
}

/// Creates two emulated serial ports of the kernel's sample.
pub(crate) fn two_serial_ports() -> Result<[Mdev; 2]> {
    if !Mdev::available() {
        return skip("this kernel has no mtty sample");
    }
    let ports = [Mdev::create(1)?, Mdev::create(2)?];
    for port in &ports {
        port.group_name()?;
    }
    Ok(ports)
}

/// Our driver for edu devices, which can save and restore them.
pub(crate) const EDU_DRIVER: &str = "rust_vfio_edu";

/// A module that is loaded for a test.
pub(crate) struct Loaded(&'static str);

impl Loaded {
    /// Loads it.
    pub(crate) fn new(name: &'static str) -> Result<Self> {
        if !module::file(name).exists() {
            return skip(format!("{name} was not built for this kernel"));
        }
        module::load(name, "")?;
        Ok(Self(name))
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // Also if the test has failed, for the sake of the next one.
        if let Err(error) = module::unload(self.0) {
            eprintln!("unload {}: {error}", self.0);
        }
    }
}

/// Two edu devices in two groups that our driver has.
pub(crate) struct MovableEdus {
    // Given back before the module goes.
    pub(crate) devices: [Bound; 2],
    _module: Loaded,
}

impl MovableEdus {
    /// Loads the driver, and gives it the devices.
    pub(crate) fn new() -> Result<Self> {
        let module = Loaded::new(EDU_DRIVER)?;
        let [a, b] = two(edus(true))?;
        let devices = [a.bind_driver(EDU_DRIVER)?, b.bind_driver(EDU_DRIVER)?];
        for device in &devices {
            device.group_name()?;
        }
        Ok(Self {
            devices,
            _module: module,
        })
    }
}

/// Creates an eventfd that is not signalled.
pub(crate) fn event() -> Result<EventFd> {
    EventFd::new(EFD_NONBLOCK).context("create an eventfd")
}

/// Takes the signals of an eventfd, which must come within some seconds. Returns how many
/// they were.
pub(crate) fn arrived(event: &EventFd) -> Result<u64> {
    for _ in 0..10_000 * slow() {
        match event.read() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => return other.context("read an eventfd"),
        }
        thread::sleep(Duration::from_millis(1));
    }
    bail!("no signal came");
}

/// Ensures that an eventfd is not signalled, also not a moment later.
pub(crate) fn silent(event: &EventFd) -> Result<()> {
    thread::sleep(Duration::from_millis(50));
    match event.read() {
        Err(error) => ensure!(error.kind() == ErrorKind::WouldBlock, "{error}"),
        Ok(count) => bail!("{count} signals came"),
    }
    Ok(())
}

/// Returns a page of bytes, which differ with the seed.
pub(crate) fn pattern(seed: u8) -> Vec<u8> {
    (0..4096).map(|at: usize| seed ^ (at % 251) as u8).collect()
}
