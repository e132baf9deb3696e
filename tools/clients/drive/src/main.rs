// SPDX-License-Identifier: GPL-2.0
//! Drives devices beside the programs of others, and in their virtual machines.
//!
//! A virtual machine in the test VM has no IOMMU, so VFIO lends it its devices without one:
//! what they use are addresses of the machine's memory, which QEMU has mapped for them one
//! level below.

mod load;
mod slot;

use std::{
    io::Write,
    path::PathBuf,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{ensure, Context, Result};
use clap::Parser;
use vfio_selftests::{
    container::Container,
    device::{Device, Event},
    edu::{Edu, BUFFER_LEN, IRQ_OF_DMA},
    group::{self, Group},
    memory::Memory,
    pci::{self, Bound, Config, PciDevice},
    target::{wait_for, Target},
    uapi, PAGE,
};

use crate::slot::Slot;

/// The kernel's sample of an emulated serial port.
const MTTY: (u16, u16) = (0x4348, 0x3253);

/// What to do, and report.
#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Lets edu compute, do DMA, and interrupt
    Edu,
    /// Resets a network card and asks for its address
    Igb,
    /// Lets edu do DMA all the time, and maps and unmaps beside it
    Load {
        /// Until this file is there
        until: PathBuf,
    },
    /// Uses a serial port until it is told to stop: its state must stay
    Serial,
    /// Waits until a device is in the hot-plug slot
    Plug,
    /// Waits until the device in it is wanted back, and lets it go
    Unplug,
}

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// A device that is open, and what it needs for that. Closed in this order.
#[derive(Debug)]
struct Open {
    device: Device,
    _group: Group,
    _container: Container,
    _bound: Bound,
}

/// Opens the only device of a kind.
fn open(id: (u16, u16)) -> Result<Open> {
    let found = PciDevice::find(id);
    let pci = found.first().context("the device is not there")?;
    let bound = pci.bind()?;
    let number = bound.iommu_group().context("the device has no group")?;
    let name = format!("noiommu-{number}");
    wait_for(&name, || group::path(&name).exists())?;
    let group = Group::open_when_free(&name).context("open the group")?;
    let container = Container::open().context("open the container")?;
    group.set_container(&container)?;
    container.set_iommu(uapi::NOIOMMU_IOMMU)?;
    let device = group.device(bound.name()).context("open the device")?;
    Ok(Open {
        device,
        _group: group,
        _container: container,
        _bound: bound,
    })
}

fn edu() -> Result<()> {
    let open = open(pci::EDU)?;
    let edu = Edu::new(&open.device)?;
    ensure!(edu.factorial(10)? == 3_628_800, "10! is wrong");

    // What went out to the device must come back to another page.
    let memory = Memory::anonymous(2 * PAGE)?;
    let message: Vec<u8> = (0..PAGE).map(|at| (at * 7 + at / 256) as u8).collect();
    memory.fill(0);
    memory.write(0, &message);
    let frames = memory.frames()?;
    let at = |page: usize| -> Result<u64> {
        let frame = frames.get(page).context("a page is not there")?;
        Ok(frame * PAGE as u64)
    };
    let event = Event::new()?;
    open.device
        .set_irq_eventfds(uapi::PCI_MSI_IRQ_INDEX, &[&event])?;
    edu.read_memory(at(0)?, BUFFER_LEN)?;
    edu.write_memory_and_interrupt(at(1)?, BUFFER_LEN)?;
    ensure!(memory.read(PAGE, PAGE) == message, "DMA changed the data");
    ensure!(event.wait(20)? == 1, "the device did not interrupt");
    edu.acknowledge_irq(IRQ_OF_DMA)?;
    println!("edu {:#x}: 10!, DMA and an interrupt are right", edu.id()?);
    Ok(())
}

fn igb() -> Result<()> {
    /// Registers: general status, and the first address that the card answers to.
    const STATUS: u64 = 0x8;
    const ADDRESS: u64 = 0x5400;
    let open = open(pci::IGB)?;
    open.device.reset()?;
    Config::of(&open.device)?.enable()?;
    let bar = open.device.region(uapi::PCI_BAR0_REGION_INDEX)?;
    let status = u32::from_le_bytes(open.device.read(bar.head.offset + STATUS)?);
    let [a, b, c, d, e, f, ..]: [u8; 8] = open.device.read(bar.head.offset + ADDRESS)?;
    println!("igb {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}, status {status:#x}");
    ensure!([a, b, c] == [0x52, 0x54, 0x00], "that is not its address");
    Ok(())
}

/// How long [`serial`] goes on: across a migration, and to be seen on the other side.
const SERIAL_TIME: Duration = Duration::from_secs(600);

/// Keeps a byte in the queue of the port and one in its scratch register, and looks
/// whether both are still there before it changes them.
fn serial() -> Result<()> {
    const QUEUE: u64 = 0;
    const SCRATCH: u64 = 7;
    let open = open(MTTY)?;
    Config::of(&open.device)?.write_u16(pci::COMMAND, 1)?;
    let bar = open.device.region(uapi::PCI_BAR0_REGION_INDEX)?.head.offset;
    let end = Instant::now() + SERIAL_TIME;
    let mut kept: Option<u8> = None;
    let mut rounds = 0u32;
    while Instant::now() < end {
        if let Some(kept) = kept {
            let [queued]: [u8; 1] = open.device.read(bar + QUEUE)?;
            let [scratch]: [u8; 1] = open.device.read(bar + SCRATCH)?;
            ensure!(
                (queued, scratch) == (kept, !kept),
                "round {rounds}: {queued:#x} and {scratch:#x} in place of {kept:#x} and {:#x}",
                !kept
            );
            println!("serial: round {rounds} is right");
            std::io::stdout().flush()?;
        }
        rounds += 1;
        let next = rounds as u8;
        open.device.write(bar + QUEUE, &[next])?;
        open.device.write(bar + SCRATCH, &[!next])?;
        kept = Some(next);
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Edu => edu(),
        Command::Igb => igb(),
        Command::Load { until } => load::run(&until),
        Command::Serial => serial(),
        Command::Plug => Slot::find().and_then(|slot| slot.plug()),
        Command::Unplug => Slot::find().and_then(|slot| slot.unplug()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
