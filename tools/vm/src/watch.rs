// SPDX-License-Identifier: GPL-2.0
//! Finds kernel splats in the log: the lines by which the kernel says that
//! something is broken, whatever the tests say.
//!
//! A test that provokes a `WARN` on purpose writes
//! `vfio-selftest: expect-warn begin` and `... end` to `/dev/kmsg`. Between the
//! two, `WARNING:` lines (and the traces below them) are expected; an oops, a
//! KASAN report or a lockdep report never is.

use regex::{Regex, RegexSet};

/// Splats that no test may provoke.
const NEVER: &[&str] = &[
    r"\bOops\b",
    r"\bBUG: ",
    r"kernel BUG at",
    r"\bKASAN: ",
    r"\bUBSAN: ",
    r"Kernel panic",
    r"rust_kernel: panicked at",
    r"WARNING: (possible|inconsistent|bad unlock|held lock|lock held|suspicious|nested lock|circular)",
    r"INFO: (possible|suspicious|task .* blocked|rcu|trying to register|lockdep)",
    r"rcu: INFO:",
    r"blocked for more than \d+ seconds",
    r"soft lockup|hard LOCKUP",
    r"workqueue lockup",
    r"scheduling while atomic|sleeping function called",
    r"\d+ new suspected memory leaks",
    r"general protection fault|unable to handle",
    r"stack-protector: |stack guard page",
    r"refcount_t: ",
    r"unregister_netdevice: waiting",
    r"list_(add|del) corruption",
    r"bad page state|Bad page",
    r"INFO: Slab|BUG kmalloc|Object .* not freed|Objects remaining",
];

/// What a test may announce.
const WARNING: &str = r"WARNING: ";

/// The state of the search through one log.
pub(crate) struct Watch {
    never: RegexSet,
    warning: Regex,
    begin: Regex,
    expecting: bool,
}

impl Watch {
    pub(crate) fn new() -> Result<Self, regex::Error> {
        Ok(Self {
            never: RegexSet::new(NEVER)?,
            warning: Regex::new(WARNING)?,
            begin: Regex::new(r"vfio-selftest: expect-warn (begin|end)")?,
            expecting: false,
        })
    }

    /// Looks at the next line of the log; true if it is a splat.
    pub(crate) fn line(&mut self, line: &str) -> bool {
        if let Some(mark) = self.begin.captures(line) {
            self.expecting = &mark[1] == "begin";
            return false;
        }
        if self.never.is_match(line) {
            // refcount_t reports are WARNINGs and come with their own line.
            return true;
        }
        self.warning.is_match(line) && !self.expecting
    }
}

#[cfg(test)]
mod tests {
    use super::Watch;

    #[test]
    fn splats_are_found_and_ordinary_lines_are_not() {
        let mut watch = Watch::new().unwrap();
        for splat in [
            "[    3.1] BUG: kernel NULL pointer dereference, address: 0",
            "[    3.1] Oops: Oops: 0000 [#1] SMP",
            "[    3.1] WARNING: CPU: 0 PID: 71 at drivers/vfio/vfio_main.c:9",
            "[    3.1] WARNING: possible circular locking dependency detected",
            "[    3.1] BUG: KASAN: slab-use-after-free in x+0x1/0x2",
            "[    3.1] UBSAN: array-index-out-of-bounds in x.c:1:2",
            "[    3.1] INFO: task vfio:12 blocked for more than 120 seconds.",
            "[    3.1] rcu: INFO: rcu_preempt self-detected stall on CPU",
            "[    3.1] kmemleak: 2 new suspected memory leaks (see ...)",
            "[    3.1] rust_kernel: panicked at rust_vfio/group.rs:3:4:",
            "[    3.1] BUG: sleeping function called from invalid context",
        ] {
            assert!(watch.line(splat), "{splat}");
        }
        for fine in [
            "[    0.1] rcu: Hierarchical RCU implementation.",
            "[    0.1] DMAR: [DMA Read NO_PASID] Request device [00:03.0] fault",
            "[    0.1] kmemleak: Automatic memory scanning thread started",
            "[    0.1] vfio: module verification failed",
        ] {
            assert!(!watch.line(fine), "{fine}");
        }
    }

    #[test]
    fn only_warnings_can_be_announced() {
        let mut watch = Watch::new().unwrap();
        watch.line("[ 1] vfio-selftest: expect-warn begin");
        assert!(!watch.line("[ 1] WARNING: CPU: 0 PID: 71 at x"));
        assert!(watch.line("[ 1] WARNING: possible recursive locking detected"));
        assert!(watch.line("[ 1] BUG: KASAN: use-after-free"));
        watch.line("[ 1] vfio-selftest: expect-warn end");
        assert!(watch.line("[ 1] WARNING: CPU: 0 PID: 71 at x"));
    }
}
