// SPDX-License-Identifier: GPL-2.0
//! Migration of a device whose driver is written with the API in Rust: rows F216 and
//! F217.

use std::{
    fs::File,
    io::{Read, Write},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
};
use vfio_selftests::{
    device::Device,
    migrate::{migrate, Failure, Moved, Phase, Plan, Progress},
    migration::precopy_info,
    sample::{self, Register, Registers, MEMORY},
    target::{Session, Target},
    uapi, PAGE,
};

use super::driver_api::{compute, Loaded};
use crate::{
    check::fails,
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F216_moves_and_goes_on,
    F216_moves_while_it_computes,
    F216_arcs,
    F216_arcs_that_do_not_exist,
    F216_files,
    F216_unloaded_with_a_file,
    F217_given_up,
    F217_source_fails,
    F217_target_fails,
    F217_other_format,
    F217_data_that_make_no_sense,
];

/// The size of the head of a record.
const HEAD: usize = 16;
const ERROR: u32 = uapi::DEVICE_STATE_ERROR;
const STOP: u32 = uapi::DEVICE_STATE_STOP;
const RUNNING: u32 = uapi::DEVICE_STATE_RUNNING;
const STOP_COPY: u32 = uapi::DEVICE_STATE_STOP_COPY;
const RESUMING: u32 = uapi::DEVICE_STATE_RESUMING;
const RUNNING_P2P: u32 = uapi::DEVICE_STATE_RUNNING_P2P;
const PRE_COPY: u32 = uapi::DEVICE_STATE_PRE_COPY;
const PRE_COPY_P2P: u32 = uapi::DEVICE_STATE_PRE_COPY_P2P;

/// Both devices, open.
struct Pair {
    source: Session,
    target: Session,
    _module: Loaded,
}

impl Pair {
    fn new() -> anyhow::Result<Self> {
        let module = Loaded::new()?;
        Ok(Self {
            source: sample::device(0)?.open(uapi::TYPE1v2_IOMMU)?,
            target: sample::device(1)?.open(uapi::TYPE1v2_IOMMU)?,
            _module: module,
        })
    }

    fn source(&self) -> &Device {
        &self.source.device
    }

    fn target(&self) -> &Device {
        &self.target.device
    }

    fn registers(&self) -> anyhow::Result<[Registers<'_>; 2]> {
        Ok([Registers::of(self.source())?, Registers::of(self.target())?])
    }

    fn migrate(&self, watch: impl FnMut(Progress) -> bool) -> Result<Moved, Failure> {
        migrate(self.source(), self.target(), Plan::default(), watch)
    }
}

/// What a device remembers.
fn state(registers: Registers<'_>) -> anyhow::Result<(Vec<u64>, Vec<u8>)> {
    let numbers = [
        Register::On,
        Register::Steps,
        Register::Value,
        Register::Address,
    ];
    let numbers = numbers.map(|register| registers.get(register));
    Ok((
        numbers.into_iter().collect::<Result<_, _>>()?,
        registers.memory()?,
    ))
}

fn F216_moves_and_goes_on() -> TestResult {
    let pair = Pair::new()?;
    let [source, target] = pair.registers()?;
    compute(source, 3000)?;
    source.set(Register::Address, 0x1230)?;
    let before = state(source)?;
    let moved = pair.migrate(|_| true)?;
    assert_eq!(state(target)?, before);
    assert!(
        moved.rounds > 0 && moved.running > MEMORY as u64,
        "{moved:?}"
    );
    assert!(moved.stopped < 2 * PAGE as u64, "{moved:?}");
    assert_eq!(pair.source().migration_state()?, STOP);
    assert_eq!(pair.target().migration_state()?, RUNNING);
    // The same numbers come as if it had not moved.
    let steps = compute(target, 100)?;
    assert_eq!(target.memory()?, sample::memory_after(steps));
    // And back.
    pair.source().reset()?;
    migrate(pair.target(), pair.source(), Plan::default(), |_| true)?;
    let steps = compute(source, 100)?;
    assert_eq!(source.memory()?, sample::memory_after(steps));
    Ok(())
}

fn F216_moves_while_it_computes() -> TestResult {
    let pair = Pair::new()?;
    let [source, target] = pair.registers()?;
    source.set(Register::On, 1)?;
    let mut phases = Vec::new();
    let moved = pair.migrate(|progress| {
        if phases.last() != Some(&progress.phase) {
            phases.push(progress.phase);
        }
        true
    })?;
    assert_eq!(phases.first(), Some(&Phase::PreCopy(1)));
    assert_eq!(phases.last(), Some(&Phase::Resume));
    assert!(phases.contains(&Phase::StopCopy));
    assert_eq!(target.get(Register::On)?, 1);
    assert!(target.get(Register::Steps)? > 0, "{moved:?}");
    target.set(Register::On, 0)?;
    let steps = target.get(Register::Steps)?;
    assert_eq!(target.memory()?, sample::memory_after(steps));
    // The source stands still.
    let steps = source.get(Register::Steps)?;
    assert_eq!(source.get(Register::Steps)?, steps);
    Ok(())
}

/// Each way from each state, where there is one.
fn F216_arcs() -> TestResult {
    let pair = Pair::new()?;
    let device = pair.source();
    assert_eq!(
        device.migration_flags()?,
        uapi::MIGRATION_STOP_COPY | uapi::MIGRATION_P2P | uapi::MIGRATION_PRE_COPY
    );
    let states = [
        STOP,
        RUNNING,
        STOP_COPY,
        RESUMING,
        RUNNING_P2P,
        PRE_COPY,
        PRE_COPY_P2P,
    ];
    let saving = |state| matches!(state, STOP_COPY | PRE_COPY | PRE_COPY_P2P);
    for from in states {
        for to in states {
            device.reset()?;
            let first = device.set_migration_state(from)?;
            assert_eq!(
                first.is_some(),
                saving(from) || from == RESUMING,
                "to {from}"
            );
            assert_eq!(device.migration_state()?, from);
            // Nothing was written, so it has nothing to go on with. And what is stopped
            // is not saved as if it were running, without having run.
            if from == RESUMING && to != RESUMING {
                fails(device.set_migration_state(to), Errno::INVAL);
                assert_eq!(device.migration_state()?, ERROR);
                continue;
            }
            let second = match device.set_migration_state(to) {
                Err(Errno::INVAL) if from == STOP_COPY && matches!(to, PRE_COPY | PRE_COPY_P2P) => {
                    continue
                }
                result => result?,
            };
            assert_eq!(device.migration_state()?, to);
            let begins = match to {
                RESUMING => from != RESUMING,
                _ => saving(to) && !saving(from),
            };
            assert_eq!(second.is_some(), begins, "{from} to {to}");
        }
    }
    Ok(())
}

fn F216_arcs_that_do_not_exist() -> TestResult {
    let pair = Pair::new()?;
    let device = pair.source();
    for state in [ERROR, 8, 100] {
        fails(device.set_migration_state(state), Errno::INVAL);
        assert_eq!(device.migration_state()?, RUNNING);
    }
    Ok(())
}

/// Whether a file can be read, written or has ended.
fn poll(file: &File) -> anyhow::Result<PollFlags> {
    let mut fds = [PollFd::new(file, PollFlags::IN | PollFlags::OUT)];
    rustix::event::poll(&mut fds, Some(&Timespec::default()))?;
    Ok(fds[0].revents())
}

fn F216_files() -> TestResult {
    let pair = Pair::new()?;
    let device = pair.source();
    let begin = |state| -> anyhow::Result<File> {
        Ok(device
            .set_migration_state(state)?
            .expect("a data file")
            .into())
    };
    let mut file = begin(PRE_COPY)?;
    assert_eq!(poll(&file)?, PollFlags::IN);
    fails(rustix::io::pread(&file, &mut [0; 4], 0), Errno::SPIPE);
    fails(rustix::io::write(&file, &[0]), Errno::BADF);
    let info = precopy_info(&file)?;
    assert_eq!(
        (info.initial_bytes, info.dirty_bytes > MEMORY as u64),
        (16, true)
    );
    let mut data = vec![0; (info.initial_bytes + info.dirty_bytes) as usize];
    file.read_exact(&mut data)?;
    // Nothing more for now.
    fails(rustix::io::read(&file, &mut [0; 4]), Errno::NOMSG);
    let info = precopy_info(&file)?;
    assert_eq!((info.initial_bytes, info.dirty_bytes), (0, 0));
    assert_eq!(poll(&file)?, PollFlags::empty());
    // The same file goes on.
    assert!(device.set_migration_state(STOP_COPY)?.is_none());
    fails(precopy_info(&file), Errno::INVAL);
    let mut rest = Vec::new();
    file.read_to_end(&mut rest)?;
    assert_eq!(rest.len(), 16 + 32);
    // And then it has ended.
    device.set_migration_state(RUNNING)?;
    fails(rustix::io::read(&file, &mut [0; 4]), Errno::NODEV);
    fails(precopy_info(&file), Errno::INVAL);
    assert!(poll(&file)?.contains(PollFlags::HUP));
    drop(file);

    device.set_migration_state(STOP)?;
    let file = begin(RESUMING)?;
    assert_eq!(poll(&file)?, PollFlags::OUT);
    fails(rustix::io::read(&file, &mut [0; 4]), Errno::BADF);
    assert_eq!(rustix::io::write(&file, &[])?, 0);
    device.reset()?;
    fails(rustix::io::write(&file, &[0]), Errno::NODEV);
    drop(file);

    // A file that is left when the device is closed.
    let file = begin(STOP_COPY)?;
    let Pair {
        source,
        target,
        _module,
    } = pair;
    drop((source, target));
    fails(rustix::io::read(&file, &mut [0; 4]), Errno::NODEV);
    drop(file);
    Ok(())
}

/// The module cannot go as long as somebody has a file of its own.
fn F216_unloaded_with_a_file() -> TestResult {
    let pair = Pair::new()?;
    let file = pair.source().set_migration_state(STOP_COPY)?;
    let file = File::from(file.expect("a data file"));
    let Pair {
        source,
        target,
        _module,
    } = pair;
    drop((source, target));
    fails(
        vfio_selftests::module::unload(vfio_selftests::sample::MODULE),
        Errno::AGAIN,
    );
    drop(file);
    Ok(())
}

/// After a move that failed the source goes on as if nothing had been, and the target can
/// be used.
fn check_source_goes_on(pair: &Pair) -> TestResult {
    let [source, target] = pair.registers()?;
    assert_eq!(pair.source().migration_state()?, RUNNING);
    assert_eq!(pair.target().migration_state()?, RUNNING);
    let steps = compute(source, 100)?;
    assert_eq!(source.memory()?, sample::memory_after(steps));
    // The next attempt works.
    source.set(Register::Fault, 0)?;
    pair.migrate(|_| true)?;
    let steps = compute(target, 100)?;
    assert_eq!(target.memory()?, sample::memory_after(steps));
    Ok(())
}

fn F217_given_up() -> TestResult {
    for last in [Phase::PreCopy(1), Phase::StopCopy, Phase::Resume] {
        let pair = Pair::new()?;
        compute(pair.registers()?[0], 3000)?;
        match pair.migrate(|progress| progress.phase != last) {
            Err(Failure::Aborted(phase)) => assert_eq!(phase, last),
            other => panic!("{other:?}"),
        }
        check_source_goes_on(&pair)?;
    }
    Ok(())
}

fn F217_source_fails() -> TestResult {
    for calls in [1, 5, 18] {
        let pair = Pair::new()?;
        let [source, _] = pair.registers()?;
        compute(source, 3000)?;
        source.set(Register::Fault, calls)?;
        match pair.migrate(|_| true) {
            Err(Failure::Source { error, .. }) => assert_eq!(error, Errno::IO, "call {calls}"),
            other => panic!("call {calls}: {other:?}"),
        }
        check_source_goes_on(&pair)?;
    }
    Ok(())
}

fn F217_target_fails() -> TestResult {
    for calls in [1, 5, 30] {
        let pair = Pair::new()?;
        let [source, target] = pair.registers()?;
        compute(source, 3000)?;
        target.set(Register::Fault, calls)?;
        match pair.migrate(|_| true) {
            Err(Failure::Target { error, .. }) => assert_eq!(error, Errno::IO, "call {calls}"),
            other => panic!("call {calls}: {other:?}"),
        }
        check_source_goes_on(&pair)?;
    }
    Ok(())
}

fn F217_other_format() -> TestResult {
    let pair = Pair::new()?;
    let [source, target] = pair.registers()?;
    compute(source, 3000)?;
    fails(target.set(Register::Format, 3), Errno::INVAL);
    fails(target.set(Register::Format, 0), Errno::INVAL);
    target.set(Register::Format, 1)?;
    match pair.migrate(|_| true) {
        Err(Failure::Target { error, .. }) => assert_eq!(error, Errno::OPNOTSUPP),
        other => panic!("{other:?}"),
    }
    // The target was reset, and so takes the newest format again.
    check_source_goes_on(&pair)?;
    // Both agree on the older one, which does not have the address.
    for device in [pair.source(), pair.target()] {
        device.reset()?;
        Registers::of(device)?.set(Register::Format, 1)?;
    }
    source.set(Register::Address, 0x1230)?;
    pair.migrate(|_| true)?;
    assert_eq!(target.get(Register::Address)?, 0);
    Ok(())
}

fn F217_data_that_make_no_sense() -> TestResult {
    let pair = Pair::new()?;
    let device = pair.target();
    let before = state(pair.registers()?[1])?;
    let number = |n: u64| n.to_le_bytes().to_vec();
    let begin = [number(0x4245_4749_4e00_0001), number(2)].concat();
    let page = |n| [number(0x5041_4745_0000_0002), number(n), vec![0x55; PAGE]].concat();
    let end = [number(0x454e_4400_0000_0003), number(4), vec![0; 32]].concat();
    let cases = [
        // Not from the beginning, twice, no such record, no such page, more than all.
        page(0),
        [begin.clone(), begin.clone()].concat(),
        [begin.clone(), number(1), number(2)].concat(),
        [begin.clone(), page(16)].concat(),
        [begin.clone(), end.clone(), end.clone()].concat(),
    ];
    for data in cases {
        let file = device.set_migration_state(RESUMING)?;
        let mut file = File::from(file.expect("a data file"));
        assert!(file.write_all(&data).is_err());
        device.reset()?;
    }
    // Too little is found out at the end.
    let odd_address = [end.clone()[..HEAD + 24].to_vec(), number(4)].concat();
    for data in [
        vec![],
        begin.clone(),
        [begin.clone(), page(3)].concat(),
        [begin.clone(), odd_address].concat(),
    ] {
        let file = device.set_migration_state(RESUMING)?;
        File::from(file.expect("a data file")).write_all(&data)?;
        fails(device.set_migration_state(RUNNING), Errno::INVAL);
        assert_eq!(device.migration_state()?, ERROR);
        for state in [RUNNING, STOP, RESUMING] {
            fails(device.set_migration_state(state), Errno::INVAL);
        }
        device.reset()?;
        assert_eq!(device.migration_state()?, RUNNING);
    }
    // It takes a state as a whole or not at all.
    let file = device.set_migration_state(RESUMING)?;
    File::from(file.expect("a data file")).write_all(&[begin.clone(), page(3)].concat())?;
    fails(device.set_migration_state(STOP), Errno::INVAL);
    assert_eq!(pair.registers()?[1].memory()?, before.1);
    Ok(())
}
