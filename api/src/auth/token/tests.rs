//! Tokens, good and forged, each with the verdict that it must get.

use domain::access::{Role, Scope, Scopes};
use expect_test::expect;
use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;
use crate::auth::token::tests::forger::{Forger, NOW};

mod corpus;
mod forger;

fn claims() -> Claims {
    Claims {
        id: "t-1".parse().unwrap(),
        account: "demo".parse().unwrap(),
        role: Role::Trader,
        scopes: Role::Trader.scopes(),
        issued_at: Timestamp::from_micros(NOW * SECOND),
        expires_at: Timestamp::from_micros((NOW + 900) * SECOND),
        key: Some("k3yN4me0".parse().unwrap()),
    }
}

#[test]
fn what_is_signed_begins_like_the_sample_of_the_specification_and_says_all() {
    let forger = Forger::new();
    let token = sign(&forger.keys, &claims());
    let token = token.expose_secret();
    let part = |place: usize| {
        let part = token.split('.').nth(place).unwrap();
        String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };

    assert!(token.starts_with("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIs"));
    assert_eq!(part(0), r#"{"alg":"HS256","typ":"JWT","kid":"h1"}"#);
    expect![[r#"{"iss":"entasis","aud":"entasis","sub":"demo","jti":"t-1","iat":1711013401,"exp":1711014301,"role":"trader","scope":"market:read portfolio:read portfolio:write analysis:read events:read","key":"k3yN4me0"}"#]].assert_eq(&part(1));
}

#[test]
fn a_token_is_good_from_five_seconds_before_it_was_issued_until_five_after_it_expired() {
    let forger = Forger::new();
    let claims = claims();
    let token = sign(&forger.keys, &claims);
    let (issued, expires) = (claims.issued_at, claims.expires_at);
    for (now, verdict) in [
        (issued.plus(-5 * SECOND - 1), Err(BadToken::NotYet)),
        (issued.plus(-5 * SECOND), Ok(&claims)),
        (issued, Ok(&claims)),
        (expires, Ok(&claims)),
        (expires.plus(5 * SECOND - 1), Ok(&claims)),
        (expires.plus(5 * SECOND), Err(BadToken::Expired)),
        (Timestamp::MIN, Err(BadToken::NotYet)),
        (Timestamp::MAX, Err(BadToken::Expired)),
    ] {
        let verified = verify(&forger.keys, token.expose_secret(), now);
        assert_eq!(verified.as_ref().map_err(|reason| *reason), verdict, "{now}");
    }
}

#[test]
fn only_of_time_is_told_why_a_token_is_not_good() {
    for reason in [BadToken::Signature, BadToken::KeyUnknown, BadToken::Issuer, BadToken::TooLong] {
        assert_eq!(reason.told(), "the token is not good");
    }
    assert_eq!(BadToken::Expired.told(), "the token has expired");
}

fn any_scopes(role: Role) -> impl Strategy<Value = Scopes> {
    let all: Vec<Scope> = role.scopes().iter().collect();
    let count = all.len();
    proptest::sample::subsequence(all, 1..=count).prop_map(|scopes| scopes.into_iter().collect())
}

proptest! {
    #[test]
    fn what_was_signed_is_read_as_it_was(
        (role, scopes) in proptest::sample::select(Role::ALL.to_vec())
            .prop_flat_map(|role| (Just(role), any_scopes(role))),
        account in "[A-Za-z0-9_-]{1,64}",
        id in "[A-Za-z0-9_-]{1,64}",
        key in proptest::option::of("[A-Za-z0-9]{8}"),
        at in 0..200_000_000_000_i64,
        life in 1..=86_400_i64,
    ) {
        let forger = Forger::new();
        let claims = Claims {
            id: id.parse().unwrap(),
            account: account.parse().unwrap(),
            role,
            scopes,
            issued_at: Timestamp::from_micros(at * SECOND),
            expires_at: Timestamp::from_micros((at + life) * SECOND),
            key: key.map(|key| key.parse().unwrap()),
        };
        let token = sign(&forger.keys, &claims);
        prop_assert_eq!(verify(&forger.keys, token.expose_secret(), claims.issued_at), Ok(claims));
    }

    #[test]
    fn no_text_is_a_good_token(text in "\\PC{0,200}") {
        let forger = Forger::new();
        prop_assert!(verify(&forger.keys, &text, Forger::now()).is_err());
    }
}
