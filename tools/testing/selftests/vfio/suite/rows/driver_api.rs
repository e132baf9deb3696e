// SPDX-License-Identifier: GPL-2.0
//! The API for drivers in Rust, by the sample device: rows F210 to F215.

use std::{fs::File, io::Read, thread, time::Duration};

use rustix::io::Errno;
use vfio_selftests::{
    config,
    device::{feature_arg, Device, Event},
    dirty::DirtyPages,
    memory::Memory,
    module,
    request::{bytes_of, Arg},
    sample::{
        self, Register, Registers, ADD, COPY, ID, IRQ_DONE, IRQ_REQUEST, KEEP, MEMORY, MODULE,
    },
    target::{Session, Target},
    uapi::{
        self, DeviceFeatureDmaLoggingControl as LogControl,
        DeviceFeatureDmaLoggingRange as LogRange, DeviceFeatureDmaLoggingReport as LogReport,
        IrqSet,
    },
    PAGE,
};

use super::fixture_logging::BITMAPS;
use crate::{
    bench,
    check::{fails, Books},
    harness::{rows, skip, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F210_what_it_is,
    F210_bounds,
    F210_memory_that_is_mapped,
    F211_interrupts,
    F211_requests_that_are_refused,
    F212_copies,
    F212_pins,
    F212_pins_end_with_the_session,
    F212_by_iommufd,
    F213_dirty_log,
    F214_reset,
    F215_asked_back,
    F215_two_files,
];

pub(super) const IOVA: u64 = 1 << 32;

/// The module, loaded for a test.
pub(super) struct Loaded(());

impl Loaded {
    pub(super) fn new() -> anyhow::Result<Self> {
        if !module::file(MODULE).exists() {
            return skip("the sample was not built for this kernel");
        }
        module::load(MODULE, "")?;
        Ok(Self(()))
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // Also if the test has failed, for the sake of the next one.
        if let Err(error) = module::unload(MODULE) {
            eprintln!("unload {MODULE}: {error}");
        }
    }
}

/// An open sample device, with its module.
pub(super) struct Opened {
    pub(super) session: Session,
    _module: Loaded,
}

impl Opened {
    pub(super) fn new() -> anyhow::Result<Self> {
        let module = Loaded::new()?;
        Ok(Self {
            session: sample::device(0)?.open(uapi::TYPE1v2_IOMMU)?,
            _module: module,
        })
    }

    pub(super) fn device(&self) -> &Device {
        &self.session.device
    }

    pub(super) fn registers(&self) -> anyhow::Result<Registers<'_>> {
        Ok(Registers::of(self.device())?)
    }
}

fn F210_what_it_is() -> TestResult {
    let opened = Opened::new()?;
    let device = opened.device();
    let info = device.info()?;
    assert_eq!(info.flags, uapi::DEVICE_FLAGS_RESET);
    assert_eq!((info.num_regions, info.num_irqs), (2, 2));

    let registers = device.region(0)?;
    assert_eq!((registers.head.offset, registers.head.size), (0, 0x40));
    let access = uapi::REGION_INFO_FLAG_READ | uapi::REGION_INFO_FLAG_WRITE;
    assert_eq!(registers.head.flags, access);
    let memory = device.region(1)?.head;
    assert_eq!((memory.offset, memory.size), (1 << 40, MEMORY as u64));
    let access = uapi::REGION_INFO_FLAG_READ | uapi::REGION_INFO_FLAG_MMAP;
    assert_eq!(memory.flags, access);
    fails(device.region(2), Errno::INVAL);

    let done = device.irq_info(IRQ_DONE)?;
    let flags = uapi::IRQ_INFO_EVENTFD | uapi::IRQ_INFO_MASKABLE;
    assert_eq!((done.flags, done.count), (flags, 1));
    let request = device.irq_info(IRQ_REQUEST)?;
    assert_eq!((request.flags, request.count), (uapi::IRQ_INFO_EVENTFD, 1));
    fails(device.irq_info(2), Errno::INVAL);
    Ok(())
}

fn F210_bounds() -> TestResult {
    let opened = Opened::new()?;
    let device = opened.device();
    let registers = opened.registers()?;
    assert_eq!(registers.get(Register::Id)?, ID);
    // Up to the end and not beyond.
    let mut bytes = [0xff; 24];
    assert_eq!(device.read_at(0x30, &mut bytes)?, 16);
    assert_eq!(device.read_at(0x40, &mut bytes)?, 0);
    fails(device.read_at(0x41, &mut bytes), Errno::INVAL);
    fails(device.write_at(0x41, &bytes), Errno::INVAL);
    // Several registers at once, as far as the driver takes them.
    assert_eq!(device.write_at(0x18, &[7; 24])?, 8);
    assert_eq!(registers.get(Register::Value)?, u64::from_le_bytes([7; 8]));
    // The driver wants whole registers.
    fails(device.read::<4>(0), Errno::INVAL);
    fails(device.write(4, &[0; 4]), Errno::INVAL);
    // Its memory cannot be written, and there is no third region.
    let memory = device.region(1)?.head;
    fails(device.write(memory.offset, &[1]), Errno::INVAL);
    let end = memory.offset + memory.size;
    assert_eq!(device.read_at(end - 3, &mut bytes)?, 3);
    assert_eq!(device.read_at(end, &mut bytes)?, 0);
    fails(device.read_at(end + 1, &mut bytes), Errno::INVAL);
    fails(device.read_at(2 << 40, &mut bytes), Errno::INVAL);
    Ok(())
}

/// Lets the device make some steps.
pub(super) fn compute(registers: Registers<'_>, steps: u64) -> anyhow::Result<u64> {
    registers.set(Register::On, 1)?;
    let first = registers.get(Register::Steps)?;
    while registers.get(Register::Steps)? < first + steps {
        thread::sleep(Duration::from_micros(100));
    }
    registers.set(Register::On, 0)?;
    Ok(registers.get(Register::Steps)?)
}

fn F210_memory_that_is_mapped() -> TestResult {
    let opened = Opened::new()?;
    let device = opened.device();
    let registers = opened.registers()?;
    let region = device.region(1)?.head;
    let view = Memory::of_file(device, region.offset, MEMORY, false)?;
    assert_eq!(view.read(0, MEMORY), vec![0; MEMORY]);
    let steps = compute(registers, 100)?;
    let expected = sample::memory_after(steps);
    assert_eq!(view.read(0, MEMORY), expected);
    assert_eq!(registers.memory()?, expected);
    // Only for reading, shared, and not beyond the end.
    let map = |offset, len, write| Memory::of_file(device, offset, len, write);
    fails(map(region.offset, MEMORY, true), Errno::PERM);
    fails(
        Memory::of_file_private(device, region.offset, PAGE),
        Errno::INVAL,
    );
    fails(map(region.offset, MEMORY + PAGE, false), Errno::INVAL);
    fails(map(region.offset + region.size, PAGE, false), Errno::INVAL);
    fails(map(0, PAGE, false), Errno::INVAL);
    let last = map(region.offset + (MEMORY - PAGE) as u64, PAGE, false)?;
    assert_eq!(last.read(0, PAGE), view.read(MEMORY - PAGE, PAGE));
    // What is mapped stays when the file is closed, and so does the device.
    let Opened { session, _module } = opened;
    drop(session);
    assert_eq!(view.read(0, MEMORY), expected);
    drop((view, last));
    Ok(())
}

/// A request on interrupt 0.
fn set(device: &Device, flags: u32, data: &[u8]) -> rustix::io::Result<()> {
    device.set_irqs(
        IrqSet {
            flags,
            index: IRQ_DONE,
            count: 1,
            ..Default::default()
        },
        data,
    )
}

fn F211_interrupts() -> TestResult {
    const NONE: u32 = uapi::IRQ_SET_DATA_NONE;
    const BOOL: u32 = uapi::IRQ_SET_DATA_BOOL;
    const TRIGGER: u32 = uapi::IRQ_SET_ACTION_TRIGGER;
    const MASK: u32 = uapi::IRQ_SET_ACTION_MASK;
    const UNMASK: u32 = uapi::IRQ_SET_ACTION_UNMASK;

    let opened = Opened::new()?;
    let device = opened.device();
    // Nobody is told yet.
    fails(set(device, NONE | TRIGGER, &[]), Errno::INVAL);
    let event = Event::new()?;
    device.set_irq_eventfds(IRQ_DONE, &[&event])?;
    assert_eq!(event.wait(0)?, 0);
    set(device, NONE | TRIGGER, &[])?;
    assert_eq!(event.wait(5)?, 1);
    set(device, BOOL | TRIGGER, &[0])?;
    assert_eq!(event.wait(0)?, 0);
    set(device, BOOL | TRIGGER, &[1])?;
    assert_eq!(event.wait(5)?, 1);
    // Masked: told once, later.
    set(device, NONE | MASK, &[])?;
    set(device, NONE | TRIGGER, &[])?;
    set(device, NONE | TRIGGER, &[])?;
    assert_eq!(event.wait(0)?, 0);
    set(device, BOOL | UNMASK, &[0])?;
    assert_eq!(event.wait(0)?, 0);
    set(device, BOOL | UNMASK, &[1])?;
    assert_eq!(event.wait(5)?, 1);
    assert_eq!(event.wait(0)?, 0);
    // Another eventfd takes the place of the first, which is not told any more.
    let other = Event::new()?;
    device.set_irq_eventfds(IRQ_DONE, &[&other])?;
    set(device, NONE | TRIGGER, &[])?;
    assert_eq!((event.wait(0)?, other.wait(5)?), (0, 1));
    // Taken back, in both ways.
    set(
        device,
        uapi::IRQ_SET_DATA_EVENTFD | TRIGGER,
        &(-1_i32).to_ne_bytes(),
    )?;
    fails(set(device, NONE | TRIGGER, &[]), Errno::INVAL);
    device.set_irq_eventfds(IRQ_DONE, &[&event])?;
    device.disable_irqs(IRQ_DONE)?;
    device.disable_irqs(IRQ_DONE)?;
    fails(set(device, NONE | TRIGGER, &[]), Errno::INVAL);
    Ok(())
}

fn F211_requests_that_are_refused() -> TestResult {
    const NONE: u32 = uapi::IRQ_SET_DATA_NONE;
    const EVENTFD: u32 = uapi::IRQ_SET_DATA_EVENTFD;
    const TRIGGER: u32 = uapi::IRQ_SET_ACTION_TRIGGER;

    let opened = Opened::new()?;
    let device = opened.device();
    let send = |flags, index, start, count, data: &[u8]| {
        device.set_irqs(
            IrqSet {
                flags,
                index,
                start,
                count,
                ..Default::default()
            },
            data,
        )
    };
    let event = Event::new()?;
    device.set_irq_eventfds(IRQ_DONE, &[&event])?;
    // No such kind, no such vector, too little data, two kinds of data.
    fails(send(NONE | TRIGGER, 2, 0, 1, &[]), Errno::INVAL);
    fails(send(NONE | TRIGGER, 0, 1, 1, &[]), Errno::INVAL);
    fails(send(NONE | TRIGGER, 0, 0, 2, &[]), Errno::INVAL);
    fails(
        send(NONE | TRIGGER, 0, u32::MAX, u32::MAX, &[]),
        Errno::INVAL,
    );
    fails(send(EVENTFD | TRIGGER, 0, 0, 1, &[0; 3]), Errno::INVAL);
    fails(
        send(EVENTFD | NONE | TRIGGER, 0, 0, 1, &[0; 4]),
        Errno::INVAL,
    );
    // Something else than an eventfd: what was there stays.
    let fd = |number: i32| send(EVENTFD | TRIGGER, 0, 0, 1, &number.to_ne_bytes());
    fails(fd(0), Errno::INVAL);
    fails(fd(1000), Errno::BADF);
    send(NONE | TRIGGER, 0, 0, 1, &[])?;
    assert_eq!(event.wait(5)?, 1);
    // No action, two of them, or one that the kind does not have.
    fails(send(NONE, 0, 0, 1, &[]), Errno::NOTTY);
    let both = uapi::IRQ_SET_ACTION_MASK | TRIGGER;
    fails(send(NONE | both, 0, 0, 1, &[]), Errno::NOTTY);
    let mask = uapi::IRQ_SET_ACTION_MASK;
    fails(send(NONE | mask, IRQ_REQUEST, 0, 1, &[]), Errno::NOTTY);
    fails(
        send(EVENTFD | mask, 0, 0, 1, &(-1_i32).to_ne_bytes()),
        Errno::NOTTY,
    );
    let unmask = uapi::IRQ_SET_ACTION_UNMASK;
    fails(
        send(EVENTFD | unmask, 0, 0, 1, &(-1_i32).to_ne_bytes()),
        Errno::NOTTY,
    );
    Ok(())
}

fn F212_copies() -> TestResult {
    let opened = Opened::new()?;
    let registers = opened.registers()?;
    let memory = Memory::anonymous(2 * PAGE)?;
    let container = &opened.session.container;
    let event = Event::new()?;
    opened.device().set_irq_eventfds(IRQ_DONE, &[&event])?;
    registers.set(Register::Value, 0x0123_4567_89ab_cdef)?;
    registers.set(Register::Address, IOVA + 16)?;
    fails(registers.set(Register::Command, COPY), Errno::INVAL);
    assert_eq!(event.wait(0)?, 0);
    container.map(&memory, IOVA)?;
    registers.set(Register::Command, COPY)?;
    assert_eq!(event.wait(5)?, 1);
    assert_eq!(memory.read(16, 8), 0x0123_4567_89ab_cdef_u64.to_le_bytes());
    container.unmap_all()?;
    container.map_raw(
        uapi::DMA_MAP_FLAG_READ,
        memory.address() as u64,
        IOVA,
        2 * PAGE as u64,
    )?;
    fails(registers.set(Register::Command, COPY), Errno::PERM);
    Ok(())
}

fn F212_pins() -> TestResult {
    let opened = Opened::new()?;
    let registers = opened.registers()?;
    let memory = Memory::anonymous(2 * PAGE)?;
    for at in 0..PAGE / 8 {
        memory.write(PAGE + 8 * at, &(at as u64).to_le_bytes());
    }
    let container = &opened.session.container;
    let books = Books::open()?;
    registers.set(Register::Address, IOVA + PAGE as u64)?;
    fails(registers.set(Register::Command, ADD), Errno::INVAL);
    container.map(&memory, IOVA)?;
    registers.set(Register::Command, ADD)?;
    let count = (PAGE / 8) as u64;
    assert_eq!(registers.get(Register::Value)?, count * (count - 1) / 2);
    books.say(0, 0);
    // Only whole pages.
    registers.set(Register::Address, IOVA + 8)?;
    fails(registers.set(Register::Command, ADD), Errno::INVAL);
    Ok(())
}

/// Also by way of a page that the device keeps.
fn F212_pins_end_with_the_session() -> TestResult {
    let opened = Opened::new()?;
    let memory = Memory::anonymous(2 * PAGE)?;
    let container = &opened.session.container;
    let books = Books::open()?;
    container.map(&memory, IOVA)?;
    let registers = opened.registers()?;
    registers.set(Register::Address, IOVA)?;
    registers.set(Register::Command, KEEP)?;
    books.say(1, 1);
    registers.set(Register::Value, 5)?;
    registers.set(Register::Command, COPY)?;
    assert_eq!(memory.read(0, 8), 5_u64.to_le_bytes());
    // Another page is not the one that it keeps.
    registers.set(Register::Address, IOVA + PAGE as u64)?;
    registers.set(Register::Command, COPY)?;
    assert_eq!(memory.read(PAGE, 8), 5_u64.to_le_bytes());
    // It must give the page back when that is unmapped.
    registers.set(Register::Address, IOVA)?;
    container.unmap_all()?;
    books.say(0, 0);
    fails(registers.set(Register::Command, COPY), Errno::INVAL);
    // And when it is closed.
    container.map(&memory, IOVA)?;
    registers.set(Register::Command, KEEP)?;
    books.say(1, 1);
    let Opened { session, _module } = opened;
    let Session {
        device,
        group,
        container,
    } = session;
    drop(device);
    books.say(0, 0);
    assert_eq!(container.unmap_all()?, 2 * PAGE as u64);
    drop((group, container));
    Ok(())
}

/// The same by way of an iommufd, whose address spaces come and go while the device is open.
fn F212_by_iommufd() -> TestResult {
    let _module = Loaded::new()?;
    let iommufd = bench::iommufd()?;
    let (device, _) = sample::device(0)?.bind_to(&iommufd)?;
    let memory = Memory::anonymous(2 * PAGE)?;
    let registers = Registers::of(&device)?;
    registers.set(Register::Value, 7)?;
    registers.set(Register::Address, IOVA)?;
    fails(registers.set(Register::Command, COPY), Errno::NOENT);
    fails(registers.set(Register::Command, KEEP), Errno::NOENT);
    for _ in 0..2 {
        let ioas = iommufd.ioas()?;
        device.attach(ioas)?;
        fails(registers.set(Register::Command, COPY), Errno::NOENT);
        memory.fill(0);
        iommufd.map(ioas, &memory, IOVA)?;
        registers.set(Register::Command, COPY)?;
        assert_eq!(memory.read(0, 8), 7_u64.to_le_bytes());
        registers.set(Register::Command, KEEP)?;
        // It gives the page back when that is unmapped.
        assert_eq!(iommufd.unmap(ioas, IOVA, 2 * PAGE as u64)?, 2 * PAGE as u64);
        fails(registers.set(Register::Command, COPY), Errno::NOENT);
        // And when it is taken out of the address space.
        iommufd.map(ioas, &memory, IOVA)?;
        registers.set(Register::Command, KEEP)?;
        device.detach()?;
        fails(registers.set(Register::Command, COPY), Errno::NOENT);
        iommufd.unmap(ioas, IOVA, 2 * PAGE as u64)?;
    }
    Ok(())
}

const LOG_START: u32 = uapi::DEVICE_FEATURE_DMA_LOGGING_START | uapi::DEVICE_FEATURE_SET;
const LOG_STOP: u32 = uapi::DEVICE_FEATURE_DMA_LOGGING_STOP | uapi::DEVICE_FEATURE_SET;
const LOG_REPORT: u32 = uapi::DEVICE_FEATURE_DMA_LOGGING_REPORT | uapi::DEVICE_FEATURE_GET;

/// A request to start the dirty log.
pub(super) struct LogStart {
    arg: Arg,
    /// What `arg` points to.
    _range: Arg,
}

impl LogStart {
    pub(super) fn new() -> rustix::io::Result<Self> {
        let range = Arg::new(&LogRange {
            iova: IOVA,
            length: 64 * PAGE as u64,
        });
        let control = LogControl {
            page_size: PAGE as u64,
            num_ranges: 1,
            reserved: 0,
            ranges: range.address() as u64,
        };
        Ok(Self {
            arg: feature_arg(LOG_START, bytes_of(&control))?,
            _range: range,
        })
    }

    pub(super) fn send(&self, device: &Device) -> rustix::io::Result<()> {
        self.arg.send(device, uapi::DEVICE_FEATURE)?;
        Ok(())
    }
}

pub(super) fn log_start(device: &Device) -> rustix::io::Result<()> {
    LogStart::new()?.send(device)
}

pub(super) fn log_stop(device: &Device) -> rustix::io::Result<()> {
    device.feature(LOG_STOP, &mut [])?;
    Ok(())
}

/// The pages of a range that the device has written.
pub(super) fn log_report(
    device: &Device,
    first: u64,
    pages: usize,
) -> rustix::io::Result<Vec<usize>> {
    let bitmap = DirtyPages::new(pages);
    let report = LogReport {
        iova: first,
        length: (pages * PAGE) as u64,
        page_size: PAGE as u64,
        bitmap: bitmap.bitmap().data,
    };
    device.feature(LOG_REPORT, &mut bytes_of(&report).to_vec())?;
    Ok(bitmap.list())
}

fn F213_dirty_log() -> TestResult {
    let opened = Opened::new()?;
    let device = opened.device();
    let registers = opened.registers()?;
    let memory = Memory::anonymous(64 * PAGE)?;
    opened.session.container.map(&memory, IOVA)?;
    let write_to = |page: u64| -> rustix::io::Result<()> {
        registers.set(Register::Address, IOVA + page * PAGE as u64 + 64)?;
        registers.set(Register::Command, COPY)
    };
    // Nothing is logged before the start.
    let bitmaps = config::has(BITMAPS)?;
    let unknown = if bitmaps {
        Errno::INVAL
    } else {
        Errno::OPNOTSUPP
    };
    fails(log_report(device, IOVA, 64), unknown);
    fails(log_stop(device), Errno::INVAL);
    write_to(1)?;
    log_start(device)?;
    fails(log_start(device), Errno::INVAL);
    if bitmaps {
        assert_eq!(log_report(device, IOVA, 64)?, []);
        for page in [3, 17, 3, 40] {
            write_to(page)?;
        }
        assert_eq!(log_report(device, IOVA, 32)?, [3, 17]);
        assert_eq!(log_report(device, IOVA, 64)?, [40]);
        assert_eq!(log_report(device, IOVA, 64)?, []);
        // Also what is written to a page that the device keeps.
        registers.set(Register::Address, IOVA + 5 * PAGE as u64)?;
        registers.set(Register::Command, KEEP)?;
        write_to(5)?;
        // A page of which only a part is asked for is not forgotten.
        let half = PAGE as u64 / 2;
        assert_eq!(log_report(device, IOVA + 5 * PAGE as u64 + half, 1)?, [0]);
        assert_eq!(log_report(device, IOVA, 64)?, [5]);
        assert_eq!(log_report(device, IOVA, 64)?, []);
    }
    log_stop(device)?;
    fails(log_stop(device), Errno::INVAL);
    // Closing the device stops it as well.
    log_start(device)?;
    let Opened { session, _module } = opened;
    let Session {
        device,
        group,
        container,
    } = session;
    drop(device);
    let device = group.device("rust-vfio-sample-0")?;
    log_start(&device)?;
    drop((device, group, container));
    Ok(())
}

fn F214_reset() -> TestResult {
    let opened = Opened::new()?;
    let device = opened.device();
    let registers = opened.registers()?;
    compute(registers, 10)?;
    registers.set(Register::Address, 64)?;
    device.reset()?;
    for (register, value) in [
        (Register::On, 0),
        (Register::Steps, 0),
        (Register::Value, 1),
        (Register::Address, 0),
    ] {
        assert_eq!(registers.get(register)?, value, "{register:?}");
    }
    // Whatever the state of migration, it is running then, and its file is over.
    let file = device.set_migration_state(uapi::DEVICE_STATE_STOP_COPY)?;
    let mut file = File::from(file.expect("a data file"));
    file.read_exact(&mut [0; 8])?;
    device.reset()?;
    assert_eq!(device.migration_state()?, uapi::DEVICE_STATE_RUNNING);
    fails(rustix::io::read(&file, &mut [0; 8]), Errno::NODEV);
    compute(registers, 10)?;
    // Opened again it is as new.
    drop(file);
    let Opened { session, _module } = opened;
    drop(session);
    let session = sample::device(0)?.open(uapi::TYPE1v2_IOMMU)?;
    assert_eq!(Registers::of(&session.device)?.get(Register::Steps)?, 0);
    Ok(())
}

fn F215_asked_back() -> TestResult {
    let opened = Opened::new()?;
    let event = Event::new()?;
    opened.device().set_irq_eventfds(IRQ_REQUEST, &[&event])?;
    // It unregisters the devices, and waits for this one.
    let unloading = thread::spawn(|| module::unload(MODULE));
    assert_eq!(event.wait(20)?, 1);
    let registers = opened.registers()?;
    compute(registers, 10)?;
    assert!(!unloading.is_finished());
    let Opened { session, _module } = opened;
    drop(session);
    std::mem::forget(_module);
    unloading.join().expect("a thread")?;
    assert!(!module::is_loaded(MODULE));
    Ok(())
}

/// Two files of one device share its session.
fn F215_two_files() -> TestResult {
    let opened = Opened::new()?;
    let second = opened.session.group.device("rust-vfio-sample-0")?;
    let (one, two) = (opened.registers()?, Registers::of(&second)?);
    one.set(Register::Value, 77)?;
    assert_eq!(two.get(Register::Value)?, 77);
    let event = Event::new()?;
    second.set_irq_eventfds(IRQ_DONE, &[&event])?;
    drop(second);
    set(
        opened.device(),
        uapi::IRQ_SET_DATA_NONE | uapi::IRQ_SET_ACTION_TRIGGER,
        &[],
    )?;
    assert_eq!(event.wait(5)?, 1);
    Ok(())
}
