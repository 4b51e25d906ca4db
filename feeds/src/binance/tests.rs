//! Messages in, observations out; and any bytes whatever.

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use expect_test::{Expect, expect};
use flate2::read::GzDecoder;
use proptest::prelude::*;

use super::*;
use crate::recording::lines::Lines;
use crate::samples::{BINANCE_SPOT, BINANCE_USDM, shared_data, show};

fn btc() -> Binance {
    Binance::new(Market::Spot, &["BTC-USDT".parse().unwrap()])
}

/// One frame a line.
#[expect(clippy::needless_pass_by_value, reason = "expect![[…]] is written in the call")]
fn check(frames: &str, expected: Expect) {
    let show = |frame: &str| match btc().decode(frame.as_bytes(), Timestamp::default()) {
        Ok(Decoded::One(observation)) => show(&observation) + "\n",
        Ok(other) => format!("{other:?}\n"),
        Err(error) => format!("error: {error}\n"),
    };
    expected.assert_eq(&frames.lines().map(show).collect::<String>());
}

#[test]
fn spot_frames_are_read_whether_combined_or_raw() {
    check(
        BINANCE_SPOT,
        expect![[r"
            tick BTC-USDT #4001 Sell 0.01500000 at 65432.10000000, traded 2024-03-21T09:30:00.120Z, told 2024-03-21T09:30:00.123Z
            tick BTC-USDT #4002 Buy 1.00000000 at 65432.11000000, traded 2024-03-21T09:30:00.220Z, told 2024-03-21T09:30:00.223Z
            top BTC-USDT #9001 65432.10000000×2.50000000 | 65432.11000000×0.75000000, told -
            top BTC-USDT #9002 65432.10000000×2.40000000 | 65432.12000000×0.30000000, told -
            diff BTC-USDT #8998..9002 65432.10000000×2.40000000 65430.00000000×0 | 65432.12000000×0.30000000, told 2024-03-21T09:30:00.300Z
            diff BTC-USDT #9003..9003  | , told 2024-03-21T09:30:00.400Z
            book BTC-USDT #9000 65432.10000000×2.50000000 65432.00000000×0.10000000 | 65432.11000000×0.75000000, told -
            Acknowledged
            Closing
            Closing
            Ignored
            Ignored
            Ignored
            Ignored
            Ignored
        "]],
    );
}

#[test]
fn futures_tell_more_times_and_trades_that_are_none() {
    check(
        BINANCE_USDM,
        expect![[r"
            tick BTC-USDT #5001 Buy 0.006 at 65440.20, traded 2024-03-21T09:30:00.120Z, told 2024-03-21T09:30:00.123Z
            Ignored
            Ignored
            top BTC-USDT #7100 65440.20×2.507 | 65440.30×2.510, told 2024-03-21T09:30:00.131Z
            diff BTC-USDT #7050..7110 after 7049 65440.20×2.000 | 65440.30×0 65440.40×1.100, told 2024-03-21T09:30:00.140Z
            book BTC-USDT #7105 65440.20×2.000 | 65440.40×1.100, told 2024-03-21T09:30:00.150Z
            Ignored
        "]],
    );
}

#[test]
fn what_is_not_in_shape_is_an_error() {
    let trade = |price: &str, quantity: &str, id: &str| {
        format!(
            r#"{{"e":"trade","E":1,"s":"BTCUSDT","t":{id},"p":"{price}","q":"{quantity}","T":1,"m":true}}"#
        )
    };
    let frames = [
        String::new(),
        r#"{"e":"trade","E":17110134"#.to_owned(),
        r#"{"e":"trade","e":"trade"}"#.to_owned(),
        r#"{"e":"trade","s":"BTCUSDT"}"#.to_owned(),
        trade("1", "1", "-1"),
        trade("1", "1", "1e400"),
        trade("1", "1", "18446744073709551616"),
        trade("1e5", "1", "1"),
        trade("1", "0", "1"),
        trade("-1", "1", "1"),
        trade("1.0000000001", "1.0000000001", "1"),
        trade("9999999999999", "9999999", "1"),
        r#"{"e":"trade","E":9223372036854775807,"s":"BTCUSDT","t":1,"p":"1","q":"1","T":1,"m":true}"#
            .to_owned(),
        r#"{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":1,"b":[["1","-1"]],"a":[]}"#.to_owned(),
        r#"{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":1,"b":[["1"]],"a":[]}"#.to_owned(),
    ];
    check(
        &frames.join("\n"),
        expect![[r"
        error: not in the venue's shape: EOF while parsing a value at line 1 column 0
        error: not in the venue's shape: EOF while parsing an object at line 1 column 25
        error: not in the venue's shape: duplicate field `e` at line 1 column 16
        error: not in the venue's shape: missing field `E` at line 1 column 27
        error: not in the venue's shape: invalid value: integer `-1`, expected u64 at line 1 column 39
        error: not in the venue's shape: number out of range at line 1 column 42
        error: not in the venue's shape: invalid type: floating point `1.8446744073709552e+19`, expected u64 at line 1 column 57
        error: bad price or quantity: not a decimal number: expected digits such as 65432.10, without exponent
        error: bad price or quantity: must be greater than zero
        error: bad price or quantity: must be greater than zero
        error: price times quantity of trade 1 cannot be kept exactly
        error: price times quantity of trade 1 cannot be kept exactly
        error: not in the venue's shape: not a time in milliseconds at line 1 column 36
        error: not in the venue's shape: must be greater than zero at line 1 column 66
        error: not in the venue's shape: invalid length 1, expected a tuple of size 2 at line 1 column 61
    "]],
    );
}

#[test]
fn a_body_without_a_name_is_read_only_where_one_instrument_is_wanted() {
    let two =
        Binance::new(Market::Spot, &["BTC-USDT".parse().unwrap(), "ETH-USDT".parse().unwrap()]);

    let snapshot = two.decode(br#"{"lastUpdateId":1,"bids":[],"asks":[]}"#, Timestamp::default());

    assert!(matches!(snapshot, Err(DecodeError::Unnamed)));
}

#[test]
fn deep_nesting_ends_in_a_value() {
    for depth in [100, 10_000, 1_000_000] {
        for open in ["[", r#"{"data":"#, r#"{"e":"depthUpdate","b":["#] {
            let _either = btc().decode(open.repeat(depth).as_bytes(), Timestamp::default()).is_ok();
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_give_a_value(bytes: Vec<u8>) {
        read_as_everything(&bytes);
    }

    #[test]
    fn any_numbers_in_an_answer_give_a_value(
        number in "-?[0-9]{1,40}(\\.[0-9]{0,40})?(e[0-9]{1,3})?", text in "-?[0-9.e]{0,40}",
    ) {
        read_as_everything(
            format!(r#"[[{number},"{text}","{text}","1","1","{text}",{number},"{text}",{number},"{text}","{text}","0"]]"#).as_bytes(),
        );
        read_as_everything(
            format!(r#"[{{"id":{number},"price":"{text}","qty":"{text}","time":{number},"isBuyerMaker":true}}]"#).as_bytes(),
        );
        read_as_everything(
            format!(r#"{{"symbols":[{{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","filters":[{{"filterType":"PRICE_FILTER","tickSize":"{text}"}},{{"filterType":"LOT_SIZE","minQty":"{text}","stepSize":"{text}"}}]}}]}}"#).as_bytes(),
        );
    }

    #[test]
    fn a_frame_with_any_byte_altered_or_cut_gives_a_value(
        (frame, place, byte, cut) in prop::sample::select(
            BINANCE_SPOT.lines().chain(BINANCE_USDM.lines()).collect::<Vec<_>>(),
        )
        .prop_flat_map(|frame| (Just(frame), 0..frame.len(), any::<u8>(), 0..=frame.len()))
    ) {
        let mut bytes = frame.as_bytes().to_vec();
        bytes[place] = byte;
        let _altered = btc().decode(&bytes, Timestamp::default()).is_ok();
        bytes.truncate(cut);
        let _cut = btc().decode(&bytes, Timestamp::default()).is_ok();
    }

    #[test]
    fn any_number_in_any_place_gives_a_value(
        id in "-?[0-9]{1,40}(e[0-9]{1,3})?", price in "-?[0-9.e]{0,40}", time: i64,
    ) {
        let frame = format!(
            r#"{{"e":"trade","E":{time},"s":"BTCUSDT","t":{id},"p":"{price}","q":"{price}","T":{time},"m":true}}"#
        );
        if let Ok(Decoded::One(Observation { heard: Heard::Tick(_, tick), .. })) =
            btc().decode(frame.as_bytes(), Timestamp::default())
        {
            prop_assert!(tick.is_exact());
            prop_assert_eq!(tick.price.to_string().parse::<domain::amount::Price>(), Ok(tick.price));
        }
    }
}

fn usdm() -> Binance {
    Binance::new(Market::Usdm, &["BTC-USDT".parse().unwrap()])
}

#[test]
fn each_market_has_its_own_addresses_and_requests() {
    let btc: Instrument = "BTC-USDT".parse().unwrap();
    let asks = [
        Ask::Listings,
        Ask::Snapshot(btc.clone()),
        Ask::Minutes {
            instrument: btc.clone(),
            first: Timestamp::from_millis(1_711_013_400_000),
            last: Timestamp::from_millis(1_711_013_460_000),
        },
        Ask::Trades { instrument: btc, first_id: 4_001 },
    ];
    let show = |venue: &Binance| {
        let terms = venue.terms();
        let mut text = format!("{}{}\n", terms.ws_url, venue.streams());
        for ask in &asks {
            let Request { path_and_query, weight } = venue.request(ask);
            writeln!(text, "{weight:>2} {}{path_and_query}", terms.rest_url).unwrap();
        }
        text
    };
    expect![[r#"
        wss://stream.binance.com:9443/stream?streams=btcusdt@trade/btcusdt@depth@100ms/btcusdt@bookTicker/ethusdt@trade/ethusdt@depth@100ms/ethusdt@bookTicker
        20 https://api.binance.com/api/v3/exchangeInfo?showPermissionSets=false
        50 https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=1000
         2 https://api.binance.com/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime=1711013400000&endTime=1711013519999&limit=1000
        25 https://api.binance.com/api/v3/historicalTrades?symbol=BTCUSDT&limit=1000&fromId=4001
        wss://fstream.binance.com/stream?streams=btcusdt@trade/btcusdt@depth@100ms/btcusdt@bookTicker
         1 https://fapi.binance.com/fapi/v1/exchangeInfo
        20 https://fapi.binance.com/fapi/v1/depth?symbol=BTCUSDT&limit=1000
         5 https://fapi.binance.com/fapi/v1/klines?symbol=BTCUSDT&interval=1m&startTime=1711013400000&endTime=1711013519999&limit=1000
        20 https://fapi.binance.com/fapi/v1/historicalTrades?symbol=BTCUSDT&limit=500&fromId=4001
    "#]].assert_eq(&(show(&btc_and_eth()) + &show(&usdm())));
}

fn btc_and_eth() -> Binance {
    Binance::new(Market::Spot, &["BTC-USDT".parse().unwrap(), "ETH-USDT".parse().unwrap()])
}

#[test]
fn listings_say_what_a_symbol_is_made_of() {
    let body = r#"{"timezone":"UTC","symbols":[
        {"symbol":"XBTUSD","status":"TRADING","baseAsset":"XBT","quoteAsset":"USD","filters":[]},
        {"symbol":"TETHER","status":"BREAK","baseAsset":"ETH","quoteAsset":"USDT","filters":[
            {"filterType":"PRICE_FILTER","minPrice":"0.01","tickSize":"0.01000000"},
            {"filterType":"LOT_SIZE","minQty":"0.00010000","stepSize":"0.00010000"},
            {"filterType":"ICEBERG_PARTS","limit":10}]},
        {"symbol":"BTCUSDT_260327","status":"TRADING","contractType":"CURRENT_QUARTER",
            "baseAsset":"BTC","quoteAsset":"USDT","filters":[]},
        {"symbol":"BTCUSDT","status":"TRADING","contractType":"PERPETUAL",
            "baseAsset":"BTC","quoteAsset":"USDT","filters":[
            {"filterType":"PRICE_FILTER","tickSize":"0"},
            {"filterType":"LOT_SIZE","minQty":"0","stepSize":"1.00"}]}]}"#;
    let venue = btc_and_eth();

    let listed = venue.listed(body.as_bytes()).unwrap();

    let show = |listed: &Listed| {
        let Listed { instrument, symbol, listing } = listed;
        let least = listing.quantity_min.map(|least| least.to_string());
        format!(
            "{instrument} is {symbol}: {} {} {least:?} {}\n",
            listing.price_scale, listing.quantity_scale, listing.trading
        )
    };
    expect![[r#"
        ETH-USDT is TETHER: 2 4 Some("0.00010000") false
        BTC-USDT is BTCUSDT: 0 0 None true
    "#]]
    .assert_eq(&listed.iter().map(show).collect::<String>());
    let knowing = venue.knowing(&listed);
    assert!(knowing.streams().contains("tether@trade"));
    let eth = Ask::Snapshot("ETH-USDT".parse().unwrap());
    assert_eq!(knowing.request(&eth).path_and_query, "/api/v3/depth?symbol=TETHER&limit=1000");
}

#[test]
fn bars_are_the_venues_own_and_of_one_minute() {
    let row = |opened_at: &str, volume: &str| {
        format!(
            r#"[[{opened_at},"1.0","3.0","0.5","2.0","{volume}",1711013459999,"20.50",5,"4.0","8.0","0"]]"#
        )
    };
    let bars = btc().minutes(row("1711013400000", "10.25").as_bytes()).unwrap();

    expect![[r#"
        [
            Candle {
                opened_at: Timestamp(
                    1711013400000000,
                ),
                open: Price(
                    1.0,
                ),
                high: Price(
                    3.0,
                ),
                low: Price(
                    0.5,
                ),
                close: Price(
                    2.0,
                ),
                volume: 10.25,
                quote_volume: 20.50,
                taker_buy: 4.0,
                trades: 5,
                first: None,
                last: None,
                source: Native,
                revision: 0,
            },
        ]
    "#]]
    .assert_debug_eq(&bars);
    for (opened_at, volume) in
        [("1711013400001", "1"), ("-60000", "1"), ("1711013400000", "-1"), ("1711013400000", "")]
    {
        assert!(btc().minutes(row(opened_at, volume).as_bytes()).is_err(), "{opened_at} {volume}");
    }
}

#[test]
fn past_trades_are_sorted_and_transfers_left_out() {
    let body = r#"[
        {"id":5,"price":"65000.10","qty":"0.5","quoteQty":"1","time":1711013400000,"isBuyerMaker":true},
        {"id":4,"price":"0","qty":"0","quoteQty":"0","time":1711013400000,"isBuyerMaker":true},
        {"id":3,"price":"65000.20","qty":"1.5","quoteQty":"1","time":1711013400000,"isBuyerMaker":false}]"#;

    let ticks = usdm().trades(body.as_bytes(), Timestamp::default()).unwrap();

    let shown: Vec<_> = ticks.iter().map(|tick| (tick.trade_id, tick.taker)).collect();
    assert_eq!(shown, [(3, Side::Buy), (5, Side::Sell)]);
    assert!(usdm().trades(br#"[{"id":5}]"#, Timestamp::default()).is_err());
}

#[test]
fn a_refusal_is_told_in_the_venues_words() {
    let told = btc().complaint(br#"{"code":-1121,"msg":"Invalid symbol."}"#);

    assert_eq!(told.as_deref(), Some("-1121 Invalid symbol."));
    assert_eq!(btc().complaint(b"<html>"), None);
}

/// Reads bytes as everything that Binance may send.
fn read_as_everything(bytes: &[u8]) {
    let instrument = "BTC-USDT".parse().unwrap();
    for venue in [btc(), usdm()] {
        let _frame = venue.decode(bytes, Timestamp::default()).is_ok();
        let _listed = venue.listed(bytes).is_ok();
        let _snapshot = venue.snapshot(&instrument, bytes, Timestamp::default()).is_ok();
        let _minutes = venue.minutes(bytes).is_ok();
        let _trades = venue.trades(bytes, Timestamp::default()).is_ok();
        let _complaint = venue.complaint(bytes).is_some();
    }
}

/// Every frame and answer that is at hand: our samples, and the shared ones where they are.
fn everything() -> Vec<Vec<u8>> {
    let of_ours = BINANCE_SPOT.lines().chain(BINANCE_USDM.lines());
    let mut all: Vec<Vec<u8>> = of_ours.map(|frame| frame.as_bytes().to_vec()).collect();
    let Some(data) = shared_data() else { return all };
    for file in std::fs::read_dir(data.join("rest_ws_fixtures/binance")).unwrap() {
        all.push(std::fs::read(file.unwrap().path()).unwrap());
    }
    let mut lines = Lines::open(vec![data.join("frames/binance_spot_combined.ws.gz")]).unwrap();
    while let Some(line) = lines.read().unwrap() {
        all.push(line.parts().unwrap().1.to_vec());
    }
    all
}

#[test]
fn every_altered_or_cut_message_at_hand_gives_a_value() {
    let mut chance = crate::chance::Chance::of_seed(1);
    let mut below = |limit: usize| {
        chance = chance.at(1);
        chance.below(u32::try_from(limit).unwrap()) as usize
    };
    for whole in everything() {
        read_as_everything(&whole);
        for _ in 0..20 {
            let mut altered = whole.clone();
            let place = below(altered.len());
            altered[place] = u8::try_from(below(256)).unwrap();
            read_as_everything(&altered);
            altered.truncate(below(whole.len()));
            read_as_everything(&altered);
        }
    }
}

#[test]
fn shared_messages_decode_to_their_kind() {
    let Some(data) = shared_data() else { return };
    let read =
        |name: &str| std::fs::read(data.join("rest_ws_fixtures/binance").join(name)).unwrap();
    let one = |name: &str| match usdm().decode(&read(name), Timestamp::default()) {
        Ok(Decoded::One(observation)) => format!("{name}: {}\n", show(&observation)),
        Ok(other) => format!("{name}: {other:?}\n"),
        Err(error) => format!("{name}: error: {error}\n"),
    };
    let futures = [
        "futures_market_data_json_trade_stream.json",
        "futures_market_data_json_depth_update_stream.json",
        "futures_market_data_json_book_ticker_stream.json",
        "futures_market_data_json_agg_trade_stream.json",
        "futures_market_data_json_kline_stream_closed.json",
        "futures_market_data_json_mark_price_stream.json",
    ];
    expect![[r#"
        futures_market_data_json_trade_stream.json: tick BTC-USDT #5933014 Sell 100 at 0.001, traded 1970-01-02T10:17:36.785Z, told 1970-01-02T10:17:36.789Z
        futures_market_data_json_depth_update_stream.json: diff BTC-USDT #157..160 after 149 0.0024×10 | 0.0026×100, told 1970-01-02T10:17:36.789Z
        futures_market_data_json_book_ticker_stream.json: Ignored
        futures_market_data_json_agg_trade_stream.json: Ignored
        futures_market_data_json_kline_stream_closed.json: Ignored
        futures_market_data_json_mark_price_stream.json: Ignored
    "#]].assert_eq(&futures.map(one).concat());

    let spot = Binance::new(Market::Spot, &["ETH-BTC".parse().unwrap()]);
    let listed = spot.listed(&read("spot_http_json_exchange_info_response.json")).unwrap();
    assert_eq!(listed[0].symbol, "ETHBTC");
    let book = read("spot_http_json_depth_response.json");
    let book = spot.snapshot(&"ETH-BTC".parse().unwrap(), &book, Timestamp::default()).unwrap();
    assert!(show(&book).starts_with("book ETH-BTC #1027024 4.00000000×431.00000000"));
    let trades = spot.trades(&read("spot_http_json_trades_response.json"), Timestamp::default());
    assert_eq!(trades.unwrap()[0].trade_id, 28_457);
    // The bar of the documentation is one of a week: its start is a whole minute all the same.
    assert_eq!(spot.minutes(&read("spot_http_json_klines_response.json")).unwrap()[0].trades, 308);
}

/// How often each kind was told, and the ticks as rows of the shared `trades/`.
#[derive(Debug, Default)]
struct Tally {
    ticks: String,
    ids: Vec<u64>,
    tops: usize,
    diffs: usize,
    snapshots: usize,
}

fn decode_all(data: &Path, files: &[&str]) -> Tally {
    let paths = files.iter().map(|file| data.join("recordings").join(file)).collect();
    let mut lines = Lines::open(paths).unwrap();
    let mut all = Tally::default();
    while let Some(line) = lines.read().unwrap() {
        let (received_at, frame) = line.parts().unwrap();
        match btc().decode(frame, received_at) {
            Ok(Decoded::One(Observation { heard: Heard::Tick(_, tick), .. })) => {
                let millis = tick.traded_at.micros() / 1_000;
                let maker = tick.taker == Side::Sell;
                let (id, price, quantity) = (tick.trade_id, tick.price, tick.quantity);
                writeln!(all.ticks, "{id},{price},{quantity},{millis},{maker}").unwrap();
                all.ids.push(id);
            }
            Ok(Decoded::One(Observation { heard: Heard::Top(..), .. })) => all.tops += 1,
            Ok(Decoded::One(Observation { heard: Heard::Diff(..), .. })) => all.diffs += 1,
            Ok(Decoded::One(Observation { heard: Heard::Snapshot(..), .. })) => all.snapshots += 1,
            other => panic!("line {}: {other:?}", line.number),
        }
    }
    all
}

fn trades(data: &Path, file: &str) -> String {
    let mut text = String::new();
    let file = File::open(data.join("trades").join(file)).unwrap();
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text.split_once('\n').unwrap().1.to_owned()
}

#[test]
fn recorded_frames_are_all_read_and_their_ticks_are_the_trades() {
    let Some(data) = shared_data() else { return };
    for (files, rows, [ticks, tops, diffs, snapshots]) in [
        (
            &["binance_spot_btcusdt_20240808.rec.gz", "binance_spot_btcusdt_20240809.rec.gz"][..],
            "binance_spot_btcusdt_trades.csv.gz",
            [19_904, 73_174, 6_495, 1],
        ),
        (
            &["binance_usdm_btcusdt_20240808.rec.gz"][..],
            "binance_usdm_btcusdt_trades.csv.gz",
            [21_313, 66_089, 6_551, 1],
        ),
    ] {
        let all = decode_all(&data, files);

        assert_eq!(
            [all.ids.len(), all.tops, all.diffs, all.snapshots],
            [ticks, tops, diffs, snapshots]
        );
        assert!(all.ids.windows(2).all(|pair| pair[0] + 1 == pair[1]), "a hole in the trade ids");
        // Not assert_eq: two megabytes of difference help nobody.
        assert!(all.ticks == trades(&data, rows), "ticks differ from {rows}");
    }
}
