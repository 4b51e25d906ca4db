//! Whether a log holds what was acknowledged, once, and whether all views of it agree.

use std::collections::{BTreeMap, BTreeSet};

use commands::desk;
use domain::account::Account;
use domain::decider::Decider;
use domain::event::Event;
use eventlog::entry::{Entry, Hash, Offset, Version};
use eventlog::log::ReadLog;
use eventlog::stream::{Log, Stream};
use projections::views::Views;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::cluster::clients::{Acknowledged, Trader};
use crate::house::House;

/// Entries that are read, or folded, at once.
const BATCH: usize = 1_000;

/// Returns all that a log holds.
pub(crate) async fn entries(log: &dyn ReadLog) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let after = all.last().map_or(Offset(0), |entry| entry.offset);
        let more = log.read(after, BATCH).await.expect("a log that is open reads");
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// Offsets rise, versions follow each other in each stream and so do the hashes, and no append is in
/// twice.
pub(crate) fn assert_whole(entries: &[Entry]) {
    let mut tips: BTreeMap<&Stream, (Version, Hash)> = BTreeMap::new();
    let (mut ids, mut offset) = (BTreeSet::new(), Offset(0));
    for entry in entries {
        let tip = tips.entry(&entry.stream).or_default();
        assert_eq!((entry.version, entry.prev_hash), (tip.0.next(), tip.1), "{}", entry.stream);
        assert!(entry.offset > offset, "{} stands after {offset}", entry.offset);
        assert!(ids.insert((&entry.stream, entry.append_id)), "{} is doubled", entry.stream);
        (*tip, offset) = ((entry.version, entry.hash), entry.offset);
    }
}

/// Each acknowledged command stands where its answer said, once; nothing stands there besides but
/// what opened and funded the account.
pub(crate) fn assert_once(entries: &[Entry], acknowledged: &[Acknowledged]) {
    let by_offset: BTreeMap<Offset, &Entry> =
        entries.iter().map(|entry| (entry.offset, entry)).collect();
    let mut places = BTreeSet::new();
    for told in acknowledged {
        let entry = by_offset.get(&told.at).unwrap_or_else(|| panic!("{told:?} is lost"));
        assert_eq!(entry.append_id, desk::append_id(&told.account, &told.key), "{told:?}");
        assert_eq!(entry.stream, Stream::Account(told.account.clone()));
        assert!(places.insert(told.at), "{told:?} was told the place of another");
    }
    let of_accounts: BTreeSet<&Stream> =
        acknowledged.iter().map(|told| &by_offset[&told.at].stream).collect();
    let in_accounts = entries.iter().filter(|entry| of_accounts.contains(&entry.stream)).count();
    assert_eq!(in_accounts, acknowledged.len() + 2 * of_accounts.len(), "nothing else happened");
}

/// However the two logs are interleaved, the views are the same; returns their hashes.
pub(crate) fn state_hashes(ledger: &[Entry], market: &[Entry]) -> BTreeMap<&'static str, Hash> {
    let fold = |orders: [(Log, &[Entry]); 2], batch: usize| {
        let views = Views::new(Vec::new());
        for (log, entries) in orders {
            for batch in entries.chunks(batch) {
                views.fold(log, batch);
            }
        }
        views.state_hashes()
    };
    let hashes = fold([(Log::Ledger, ledger), (Log::Market, market)], BATCH);
    let other = fold([(Log::Market, market), (Log::Ledger, ledger)], 7);
    assert_eq!(hashes, other);
    hashes
}

/// Every node shows each account as its events add up, to the last digit.
pub(crate) async fn assert_served(houses: &[&House], traders: &[Trader], ledger: &[Entry]) {
    let mut accounts: BTreeMap<&Stream, Account> = BTreeMap::new();
    for entry in ledger {
        for event in &entry.events {
            if let Event::Account(event) = event {
                accounts.entry(&entry.stream).or_default().evolve(event);
            }
        }
    }
    let client = reqwest::Client::new();
    for trader in traders {
        let account = &accounts[&Stream::Account(trader.account.clone())];
        let margin: Decimal = account.positions().values().map(|position| position.margin).sum();
        for house in houses {
            let request = client
                .get(format!("http://{}/api/v1/portfolio/account", house.host))
                .bearer_auth(&trader.token);
            let served: Value =
                request.send().await.expect("an answer").json().await.expect("a body");
            let figure = |name: &str| served[name].as_str().map(|text| text.parse().ok());
            let (free, held) = (figure("free"), figure("margin"));
            assert_eq!((free, held), (Some(Some(account.free())), Some(Some(margin))), "{served}");
        }
    }
}
