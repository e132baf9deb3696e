// SPDX-License-Identifier: GPL-2.0
//! What the device does once it is open: registers, DMA, an interrupt, and
//! DMA that must not succeed.

use std::{thread, time::Duration};

use anyhow::{bail, ensure, Context, Result};
use vfio_selftests::{
    container::Container,
    device::{Device, Event},
    edu::{Edu, BUFFER_LEN, IRQ_OF_DMA},
    kmsg::Log,
    memory::{Memory, HUGE_2M},
    pci::Bound,
    process,
    target::Target,
    uapi, PAGE,
};

use crate::{report::say, stations::bytes};

/// Where devices see [`Pages::window`]: the message at its beginning, and a
/// page behind it the place where the message comes back to.
pub(crate) const WINDOW: u64 = 0x1000_0000;
const RETURN: u64 = WINDOW + PAGE as u64;
/// Where they see [`Pages::single`].
const SINGLE: u64 = 0x2000_0000;
/// What a page holds that the device must not overwrite.
const UNTOUCHED: u8 = 0x5a;

/// The memory of this program that devices may use.
#[derive(Debug)]
pub(crate) struct Pages {
    /// A huge page.
    window: Memory,
    /// One small page, unmapped before the end.
    single: Memory,
}

impl Pages {
    /// Maps it.
    pub(crate) fn map(container: &Container) -> Result<Self> {
        let before = process::locked()?;
        let pages = Self {
            window: Memory::transparent_huge(HUGE_2M)?,
            single: Memory::anonymous(PAGE)?,
        };
        for (memory, iova) in [(&pages.window, WINDOW), (&pages.single, SINGLE)] {
            container.map(memory, iova).context("IOMMU_MAP_DMA")?;
            say!(
                "{} at {:#x} in this program <- devices see them at {iova:#x}",
                bytes(memory.len() as u64),
                memory.address(),
            );
        }
        let locked = process::locked()? - before;
        let mapped = (pages.window.len() + pages.single.len()) as u64;
        ensure!(
            locked == mapped,
            "mapped {mapped} bytes, but {locked} count as locked"
        );
        say!(
            "the kernel counts them as locked by this program: {}",
            bytes(locked)
        );
        Ok(pages)
    }
}

/// Reads and writes registers.
pub(crate) fn registers(edu: &Edu<'_>) -> Result<()> {
    let id = edu.id().context("read the identification")?;
    let inverted = edu
        .invert(0x1234_5678)
        .context("write and read a register")?;
    ensure!(
        inverted == !0x1234_5678,
        "asked to invert 0x12345678, it says {inverted:#x}"
    );
    let factorial = edu.factorial(10).context("let it compute")?;
    ensure!(factorial == 3_628_800, "it computes 10! = {factorial}");
    say!("it identifies itself as {id:#010x}, and computes 10! = {factorial}");
    Ok(())
}

/// The device with all that the DMA steps need.
pub(crate) struct Bench<'a> {
    pub(crate) device: &'a Device,
    pub(crate) edu: &'a Edu<'a>,
    pub(crate) pci: &'a Bound,
    pub(crate) pages: &'a Pages,
    pub(crate) log: Log,
}

impl Bench<'_> {
    /// Memory to device, device to other memory.
    pub(crate) fn round_trip(&mut self) -> Result<()> {
        let message = pattern(1);
        self.pages.window.write(0, &message);
        self.edu
            .read_memory(WINDOW, BUFFER_LEN)
            .context("DMA into the device")?;
        say!(
            "edu read {} at {WINDOW:#x} into its own buffer",
            bytes(BUFFER_LEN)
        );
        self.edu
            .write_memory(RETURN, BUFFER_LEN)
            .context("DMA out of the device")?;
        say!("edu wrote its buffer to {RETURN:#x}");
        let returned = self.returned();
        let same = returned
            .iter()
            .zip(&message)
            .take_while(|(a, b)| a == b)
            .count();
        ensure!(
            same == message.len(),
            "what came back differs from what went out, from byte {same} on"
        );
        say!("all {same} bytes came back as they went out");
        Ok(())
    }

    /// The device says by itself that it is done.
    pub(crate) fn interrupt(&mut self) -> Result<()> {
        let device = self.device;
        let event = Event::new()?;
        device
            .set_irq_eventfds(uapi::PCI_MSI_IRQ_INDEX, &[&event])
            .context("DEVICE_SET_IRQS")?;
        ensure!(
            event.wait(0)? == 0,
            "an interrupt came before anybody asked for one"
        );

        self.edu.raise_irq(0x42).context("ask for an interrupt")?;
        let count = event.wait(10).context("wait for the interrupt")?;
        ensure!(count == 1, "{count} interrupts within 10 seconds, not 1");
        let reason = self.edu.irq_status().context("ask for the reason")?;
        ensure!(
            reason == 0x42,
            "the reason of the interrupt is {reason:#x}, not 0x42"
        );
        self.edu.acknowledge_irq(reason)?;
        say!("asked for one: it came through the eventfd, its reason is {reason:#x}");

        self.edu.write_memory_and_interrupt(RETURN, BUFFER_LEN)?;
        let count = event.wait(10).context("wait for the interrupt")?;
        ensure!(count == 1, "{count} interrupts at the end of a DMA, not 1");
        self.edu.acknowledge_irq(IRQ_OF_DMA)?;
        say!("and another one by itself, at the end of a DMA");
        device
            .disable_irqs(uapi::PCI_MSI_IRQ_INDEX)
            .context("switch interrupts off")?;
        Ok(())
    }

    /// Memory that was never mapped, at the very address where it lies in RAM.
    pub(crate) fn stray_write(&mut self) -> Result<()> {
        // Several pages, of which at least one is not where, by chance, devices
        // see a mapping.
        let canary = Memory::anonymous(4 * PAGE)?;
        canary.fill(UNTOUCHED);
        let frames = canary.frames().context("find where the pages are in RAM")?;
        let physical = frames
            .into_iter()
            .map(|frame| frame * PAGE as u64)
            .find(|address| *address != 0 && !is_mapped(*address))
            .context("the kernel does not say where the pages are")?;
        say!("the page lies at {physical:#x} in RAM");

        let window = self.pages.window.read(0, self.pages.window.len());
        self.edu
            .write_memory(physical, BUFFER_LEN)
            .context("DMA to an address that is not mapped")?;
        say!("edu was told to write {} there", bytes(BUFFER_LEN));
        self.expect_fault("DMA Write", physical)?;
        ensure!(
            canary
                .read(0, canary.len())
                .iter()
                .all(|byte| *byte == UNTOUCHED),
            "the device overwrote memory that was never mapped for it"
        );
        ensure!(
            self.pages.window.read(0, window.len()) == window,
            "the device overwrote mapped memory instead"
        );
        say!("the page is untouched");
        Ok(())
    }

    /// Memory that was mapped and is not any more: neither written nor read.
    pub(crate) fn unmapped_page(&mut self, container: &Container) -> Result<()> {
        let (window, single) = (&self.pages.window, &self.pages.single);
        let public = pattern(2);
        window.write(0, &public);
        self.edu.read_memory(WINDOW, BUFFER_LEN)?;
        self.edu.write_memory(SINGLE, BUFFER_LEN)?;
        ensure!(
            single.read(0, PAGE) == public,
            "edu does not reach the page while it is mapped"
        );
        say!("edu writes to {SINGLE:#x}: it works, the page is mapped");

        let locked = process::locked()?;
        let removed = container
            .unmap(SINGLE, PAGE as u64)
            .context("IOMMU_UNMAP_DMA")?;
        ensure!(
            removed == PAGE as u64,
            "unmapped {removed} bytes, not {PAGE}"
        );
        let freed = locked.saturating_sub(process::locked()?);
        ensure!(
            freed == removed,
            "{removed} bytes unmapped, but {freed} are not locked any more"
        );
        say!("unmapped: {} bytes less are locked", freed);

        let secret = pattern(3);
        single.write(0, &secret);
        self.edu.write_memory(SINGLE, BUFFER_LEN)?;
        self.expect_fault("DMA Write", SINGLE)?;
        ensure!(
            single.read(0, PAGE) == secret,
            "edu overwrote the page after it was unmapped"
        );
        say!("edu writes to {SINGLE:#x} again: stopped, the page keeps what we wrote");

        self.edu.read_memory(SINGLE, BUFFER_LEN)?;
        self.expect_fault("DMA Read", SINGLE)?;
        self.edu.write_memory(RETURN, BUFFER_LEN)?;
        let leaked = self
            .returned()
            .chunks(8)
            .zip(secret.chunks(8))
            .any(|(a, b)| a == b);
        ensure!(!leaked, "edu could read the page after it was unmapped");
        say!("edu reads from {SINGLE:#x}: stopped, it has nothing of what we wrote");
        Ok(())
    }

    /// What the device wrote to [`RETURN`].
    fn returned(&self) -> Vec<u8> {
        self.pages
            .window
            .read((RETURN - WINDOW) as usize, BUFFER_LEN as usize)
    }

    /// Waits until the IOMMU reports in the kernel log that it stopped the
    /// device at this address.
    fn expect_fault(&mut self, what: &str, iova: u64) -> Result<()> {
        let requester = format!("Request device [{}]", self.pci.name());
        let place = format!("fault addr {iova:#x} ");
        for _ in 0..100 {
            if let Some(message) = self.log.with(&[what, &requester, &place])?.first() {
                say!("kernel log: {}", message.text);
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
        bail!("within 10 seconds the kernel log has no IOMMU fault at {iova:#x}")
    }
}

/// Whether devices see a mapping at this address.
fn is_mapped(iova: u64) -> bool {
    (WINDOW..WINDOW + HUGE_2M as u64).contains(&iova) || iova == SINGLE
}

/// The content of a page. No eight bytes of it are found at the same place in
/// the content with another seed.
fn pattern(seed: u64) -> Vec<u8> {
    (0..BUFFER_LEN / 8)
        .flat_map(|word| {
            (seed << 32 | word << 8 | 0x80)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .to_ne_bytes()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn patterns_fill_a_page_and_differ_everywhere() {
        let (a, b) = (pattern(1), pattern(2));
        assert_eq!(a.len(), vfio_selftests::PAGE);
        assert!(a.chunks(8).zip(b.chunks(8)).all(|(a, b)| a != b));
        assert!(a.chunks(8).all(|word| word != [0; 8]));
    }
}
