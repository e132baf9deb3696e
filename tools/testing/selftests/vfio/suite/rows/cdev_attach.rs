// SPDX-License-Identifier: GPL-2.0
//! Attaching devices to the address spaces of an iommufd: rows F048-F053,
//! F139, R-40.

use rustix::io::Errno;
use vfio_selftests::{
    device::Device,
    edu::Edu,
    iommufd::Iommufd,
    memory::Memory,
    request::{self, Arg},
    target::Target,
    uapi::{self, DeviceAttachIommufdPt},
    PAGE,
};

use crate::{
    bench,
    check::{fails, fails_in},
    fixture::{self, abi, Fixture, Kind, Op},
    harness::{rows, Holds, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F048_attach_sizes_and_flags,
    F048_detach_sizes_and_flags,
    F048_pasids_need_a_driver,
    F049_attach_replaces,
    F049_attach_replaces_for_emulated_devices,
    F050_attach_to_what_is_none,
    F051_attach_cannot_answer,
    R40_attach_of_a_pasid_cannot_answer.holds(Holds::OnlyRustCore),
    F052_detach_again,
    F053_attach_a_file_of_a_group,
    F139_pasids_reach_the_driver,
    F139_pasids_of_a_real_device,
];

/// Where tests map memory.
const IOVA: u64 = 0x10_0000;

const ATTACH: u32 = uapi::DEVICE_ATTACH_IOMMUFD_PT;
const DETACH: u32 = uapi::DEVICE_DETACH_IOMMUFD_PT;

/// Some numbers as the argument of a request.
fn numbers(numbers: &[u32]) -> Arg {
    let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_ne_bytes()).collect();
    Arg::from_bytes(&bytes)
}

/// An address space where a page that begins with `value` is at [`IOVA`].
fn space_with(iommufd: &Iommufd, value: u32) -> anyhow::Result<(u32, Memory)> {
    let ioas = iommufd.ioas()?;
    let memory = Memory::anonymous(PAGE)?;
    memory.write_u32(0, value);
    iommufd.map(ioas, &memory, IOVA)?;
    Ok((ioas, memory))
}

/// What the device of the fixture finds at [`IOVA`].
fn peek(target: &fixture::Device<'_>) -> rustix::io::Result<u32> {
    let call = target.raw_call(Op::Copy, &[IOVA, 4, 0, 0])?;
    fixture::answer(call.result)?;
    Ok(call.out[0] as u32)
}

fn F048_attach_sizes_and_flags() -> TestResult {
    let iommufd = bench::iommufd()?;
    let fixture = Fixture::open()?;
    let target = fixture.build().flags(abi::PASID).create()?;
    let (device, _) = target.bind_to(&iommufd)?;
    let ioas = iommufd.ioas()?;
    let pasid = uapi::DEVICE_ATTACH_PASID;

    fails(request::with_bad_address(&device, ATTACH), Errno::FAULT);
    fails(numbers(&[12, 0]).send(&device, ATTACH), Errno::FAULT);
    for argsz in [0, 11] {
        fails_in(
            &format!("size {argsz}"),
            numbers(&[argsz, 0, ioas]).send(&device, ATTACH),
            Errno::INVAL,
        );
    }
    for bit in 1..32 {
        for with in [0, pasid] {
            let flags = 1 << bit | with;
            fails_in(
                &format!("flags {flags:#x}"),
                numbers(&[16, flags, ioas, 1]).send(&device, ATTACH),
                Errno::INVAL,
            );
        }
    }
    for argsz in [12, 15] {
        fails_in(
            &format!("size {argsz} with a PASID"),
            numbers(&[argsz, pasid, ioas, 1]).send(&device, ATTACH),
            Errno::INVAL,
        );
    }
    fails(
        numbers(&[16, pasid, ioas]).send(&device, ATTACH),
        Errno::FAULT,
    );
    assert_eq!(target.count(Kind::Attach)?, 0);
    assert_eq!(target.count(Kind::AttachPasid)?, 0);

    for argsz in [12, 13, 16, 100] {
        numbers(&[argsz, 0, ioas]).send(&device, ATTACH)?;
        numbers(&[argsz.max(16), pasid, ioas, 5]).send(&device, ATTACH)?;
    }
    assert_eq!(target.count(Kind::Attach)?, 4);
    assert_eq!(target.count(Kind::AttachPasid)?, 4);
    Ok(())
}

fn F048_detach_sizes_and_flags() -> TestResult {
    let iommufd = bench::iommufd()?;
    let fixture = Fixture::open()?;
    let target = fixture.build().flags(abi::PASID).create()?;
    let (device, _) = target.bind_to(&iommufd)?;
    let pasid = uapi::DEVICE_DETACH_PASID;

    fails(request::with_bad_address(&device, DETACH), Errno::FAULT);
    fails(numbers(&[8]).send(&device, DETACH), Errno::FAULT);
    for argsz in [0, 7] {
        fails_in(
            &format!("size {argsz}"),
            numbers(&[argsz, 0]).send(&device, DETACH),
            Errno::INVAL,
        );
    }
    for bit in 1..32 {
        for with in [0, pasid] {
            let flags = 1 << bit | with;
            fails_in(
                &format!("flags {flags:#x}"),
                numbers(&[12, flags, 1]).send(&device, DETACH),
                Errno::INVAL,
            );
        }
    }
    for argsz in [8, 11] {
        fails_in(
            &format!("size {argsz} with a PASID"),
            numbers(&[argsz, pasid, 1]).send(&device, DETACH),
            Errno::INVAL,
        );
    }
    fails(numbers(&[12, pasid]).send(&device, DETACH), Errno::FAULT);
    assert_eq!(target.count(Kind::Detach)?, 0);
    assert_eq!(target.count(Kind::DetachPasid)?, 0);

    for argsz in [8, 9, 12, 100] {
        numbers(&[argsz, 0]).send(&device, DETACH)?;
        numbers(&[argsz.max(12), pasid, 5]).send(&device, DETACH)?;
    }
    assert_eq!(target.count(Kind::Detach)?, 4);
    assert_eq!(target.count(Kind::DetachPasid)?, 4);
    Ok(())
}

fn F048_pasids_need_a_driver() -> TestResult {
    let iommufd = bench::iommufd()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let (device, _) = target.bind_to(&iommufd)?;
    let ioas = iommufd.ioas()?;
    fails(device.attach_pasid(1, ioas), Errno::OPNOTSUPP);
    fails(device.detach_pasid(1), Errno::OPNOTSUPP);
    // Before the size with a PASID is looked at.
    fails(
        numbers(&[12, uapi::DEVICE_ATTACH_PASID, ioas]).send(&device, ATTACH),
        Errno::OPNOTSUPP,
    );
    fails(
        numbers(&[8, uapi::DEVICE_DETACH_PASID]).send(&device, DETACH),
        Errno::OPNOTSUPP,
    );
    Ok(())
}

/// What the device finds at [`IOVA`]: it reads that, and writes it elsewhere.
fn read_by_dma(device: &Device, memory: &Memory) -> anyhow::Result<u32> {
    let edu = Edu::new(device)?;
    edu.read_memory(IOVA, 4)?;
    edu.write_memory(IOVA + 8, 4)?;
    Ok(memory.read_u32(8))
}

fn F049_attach_replaces() -> TestResult {
    let iommufd = bench::iommufd()?;
    let edu = bench::bound_edu()?;
    let (device, id) = edu.bind_to(&iommufd)?;
    let (first, first_memory) = space_with(&iommufd, 0x1111)?;
    let (second, second_memory) = space_with(&iommufd, 0x2222)?;

    let table = device.attach(first)?;
    assert_ne!(table, first, "not told which page table is used");
    assert_eq!(read_by_dma(&device, &first_memory)?, 0x1111);
    // What is in use cannot be destroyed.
    fails(iommufd.destroy(first), Errno::BUSY);
    assert_ne!(device.attach(second)?, table);
    assert_eq!(read_by_dma(&device, &second_memory)?, 0x2222);
    // Failure keeps what there is.
    fails(device.attach(0xdead), Errno::NOENT);
    fails(device.attach(id), Errno::INVAL);
    second_memory.write_u32(0, 0x3333);
    assert_eq!(read_by_dma(&device, &second_memory)?, 0x3333);
    // The same once more, and a page table of the user's.
    device.attach(second)?;
    let own = iommufd.page_table(id, first)?;
    assert_eq!(device.attach(own)?, own);
    first_memory.write_u32(0, 0x4444);
    assert_eq!(read_by_dma(&device, &first_memory)?, 0x4444);
    iommufd.destroy(second)?;
    device.detach()?;
    iommufd.destroy(own)?;
    iommufd.destroy(first)?;
    Ok(())
}

fn F049_attach_replaces_for_emulated_devices() -> TestResult {
    let iommufd = bench::iommufd()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let (device, _) = target.bind_to(&iommufd)?;
    let (first, _memory) = space_with(&iommufd, 0x1111)?;
    let (second, _other) = space_with(&iommufd, 0x2222)?;

    assert!(peek(&target).is_err());
    assert_eq!(device.attach(first)?, first);
    assert_eq!(peek(&target)?, 0x1111);
    assert_eq!(device.attach(second)?, second);
    assert_eq!(peek(&target)?, 0x2222);
    fails(device.attach(0xdead), Errno::NOENT);
    assert_eq!(peek(&target)?, 0x2222);
    device.detach()?;
    assert!(peek(&target).is_err());
    iommufd.destroy(first)?;
    iommufd.destroy(second)?;
    Ok(())
}

fn F050_attach_to_what_is_none() -> TestResult {
    let iommufd = bench::iommufd()?;
    let edu = bench::bound_edu()?;
    let (device, id) = edu.bind_to(&iommufd)?;
    let mtty = bench::mtty(1)?;
    let (emulated, _) = mtty.bind_to(&iommufd)?;
    for device in [&device, &emulated] {
        fails(device.attach(0), Errno::NOENT);
        fails(device.attach(0xdead), Errno::NOENT);
        fails(device.attach(u32::MAX), Errno::NOENT);
    }
    fails(device.attach(id), Errno::INVAL);
    // An emulated device has an address space and no page table.
    let ioas = iommufd.ioas()?;
    let table = device.attach(ioas)?;
    fails(emulated.attach(table), Errno::NOENT);
    fails(emulated.attach(id), Errno::NOENT);
    // Numbers of another iommufd are none.
    let other = Iommufd::open()?;
    let stranger = other.ioas()?;
    let (mine, _) = (iommufd.ioas()?, other.ioas()?);
    assert!(mine != stranger || device.attach(stranger).is_ok());
    emulated.attach(ioas)?;
    Ok(())
}

fn F051_attach_cannot_answer() -> TestResult {
    let iommufd = bench::iommufd()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let (device, _) = target.bind_to(&iommufd)?;
    let (ioas, _memory) = space_with(&iommufd, 0x1111)?;
    let arg = numbers(&[12, 0, ioas]);
    arg.make_read_only();
    fails(arg.send(&device, ATTACH), Errno::FAULT);
    assert_eq!(target.count(Kind::Attach)?, 1);
    assert_eq!(target.count(Kind::Detach)?, 1);
    assert!(peek(&target).is_err());
    device.attach(ioas)?;
    assert_eq!(peek(&target)?, 0x1111);

    let edu = bench::bound_edu()?;
    let (device, _) = edu.bind_to(&iommufd)?;
    let other = iommufd.ioas()?;
    let arg = numbers(&[12, 0, other]);
    arg.make_read_only();
    fails(arg.send(&device, ATTACH), Errno::FAULT);
    iommufd.destroy(other)?;
    Ok(())
}

fn R40_attach_of_a_pasid_cannot_answer() -> TestResult {
    let iommufd = bench::iommufd()?;
    let fixture = Fixture::open()?;
    let target = fixture.build().flags(abi::PASID).create()?;
    let (device, _) = target.bind_to(&iommufd)?;
    let (ioas, _memory) = space_with(&iommufd, 0x1111)?;
    device.attach(ioas)?;
    let arg = Arg::new(&DeviceAttachIommufdPt {
        argsz: 16,
        flags: uapi::DEVICE_ATTACH_PASID,
        pt_id: ioas,
        pasid: 7,
    });
    arg.make_read_only();
    fails(arg.send(&device, ATTACH), Errno::FAULT);
    assert_eq!(target.count(Kind::AttachPasid)?, 1);
    let [detached] = target.events_of(Kind::DetachPasid)?[..] else {
        panic!("the PASID was not detached once");
    };
    assert_eq!(detached.a, 7);
    // The device itself is attached as before.
    assert_eq!(target.count(Kind::Detach)?, 0);
    assert_eq!(peek(&target)?, 0x1111);
    Ok(())
}

fn F052_detach_again() -> TestResult {
    let iommufd = bench::iommufd()?;
    let edu = bench::bound_edu()?;
    let mtty = bench::mtty(1)?;
    let ioas = iommufd.ioas()?;
    for target in [&edu as &dyn TargetBind, &mtty] {
        let device = target.bound(&iommufd)?;
        device.detach()?;
        device.attach(ioas)?;
        device.detach()?;
        device.detach()?;
        device.attach(ioas)?;
        // Closing detaches.
        drop(device);
        target.bound(&iommufd)?.detach()?;
    }
    let (device, _) = edu.bind_to(&iommufd)?;
    device.detach_pasid(3)?;
    iommufd.destroy(ioas)?;
    Ok(())
}

/// What [`F052_detach_again`] does with each of its devices.
trait TargetBind {
    fn bound(&self, iommufd: &Iommufd) -> anyhow::Result<Device>;
}

impl<T: Target> TargetBind for T {
    fn bound(&self, iommufd: &Iommufd) -> anyhow::Result<Device> {
        Ok(self.bind_to(iommufd)?.0)
    }
}

fn F053_attach_a_file_of_a_group() -> TestResult {
    let open = bench::open()?;
    let device = &open.session.device;
    // The driver's answer, without a look at the argument.
    fails(request::with_bad_address(device, ATTACH), Errno::NOTTY);
    fails(request::with_bad_address(device, DETACH), Errno::NOTTY);
    fails(device.attach(1), Errno::NOTTY);
    fails(device.detach(), Errno::NOTTY);
    Ok(())
}

fn F139_pasids_reach_the_driver() -> TestResult {
    let iommufd = bench::iommufd()?;
    let fixture = Fixture::open()?;
    let target = fixture.build().flags(abi::PASID).create()?;
    let (device, _) = target.bind_to(&iommufd)?;
    for (pasid, id) in [(1, 10), (1, 11), (0xf_ffff, 12), (0, 13)] {
        assert_eq!(device.attach_pasid(pasid, id)?, id);
    }
    device.detach_pasid(1)?;
    device.detach_pasid(99)?;
    let events = target.events()?;
    let pasids: Vec<_> = events
        .iter()
        .filter(|e| [Kind::AttachPasid as u32, Kind::DetachPasid as u32].contains(&e.kind))
        .map(|e| (e.kind == Kind::AttachPasid as u32, e.a, e.b))
        .collect();
    assert_eq!(
        pasids,
        [
            (true, 1, 10),
            (true, 1, 11),
            (true, 0xf_ffff, 12),
            (true, 0, 13),
            (false, 1, 0),
            (false, 99, 0),
        ]
    );
    // Without a PASID nothing was attached.
    assert_eq!(target.count(Kind::Attach)?, 0);
    Ok(())
}

fn F139_pasids_of_a_real_device() -> TestResult {
    let iommufd = bench::iommufd()?;
    let edu = bench::bound_edu()?;
    let (device, _) = edu.bind_to(&iommufd)?;
    let (ioas, memory) = space_with(&iommufd, 0x1111)?;
    device.attach(ioas)?;
    fails(device.attach_pasid(1, 0xdead), Errno::NOENT);
    // No number of 20 bits is like this one.
    assert!(device.attach_pasid(u32::MAX, ioas).is_err());
    // This device has no PASIDs, so there is nothing that could be attached,
    // and nothing stays behind.
    if device.attach_pasid(1, ioas).is_ok() {
        device.attach_pasid(1, iommufd.ioas()?)?;
        device.detach_pasid(1)?;
    }
    device.detach_pasid(1)?;
    assert_eq!(read_by_dma(&device, &memory)?, 0x1111);
    drop(device);
    iommufd.destroy(ioas)?;
    Ok(())
}
