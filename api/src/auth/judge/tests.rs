//! What is presented, in every combination.

use std::sync::Arc;

use domain::access::{Role, Scope, Scopes};
use domain::time::{MINUTE, SECOND};

use super::*;
use crate::auth::judge::tests::doorway::{Doorway, here};
use crate::auth::key_text;
use crate::tests::house::TestClock;

mod doorway;

/// What a credential says, as the test has made it.
#[derive(Clone)]
enum Says {
    Nothing,
    Bad,
    Good { account: &'static str, role: Role, scopes: Scopes, here: bool },
}

use Says::{Bad, Good, Nothing};

/// A credential, what it says, and how it is called when the test fails.
type Case = (&'static str, Option<String>, Says);

fn text(key: &KeyText) -> String {
    key.text().expose_secret().to_owned()
}

fn good(account: &'static str, role: Role, scopes: &[Scope]) -> Says {
    Good { account, role, scopes: scopes.iter().copied().collect(), here: true }
}

fn elsewhere(account: &'static str, role: Role, scopes: &[Scope]) -> Says {
    Good { account, role, scopes: scopes.iter().copied().collect(), here: false }
}

fn failed(denied: Result<Principal, Denied>) -> (&'static str, String, Option<KeyId>) {
    match denied {
        Err(Denied::Failed { word, detail, key }) => (word, detail, key),
        other => panic!("{other:?}"),
    }
}

const SOME: [Scope; 3] = [Scope::MarketRead, Scope::PortfolioRead, Scope::EventsRead];
const OTHERS: [Scope; 2] = [Scope::PortfolioRead, Scope::PortfolioWrite];
const MARKET: [Scope; 1] = [Scope::MarketRead];

async fn keys(doorway: &Doorway) -> Vec<Case> {
    use Role::{Admin, Trader};
    let whole = doorway.give("demo", Trader, &SOME, |_| {}).await;
    let narrow = doorway.give("demo", Trader, &OTHERS, |_| {}).await;
    let others = doorway.give("eve", Trader, &SOME, |_| {}).await;
    let admin = doorway.give("demo", Admin, &MARKET, |_| {}).await;
    let ends = Doorway::noon().plus(MINUTE);
    let expired = doorway.give("demo", Trader, &SOME, |grant| grant.expires_at = Some(ends)).await;
    let ends = ends.plus(1);
    let nearly = doorway.give("demo", Trader, &SOME, |grant| grant.expires_at = Some(ends)).await;
    let revoked = doorway.give("demo", Trader, &SOME, |_| {}).await;
    doorway.revoke(&revoked).await;
    let net = |text: &str| BTreeSet::from([text.parse().unwrap()]);
    let bound =
        doorway.give("demo", Trader, &SOME, |grant| grant.networks = net("192.0.2.0/24")).await;
    let shut_out =
        doorway.give("demo", Trader, &SOME, |grant| grant.networks = net("198.51.100.0/24")).await;
    let others_out =
        doorway.give("eve", Trader, &SOME, |grant| grant.networks = net("198.51.100.0/24")).await;
    let rotated = doorway.give("demo", Trader, &SOME, |_| {}).await;
    let new = doorway.rotate(&rotated, 61).await;
    let over = doorway.give("demo", Trader, &SOME, |_| {}).await;
    doorway.rotate(&over, 60).await;
    let before = doorway.give("demo", Trader, &SOME, |_| {}).await;
    let between = doorway.rotate(&before, 1_000).await;
    doorway.rotate(&between, 1_000).await;
    let wrong = KeyText { id: whole.id.clone(), secret: key_text::drawn().secret };
    vec![
        ("no key", None, Nothing),
        ("a key", Some(text(&whole)), good("demo", Trader, &SOME)),
        ("a narrow key", Some(text(&narrow)), good("demo", Trader, &OTHERS)),
        ("a key of another", Some(text(&others)), good("eve", Trader, &SOME)),
        ("a key of another role", Some(text(&admin)), good("demo", Admin, &MARKET)),
        ("an expired key", Some(text(&expired)), Bad),
        ("a key that nearly expired", Some(text(&nearly)), good("demo", Trader, &SOME)),
        ("a revoked key", Some(text(&revoked)), Bad),
        ("a key that is good here", Some(text(&bound)), good("demo", Trader, &SOME)),
        ("a key that is good there", Some(text(&shut_out)), elsewhere("demo", Trader, &SOME)),
        ("another's, good there", Some(text(&others_out)), elsewhere("eve", Trader, &SOME)),
        ("a former secret", Some(text(&rotated)), good("demo", Trader, &SOME)),
        ("a new secret", Some(text(&new)), good("demo", Trader, &SOME)),
        ("a former secret whose time is over", Some(text(&over)), Bad),
        ("the secret before the former", Some(text(&before)), Bad),
        ("the former of two", Some(text(&between)), good("demo", Trader, &SOME)),
        ("a wrong secret", Some(text(&wrong)), Bad),
        ("an unknown key", Some(text(&key_text::drawn())), Bad),
        ("no text of a key", Some("ent_live_nonsense".to_owned()), Bad),
        ("a token for a key", Some("a.b.c".to_owned()), Bad),
    ]
}

async fn tokens(doorway: &Doorway) -> Vec<Case> {
    use Role::{Admin, Trader};
    let key = doorway.give("demo", Trader, &SOME, |_| {}).await;
    let revoked = doorway.give("demo", Trader, &SOME, |_| {}).await;
    doorway.revoke(&revoked).await;
    let ends = Doorway::noon().plus(MINUTE);
    let expired = doorway.give("demo", Trader, &SOME, |grant| grant.expires_at = Some(ends)).await;
    let net = BTreeSet::from(["198.51.100.0/24".parse().unwrap()]);
    let there = doorway.give("demo", Trader, &SOME, |grant| grant.networks = net).await;
    let rotated = doorway.give("demo", Trader, &SOME, |_| {}).await;
    doorway.rotate(&rotated, 0).await;
    let unknown = key_text::drawn();
    let of = |account, role, scopes: &[Scope], key| {
        Some(doorway.signed(&Doorway::claims(account, role, scopes, key)))
    };
    let taken_back = Doorway::claims("demo", Trader, &SOME, None);
    doorway.revoke_token(&taken_back).await;
    let mut old = Doorway::claims("demo", Trader, &SOME, None);
    old.expires_at = Doorway::noon().plus(55 * SECOND);
    vec![
        ("no token", None, Nothing),
        ("a token", of("demo", Trader, &SOME, None), good("demo", Trader, &SOME)),
        ("a narrow token", of("demo", Trader, &OTHERS, None), good("demo", Trader, &OTHERS)),
        ("a token of another", of("eve", Trader, &SOME, None), good("eve", Trader, &SOME)),
        ("a token of another role", of("demo", Admin, &MARKET, None), good("demo", Admin, &MARKET)),
        ("a token of a key", of("demo", Trader, &SOME, Some(&key)), good("demo", Trader, &SOME)),
        (
            "a token that says more than its key",
            of("demo", Trader, &OTHERS, Some(&key)),
            good("demo", Trader, &[Scope::PortfolioRead]),
        ),
        ("a token of another's key", of("eve", Trader, &SOME, Some(&key)), Bad),
        ("a token of a key of another role", of("demo", Admin, &MARKET, Some(&key)), Bad),
        ("a token of a revoked key", of("demo", Trader, &SOME, Some(&revoked)), Bad),
        ("a token of an expired key", of("demo", Trader, &SOME, Some(&expired)), Bad),
        ("a token of an unknown key", of("demo", Trader, &SOME, Some(&unknown)), Bad),
        (
            "a token of a key that is good there",
            of("demo", Trader, &SOME, Some(&there)),
            elsewhere("demo", Trader, &SOME),
        ),
        (
            "a token of a key that was rotated",
            of("demo", Trader, &SOME, Some(&rotated)),
            good("demo", Trader, &SOME),
        ),
        ("a revoked token", Some(doorway.signed(&taken_back)), Bad),
        ("an expired token", Some(doorway.signed(&old)), Bad),
        ("no text of a token", Some("nonsense".to_owned()), Bad),
        ("a key for a token", Some(text(&key)), Bad),
    ]
}

/// What is to become of two credentials, from what each of them says.
fn expected(token: &Says, key: &Says) -> Result<(String, Role, Scopes), &'static str> {
    match (token, key) {
        (Bad, _) | (_, Bad) | (Nothing, Nothing) => Err("401"),
        (Nothing, Good { account, role, scopes, here })
        | (Good { account, role, scopes, here }, Nothing) => {
            if *here {
                Ok(((*account).to_owned(), *role, scopes.clone()))
            } else {
                Err("403")
            }
        }
        (
            Good { account, role, scopes, here },
            Good { account: other, role: other_role, scopes: other_scopes, here: other_here },
        ) => {
            if account != other || role != other_role {
                return Err("401");
            }
            if !*here || !*other_here {
                return Err("403");
            }
            let both = scopes.iter().filter(|scope| other_scopes.contains(*scope)).collect();
            Ok(((*account).to_owned(), *role, both))
        }
    }
}

#[tokio::test]
async fn whatever_is_presented_must_be_good_and_all_of_one() {
    let doorway = Doorway::new();
    let (tokens, keys) = (tokens(&doorway).await, keys(&doorway).await);
    let mut let_in = 0;
    for (token_name, token, token_says) in &tokens {
        for (key_name, key, key_says) in &keys {
            let judged = doorway.judge(token.as_deref(), key.as_deref());
            let told = match &judged {
                Ok(who) => Ok((who.account.to_string(), who.role, who.scopes.clone())),
                Err(Denied::Failed { .. }) => Err("401"),
                Err(Denied::Address { .. }) => Err("403"),
            };
            assert_eq!(told, expected(token_says, key_says), "{token_name}, {key_name}");
            let_in += u32::from(told.is_ok());
        }
    }
    assert_eq!((tokens.len(), keys.len()), (18, 20));
    assert!(let_in > 50, "{let_in}");
}

#[tokio::test]
async fn nothing_tells_whether_a_key_exists() {
    let doorway = Doorway::new();
    for (name, key, says) in keys(&doorway).await {
        let (Some(key), Bad) = (key, says) else { continue };
        let (_, detail, _) = failed(doorway.judge(None, Some(&key)));
        assert_eq!(detail, "the API key is not good", "{name}");
    }
}

#[tokio::test]
async fn the_record_is_told_more_than_whoever_asks() {
    let doorway = Doorway::new();
    let key = doorway.give("demo", Role::Trader, &SOME, |_| {}).await;
    let wrong = KeyText { id: key.id.clone(), secret: key_text::drawn().secret };
    let unknown = key_text::drawn();
    let id = |key: &KeyText| Some(key.id.clone());

    for (presented, word, named) in [
        (text(&wrong), "key_secret", id(&wrong)),
        (text(&unknown), "key_unknown", id(&unknown)),
        ("ent_live".to_owned(), "key_malformed", None),
    ] {
        let (told, _, key) = failed(doorway.judge(None, Some(&presented)));
        assert_eq!((told, key), (word, named));
    }
    doorway.revoke(&key).await;
    let (word, ..) = failed(doorway.judge(None, Some(&text(&key))));
    assert_eq!(word, "key_revoked");
    // Whoever does not have the secret is not told that either.
    let (word, ..) = failed(doorway.judge(None, Some(&text(&wrong))));
    assert_eq!(word, "key_secret");
    let (word, detail, _) = failed(doorway.judge(None, None));
    assert_eq!((word, detail.as_str()), ("nothing_presented", "a token or an API key is needed"));
}

#[tokio::test]
async fn somebody_is_let_in_until_the_first_of_what_they_present_expires() {
    let doorway = Doorway::new();
    let at = |minutes: i64| Some(Doorway::noon().plus(minutes * MINUTE));
    let five = doorway.give("demo", Role::Trader, &SOME, |grant| grant.expires_at = at(5)).await;
    let twenty = doorway.give("demo", Role::Trader, &SOME, |grant| grant.expires_at = at(20)).await;
    let never = doorway.give("demo", Role::Trader, &SOME, |_| {}).await;
    doorway.rotate(&never, 180).await;
    let token = |key| doorway.signed(&Doorway::claims("demo", Role::Trader, &SOME, key));
    let (plain, of_five) = (token(None), token(Some(&five)));
    let until = |token: Option<&str>, key: Option<&KeyText>| {
        doorway.judge(token, key.map(text).as_deref()).unwrap().expires_at
    };

    assert_eq!(until(None, Some(&five)), at(5));
    assert_eq!(until(Some(&plain), None), at(10));
    assert_eq!(until(Some(&plain), Some(&five)), at(5));
    assert_eq!(until(Some(&plain), Some(&twenty)), at(10));
    assert_eq!(until(Some(&of_five), Some(&twenty)), at(5));
    // Its secret was replaced, and is good for three minutes.
    assert_eq!(until(None, Some(&never)), at(3));
    let who = doorway.judge(Some(&of_five), Some(&text(&twenty))).unwrap();
    assert_eq!(who.keys, BTreeSet::from([five.id, twenty.id]));
}

#[tokio::test]
async fn somebody_who_was_let_in_stays_until_something_is_taken_back_or_expires() {
    let doorway = Doorway::new();
    let one = doorway.give("demo", Role::Trader, &SOME, |_| {}).await;
    let other = doorway.give("demo", Role::Trader, &SOME, |_| {}).await;
    let claims = Doorway::claims("demo", Role::Trader, &SOME, Some(&one));
    let by_both = doorway.judge(Some(&doorway.signed(&claims)), Some(&text(&other))).unwrap();
    let by_one = doorway.judge(None, Some(&text(&one))).unwrap();
    let word = |doorway: &Doorway, who: &Principal| match doorway.app.judge_again(who, here()) {
        Ok(()) => "",
        Err(Denied::Failed { word, .. }) => word,
        Err(Denied::Address { .. }) => "address",
    };
    assert_eq!((word(&doorway, &by_both), word(&doorway, &by_one)), ("", ""));

    // What was taken back comes before what has expired.
    let clock = Arc::new(TestClock::at("2024-03-21T09:40:01Z"));
    let doorway = Doorway { app: App { clock, ..doorway.app } };
    assert_eq!((word(&doorway, &by_both), word(&doorway, &by_one)), (EXPIRED, ""));
    doorway.revoke(&other).await;
    assert_eq!((word(&doorway, &by_both), word(&doorway, &by_one)), ("key_revoked", ""));
    doorway.revoke(&one).await;
    assert_eq!(word(&doorway, &by_one), "key_revoked");
    doorway.revoke_token(&claims).await;
    assert_eq!(word(&doorway, &by_both), "token_revoked");
}
