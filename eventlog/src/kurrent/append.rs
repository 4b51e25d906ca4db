//! How KurrentDB takes an entry: guarded by the revision of the stream's newest event.
//!
//! An event whose id stands right behind the expected revision is answered like one that was just
//! stored, whatever the rest of it: so may be one of another node, with the same append id and other
//! figures. So each success is read back before it is believed.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::entry::{Offset, Version};
use crate::kurrent::Shared;
use crate::kurrent::event::{self, Raw};
use crate::kurrent::reading::NewestOf;
use crate::kurrent::server::{Fault, Next};
use crate::log::LogError;
use crate::remote::append::{Base, Guarded, Sent, Turns};
use crate::remote::outgoing::Outgoing;
use crate::remote::place::Place;
use crate::remote::tips::Tips;
use crate::stream::{Log, Stream};

/// Versions that an append which expects nothing is looked for behind, in a stream that was not seen yet.
const LOOK_BACK: u64 = 256;

#[async_trait]
impl Guarded for Shared {
    fn log(&self) -> Log {
        self.names.log
    }

    fn patience(&self) -> Duration {
        self.options.patience
    }

    fn tips(&self) -> &Tips {
        &self.tips
    }

    fn turns(&self) -> &Turns {
        &self.turns
    }

    fn reach(&self) -> Result<(), LogError> {
        self.faring.reach()
    }

    fn remembered(&self, stream: &Stream, append_id: Uuid) -> Option<Place> {
        self.ids.find(stream, append_id)
    }

    /// The tail may be behind: of a stream that it has not come by since the start, some of the newest
    /// are looked at.
    fn remembered_to(&self, stream: &Stream, newest: Version) -> Version {
        let noted_to = self.ids.noted_to(stream);
        noted_to.unwrap_or(Version(newest.0.saturating_sub(LOOK_BACK))).min(newest)
    }

    /// From the leader, or where nothing is shown any more, from where tips are kept.
    async fn base(&self, stream: &Stream) -> Result<Base, LogError> {
        match self.newest_of(stream).await? {
            NewestOf::Raw(newest) => Ok(Base::of_leader(newest.place()?)),
            NewestOf::Never => match self.tips.before(stream, Version(u64::MAX)) {
                None => Ok(Base::empty()),
                // Begun anew, its versions would come twice.
                Some((version, _)) => Err(deleted(stream, &format!("it had version {version}"))),
            },
            NewestOf::Hidden(revision) => {
                let tip = self.aged_out(stream, revision).await?;
                Ok(Base::of_dropped(tip, Some(revision)))
            }
        }
    }

    async fn places_after(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Place>, LogError> {
        let raws = self.raws_of(stream, after, limit).await?;
        let places = raws.iter().map(Raw::place).collect::<Result<Vec<_>, _>>()?;
        for place in &places {
            self.ids.note(stream, *place);
        }
        Ok(places)
    }

    async fn prepare(&self, stream: &Stream, base: &Base) -> Result<(), LogError> {
        let name = self.names.of(stream);
        self.age(stream, &name).await.map_err(Fault::unavailable)?;
        if base.number.is_none() {
            let is_deleted = self.has_settings_of_deleted(&name).await;
            if is_deleted.map_err(Fault::unavailable)? {
                return Err(deleted(stream, "its settings hide all of it"));
            }
        }
        Ok(())
    }

    async fn send(&self, entry: &Outgoing<'_>, base: &Base) -> Result<Sent, LogError> {
        let name = self.names.of(entry.stream);
        let event = event::outgoing(entry)?;
        match self.server.append(&name, base.number, vec![event]).await {
            Ok(revision) => self.what_is_there(entry, &name, revision).await,
            Err(Fault::Wrong | Fault::NotLeader) => Ok(Sent::Lost),
            Err(Fault::Unsent(_)) => Ok(Sent::Unsent),
            Err(Fault::Silence(_)) => Ok(Sent::Silent),
            Err(fault @ (Fault::No(_) | Fault::NoStream | Fault::Deleted)) => {
                Ok(Sent::No(fault.unavailable()))
            }
        }
    }
}

fn deleted(stream: &Stream, reason: &str) -> LogError {
    let reason = format!("{stream} was deleted in KurrentDB: {reason}");
    LogError::Damaged { offset: Offset(0), reason }
}

impl Shared {
    /// Reads back what stands where an entry of ours is said to be.
    async fn what_is_there(
        &self,
        entry: &Outgoing<'_>,
        name: &str,
        revision: u64,
    ) -> Result<Sent, LogError> {
        let reading = self.server.stream_from(name, revision, 1).await;
        let Ok(mut reading) = reading else { return Ok(Sent::Silent) };
        let Ok(Next::Event(event)) = reading.event().await else { return Ok(Sent::Silent) };
        let raw = self.take(*event).filter(|raw| raw.revision == revision);
        let Some(raw) = raw else { return Ok(Sent::Silent) };
        let place = raw.place()?;
        self.note_alone(&raw.stream, place);
        self.wake.notify_one();
        if place.hash == entry.ready.hash {
            return Ok(Sent::Stored(place));
        }
        if place.append_id == entry.append_id {
            return Ok(Sent::Found(place));
        }
        // It was told of an entry that its leader has lost since.
        Ok(Sent::Lost)
    }

    /// Learns where an entry stands, whatever stands before it.
    pub(super) fn note_alone(&self, stream: &Stream, place: Place) {
        self.tips.note(stream, place);
        self.ids.note_alone(stream, place);
    }
}
