//! Key files, good and bad.

use domain::time::{DAY, SECOND};

use super::*;

const KEY: &str =
    r#"{"kid":"a","algorithm":"HS256","secret":"QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE"}"#;

fn file(keys: &[&str]) -> String {
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

fn wrong(text: &str) -> String {
    TokenKeys::read(text).err().map(|error| error.to_string()).unwrap_or_default()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Returns the kids of a file, and until when each verifies.
fn kids(text: &SecretString) -> Vec<(String, Option<Timestamp>)> {
    let keys = TokenKeys::read(text.expose_secret()).ok().unwrap();
    keys.0.iter().map(|key| (key.kid.clone(), key.verify_until)).collect()
}

#[test]
fn a_file_that_was_drawn_is_read_and_no_two_are_the_same() {
    for algorithm in [Algorithm::Hs256, Algorithm::EdDsa] {
        let (one, other) = (TokenKeys::drawn(algorithm), TokenKeys::drawn(algorithm));
        let (first, second) =
            [&one, &other].map(|text| TokenKeys::read(text.expose_secret()).ok().unwrap()).into();

        assert_eq!(first.signing().algorithm, algorithm);
        let signature = first.signing().sign(b"a message").unwrap();
        assert!(first.signing().has_signed(b"a message", &signature));
        assert!(!first.signing().has_signed(b"another", &signature));
        assert!(!second.signing().has_signed(b"a message", &signature));
        assert_ne!(first.signing().kid, second.signing().kid);
    }
}

#[test]
fn a_file_is_read_strictly() {
    assert_eq!(wrong(&file(&[KEY])), "");
    let of = |key: &str| file(&[key]);
    for (text, reason) in [
        (String::new(), "not a key file: see line 1, column "),
        ("[]".to_owned(), "not a key file: see line 1, column "),
        (file(&[]), "there is no key that signs: one must have no verify_until"),
        (file(&[KEY]).replace("]}", "],\"more\":1}"), "not a key file: see line 1, column "),
        (of(&KEY.replace("kid", "name")), "not a key file: see line 1, column "),
        (of(&KEY.replace("HS256", "HS512")), "not a key file: see line 1, column "),
        (of(&KEY.replace("\"a\"", "\"a\",\"kid\":\"a\"")), "not a key file: see line 1, column "),
        (
            of(&KEY.replace("\"a\"", "\"\"")),
            "key 1: its kid must be 1 to 64 letters, digits, '_' or '-'",
        ),
        (
            of(&KEY.replace("\"a\"", "\"a b\"")),
            "key 1: its kid must be 1 to 64 letters, digits, '_' or '-'",
        ),
        (
            of(&KEY.replace("\"a\"", &format!("\"{}\"", "a".repeat(65)))),
            "key 1: its kid must be 1 to 64 letters, digits, '_' or '-'",
        ),
        (file(&[KEY, KEY]), "key 2: its kid is that of another key"),
        (
            of(&KEY.replace("HS256", "EdDSA")),
            "key 1: HS256 needs a secret, EdDSA a private_key, and neither the other's",
        ),
        (
            of(&KEY.replace("secret", "private_key")),
            "key 1: HS256 needs a secret, EdDSA a private_key, and neither the other's",
        ),
        (
            of(&KEY.replace("HS256", "EdDSA").replace("secret", "private_key")),
            "key 1: not an Ed25519 private key in PKCS#8",
        ),
        (of(&KEY.replace("QUFB", "QU+B")), "key 1: not base64url"),
        (of(&KEY.replace("QUFBQUE\"", "QUFB\"")), "key 1: a secret has at least 32 bytes"),
        (
            of(&KEY.replace('}', ",\"verify_until\":\"2024-03-21T09:30:00Z\"}")),
            "there is no key that signs: one must have no verify_until",
        ),
        (
            of(&KEY.replace('}', ",\"verify_until\":\"soon\"}")),
            "not a key file: see line 1, column ",
        ),
        (
            file(
                &(0..17)
                    .map(|n| KEY.replace("\"a\"", &format!("\"{n}\"")))
                    .collect::<Vec<_>>()
                    .iter()
                    .map(String::as_str)
                    .collect::<Vec<_>>(),
            ),
            "there are more than 16 keys",
        ),
    ] {
        let told = wrong(&text);
        assert!(told.starts_with(reason), "{text}: {told}");
    }
}

#[test]
fn what_is_wrong_is_told_without_a_word_of_the_file() {
    for text in [
        r#"{"keys":"canary"}"#.to_owned(),
        r#"{"canary":1}"#.to_owned(),
        file(&[r#"{"kid":"a","algorithm":"canary"}"#]),
        file(&[r#"{"kid":"canary canary","algorithm":"HS256","secret":"canary"}"#]),
        file(&[r#"{"kid":"a","algorithm":"HS256","secret":"canary canary"}"#]),
        file(&[r#"{"kid":"a","algorithm":"HS256","secret":{"canary":1}}"#]),
        file(&[r#"{"kid":"a","algorithm":"EdDSA","private_key":"canary"}"#]),
    ] {
        let reason = wrong(&text);
        assert!(!reason.is_empty() && !reason.contains("canary"), "{text}: {reason}");
    }
}

#[test]
fn a_secret_may_be_written_with_padding() {
    let padded = KEY.replace("QUFBQUE\"", "QUFBQUE=\"");
    assert_ne!(padded, KEY);
    assert_eq!(wrong(&file(&[&padded])), "");
}

#[test]
fn whoever_brings_the_same_secret_has_the_same_key() {
    let secret = SecretString::from("a secret that somebody has configured");
    let text = TokenKeys::of_secret(&secret).ok().unwrap();
    assert_eq!(text.expose_secret(), TokenKeys::of_secret(&secret).ok().unwrap().expose_secret());
    let other = SecretString::from("a secret that somebody else has configured");
    assert_ne!(kids(&text), kids(&TokenKeys::of_secret(&other).ok().unwrap()));

    let keys = TokenKeys::read(text.expose_secret()).ok().unwrap();
    let signature = keys.signing().sign(b"a message").unwrap();
    // `printf %s 'a message' | openssl dgst -sha256 -hmac "$secret" -binary`, in base64url.
    assert_eq!(signature, "1j_WZdRbakgUCyniPLJIpd21Pghxbi5NGji15h33PIM");

    let short = TokenKeys::of_secret(&SecretString::from("31 characters are not enough !!"));
    assert_eq!(short.err(), Some(BadTokenKeys::SecretTooShort { place: 1 }));
}

#[test]
fn a_rotated_file_signs_with_the_new_key_and_verifies_with_those_before_it() {
    let now = time("2024-03-21T09:30:00Z");
    let first = TokenKeys::drawn(Algorithm::Hs256);
    let (a, _) = kids(&first)[0].clone();
    let old = TokenKeys::read(first.expose_secret()).ok().unwrap();
    let signature = old.signing().sign(b"a message").unwrap();

    let until = now.plus(DAY);
    let second =
        TokenKeys::rotated(first.expose_secret(), Algorithm::EdDsa, now, until).ok().unwrap();
    let keys = TokenKeys::read(second.expose_secret()).ok().unwrap();
    assert_eq!(kids(&second)[1..], [(a.clone(), Some(until))]);
    assert_eq!(keys.signing().algorithm, Algorithm::EdDsa);
    let before = keys.verifying(&a, until.plus(-1)).unwrap();
    assert!(before.has_signed(b"a message", &signature));
    assert!(keys.verifying(&a, until).is_none());

    // The next time, the first keeps its end, and then it goes.
    let (b, _) = kids(&second)[0].clone();
    let hour = until.plus(3_600 * SECOND);
    let third =
        TokenKeys::rotated(second.expose_secret(), Algorithm::Hs256, now, hour).ok().unwrap();
    assert_eq!(kids(&third)[1..], [(b.clone(), Some(hour)), (a, Some(until))]);
    let fourth =
        TokenKeys::rotated(third.expose_secret(), Algorithm::Hs256, until, hour).ok().unwrap();
    let left: Vec<_> = kids(&fourth).into_iter().map(|(kid, _)| kid).collect();
    assert_eq!((left.len(), left[2] == b), (3, true));
}

#[test]
fn a_file_that_is_rotated_too_often_is_refused_and_not_cut() {
    let now = time("2024-03-21T09:30:00Z");
    let mut text = TokenKeys::drawn(Algorithm::Hs256);
    for _ in 1..KEYS_MAX {
        let rotated =
            TokenKeys::rotated(text.expose_secret(), Algorithm::Hs256, now, now.plus(DAY));
        text = rotated.ok().unwrap();
    }
    let more = TokenKeys::rotated(text.expose_secret(), Algorithm::Hs256, now, now.plus(DAY));
    assert_eq!(more.err(), Some(BadTokenKeys::TooMany));
    let later = now.plus(DAY);
    assert!(TokenKeys::rotated(text.expose_secret(), Algorithm::Hs256, later, later).is_ok());
}

#[test]
fn only_public_keys_are_told() {
    let now = time("2024-03-21T09:30:00Z");
    let until = now.plus(DAY);
    let text = TokenKeys::drawn(Algorithm::EdDsa);
    let text = TokenKeys::rotated(text.expose_secret(), Algorithm::Hs256, now, until).ok().unwrap();
    let keys = TokenKeys::read(text.expose_secret()).ok().unwrap();
    let (kid, _) = kids(&text)[1].clone();
    let x = keys.0[1].public.as_ref().unwrap();

    assert_eq!(
        keys.jwks(now),
        json!({"keys": [{
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid,
            "x": URL_SAFE_NO_PAD.encode(x),
        }]})
    );
    assert_eq!(x.len(), 32);
    assert_eq!(keys.jwks(until), json!({"keys": []}));
}

#[test]
fn a_fingerprint_tells_keys_apart_and_nothing_of_them() {
    let text = TokenKeys::drawn(Algorithm::Hs256);
    let read = |text: &SecretString| TokenKeys::read(text.expose_secret()).ok().unwrap();
    let fingerprint = read(&text).fingerprint();

    assert_eq!(fingerprint, read(&text).fingerprint());
    assert_ne!(fingerprint, read(&TokenKeys::drawn(Algorithm::Hs256)).fingerprint());
    assert!(!text.expose_secret().contains(&fingerprint));
    let now = time("2024-03-21T09:30:00Z");
    let rotated = TokenKeys::rotated(text.expose_secret(), Algorithm::EdDsa, now, now.plus(DAY));
    assert_ne!(fingerprint, read(&rotated.ok().unwrap()).fingerprint());

    // Of the same name, and yet another.
    let of = |key: &str| TokenKeys::read(&file(&[key])).ok().unwrap().fingerprint();
    assert_ne!(of(KEY), of(&KEY.replace("\"QUFB", "\"QkJC")));
}
