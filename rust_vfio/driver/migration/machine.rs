// SPDX-License-Identifier: GPL-2.0

//! The state machine of a device that migrates.
//!
//! User space asks for a state, and the core says which way leads there
//! (`vfio_mig_get_next_state()`), arc by arc. Here each arc becomes a call of the driver.

use core::ptr;

use kernel::{
    error::to_result,
    prelude::*,
    sync::Arc, //
};

use super::{
    arcs::Support,
    stream::{
        Content,
        Stream,
        StreamFile, //
    }, //
};
use crate::{
    bindings,
    bindings::vfio_device_mig_state as Raw,
    driver::{
        access::Opened,
        data::Data,
        logic::states::{
            self,
            State,
            Step, //
        },
        object::Object, //
    }, //
};

/// The state of a device, and the file through which its data go.
pub struct Machine<D: Data, M: Support<D>> {
    state: State,
    /// In STOP_COPY, RESUMING and the PRE_COPY states.
    stream: Option<Arc<Stream<D, M>>>,
}

impl<D: Data, M: Support<D>> Default for Machine<D, M> {
    /// Returns the machine of a device that is running.
    fn default() -> Self {
        Self {
            state: State::Running,
            stream: None,
        }
    }
}

impl<D: Data, M: Support<D>> Machine<D, M> {
    /// Ends what the file moves, and returns it.
    fn take(&mut self) -> Content<D, M> {
        let stream = self.stream.take();
        stream.map_or(Content::Ended, |stream| stream.end())
    }

    /// Ends what the file moves, and tells the driver.
    fn end(&mut self, device: &Opened<'_, D>) {
        match self.take() {
            Content::PreCopying(pre_copying) => M::untrack(device, pre_copying),
            Content::Saving(saving) => M::saved(device, saving),
            Content::Resuming(_) | Content::Ended => {}
        }
    }

    /// Goes along one arc. Returns the new file if the arc begins one.
    ///
    /// # Errors
    ///
    /// The state is as before, or ERROR if what was saved or restored is lost.
    fn go(&mut self, device: &Opened<'_, D>, to: State) -> Result<Option<StreamFile>> {
        let mut begun = None;
        // The core knows no other arc.
        match states::step(self.state, to).ok_or(EINVAL)? {
            Step::Stop => M::stop(device)?,
            Step::Start => M::start(device)?,
            Step::Quiesce => M::quiesce(device)?,
            Step::Unquiesce => M::unquiesce(device)?,
            Step::Save => {
                begun = Some(Stream::begin(device, false, || {
                    M::save(device).map(Content::Saving)
                })?);
            }
            Step::Resume => {
                begun = Some(Stream::begin(device, true, || {
                    M::resume(device).map(Content::Resuming)
                })?);
            }
            Step::Track => {
                begun = Some(Stream::begin(device, false, || {
                    M::track(device).map(Content::PreCopying)
                })?);
            }
            Step::End => self.end(device),
            Step::StopTracked => {
                M::stop(device)?;
                let stream = self.stream.as_ref().ok_or(EINVAL)?;
                if let Err(error) = stream.stop(device) {
                    self.fail();
                    return Err(error);
                }
            }
            Step::Resumed => {
                if let Content::Resuming(resuming) = self.take() {
                    if let Err(error) = M::resumed(device, resuming) {
                        self.fail();
                        return Err(error);
                    }
                }
            }
        }
        self.state = to;
        Ok(begun.map(|(stream, file)| {
            self.stream = Some(stream);
            file
        }))
    }

    /// Enters the state ERROR, from which only a reset leads. What was moved is gone.
    fn fail(&mut self) {
        self.state = State::Error;
        self.stream = None;
    }
}

/// Returns the next state on the way from one to another, which is as user space has named it.
///
/// # Errors
///
/// `EINVAL` if there is no such state, or no way.
fn next<D: Data>(object: &Object<D>, from: State, to: Raw) -> Result<State> {
    let mut next = Raw(0);
    // SAFETY: The device is valid, being a reference, and the core writes to the last argument.
    to_result(unsafe {
        bindings::vfio_mig_get_next_state(object.raw(), Raw(from as u32), to, &mut next)
    })?;
    State::from_number(next.0).ok_or(EINVAL)
}

/// Brings the device to a state. Returns the new file, if data are saved or restored there that
/// were not before, or null.
///
/// # Errors
///
/// The device is in the last state that it has reached.
///
/// - `EINVAL` if there is no way, and so in the state ERROR, from which only a reset leads.
/// - `ENOMEM`, `ENFILE` if there is no memory for a file; `ENOENT` if the module is being unloaded.
/// - Any error of an arc.
pub(crate) fn set_state<D, M>(device: &Opened<'_, D>, state: Raw) -> Result<*mut bindings::file>
where
    D: Data<Machine = Machine<D, M>>,
    M: Support<D>,
{
    let mut machine = device.object().parts().migration.lock();
    let mut begun = None;
    // The core warns if it is asked for a way from there.
    if machine.state == State::Error {
        return Err(EINVAL);
    }
    while machine.state as u32 != state.0 {
        let to = next(device.object(), machine.state, state)?;
        begun = machine.go(device, to)?.or(begun);
    }
    Ok(begun.map_or(ptr::null_mut(), StreamFile::into_raw))
}

/// Returns the state of a device.
pub(crate) fn state<D, M>(object: &Object<D>) -> Raw
where
    D: Data<Machine = Machine<D, M>>,
    M: Support<D>,
{
    Raw(object.parts().migration.lock().state as u32)
}

/// Returns how many bytes there would be to save.
pub(crate) fn size<D, M>(device: &Opened<'_, D>) -> u64
where
    D: Data<Machine = Machine<D, M>>,
    M: Support<D>,
{
    let _one_at_a_time = device.object().parts().migration.lock();
    M::size(device)
}

/// Resets the device by `reset`, and lets it be running. Its file has no data any more.
///
/// # Errors
///
/// Any error of `reset`. The state is as before then.
pub(crate) fn reset<D, M>(device: &Opened<'_, D>, reset: impl FnOnce() -> Result) -> Result
where
    D: Data<Machine = Machine<D, M>>,
    M: Support<D>,
{
    let mut machine = device.object().parts().migration.lock();
    reset()?;
    machine.end(device);
    machine.state = State::Running;
    Ok(())
}

/// Ends what is moved, because the device is being closed.
pub(crate) fn close<D, M>(device: &Opened<'_, D>)
where
    D: Data<Machine = Machine<D, M>>,
    M: Support<D>,
{
    // Nothing is reset, so this does not fail.
    let _ = reset(device, || Ok(()));
}
