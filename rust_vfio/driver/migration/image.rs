// SPDX-License-Identifier: GPL-2.0

//! Images: the state of a device as some numbers and, if it has any, memory.

use core::ops::Range;

use kernel::{
    dev_err,
    page::PAGE_SIZE,
    prelude::*, //
};

use super::arcs::{
    Left,
    Sink,
    Source, //
};
use crate::driver::{
    access::Opened,
    data::Data,
    logic::image::{
        Head,
        Layout,
        Reader,
        Refused,
        HEAD,
        NUMBER, //
    },
    pages::Pages, //
};

/// What the state of a device consists of.
///
/// Its memory is saved page by page, as often as pages change, and the numbers at the end. The data
/// begin with the format, and a device is not restored from data of another one.
///
/// # Examples
///
/// ```
/// # use kernel::prelude::*;
/// # use vfio::{migration::{Image, Restorer, Saver, StopCopy}, prelude::*};
/// # struct Device;
/// # impl Device {
/// #     fn value(&self) -> u64 { 0 }
/// #     fn set_value(&self, _: u64) -> Result { Ok(()) }
/// # }
/// # #[vtable]
/// # impl Driver for Device {
/// #     type Migration = migration::Stopped;
/// #   const NAME: &'static CStr = c"device";
/// #   type Iommu = Emulated;
/// #   type Session = ();
/// #   type Pin = ();
/// #   type DirtyLog = dirty::NoLog;
/// #   const REGIONS: &'static [Region<Self>] = &[];
/// #   fn open(_: &Access<'_, Self>) -> impl PinInit<(), Error> { Ok::<(), Error>(()) }
/// #   fn reset(_: &Opened<'_, Self>) -> Result { Ok(()) }
/// # }
/// const IMAGE: Image<'_> = Image {
///     format: 1,
///     numbers: 1,
///     memory: None,
/// };
///
/// impl StopCopy for Device {
///     type Saving = Saver;
///     type Resuming = Restorer;
///
///     fn save(device: &Opened<'_, Self>) -> Result<Saver> {
///         IMAGE.save()?.finish(&[device.value()])
///     }
///
///     fn resume(_: &Opened<'_, Self>) -> Result<Restorer> {
///         IMAGE.restore()
///     }
///
///     fn resumed(device: &Opened<'_, Self>, resuming: Restorer) -> Result {
///         resuming.finish(|[value]| device.set_value(value))
///     }
///
///     fn size(_: &Opened<'_, Self>) -> u64 {
///         IMAGE.size()
///     }
/// #   fn stop(_: &Opened<'_, Self>) -> Result { Ok(()) }
/// #   fn start(_: &Opened<'_, Self>) -> Result { Ok(()) }
/// }
/// ```
#[derive(Clone, Copy)]
pub struct Image<'a> {
    /// Changes whenever the meaning of the data does.
    pub format: u64,
    /// How many numbers there are.
    pub numbers: usize,
    /// The memory, if there is some.
    pub memory: Option<&'a Pages>,
}

impl Image<'_> {
    fn layout(&self) -> Layout {
        Layout {
            format: self.format,
            memory: self.memory.map_or(0, Pages::len),
            page_size: PAGE_SIZE,
            numbers: self.numbers,
        }
    }

    /// Returns the size in bytes of an image that has each page once.
    pub fn size(&self) -> u64 {
        self.layout().image_size() as u64
    }

    /// Begins to save a device. All of its memory counts as changed.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory.
    pub fn save(&self) -> Result<Saver> {
        let mut record = KVec::with_capacity(HEAD + PAGE_SIZE, GFP_KERNEL_ACCOUNT)?;
        record.extend_from_slice(&Head::Begin(self.format).to_bytes(), GFP_KERNEL)?;
        let mut end = KVec::with_capacity(HEAD + self.numbers * NUMBER, GFP_KERNEL_ACCOUNT)?;
        end.extend_from_slice(&Head::End(self.numbers as u64).to_bytes(), GFP_KERNEL)?;
        if let Some(memory) = self.memory {
            memory.mark_all();
        }
        Ok(Saver {
            memory: self.memory.cloned(),
            numbers: self.numbers,
            end,
            is_finished: false,
            record,
            read: 0,
            initial: HEAD,
        })
    }

    /// Begins to restore a device.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory, of which this takes as much as the device has.
    pub fn restore(&self) -> Result<Restorer> {
        let layout = self.layout();
        Ok(Restorer {
            memory: self.memory.cloned(),
            format: self.format,
            reader: Reader::new(layout),
            content: KVVec::from_elem(0, layout.content_size(), GFP_KERNEL_ACCOUNT)?,
            head: [0; HEAD],
            head_len: 0,
            body: 0..0,
        })
    }
}

/// The image of a device that is being saved, running or stopped.
pub struct Saver {
    memory: Option<Pages>,
    numbers: usize,
    /// The last record, until it is the one that is being read. There is room for all of it, so
    /// that a device that has stopped is saved or goes on, however little memory there is.
    end: KVec<u8>,
    is_finished: bool,
    /// The record that is being read, and how much of it was.
    record: KVec<u8>,
    read: usize,
    /// How much of the first record was not read.
    initial: usize,
}

impl Saver {
    /// Ends the image of a device that has stopped: what is left of the memory, and these numbers,
    /// of which it has as many as [`Image::numbers`] says.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there are fewer numbers.
    pub fn finish(mut self, numbers: &[u64]) -> Result<Self> {
        for number in numbers.get(..self.numbers).ok_or(EINVAL)? {
            self.end
                .extend_from_slice(&number.to_le_bytes(), GFP_KERNEL)?;
        }
        self.is_finished = true;
        // Nobody knows what user space has written to memory that it has mapped.
        if let Some(memory) = self.memory.as_ref().filter(|memory| memory.is_shared()) {
            memory.mark_all();
        }
        Ok(self)
    }

    /// Returns what can be read while the device is running.
    pub fn left(&self) -> Left {
        let changed = self.memory.as_ref().map_or(0, Pages::changed);
        let begun = self.record.len() - self.read - self.initial;
        Left {
            initial: self.initial as u64,
            dirty: (begun + changed * (HEAD + PAGE_SIZE)) as u64,
        }
    }

    /// Makes the next record, if there is one.
    fn next(&mut self) -> Result {
        self.record.clear();
        self.read = 0;
        if let Some((memory, page)) = self
            .memory
            .as_ref()
            .and_then(|memory| Some((memory, memory.take_changed()?)))
        {
            // There is room for both, so the page is not lost.
            let head = Head::Page(page as u64).to_bytes();
            self.record.extend_from_slice(&head, GFP_KERNEL)?;
            self.record.resize(HEAD + PAGE_SIZE, 0, GFP_KERNEL)?;
            let body = self.record.get_mut(HEAD..).ok_or(EINVAL)?;
            memory.copy_to(page * PAGE_SIZE, body)?;
        } else if self.is_finished {
            // Nothing follows the last record, also if user space writes to the memory.
            self.memory = None;
            self.record = core::mem::take(&mut self.end);
        }
        Ok(())
    }
}

impl<D: Data> Source<D> for Saver {
    fn read(&mut self, _: &Opened<'_, D>, data: &mut [u8]) -> Result<usize> {
        if self.read == self.record.len() {
            self.next()?;
        }
        let count = copy(data, self.record.get(self.read..).unwrap_or_default());
        self.read += count;
        self.initial = self.initial.saturating_sub(count);
        Ok(count)
    }
}

/// The image of a device that is being restored. The device changes only at the end.
pub struct Restorer {
    memory: Option<Pages>,
    format: u64,
    reader: Reader,
    /// The memory, and the numbers behind it.
    content: KVVec<u8>,
    /// The head of the record that is being written, and how much of it was.
    head: [u8; HEAD],
    head_len: usize,
    /// Where the rest of the record's body goes.
    body: Range<usize>,
}

impl Restorer {
    /// Gives the device its state: calls `take` with the numbers, and then fills the memory.
    /// Numbers that the image does not have are zero.
    ///
    /// # Errors
    ///
    /// The memory is as before.
    ///
    /// - `EINVAL` if not all data were written.
    /// - Any error of `take`.
    pub fn finish<const N: usize>(self, take: impl FnOnce([u64; N]) -> Result) -> Result {
        if !self.reader.has_ended() || !self.body.is_empty() {
            return Err(EINVAL);
        }
        let memory_len = self.memory.as_ref().map_or(0, Pages::len);
        let (memory, rest) = self.content.split_at_checked(memory_len).ok_or(EINVAL)?;
        let mut numbers = [0; N];
        for (number, bytes) in numbers.iter_mut().zip(rest.chunks_exact(NUMBER)) {
            *number = u64::from_le_bytes(bytes.try_into().map_err(|_| EINVAL)?);
        }
        take(numbers)?;
        match &self.memory {
            Some(pages) => pages.copy_from(0, memory),
            None => Ok(()),
        }
    }
}

impl<D: Data> Sink<D> for Restorer {
    /// Takes the rest of a head or of a body.
    ///
    /// # Errors
    ///
    /// - `EOPNOTSUPP` if the image has another format.
    /// - `EINVAL` if there is no such record, or not here, and after the last one.
    fn write(&mut self, device: &Opened<'_, D>, data: &[u8]) -> Result<usize> {
        if !self.body.is_empty() {
            let count = copy(
                self.content.get_mut(self.body.clone()).unwrap_or_default(),
                data,
            );
            self.body.start += count;
            return Ok(count);
        }
        if self.reader.has_ended() {
            return Err(EINVAL);
        }
        let count = copy(self.head.get_mut(self.head_len..).unwrap_or_default(), data);
        self.head_len += count;
        if self.head_len == HEAD {
            self.body = self
                .reader
                .next(self.head)
                .map_err(|refused| match refused {
                    Refused::Invalid => EINVAL,
                    Refused::Format(found) => {
                        let format = self.format;
                        dev_err!(
                            device.parent(),
                            "data of format {found}, and not {format}\n"
                        );
                        EOPNOTSUPP
                    }
                })?;
            self.head_len = 0;
        }
        Ok(count)
    }
}

/// Copies as much as both have, and returns how many bytes.
fn copy(to: &mut [u8], from: &[u8]) -> usize {
    to.iter_mut()
        .zip(from)
        .map(|(to, from)| *to = *from)
        .count()
}
