//! Taking entries over from another log: in their order, as many at once as one write may hold.
//!
//! Nobody else writes into a copy. Entries of one stream that follow each other go in one write, which
//! is whole or not at all; whatever goes wrong with it is settled entry by entry.

use crate::entry::{Hash, Version};
use crate::header::Header;
use crate::kurrent::Shared;
use crate::kurrent::event;
use crate::kurrent::server::Next;
use crate::log::{Appended, LogError};
use crate::remote::append::{Base, Guarded, put_in};
use crate::remote::outgoing::{Append, OfStored, Outgoing, Ready};
use crate::remote::place::Place;
use crate::stream::Log;
use crate::transfer::Stored;

/// What one write may hold. KurrentDB takes a MiB unless it is configured otherwise, metadata included.
const WRITE_BYTES_MAX: usize = 512 << 10;
const WRITE_ENTRIES_MAX: usize = 256;

impl Shared {
    pub(super) async fn take_over(&self, batch: &[Stored]) -> Result<Vec<Appended>, LogError> {
        let mut all = Vec::with_capacity(batch.len());
        for stored in batch {
            all.push((stored.header(self.names.log)?, stored.hash(), stored));
        }
        let mut appended: Vec<Appended> = Vec::with_capacity(batch.len());
        // Held across the whole batch: it orders the batches of this process and nothing else.
        let _turn = self.copying.lock().await;
        while let Some(rest @ [(header, hash, stored), ..]) = all.get(appended.len()..) {
            let run = run(rest);
            let outcome = if run.len() > 1 { self.put_in_run(run).await? } else { Outcome::Unsent };
            if let Outcome::In(places) = outcome {
                appended.extend(places.iter().map(|place| Appended {
                    offset: place.offset,
                    version: place.version,
                    repeated: false,
                }));
                continue;
            }
            let one = OfStored { header, hash: *hash, stored };
            appended.push(put_in(self, &one).await.map_err(|error| match (error, &outcome) {
                (LogError::Unavailable(_), Outcome::Unknown) => LogError::OutcomeUnknown,
                (error, _) => error,
            })?);
        }
        Ok(appended)
    }

    /// Puts entries in that follow each other, if the first of them follows its stream's newest.
    async fn put_in_run(&self, run: &[(Header, Hash, &Stored)]) -> Result<Outcome, LogError> {
        let Some((first, hash, stored)) = run.first() else { return Ok(Outcome::Unsent) };
        let base = match self.tips.guess(&first.stream) {
            Some(place) => Base::of_leader(place),
            None => self.base(&first.stream).await?,
        };
        let one = OfStored { header: first, hash: *hash, stored };
        let expected = one.base(&base.tip);
        let follows = base.tip.version == expected
            && (expected == Version(0) || base.tip.hash == first.prev_hash)
            && (self.names.log == Log::Market || first.version == expected.next());
        if !follows {
            return Ok(Outcome::Unsent);
        }
        let name = self.names.of(&first.stream);
        self.prepare(&first.stream, &base).await?;
        let mut events = Vec::with_capacity(run.len());
        for (header, hash, stored) in run {
            let ready = Ready {
                version: header.version,
                hash: *hash,
                content: stored.content,
                body: stored.body.clone(),
            };
            let Header { ref stream, append_id, command_id, .. } = *header;
            events.push(event::outgoing(&Outgoing {
                stream,
                append_id,
                command_id,
                ready: &ready,
            })?);
        }
        let after = base.number;
        let from = after.map_or(0, |revision| revision + 1);
        let Ok(_) = self.server.append(&name, after, events).await else {
            self.tips.doubt(&first.stream);
            return Ok(Outcome::Unknown);
        };
        let Ok(mut reading) = self.server.stream_from(&name, from, run.len()).await else {
            self.tips.doubt(&first.stream);
            return Ok(Outcome::Unknown);
        };
        let mut places = Vec::with_capacity(run.len());
        for (_, hash, _) in run {
            let Ok(Next::Event(event)) = reading.event().await else { break };
            let Some(raw) = self.take(*event) else { break };
            let place = raw.place()?;
            if place.hash != *hash {
                break;
            }
            places.push(place);
        }
        if places.len() < run.len() {
            self.tips.doubt(&first.stream);
            return Ok(Outcome::Unknown);
        }
        for place in &places {
            self.note_alone(&first.stream, *place);
        }
        self.wake.notify_one();
        Ok(Outcome::In(places))
    }
}

/// What became of entries that were to go in at once.
enum Outcome {
    /// These very entries are in.
    In(Vec<Place>),
    /// Nothing has left.
    Unsent,
    /// They may be in, or come yet.
    Unknown,
}

/// Returns the first entries, of one stream, that follow each other and go into one write. An id that
/// comes twice would be taken for an entry sent again.
fn run<'a, 'b>(rest: &'a [(Header, Hash, &'b Stored)]) -> &'a [(Header, Hash, &'b Stored)] {
    let mut bytes = 0;
    let mut ids = std::collections::BTreeSet::new();
    let mut before: Option<(&Header, Hash)> = None;
    let fits = rest.iter().take(WRITE_ENTRIES_MAX).take_while(|(header, hash, stored)| {
        bytes += stored.body.len();
        let follows = before.replace((header, *hash)).is_none_or(|(last, last_hash)| {
            (&header.stream, header.version, header.prev_hash)
                == (&last.stream, last.version.next(), last_hash)
        });
        follows && ids.insert(header.append_id) && bytes <= WRITE_BYTES_MAX
    });
    let fits = fits.count();
    rest.get(..fits).unwrap_or_default()
}
