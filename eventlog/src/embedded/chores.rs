//! What is done beside the appends, by a thread that has the time: filing the index of a segment
//! that is full, and filling the next one with zeros.
//!
//! None of it is needed for an entry to be durable. What fails is tried again; only when nobody
//! knows any more which names the folder has does the log stop.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::embedded::index::{Form, Sealed};
use crate::embedded::reader::{self, Whole};
use crate::embedded::whole_file::{self, PutError};
use crate::embedded::{Options, Shared, sealed};
use crate::files::Files;

/// How long something that failed is left alone.
const RETRY: Duration = Duration::from_secs(5);

/// What is to be done. A flag each: what is asked for twice is done once.
#[derive(Default)]
pub(super) struct Chores {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Default, Clone, Copy)]
struct Wanted {
    filing: bool,
    next: bool,
    closed: bool,
}

impl Chores {
    /// Some sealed segment has no index file.
    pub(super) fn want_filing(&self) {
        self.change(|wanted| wanted.filing = true);
    }

    /// The open segment is half full.
    pub(super) fn want_next(&self) {
        self.change(|wanted| wanted.next = true);
    }

    /// Nobody writes any more.
    pub(super) fn close(&self) {
        self.change(|wanted| wanted.closed = true);
    }

    fn change(&self, change: impl Fn(&mut Wanted)) {
        change(&mut self.wanted());
        self.changed.notify_all();
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closed(&self) -> bool {
        self.wanted().closed
    }

    /// Waits until there is something to do, and takes it.
    fn wait(&self) -> Wanted {
        let idle = |wanted: &mut Wanted| !(wanted.filing || wanted.next || wanted.closed);
        let mut wanted =
            self.changed.wait_while(self.wanted(), idle).unwrap_or_else(PoisonError::into_inner);
        let closed = wanted.closed;
        std::mem::replace(&mut wanted, Wanted { closed, ..Wanted::default() })
    }

    /// Waits for a while, or until the end.
    fn pause(&self) {
        let open = |wanted: &mut Wanted| !wanted.closed;
        let waited = self.changed.wait_timeout_while(self.wanted(), RETRY, open);
        drop(waited);
    }
}

pub(super) struct Worker {
    pub(super) files: Arc<dyn Files>,
    pub(super) shared: Arc<Shared>,
    pub(super) options: Options,
}

impl Worker {
    pub(super) fn run(self) {
        loop {
            let wanted = self.shared.chores.wait();
            let failed = self.work(wanted);
            if wanted.closed {
                return;
            }
            if let Err(error) = failed {
                let log = self.shared.log;
                tracing::warn!(%log, %error, "work beside the log has failed and is tried again");
                self.shared.chores.pause();
                self.shared.chores.change(|again| {
                    again.filing |= wanted.filing;
                    again.next |= wanted.next;
                });
            }
        }
    }

    /// Does all that is wanted now.
    #[cfg(test)]
    pub(super) fn work_off(&self) -> io::Result<()> {
        let wanted = std::mem::take(&mut *self.shared.chores.wanted());
        self.work(wanted)
    }

    fn work(&self, wanted: Wanted) -> io::Result<()> {
        let filed = if wanted.filing { self.file_all() } else { Ok(()) };
        // Nobody needs a next segment at the end.
        let next = if wanted.next && !wanted.closed { self.fill_next() } else { Ok(()) };
        filed.and(next)
    }

    fn fill_next(&self) -> io::Result<()> {
        let (files, options) = (&*self.files, &self.options);
        let wanted = || !self.shared.is_stopped() && !self.shared.chores.is_closed();
        let mut goes_on = wanted() && self.shared.next.begin(files, options)?;
        while goes_on && wanted() {
            goes_on = self.shared.next.go_on(files, options)?;
        }
        Ok(())
    }

    /// Files the index of every sealed segment that has none, the oldest first.
    fn file_all(&self) -> io::Result<()> {
        let unfiled: Vec<Arc<Sealed>> = {
            let index = self.shared.reader.index();
            let is_filed = |sealed: &Sealed| matches!(sealed.form, Form::Filed { .. });
            index.sealed().filter(|sealed| !is_filed(sealed)).map(Arc::clone).collect()
        };
        unfiled.iter().try_for_each(|sealed| self.file(sealed))
    }

    fn file(&self, unfiled: &Arc<Sealed>) -> io::Result<()> {
        // A segment must not be dropped while its index is written: the index would stay.
        let _dropping = self.shared.dropping();
        let is_held = self.shared.reader.index().sealed_at(unfiled.first).is_some();
        if !is_held || self.shared.is_stopped() {
            return Ok(());
        }
        let contents = match &unfiled.form {
            Form::Held(contents) => Arc::clone(contents),
            Form::Filed { .. } => return Ok(()),
            Form::Forgotten => match reader::read_whole(&*self.files, self.shared.log, unfiled) {
                Ok(Sealed { form: Form::Held(contents), .. }) => contents,
                // Whoever reads it is told.
                Ok(_) | Err(Whole::Missing) => return Ok(()),
                Err(Whole::Failed(error)) => return Err(io::Error::other(error)),
            },
        };
        let bytes = sealed::write(self.shared.log, &contents, unfiled.length);
        match whole_file::put(&*self.files, &sealed::name(unfiled.first), &bytes) {
            Ok(()) => {
                let form = sealed::form(unfiled.entries, bytes.len());
                self.shared.reader.index().replace(unfiled, form);
                Ok(())
            }
            Err(PutError::Discarded(error)) => Err(error),
            Err(PutError::Broken(error)) => {
                self.shared.stop(&error);
                Ok(())
            }
        }
    }
}
