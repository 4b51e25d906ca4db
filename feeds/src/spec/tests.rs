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
            "error: unknown feed '': expected simulated, simulated?seed=N, or recording:FILE[,FILE]?venue=VENUE&symbol=BASE-QUOTE&speed=max"
        ],
    );
    check(
        "nasdaq:AAPL",
        expect![
            "error: unknown feed 'nasdaq:AAPL': expected simulated, simulated?seed=N, or recording:FILE[,FILE]?venue=VENUE&symbol=BASE-QUOTE&speed=max"
        ],
    );
    check(
        "simulated:BTC-USDT",
        expect![
            "error: unknown feed 'simulated:BTC-USDT': expected simulated, simulated?seed=N, or recording:FILE[,FILE]?venue=VENUE&symbol=BASE-QUOTE&speed=max"
        ],
    );
    check(
        "binance:BTC-USDT",
        expect![
            "error: this version has no live adapter for binance: use simulated, or recording:FILE?venue=binance&symbol=BASE-QUOTE"
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
