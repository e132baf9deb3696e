// SPDX-License-Identifier: GPL-2.0
//! The emulated machine, and its two serial lines as one stream of lines.
//!
//! Plain QEMU without KVM: the same machine everywhere, and one that has an
//! IOMMU. Single-threaded emulation, because with several threads QEMU itself
//! can trip over mappings that change under MMIO (`iotlb_to_section`).

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{channel, Receiver, Sender},
    thread,
};

use anyhow::{Context, Result};

/// Where a line of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// `ttyS0`: the kernel log.
    Kernel,
    /// `ttyS1`: the programs in the guest (and QEMU's own complaints).
    Program,
}

/// The IOMMU of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Iommu {
    /// Intel's, which tells the emulator of new mappings (as for assigned
    /// devices); the usual one.
    Intel,
    /// The same without that: unmapping flushes, mapping does not.
    IntelPlain,
    /// Intel's in its scalable mode, with second-stage page tables.
    IntelScalable,
    /// The same with first-stage page tables.
    IntelFirstStage,
    /// AMD's. In QEMU it does not isolate interrupts.
    Amd,
    /// The paravirtual one. Cannot isolate interrupts.
    Virtio,
    /// None: devices reach all memory.
    None,
}

impl Iommu {
    /// The device that QEMU emulates.
    fn device(self) -> Option<&'static str> {
        Some(match self {
            Self::Intel => "intel-iommu,intremap=on,caching-mode=on",
            Self::IntelPlain => "intel-iommu,intremap=on",
            Self::IntelScalable => "intel-iommu,intremap=on,x-scalable-mode=on",
            Self::IntelFirstStage => "intel-iommu,intremap=on,x-scalable-mode=on,x-flts=on",
            // By default QEMU lets devices past it, whatever the kernel says.
            Self::Amd => "amd-iommu,intremap=off,pt=off",
            Self::Virtio => "virtio-iommu-pci,addr=0x1",
            Self::None => return None,
        })
    }

    /// Whether it knows devices behind a conventional bridge. If not, then they
    /// make it fail as a whole.
    fn has_bridges(self) -> bool {
        self != Self::Virtio
    }

    /// What the guest must be told of it.
    fn words(self) -> &'static str {
        match self {
            // Interrupts of QEMU's IO-APIC get lost on their way through it.
            Self::Amd => "noapic unsafe_interrupts=yes",
            Self::Virtio => "unsafe_interrupts=yes",
            _ => "",
        }
    }
}

/// What to boot.
pub(crate) struct Machine<'a> {
    pub(crate) iommu: Iommu,
    pub(crate) cpus: u32,
    pub(crate) bzimage: &'a Path,
    pub(crate) initramfs: &'a Path,
    /// Words appended to the kernel command line.
    pub(crate) words: Vec<String>,
    /// Make it one CPU whose clock counts the instructions that it executes.
    /// It does not sleep: when there is nothing to do the clock jumps to the
    /// next event.
    pub(crate) counting: bool,
    /// Directories of the host that the guest may read, by 9p, and their tags. With any, the
    /// machine also has what the programs need that are in them: [`JOINED`].
    pub(crate) shares: &'a [Share],
}

/// A directory of the host.
pub(crate) struct Share {
    pub(crate) tag: &'static str,
    pub(crate) dir: PathBuf,
}

/// Devices: two `edu` that can address everything, an `igb` (in a slot below
/// 0x10, its virtual functions are placed 0x80 further on), and a plain BAR.
const DEVICES: [&str; 4] = [
    "edu,addr=0x3,dma_mask=0xffffffffffffffff",
    "edu,addr=0x4,dma_mask=0xffffffffffffffff",
    "igb,addr=0x5,netdev=net0",
    "ivshmem-plain,addr=0x6,memdev=shared",
];
/// What is there besides if instructions are counted: a fourth device that is alone in its
/// group and needs no time to be reset.
const ANOTHER: [&str; 1] = ["edu,addr=0x8,dma_mask=0xffffffffffffffff"];
/// Two `edu` behind a conventional bridge, which therefore share an IOMMU group; so does a serial
/// port, for which the kernel has a driver.
const BEHIND_A_BRIDGE: [&str; 4] = [
    "i82801b11-bridge,id=bridge,addr=0x7",
    "edu,bus=bridge,addr=0x1,dma_mask=0xffffffffffffffff",
    "edu,bus=bridge,addr=0x2,dma_mask=0xffffffffffffffff",
    "pci-serial,bus=bridge,addr=0x3",
];
/// Two network cards on one wire. The virtual functions of each take two slots.
const JOINED: [&str; 8] = [
    "-netdev",
    "hubport,id=left,hubid=1",
    "-device",
    "igb,addr=0x9,netdev=left,mac=52:54:00:00:00:09",
    "-netdev",
    "hubport,id=right,hubid=1",
    "-device",
    "igb,addr=0xb,netdev=right,mac=52:54:00:00:00:0b",
];

/// The kernel command line that every run shares. An oops ends the run: what
/// comes after one proves nothing. On a busy host the kernel's check that the
/// timer interrupt comes can fail, and it panics with interrupt remapping. Tests
/// look for messages of the boot in the kernel log, which must not be full by then.
const WORDS: &str =
    "intel_iommu=on console=ttyS0 panic=-1 oops=panic printk.devkmsg=on no_timer_check \
     log_buf_len=8M hugepagesz=1G hugepages=1 default_hugepagesz=2M";

/// A running QEMU.
pub(crate) struct Vm {
    child: Child,
    lines: Receiver<(Source, String)>,
}

impl Vm {
    /// Boots the machine.
    pub(crate) fn start(machine: &Machine<'_>) -> Result<Self> {
        let append = format!(
            "{WORDS} {} {}",
            machine.iommu.words(),
            machine.words.join(" ")
        );
        // setpriv: QEMU must not outlive a runner that was killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        command.args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ]);
        command.args(["-machine", "q35", "-accel", "tcg,thread=single"]);
        let (cpus, bar) = if machine.counting {
            command.args(["-icount", "shift=0,sleep=off"]);
            (1, "1G")
        } else {
            (machine.cpus, "64M")
        };
        command.args([
            "-cpu",
            "max,la57=off",
            "-smp",
            &cpus.to_string(),
            "-m",
            "6G",
        ]);
        if let Some(iommu) = machine.iommu.device() {
            command.args(["-device", iommu]);
        }
        let shared = format!("memory-backend-ram,id=shared,size={bar},share=on");
        command.args(["-object", &shared]);
        command.args(["-netdev", "user,id=net0,restrict=on"]);
        let behind = match machine.iommu.has_bridges() {
            true => &BEHIND_A_BRIDGE[..],
            false => &[],
        };
        let another = match machine.counting {
            true => &ANOTHER[..],
            false => &[],
        };
        for device in DEVICES.iter().chain(behind).chain(another) {
            command.args(["-device", device]);
        }
        for (number, Share { tag, dir }) in machine.shares.iter().enumerate() {
            let dir = dir.display();
            let share = format!("local,id={tag},path={dir},security_model=none,readonly=on");
            command.args(["-fsdev", &share]);
            let addr = 0xd + number;
            let device = format!("virtio-9p-pci,fsdev={tag},mount_tag={tag},addr={addr:#x}");
            command.args(["-device", &device]);
        }
        if !machine.shares.is_empty() {
            command.args(JOINED);
        }
        command.arg("-kernel").arg(machine.bzimage);
        command.arg("-initrd").arg(machine.initramfs);
        command.args(["-append", &append]);
        command.args(["-serial", "file:/dev/stdout", "-serial", "file:/dev/stderr"]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start qemu-system-x86_64 (run 'make setup' first)")?;
        let (sender, lines) = channel();
        let kernel = child.stdout.take().context("QEMU has no stdout")?;
        let program = child.stderr.take().context("QEMU has no stderr")?;
        forward(Source::Kernel, kernel, sender.clone());
        forward(Source::Program, program, sender);
        Ok(Self { child, lines })
    }

    /// The lines as they come; ends when the machine does.
    pub(crate) fn lines(&self) -> &Receiver<(Source, String)> {
        &self.lines
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // Both fail only if QEMU is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends the lines of one serial port from a thread of its own.
fn forward(source: Source, stream: impl Read + Send + 'static, sender: Sender<(Source, String)>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\r', '\n']).to_owned();
            if sender.send((source, text)).is_err() {
                break;
            }
            line.clear();
        }
    });
}
