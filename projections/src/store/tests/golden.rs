//! A store that an earlier version wrote. It opens for ever, and holds what its logs tell.
//!
//! `golden/read_store.v1.txt` draws the entries of both logs, `golden/read_store.v1.db` was made from
//! them. Neither is edited again; a new layout gets files of its own.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use eventlog::entry::{Entry, Hash, Offset, Version};
use eventlog::keep::{Keep, Kept};
use eventlog::log::{Durability, ReadLog, Tip};
use eventlog::stream::{Log, Stream};

use super::super::archive::Direction;
use super::super::rows::ArchivedHour;
use super::super::*;
use super::house::House;
use crate::projector;
use crate::sample::{at, entries};

/// One of the logs that the drawing tells of: an entry a line, at its line's number, whose hash is
/// that of the line.
struct Drawn(Vec<Entry>);

impl Drawn {
    fn of(log: Log, drawing: &str) -> Self {
        let lines = drawing.lines().map(str::trim).filter(|line| !line.is_empty());
        let entries = entries(drawing).into_iter().zip(lines).map(|(mut entry, line)| {
            entry.hash = Hash::of(line.as_bytes());
            entry
        });
        Self(entries.filter(|entry| entry.log == log).collect())
    }
}

#[async_trait]
impl ReadLog for Drawn {
    async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Entry>, LogError> {
        let later = self.0.iter().filter(|entry| entry.offset > after);
        Ok(later.take(limit).cloned().collect())
    }

    async fn read_stream(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let of_it = self.0.iter().filter(|entry| entry.stream == *stream && entry.version > after);
        Ok(of_it.take(limit).cloned().collect())
    }

    async fn last(&self, stream: &Stream) -> Result<Option<Entry>, LogError> {
        Ok(self.0.iter().rfind(|entry| entry.stream == *stream).cloned())
    }

    async fn tip(&self, stream: &Stream) -> Result<Option<Tip>, LogError> {
        let last = self.last(stream).await?;
        Ok(last.map(|entry| Tip { version: entry.version, hash: entry.hash }))
    }

    async fn floor(&self) -> Result<Offset, LogError> {
        Ok(Offset(0))
    }

    async fn head(&self) -> Result<Offset, LogError> {
        Ok(self.0.last().map(|entry| entry.offset).unwrap_or_default())
    }

    async fn wait_after(&self, _after: Offset) -> Result<(), LogError> {
        std::future::pending().await
    }

    fn durability(&self) -> Durability {
        Durability::Memory
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

fn kept() -> Kept {
    Kept { revision: 1, version: Version(4), state: b"{\"next_id\":12}".to_vec() }
}

/// Makes the file that is then kept.
async fn write(path: &Path, ledger: &Drawn, market: &Drawn) {
    let (store, _) = Store::open(path).await.unwrap();
    let views = Views::new(Vec::new());
    for (log, from) in [(Log::Ledger, ledger), (Log::Market, market)] {
        let half = from.read(Offset(0), from.0.len() / 2).await.unwrap();
        views.fold(log, &half);
    }
    store.snapshot(&views, at("13:00")).await.unwrap();
    projector::catch_up(Log::Ledger, ledger, &views).await.unwrap();
    projector::catch_up(Log::Market, market, &views).await.unwrap();
    store.snapshot(&views, at("14:00")).await.unwrap();
    store.catch_up_archive(ledger).await.unwrap();
    Keep::save(&store, "market-binance.BTC-USDT", kept()).await.unwrap();
    store.close().await;
}

async fn filed(store: &Store) -> Vec<ArchivedHour> {
    let (venue, instrument) = ("binance".parse().unwrap(), "BTC-USDT".parse().unwrap());
    let (range, archive) = (Timestamp::MIN..Timestamp::MAX, store.archive());
    archive.hours(&venue, &instrument, range, Direction::Forward, 99).await.unwrap()
}

#[tokio::test]
async fn a_store_of_version_1_opens_and_holds_what_its_logs_tell() {
    let drawing = std::fs::read_to_string(golden("read_store.v1.txt")).unwrap();
    let (ledger, market) = (Drawn::of(Log::Ledger, &drawing), Drawn::of(Log::Market, &drawing));
    let file = golden("read_store.v1.db");
    if std::env::var_os("UPDATE_GOLDEN").is_some() && !file.exists() {
        let house = House::new();
        write(&house.path(), &ledger, &market).await;
        std::fs::copy(house.path(), &file).unwrap();
    }
    let house = House::new();
    std::fs::copy(&file, house.path()).unwrap();
    let (store, opened) = Store::open(&house.path()).await.unwrap();
    assert_eq!(opened, Opened::There);

    let views = Views::new(Vec::new());
    let loaded = store.load(&views, &ledger, &market).await.unwrap();
    for (view, revision) in Views::revisions() {
        // A view whose revision has risen since is folded anew.
        let told = format!("view = '{view}' AND revision = {revision}");
        let cuts = house.count(&format!("SELECT COUNT(*) FROM cut WHERE {told}")).await;
        let LoadedView { kept, discarded, behind_floor } = &loaded.views[view];
        assert_eq!((kept.is_some(), *discarded, *behind_floor), (cuts == 2, 0, false), "{view}");
    }
    let truth = Views::new(Vec::new());
    for views in [&views, &truth] {
        projector::catch_up(Log::Ledger, &ledger, views).await.unwrap();
        projector::catch_up(Log::Market, &market, views).await.unwrap();
    }
    assert_eq!(views.state_hashes(), truth.state_hashes());
    assert_eq!(Keep::load(&store, "market-binance.BTC-USDT").await, Ok(Some(kept())));

    // Of what is filed nothing is filed again.
    let rows = "SELECT COUNT(*) FROM archive";
    let before = house.count(rows).await;
    store.catch_up_archive(&Drawn(Vec::new())).await.unwrap();
    let other = House::new();
    let fresh = other.open().await;
    fresh.catch_up_archive(&ledger).await.unwrap();
    assert_eq!(filed(&store).await, filed(&fresh).await);
    assert_eq!((house.count(rows).await, before), (before, 5));
}
