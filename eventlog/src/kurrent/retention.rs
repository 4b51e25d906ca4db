//! What KurrentDB may drop of a log: of the market log what is older than configured, stream by stream;
//! of the ledger nothing, and a ledger of which it would is refused.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use eventstore::{EventData, Position, RecordedEvent, StreamPosition, SubscriptionFilter};
use serde_json::{Map, Value};

use crate::entry::{Offset, Version};
use crate::keep::Kept;
use crate::kurrent::Shared;
use crate::kurrent::event::Raw;
use crate::kurrent::names;
use crate::kurrent::reading::Witness;
use crate::kurrent::server::{Fault, Newest, Next};
use crate::log::{LogError, Tip};
use crate::stream::{Log, Stream};

/// The kind of event that holds the settings of a stream.
const SETTINGS: &str = "$metadata";
/// The age after which KurrentDB drops an event, in seconds. (The client's own builder says it in
/// milliseconds, and would keep everything a thousand times as long.)
const MAX_AGE: &str = "$maxAge";
/// The settings by which KurrentDB drops events.
const DROPPING: [&str; 3] = [MAX_AGE, "$maxCount", TRUNCATED];
/// Events of earlier revisions than this are dropped.
const TRUNCATED: &str = "$tb";

/// Streams whose age was seen to. When there are more, all are looked at again.
const STREAMS_MAX: usize = 1 << 16;
/// How long a look at all settings may take between two of them: the server passes over all else.
const LOOK_WAIT: Duration = Duration::from_mins(10);

/// Entries that are looked at for where a log begins: more than there are streams that came to a rest.
const FLOOR_ENTRIES: usize = 256;

/// Of what is kept of the last look.
const LOOK_REVISION: u32 = 1;

/// Streams whose age is known to be as configured.
#[derive(Default)]
pub(super) struct Aged(Mutex<BTreeSet<Stream>>);

impl Aged {
    fn has(&self, stream: &Stream) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(stream)
    }

    fn note(&self, stream: &Stream) {
        let mut aged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if aged.len() >= STREAMS_MAX {
            aged.clear();
        }
        aged.insert(stream.clone());
    }
}

impl Shared {
    /// Has KurrentDB drop what is too old of a stream of the market log.
    pub(super) async fn age(&self, stream: &Stream, name: &str) -> Result<(), Fault> {
        if self.names.log == Log::Ledger || self.aged.has(stream) {
            return Ok(());
        }
        let age = self.options.market_age;
        // Not a moment less than configured.
        let seconds = age.as_secs() + u64::from(age.subsec_nanos() > 0);
        let wanted = (seconds > 0).then(|| Value::from(seconds));
        let name = names::settings(name);
        let (mut settings, revision) = match self.server.newest(&name).await? {
            Newest::Event(event) => (settings(&event), Some(event.revision)),
            Newest::Hidden(revision) => (Map::new(), Some(revision)),
            Newest::Never => (Map::new(), None),
        };
        if settings.get(MAX_AGE) != wanted.as_ref() {
            match wanted {
                Some(wanted) => settings.insert(MAX_AGE.to_owned(), wanted),
                None => settings.remove(MAX_AGE),
            };
            let event = EventData::json(SETTINGS, &settings)
                .map_err(|error| Fault::Unsent(error.to_string()))?;
            // Guarded: somebody may be changing another setting.
            match self.server.append(&name, revision, vec![event]).await {
                Ok(_) => {}
                // As another node may be that begins the same stream: the next append looks again.
                Err(Fault::Wrong) => return Ok(()),
                Err(fault) => return Err(fault),
            }
        }
        self.aged.note(stream);
        Ok(())
    }

    /// Whether a stream that seems never to have been has only been deleted: it would go on at a later
    /// revision than its first.
    pub(super) async fn has_settings_of_deleted(&self, name: &str) -> Result<bool, Fault> {
        Ok(match self.server.newest(&names::settings(name)).await? {
            Newest::Event(event) => settings(&event).contains_key(TRUNCATED),
            Newest::Hidden(_) | Newest::Never => false,
        })
    }

    /// Returns the tip of a stream of which KurrentDB shows nothing any more. Who reads everything is
    /// shown its newest event for ever: that is searched for where its tip is not kept.
    pub(super) async fn aged_out(&self, stream: &Stream, revision: u64) -> Result<Tip, LogError> {
        match self.tips.of_number(stream, revision).await {
            Ok(Some(tip)) => return Ok(tip),
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "a tip is looked for in the whole database"),
        }
        let found = self.search_all(stream, revision).await.map_err(Fault::unavailable)?;
        if let Some(newest) = found {
            let place = newest.place()?;
            self.tips.note(stream, place);
            return Ok(place.tip());
        }
        // Begun anew, its versions would come twice.
        let reason = format!(
            "{stream} has come to revision {revision}, and KurrentDB shows none of it any more; its \
             newest version and hash are not kept in the read store either"
        );
        Err(LogError::Damaged { offset: Offset(0), reason })
    }

    /// Looks for an entry among all that are shown to who reads everything. The whole database is passed
    /// over, where it stands far back.
    async fn search_all(&self, stream: &Stream, revision: u64) -> Result<Option<Raw>, Fault> {
        let filter = SubscriptionFilter::on_stream_name().add_prefix(self.names.of(stream));
        let is_it = |raw: &Raw| raw.stream == *stream && raw.revision == revision;
        let backward = Some(filter.clone());
        let mut reading = self.server.all_backward(backward, usize::MAX, LOOK_WAIT).await?;
        while let Next::Event(event) = reading.event_within(LOOK_WAIT).await? {
            if let Some(raw) = self.take(*event).filter(is_it) {
                return Ok(Some(raw));
            }
        }
        // It may have ended before its end. Forward, that shows.
        let witness = self.end().await.ok().flatten().ok_or_else(silence)?;
        let filter = filter.add_prefix(witness.stream());
        let mut reading =
            self.server.all_from(StreamPosition::Start, filter, usize::MAX, LOOK_WAIT).await?;
        let mut seen_to = 0;
        while seen_to < witness.position {
            let Next::Event(event) = reading.event_within(LOOK_WAIT).await? else {
                return Err(silence());
            };
            seen_to = event.position.commit;
            if let Some(raw) = self.take(*event).filter(is_it) {
                return Ok(Some(raw));
            }
        }
        Ok(None)
    }

    /// Returns the offset behind which none is missing, as far as the oldest entries show it. What was
    /// dropped went stream by stream, and of each the newest stays: so of the oldest that are held, the
    /// first of a stream which is not its first tells that those before it are gone.
    pub(super) async fn find_floor(&self) -> Result<Offset, LogError> {
        let front = self.seen().front;
        let oldest = self.walk(front, FLOOR_ENTRIES, None, self.soon()).await?.raws;
        if let Some(first) = oldest.first() {
            self.seen().front = Offset(first.offset.0 - 1);
        }
        let mut streams = BTreeSet::new();
        let firsts = oldest.iter().filter(|raw| streams.insert(&raw.stream));
        let dropped_before = firsts.filter(|raw| raw.revision > 0).map(|raw| raw.offset.0 - 1);
        Ok(Offset(dropped_before.max().unwrap_or_default()))
    }

    /// Whether retention has dropped what is missing of a stream before an entry: then nothing is shown
    /// there. (By now the entry itself may be too old to be shown.)
    pub(super) async fn is_dropped_before(&self, raw: &Raw) -> Result<bool, LogError> {
        if self.names.log == Log::Ledger {
            return Ok(false);
        }
        let reading = self.server.stream_from(&self.names.of(&raw.stream), 0, 1).await;
        match reading.map_err(Fault::unavailable)?.event().await.map_err(Fault::unavailable)? {
            Next::Event(shown) => Ok(shown.revision >= raw.revision),
            Next::End { newest: Some(newest) } => Ok(newest >= raw.revision),
            Next::End { newest: None } => Err(silence().unavailable()),
        }
    }

    /// Notes what a `$metadata` event says of a stream of the ledger. Who reads what is long past comes by
    /// settings that no longer hold.
    pub(super) fn note_settings(&self, event: &RecordedEvent) {
        if self.names.log == Log::Ledger
            && let Some(stream) = self.names.stream_of_settings(event.stream_id())
            && Offset(event.position.commit) > self.seen_to()
        {
            self.faring.saw_settings(&stream, dropping(&stream, event));
        }
    }

    /// Refuses a ledger of which KurrentDB would drop something. What was looked at before is not looked
    /// at again, where that is kept.
    pub(super) async fn check_settings(&self, witness: &Witness) -> Result<(), LogError> {
        if self.names.log == Log::Market {
            return Ok(());
        }
        let name = format!("settings.{}", self.names.log);
        let kept = match &self.options.keep {
            Some(keep) => keep.load(&name).await.ok().flatten(),
            None => None,
        };
        // Kept is the place of an event of this very database, or of another one: then it is most often
        // none of this one, or behind its end.
        let is_it = |kept: &Kept| {
            kept.revision == LOOK_REVISION
                && kept.version.0 <= witness.position
                && kept.state == self.names.prefix().as_bytes()
        };
        let from = kept.filter(is_it).map(|kept| kept.version.0);
        let places = from
            .into_iter()
            .map(|from| StreamPosition::Position(Position { commit: from, prepare: from }));
        for place in places.chain([StreamPosition::Start]) {
            match self.look_at_settings(place, witness).await {
                Err(Fault::No(text)) if !matches!(place, StreamPosition::Start) => {
                    tracing::debug!(text, "looks at all settings again");
                }
                Err(fault) => return Err(fault.unavailable()),
                Ok(()) => break,
            }
        }
        if let Some(drift) = self.faring.drift() {
            return Err(LogError::Unavailable(format!("the ledger would lose entries: {drift}")));
        }
        if let Some(keep) = &self.options.keep {
            let version = Version(witness.position);
            let state = self.names.prefix().as_bytes().to_vec();
            let kept = Kept { revision: LOOK_REVISION, version, state };
            if let Err(error) = keep.save(&name, kept).await {
                tracing::debug!(%error, "the next start looks at all settings again");
            }
        }
        Ok(())
    }

    async fn look_at_settings(
        &self,
        place: StreamPosition<Position>,
        witness: &Witness,
    ) -> Result<(), Fault> {
        let filter = self.names.filter_of_settings().add_prefix(witness.stream());
        let mut reading = self.server.all_from(place, filter, usize::MAX, LOOK_WAIT).await?;
        let mut seen_to = 0;
        while seen_to < witness.position {
            match reading.event_within(LOOK_WAIT).await? {
                Next::Event(event) => {
                    seen_to = event.position.commit;
                    self.note_settings(&event);
                }
                Next::End { .. } => {
                    return Err(silence());
                }
            }
        }
        Ok(())
    }
}

fn silence() -> Fault {
    Fault::Silence("KurrentDB has ended a read before its end".to_owned())
}

fn settings(event: &RecordedEvent) -> Map<String, Value> {
    serde_json::from_slice(&event.data).unwrap_or_default()
}

/// Says by which setting KurrentDB would drop events of a stream.
fn dropping(stream: &Stream, event: &RecordedEvent) -> Option<String> {
    let settings = settings(event);
    let dropping = DROPPING.iter().filter_map(|name| settings.get_key_value(*name));
    let dropping: Vec<_> = dropping.map(|(name, value)| format!("{name} is {value}")).collect();
    (!dropping.is_empty()).then(|| format!("of {stream}, {}", dropping.join(" and ")))
}
