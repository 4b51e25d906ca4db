//! What is claimed: parties, roles and scopes, times, and how it is written down.

use super::Verdict::{Bad, Good};
use super::{Corpus, Verdict, quoted};
use crate::auth::token::BadToken;
use crate::auth::token::tests::forger::{Forger, Members, NOW, encoded};

pub(super) fn add_to(corpus: &mut Corpus) {
    roles(corpus);
    around_now(corpus);
    lifetimes(corpus);
    numbers(corpus);
    missing_and_twice(corpus);
    parties(corpus);
    names(corpus);
    written(corpus);
}

/// Adds a token of each key that claims this, rightly signed.
fn add(corpus: &mut Corpus, name: &str, payload: &str, verdict: Verdict) {
    for kid in ["h1", "e1"] {
        let token = corpus.forger.signed(kid, &Members::header(kid).text(), payload);
        corpus.add(format!("{kid}: {name}"), token, verdict);
    }
}

fn with(corpus: &mut Corpus, name: &str, value: &str, verdict: Verdict) {
    let payload = Members::claims().with(name, value).text();
    add(corpus, &format!("{name} {value}"), &payload, verdict);
}

/// What each role may, written down once more.
const RIGHTS: [(&str, &[&str]); 4] = [
    (
        "trader",
        &["market:read", "analysis:read", "portfolio:read", "portfolio:write", "events:read"],
    ),
    ("auditor", &["market:read", "analysis:read", "events:read"]),
    ("operator", &["market:read", "analysis:read", "operator"]),
    ("admin", &["market:read", "analysis:read", "admin"]),
];

const SCOPES: [&str; 7] = [
    "market:read",
    "analysis:read",
    "portfolio:read",
    "portfolio:write",
    "events:read",
    "operator",
    "admin",
];

fn roles(corpus: &mut Corpus) {
    for kid in ["h1", "e1", "old"] {
        for (role, rights) in RIGHTS {
            let claims = Members::claims().with("role", &quoted(role)).without("scope");
            let all = rights.join(" ");
            let mut cases = vec![
                ("all it may, unsaid".to_owned(), claims.clone(), Good),
                ("all it may".to_owned(), claims.clone().with("scope", &quoted(&all)), Good),
            ];
            for scope in SCOPES {
                let may = rights.contains(&scope);
                let verdict = if may { Good } else { Bad(BadToken::Scope) };
                let only = claims.clone().with("scope", &quoted(scope));
                let too = claims.clone().with("scope", &quoted(&format!("{all} {scope}")));
                cases.push((format!("only {scope}"), only, verdict));
                cases.push((format!("{scope} too"), too, verdict));
            }
            for (name, claims, verdict) in cases {
                let header = Members::header(kid).text();
                let token = corpus.forger.signed(kid, &header, &claims.text());
                corpus.add(format!("{kid}: {role}, {name}"), token, verdict);
            }
        }
    }
}

/// Each second around each edge.
fn around_now(corpus: &mut Corpus) {
    for off in -10..=10 {
        let at = (NOW + off).to_string();
        let edge = |is_good: bool, reason| if is_good { Good } else { Bad(reason) };
        let expiring = Members::claims().with("iat", &(NOW - 100).to_string()).with("exp", &at);
        let name = format!("exp {off} from now");
        add(corpus, &name, &expiring.text(), edge(off > -5, BadToken::Expired));
        with(corpus, "iat", &at, edge(off <= 5, BadToken::NotYet));
        with(corpus, "nbf", &at, edge(off <= 5, BadToken::NotYet));
    }
    with(corpus, "nbf", "0", Good);
    with(corpus, "nbf", &(NOW + 10_000).to_string(), Bad(BadToken::NotYet));
}

fn lifetimes(corpus: &mut Corpus) {
    for (iat, life, verdict) in [
        (NOW, 86_399, Good),
        (NOW, 86_400, Good),
        (NOW, 86_401, Bad(BadToken::Lifetime)),
        (NOW, 2 * 86_400, Bad(BadToken::Lifetime)),
        (NOW, 3_650 * 86_400, Bad(BadToken::Lifetime)),
        (NOW, 0, Bad(BadToken::Lifetime)),
        (NOW, -1, Bad(BadToken::Lifetime)),
        (NOW + 5, -3, Bad(BadToken::Lifetime)),
        (NOW, 1, Good),
        (NOW - 86_399, 86_400, Good),
        (NOW - 86_400, 86_400, Good),
        (NOW - 86_404, 86_400, Good),
        (NOW - 86_405, 86_400, Bad(BadToken::Expired)),
        (NOW - 86_405, 86_401, Bad(BadToken::Lifetime)),
        (0, 86_400, Bad(BadToken::Expired)),
        (1, NOW, Bad(BadToken::Lifetime)),
        (253_402_300_000, 799, Bad(BadToken::NotYet)),
        (NOW, 253_402_300_799 - NOW, Bad(BadToken::Lifetime)),
    ] {
        let claims = Members::claims().with("iat", &iat.to_string());
        let claims = claims.with("exp", &(iat + life).to_string());
        add(corpus, &format!("from {iat} for {life}"), &claims.text(), verdict);
    }
}

/// What is no whole second that has a name.
fn numbers(corpus: &mut Corpus) {
    for name in ["iat", "exp", "nbf"] {
        for value in [
            "-1",
            "-0",
            "1.5",
            "1711013401.0",
            "1711013401.5",
            "1.711013401e9",
            "1e3",
            "1E400",
            "18446744073709551615",
            "18446744073709551616",
            "9223372036854775807",
            "9223372036854775808",
            "9223372036854",
            "253402300800",
            "-9223372036854775808",
            "99999999999999999999999999999999999999",
            "\"1711013401\"",
            "\"2024-03-21T09:30:01Z\"",
            "\"\"",
            "null",
            "true",
            "[]",
            "[1711013401]",
            "{}",
            "{\"$numberLong\":\"1711013401\"}",
            "NaN",
            "Infinity",
            "01711013401",
            "+1711013401",
            "0x65FBFF59",
            "1_711_013_401",
        ] {
            with(corpus, name, value, Bad(BadToken::Claims));
        }
    }
    with(corpus, "iat", "1711013401 ", Good);
}

fn missing_and_twice(corpus: &mut Corpus) {
    let claims = Members::claims();
    for name in ["iss", "aud", "sub", "jti", "iat", "exp", "role"] {
        let without = claims.clone().without(name).text();
        add(corpus, &format!("no {name}"), &without, Bad(BadToken::Claims));
        let twice = claims.clone().and(name, &claims.get(name)).text();
        add(corpus, &format!("{name} twice"), &twice, Bad(BadToken::Claims));
    }
    for name in ["scope", "later", "key"] {
        let claims = claims.clone().without(name);
        let twice = claims.and(name, "\"k3yN4me0\"").and(name, "\"k3yN4me0\"").text();
        add(corpus, &format!("{name} twice"), &twice, Bad(BadToken::Claims));
    }
    let twice = claims.clone().and("\\u0069ss", "\"entasis\"").text();
    add(corpus, "iss twice, once in another way", &twice, Bad(BadToken::Claims));
    for name in ["iss", "sub", "jti", "role", "scope", "key"] {
        for value in ["null", "1", "true", "{}", "[]", "[1]", "[\"entasis\"]", "\"\\ud800\""] {
            with(corpus, name, value, Bad(BadToken::Claims));
        }
    }
}

fn parties(corpus: &mut Corpus) {
    for name in
        ["", "Entasis", "entasis ", "entasis\\u0000", "https://entasis", "evil", "\\u0435ntasis"]
    {
        with(corpus, "iss", &quoted(name), Bad(BadToken::Issuer));
        with(corpus, "aud", &quoted(name), Bad(BadToken::Audience));
    }
    for (aud, verdict) in [
        ("[\"entasis\"]", Good),
        ("[\"other\",\"entasis\"]", Good),
        ("[]", Bad(BadToken::Audience)),
        ("[\"other\"]", Bad(BadToken::Audience)),
        ("\"entasis,other\"", Bad(BadToken::Audience)),
        ("\"entasis other\"", Bad(BadToken::Audience)),
        ("[\"entasis\",1]", Bad(BadToken::Claims)),
        ("[\"entasis\",null]", Bad(BadToken::Claims)),
        ("[[\"entasis\"]]", Bad(BadToken::Claims)),
        ("{\"0\":\"entasis\"}", Bad(BadToken::Claims)),
        ("null", Bad(BadToken::Claims)),
        ("1", Bad(BadToken::Claims)),
        ("true", Bad(BadToken::Claims)),
    ] {
        with(corpus, "aud", aud, verdict);
    }
}

fn names(corpus: &mut Corpus) {
    for name in ["sub", "jti"] {
        for value in ["", " ", "a b", "a.b", "a/b", "../demo", "*", "é", "demo\\u0000", "a\\nb"] {
            with(corpus, name, &quoted(value), Bad(BadToken::Claims));
        }
        with(corpus, name, &quoted(&"a".repeat(65)), Bad(BadToken::Claims));
        with(corpus, name, &quoted(&"a".repeat(64)), Good);
        with(corpus, name, "\"018e6057-4d3c-7d6c-8a3b_Z\"", Good);
    }
    for role in ["", "Trader", "TRADER", "trader ", "root", "superuser", "trader,admin", "*"] {
        with(corpus, "role", &quoted(role), Bad(BadToken::Claims));
    }
    with(corpus, "role", "{\"trader\":null}", Bad(BadToken::Claims));
    for scope in [
        "",
        " ",
        "market:read ",
        " market:read",
        "market:read  portfolio:read",
        "MARKET:READ",
        "market:*",
        "*",
        "market",
        "market:read,portfolio:read",
        "market:read\\tportfolio:read",
        "market:read\\u00a0portfolio:read",
        "market:read market:write",
        "all",
    ] {
        with(corpus, "scope", &quoted(scope), Bad(BadToken::Claims));
    }
    with(corpus, "scope", "\"market:read market:read\"", Good);
    for key in ["", "short", "ninechars", "../../ab", "k3yN me0", "ent_live", "k3yN4mé"] {
        with(corpus, "key", &quoted(key), Bad(BadToken::Claims));
    }
    with(corpus, "key", "\"k3yN4me0\"", Good);
    with(corpus, "later", "{\"exp\":1,\"role\":\"admin\",\"role\":\"root\"}", Good);
    with(corpus, "Exp", "1", Good);
}

fn written(corpus: &mut Corpus) {
    let claims = Members::claims();
    let text = claims.text();
    for payload in [
        String::new(),
        "{".to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        "1".to_owned(),
        "\"entasis\"".to_owned(),
        claims.values(),
        format!("[{text}]"),
        format!("{{\"claims\":{text}}}"),
        text.clone() + "x",
        text.clone() + &text,
        text.clone() + "\0",
        format!("\u{feff}{text}"),
        text.replace('"', "'"),
        text.replace('}', ",}"),
        text.replace('{', "{/* good */"),
        text.replace(':', "="),
        encoded(&text),
    ] {
        add(corpus, &format!("payload {payload:?}"), &payload, Bad(BadToken::Claims));
    }
    add(corpus, "spaces", &text.replace(',', " ,\n\t").replace('{', " {"), Good);
    let escaped = text.replace("\"iss\"", "\"\\u0069\\u0073s\"");
    add(corpus, "a name in another way", &escaped, Good);
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    add(corpus, "deep", &claims.clone().and("later", &deep).text(), Good);
    let open = claims.and("later", &"[".repeat(1_000)).text();
    add(corpus, "deep and open", &open, Bad(BadToken::Claims));
    for kid in ["h1", "e1"] {
        let header = encoded(Members::header(kid).text());
        let torn = text.replace("demo", "\u{0}").into_bytes();
        let torn: Vec<u8> = torn.iter().map(|byte| if *byte == 0 { 0xff } else { *byte }).collect();
        let message = format!("{header}.{}", encoded(torn));
        let signature = encoded(corpus.forger.signature(Forger::key(kid).1, &message));
        let token = format!("{message}.{signature}");
        corpus.add(format!("{kid}: not UTF-8"), token, Bad(BadToken::Claims));
    }
}
