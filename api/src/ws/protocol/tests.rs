//! What is taken of what clients send, and what is not.

use super::*;

fn read(text: &str) -> Result<Action, Code> {
    let read = Request::read(text, Mode::Extended);
    read.map(|request| request.action).map_err(|rejection| rejection.code)
}

/// Returns why a message is not taken.
fn refused(text: &str) -> Option<Code> {
    read(text).err()
}

#[test]
fn a_message_is_taken_whole_or_not_at_all() {
    for (text, code) in [
        ("", Code::WsNotJson),
        ("[]", Code::WsNotJson),
        (r#"{"action":"subscribe""#, Code::WsNotJson),
        (r#"{"channel":"market"}"#, Code::WsBadParameter),
        (r#"{"action":"buy","channel":"market"}"#, Code::WsUnknown),
        (r#"{"action":"subscribe","channel":"positions","symbol":"A-B"}"#, Code::WsBadParameter),
        (r#"{"action":"subscribe","channel":"risk","symbol":"A-B"}"#, Code::WsUnknown),
        (r#"{"action":"subscribe","channel":"market"}"#, Code::WsBadParameter),
        (r#"{"action":"subscribe","channel":"market","symbols":"A-B"}"#, Code::WsBadParameter),
        (r#"{"action":"ping","channel":"market"}"#, Code::WsBadParameter),
        (r#"{"action":"list"}"#, Code::WsBadParameter),
        (r#"{"action":"auth"}"#, Code::WsBadParameter),
        (r#"{"action":"auth","ticket":1}"#, Code::WsBadParameter),
        (r#"{"action":"auth","ticket":"t","token":"t"}"#, Code::WsBadParameter),
        (r#"{"action":"auth","password":"p"}"#, Code::WsBadParameter),
        (r#"{"action":"auth","api_key":"k","account":"demo"}"#, Code::WsBadParameter),
    ] {
        assert_eq!(refused(text), Some(code), "{text}");
    }
}

#[test]
fn a_key_is_refused_where_it_has_no_effect_or_no_such_value() {
    for (channel, keys) in [
        ("market", r#""id":{}"#),
        ("market", r#""from_seq":1"#),
        ("market", r#""epoch":"e""#),
        ("market", r#""from_seq":-1,"epoch":"e""#),
        ("market", r#""from_seq":1,"epoch":2"#),
        ("market", r#""depth":10"#),
        ("market", r#""interval":"1m""#),
        ("market", r#""max_rate_ms":60001"#),
        ("market", r#""on_slow":"wait""#),
        ("orderbook", r#""depth":0"#),
        ("orderbook", r#""depth":101"#),
        ("orderbook", r#""depth":"10""#),
        ("orderbook", r#""mode":"both""#),
        ("orderbook", r#""interval":"1m""#),
        ("candles", r#""interval":"2m""#),
        ("candles", r#""mode":"delta""#),
        ("candles", r#""speed":1"#),
        ("positions", r#""depth":1"#),
    ] {
        let text =
            format!(r#"{{"action":"subscribe","channel":"{channel}","symbol":"A-B",{keys}}}"#);
        assert_eq!(refused(&text), Some(Code::WsBadParameter), "{text}");
    }
}

#[test]
fn a_subscription_says_what_and_how() {
    let text = r#"{"action":"subscribe","channel":"orderbook","symbols":["A-B","C-D","A-B"],
        "symbol":"E-F","depth":25,"mode":"delta","max_rate_ms":250,"on_slow":"disconnect",
        "from_seq":266752,"epoch":"e"}"#;
    let Ok(Action::Subscribe(subscribe)) = read(text) else { panic!() };

    assert_eq!(subscribe.symbols, ["A-B", "C-D", "E-F"]);
    assert_eq!(subscribe.from, Some(From { seq: 266_752, epoch: "e".into() }));
    let wishes = subscribe.wishes;
    assert_eq!((wishes.depth, wishes.deltas), (25, true));
    assert_eq!((wishes.pause.as_millis(), wishes.on_slow), (250, OnSlow::Disconnect));
}

#[test]
fn a_channel_of_ones_own_has_no_symbols() {
    let text = r#"{"action":"subscribe","channel":"positions","max_rate_ms":500}"#;
    let Ok(Action::SubscribeOwn(OwnChannel::Positions, pause)) = read(text) else { panic!() };
    assert_eq!(pause.as_millis(), 500);
    let text = r#"{"action":"unsubscribe","channel":"account"}"#;
    assert!(matches!(read(text), Ok(Action::UnsubscribeOwn(OwnChannel::Account))));
}

#[test]
fn what_is_presented_is_never_shown() {
    for kind in ["token", "api_key", "ticket"] {
        let text = format!(r#"{{"id":"i","action":"auth","{kind}":"canary"}}"#);
        let request = Request::read(&text, Mode::Plain).unwrap();
        assert!(!format!("{request:?}").contains("canary"), "{kind}");

        let mistyped = text.replace(r#""canary""#, r#"["canary"]"#);
        let rejection = Request::read(&mistyped, Mode::Plain).unwrap_err();
        assert!(!rejection.detail.contains("canary"), "{kind}");
    }
}

#[test]
fn a_plain_connection_has_the_keys_of_the_specification() {
    let plain = |text| Request::read(text, Mode::Plain).err().map(|rejection| rejection.code);

    let book = r#"{"action":"subscribe","channel":"orderbook","symbol":"A-B","depth":10}"#;
    assert_eq!(plain(book), None);
    let candles = r#"{"action":"subscribe","channel":"candles","symbol":"A-B"}"#;
    assert_eq!(plain(candles), Some(Code::WsUnknown));
    let own = r#"{"action":"subscribe","channel":"account"}"#;
    assert_eq!(plain(own), Some(Code::WsUnknown));
    let deltas = r#"{"action":"subscribe","channel":"orderbook","symbol":"A-B","mode":"delta"}"#;
    assert_eq!(plain(deltas), Some(Code::WsBadParameter));
}
