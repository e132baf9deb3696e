// SPDX-License-Identifier: GPL-2.0
//! The clock: how many instructions the machine has executed.

use std::arch::x86_64::_rdtsc;

/// Instructions since the machine was started. QEMU with `-icount shift=0` lets
/// each instruction take a nanosecond, and the counter of a processor count
/// these.
fn now() -> u64 {
    // SAFETY: Every x86-64 processor has this instruction.
    unsafe { _rdtsc() }
}

/// The instructions that some work took.
pub(crate) fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<u64, E> {
    let start = now();
    let result = work();
    let end = now();
    result.map(|_| end - start)
}
