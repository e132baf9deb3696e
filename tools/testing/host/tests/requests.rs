// SPDX-License-Identifier: GPL-2.0

//! Checks on requests of user space, against the rules written down step by step, with numbers that
//! cannot overflow.

use proptest::prelude::*;
use vfio_logic_tests::logic::{
    features::{
        Operation,
        Request, //
        SupportedOps,
    },
    irqs::IrqHeader,
    logging::{
        check_report,
        Error,
        StartCheck, //
    }, //
};

/// Mostly small numbers, sometimes ones near the end.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0_u32..40, 1 => (0_u32..4).prop_map(|n| u32::MAX - n), 1 => any::<u32>()]
}

fn address() -> impl Strategy<Value = u64> {
    let page = prop_oneof![0_u64..20, (0_u64..20).prop_map(|n| (1 << 52) - 1 - n)];
    prop_oneof![8 => page.prop_map(|page| page << 12), 1 => any::<u64>()]
}

fn irqs_model(h: &IrqHeader, kinds: u32, vectors: u32) -> Option<u64> {
    let (start, count) = (u64::from(h.start), u64::from(h.count));
    let size = match h.flags & 7 {
        1 => 0,
        2 => 1,
        4 => 4,
        _ => return None,
    };
    let fine = h.argsz >= 20
        && h.index < kinds
        && start + count < u64::from(u32::MAX)
        && h.flags < 64
        && start < u64::from(vectors)
        && start + count <= u64::from(vectors)
        && count * size <= u64::from(h.argsz) - 20;
    fine.then_some(count * size)
}

proptest! {
    #[test]
    fn interrupts(
        argsz in number(),
        flags in prop_oneof![9 => 0_u32..64, 1 => any::<u32>()],
        index in 0_u32..6,
        start in number(),
        count in number(),
        vectors in number(),
    ) {
        let header = IrqHeader { argsz, flags, index, start, count };
        let len = header.check(5).and_then(|header| header.data_len(vectors));
        // Without data there are none.
        let len = len.ok().map(|len| len.unwrap_or(0));
        prop_assert_eq!(len, irqs_model(&header, 5, vectors));
    }

    #[test]
    fn features(flags in (0_u32..16, any::<u16>()), len in 0_usize..16, needed in 0_usize..16) {
        let (bits, index) = flags;
        let word = bits << 16 | u32::from(index);
        let (get, set, probe) = (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
        for (access, may_get, may_set) in [
            (SupportedOps::Get, true, false),
            (SupportedOps::Set, false, true),
            (SupportedOps::GetOrSet, true, true),
        ] {
            let nonsense = bits & 8 != 0 || (get && set && !probe);
            let forbidden = (get && !may_get) || (set && !may_set);
            let incomplete = !(get || set) || len < needed;
            let expected = if nonsense || forbidden || (incomplete && !probe) {
                None
            } else if probe {
                Some(Operation::Nothing)
            } else if get {
                Some(Operation::Get)
            } else {
                Some(Operation::Set)
            };
            let request = Request::parse(word);
            if let Ok(request) = request {
                prop_assert_eq!(request.index(), u32::from(index));
                prop_assert_eq!(request.flags(), word);
            }
            let operation = request.and_then(|request| request.check(access, len, needed));
            prop_assert_eq!(operation.ok(), expected);
        }
    }

    #[test]
    fn logged_ranges(iova in address(), length in address(), shift in 0_u32..14) {
        let mut check = StartCheck::new(1, 256, 1 << shift).unwrap();
        let end = u128::from(iova) + u128::from(length);
        let pages = 1_u64 << shift;
        let expected = if iova % pages != 0 || length % pages != 0 {
            Err(Error::Invalid)
        } else if end > u128::from(u64::MAX) {
            Err(Error::Overflow)
        } else {
            Ok((iova as usize, (end as usize).wrapping_sub(1), length as usize))
        };
        let range = check.range(iova, length);
        prop_assert_eq!(range.map(|r| (r.first, r.last(), r.length)), expected);
        let refused = expected.is_ok() && length == 0;
        prop_assert_eq!(check.finish().is_err(), refused);
    }

    #[test]
    fn reports(iova in address(), length in address(), page_size in number()) {
        let end = u128::from(iova) + u128::from(length);
        let expected = if page_size < 4096 || !page_size.is_power_of_two() {
            Err(Error::Invalid)
        } else if end > u128::from(u64::MAX) {
            Err(Error::Overflow)
        } else {
            Ok((iova as usize, length as usize))
        };
        let range = check_report(iova, length, u64::from(page_size));
        prop_assert_eq!(range.map(|range| (range.first, range.length)), expected);
    }
}
