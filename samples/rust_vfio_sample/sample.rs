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
//! | 0x30 | the format in which the device is saved: 2, or 1 without the address |
//! | 0x38 | for tests: after so many calls saving or restoring fails, once |
//!
//! Region 1 is the memory that the device writes, which the user can read and map. Interrupt 0
//! means that a command is done, interrupt 1 that the device shall be given back.

use kernel::{
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        Mutex,
        MutexGuard, //
    },
    time::{
        Instant,
        Monotonic, //
    }, //
};
use vfio::prelude::*;

/// The size of the device's memory in bytes.
const MEMORY: usize = 16 * PAGE_SIZE;

/// The numbers of the interrupts.
const DONE: usize = 0;
const REQUEST: usize = 1;

/// The data of a device: none, because nothing is for the next user.
struct Sample;

/// What there is while the device is open.
#[pin_data]
struct Session {
    /// Its memory.
    memory: Pages,
    #[pin]
    engine: Mutex<Engine>,
}

#[vtable]
impl Driver for Sample {
    const NAME: &'static CStr = c"rust_vfio_sample";
    type Iommu = Emulated;
    type Session = Session;
    type Pin = ();
    type Migration = migration::RunningP2p;
    type DirtyLog = dirty::Kept;
    const REGIONS: &'static [Region<Self>] = &[
        Region::registers::<Control>(0x40).of_width(Width::Quad),
        Region::memory::<Work>(MEMORY as u64).read_only(),
    ];
    const IRQS: &'static [Irq<Self>] = &[Irq::vectors(1).maskable(), Irq::vectors(1)];

    fn open(_device: &Access<'_, Self>) -> impl PinInit<Session, Error> {
        try_pin_init!(Session {
            memory: Pages::new(MEMORY)?,
            engine <- new_mutex!(Engine::new()),
        }? Error)
    }

    fn reset(device: &Opened<'_, Self>) -> Result {
        let mut engine = device.session().engine.lock();
        engine.give_back(device);
        *engine = Engine::new();
        device.session().memory.clear();
        Ok(())
    }

    fn request(device: &Handle<Self>, _count: u32) {
        device.raise(REQUEST, 0);
    }
}

/// The part of the device that computes. It makes its steps when somebody looks.
struct Engine {
    /// Whether the user wants it to compute.
    is_on: bool,
    steps: u64,
    value: u64,
    address: u64,
    /// The page that the device keeps, unless the user has unmapped it in the meantime.
    kept: Option<PinKey>,
    format: u64,
    /// After so many calls saving or restoring fails; 0 for never.
    calls_left: u64,
    /// When the last step was made, unless the device is stopped.
    since: Option<Instant<Monotonic>>,
}

impl Engine {
    /// The most steps that are made at once, so that nobody waits for long.
    const AT_ONCE: u64 = 4096;

    /// Creates one that runs, and does not compute yet.
    fn new() -> Self {
        Self {
            is_on: false,
            steps: 0,
            value: 1,
            address: 0,
            kept: None,
            format: 2,
            calls_left: 0,
            since: Some(Instant::now()),
        }
    }

    /// Locks the engine of a device, after the steps for which there was time.
    fn of<'a>(device: &Opened<'a, Sample>) -> Result<MutexGuard<'a, Self>> {
        let mut engine = device.session().engine.lock();
        let Some(since) = engine.since else {
            return Ok(engine);
        };
        let now = Instant::now();
        let passed = u64::try_from((now - since).as_micros_ceil()).unwrap_or(0);
        engine.since = Some(now);
        if engine.is_on && passed > 0 {
            for _ in 0..passed.min(Self::AT_ONCE) {
                engine.step(&device.session().memory)?;
            }
            // There is more to save.
            device.data_changed();
        }
        Ok(engine)
    }

    /// Makes one step.
    fn step(&mut self, memory: &Pages) -> Result {
        // A linear congruential generator.
        self.value = self
            .value
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // CAST: The remainder is less than the size of the memory.
        let at = (self.steps.wrapping_mul(8) % MEMORY as u64) as usize;
        self.steps = self.steps.wrapping_add(1);
        memory.copy_from(at, &self.value.to_le_bytes())
    }

    /// Copies the value to the memory of the user.
    fn copy_out(&self, device: &Opened<'_, Sample>) -> Result {
        let value = self.value.to_le_bytes();
        let write = |mut page: Pinned<'_, ()>| {
            let offset = page.offset_of(self.address)?;
            Some(page.write(offset, &value))
        };
        // If the user has unmapped the page, the device does not have it any more.
        let kept = self
            .kept
            .and_then(|key| device.with_pinned(key, write).ok());
        match kept.flatten() {
            Some(result) => result,
            None => device.write_memory(self.address, &value),
        }
    }

    /// Adds up 512 numbers of the user, for which it pins their page.
    fn add_up(&mut self, device: &Opened<'_, Sample>) -> Result {
        let mut numbers = KVec::from_elem(0u8, PAGE_SIZE, GFP_KERNEL)?;
        let key = device.pin(self.address, PAGE_SIZE, Intent::Read, ())?;
        let read = device.with_pinned(key, |page| page.read(0, &mut numbers));
        // If the user has unmapped the page in the meantime there is nothing to unpin.
        let _ = device.unpin(key);
        read??;
        self.value = 0;
        for number in numbers.chunks_exact(8) {
            let number = u64::from_le_bytes(number.try_into().map_err(|_| EINVAL)?);
            self.value = self.value.wrapping_add(number);
        }
        Ok(())
    }

    /// Keeps the page at the address, instead of the one that the device has.
    fn keep(&mut self, device: &Opened<'_, Sample>) -> Result {
        self.give_back(device);
        let page = self.address - self.address % PAGE_SIZE as u64;
        self.kept = Some(device.pin(page, PAGE_SIZE, Intent::ReadWrite, ())?);
        Ok(())
    }

    /// Gives the page back that the device keeps.
    fn give_back(&mut self, device: &Opened<'_, Sample>) {
        if let Some(key) = self.kept.take() {
            let _ = device.unpin(key);
        }
    }

    /// Counts a call of saving or restoring, and fails if it is the one.
    fn count_call(&mut self) -> Result {
        let fails = self.calls_left == 1;
        self.calls_left = self.calls_left.saturating_sub(1);
        if fails {
            return Err(EIO);
        }
        Ok(())
    }
}

/// Region 0.
struct Control;

impl Registers<Sample> for Control {
    fn read(device: &Opened<'_, Sample>, offset: u64, _: Width) -> Result<u64> {
        let engine = Engine::of(device)?;
        Ok(match offset {
            0x00 => 0x5646_5331,
            0x08 => engine.is_on.into(),
            0x10 => engine.steps,
            0x18 => engine.value,
            0x20 => engine.address,
            0x30 => engine.format,
            0x38 => engine.calls_left,
            _ => 0,
        })
    }

    fn write(device: &Opened<'_, Sample>, offset: u64, _: Width, value: u64) -> Result {
        let mut engine = Engine::of(device)?;
        match offset {
            0x08 => engine.is_on = value != 0,
            0x18 => engine.value = value,
            0x20 if value % 8 == 0 => engine.address = value,
            // A device that is stopped leaves the memory of the user alone.
            0x28 if engine.since.is_none() => return Err(EBUSY),
            0x28 => {
                match value {
                    1 => engine.copy_out(device)?,
                    2 => engine.add_up(device)?,
                    3 => engine.keep(device)?,
                    _ => return Err(EINVAL),
                }
                device.raise(DONE, 0);
            }
            0x30 if matches!(value, 1 | 2) => engine.format = value,
            0x38 => engine.calls_left = value,
            _ => return Err(EINVAL),
        }
        Ok(())
    }
}

/// Region 1.
struct Work;

impl Memory<Sample> for Work {
    fn pages<'a>(device: &'a Opened<'_, Sample>) -> &'a Pages {
        &device.session().memory
    }
}

/// Returns what is saved of a device, in its format.
fn image<'a>(device: &'a Opened<'_, Sample>) -> Result<Image<'a>> {
    let format = Engine::of(device)?.format;
    Ok(Image {
        format,
        // Those of `PreCopy::stopped`. The address is the last one.
        numbers: if format == 1 { 3 } else { 4 },
        memory: Some(&device.session().memory),
    })
}

impl StopCopy for Sample {
    type Saving = Moving<Saver>;
    type Resuming = Moving<Restorer>;

    fn stop(device: &Opened<'_, Self>) -> Result {
        Engine::of(device)?.since = None;
        Ok(())
    }

    fn start(_: &Opened<'_, Self>) -> Result {
        // It is quiesced, and begins to compute when it is not.
        Ok(())
    }

    fn save(device: &Opened<'_, Self>) -> Result<Moving<Saver>> {
        Self::stopped(device, Self::track(device)?)
    }

    fn resume(device: &Opened<'_, Self>) -> Result<Moving<Restorer>> {
        Ok(Moving(image(device)?.restore()?))
    }

    fn resumed(device: &Opened<'_, Self>, resuming: Moving<Restorer>) -> Result {
        let mut engine = Engine::of(device)?;
        resuming.0.finish(|[is_on, steps, value, address]| {
            if address % 8 != 0 {
                return Err(EINVAL);
            }
            engine.is_on = is_on != 0;
            engine.steps = steps;
            engine.value = value;
            engine.address = address;
            Ok(())
        })
    }

    fn size(device: &Opened<'_, Self>) -> u64 {
        image(device).map_or(0, |image| image.size())
    }
}

impl P2p for Sample {
    fn quiesce(device: &Opened<'_, Self>) -> Result {
        Self::stop(device)
    }

    fn unquiesce(device: &Opened<'_, Self>) -> Result {
        // No time has passed for it.
        Engine::of(device)?.since = Some(Instant::now());
        Ok(())
    }
}

impl PreCopy for Sample {
    type PreCopying = Moving<Saver>;

    fn track(device: &Opened<'_, Self>) -> Result<Moving<Saver>> {
        Ok(Moving(image(device)?.save()?))
    }

    fn stopped(device: &Opened<'_, Self>, saving: Moving<Saver>) -> Result<Moving<Saver>> {
        let engine = Engine::of(device)?;
        let is_on = engine.is_on.into();
        let numbers = [is_on, engine.steps, engine.value, engine.address];
        Ok(Moving(saving.0.finish(&numbers)?))
    }

    fn left(device: &Opened<'_, Self>, saving: &Moving<Saver>) -> migration::Left {
        // Fails only if the memory has no such page.
        let _ = Engine::of(device);
        saving.0.left()
    }
}

/// Saves or restores a device, and fails where a test wants that.
struct Moving<T>(T);

impl<T: migration::Source<Sample>> migration::Source<Sample> for Moving<T> {
    fn read(&mut self, device: &Opened<'_, Sample>, data: &mut [u8]) -> Result<usize> {
        Engine::of(device)?.count_call()?;
        self.0.read(device, data)
    }
}

impl<T: migration::Sink<Sample>> migration::Sink<Sample> for Moving<T> {
    fn write(&mut self, device: &Opened<'_, Sample>, data: &[u8]) -> Result<usize> {
        Engine::of(device)?.count_call()?;
        self.0.write(device, data)
    }
}

/// The module, with two devices, so that one can move to the other.
struct Module {
    _devices: [Faux<Sample>; 2],
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self {
            _devices: [
                Faux::new(c"rust-vfio-sample-0", Ok(Sample))?,
                Faux::new(c"rust-vfio-sample-1", Ok(Sample))?,
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
