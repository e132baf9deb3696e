// SPDX-License-Identifier: GPL-2.0

//! Data of a fixed size, for devices with little to save.

use kernel::prelude::*;

use crate::driver::{
    access::Opened,
    data::Data,
    migration::{
        Sink,
        Source, //
    }, //
};

/// The data of a device that is saved in `N` bytes.
///
/// It serves for both ends: [`Saving`](super::StopCopy::Saving) is made with [`Bytes::new`] from
/// what there is to save, and [`Resuming`](super::StopCopy::Resuming) with [`Bytes::empty`].
/// Whatever makes no sense must be refused by [`StopCopy::resumed`](super::StopCopy::resumed).
///
/// # Examples
///
/// ```
/// # use kernel::prelude::*;
/// # use vfio::{migration::{Bytes, StopCopy}, *};
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
/// #   const REGIONS: &'static [region::Region<Self>] = &[];
/// #   fn open(_: &Access<'_, Self>) -> impl PinInit<(), Error> { Ok::<(), Error>(()) }
/// #   fn reset(_: &Opened<'_, Self>) -> Result { Ok(()) }
/// # }
/// impl StopCopy for Device {
///     type Saving = Bytes<8>;
///     type Resuming = Bytes<8>;
///
///     fn save(device: &Opened<'_, Self>) -> Result<Bytes<8>> {
///         Ok(Bytes::new(device.value().to_le_bytes()))
///     }
///
///     fn resume(_: &Opened<'_, Self>) -> Result<Bytes<8>> {
///         Ok(Bytes::empty())
///     }
///
///     fn resumed(device: &Opened<'_, Self>, resuming: Bytes<8>) -> Result {
///         device.set_value(u64::from_le_bytes(resuming.complete()?))
///     }
///
///     fn size(_: &Opened<'_, Self>) -> u64 {
///         8
///     }
/// #   fn stop(_: &Opened<'_, Self>) -> Result { Ok(()) }
/// #   fn start(_: &Opened<'_, Self>) -> Result { Ok(()) }
/// }
/// ```
pub struct Bytes<const N: usize> {
    bytes: [u8; N],
    /// How many have left or come, at most `N`.
    done: usize,
}

impl<const N: usize> Bytes<N> {
    /// Creates the data of a device that is being saved.
    pub const fn new(bytes: [u8; N]) -> Self {
        Self { bytes, done: 0 }
    }

    /// Creates the place for the data of a device that is being restored.
    pub const fn empty() -> Self {
        Self::new([0; N])
    }

    /// Returns the data when all have come.
    ///
    /// # Errors
    ///
    /// `EINVAL` if some have not.
    pub fn complete(self) -> Result<[u8; N]> {
        if self.done < N {
            return Err(EINVAL);
        }
        Ok(self.bytes)
    }
}

impl<D: Data, const N: usize> Source<D> for Bytes<N> {
    fn read(&mut self, _: &Opened<'_, D>, data: &mut [u8]) -> Result<usize> {
        let rest = self.bytes.get(self.done..).unwrap_or_default();
        let count = rest.len().min(data.len());
        for (to, from) in data.iter_mut().zip(rest) {
            *to = *from;
        }
        self.done += count;
        Ok(count)
    }
}

impl<D: Data, const N: usize> Sink<D> for Bytes<N> {
    /// Takes what is still missing.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if nothing is.
    fn write(&mut self, _: &Opened<'_, D>, data: &[u8]) -> Result<usize> {
        let rest = self.bytes.get_mut(self.done..).unwrap_or_default();
        let count = rest.len().min(data.len());
        if count == 0 {
            return Err(ENOSPC);
        }
        for (to, from) in rest.iter_mut().zip(data) {
            *to = *from;
        }
        self.done += count;
        Ok(count)
    }
}
