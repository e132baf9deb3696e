// SPDX-License-Identifier: GPL-2.0

//! How the device is saved.
//!
//! The data are records, and each is a head of 16 bytes and a body. All numbers are little endian.
//!
//! | Head | Body |
//! |---|---|
//! | `PAGE`, the number of the page | the page |
//! | `ENGINE`, the format | whether it is on, the steps, the value; since format 2 the address |
//!
//! The first record has the format too: `BEGIN`. After `ENGINE` there is nothing.

use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};
use vfio::{
    migration::{
        Sink,
        Source, //
    },
    Opened,
    Pages, //
};

use crate::{
    engine::{
        Engine,
        PAGES, //
    },
    Sample,
    MEMORY, //
};

/// The newest format.
pub(crate) const NEWEST: u32 = 2;

/// Returns whether the device knows a format.
pub(crate) fn knows(format: &u32) -> bool {
    (1..=NEWEST).contains(format)
}

const HEAD: usize = 16;
const BEGIN: u64 = 0x4245_4749_4e00_0001;
const PAGE: u64 = 0x5041_4745_0000_0002;
const ENGINE: u64 = 0x454e_4749_4e45_0003;

/// The most bytes that there are to save when the device is stopped.
pub(crate) const MOST_BYTES: u64 = (HEAD + PAGES * (HEAD + PAGE_SIZE) + HEAD + 4 * 8) as u64;

/// Appends numbers.
fn put(bytes: &mut KVec<u8>, numbers: &[u64]) -> Result {
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes(), GFP_KERNEL)?;
    }
    Ok(())
}

/// A device that is being saved, running or stopped.
pub(crate) struct Saving {
    /// The record that is being read, and how much of it was.
    record: KVec<u8>,
    read: usize,
    /// Whether the device has stopped, so that the engine follows the pages.
    stopped: bool,
    is_last: bool,
}

impl Saving {
    pub(crate) fn new(engine: &Engine, stopped: bool) -> Result<Self> {
        let mut record = KVec::new();
        put(&mut record, &[BEGIN, engine.format.into()])?;
        Ok(Self {
            record,
            read: 0,
            stopped,
            is_last: false,
        })
    }

    /// Goes on when the device has stopped.
    pub(crate) fn stopped(mut self) -> Self {
        self.stopped = true;
        self
    }

    /// Returns what can be read while the device is running.
    pub(crate) fn left(&self, engine: &Engine) -> vfio::migration::Left {
        let pages = u64::from(engine.dirty.count_ones());
        vfio::migration::Left {
            initial: (self.record.len() - self.read) as u64,
            dirty: pages * (HEAD + PAGE_SIZE) as u64,
        }
    }

    /// Makes the next record, if there is one.
    fn next(&mut self, engine: &mut Engine, memory: &Pages) -> Result {
        self.record.clear();
        self.read = 0;
        if engine.dirty != 0 {
            let page = engine.dirty.trailing_zeros() as usize;
            put(&mut self.record, &[PAGE, page as u64])?;
            self.record.resize(HEAD + PAGE_SIZE, 0, GFP_KERNEL)?;
            let body = self.record.get_mut(HEAD..).ok_or(EINVAL)?;
            memory.copy_to(page * PAGE_SIZE, body)?;
            engine.dirty &= engine.dirty - 1;
        } else if self.stopped && !self.is_last {
            self.is_last = true;
            put(&mut self.record, &[ENGINE, engine.format.into()])?;
            put(
                &mut self.record,
                &[engine.is_on.into(), engine.steps, engine.value],
            )?;
            if engine.format >= 2 {
                put(&mut self.record, &[engine.address])?;
            }
        }
        Ok(())
    }
}

impl Source<Sample> for Saving {
    fn read(&mut self, device: &Opened<'_, Sample>, data: &mut [u8]) -> Result<usize> {
        let session = device.session();
        let mut engine = session.engine.lock();
        engine.count_call()?;
        if self.read == self.record.len() {
            engine.catch_up(&device.memory)?;
            self.next(&mut engine, &device.memory)?;
        }
        let rest = self.record.get(self.read..).ok_or(EINVAL)?;
        let count = rest.len().min(data.len());
        let (data, rest) = data.get_mut(..count).zip(rest.get(..count)).ok_or(EINVAL)?;
        data.copy_from_slice(rest);
        self.read += count;
        Ok(count)
    }
}

/// A device that is being restored. It is changed only at the end.
pub(crate) struct Resuming {
    format: u32,
    memory: KVVec<u8>,
    /// The record that is being written.
    record: KVec<u8>,
    begun: bool,
    engine: Option<[u64; 4]>,
}

impl Resuming {
    pub(crate) fn new(format: u32) -> Result<Self> {
        Ok(Self {
            format,
            memory: KVVec::from_elem(0, MEMORY, GFP_KERNEL)?,
            record: KVec::new(),
            begun: false,
            engine: None,
        })
    }

    /// Returns the size of the record, of which at least the head is there.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if there is no such record, or not here.
    /// - `EOPNOTSUPP` if the device was saved in another format.
    fn size(&self) -> Result<usize> {
        let number = self.number(8)?;
        match self.number(0)? {
            BEGIN | ENGINE if number != self.format.into() => {
                pr_err!(
                    "the device was saved in format {}, and this one takes {}\n",
                    number,
                    self.format
                );
                Err(EOPNOTSUPP)
            }
            BEGIN if !self.begun => Ok(HEAD),
            PAGE if self.begun && number < PAGES as u64 => Ok(HEAD + PAGE_SIZE),
            ENGINE if self.begun && self.engine.is_none() => {
                Ok(HEAD + if self.format >= 2 { 32 } else { 24 })
            }
            _ => Err(EINVAL),
        }
    }

    /// Returns the number at an offset of the record, or 0 behind its end.
    fn number(&self, at: usize) -> Result<u64> {
        let bytes = self.record.get(at..at + 8).unwrap_or(&[0; 8]);
        Ok(u64::from_le_bytes(bytes.try_into().map_err(|_| EINVAL)?))
    }

    /// Takes the record, which is complete.
    fn take(&mut self) -> Result {
        match self.number(0)? {
            BEGIN => self.begun = true,
            PAGE => {
                let first = usize::try_from(self.number(8)?)? * PAGE_SIZE;
                let page = self
                    .memory
                    .get_mut(first..first + PAGE_SIZE)
                    .ok_or(EINVAL)?;
                page.copy_from_slice(self.record.get(HEAD..).ok_or(EINVAL)?);
            }
            _ => {
                let number = |n: usize| self.number(HEAD + 8 * n);
                self.engine = Some([number(0)?, number(1)?, number(2)?, number(3)?]);
            }
        }
        self.record.clear();
        Ok(())
    }

    /// Gives the device the state that was written.
    ///
    /// # Errors
    ///
    /// `EINVAL` if that was not all, or there is no such address.
    pub(crate) fn finish(self, engine: &mut Engine, memory: &Pages) -> Result {
        let [is_on, steps, value, address] = self.engine.ok_or(EINVAL)?;
        if address % 8 != 0 {
            return Err(EINVAL);
        }
        memory.copy_from(0, &self.memory)?;
        engine.is_on = is_on != 0;
        engine.steps = steps;
        engine.value = value;
        engine.address = address;
        Ok(())
    }
}

impl Sink<Sample> for Resuming {
    fn write(&mut self, device: &Opened<'_, Sample>, data: &[u8]) -> Result<usize> {
        device.session().engine.lock().count_call()?;
        let wanted = match self.record.len() {
            HEAD.. => self.size()?,
            _ => HEAD,
        };
        let count = data.len().min(wanted - self.record.len());
        self.record
            .extend_from_slice(data.get(..count).ok_or(EINVAL)?, GFP_KERNEL)?;
        if self.record.len() >= HEAD && self.record.len() == self.size()? {
            self.take()?;
        }
        Ok(count)
    }
}
