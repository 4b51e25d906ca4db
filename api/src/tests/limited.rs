//! How often one may ask, as it shows at the door.

use domain::access::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::tests::asking::Answer;
use crate::tests::house::{House, TRADER};

const SYMBOLS: &str = "/v1/market/symbols";

/// Sends the same request many times over one connection, and returns the statuses of its answers.
async fn flood(house: &House, fields: &str, times: usize) -> Vec<u16> {
    let request = |connection: &str| {
        format!("GET {SYMBOLS} HTTP/1.1\r\nHost: test\r\nConnection: {connection}\r\n{fields}\r\n")
    };
    let requests = request("keep-alive").repeat(times - 1) + &request("close");
    let stream = TcpStream::connect(house.address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let mut answers = String::new();
    // The writing half is kept: one that hangs up is not answered any more.
    let (written, read) =
        tokio::join!(writer.write_all(requests.as_bytes()), reader.read_to_string(&mut answers));
    written.unwrap();
    read.unwrap();
    let heads = answers.match_indices("HTTP/1.1 ");
    let statuses: Vec<u16> =
        heads.map(|(place, _)| answers[place + 9..place + 12].parse().unwrap()).collect();
    assert_eq!(statuses.len(), times);
    statuses
}

fn number(answer: &Answer, name: &str) -> u64 {
    answer.header(name).unwrap_or_else(|| panic!("{name}")).parse().unwrap()
}

#[tokio::test]
async fn an_account_has_a_thousand_requests_a_minute_and_no_more() {
    let house = House::open().await;
    house.ruled(|rules| rules.requests_max = 1_000);
    let (_, key) = house.key(&format!(r#"{{"account":"{TRADER}","role":"trader"}}"#)).await;

    let first = house.get(SYMBOLS).await;
    assert_eq!(first.status, 200);
    assert_eq!(first.header("RateLimit-Policy"), Some("\"default\";q=1000;w=60"));
    assert!(first.header("RateLimit").unwrap().starts_with("\"default\";r=999;t="));
    assert_eq!(
        (number(&first, "X-RateLimit-Limit"), number(&first, "X-RateLimit-Remaining")),
        (1_000, 999)
    );
    assert!((1..=60).contains(&number(&first, "X-RateLimit-Reset")));

    // By token and by key, it is one account; answers that tell of a mistake count as well.
    let wrong = house.get("/v1/market/symbols?no=such").await;
    assert_eq!((wrong.status, number(&wrong, "X-RateLimit-Remaining")), (400, 998));
    let by_key = flood(&house, &format!("X-API-Key: {key}\r\n"), 500).await;
    assert_eq!(by_key, [200; 500]);
    let by_token = flood(&house, &house.fields(SYMBOLS, &[]), 500).await;
    assert_eq!(by_token[..498], [200; 498]);
    assert_eq!(by_token[498..], [429; 2]);

    for (language, message) in [("ko", "요청 한도 초과"), ("en", "rate limit exceeded")] {
        let over = house.ask("GET", SYMBOLS, &[("Accept-Language", language)]).await;
        assert_eq!((over.status, &over.json()["code"]), (429, &"429".into()));
        assert_eq!(over.json()["message"], message);
        assert_eq!(number(&over, "X-RateLimit-Remaining"), 0);
        let (wait, reset) = (number(&over, "Retry-After"), number(&over, "X-RateLimit-Reset"));
        assert!((1..=60).contains(&wait) && wait == reset, "{wait} {reset}");
        assert!(over.header("RateLimit").unwrap().starts_with("\"default\";r=0;t="));
    }
    let other = house.token("zelda", Role::Trader, None);
    assert_eq!(house.ask_as(&other, "GET", SYMBOLS, "").await.status, 200);
    let operator = house.token("olga", Role::Operator, None);
    assert_eq!(house.ask_as(&operator, "GET", SYMBOLS, "").await.status, 200);

    // Whoever is given more has it at once.
    house.ruled(|rules| rules.requests_max = 1_010);
    assert_eq!(number(&house.get(SYMBOLS).await, "X-RateLimit-Remaining"), 9);
}

#[tokio::test]
async fn guessing_is_slowed_down_and_nobody_else_is() {
    let house = House::open().await;
    house.ruled(|rules| rules.failures_ip_max = 20);
    let bad = "Authorization: Bearer x\r\n";

    let statuses = flood(&house, bad, 25).await;
    assert_eq!(statuses[..20], [401; 20]);
    assert_eq!(statuses[20..], [429; 5]);
    let limited = house.bare("GET", SYMBOLS, &[("X-API-Key", "x")]).await;
    assert_eq!((limited.status, &limited.json()["message"]), (429, &"요청 한도 초과".into()));
    assert!((1..=60).contains(&number(&limited, "Retry-After")));
    assert_eq!(limited.header("RateLimit"), None);

    // From the same address: who has a good token, who presents nothing, and what is public.
    assert_eq!(house.get(SYMBOLS).await.status, 200);
    assert_eq!(house.bare("GET", SYMBOLS, &[]).await.status, 401);
    assert_eq!(house.get("/livez").await.status, 200);
    // From another address the same guess is a failure like the first.
    house.ruled(|rules| rules.trusted_proxies = vec!["127.0.0.1".parse().unwrap()]);
    let elsewhere = [("X-API-Key", "x"), ("X-Forwarded-For", "10.0.0.1")];
    assert_eq!(house.bare("GET", SYMBOLS, &elsewhere).await.status, 401);
}

#[tokio::test]
async fn an_address_has_a_limit_whoever_asks() {
    let house = House::open().await;
    house.ruled(|rules| {
        rules.requests_ip_max = 50;
        rules.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    });
    let from = |address: &str| format!("X-Forwarded-For: {address}\r\n");
    let statuses = flood(&house, &from("2001:db8::1"), 60).await;
    let passed = statuses.iter().filter(|status| **status == 401).count();
    assert!((50..60).contains(&passed), "{passed}");
    assert!(statuses[..50].iter().all(|status| *status == 401));

    // The network of an IPv6 client is one address; another is another.
    let neighbour = house.ask("GET", SYMBOLS, &[("X-Forwarded-For", "2001:db8::2")]).await;
    assert_eq!((neighbour.status, &neighbour.json()["code"]), (429, &"429".into()));
    assert!(number(&neighbour, "Retry-After") >= 1);
    let other = house.ask("GET", SYMBOLS, &[("X-Forwarded-For", "2001:db8:0:1::1")]).await;
    assert_eq!(other.status, 200);
}
