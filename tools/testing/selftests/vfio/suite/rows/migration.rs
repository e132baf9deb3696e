// SPDX-License-Identifier: GPL-2.0
//! Migration of a device whose driver is the kernel's: row F093.

use std::{
    fs::File,
    io::{Read, Write},
};

use rustix::io::Errno;
use vfio_selftests::{
    device::Device,
    mdev::Mdev,
    migration::precopy_info,
    target::{Session, Target},
    uapi,
};

use crate::{
    bench,
    check::fails,
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F093_saved_while_stopped,
    F093_saved_from_running_on,
    F093_saved_from_p2p_on,
    F093_data_that_do_not_fit,
];

const STOP: u32 = uapi::DEVICE_STATE_STOP;
const RUNNING: u32 = uapi::DEVICE_STATE_RUNNING;
const STOP_COPY: u32 = uapi::DEVICE_STATE_STOP_COPY;
const RESUMING: u32 = uapi::DEVICE_STATE_RESUMING;
const RUNNING_P2P: u32 = uapi::DEVICE_STATE_RUNNING_P2P;
const PRE_COPY: u32 = uapi::DEVICE_STATE_PRE_COPY;
const PRE_COPY_P2P: u32 = uapi::DEVICE_STATE_PRE_COPY_P2P;

/// The register of a serial port that keeps what it is told.
const SCRATCH: u64 = 7;

/// An open serial port with two ports, which migrates as a whole.
struct Port {
    // Closed before it is removed.
    session: Session,
    _mtty: Mdev,
}

impl Port {
    fn new(number: u32) -> anyhow::Result<Self> {
        // Says so where there is none.
        drop(bench::mtty(number)?);
        let mtty = Mdev::create_type("mtty-2", number)?;
        Ok(Self {
            session: mtty.open(uapi::TYPE1v2_IOMMU)?,
            _mtty: mtty,
        })
    }

    fn device(&self) -> &Device {
        &self.session.device
    }

    /// Goes to a state that begins no session of data, or goes on with one.
    fn go(&self, state: u32) -> TestResult {
        let file = self.device().set_migration_state(state)?;
        assert!(file.is_none(), "a file for state {state}");
        assert_eq!(self.device().migration_state()?, state);
        Ok(())
    }

    /// Goes to a state that begins one.
    fn begin(&self, state: u32) -> anyhow::Result<File> {
        let file = self.device().set_migration_state(state)?;
        assert_eq!(self.device().migration_state()?, state);
        Ok(file.expect("a data file").into())
    }

    fn scratch(&self, port: u32) -> anyhow::Result<u64> {
        let region = uapi::PCI_BAR0_REGION_INDEX + port;
        Ok(self.device().region(region)?.head.offset + SCRATCH)
    }

    /// Gives it something to remember.
    fn mark(&self, marks: [u8; 2]) -> TestResult {
        for (port, mark) in (0..).zip(marks) {
            self.device().write(self.scratch(port)?, &[mark])?;
        }
        Ok(())
    }

    fn marks(&self) -> anyhow::Result<[u8; 2]> {
        let get = |port| -> anyhow::Result<u8> {
            let [mark] = self.device().read(self.scratch(port)?)?;
            Ok(mark)
        };
        Ok([get(0)?, get(1)?])
    }
}

fn rest(file: &mut File) -> anyhow::Result<Vec<u8>> {
    let mut data = Vec::new();
    file.read_to_end(&mut data)?;
    Ok(data)
}

/// A data file of a session that is over.
fn check_over(file: &File) {
    fails(rustix::io::read(file, &mut [0; 4]), Errno::NODEV);
}

/// Another port takes the data over, in pieces, and goes on from there.
fn resume(data: &[u8], marks: [u8; 2]) -> TestResult {
    let target = Port::new(2)?;
    assert_eq!(target.marks()?, [0, 0]);
    let mut file = target.begin(RESUMING)?;
    for piece in data.chunks(13) {
        file.write_all(piece)?;
    }
    target.go(RUNNING)?;
    assert_eq!(target.marks()?, marks);
    fails(rustix::io::write(&file, &[0]), Errno::NODEV);
    // It can be migrated itself.
    let mut file = target.begin(STOP_COPY)?;
    assert_eq!(rest(&mut file)?, data);
    target.go(STOP)?;
    check_over(&file);
    target.go(RUNNING)
}

/// STOP to STOP_COPY, the arc that every device has.
fn F093_saved_while_stopped() -> TestResult {
    let source = Port::new(1)?;
    let flags = source.device().migration_flags()?;
    assert_eq!(
        flags,
        uapi::MIGRATION_STOP_COPY | uapi::MIGRATION_P2P | uapi::MIGRATION_PRE_COPY
    );
    for marks in [[0x5a, 0x11], [0xa5, 0xee]] {
        assert_eq!(source.device().migration_state()?, RUNNING);
        source.mark(marks)?;
        source.go(STOP)?;
        let mut file = source.begin(STOP_COPY)?;
        fails(precopy_info(&file), Errno::INVAL);
        fails(rustix::io::pread(&file, &mut [0; 4], 0), Errno::SPIPE);
        fails(rustix::io::write(&file, &[0]), Errno::BADF);
        let data = rest(&mut file)?;
        assert_eq!(data.len() as u64, source.device().migration_data_size()?);
        assert_eq!(file.read(&mut [0])?, 0);
        resume(&data, marks)?;
        // The source can go on as well, and then its data are no more.
        source.go(RUNNING)?;
        check_over(&file);
        assert_eq!(source.marks()?, marks);
    }
    Ok(())
}

/// Reads what is there while the device runs, and the rest when it stopped.
fn save(source: &Port, mut file: File) -> anyhow::Result<(Vec<u8>, File)> {
    let there = precopy_info(&file)?;
    assert_eq!(there.dirty_bytes, 0);
    let mut data = vec![0; usize::try_from(there.initial_bytes)?];
    file.read_exact(&mut data)?;
    assert!(!data.is_empty(), "nothing to begin with");
    assert_eq!(precopy_info(&file)?.initial_bytes, 0);
    // The same session.
    source.go(STOP_COPY)?;
    data.extend(rest(&mut file)?);
    assert_eq!(data.len() as u64, source.device().migration_data_size()?);
    fails(precopy_info(&file), Errno::INVAL);
    Ok((data, file))
}

/// RUNNING to PRE_COPY.
fn F093_saved_from_running_on() -> TestResult {
    let source = Port::new(1)?;
    let file = source.begin(PRE_COPY)?;
    // What happens now is still migrated.
    let marks = [0x21, 0x43];
    source.mark(marks)?;
    source.go(PRE_COPY_P2P)?;
    source.go(PRE_COPY)?;
    let (data, file) = save(&source, file)?;
    resume(&data, marks)?;
    source.go(STOP)?;
    check_over(&file);
    // Given up on the way.
    source.go(RUNNING)?;
    let file = source.begin(PRE_COPY)?;
    source.go(RUNNING)?;
    check_over(&file);
    assert_eq!(source.marks()?, marks);
    Ok(())
}

/// RUNNING_P2P to PRE_COPY_P2P.
fn F093_saved_from_p2p_on() -> TestResult {
    let source = Port::new(1)?;
    let marks = [0x65, 0x87];
    source.mark(marks)?;
    source.go(RUNNING_P2P)?;
    let file = source.begin(PRE_COPY_P2P)?;
    let (data, file) = save(&source, file)?;
    resume(&data, marks)?;
    source.go(RUNNING)?;
    check_over(&file);
    assert_eq!(source.marks()?, marks);
    // Given up on the way.
    source.go(RUNNING_P2P)?;
    let file = source.begin(PRE_COPY_P2P)?;
    source.go(RUNNING_P2P)?;
    check_over(&file);
    Ok(())
}

/// STOP to RESUMING, with data that are not all, too many, or wrong.
fn F093_data_that_do_not_fit() -> TestResult {
    let source = Port::new(1)?;
    source.mark([1, 2])?;
    source.go(STOP)?;
    let data = rest(&mut source.begin(STOP_COPY)?)?;
    let target = Port::new(2)?;
    target.mark([3, 4])?;
    target.go(STOP)?;

    let mut file = target.begin(RESUMING)?;
    file.write_all(&data[..data.len() - 1])?;
    fails(target.device().set_migration_state(RUNNING), Errno::INVAL);
    // It did not come far, and the session goes on.
    assert_eq!(target.device().migration_state()?, RESUMING);
    fails(rustix::io::write(&file, &[0; 2]), Errno::NOMEM);
    file.write_all(&data[data.len() - 1..])?;
    target.go(RUNNING)?;
    assert_eq!(target.marks()?, [1, 2]);

    let file = target.begin(RESUMING)?;
    fails(rustix::io::write(&file, &[0xff; 64]), Errno::FAULT);
    target.device().reset()?;
    assert_eq!(target.device().migration_state()?, RUNNING);
    fails(rustix::io::write(&file, &[0]), Errno::NODEV);
    // The last close of the device ends a session too.
    let file = target.begin(PRE_COPY)?;
    drop(target);
    check_over(&file);
    Ok(())
}
