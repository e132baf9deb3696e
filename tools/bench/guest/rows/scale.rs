// SPDX-License-Identifier: GPL-2.0
//! A great many mappings: what each takes must hardly grow.

use anyhow::Result;
use vfio_selftests::{
    container::Container,
    memory::Memory,
    module::{self, Parameter},
    PAGE,
};

use super::{
    many::{iova, map_page},
    Size,
};
use crate::{
    clock::timed,
    log::{row, Log, Rounds},
    stage::{shuffled, Open, Stage},
};

/// Few mappings.
const FEW: usize = 1024;
/// How often they come and go in a round.
const TIMES: usize = 16;
/// More mappings than by default.
const LIMIT: &str = "5000000";
/// What one of many may take, by what one of few takes.
const GROWTH: f64 = 2.0;

/// Maps `count` pages in one random order and unmaps them in another.
fn fill_and_clear(container: &Container, memory: &Memory, count: usize) -> Result<[u64; 2]> {
    let map = timed(|| shuffled(count).try_for_each(|n| map_page(container, memory, n)))?;
    let unmap = timed(|| {
        shuffled(count).try_for_each(|n| {
            // Backwards, which is another order.
            container.unmap(iova(count - 1 - n), PAGE as u64).map(drop)
        })
    })?;
    Ok([map, unmap])
}

pub(super) fn run(log: &Log, stage: &Stage, size: Size) -> Result<()> {
    let (many, name) = match size {
        Size::Normal => (1 << 20, "1 Mi"),
        Size::Long => (1 << 22, "4 Mi"),
    };
    let _limit = Parameter::set(module::TYPE1, "dma_entry_limit", LIMIT)?;
    let open = Open::edu()?;
    let memory = &stage.scattered;
    let mut few_took = None;
    let mut many_took = None;
    log.measure(
        [
            row("map one of 1 Ki single pages", "mapping").of(FEW * TIMES),
            row("unmap one of 1 Ki single pages", "mapping").of(FEW * TIMES),
        ],
        || {
            let mut sums = [0; 2];
            for _ in 0..TIMES {
                let took = fill_and_clear(open.container(), memory, FEW)?;
                sums = [sums[0] + took[0], sums[1] + took[1]];
            }
            few_took = Some(sums);
            Ok(sums)
        },
    )?;
    log.measure_rounds(
        [
            row(format!("map one of {name} single pages"), "mapping").of(many),
            row(format!("unmap one of {name} single pages"), "mapping").of(many),
        ],
        Rounds::One,
        || {
            let took = fill_and_clear(open.container(), memory, many)?;
            many_took = Some(took);
            Ok(took)
        },
    )?;
    let (Some(few_took), Some(many_took)) = (few_took, many_took) else {
        return Ok(());
    };
    for (at, verb) in ["map", "unmap"].into_iter().enumerate() {
        let each = |took: [u64; 2], count: usize| took[at] as f64 / count as f64;
        let growth = each(many_took, many) / each(few_took, FEW * TIMES);
        log.tell(
            row(format!("{verb} one of {name}, by one of 1 Ki"), "ratio").bound(GROWTH),
            Ok(growth),
        )?;
    }
    Ok(())
}
