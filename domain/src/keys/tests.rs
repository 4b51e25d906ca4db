//! Given past events, when a command, then events, nothing, or a refusal.

use std::collections::BTreeSet;

use super::*;
use crate::access::{Role, Scope, Scopes};
use crate::spec::{given, having};
use crate::time::SECOND;

mod laws;

fn at(time: &str) -> Timestamp {
    format!("2024-03-21T{time}:00Z").parse().unwrap()
}

fn key_id(number: usize) -> KeyId {
    format!("key{number:05}").parse().unwrap()
}

fn token_id(number: usize) -> TokenId {
    format!("t{number}").parse().unwrap()
}

fn secret(number: u8) -> SecretHash {
    SecretHash([number; 32])
}

/// A trader's key to everything, for ever, from everywhere.
fn grant() -> Grant {
    Grant {
        account: "alice".parse().unwrap(),
        role: Role::Trader,
        scopes: Role::Trader.scopes(),
        networks: BTreeSet::new(),
        expires_at: None,
        label: None,
    }
}

fn create(number: usize, grant: Grant) -> KeyCommand {
    KeyCommand::CreateApiKey { key: key_id(number), grant, secret: secret(1), now: at("09:30") }
}

fn created(number: usize) -> KeyEvent {
    KeyEvent::ApiKeyCreated { key: key_id(number), grant: grant(), secret: secret(1) }
}

fn rotate(number: usize, to: u8, former_until: &str) -> KeyCommand {
    let former_until = at(former_until);
    KeyCommand::RotateApiKey { key: key_id(number), secret: secret(to), former_until }
}

fn rotated(number: usize, to: u8, former_until: &str) -> KeyEvent {
    let former_until = at(former_until);
    KeyEvent::ApiKeyRotated { key: key_id(number), secret: secret(to), former_until }
}

fn revoke(number: usize) -> KeyCommand {
    KeyCommand::RevokeApiKey { key: key_id(number) }
}

fn revoked(number: usize) -> KeyEvent {
    KeyEvent::ApiKeyRevoked { key: key_id(number) }
}

fn revoke_token(number: usize, now: &str, until: &str) -> KeyCommand {
    let (now, until) = (at(now), at(until));
    let account = "alice".parse().unwrap();
    KeyCommand::RevokeToken { token: token_id(number), account, now, until }
}

fn token_revoked(number: usize, at: &str, until: &str) -> KeyEvent {
    let (at, until) = (self::at(at), self::at(until));
    KeyEvent::TokenRevoked { token: token_id(number), account: "alice".parse().unwrap(), at, until }
}

fn keys(past: &[KeyEvent]) -> Keys {
    let mut keys = Keys::default();
    for event in past {
        keys.evolve(event);
    }
    keys
}

#[test]
fn a_key_is_made_once_however_often_it_is_asked_for() {
    given::<Keys>(&[]).when(create(1, grant())).then(&[created(1)]);
    given::<Keys>(&[created(1)]).when(create(1, grant())).then_nothing();
    given::<Keys>(&[created(1)]).when(create(2, grant())).then(&[created(2)]);
}

#[test]
fn an_id_that_was_drawn_twice_is_taken() {
    let other = Grant { account: "bob".parse().unwrap(), ..grant() };
    for past in
        [vec![created(1)], vec![created(1), rotated(1, 2, "09:40")], vec![created(1), revoked(1)]]
    {
        given::<Keys>(&past).when(create(1, other.clone())).then_refused(&KeyRefusal::KeyTaken);
    }
    // What was asked for first is no longer so.
    for past in [vec![created(1), rotated(1, 2, "09:40")], vec![created(1), revoked(1)]] {
        given::<Keys>(&past).when(create(1, grant())).then_refused(&KeyRefusal::KeyTaken);
    }
}

#[test]
fn a_key_opens_something_and_nothing_that_its_role_may_not() {
    for role in Role::ALL {
        let of = |scopes: Scopes| Grant { role, scopes, ..grant() };
        let answer = |scopes: Scopes| given::<Keys>(&[]).when(create(1, of(scopes)));
        answer(Scopes::default()).then_refused(&KeyRefusal::NoScope);
        for scope in Scope::ALL {
            let scopes: Scopes = [scope].into_iter().collect();
            if role.scopes().contains(scope) {
                let (key, grant, secret) = (key_id(1), of(scopes.clone()), secret(1));
                answer(scopes).then(&[KeyEvent::ApiKeyCreated { key, grant, secret }]);
            } else {
                let allowed = role.scopes();
                answer(scopes).then_refused(&KeyRefusal::ScopeBeyondRole { allowed });
            }
        }
    }
    let told = KeyRefusal::ScopeBeyondRole { allowed: Role::Admin.scopes() }.to_string();
    assert_eq!(told, "the role may have market:read, analysis:read, admin");
}

#[test]
fn a_key_has_so_many_networks_and_no_more() {
    let of = |count: u32| {
        let network = |bits: u32| std::net::Ipv4Addr::from_bits(bits).to_string().parse().unwrap();
        Grant { networks: (0..count).map(network).collect(), ..grant() }
    };
    let max = u32::try_from(NETWORKS_MAX).unwrap();
    let (key, secret) = (key_id(1), secret(1));
    let made = KeyEvent::ApiKeyCreated { key, grant: of(max), secret };

    given::<Keys>(&[]).when(create(1, of(max))).then(&[made]);
    let refusal = KeyRefusal::TooManyNetworks { max: NETWORKS_MAX };
    given::<Keys>(&[]).when(create(1, of(max + 1))).then_refused(&refusal);
}

#[test]
fn no_key_is_made_that_has_expired() {
    let until = |expires_at| Grant { expires_at: Some(expires_at), ..grant() };
    let now = at("09:30");
    for expires_at in [Timestamp::MIN, now.plus(-1), now] {
        let answer = given::<Keys>(&[]).when(create(1, until(expires_at)));
        answer.then_refused(&KeyRefusal::ExpiredAlready);
    }
    let grant = until(now.plus(1));
    let made = KeyEvent::ApiKeyCreated { key: key_id(1), grant: grant.clone(), secret: secret(1) };
    given::<Keys>(&[]).when(create(1, grant.clone())).then(std::slice::from_ref(&made));
    // It was made in time: asked for again later, it is there.
    let (key, secret, now) = (key_id(1), secret(1), at("09:40"));
    let later = KeyCommand::CreateApiKey { key, grant, secret, now };
    given::<Keys>(&[made]).when(later).then_nothing();
}

#[test]
fn there_are_so_many_keys_and_no_more_until_one_is_revoked() {
    let mut keys = Keys::default();
    for number in 0..KEYS_MAX {
        keys.evolve(&created(number));
    }
    let refusal = KeyRefusal::TooManyKeys { max: KEYS_MAX };
    having(keys.clone()).when(create(KEYS_MAX, grant())).then_refused(&refusal);
    having(keys.clone()).when(create(7, grant())).then_nothing();

    keys.evolve(&revoked(7));
    having(keys).when(create(KEYS_MAX, grant())).then(&[created(KEYS_MAX)]);
}

#[test]
fn a_key_that_was_rotated_has_two_secrets_at_the_most() {
    let past = [created(1), rotated(1, 2, "09:40"), rotated(1, 3, "10:00")];
    let keys = keys(&past);
    let key = keys.get(&key_id(1)).unwrap();

    assert_eq!(key.secret, secret(3));
    assert_eq!(key.former, Some(Former { secret: secret(2), until: at("10:00") }));
    given::<Keys>(&past[..1]).when(rotate(1, 2, "09:40")).then(&past[1..2]);
    given::<Keys>(&past[..2]).when(rotate(1, 2, "09:50")).then_nothing();
    given::<Keys>(&past).when(rotate(1, 4, "11:00")).then(&[rotated(1, 4, "11:00")]);
}

#[test]
fn a_key_that_was_revoked_stays_so() {
    let past = [created(1), created(2), revoked(1)];

    given::<Keys>(&past[..2]).when(revoke(1)).then(&past[2..]);
    given::<Keys>(&past).when(revoke(1)).then_nothing();
    given::<Keys>(&past).when(rotate(1, 2, "09:40")).then_refused(&KeyRefusal::KeyRevoked);
    given::<Keys>(&past).when(rotate(2, 2, "09:40")).then(&[rotated(2, 2, "09:40")]);
}

#[test]
fn a_key_that_never_was_is_neither_rotated_nor_revoked() {
    given::<Keys>(&[created(1)]).when(revoke(2)).then_refused(&KeyRefusal::KeyUnknown);
    let answer = given::<Keys>(&[created(1)]).when(rotate(2, 2, "09:40"));
    answer.then_refused(&KeyRefusal::KeyUnknown);
}

#[test]
fn the_keys_that_were_revoked_last_stay_known() {
    let mut keys = keys(&[created(0)]);
    for number in 1..=REVOKED_KNOWN_MAX + 1 {
        keys.evolve(&created(number));
        keys.evolve(&revoked(number));
    }

    assert_eq!((keys.get(&key_id(1)), keys.iter().count()), (None, 1 + REVOKED_KNOWN_MAX));
    assert_eq!(keys.revoked().front(), Some(&key_id(2)));
    having(keys.clone()).when(revoke(1)).then_refused(&KeyRefusal::KeyUnknown);
    having(keys.clone()).when(revoke(2)).then_nothing();
    having(keys).when(revoke(0)).then(&[revoked(0)]);
}

#[test]
fn a_token_is_revoked_once_and_only_while_it_is_good() {
    let past = [token_revoked(1, "09:30", "09:45")];

    given::<Keys>(&[]).when(revoke_token(1, "09:30", "09:45")).then(&past);
    given::<Keys>(&past).when(revoke_token(1, "09:31", "09:45")).then_nothing();
    given::<Keys>(&[]).when(revoke_token(1, "09:45", "09:45")).then_nothing();
    given::<Keys>(&[]).when(revoke_token(1, "09:46", "09:45")).then_nothing();
    assert!(keys(&past).is_revoked(&token_id(1)) && !keys(&past).is_revoked(&token_id(2)));
}

#[test]
fn a_token_is_forgotten_when_it_would_have_expired() {
    let (first, second) = (token_revoked(1, "09:30", "09:45"), token_revoked(2, "09:31", "10:30"));
    let at_its_end = keys(&[first.clone(), second.clone(), token_revoked(3, "09:45", "10:45")]);
    let after = keys(&[first, second, token_revoked(3, "09:46", "10:45")]);

    assert!(at_its_end.is_revoked(&token_id(1)));
    assert!(!after.is_revoked(&token_id(1)) && after.is_revoked(&token_id(2)));
    let left: Vec<_> = after.tokens().iter().collect();
    assert_eq!(left, [(at("10:30"), &token_id(2)), (at("10:45"), &token_id(3))]);
    let within: Vec<_> = after.tokens().within(at("10:30"), at("10:45")).collect();
    assert_eq!(within, left[..1]);
    // Past its end, and so not to be revoked: it opens nothing.
    having(after).when(revoke_token(1, "09:46", "09:45")).then_nothing();
}

#[test]
fn so_many_tokens_are_remembered_and_no_more_until_some_expire() {
    let mut keys = keys(&[token_revoked(0, "09:30", "09:35")]);
    for number in 1..TOKENS_MAX {
        let account = format!("account-{}", number % 200).parse().unwrap();
        let revoked = RevokedToken { account, until: at("10:00").plus(SECOND) };
        keys.restore_token(token_id(number), revoked);
    }
    let refusal = KeyRefusal::TooManyTokens { max: TOKENS_MAX };
    having(keys.clone()).when(revoke_token(TOKENS_MAX, "09:35", "09:50")).then_refused(&refusal);
    having(keys.clone()).when(revoke_token(7, "09:35", "09:50")).then_nothing();

    let answer = having(keys).when(revoke_token(TOKENS_MAX, "09:36", "09:50"));
    answer.then(&[token_revoked(TOKENS_MAX, "09:36", "09:50")]);
}

#[test]
fn one_account_does_not_use_up_what_all_share() {
    let mut keys = Keys::default();
    let past: Vec<KeyEvent> =
        (0..TOKENS_ACCOUNT_MAX).map(|number| token_revoked(number, "09:30", "09:45")).collect();
    for event in &past {
        keys.evolve(event);
    }
    let of_other = |command| match command {
        KeyCommand::RevokeToken { token, now, until, .. } => {
            let account = "other".parse().unwrap();
            KeyCommand::RevokeToken { token, account, now, until }
        }
        command => command,
    };
    let next = revoke_token(TOKENS_ACCOUNT_MAX, "09:31", "09:46");

    let refusal = KeyRefusal::TooManyTokensOfAccount { max: TOKENS_ACCOUNT_MAX };
    having(keys.clone()).when(next.clone()).then_refused(&refusal);
    assert!(keys.decide(of_other(next)).is_ok_and(|events| events.len() == 1));
    // They have expired by then.
    let later = revoke_token(TOKENS_ACCOUNT_MAX, "09:46", "10:30");
    having(keys).when(later).then(&[token_revoked(TOKENS_ACCOUNT_MAX, "09:46", "10:30")]);
}

#[test]
fn what_is_told_of_keys_shows_no_hash() {
    let past = [created(1), rotated(1, 2, "09:40")];
    let command = create(1, grant());
    for told in [format!("{past:?}"), format!("{:?}", keys(&past)), format!("{command:?}")] {
        assert!(told.contains("SecretHash(..)"), "{told}");
        assert!(!told.contains("0101") && !told.contains("1, 1") && !told.contains("0202"));
    }
}
