// SPDX-License-Identifier: GPL-2.0
//! Drives a PCI device from user space through VFIO, and tells each step in
//! words for people who see VFIO for the first time.
//!
//! Runs as root in the test VM (`make demo`), on the kernel's own modules as
//! well as on ours. Needs QEMU's `edu` device alone in its IOMMU group, an
//! `igb` network card, and an Intel IOMMU, because it reads that one's faults
//! in the kernel log. The exit status is 0 only if all was as it must be.
//!
//! [`run`] is the whole story; [`stations`] has what happens at each station
//! on the way to an open device, [`dma`] what the device then does, [`seen`] what others
//! see of it, [`moving`] how another device moves.

mod dma;
mod kernel;
mod moving;
mod report;
mod seen;
mod stations;

use std::process::ExitCode;

use anyhow::Result;
use vfio_selftests::{edu::Edu, kmsg::Log, pci};

use crate::{
    dma::{Bench, Pages},
    report::Report,
};

/// The steps. A step that fails ends the story; what was opened is closed on
/// the way out, the devices before they are given back.
fn run(report: &mut Report) -> Result<()> {
    report.step(
        "See which kernel and which VFIO modules run here",
        "",
        kernel::look,
    )?;
    let [edu_pci, igb_pci] = report.step(
        "Hand two PCI devices to vfio-pci",
        "vfio-pci drives no device; it lets a program do so. Devices that the IOMMU\n\
         cannot tell apart form a group, and a program gets whole groups only.",
        || {
            Ok([
                stations::hand_over(pci::EDU)?,
                stations::hand_over(pci::IGB)?,
            ])
        },
    )?;
    let container = report.step(
        "Open a container",
        "It is an address space for devices, empty at first.",
        stations::container,
    )?;
    let groups = report.step(
        "Put the groups of both devices into the container",
        "",
        || {
            Ok([
                stations::group(&edu_pci, &container)?,
                stations::group(&igb_pci, &container)?,
            ])
        },
    )?;
    report.step(
        "Choose the IOMMU backend: type1, version 2",
        "From here on the IOMMU lets the devices reach only what we map for them.",
        || stations::iommu(&container),
    )?;
    let pages = report.step(
        "Map memory of this program for the devices",
        "The kernel holds the pages in place as long as a device may use them.",
        || Pages::map(&container),
    )?;
    let [edu_fd, igb_fd] = report.step(
        "Open the devices and ask what they have",
        "A region is a part of a device: its registers, its memory.",
        || {
            Ok([
                stations::device(&groups[0], &edu_pci)?,
                stations::device(&groups[1], &igb_pci)?,
            ])
        },
    )?;

    let edu = report.step(
        "Talk to edu, QEMU's teaching device, through its registers",
        "",
        || {
            let edu = Edu::new(&edu_fd)?;
            dma::registers(&edu)?;
            Ok(edu)
        },
    )?;
    let mut bench = Bench {
        device: &edu_fd,
        edu: &edu,
        pci: &edu_pci,
        pages: &pages,
        log: Log::from_now()?,
    };
    report.step(
        "Let edu copy a buffer out and back by DMA",
        "The device reads and writes our memory by itself; the CPU copies nothing.",
        || bench.round_trip(),
    )?;
    report.step(
        "Take an interrupt (MSI) through an eventfd",
        "An eventfd is a counter that a program can wait for, like for a file.",
        || bench.interrupt(),
    )?;
    report.step(
        "Let edu write where nothing is mapped: the IOMMU must stop it",
        "We take the address at which a page of ours, mapped for no device, lies in\n\
         RAM. Without an IOMMU that is the page which the device would overwrite.",
        || bench.stray_write(),
    )?;
    report.step("Unmap a page: edu must not reach it any more", "", || {
        bench.unmapped_page(&container)
    })?;
    report.step(
        "Look at this program from outside, as an administrator",
        "The errno of a request does not say why. The kernel log does, and fdinfo and\n\
         tracepoints show what a program holds and does: docs/observability.md.",
        || seen::look(&container, &edu_pci),
    )?;
    report.step("Close everything and take the devices back", "", || {
        drop((edu_fd, igb_fd));
        stations::close(groups, container, [edu_pci, igb_pci])
    })?;
    if moving::is_possible() {
        report.step(
            "Move a device that computes to another one",
            "Both are emulated by a driver in Rust, samples/rust_vfio_sample. A virtual\n\
             machine that moves to another host takes its devices along like this.",
            moving::move_device,
        )?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut report = Report::default();
    let result = run(&mut report);
    report.print();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
