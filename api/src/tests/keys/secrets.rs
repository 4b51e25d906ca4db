//! Where secrets are not.

use std::fmt;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use eventlog::entry::Offset;
use eventlog::log::ReadLog;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Subscriber};

use super::{KEYS, READ, TRADER_KEY, text};
use crate::auth::key_text::KeyText;
use crate::tests::house::House;

/// All that is said in the log, as text.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

impl Subscriber for Lines {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut self.clone());
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

impl Visit for Lines {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        writeln!(self.0.lock().unwrap(), "{field}={value:?}").unwrap();
    }
}

/// Returns all that the ledger holds, as text.
pub(super) async fn ledger(house: &House) -> String {
    let entries = house.ledger.read(Offset(0), 10_000).await.unwrap();
    let events = entries.iter().flat_map(|entry| {
        entry.events.iter().map(move |event| {
            let text = serde_json::to_string(event).unwrap();
            format!("{} {text} {event:?} {:?}\n", entry.stream, entry.correlation_id)
        })
    });
    events.collect()
}

fn secret(key: &str) -> &str {
    key.split('_').nth(3).unwrap()
}

#[tokio::test]
async fn secrets_and_tokens_stand_neither_in_the_ledger_nor_in_the_log() {
    let lines = Lines::default();
    // Of a single subscriber, whichever thread comes first to a line is asked whether anybody wants
    // it, and that may be another test's; of two, all are asked.
    let _other = Dispatch::new(Lines::default());
    let logging = tracing::subscriber::set_default(lines.clone());
    let mut house = House::open().await;
    let given = house.call("POST", KEYS, TRADER_KEY, &[("Idempotency-Key", "k")]).await;
    let key = text(&given, "api_key");
    let path = format!("{KEYS}/{}/rotate", text(&given, "id"));
    let newer = text(&house.post(&path, r#"{"overlap_s":60}"#).await, "api_key");
    let by_key = [("X-API-Key", newer.as_str())];
    let token = text(&house.bare("POST", "/v1/auth/token", &by_key).await, "token");
    let ticket = text(&house.bare("POST", "/v1/ws/ticket", &by_key).await, "ticket");
    let (garbled, bearer) = (newer.replace("ent_", "enf_"), format!("Bearer {token}"));
    for headers in [
        vec![("X-API-Key", key.as_str())],
        vec![("X-API-Key", newer.as_str()), ("Authorization", &bearer)],
        vec![("X-API-Key", garbled.as_str())],
        vec![("X-API-Key", token.as_str())],
        vec![("Authorization", newer.as_str())],
        vec![("Authorization", &bearer[..bearer.len() - 1])],
        vec![("Authorization", &bearer), ("Authorization", &bearer)],
    ] {
        house.bare("GET", READ, &headers).await;
        // Where credentials do not belong, and some send them nevertheless.
        let query = format!("{READ}?api_key={newer}&access_token={token}");
        house.bare("GET", &query, &headers).await;
    }
    let listed = house.get(KEYS).await.body;
    house.bare("DELETE", "/v1/auth/token", &[("Authorization", &bearer)]).await;
    house.stop.cancel();
    (&mut house.serving).await.unwrap().unwrap();
    drop(logging);

    let (ledger, log) = (ledger(&house).await, lines.0.lock().unwrap().clone());
    let (_, signature) = token.rsplit_once('.').unwrap();
    for secret in [secret(&key), secret(&newer), signature, &token, &ticket] {
        assert!(!ledger.contains(secret) && !log.contains(secret) && !listed.contains(secret));
    }
    // The test sees what it looks through.
    let hash = KeyText::read(&key).ok().unwrap().hash().to_string();
    assert!(log.contains("message=answered"), "{log}");
    assert!(ledger.contains("ApiKeyCreated") && listed.contains(&text(&given, "id")));
    assert!(!log.contains(&hash) && !listed.contains(&hash));
}
