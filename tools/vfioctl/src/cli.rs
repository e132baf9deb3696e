// SPDX-License-Identifier: GPL-2.0
//! The command line. The man page and the completions are made of it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

const STATUS: &str = "Exit status: 0 if all is well, 1 if `why` or `doctor` found something in \
                      the way, 2 if the command was refused or failed.";

/// Shows, explains and changes which devices VFIO can hand to programs.
///
/// Works with the kernel's own modules in C and with those in Rust. A device is named by its
/// address (0000:00:03.0 or 00:03.0), by its name in VFIO (vfio0), or by the UUID of an
/// emulated device.
#[derive(Debug, Parser)]
#[command(version, after_help = STATUS, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Print JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Look at the files below this directory instead of those of the machine.
    #[arg(
        long,
        global = true,
        hide = true,
        value_name = "DIR",
        default_value = "/"
    )]
    pub(crate) root: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show devices, their groups, drivers and nodes, who holds them, and what VFIO can have.
    ///
    /// A group is viable if the kernel would give it to VFIO: no device of it has a driver of
    /// the kernel that does DMA. Such a driver is named. HELD BY shows processes that have the
    /// group, the device's own node or the device open; without being root one sees only one's
    /// own.
    List {
        /// A device, or the number of an IOMMU group; all devices otherwise.
        target: Option<String>,
    },
    /// Hand devices to a driver for VFIO.
    ///
    /// All PCI devices of their IOMMU groups go with them, except bridges. The module of the
    /// driver is loaded if it is not there. When one of them cannot be bound, all get their
    /// drivers back.
    ///
    /// Devices that are in use are refused: disks with a mounted file system or swap, also
    /// through LVM, RAID or encryption; network interfaces that are up and have a route or an
    /// address, also through a bridge or a bond; the card that shows the console; devices with
    /// virtual functions; and those of which a process has a node in /dev open. An interface
    /// that was moved into another network namespace is not seen.
    ///
    /// With --save, /etc/driverctl.d remembers the driver for the next boot, in the format of
    /// driverctl. If driverctl is not installed, the service vfioctl-restore and a rule of udev
    /// do what it would do; rust-vfio-tools has both. Where the initramfs has the device's own
    /// driver, that one has the device until then.
    Bind(Bind),
    /// Give devices back to the kernel's own drivers.
    ///
    /// The driver_override is cleared, and the kernel asked for a driver. Refuses devices that
    /// a program holds: the kernel would wait until it lets go. With --save, nothing is
    /// remembered of them any more.
    Unbind(Unbind),
    /// Give devices the drivers that `bind --save`, or driverctl, has stored.
    ///
    /// The service vfioctl-restore calls this at boot, before others start, and a rule of udev
    /// for each device that comes later. Devices in use are refused as by `bind`. What is
    /// refused is said in the kernel log as well.
    Restore {
        /// Names in `/etc/driverctl.d`, such as pci-0000:00:03.0; all otherwise.
        names: Vec<String>,
        /// Print what would be done.
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
    /// Explain whether VFIO can have a device or a group now, and what is in the way.
    ///
    /// Lines that begin with ! are in the way. Below each is what to do.
    Why {
        /// A device, or the number of an IOMMU group.
        target: String,
    },
    /// Show who has files of VFIO open, with mappings and pinned memory, again and again.
    ///
    /// MAPPED and PINNED are of one container, VmLck, VmPin and LIMIT of the process. LEFT is
    /// how many mappings more there can be. The C modules tell less of their files than those
    /// in Rust; what they do not tell is `-`. With --json each look is one line.
    Watch {
        /// Seconds between two looks.
        #[arg(long, short = 'i', value_name = "SECONDS", default_value_t = 1,
              value_parser = clap::value_parser!(u64).range(1..))]
        interval: u64,
        /// Look once.
        #[arg(long)]
        once: bool,
    },
    /// Check what VFIO needs of this machine.
    ///
    /// The IOMMU, interrupt remapping, the modules and whose they are, how much memory may be
    /// locked here and in services that start programs, huge pages, and the kernel log.
    Doctor,
    /// Write the man pages and the completions of shells into a directory.
    #[command(hide = true)]
    Generate {
        /// The directory.
        dir: PathBuf,
    },
}

/// How devices go to VFIO.
#[derive(Debug, Args)]
pub(crate) struct Bind {
    /// Devices, or numbers of IOMMU groups.
    #[arg(required = true)]
    pub(crate) targets: Vec<String>,
    /// The driver that gets them.
    #[arg(long, value_name = "NAME", default_value = "vfio-pci")]
    pub(crate) driver: String,
    /// Also take what is in use, except disks.
    #[arg(long)]
    pub(crate) force: bool,
    /// How it is done.
    #[command(flatten)]
    pub(crate) how: How,
}

/// How devices go back.
#[derive(Debug, Args)]
pub(crate) struct Unbind {
    /// Devices, or numbers of IOMMU groups.
    #[arg(required = true)]
    pub(crate) targets: Vec<String>,
    /// How it is done.
    #[command(flatten)]
    pub(crate) how: How,
}

/// How a change is done.
#[derive(Debug, Args)]
pub(crate) struct How {
    /// Leave the other devices of the groups alone.
    #[arg(long)]
    pub(crate) only: bool,
    /// Remember it for the next boot, in `/etc/driverctl.d`.
    #[arg(long)]
    pub(crate) save: bool,
    /// Print what would be done, as commands of the shell.
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}
