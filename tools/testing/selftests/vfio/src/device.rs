// SPDX-License-Identifier: GPL-2.0
//! The device: its regions, its interrupts and its features.

use std::{
    mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec},
    io::{Errno, Result},
};
use vfio_uapi::{self as uapi, DeviceFeature, DeviceInfo, IrqInfo, IrqSet, RegionInfo};

use crate::{
    caps::{self, Cap},
    memory::Memory,
    request::{self, Arg},
};

/// An open device file.
#[derive(Debug)]
pub struct Device {
    fd: OwnedFd,
}

/// A region of a device.
#[derive(Clone, Debug)]
pub struct Region {
    /// The fixed part.
    pub head: RegionInfo,
    /// The capabilities.
    pub caps: Vec<Cap>,
}

impl From<OwnedFd> for Device {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl From<Device> for OwnedFd {
    fn from(device: Device) -> Self {
        device.fd
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Device {
    /// What kind of device it is.
    pub fn info(&self) -> Result<DeviceInfo> {
        let argsz = mem::size_of::<DeviceInfo>() as u32;
        let mut info = DeviceInfo {
            argsz,
            ..Default::default()
        };
        request::with_struct(&self.fd, uapi::DEVICE_GET_INFO, &mut info)?;
        Ok(info)
    }

    /// Resets the device.
    pub fn reset(&self) -> Result<()> {
        request::with_number(&self.fd, uapi::DEVICE_RESET, 0)?;
        Ok(())
    }

    /// A region, with its capabilities.
    pub fn region(&self, index: u32) -> Result<Region> {
        let size = mem::size_of::<RegionInfo>() as u32;
        let mut head = RegionInfo {
            argsz: size,
            index,
            ..Default::default()
        };
        request::with_struct(&self.fd, uapi::DEVICE_GET_REGION_INFO, &mut head)?;
        if head.argsz <= size {
            return Ok(Region {
                head,
                caps: Vec::new(),
            });
        }
        let arg = Arg::with_tail(&head, (head.argsz - size) as usize);
        arg.send(&self.fd, uapi::DEVICE_GET_REGION_INFO)?;
        let head: RegionInfo = arg.get(0);
        Ok(Region {
            head,
            caps: caps::chain(&arg.bytes(), head.cap_offset),
        })
    }

    /// Maps a whole region into this process.
    pub fn map_region(&self, index: u32) -> Result<Memory> {
        let region = self.region(index)?.head;
        let len = usize::try_from(region.size).map_err(|_| Errno::OVERFLOW)?;
        Memory::of_file(&self.fd, region.offset, len, true)
    }

    /// Reads from the device file. May read less.
    pub fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<usize> {
        rustix::io::pread(&self.fd, bytes, offset)
    }

    /// Writes to the device file. May write less.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<usize> {
        rustix::io::pwrite(&self.fd, bytes, offset)
    }

    /// Reads exactly `N` bytes in one access.
    pub fn read<const N: usize>(&self, offset: u64) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        match self.read_at(offset, &mut bytes)? {
            n if n == N => Ok(bytes),
            _ => Err(Errno::IO),
        }
    }

    /// Writes all bytes in one access.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        match self.write_at(offset, bytes)? {
            n if n == bytes.len() => Ok(()),
            _ => Err(Errno::IO),
        }
    }

    /// An index of interrupts.
    pub fn irq_info(&self, index: u32) -> Result<IrqInfo> {
        let argsz = mem::size_of::<IrqInfo>() as u32;
        let mut info = IrqInfo {
            argsz,
            index,
            ..Default::default()
        };
        request::with_struct(&self.fd, uapi::DEVICE_GET_IRQ_INFO, &mut info)?;
        Ok(info)
    }

    /// Delivers the vectors of an index, from vector 0 on, to these eventfds.
    pub fn set_irq_eventfds(&self, index: u32, events: &[&Event]) -> Result<()> {
        let count = u32::try_from(events.len()).map_err(|_| Errno::INVAL)?;
        let data: Vec<u8> = events
            .iter()
            .flat_map(|event| event.fd.as_raw_fd().to_ne_bytes())
            .collect();
        let flags = uapi::IRQ_SET_DATA_EVENTFD | uapi::IRQ_SET_ACTION_TRIGGER;
        self.set_irqs(
            IrqSet {
                flags,
                index,
                count,
                ..Default::default()
            },
            &data,
        )
    }

    /// Disables an index.
    pub fn disable_irqs(&self, index: u32) -> Result<()> {
        let flags = uapi::IRQ_SET_DATA_NONE | uapi::IRQ_SET_ACTION_TRIGGER;
        self.set_irqs(
            IrqSet {
                flags,
                index,
                ..Default::default()
            },
            &[],
        )
    }

    /// Any request on interrupts; `argsz` is filled in.
    pub fn set_irqs(&self, set: IrqSet, data: &[u8]) -> Result<()> {
        irqs_arg(set, data)?.send(&self.fd, uapi::DEVICE_SET_IRQS)?;
        Ok(())
    }

    /// Uses a feature: its number with `DEVICE_FEATURE_*` flags. `data` is what
    /// goes in and what comes out; the result is that of the request.
    pub fn feature(&self, flags: u32, data: &mut [u8]) -> Result<u32> {
        let arg = feature_arg(flags, data)?;
        let result = arg.send(&self.fd, uapi::DEVICE_FEATURE)?;
        data.copy_from_slice(&arg.bytes()[mem::size_of::<DeviceFeature>()..]);
        Ok(result)
    }
}

/// The argument of DEVICE_SET_IRQS; `argsz` is filled in.
pub fn irqs_arg(mut set: IrqSet, data: &[u8]) -> Result<Arg> {
    let head = mem::size_of::<IrqSet>();
    set.argsz = u32::try_from(head + data.len()).map_err(|_| Errno::INVAL)?;
    Ok(Arg::from_bytes(&[request::bytes_of(&set), data].concat()))
}

/// The argument of DEVICE_FEATURE.
pub fn feature_arg(flags: u32, data: &[u8]) -> Result<Arg> {
    let head = mem::size_of::<DeviceFeature>();
    let argsz = u32::try_from(head + data.len()).map_err(|_| Errno::INVAL)?;
    let head = DeviceFeature {
        argsz,
        flags,
        data: [],
    };
    Ok(Arg::from_bytes(&[request::bytes_of(&head), data].concat()))
}

/// An eventfd, to be told of interrupts.
#[derive(Debug)]
pub struct Event {
    fd: OwnedFd,
}

impl Event {
    /// A new one, not signalled.
    pub fn new() -> Result<Self> {
        let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { fd })
    }

    /// Signals it.
    pub fn signal(&self) -> Result<()> {
        rustix::io::write(&self.fd, &1_u64.to_ne_bytes()).map(drop)
    }

    /// Waits for signals and takes them: how many there were, 0 at the end of
    /// the time.
    pub fn wait(&self, seconds: i64) -> Result<u64> {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        rustix::event::poll(
            &mut fds,
            Some(&Timespec {
                tv_sec: seconds,
                tv_nsec: 0,
            }),
        )?;
        let mut count = [0; 8];
        match rustix::io::read(&self.fd, &mut count) {
            Ok(_) => Ok(u64::from_ne_bytes(count)),
            Err(Errno::AGAIN) => Ok(0),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
