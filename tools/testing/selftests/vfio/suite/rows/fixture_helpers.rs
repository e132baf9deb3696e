// SPDX-License-Identifier: GPL-2.0
//! Functions that the core exports to drivers and to KVM: rows F073, F074,
//! F078-F080, F097, R-33, R-35.

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd},
};

use rustix::io::Errno;
use vfio_selftests::{caps, device, target::Target, uapi};

use crate::{
    fixture::{
        abi::{self, CapSpec, Range},
        expect_warn, Fixture, Op,
    },
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F073_info_cap_helpers,
    F074_set_irqs_validator,
    F078_file_identification,
    F079_enforced_coherent,
    F080_file_has_dev,
    F097_combine_ranges,
    R35_combine_ranges_of_empty_tree,
];

fn F073_info_cap_helpers() -> TestResult {
    let fixture = Fixture::open()?;
    let spec = |id, size| CapSpec {
        id,
        version: id + 1,
        size,
    };
    let specs = [spec(0x21, 8), spec(0x22, 13), spec(0x23, 24)];
    let next_fields = |bytes: &[u8]| {
        let at = |n: usize| u32::from_ne_bytes(bytes[n..n + 4].try_into().expect("4 bytes"));
        [at(4), at(12), at(28)]
    };
    for copy in [false, true] {
        let chain = fixture.caps(&specs, copy, 0)?;
        assert_eq!((chain.result, chain.added, chain.empty), (Ok(0), 3, false));
        assert_eq!(chain.bytes.len(), 8 + 16 + 24, "sizes are rounded up to 8");
        assert_eq!(
            next_fields(&chain.bytes),
            [8, 24, 0],
            "counted from the first"
        );

        let moved = fixture.caps(&specs, copy, 40)?;
        assert_eq!(
            next_fields(&moved.bytes),
            [48, 64, 0],
            "the end stays the end"
        );
        // As behind a structure of 40 bytes.
        let answer = [vec![0; 40], moved.bytes].concat();
        for (cap, spec) in caps::chain(&answer, 40).iter().zip(specs) {
            assert_eq!(
                (u32::from(cap.id), u32::from(cap.version)),
                (spec.id, spec.version)
            );
            let size = spec.size as usize;
            let fill = if copy { spec.id as u8 } else { 0 };
            assert!(cap.bytes[8..size].iter().all(|&byte| byte == fill));
            assert!(
                cap.bytes[size..].iter().all(|&byte| byte == 0),
                "padding is not zero"
            );
        }
    }
    // One alone, and none.
    let chain = fixture.caps(&[spec(5, 9)], true, 16)?;
    assert_eq!(chain.bytes.len(), 16);
    assert_eq!(chain.bytes[4..8], [0; 4]);
    assert!(fixture.caps(&[], true, 0)?.empty);
    Ok(())
}

/// One request of [`F074_set_irqs_validator`], on 8 interrupts of 3 types.
#[derive(Clone, Copy)]
struct Irqs {
    argsz: u64,
    flags: u32,
    index: u32,
    start: u32,
    count: u32,
    sized: bool,
}

fn F074_set_irqs_validator() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.device()?;
    let ask = |irqs: Irqs| {
        let Irqs {
            argsz,
            flags,
            index,
            start,
            count,
            sized,
        } = irqs;
        let [flags, index, start, count] = [flags, index, start, count].map(u64::from);
        // 99 is what the place for the size holds before.
        let args = [argsz, flags, index, start, count, 8, 3, sized.into(), 99];
        let call = device
            .raw_call(Op::SetIrqs, &args)
            .expect("the request itself");
        (call.result, call.out[0])
    };
    const INVAL: i64 = -(libc::EINVAL as i64);
    let action = uapi::IRQ_SET_ACTION_TRIGGER;
    let none = uapi::IRQ_SET_DATA_NONE;
    let bytes = uapi::IRQ_SET_DATA_BOOL;
    let fds = uapi::IRQ_SET_DATA_EVENTFD;
    let good = Irqs {
        argsz: 20,
        flags: none | action,
        index: 2,
        start: 0,
        count: 8,
        sized: true,
    };

    assert_eq!(ask(good), (0, 0));
    assert_eq!(
        ask(Irqs {
            start: 7,
            count: 1,
            ..good
        }),
        (0, 0)
    );
    assert_eq!(
        ask(Irqs { count: 0, ..good }),
        (0, 0),
        "which disables an index"
    );
    assert_eq!(
        ask(Irqs {
            sized: false,
            ..good
        }),
        (0, 99),
        "no data, no size"
    );
    for (flags, unit) in [(bytes, 1), (fds, 4)] {
        let with_data = Irqs {
            argsz: 20 + 5 * unit,
            flags,
            count: 5,
            ..good
        };
        assert_eq!(ask(with_data), (0, 5 * unit));
        assert_eq!(
            ask(Irqs {
                argsz: 4000,
                ..with_data
            }),
            (0, 5 * unit)
        );
        assert_eq!(
            ask(Irqs {
                argsz: 20 + 5 * unit - 1,
                ..with_data
            }),
            (INVAL, 0)
        );
        assert_eq!(
            ask(Irqs {
                sized: false,
                ..with_data
            }),
            (INVAL, 99)
        );
        assert_eq!(
            ask(Irqs {
                count: 0,
                argsz: 20,
                ..with_data
            }),
            (0, 0)
        );
    }

    // What is refused before the size is touched.
    for bad in [
        Irqs { argsz: 19, ..good },
        Irqs { index: 3, ..good },
        Irqs {
            index: u32::MAX,
            ..good
        },
        Irqs {
            flags: good.flags | 1 << 6,
            ..good
        },
        Irqs {
            flags: good.flags | 1 << 31,
            ..good
        },
        // sums that do not fit.
        Irqs {
            start: u32::MAX,
            count: 1,
            ..good
        },
        Irqs {
            start: 1,
            count: u32::MAX,
            ..good
        },
        Irqs {
            start: u32::MAX - 1,
            count: 1,
            ..good
        },
        Irqs {
            count: u32::MAX,
            ..good
        },
    ] {
        assert_eq!(
            ask(bad),
            (INVAL, 99),
            "{:?}",
            (bad.argsz, bad.flags, bad.start, bad.count)
        );
    }
    // What is refused behind that.
    for bad in [
        Irqs {
            start: 8,
            count: 0,
            ..good
        },
        Irqs {
            start: 8,
            count: 1,
            ..good
        },
        Irqs {
            start: 7,
            count: 2,
            ..good
        },
        Irqs {
            start: 0,
            count: 9,
            ..good
        },
        Irqs {
            flags: action,
            ..good
        },
        Irqs {
            flags: none | bytes,
            ..good
        },
        Irqs {
            flags: none | bytes | fds,
            ..good
        },
    ] {
        assert_eq!(
            ask(bad),
            (INVAL, 0),
            "{:?}",
            (bad.argsz, bad.flags, bad.start, bad.count)
        );
    }
    // Actions are the driver's business: none, and all of them.
    assert_eq!(
        ask(Irqs {
            flags: none,
            ..good
        }),
        (0, 0)
    );
    assert_eq!(
        ask(Irqs {
            flags: none | uapi::IRQ_SET_ACTION_TYPE_MASK,
            ..good
        }),
        (0, 0)
    );
    Ok(())
}

/// What the core says about a file, asked for this device.
fn about(device: &crate::fixture::Device<'_>, file: impl AsFd) -> i64 {
    device
        .call(Op::File, &[file.as_fd().as_raw_fd() as u64])
        .expect("the request itself")
}

fn F078_file_identification() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.device()?;
    let kind = abi::FILE_VALID | abi::FILE_GROUP;
    {
        let session = device.open(uapi::TYPE1v2_IOMMU)?;
        assert_eq!(
            about(&device, &session.group) & kind,
            abi::FILE_VALID | abi::FILE_GROUP
        );
        assert_eq!(about(&device, &session.device) & kind, abi::FILE_VALID);
        assert_eq!(about(&device, &session.container) & kind, 0);
    }
    let group = device.open_group()?;
    assert_eq!(
        about(&device, &group) & kind,
        abi::FILE_VALID | abi::FILE_GROUP
    );
    assert_eq!(about(&device, File::open("/dev/null")?) & kind, 0);
    assert_eq!(about(&device, device::Event::new()?) & kind, 0);
    // Opened, never bound.
    if let Some(node) = device.open_node()? {
        assert_eq!(about(&device, node) & kind, abi::FILE_VALID);
    }
    // Only the sPAPR code wants to know the group.
    assert_eq!(about(&device, &group) & abi::FILE_IOMMU_GROUP, 0);
    Ok(())
}

fn F079_enforced_coherent() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.device()?;
    let session = device.open(uapi::TYPE1v2_IOMMU)?;
    let coherent = |file: &dyn AsFd| about(&device, file.as_fd()) & abi::FILE_COHERENT != 0;
    assert!(
        !coherent(&session.group),
        "a device without an IOMMU cannot enforce it"
    );
    assert!(!coherent(&session.device));
    assert!(coherent(&session.container), "no business of VFIO");
    assert!(coherent(&File::open("/dev/null")?));
    if let Some(node) = device.open_node()? {
        assert!(!coherent(&node));
    }
    // A group without devices has none that cannot.
    device.unregister_later()?;
    let group = session.group;
    drop((session.device, session.container));
    device.wait_unregistered()?;
    assert!(about(&device, &group) & abi::FILE_COHERENT != 0);
    Ok(())
}

fn F080_file_has_dev() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.device()?;
    let other = fixture.device()?;
    let session = device.open(uapi::TYPE1v2_IOMMU)?;
    let has = |device, file: &dyn AsFd| about(device, file.as_fd()) & abi::FILE_HAS_DEV != 0;
    assert!(has(&device, &session.group));
    assert!(!has(&other, &session.group));
    assert!(
        !has(&device, &session.device),
        "a device file is no group file"
    );
    assert!(!has(&device, &session.container));
    assert!(!has(&device, &File::open("/dev/null")?));
    Ok(())
}

/// Merges as the contract says, one pair after the other.
fn combine_slowly(ranges: &[Range], wanted: u32) -> Vec<Range> {
    let mut ranges = ranges.to_vec();
    ranges.sort_by_key(|range| range.first);
    while ranges.len() > (wanted as usize).max(1) {
        let gap = |n: usize| ranges[n + 1].first - ranges[n].last;
        // `min_by_key` takes the first of equals.
        let n = (0..ranges.len() - 1)
            .min_by_key(|&n| gap(n))
            .expect("a pair");
        ranges[n].last = ranges[n + 1].last;
        ranges.remove(n + 1);
    }
    ranges
}

fn F097_combine_ranges() -> TestResult {
    let fixture = Fixture::open()?;
    let range = |first, last| Range { first, last };
    // Of equal gaps the leftmost goes.
    let ranges = [range(0, 9), range(20, 29), range(40, 49), range(60, 69)];
    assert_eq!(
        fixture.combine(&ranges, 3)?,
        [range(0, 29), range(40, 49), range(60, 69)]
    );
    assert_eq!(fixture.combine(&ranges, 2)?, [range(0, 49), range(60, 69)]);
    assert_eq!(fixture.combine(&ranges, 1)?, [range(0, 69)]);
    // Nothing to do.
    assert_eq!(fixture.combine(&ranges, 4)?, ranges);
    assert_eq!(fixture.combine(&ranges, 9)?, ranges);
    let ends = [range(0, 0), range(u64::MAX - 1, u64::MAX)];
    assert_eq!(fixture.combine(&ends, 2)?, ends);
    assert_eq!(fixture.combine(&ends, 1)?, [range(0, u64::MAX)]);

    // Random ones against a naive model.
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for round in 0..300 {
        let mut ranges = Vec::new();
        let mut at = random(50);
        for _ in 0..=random(40) {
            let last = at + random(30);
            ranges.push(range(at, last));
            // Small gaps, so that many are equal.
            at = last + 1 + random(6);
        }
        let wanted = 1 + random(ranges.len() as u64 + 2) as u32;
        let expected = combine_slowly(&ranges, wanted);
        assert_eq!(
            fixture.combine(&ranges, wanted)?,
            expected,
            "round {round} to {wanted}"
        );
    }
    Ok(())
}

fn R35_combine_ranges_of_empty_tree() -> TestResult {
    let fixture = Fixture::open()?;
    // The warning comes once after boot, so there is nothing to check but
    // that the machine survives.
    assert_eq!(expect_warn(|| fixture.combine(&[], 1))?, []);
    assert_eq!(expect_warn(|| fixture.combine(&[], 5))?, []);
    let one = [Range { first: 1, last: 2 }];
    assert_eq!(expect_warn(|| fixture.combine(&one, 0))?, one);
    let result = fixture.combine(&[Range { first: 2, last: 1 }], 1);
    assert_eq!(
        result.unwrap_err().downcast_ref(),
        Some(&Errno::INVAL),
        "the fixture's own check"
    );
    Ok(())
}
