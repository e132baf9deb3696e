// SPDX-License-Identifier: GPL-2.0
//! Allocations that fail in the core: parts of rows F056, F071, F073 and F075,
//! and R-51.
//!
//! As in `fault_injection.rs`, but from the side of a driver.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::Context;
use rustix::{event::EventfdFlags, io::Errno};
use vfio_selftests::{container::Container, group, request::Arg, target::Target, uapi};

use crate::{
    fixture::{
        abi::{self, CapSpec},
        Fixture, Kind, Life, Op,
    },
    harness::{rows, Holds, Row, TestResult},
    rows::fault_injection::each_allocation,
};

pub(crate) const ROWS: &[Row] = rows![
    F056_alloc_out_of_memory,
    F071_open_out_of_memory,
    F073_info_cap_out_of_memory,
    F075_virqfd_out_of_memory,
    R51_register_out_of_memory.holds(Holds::OnlyRustCore),
];

fn F056_alloc_out_of_memory() -> TestResult {
    let fixture = Fixture::open()?;
    let index = fixture.device()?.index;
    let failed = each_allocation(|fault| {
        let build = fixture.build().flags(abi::NO_REGISTER);
        match fault.during(|| build.attempt())? {
            // It was one of the fixture's own, or of the driver core; the
            // latter calls a device whose name cannot be stored invalid.
            Err(_) => {}
            Ok(device) => {
                if let Err(error) = device.outcome() {
                    assert_eq!(error, Errno::NOMEM);
                    assert_eq!(device.count(Kind::Release)?, 0);
                }
                device.remove()?;
            }
        }
        Ok(())
    })?;
    assert!(failed > 2);
    assert_eq!(fixture.device()?.index, index, "an index was lost");
    Ok(())
}

fn F071_open_out_of_memory() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.device()?;
    let container = Container::open()?;
    let group = device.join(&container)?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    let name = Arg::from_bytes(&[device.name().as_bytes(), &[0]].concat());
    let failed = each_allocation(|fault| {
        match fault.during(|| name.send(&group, uapi::GROUP_GET_DEVICE_FD))? {
            // SAFETY: The request made this descriptor, and only we know of it.
            Ok(fd) => drop(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd)?) }),
            Err(error) => assert_eq!(error, Errno::NOMEM),
        }
        Ok(())
    })?;
    assert!(failed > 1);
    assert_eq!(device.status()?.open_count, 0);
    assert_eq!(device.count(Kind::Open)?, device.count(Kind::Close)?);
    group.unset_container()?;
    device.call(Op::Unregister, &[])?;
    assert_eq!(device.count(Kind::Request)?, 0, "a registration was left");
    Ok(())
}

fn F073_info_cap_out_of_memory() -> TestResult {
    let fixture = Fixture::open()?;
    let specs = [1, 2, 3].map(|id| CapSpec {
        id,
        version: 1,
        size: 2000,
    });
    let mut refused = 0;
    each_allocation(|fault| {
        let chain = fault.during(|| fixture.caps(&specs, false, 0))??;
        match chain.result {
            Ok(_) => assert_eq!(chain.added, 3),
            Err(error) => {
                assert_eq!(error, Errno::NOMEM);
                assert!(chain.empty, "{} capabilities are left", chain.added);
                refused += 1;
            }
        }
        Ok(())
    })?;
    // Not always each of the three: page faults allocate as well, some times more than others.
    assert!(refused > 0);
    Ok(())
}

fn F075_virqfd_out_of_memory() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.device()?;
    let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
    let failed = each_allocation(|fault| {
        let args = [0, fd.as_raw_fd() as u64, abi::VIRQ_HANDLER];
        match fault.during(|| device.call(Op::VirqEnable, &args))? {
            Ok(_) => device.call(Op::VirqDisable, &[0]).map(drop)?,
            Err(error) => assert_eq!(error, Errno::NOMEM),
        }
        Ok(())
    })?;
    assert!(failed > 0);
    Ok(())
}

fn R51_register_out_of_memory() -> TestResult {
    let fixture = Fixture::open()?;
    let mut refused = 0;
    each_allocation(|fault| {
        let device = fixture.build().flags(abi::NO_REGISTER).create()?;
        match fault.during(|| device.call(Op::Register, &[]))? {
            Ok(_) => {
                // A registered device has a set, and opens, unless what
                // failed was its node in /dev, which nobody waits for.
                assert_eq!(device.status()?.set_members, 1);
                let number = device.iommu_group().context("no group")?.to_string();
                if group::path(&number).exists() {
                    drop(device.open(uapi::TYPE1v2_IOMMU)?);
                }
            }
            Err(error) => {
                assert_eq!(error, Errno::NOMEM);
                assert!(device.is(Life::New)?);
                refused += 1;
            }
        }
        device.remove()
    })?;
    assert!(refused > 0);
    Ok(())
}
