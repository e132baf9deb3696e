// SPDX-License-Identifier: GPL-2.0

//! A VFIO device that is only emulated, to be read first by authors of drivers.
//!
//! The device computes: each microsecond it makes a step, which changes a value and writes it to
//! its memory. It copies its value to the memory of the user, or adds up numbers there, and raises
//! an interrupt when it is done. It can be saved while it is running, and says which memory of the
//! user it has written.
//!
//! | Region 0 | |
//! |---|---|
//! | 0x00 | what this is: `0x56465331` |
//! | 0x08 | 1: compute, 0: do not |
//! | 0x10 | the number of steps |
//! | 0x18 | the value |
//! | 0x20 | an I/O address, a multiple of 8 |
//! | 0x28 | writing 1 copies the value to that address, 2 adds up the 512 numbers there into 0x18, 3 keeps the page there, so that copies to it need no search |
//! | 0x30 | the format in which the device is saved, 1 or 2 |
//! | 0x38 | for tests: after so many calls saving or restoring fails, once |
//!
//! Region 1 is the memory that the device writes, which the user can read and map. Interrupt 0
//! means that a command is done, interrupt 1 that the device shall be given back.

mod engine;
mod stream;

use core::mem;

use kernel::{
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::Mutex, //
};
use vfio::{
    dirty::{
        self,
        Bitmap,
        DirtyLog,
        Range,
        Ranges, //
    },
    irq::Irq,
    migration::{
        self,
        Left,
        P2p,
        PreCopy,
        StopCopy, //
    },
    pins::{
        Intent,
        Unmapped, //
    },
    region::{
        Memory,
        Region,
        Registers,
        Width, //
    },
    Access,
    Driver,
    Emulated,
    Faux,
    Handle,
    Opened,
    Pages, //
};

use engine::Engine;
use stream::{
    Resuming,
    Saving, //
};

/// The size of the device's memory in bytes.
const MEMORY: usize = 16 * PAGE_SIZE;

/// The numbers of the interrupts.
const DONE: usize = 0;
const REQUEST: usize = 1;

/// The data of a device.
#[pin_data]
struct Sample {
    /// Its memory, which is there also while nobody has the device open.
    memory: Pages,
}

/// What there is while the device is open.
#[pin_data]
struct Session {
    #[pin]
    engine: Mutex<Engine>,
    /// The memory of the user that the device has written, while the user wants to know.
    #[pin]
    written: Mutex<Option<Written>>,
}

/// Pages of the user that were written since this was reported last.
#[derive(Default)]
struct Written {
    pages: KVec<u64>,
    /// There were more, so all pages count as written.
    and_more: bool,
}

impl Written {
    const MOST: usize = 512;

    fn add(&mut self, page: u64) {
        let is_known = self.and_more || self.pages.contains(&page);
        if !is_known
            && (self.pages.len() == Self::MOST || self.pages.push(page, GFP_KERNEL).is_err())
        {
            self.and_more = true;
        }
    }
}

#[vtable]
impl Driver for Sample {
    const NAME: &'static CStr = c"rust_vfio_sample";
    type Iommu = Emulated;
    type Session = Session;
    type Pin = ();
    type Migration = migration::RunningP2p;
    type DirtyLog = dirty::Log;
    const REGIONS: &'static [Region<Self>] = &[
        Region::registers::<Control>(0x40),
        Region::memory::<Work>(MEMORY as u64).read_only(),
    ];
    const IRQS: &'static [Irq<Self>] = &[Irq::vectors(1).maskable(), Irq::vectors(1)];

    fn open(device: &Access<'_, Self>) -> impl PinInit<Session, Error> {
        try_pin_init!(Session {
            engine <- new_mutex!(Engine::new(&device.memory)?),
            written <- new_mutex!(None),
        }? Error)
    }

    fn reset(device: &Opened<'_, Self>) -> Result {
        let session = device.session();
        let mut engine = session.engine.lock();
        if let Some(key) = engine.kept.take() {
            let _ = device.unpin(key);
        }
        *engine = Engine::new(&device.memory)?;
        Ok(())
    }

    fn request(device: &Handle<Self>, _count: u32) {
        if let Some(line) = device.interrupt(REQUEST, 0) {
            line.signal();
        }
    }

    fn unmapped(&self, _: &Unmapped<'_, Self>) {
        // The device finds pages only by their key, which means nothing from now on.
    }
}

/// Region 0.
struct Control;

impl Registers<Sample> for Control {
    fn read(device: &Opened<'_, Sample>, offset: u64, width: Width) -> Result<u64> {
        if width != Width::Quad {
            return Err(EINVAL);
        }
        let session = device.session();
        let mut engine = session.engine.lock();
        catch_up(device, &mut engine)?;
        Ok(match offset {
            0x00 => 0x5646_5331,
            0x08 => engine.is_on.into(),
            0x10 => engine.steps,
            0x18 => engine.value,
            0x20 => engine.address,
            0x30 => engine.format.into(),
            0x38 => engine.calls_left.into(),
            _ => 0,
        })
    }

    fn write(device: &Opened<'_, Sample>, offset: u64, width: Width, value: u64) -> Result {
        if width != Width::Quad {
            return Err(EINVAL);
        }
        let session = device.session();
        let mut engine = session.engine.lock();
        catch_up(device, &mut engine)?;
        match offset {
            0x08 => engine.turn(value != 0),
            0x18 => engine.value = value,
            0x20 if value % 8 == 0 => engine.address = value,
            // A device that is stopped leaves the memory of the user alone.
            0x28 if engine.is_stopped() => return Err(EBUSY),
            0x28 => {
                match value {
                    1 => copy_out(device, &engine)?,
                    2 => add_up(device, &mut engine)?,
                    3 => keep(device, &mut engine)?,
                    _ => return Err(EINVAL),
                }
                if let Some(line) = device.interrupt(DONE, 0) {
                    line.signal();
                }
            }
            0x30 => {
                engine.format = u32::try_from(value)
                    .ok()
                    .filter(stream::knows)
                    .ok_or(EINVAL)?
            }
            0x38 => engine.calls_left = u32::try_from(value)?,
            _ => return Err(EINVAL),
        }
        Ok(())
    }
}

/// Makes the steps for which there was time, after which there may be more to save.
fn catch_up(device: &Opened<'_, Sample>, engine: &mut Engine) -> Result {
    engine.catch_up(&device.memory)?;
    device.data_changed();
    Ok(())
}

/// Copies the value to the memory of the user, and remembers that.
fn copy_out(device: &Opened<'_, Sample>, engine: &Engine) -> Result {
    let value = engine.value.to_le_bytes();
    let (page, offset) = page_of(engine.address);
    // If the user has unmapped the page, the device does not have it any more.
    let kept = engine.kept.map(|key| {
        device.with_pinned(key, |mut kept| {
            (kept.iova() == page).then(|| kept.write(offset, &value))
        })
    });
    match kept {
        Some(Ok(Some(result))) => result?,
        _ => device.write_memory(engine.address, &value)?,
    }
    if let Some(written) = &mut *device.session().written.lock() {
        written.add(page);
    }
    Ok(())
}

/// Adds up 512 numbers of the user, for which it pins their page.
fn add_up(device: &Opened<'_, Sample>, engine: &mut Engine) -> Result {
    let key = device.pin(engine.address, PAGE_SIZE, Intent::Read, ())?;
    let sum = device.with_pinned(key, |page| -> Result<u64> {
        let mut sum = 0u64;
        for at in (0..PAGE_SIZE).step_by(8) {
            let mut number = [0; 8];
            page.read(at, &mut number)?;
            sum = sum.wrapping_add(u64::from_le_bytes(number));
        }
        Ok(sum)
    });
    // If the user has unmapped the page in the meantime there is nothing to unpin.
    let _ = device.unpin(key);
    engine.value = sum??;
    Ok(())
}

/// Keeps the page at the address, instead of the one that the device has.
fn keep(device: &Opened<'_, Sample>, engine: &mut Engine) -> Result {
    if let Some(key) = engine.kept.take() {
        let _ = device.unpin(key);
    }
    let (page, _) = page_of(engine.address);
    engine.kept = Some(device.pin(page, PAGE_SIZE, Intent::ReadWrite, ())?);
    Ok(())
}

/// Returns the address of a page and an offset into it.
fn page_of(address: u64) -> (u64, usize) {
    let offset = address % PAGE_SIZE as u64;
    // CAST: The offset is less than the page size.
    (address - offset, offset as usize)
}

/// Region 1.
struct Work;

impl Memory<Sample> for Work {
    fn pages<'a>(device: &'a Opened<'_, Sample>) -> &'a Pages {
        &device.memory
    }
}

impl StopCopy for Sample {
    type Saving = Saving;
    type Resuming = Resuming;

    fn stop(device: &Opened<'_, Self>) -> Result {
        device.session().engine.lock().stop(&device.memory)
    }

    fn start(_: &Opened<'_, Self>) -> Result {
        // It is quiesced, and begins to compute when it is not.
        Ok(())
    }

    fn save(device: &Opened<'_, Self>) -> Result<Saving> {
        let session = device.session();
        let mut engine = session.engine.lock();
        engine.track();
        Saving::new(&engine, true)
    }

    fn resume(device: &Opened<'_, Self>) -> Result<Resuming> {
        let format = device.session().engine.lock().format;
        Resuming::new(format)
    }

    fn resumed(device: &Opened<'_, Self>, resuming: Resuming) -> Result {
        resuming.finish(&mut device.session().engine.lock(), &device.memory)
    }

    fn size(device: &Opened<'_, Self>) -> u64 {
        let _ = device;
        stream::MOST_BYTES
    }
}

impl P2p for Sample {
    fn quiesce(device: &Opened<'_, Self>) -> Result {
        device.session().engine.lock().stop(&device.memory)
    }

    fn unquiesce(device: &Opened<'_, Self>) -> Result {
        device.session().engine.lock().start();
        Ok(())
    }
}

impl PreCopy for Sample {
    type PreCopying = Saving;

    fn track(device: &Opened<'_, Self>) -> Result<Saving> {
        let session = device.session();
        let mut engine = session.engine.lock();
        engine.track();
        Saving::new(&engine, false)
    }

    fn stopped(_: &Opened<'_, Self>, pre_copying: Saving) -> Result<Saving> {
        Ok(pre_copying.stopped())
    }

    fn left(device: &Opened<'_, Self>, pre_copying: &Saving) -> Left {
        let session = device.session();
        let mut engine = session.engine.lock();
        // This fails only if the memory had no such page.
        let _ = engine.catch_up(&device.memory);
        pre_copying.left(&engine)
    }
}

impl DirtyLog for Sample {
    fn start(device: &Opened<'_, Self>, _ranges: &Ranges<'_>, page_size: u64) -> Result<u64> {
        *device.session().written.lock() = Some(Written::default());
        Ok(page_size)
    }

    fn stop(device: &Opened<'_, Self>) {
        *device.session().written.lock() = None;
    }

    fn report(device: &Opened<'_, Self>, range: Range, dirty: &mut Bitmap<'_>) -> Result {
        // The bitmap is memory of the user, for which nobody should wait with the lock held.
        let written = match &mut *device.session().written.lock() {
            Some(written) => mem::take(written),
            None => return Ok(()),
        };
        let mut later = Written::default();
        if written.and_more {
            dirty.set_all();
            later.and_more = true;
        }
        for page in written.pages {
            dirty.set(page, PAGE_SIZE);
            if page < range.first || page + (PAGE_SIZE as u64 - 1) > range.last {
                later.add(page);
            }
        }
        if let Some(written) = &mut *device.session().written.lock() {
            written.and_more |= later.and_more;
            later.pages.iter().for_each(|page| written.add(*page));
        }
        Ok(())
    }
}

/// The module, with two devices, so that one can move to the other.
struct Module {
    _devices: [Faux<Sample>; 2],
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let device = |name| {
            Faux::new(
                name,
                try_pin_init!(Sample {
                    memory: Pages::new(MEMORY)?,
                }? Error),
            )
        };
        Ok(Self {
            _devices: [
                device(c"rust-vfio-sample-0")?,
                device(c"rust-vfio-sample-1")?,
            ],
        })
    }
}

module! {
    type: Module,
    name: "rust_vfio_sample",
    authors: ["The rust_vfio developers"],
    description: "A VFIO device in Rust that is only emulated",
    license: "GPL v2",
    imports_ns: ["IOMMUFD"],
}
