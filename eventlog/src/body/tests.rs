//! The two forms of a body say the same, and neither reads what it did not write.

use domain::market::event::{GapReason, MarketEvent};
use domain::tick::{Side, Tick};
use proptest::prelude::*;

use super::*;

fn draft(events: Vec<Event>) -> Draft {
    Draft {
        stream: "market-binance.BTC-USDT".parse().unwrap(),
        append_id: Uuid::from_u128(1),
        command_id: Uuid::from_u128(2),
        recorded_at: "2024-03-21T09:30:00.123456Z".parse().unwrap(),
        actor: Actor { principal: "binance".into(), role: "feed".into(), via: "intake".into() },
        correlation_id: Some("request-7".into()),
        causation: Some(Causation { stream: Stream::System, version: Version(9) }),
        events,
    }
}

fn ticks() -> impl Strategy<Value = Vec<Event>> {
    let tick = (
        any::<u32>(),
        1i64..10_000_000_000,
        1i64..10_000_000,
        any::<bool>(),
        0i64..1 << 33,
        0i64..1 << 33,
    );
    (prop::collection::vec(tick, 1..40), 0u32..6, 0u32..6, any::<bool>()).prop_map(
        |(ticks, price_scale, quantity_scale, mixed)| {
            let scale = |scale, place| if mixed && place == 3 { scale + 1 } else { scale };
            ticks
                .into_iter()
                .enumerate()
                .map(|(place, (id, price, quantity, buys, traded_at, received_at))| {
                    Event::Market(MarketEvent::TickObserved(Tick {
                        trade_id: u64::from(id),
                        price: Price::of_units(price, scale(price_scale, place)).unwrap(),
                        quantity: Quantity::of_units(quantity, quantity_scale).unwrap(),
                        taker: if buys { Side::Buy } else { Side::Sell },
                        traded_at: Timestamp::from_micros(traded_at),
                        received_at: Timestamp::from_micros(received_at),
                    }))
                })
                .collect()
        },
    )
}

use domain::amount::{Price, Quantity};

fn reads_back(draft: &Draft) -> Entry {
    let prev_hash = Hash([7; 32]);
    let sealed = seal(draft, Version(3), prev_hash).unwrap();
    let entry = open(Log::Market, Offset(5), sealed.content, &sealed.body).unwrap();

    assert_eq!(entry.events, draft.events);
    assert_eq!(
        (&entry.stream, entry.version, entry.append_id, entry.command_id, entry.prev_hash),
        (&draft.stream, Version(3), draft.append_id, draft.command_id, prev_hash)
    );
    assert_eq!((&entry.actor, entry.recorded_at), (&draft.actor, draft.recorded_at));
    assert_eq!(
        (&entry.correlation_id, &entry.causation),
        (&draft.correlation_id, &draft.causation)
    );
    assert_eq!(entry.hash, sealed.hash);

    let header = header(sealed.content, &sealed.body).unwrap();
    assert_eq!((&header.stream, header.version), (&entry.stream, entry.version));
    assert_eq!((header.append_id, header.prev_hash), (entry.append_id, entry.prev_hash));
    entry
}

proptest! {
    #[test]
    fn ticks_mean_the_same_in_either_form(events in ticks()) {
        let draft = draft(events);

        let as_written = reads_back(&draft);
        let json = json(&draft, Version(3), Hash([7; 32]));
        let as_json = open(Log::Market, Offset(5), Content::Json, &json).unwrap();

        prop_assert_eq!(Entry { hash: as_written.hash, ..as_json }, as_written);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), at in any::<prop::sample::Index>(), flip in 1u8..) {
        for content in [Content::Json, Content::Ticks] {
            drop(open(Log::Market, Offset(1), content, &bytes));
        }
        let gap = MarketEvent::FeedGapFilled { first_id: 1, last_id: 2 };
        for events in [vec![Event::Market(gap)], one_tick()] {
            let mut sealed = seal(&draft(events), Version(1), Hash::default()).unwrap();
            let at = at.index(sealed.body.len());
            sealed.body[at] ^= flip;
            drop(open(Log::Market, Offset(1), sealed.content, &sealed.body));
            sealed.body.truncate(at);
            prop_assert!(open(Log::Market, Offset(1), sealed.content, &sealed.body).is_err());
        }
    }
}

fn one_tick() -> Vec<Event> {
    vec![Event::Market(MarketEvent::TickObserved(Tick {
        trade_id: 4_000_000_000_000,
        price: "65432.10".parse().unwrap(),
        quantity: "0.02".parse().unwrap(),
        taker: Side::Sell,
        traded_at: "2024-03-21T09:30:00Z".parse().unwrap(),
        received_at: "2024-03-21T09:30:00.1Z".parse().unwrap(),
    }))]
}

#[test]
fn a_batch_of_ticks_is_small_and_other_events_are_json() {
    assert_eq!(reads_back(&draft(vec![one_tick().remove(0); 256])).events.len(), 256);
    let sealed =
        seal(&draft(vec![one_tick().remove(0); 256]), Version(1), Hash::default()).unwrap();
    assert_eq!(sealed.content, Content::Ticks);
    assert!(sealed.body.len() <= 256 * 30, "{} bytes", sealed.body.len());

    let reason = GapReason::TooManyGaps;
    let gap = MarketEvent::FeedGapUnfillable { first_id: 1, last_id: 2, reason };
    let mixed = [one_tick(), vec![Event::Market(gap)]].concat();
    assert_eq!(
        seal(&draft(mixed.clone()), Version(1), Hash::default()).unwrap().content,
        Content::Json
    );
    reads_back(&draft(mixed));
}

#[test]
fn an_entry_holds_at_least_one_event_and_not_too_many() {
    assert_eq!(seal(&draft(vec![]), Version(1), Hash::default()), Err(LogError::TooLarge));
    assert_eq!(
        seal(&draft(vec![one_tick().remove(0); 257]), Version(1), Hash::default()),
        Err(LogError::TooLarge)
    );
}

#[test]
fn an_event_of_an_unknown_name_stops_the_reader() {
    let raw = RawValue::from_string(r#"{"type":"tick_observed.v9"}"#.to_owned()).unwrap();

    assert_eq!(
        open_event(&raw),
        Err(Unreadable(r#"this version knows no event named "tick_observed.v9""#.to_owned()))
    );
}

#[test]
fn every_event_that_was_ever_recorded_is_read_as_what_it_is() {
    let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../domain/golden");
    for (name, family) in event::NAMES {
        let sample = std::fs::read_to_string(samples.join(format!("{name}.json"))).unwrap();
        let sample = sample.trim_end();
        let read = open_event(&RawValue::from_string(sample.to_owned()).unwrap()).unwrap();
        let is_of = match read {
            Event::Market(_) => Family::Market,
            Event::Candle(_) => Family::Candle,
            Event::Account(_) => Family::Account,
            Event::Refusal(_) => Family::Refusal,
            Event::Key(_) => Family::Key,
            Event::Access(_) => Family::Access,
        };

        assert_eq!(is_of, *family, "{name}");
        assert_eq!(serde_json::to_string(&read).unwrap(), sample);
    }
}
