//! Snapshots: what changed in each view is written with its cut, and read again at a start.

use std::collections::BTreeMap;

use domain::time::Timestamp;
use eventlog::entry::Hash;
use eventlog::log::ReadLog;
use eventlog::stream::Log;

use super::StoreError;
use super::belonging::{self, Belongs};
use super::database::cuts::Newest;
use super::database::{Database, Transaction};
use super::rows::KeptCut;
use super::thinning;
use crate::view::hash_of_parts;
use crate::views::{Changed, Cut, Views};

/// What a snapshot wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Views whose cut moved.
    pub views: usize,
    /// Parts that had changed, and their bytes.
    pub parts: usize,
    pub bytes: usize,
}

/// What a view was restored from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadedView {
    /// The cut, by its number and time; `None` for a view that is folded from the beginning.
    pub kept: Option<KeptCut>,
    /// Newer cuts that were not sound.
    pub discarded: usize,
    /// Retention has dropped entries that came after the cut: they are missing in the view.
    pub behind_floor: bool,
}

/// What the store holds of each view, and what it does not hold yet.
#[derive(Default)]
pub(super) struct Written {
    views: BTreeMap<&'static str, WrittenView>,
    /// Nothing is held: the next snapshot writes every part, changed or not.
    all: bool,
}

#[derive(Default)]
struct WrittenView {
    revision: u32,
    /// The cut that is known to stand, with its parts' hashes. Zero and empty when there is none.
    number: u64,
    cut: Cut,
    hashes: BTreeMap<String, Hash>,
    /// What the newest cut in the store can be, when nobody else writes it: one, or what we tried to
    /// write since as well; empty before it was looked at.
    newest: Vec<Option<Newest>>,
    /// Something was written whose commit we did not hear of.
    unsure: bool,
    /// What came after `cut`, up to `due`.
    due: Cut,
    parts: BTreeMap<String, Part>,
}

/// A part as it is to be written; without state when it has gone.
struct Part {
    state: Option<Vec<u8>>,
    hash: Option<Hash>,
}

impl Written {
    /// Returns what is known of a store that was begun anew.
    pub(super) fn nothing() -> Self {
        Self { views: BTreeMap::new(), all: true }
    }

    /// Takes in what has changed in the views. They say it once: from here on it is ours to keep.
    pub(super) fn take(&mut self, views: &Views) {
        let changed = if self.all { views.take_all() } else { views.take_changed() };
        self.all = false;
        for changed in changed {
            self.take_in(changed);
        }
    }

    pub(super) fn take_in(&mut self, changed: Changed) {
        self.views.entry(changed.view).or_default().take(changed);
    }

    /// Brings to what another node has written meanwhile each view of which it has. `all` tells every
    /// part that there is.
    pub(super) async fn rebase(
        &mut self,
        write: &mut Transaction<'_>,
        all: impl FnOnce() -> Vec<Changed>,
    ) -> Result<(), StoreError> {
        let mut overtaken = Vec::new();
        for (name, view) in &mut self.views {
            if !view.newest.contains(&write.newest(name, view.revision).await?) {
                overtaken.push(*name);
            }
        }
        if overtaken.is_empty() {
            return Ok(());
        }
        for changed in all() {
            if overtaken.contains(&changed.view) {
                let rebased = WrittenView::read(write, changed.view, changed.revision).await?;
                let view = self.views.entry(changed.view).or_default();
                *view = rebased;
                view.take_whole(changed);
            } else {
                self.take_in(changed);
            }
        }
        Ok(())
    }

    pub(super) fn is_due(&self) -> bool {
        self.views.values().any(WrittenView::is_due)
    }

    /// Writes all that is due. Nothing is forgotten before [`Written::committed`].
    pub(super) async fn write(
        &mut self,
        write: &mut Transaction<'_>,
        now: Timestamp,
    ) -> Result<Snapshot, StoreError> {
        let mut snapshot = Snapshot::default();
        for (name, view) in self.views.iter_mut().filter(|(_, view)| view.is_due()) {
            view.write(name, write, now).await?;
            snapshot.views += 1;
            snapshot.parts += view.parts.len();
            let lengths = view.parts.values().filter_map(|part| part.state.as_ref());
            snapshot.bytes += lengths.map(Vec::len).sum::<usize>();
        }
        Ok(snapshot)
    }

    /// Notes that what was written is committed.
    pub(super) fn committed(&mut self) {
        for view in self.views.values_mut().filter(|view| view.is_due()) {
            view.committed();
        }
    }

    /// Returns the newest cut that every view has in the store; `None` while one has none.
    pub(super) fn newest_cut(&self) -> Option<Cut> {
        let cut = |(name, _)| self.views.get(name).filter(|view| view.number > 0);
        let cuts: Vec<Cut> = Views::revisions()
            .into_iter()
            .map(|view| Some(cut(view)?.cut))
            .collect::<Option<_>>()?;
        Some(Cut {
            ledger: cuts.iter().map(|cut| cut.ledger).min_by_key(|place| place.offset)?,
            market: cuts.iter().map(|cut| cut.market).min_by_key(|place| place.offset)?,
        })
    }

    /// Restores a view from its newest cut that is sound and belongs to these logs.
    pub(super) async fn load(
        &mut self,
        (name, revision): (&'static str, u32),
        database: &Database,
        views: &Views,
        logs: Logs<'_>,
    ) -> Result<LoadedView, StoreError> {
        let mut read = database.read_long().await?;
        let mut loaded = LoadedView::default();
        let mut view = WrittenView { revision, ..WrittenView::default() };
        view.newest = vec![read.newest(name, revision).await?];
        let stored = read.cut_times(name, revision).await?.len();
        for cut in read.cuts(name, revision).await? {
            let Some(parts) = sound_parts(&mut read, &cut).await? else { continue };
            loaded.behind_floor = logs.hold(database, &cut).await? == Belongs::BehindFloor;
            if let Err(error) = views.restore(name, cut.cut, &parts.states) {
                tracing::warn!(view = name, %error, "a snapshot was discarded");
                continue;
            }
            (view.number, view.cut, view.hashes) = (cut.number, cut.cut, parts.hashes);
            view.due = cut.cut;
            loaded.kept = Some(cut);
            break;
        }
        let older = read.cut_times(name, revision).await?;
        let older = older.iter().filter(|(number, _)| *number <= view.number).count();
        loaded.discarded = stored.saturating_sub(older);
        read.roll_back().await?;
        self.views.insert(name, view);
        Ok(loaded)
    }
}

impl WrittenView {
    /// Returns what stands of a view: its newest cut that is sound.
    async fn read(
        read: &mut Transaction<'_>,
        name: &str,
        revision: u32,
    ) -> Result<Self, StoreError> {
        let newest = vec![read.newest(name, revision).await?];
        let mut view = Self { revision, newest, ..Self::default() };
        for cut in read.cuts(name, revision).await? {
            if let Some(parts) = sound_parts(read, &cut).await? {
                (view.number, view.cut, view.hashes) = (cut.number, cut.cut, parts.hashes);
                view.due = cut.cut;
                break;
            }
        }
        Ok(view)
    }

    /// Takes every part that there is: what is written and is not among them has gone.
    fn take_whole(&mut self, changed: Changed) {
        let gone = self.hashes.keys().filter(|name| !changed.parts.contains_key(*name));
        let gone: Vec<String> = gone.cloned().collect();
        self.take(changed);
        for name in gone {
            self.parts.insert(name, Part { state: None, hash: None });
        }
    }

    fn take(&mut self, changed: Changed) {
        (self.revision, self.due) = (changed.revision, changed.cut);
        for (name, state) in changed.parts {
            let hash = state.as_deref().map(Hash::of);
            // What a commit of unknown outcome may have written must be written over.
            if !self.unsure && self.hashes.get(&name) == hash.as_ref() {
                self.parts.remove(&name);
            } else {
                self.parts.insert(name, Part { state, hash });
            }
        }
    }

    fn is_due(&self) -> bool {
        !self.is_behind() && (self.due != self.cut || !self.parts.is_empty())
    }

    /// Whether another node has written a later state than ours: ours waits until it has come as far.
    fn is_behind(&self) -> bool {
        self.due.ledger.offset < self.cut.ledger.offset
            || self.due.market.offset < self.cut.market.offset
    }

    async fn write(
        &mut self,
        name: &str,
        write: &mut Transaction<'_>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.guard(name, write).await?;
        // Whatever stands after the cut that we know of was not sound, or is ours from a commit
        // that we did not hear of: all that it can hold is in `parts` again.
        write.delete_after(name, self.revision, self.number).await?;
        let number = self.number + 1;
        let parts = self.parts.iter().map(|(name, part)| (name.as_str(), part.state.as_deref()));
        let parts: Vec<_> = parts.collect();
        write.insert_parts((name, self.revision), number, &parts).await?;
        let cut = KeptCut {
            view: name.to_owned(),
            revision: self.revision,
            number,
            taken_at: now,
            cut: self.due,
            state_hash: hash_of_parts(self.hashes_due()),
        };
        write.insert_cut(&cut).await?;
        thin(name, self.revision, write).await?;
        self.retire_others(name, write).await?;
        self.newest.push(Some(Newest::of(number, self.due)));
        self.unsure = true;
        Ok(())
    }

    /// Makes sure that nobody else has written the view since we read or wrote it.
    async fn guard(&mut self, name: &str, write: &mut Transaction<'_>) -> Result<(), StoreError> {
        let newest = write.newest(name, self.revision).await?;
        if !self.newest.is_empty() && !self.newest.contains(&newest) {
            let reason = format!("another process has written the view {name}: restart");
            return Err(StoreError::Unreachable(reason));
        }
        self.newest = vec![newest];
        Ok(())
    }

    /// Deletes what stands of other revisions once this one has come as far.
    async fn retire_others(
        &self,
        name: &str,
        write: &mut Transaction<'_>,
    ) -> Result<(), StoreError> {
        for (revision, newest) in write.newest_of_others(name, self.revision).await? {
            // Nodes of two versions may share a store for a while: the older one leaves the rows of the
            // newer one alone.
            if write.is_shared() && revision > self.revision {
                continue;
            }
            if self.due.ledger.offset >= newest.ledger && self.due.market.offset >= newest.market {
                write.delete_revision(name, revision).await?;
            }
        }
        Ok(())
    }

    fn committed(&mut self) {
        self.hashes = self.hashes_due();
        self.parts.clear();
        self.number += 1;
        self.cut = self.due;
        self.newest = vec![Some(Newest::of(self.number, self.cut))];
        self.unsure = false;
    }

    /// Returns the hashes of the parts as they are at `due`.
    fn hashes_due(&self) -> BTreeMap<String, Hash> {
        let mut hashes = self.hashes.clone();
        for (name, part) in &self.parts {
            match part.hash {
                Some(hash) => hashes.insert(name.clone(), hash),
                None => hashes.remove(name),
            };
        }
        hashes
    }
}

/// The logs that a store's cuts must belong to.
#[derive(Clone, Copy)]
pub(super) struct Logs<'a> {
    pub(super) ledger: &'a dyn ReadLog,
    pub(super) market: &'a dyn ReadLog,
}

impl Logs<'_> {
    async fn hold(self, database: &Database, cut: &KeptCut) -> Result<Belongs, StoreError> {
        let reader = format!("view {}", cut.view);
        let mut belongs = Belongs::Whole;
        for (log, from) in [(Log::Ledger, self.ledger), (Log::Market, self.market)] {
            let place = cut.cut.at(log);
            belongs =
                belongs.max(belonging::hold(database.name(), &reader, log, place, from).await?);
        }
        Ok(belongs)
    }
}

/// Returns the newest cut that every view has in the store; `None` while one has none.
pub(super) async fn newest_cut(read: &mut Transaction<'_>) -> Result<Option<Cut>, StoreError> {
    let mut least: Option<Cut> = None;
    for (name, revision) in Views::revisions() {
        let Some(kept) = read.cuts(name, revision).await?.into_iter().next() else {
            return Ok(None);
        };
        let least = least.get_or_insert(kept.cut);
        for (least, place) in
            [(&mut least.ledger, kept.cut.ledger), (&mut least.market, kept.cut.market)]
        {
            if place.offset < least.offset {
                *least = place;
            }
        }
    }
    Ok(least)
}

struct Parts {
    states: BTreeMap<String, Vec<u8>>,
    hashes: BTreeMap<String, Hash>,
}

/// Restores a view from one of its cuts, of whichever logs; false when the cut is not sound.
pub(super) async fn load_at(
    read: &mut Transaction<'_>,
    cut: &KeptCut,
    views: &Views,
) -> Result<bool, StoreError> {
    let Some(parts) = sound_parts(read, cut).await? else { return Ok(false) };
    Ok(views.restore(&cut.view, cut.cut, &parts.states).is_ok())
}

async fn sound_parts(
    read: &mut Transaction<'_>,
    cut: &KeptCut,
) -> Result<Option<Parts>, StoreError> {
    let Some(rows) = read.parts(cut).await? else { return Ok(None) };
    let hashes: BTreeMap<String, Hash> =
        rows.iter().map(|(name, state)| (name.clone(), Hash::of(state))).collect();
    let sound = hashes.len() == rows.len()
        && hash_of_parts(hashes.iter().map(|(name, hash)| (name.clone(), *hash))) == cut.state_hash;
    let states = rows.into_iter().collect();
    Ok(sound.then_some(Parts { states, hashes }))
}

/// Deletes the cuts that need not stay, and the parts that only they needed.
async fn thin(view: &str, revision: u32, write: &mut Transaction<'_>) -> Result<(), StoreError> {
    let cuts = write.cut_times(view, revision).await?;
    let stay = thinning::staying(&cuts);
    let mut runs = thinning::runs_between(&cuts, &stay);
    // Also where a commit that we did not hear of has thinned already: parts that it left in place
    // may have been written anew since.
    let mut newest = stay.iter().rev().copied();
    if let Some(after) = newest.next() {
        let run = (newest.next().unwrap_or_default(), after);
        if !runs.contains(&run) {
            runs.push(run);
        }
    }
    for run in runs {
        write.delete_between(view, revision, run).await?;
    }
    write.delete_gone(view, revision).await
}
