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
    Binance::new(&["BTC-USDT".parse().unwrap()])
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
    let two = Binance::new(&["BTC-USDT".parse().unwrap(), "ETH-USDT".parse().unwrap()]);

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
        let _either = btc().decode(&bytes, Timestamp::default()).is_ok();
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
