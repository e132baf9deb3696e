// SPDX-License-Identifier: GPL-2.0
//! What the work is done with: memory of all kinds, and devices.

use anyhow::{ensure, Context, Result};
use rustix::{
    fd::OwnedFd,
    fs::{ftruncate, memfd_create, MemfdFlags},
};
use vfio_selftests::{
    container::Container,
    device::Device,
    iommufd::Iommufd,
    memory::{Memory, HUGE_1G, HUGE_2M},
    pci::{self, Bound, PciDevice},
    target::{Session, Target},
    uapi, PAGE,
};

/// Where devices see what is mapped: above all that is reserved, and aligned
/// to the largest pages.
pub(crate) const IOVA: u64 = 4 << 30;

/// Bytes of small pages.
pub(crate) const SMALL: usize = 64 << 20;
/// Bytes of huge pages.
pub(crate) const HUGE: usize = 256 << 20;

/// Memory, all of it there, and the same for everybody.
pub(crate) struct Stage {
    /// Small pages that lie anywhere in RAM.
    pub(crate) scattered: Memory,
    /// Small pages as the kernel hands them out, mostly side by side.
    pub(crate) fresh: Memory,
    /// Transparent huge pages.
    pub(crate) transparent: Memory,
    /// Reserved pages of 2 MiB.
    pub(crate) hugetlb: Memory,
    /// A reserved page of 1 GiB.
    pub(crate) gigantic: Memory,
    /// Small pages of a file.
    pub(crate) shared: Shared,
    /// Reserved pages of 2 MiB of a file.
    pub(crate) shared_hugetlb: Shared,
}

/// A memfd, as virtual machines have it that share memory with other processes.
pub(crate) struct Shared {
    pub(crate) file: OwnedFd,
    pub(crate) memory: Memory,
}

impl Shared {
    fn new(len: usize, flags: MemfdFlags) -> Result<Self> {
        let file = memfd_create("bench", flags)?;
        ftruncate(&file, len as u64)?;
        let memory = Memory::of_file(&file, 0, len, true)?;
        Ok(Self { file, memory })
    }
}

/// Numbers 0 to `count` - 1, a power of two, in an order without neighbours.
pub(crate) fn shuffled(count: usize) -> impl Iterator<Item = usize> {
    assert!(count.is_power_of_two());
    // Each step can be undone, so that no number comes twice: an odd factor
    // moves low bits up, the shift moves high ones down.
    let half = count.trailing_zeros() / 2;
    (0..count).map(move |n| {
        let n = n * 0x9e37_79b9 % count;
        (n ^ (n >> half)) * 0x85eb_ca6b % count
    })
}

/// In how many pieces memory lies in RAM.
fn pieces(memory: &Memory) -> Result<usize> {
    let frames = memory.frames()?;
    ensure!(!frames.contains(&0), "some memory is not there");
    Ok(1 + frames.windows(2).filter(|two| two[1] != two[0] + 1).count())
}

impl Stage {
    /// Allocates all memory.
    pub(crate) fn set() -> Result<Self> {
        let stage = Self {
            scattered: Memory::anonymous(SMALL)?,
            fresh: Memory::anonymous(SMALL)?,
            transparent: Memory::transparent_huge(HUGE)?,
            hugetlb: Memory::hugetlb(HUGE).context("2 MiB pages")?,
            gigantic: Memory::gigantic(HUGE_1G).context("a 1 GiB page")?,
            shared: Shared::new(SMALL, MemfdFlags::empty())?,
            shared_hugetlb: Shared::new(HUGE, MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB)
                .context("2 MiB pages of a file")?,
        };
        // The first access to a page chooses where it lies.
        for page in shuffled(SMALL / PAGE) {
            stage.scattered.write(page * PAGE, &[1]);
        }
        for (memory, page) in [
            (&stage.scattered, PAGE),
            (&stage.fresh, PAGE),
            (&stage.hugetlb, HUGE_2M),
            (&stage.gigantic, HUGE_1G),
            (&stage.shared.memory, PAGE),
            (&stage.shared_hugetlb.memory, HUGE_2M),
        ] {
            for offset in (0..memory.len()).step_by(page) {
                memory.write(offset, &[1]);
            }
        }
        // What is private would be copied to them.
        for memory in [
            &stage.scattered,
            &stage.fresh,
            &stage.transparent,
            &stage.hugetlb,
            &stage.gigantic,
        ] {
            memory.keep_from_children()?;
        }
        let huge = pieces(&stage.transparent)?;
        ensure!(
            huge <= HUGE / HUGE_2M,
            "the kernel has no huge pages: {huge} pieces"
        );
        println!(
            "# pieces in RAM: 64 MiB scattered {}, 64 MiB fresh {}, 256 MiB transparent huge \
             {huge}, 256 MiB of 2 MiB pages {}, of a file: 64 MiB {}, 256 MiB of 2 MiB pages {}",
            pieces(&stage.scattered)?,
            pieces(&stage.fresh)?,
            pieces(&stage.hugetlb)?,
            pieces(&stage.shared.memory)?,
            pieces(&stage.shared_hugetlb.memory)?,
        );
        Ok(stage)
    }
}

/// A device that is alone in its group.
pub(crate) fn lone(id: (u16, u16)) -> Result<PciDevice> {
    PciDevice::find(id)
        .into_iter()
        .find(|device| device.group_members().len() == 1)
        .with_context(|| format!("no device {id:x?} alone in its group"))
}

/// The same, handed to VFIO.
pub(crate) fn bound(id: (u16, u16)) -> Result<Bound> {
    lone(id)?.bind()
}

/// A device that is attached to an address space of an iommufd.
pub(crate) struct Attached {
    pub(crate) iommufd: Iommufd,
    /// The number of the address space.
    pub(crate) ioas: u32,
    // Closed before the device is given back.
    pub(crate) device: Device,
    _pci: Bound,
}

impl Attached {
    /// With QEMU's teaching device.
    pub(crate) fn edu() -> Result<Self> {
        let pci = bound(pci::EDU)?;
        let iommufd = Iommufd::open()?;
        let ioas = iommufd.ioas()?;
        let (device, _) = pci.bind_to(&iommufd)?;
        device.attach(ioas)?;
        Ok(Self {
            iommufd,
            ioas,
            device,
            _pci: pci,
        })
    }
}

/// A device and an open session with it.
pub(crate) struct Open {
    // Closed before the device is given back.
    pub(crate) session: Session,
    _pci: Bound,
}

impl Open {
    /// With QEMU's teaching device.
    pub(crate) fn edu() -> Result<Self> {
        Self::of(pci::EDU)
    }

    /// With a device of this kind.
    pub(crate) fn of(id: (u16, u16)) -> Result<Self> {
        let pci = bound(id)?;
        Ok(Self {
            session: pci.open(uapi::TYPE1v2_IOMMU)?,
            _pci: pci,
        })
    }

    /// The container.
    pub(crate) fn container(&self) -> &Container {
        &self.session.container
    }
}
