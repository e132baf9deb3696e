// SPDX-License-Identifier: GPL-2.0
//! What the crates complain of. `vfio-ioctls` does not return all errors: some of them are
//! only a line of its log.

use std::sync::{Mutex, MutexGuard};

use log::{Level, LevelFilter, Log, Metadata, Record};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Listener;

impl Log for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            lines().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

fn lines() -> MutexGuard<'static, Vec<String>> {
    LINES
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Listens from now on.
pub(crate) fn listen() {
    // Fails if somebody listens already, and that is nobody else.
    if log::set_logger(&Listener).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}

/// Takes what was said since this was last asked.
pub(crate) fn take() -> Vec<String> {
    std::mem::take(&mut lines())
}
