// SPDX-License-Identifier: GPL-2.0
//! Requests that the PCI driver answers with help from the core: rows F082,
//! F083, F084, R-32 and R-33 on a real device, and interrupts.

use rustix::io::Errno;
use vfio_selftests::{
    device::Event,
    edu::{Edu, IRQ_OF_DMA},
    memory::Memory,
    request::{self, Arg},
    uapi::{self, DeviceFeature, IrqSet},
    PAGE,
};

use super::map::IOVA;
use crate::{
    bench,
    check::{fails, fails_in},
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F082_feature_envelope_of_a_real_device,
    F083_feature_rules_of_a_real_device,
    F084_real_device_without_migration,
    R32_unknown_feature_of_a_real_device,
    R33_interrupt_ranges,
    F074_interrupts_arrive,
];

const GET: u32 = uapi::DEVICE_FEATURE_GET;
const SET: u32 = uapi::DEVICE_FEATURE_SET;
const PROBE: u32 = uapi::DEVICE_FEATURE_PROBE;
/// A feature that the PCI driver has for each device. SET, no data.
const ENTRY: u32 = uapi::DEVICE_FEATURE_LOW_POWER_ENTRY;
const EXIT: u32 = uapi::DEVICE_FEATURE_LOW_POWER_EXIT;

fn F082_feature_envelope_of_a_real_device() -> TestResult {
    let open = bench::open()?;
    let device = &open.session.device;
    let send = |argsz, flags| {
        Arg::new(&DeviceFeature {
            argsz,
            flags,
            data: [],
        })
        .send(device, uapi::DEVICE_FEATURE)
    };
    fails(
        request::with_bad_address(device, uapi::DEVICE_FEATURE),
        Errno::FAULT,
    );
    fails(
        Arg::new(&8_u32).send(device, uapi::DEVICE_FEATURE),
        Errno::FAULT,
    );
    fails(send(7, PROBE | ENTRY), Errno::INVAL);
    fails(send(0, 1 << 19), Errno::INVAL);
    for bit in 19..32 {
        fails_in(
            &format!("bit {bit}"),
            send(8, 1 << bit | PROBE | ENTRY),
            Errno::INVAL,
        );
    }
    // Both ways at once only to ask, and then the answer is the feature's.
    fails(send(8, GET | SET | ENTRY), Errno::INVAL);
    fails(send(8, GET | SET | 0xffff), Errno::INVAL);
    fails(send(8, GET | SET | PROBE | ENTRY), Errno::INVAL);
    fails(send(8, GET | SET | PROBE | 0xffff), Errno::NOTTY);
    assert_eq!(send(8, SET | PROBE | ENTRY)?, 0);
    assert_eq!(send(8, PROBE | ENTRY)?, 0);
    assert_eq!(send(4000, PROBE | ENTRY)?, 0);
    Ok(())
}

fn F083_feature_rules_of_a_real_device() -> TestResult {
    let open = bench::open()?;
    let device = &open.session.device;
    let wakeup = uapi::DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP;
    // A way that it does not have, also as a question.
    fails(device.feature(GET | EXIT, &mut []), Errno::INVAL);
    fails(device.feature(GET | PROBE | EXIT, &mut []), Errno::INVAL);
    // No way at all.
    fails(device.feature(EXIT, &mut []), Errno::INVAL);
    // Too little data; a question needs none.
    fails(device.feature(SET | wakeup, &mut [0; 7]), Errno::INVAL);
    assert_eq!(device.feature(SET | PROBE | wakeup, &mut [])?, 0);
    assert_eq!(device.feature(SET | EXIT, &mut [])?, 0);
    Ok(())
}

fn F084_real_device_without_migration() -> TestResult {
    let open = bench::open()?;
    let device = &open.session.device;
    for feature in [
        uapi::DEVICE_FEATURE_MIGRATION,
        uapi::DEVICE_FEATURE_MIG_DEVICE_STATE,
        uapi::DEVICE_FEATURE_MIG_DATA_SIZE,
        uapi::DEVICE_FEATURE_DMA_LOGGING_START,
        uapi::DEVICE_FEATURE_DMA_LOGGING_STOP,
        uapi::DEVICE_FEATURE_DMA_LOGGING_REPORT,
    ] {
        // It does not matter how one asks.
        for flags in [0, GET, SET, PROBE, PROBE | GET] {
            let result = device.feature(flags | feature, &mut [0; 32]);
            fails_in(
                &format!("feature {feature}, flags {flags:#x}"),
                result,
                Errno::NOTTY,
            );
        }
    }
    Ok(())
}

fn R32_unknown_feature_of_a_real_device() -> TestResult {
    let open = bench::open()?;
    for feature in [14, 100, 0xffff] {
        for flags in [0, GET, SET, PROBE] {
            let result = open.session.device.feature(flags | feature, &mut [0; 8]);
            fails_in(&format!("feature {feature}"), result, Errno::NOTTY);
        }
    }
    Ok(())
}

fn R33_interrupt_ranges() -> TestResult {
    let open = bench::open()?;
    let device = &open.session.device;
    let index = uapi::PCI_MSI_IRQ_INDEX;
    assert_eq!(device.irq_info(index)?.count, 1);
    let max = u32::MAX;
    for data in [
        uapi::IRQ_SET_DATA_NONE,
        uapi::IRQ_SET_DATA_BOOL,
        uapi::IRQ_SET_DATA_EVENTFD,
    ] {
        let flags = data | uapi::IRQ_SET_ACTION_TRIGGER;
        for (start, count) in [
            (0, max),
            (1, max),
            (max, 1),
            (max, max),
            (max, 0),
            (max - 1, 1),
            (1 << 31, 1 << 31),
            (1, 0),
            (1, 1),
            (0, 2),
        ] {
            let set = IrqSet {
                flags,
                index,
                start,
                count,
                ..Default::default()
            };
            fails_in(
                &format!("{count} from {start}"),
                device.set_irqs(set, &[0; 64]),
                Errno::INVAL,
            );
        }
    }
    Ok(())
}

fn F074_interrupts_arrive() -> TestResult {
    let open = bench::open()?;
    let device = &open.session.device;
    let edu = Edu::new(device)?;
    let event = Event::new()?;
    let index = uapi::PCI_MSI_IRQ_INDEX;
    device.set_irq_eventfds(index, &[&event])?;
    edu.raise_irq(0x10)?;
    assert_eq!(event.wait(20)?, 1);
    assert_eq!(edu.irq_status()?, 0x10);
    edu.acknowledge_irq(0x10)?;
    assert_eq!(edu.irq_status()?, 0);
    // As if the device had asked.
    let flags = uapi::IRQ_SET_DATA_NONE | uapi::IRQ_SET_ACTION_TRIGGER;
    device.set_irqs(
        IrqSet {
            flags,
            index,
            count: 1,
            ..Default::default()
        },
        &[],
    )?;
    assert_eq!(event.wait(20)?, 1);
    // At the end of a copy.
    let memory = Memory::anonymous(PAGE)?;
    open.session.container.map(&memory, IOVA)?;
    edu.write_memory_and_interrupt(IOVA, 16)?;
    assert_eq!(event.wait(20)?, 1);
    assert_eq!(edu.irq_status()?, IRQ_OF_DMA);
    edu.acknowledge_irq(IRQ_OF_DMA)?;
    // Disabled, none comes: one through another eventfd shows that there was
    // time enough.
    device.disable_irqs(index)?;
    edu.raise_irq(1)?;
    edu.acknowledge_irq(1)?;
    let second = Event::new()?;
    device.set_irq_eventfds(index, &[&second])?;
    edu.raise_irq(2)?;
    assert_eq!(second.wait(20)?, 1);
    assert_eq!(event.wait(0)?, 0);
    Ok(())
}
