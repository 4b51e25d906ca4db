//! The newest entries of streams, as far as this process knows them: so that an append is one round
//! trip, and so that a stream whose entries have all aged out goes on where it was.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::entry::{Hash, Version};
use crate::keep::{Keep, Kept};
use crate::log::{LogError, Tip};
use crate::remote::place::Place;
use crate::stream::{Log, Stream};

/// Streams whose newest entry is remembered. When there are more, all are forgotten that are kept
/// elsewhere as well, and of the ledger all: the next append of each asks the leader again.
pub(crate) const TIPS_MAX: usize = 1 << 16;

/// Of the shape of what is kept.
const REVISION: u32 = 1;

pub(crate) struct Tips {
    known: Mutex<BTreeMap<Stream, Known>>,
    /// Of the market log only: no entry of the ledger ever ages out.
    keep: Option<Arc<dyn Keep>>,
}

#[derive(Clone, Copy)]
struct Known {
    place: Place,
    /// Nothing has been heard since that would make it the wrong one.
    is_fresh: bool,
    is_kept: bool,
}

impl Tips {
    pub(crate) fn new(log: Log, keep: Option<Arc<dyn Keep>>) -> Self {
        let keep = keep.filter(|_| log == Log::Market);
        Self { known: Mutex::default(), keep }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Stream, Known>> {
        // Places are put in whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what is believed to be the newest entry. It is a guess; the guard decides.
    pub(crate) fn guess(&self, stream: &Stream) -> Option<Place> {
        self.known().get(stream).filter(|known| known.is_fresh).map(|known| known.place)
    }

    /// Returns the version and number of an entry that was once the newest, at or before a version.
    pub(crate) fn before(&self, stream: &Stream, at: Version) -> Option<(Version, u64)> {
        let known = self.known();
        let place = known.get(stream)?.place;
        Some((place.version, place.number)).filter(|(version, _)| *version <= at)
    }

    /// Notes an entry that was acknowledged, or that the leader had.
    pub(crate) fn note(&self, stream: &Stream, place: Place) {
        let mut known = self.known();
        match known.get_mut(stream) {
            Some(known) if known.place.version > place.version => {}
            Some(known) => {
                known.is_kept = self.keep.is_none() || known.is_kept && known.place == place;
                (known.place, known.is_fresh) = (place, true);
            }
            None => {
                if known.len() >= TIPS_MAX {
                    known.retain(|_, known| !known.is_kept);
                }
                let is_kept = self.keep.is_none();
                known.insert(stream.clone(), Known { place, is_fresh: true, is_kept });
            }
        }
    }

    /// Asks the leader the next time. What was known stays known, for a stream that ages out.
    pub(crate) fn doubt(&self, stream: &Stream) {
        if let Some(known) = self.known().get_mut(stream) {
            known.is_fresh = false;
        }
    }

    /// Returns the tip of a stream of which the server shows nothing any more.
    pub(crate) async fn aged_out(&self, stream: &Stream) -> Result<Option<Tip>, LogError> {
        let Some(keep) = &self.keep else { return Ok(None) };
        let known = self.known().get(stream).map(|known| known.place.tip());
        let kept = load(&**keep, stream).await?.map(|kept| kept.tip);
        Ok(known.into_iter().chain(kept).max_by_key(|tip| tip.version))
    }

    /// The same where the server still tells the number of the newest entry: of an older one nothing is
    /// told, since the next version would come twice.
    pub(crate) async fn of_number(
        &self,
        stream: &Stream,
        number: u64,
    ) -> Result<Option<Tip>, LogError> {
        let known = self.known().get(stream).map(|known| known.place);
        if let Some(place) = known.filter(|place| place.number == number) {
            return Ok(Some(place.tip()));
        }
        let Some(keep) = &self.keep else { return Ok(None) };
        let kept = load(&**keep, stream).await?;
        Ok(kept.filter(|kept| kept.number == Some(number)).map(|kept| kept.tip))
    }

    /// Has the next keeping look at all of them again: the place where they are kept may have been
    /// begun anew since.
    pub(crate) fn keep_again(&self) {
        if self.keep.is_some() {
            self.known().values_mut().for_each(|known| known.is_kept = false);
        }
    }

    /// Keeps each tip that is not kept yet.
    pub(crate) async fn keep_all(&self) -> Result<(), LogError> {
        let Some(keep) = &self.keep else { return Ok(()) };
        let unkept: Vec<_> = {
            let known = self.known();
            let unkept = known.iter().filter(|(_, known)| !known.is_kept);
            unkept.map(|(stream, known)| (stream.clone(), known.place)).collect()
        };
        for (stream, place) in unkept {
            // Another node may have appended since, and have kept its own.
            let kept = load(&**keep, &stream).await?;
            if kept.is_none_or(|kept| kept.tip.version < place.version) {
                save(&**keep, &stream, &place).await?;
            }
            if let Some(known) = self.known().get_mut(&stream) {
                known.is_kept |= known.place == place;
            }
        }
        Ok(())
    }
}

/// Returns the name under which the tip of a stream is kept: beside what others keep under the
/// stream's own.
pub(crate) fn kept_as(stream: &Stream) -> String {
    format!("tip.{stream}")
}

/// What was kept of a tip: its hash, and behind that the server's number, which older ones lack.
struct KeptTip {
    tip: Tip,
    number: Option<u64>,
}

async fn load(keep: &dyn Keep, stream: &Stream) -> Result<Option<KeptTip>, LogError> {
    let kept = keep.load(&kept_as(stream)).await;
    let kept = kept.map_err(|error| LogError::Unavailable(error.to_string()))?;
    Ok(kept.filter(|kept| kept.revision == REVISION).and_then(|kept| {
        let (hash, number) = kept.state.split_first_chunk()?;
        let number = number.try_into().ok().map(u64::from_le_bytes);
        Some(KeptTip { tip: Tip { version: kept.version, hash: Hash(*hash) }, number })
    }))
}

async fn save(keep: &dyn Keep, stream: &Stream, place: &Place) -> Result<(), LogError> {
    let state = [&place.hash.0[..], &place.number.to_le_bytes()].concat();
    let kept = Kept { revision: REVISION, version: place.version, state };
    let saved = keep.save(&kept_as(stream), kept).await;
    saved.map_err(|error| LogError::Unavailable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_ledger_no_more_tips_are_remembered_than_may_be() {
        let tips = Tips::new(Log::Ledger, None);
        let place = |version| Place {
            version: Version(version),
            offset: crate::entry::Offset(version),
            number: version,
            hash: Hash::default(),
            append_id: uuid::Uuid::nil(),
            command_id: uuid::Uuid::nil(),
        };
        for number in 0..=TIPS_MAX {
            let stream = format!("account-a{number}").parse().expect("a name of a stream");
            for version in 1..=2 {
                tips.note(&stream, place(version));
            }
        }
        assert_eq!(tips.known().len(), 1);
    }
}
