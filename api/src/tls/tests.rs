//! Certificates that can be used, and others.

use expect_test::{Expect, expect};

use super::*;
use crate::tests::certificates::Issued;

fn check(chain: &str, key: &str, expected: &Expect) {
    let refused = configured(chain.as_bytes(), key.as_bytes()).unwrap_err();
    expected.assert_eq(&refused.to_string());
}

#[test]
fn a_certificate_with_its_key_is_taken() {
    let issued = Issued::new();
    let config = configured(issued.chain.as_bytes(), issued.key.as_bytes()).unwrap();

    assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
}

#[test]
fn a_chain_may_stand_in_one_file_with_its_key_and_words_between() {
    let (first, second) = (Issued::new(), Issued::new());
    let file = format!("of\n{}then\n{}{}", first.chain, second.chain, first.key);

    assert!(configured(file.as_bytes(), file.as_bytes()).is_ok());
}

#[test]
fn what_is_no_chain_or_no_key_is_refused() {
    let Issued { chain, key } = Issued::new();

    check("", &key, &expect!["there is no certificate: expected PEM, the server's own first"]);
    check(&key, &key, &expect!["there is no certificate: expected PEM, the server's own first"]);
    check(&chain, "", &expect!["there is no private key: expected PEM, not encrypted"]);
    check(&chain, &chain, &expect!["there is no private key: expected PEM, not encrypted"]);
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    check(&chain, &encrypted, &expect!["there is no private key: expected PEM, not encrypted"]);
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (issued, other) = (Issued::new(), Issued::new());

    check(&issued.chain, &other.key, &expect!["the private key is not that of the certificate"]);
    // The server's own comes first.
    let reversed = other.chain + &issued.chain;
    check(&reversed, &issued.key, &expect!["the private key is not that of the certificate"]);
}

#[test]
fn what_is_damaged_is_refused_and_tells_nothing_of_the_key() {
    let Issued { chain, key } = Issued::new();
    let half = |text: &str| text[..text.len() / 2].to_owned();

    assert!(configured(half(&chain).as_bytes(), key.as_bytes()).is_err());
    // Of a chain, each certificate must be one.
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for chain in [nonsense.to_owned(), format!("{chain}{nonsense}")] {
        assert!(configured(chain.as_bytes(), key.as_bytes()).is_err());
    }
    let body = key.lines().nth(1).unwrap();
    let damaged = [
        half(&key),
        key.replace(body, &format!("{body}!")),
        key.replace(body, &body[4..]),
        key.replace("-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY"),
    ];
    for key in damaged {
        let refused = configured(chain.as_bytes(), key.as_bytes()).unwrap_err();
        for told in [refused.to_string(), format!("{refused:?}")] {
            assert!(!told.contains(&body[8..16]), "{told}");
        }
    }
}

#[test]
fn a_chain_has_its_time() {
    let at = |text: &str| text.parse().unwrap();
    let check = |chain: &str, time: &str, expected: &Expect| {
        let judged = check_time(chain.as_bytes(), at(time));
        expected.assert_eq(&judged.map_or_else(|error| error.to_string(), |()| "valid".to_owned()));
    };
    let Issued { chain, .. } = Issued::between(2020, 2030);

    check(
        &chain,
        "2019-12-31T23:59:59Z",
        &expect!["a certificate of the chain is not valid before 2020-01-01T00:00:00Z"],
    );
    check(&chain, "2020-01-01T00:00:00Z", &expect!["valid"]);
    check(&chain, "2030-01-01T00:00:00Z", &expect!["valid"]);
    check(
        &chain,
        "2030-01-01T00:00:01Z",
        &expect!["a certificate of the chain has expired at 2030-01-01T00:00:00Z"],
    );
    let longer = format!("{}{chain}", Issued::new().chain);
    check(
        &longer,
        "2031-01-01T00:00:00Z",
        &expect!["a certificate of the chain has expired at 2030-01-01T00:00:00Z"],
    );
    check(
        "",
        "2031-01-01T00:00:00Z",
        &expect!["there is no certificate: expected PEM, the server's own first"],
    );
}

#[test]
fn a_replaced_certificate_is_the_current_one() {
    let config = |issued: Issued| configured(issued.chain.as_bytes(), issued.key.as_bytes());
    let tls = Tls::new(config(Issued::new()).unwrap());
    let before = tls.current();

    tls.replace(config(Issued::new()).unwrap());
    assert!(!Arc::ptr_eq(&before, &tls.current()));
}
