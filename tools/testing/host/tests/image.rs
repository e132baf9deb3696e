// SPDX-License-Identifier: GPL-2.0

//! Images of devices, as the crate `vfio` reads them.

use proptest::prelude::*;
use vfio_logic_tests::driver_logic::image::{
    Head,
    Layout,
    Reader,
    Refused,
    HEAD,
    NUMBER, //
};

const PAGE: usize = 64;

fn layouts() -> impl Strategy<Value = Layout> {
    (0_u64..3, 0_usize..5, 0_usize..5).prop_map(|(format, pages, numbers)| Layout {
        format,
        memory: pages * PAGE,
        page_size: PAGE,
        numbers,
    })
}

fn heads() -> impl Strategy<Value = Head> {
    let value = || prop_oneof![0_u64..6, any::<u64>()];
    prop_oneof![
        value().prop_map(Head::Begin),
        value().prop_map(Head::Page),
        value().prop_map(Head::End),
    ]
}

/// Whether an image may go on with `head` after `before`, and where the body goes.
fn expected(
    layout: Layout,
    before: &[Head],
    head: Head,
) -> Result<std::ops::Range<usize>, Refused> {
    let has_begun = !before.is_empty();
    let has_ended = matches!(before.last(), Some(Head::End(_)));
    let pages = (layout.memory / PAGE) as u64;
    match head {
        Head::Begin(format) if !has_begun && format == layout.format => Ok(0..0),
        Head::Begin(format) if !has_begun => Err(Refused::Format(format)),
        Head::Page(number) if has_begun && !has_ended && number < pages => {
            let first = number as usize * PAGE;
            Ok(first..first + PAGE)
        }
        Head::End(numbers) if has_begun && !has_ended && numbers == layout.numbers as u64 => {
            Ok(layout.memory..layout.memory + layout.numbers * NUMBER)
        }
        _ => Err(Refused::Invalid),
    }
}

proptest! {
    #[test]
    fn heads_come_back(head in heads()) {
        prop_assert_eq!(Head::from_bytes(head.to_bytes()), Some(head));
    }

    /// Whatever comes, in whatever order: what fits is taken, and what does not changes nothing.
    #[test]
    fn records_in_any_order(
        layout in layouts(),
        heads in prop::collection::vec(heads(), 0..30),
    ) {
        let mut reader = Reader::new(layout);
        let mut taken = Vec::new();
        for head in heads {
            let wanted = expected(layout, &taken, head);
            prop_assert_eq!(reader.next(head.to_bytes()), wanted.clone());
            if let Ok(body) = wanted {
                prop_assert!(body.end <= layout.content_size());
                taken.push(head);
            }
        }
        prop_assert_eq!(reader.has_ended(), matches!(taken.last(), Some(Head::End(_))));
    }

    #[test]
    fn what_is_no_head_is_refused(bytes: [u8; HEAD]) {
        // That random bytes are a head does not happen.
        let mut reader = Reader::new(Layout { format: 1, memory: 0, page_size: PAGE, numbers: 1 });
        prop_assert_eq!(reader.next(bytes), Err(Refused::Invalid));
    }

    #[test]
    fn an_image_with_each_page_once(layout in layouts()) {
        let mut reader = Reader::new(layout);
        let mut size = 0;
        let mut add = |head: Head| size += HEAD + reader.next(head.to_bytes()).unwrap().len();
        add(Head::Begin(layout.format));
        for page in 0..layout.memory / PAGE {
            add(Head::Page(page as u64));
        }
        add(Head::End(layout.numbers as u64));
        prop_assert!(reader.has_ended());
        prop_assert_eq!(size, layout.image_size());
    }
}

/// So that devices are not restored from what another kernel has saved in the same format.
#[test]
fn the_bytes_stay_the_same() {
    let begin: [u8; HEAD] = *b"\x01\0\0NIGEB\x02\0\0\0\0\0\0\0";
    assert_eq!(Head::Begin(2).to_bytes(), begin);
    assert_eq!(
        Head::Page(1).to_bytes(),
        *b"\x02\0\0\0EGAP\x01\0\0\0\0\0\0\0"
    );
    assert_eq!(
        Head::End(3).to_bytes(),
        *b"\x03\0\0\0\0DNE\x03\0\0\0\0\0\0\0"
    );
}

#[test]
fn a_page_number_that_is_too_large() {
    let mut reader = Reader::new(Layout {
        format: 1,
        memory: 16 * PAGE,
        page_size: PAGE,
        numbers: 0,
    });
    assert_eq!(reader.next(Head::Begin(1).to_bytes()), Ok(0..0));
    for number in [16, u64::MAX / PAGE as u64 + 1, u64::MAX] {
        assert_eq!(
            reader.next(Head::Page(number).to_bytes()),
            Err(Refused::Invalid)
        );
    }
    assert_eq!(
        reader.next(Head::Page(15).to_bytes()),
        Ok(15 * PAGE..16 * PAGE)
    );
}
