// SPDX-License-Identifier: GPL-2.0

//! What the device computes.

use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    time::{
        Instant,
        Monotonic, //
    }, //
};
use vfio::{
    pins::PinKey,
    Pages, //
};

use crate::{
    stream,
    MEMORY, //
};

/// The number of pages of the device's memory, of which a word has a bit for each.
pub(crate) const PAGES: usize = MEMORY / PAGE_SIZE;
const _: () = assert!(PAGES <= u64::BITS as usize);

/// The most steps that are made at once, so that nobody waits for long.
const AT_ONCE: u64 = 4096;

/// The part of the device that computes. It makes its steps when somebody looks.
pub(crate) struct Engine {
    /// Whether the user wants it to compute.
    pub(crate) is_on: bool,
    pub(crate) steps: u64,
    pub(crate) value: u64,
    pub(crate) address: u64,
    /// The page that the device keeps.
    pub(crate) kept: Option<PinKey>,
    pub(crate) format: u32,
    /// After so many calls saving or restoring fails; 0 for never.
    pub(crate) calls_left: u32,
    /// Pages of memory that have changed since they were saved, if that matters.
    pub(crate) dirty: u64,
    /// When the last step was made, unless the device is stopped.
    since: Option<Instant<Monotonic>>,
}

impl Engine {
    /// Creates one that runs, and does not compute yet. Clears the memory.
    pub(crate) fn new(memory: &Pages) -> Result<Self> {
        for page in 0..PAGES {
            memory.copy_from(page * PAGE_SIZE, &[0; PAGE_SIZE])?;
        }
        Ok(Self {
            is_on: false,
            steps: 0,
            value: 1,
            address: 0,
            kept: None,
            format: stream::NEWEST,
            calls_left: 0,
            dirty: 0,
            since: Some(Instant::now()),
        })
    }

    /// Makes the steps for which there was time.
    pub(crate) fn catch_up(&mut self, memory: &Pages) -> Result {
        let Some(since) = &mut self.since else {
            return Ok(());
        };
        let now = Instant::now();
        let passed = u64::try_from((now - *since).as_micros_ceil()).unwrap_or(0);
        *since = now;
        if !self.is_on {
            return Ok(());
        }
        for _ in 0..passed.min(AT_ONCE) {
            // A linear congruential generator.
            self.value = self
                .value
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            // CAST: The remainder is less than the size of the memory.
            let at = (self.steps.wrapping_mul(8) % MEMORY as u64) as usize;
            memory.copy_from(at, &self.value.to_le_bytes())?;
            self.dirty |= 1 << (at / PAGE_SIZE);
            self.steps = self.steps.wrapping_add(1);
        }
        Ok(())
    }

    /// Lets it compute, or not.
    pub(crate) fn turn(&mut self, is_on: bool) {
        self.is_on = is_on;
    }

    /// Stops it, after the steps for which there was time.
    pub(crate) fn stop(&mut self, memory: &Pages) -> Result {
        self.catch_up(memory)?;
        self.since = None;
        Ok(())
    }

    /// Starts it again. No time has passed for it.
    pub(crate) fn start(&mut self) {
        self.since = Some(Instant::now());
    }

    /// Returns whether it is stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.since.is_none()
    }

    /// Counts all pages as changed.
    pub(crate) fn track(&mut self) {
        self.dirty = (1 << PAGES) - 1;
    }

    /// Counts a call of saving or restoring.
    ///
    /// # Errors
    ///
    /// `EIO` if it is the one that fails.
    pub(crate) fn count_call(&mut self) -> Result {
        match self.calls_left {
            0 => Ok(()),
            1 => {
                self.calls_left = 0;
                Err(EIO)
            }
            _ => {
                self.calls_left -= 1;
                Ok(())
            }
        }
    }
}
