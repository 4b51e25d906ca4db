//! The next segment, filled with zeros ahead of its time, so that a group need not wait for that.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use crate::embedded::{Options, tail};
use crate::files::{File, Files};

/// Under which name it stands until it has a header. A start removes it.
pub(super) const NAME: &str = "next";

/// Held only for one step of filling, so that the writer never waits for long.
#[derive(Default)]
pub(super) struct Next(Mutex<State>);

#[derive(Default)]
enum State {
    #[default]
    None,
    Begun(Begun),
    /// It is on its way to become a segment, under its old name still: no other is begun.
    Taken,
}

/// A file of zeros that are durable, up to `prepared`.
pub(super) struct Begun {
    pub(super) file: Arc<dyn File>,
    pub(super) prepared: u64,
}

impl Next {
    /// Begins the file and fills the first piece of it, if there is none; returns whether it can be
    /// filled further.
    pub(super) fn begin(&self, files: &dyn Files, options: &Options) -> io::Result<bool> {
        let mut state = self.lock();
        match *state {
            State::None => Self::step(&mut state, None, files, options),
            State::Begun(_) => Ok(true),
            State::Taken => Ok(false),
        }
    }

    /// Fills the next piece, unless the file has been taken; returns whether it can be filled
    /// further.
    pub(super) fn go_on(&self, files: &dyn Files, options: &Options) -> io::Result<bool> {
        let mut state = self.lock();
        match std::mem::take(&mut *state) {
            State::Begun(begun) if begun.prepared < options.segment_bytes => {
                Self::step(&mut state, Some(begun), files, options)
            }
            other => {
                *state = other;
                Ok(false)
            }
        }
    }

    /// After an error there is none: zeros that may not be on the disk are of no use, and a full
    /// disk needs its space for entries.
    fn step(
        state: &mut State,
        begun: Option<Begun>,
        files: &dyn Files,
        options: &Options,
    ) -> io::Result<bool> {
        match Self::fill(begun, files, options) {
            Ok(begun) => {
                *state = State::Begun(begun);
                Ok(true)
            }
            Err(error) => {
                *state = State::None;
                let (Ok(()) | Err(_)) = files.remove(NAME);
                Err(error)
            }
        }
    }

    fn fill(begun: Option<Begun>, files: &dyn Files, options: &Options) -> io::Result<Begun> {
        let mut begun = match begun {
            Some(begun) => begun,
            None => Begun { file: files.create(NAME)?, prepared: 0 },
        };
        let prepared = (begun.prepared + options.prepare_bytes).min(options.segment_bytes);
        tail::write_zeros(&*begun.file, begun.prepared, prepared)?;
        begun.file.sync_data()?;
        begun.prepared = prepared;
        Ok(begun)
    }

    /// Takes what there is; nothing while a step is under way. Whoever takes it says when it has
    /// another name.
    pub(super) fn take(&self) -> Option<Begun> {
        match self.0.try_lock() {
            Ok(state) => Self::take_from(state),
            Err(TryLockError::Poisoned(state)) => Self::take_from(state.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Takes what there is, after the step that is under way.
    pub(super) fn wait_and_take(&self) -> Option<Begun> {
        Self::take_from(self.lock())
    }

    fn take_from(mut state: MutexGuard<'_, State>) -> Option<Begun> {
        match std::mem::replace(&mut *state, State::Taken) {
            State::Begun(begun) => Some(begun),
            other => {
                *state = other;
                None
            }
        }
    }

    /// What was taken has its own name now, or is given up.
    pub(super) fn release(&self) {
        *self.lock() = State::None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic within a step leaves nothing behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
