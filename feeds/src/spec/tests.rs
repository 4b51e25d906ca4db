//! What operators type, and what they are told.

use expect_test::{Expect, expect};

use super::*;

#[expect(clippy::needless_pass_by_value, reason = "expect![[…]] is written in the call")]
fn check(spec: &str, expected: Expect) {
    let shown = match spec.parse::<FeedSpec>() {
        Ok(spec) => format!("{} {:?} {spec:?}", spec.venue(), spec.pace()),
        Err(error) => format!("error: {error}"),
    };
    expected.assert_eq(&shown);
}

#[test]
fn the_words_of_the_command_line_are_read() {
    check("simulated", expect!["simulated Live Simulated { seed: 1 }"]);
    check("simulated?seed=7", expect!["simulated Live Simulated { seed: 7 }"]);
    check(
        "binance:BTC-USDT,ETH-USDT",
        expect![[
            r#"binance Live Live(Live { venue: Venue("binance"), instruments: [Instrument("BTC-USDT"), Instrument("ETH-USDT")] })"#
        ]],
    );
    check(
        "binance_usdm:BTC-USDT",
        expect![[
            r#"binance_usdm Live Live(Live { venue: Venue("binance_usdm"), instruments: [Instrument("BTC-USDT")] })"#
        ]],
    );
    check(
        "recording:a.rec,b.rec.gz?venue=binance&symbol=BTC-USDT,ETH-USDT&speed=10",
        expect![[
            r#"binance Recorded Recording(Recording { files: ["a.rec", "b.rec.gz"], venue: Venue("binance"), instruments: [Instrument("BTC-USDT"), Instrument("ETH-USDT")], speed: Times(10) })"#
        ]],
    );
    check(
        "recording:a?b.rec?symbol=BTC-USDT&venue=binance_usdm&speed=max",
        expect![[
            r#"binance_usdm Recorded Recording(Recording { files: ["a?b.rec"], venue: Venue("binance_usdm"), instruments: [Instrument("BTC-USDT")], speed: Max })"#
        ]],
    );
}

#[test]
fn a_spec_that_cannot_run_says_what_is_expected() {
    check(
        "",
        expect![
            "error: unknown feed '': expected simulated, simulated?seed=N, binance:BASE-QUOTE[,BASE-QUOTE], binance_usdm:BASE-QUOTE, or recording:FILE[,FILE]?venue=VENUE&symbol=BASE-QUOTE&speed=max"
        ],
    );
    check(
        "nasdaq:AAPL",
        expect![
            "error: unknown feed 'nasdaq:AAPL': expected simulated, simulated?seed=N, binance:BASE-QUOTE[,BASE-QUOTE], binance_usdm:BASE-QUOTE, or recording:FILE[,FILE]?venue=VENUE&symbol=BASE-QUOTE&speed=max"
        ],
    );
    check(
        "simulated:BTC-USDT",
        expect![
            "error: unknown feed 'simulated:BTC-USDT': expected simulated, simulated?seed=N, binance:BASE-QUOTE[,BASE-QUOTE], binance_usdm:BASE-QUOTE, or recording:FILE[,FILE]?venue=VENUE&symbol=BASE-QUOTE&speed=max"
        ],
    );
    check(
        "binance",
        expect!["error: binance needs its instruments: binance:BASE-QUOTE[,BASE-QUOTE]"],
    );
    check(
        "binance:",
        expect![
            "error: symbol=: an instrument is BASE-QUOTE, each 1 to 15 capital letters or digits"
        ],
    );
    check(
        "binance:BTCUSDT",
        expect![
            "error: symbol=BTCUSDT: an instrument is BASE-QUOTE, each 1 to 15 capital letters or digits"
        ],
    );
    check("binance:BTC-USDT,BTC-USDT", expect!["error: symbol=BTC-USDT is named twice"]);
    check(
        "binance_usdm:BTC-USDT?speed=max",
        expect!["error: unknown parameter 'speed': expected none"],
    );
    let many: Vec<String> = (0..=200).map(|number| format!("A{number}-USDT")).collect();
    check(
        &format!("binance:{}", many.join(",")),
        expect!["error: binance takes at most 200 instruments a feed: use several feeds"],
    );
    check(
        "coinbase:BTC-USD",
        expect![
            "error: this version has no live adapter for coinbase: use simulated, or recording:FILE?venue=coinbase&symbol=BASE-QUOTE"
        ],
    );
    check(
        "kraken",
        expect![
            "error: this version has no live adapter for kraken: use simulated, or recording:FILE?venue=kraken&symbol=BASE-QUOTE"
        ],
    );
    check(
        "simulated?seed=-1",
        expect!["error: seed=-1 is not a whole number from 0 to 18446744073709551615"],
    );
    check("simulated?speed=1", expect!["error: unknown parameter 'speed': expected seed=N"]);
    check(
        "simulated?seed",
        expect!["error: 'seed' is no parameter: expected name=value, joined by '&'"],
    );
    check("simulated?seed=1&seed=2", expect!["error: parameter 'seed' is given twice"]);
    check("recording:a.rec", expect!["error: a recording needs venue=binance"]);
    check("recording:a.rec?venue=binance", expect!["error: a recording needs symbol=BASE-QUOTE"]);
    check(
        "recording:?venue=binance&symbol=BTC-USDT",
        expect!["error: a recording needs a file: recording:FILE[,FILE]"],
    );
    check(
        "recording:a.rec?venue=kraken&symbol=BTC-USD",
        expect!["error: recordings of kraken cannot be read: expected binance or binance_usdm"],
    );
    check(
        "recording:a.rec?venue=Binance&symbol=BTC-USD",
        expect!["error: venue=Binance: a venue is 1 to 32 small letters, digits or '_'"],
    );
    check(
        "recording:a.rec?venue=binance&symbol=BTCUSD",
        expect![
            "error: symbol=BTCUSD: an instrument is BASE-QUOTE, each 1 to 15 capital letters or digits"
        ],
    );
    check(
        "recording:a.rec?venue=binance&symbol=BTC-USD,BTC-USD",
        expect!["error: symbol=BTC-USD is named twice"],
    );
    check(
        "recording:a.rec?venue=binance&symbol=A-BC,AB-C",
        expect![
            "error: symbol=A-BC,AB-C: both are spelled alike at the venue, so they need a feed each"
        ],
    );
    check(
        "recording:a.rec?venue=binance&symbol=BTC-USD&speed=0",
        expect!["error: speed=0 is neither max nor a whole number from 1 to 4294967295"],
    );
    check(
        "recording:a.rec?venue=binance&symbol=BTC-USD&speed=1.5",
        expect!["error: speed=1.5 is neither max nor a whole number from 1 to 4294967295"],
    );
}
