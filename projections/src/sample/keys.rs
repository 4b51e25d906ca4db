//! Keys that are given, used and taken, by the rule of keys itself, for the tests of what is folded
//! of them.

use domain::access::Role;
use domain::access::event::AccessEvent;
use domain::decider::Decider;
use domain::event::Event;
use domain::keys::Keys;
use domain::keys::command::KeyCommand;
use domain::keys::key::{Grant, KeyId, SecretHash};
use domain::time::{MINUTE, Timestamp};
use eventlog::stream::Stream;
use proptest::prelude::*;

/// What is asked about keys. Which of them is meant, a number says, modulo their count.
#[derive(Debug, Clone)]
pub(crate) enum AskedOfKeys {
    Create,
    Rotate(usize),
    Revoke(usize),
    /// A token, so many minutes before it would have expired.
    RevokeToken(i64),
    Use(usize),
}

pub(crate) fn asked_of_keys() -> impl Strategy<Value = AskedOfKeys> {
    prop_oneof![
        3 => Just(AskedOfKeys::Create),
        2 => any::<usize>().prop_map(AskedOfKeys::Rotate),
        1 => any::<usize>().prop_map(AskedOfKeys::Revoke),
        3 => (1i64..90).prop_map(AskedOfKeys::RevokeToken),
        2 => any::<usize>().prop_map(AskedOfKeys::Use),
    ]
}

/// All keys, and how many were drawn.
#[derive(Debug)]
pub(crate) struct Giving {
    keys: Keys,
    drawn: usize,
    /// Goes on by some minutes with each question, so that tokens are forgotten.
    now: Timestamp,
}

impl Giving {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { keys: Keys::default(), drawn: 0, now }
    }

    /// Returns what comes of it, and in which stream; nothing when it is refused.
    pub(crate) fn ask(&mut self, asked: &AskedOfKeys) -> Option<(Stream, Vec<Event>)> {
        self.drawn += 1;
        self.now = self.now.plus(7 * MINUTE);
        let (now, secret) = (self.now, SecretHash([u8::try_from(self.drawn % 256).ok()?; 32]));
        let command = match *asked {
            AskedOfKeys::Create => {
                let key = format!("key{:05}", self.drawn).parse().ok()?;
                KeyCommand::CreateApiKey { key, grant: grant(), secret, now }
            }
            AskedOfKeys::Rotate(which) => {
                let former_until = now.plus(MINUTE);
                KeyCommand::RotateApiKey { key: self.key(which)?, secret, former_until }
            }
            AskedOfKeys::Revoke(which) => KeyCommand::RevokeApiKey { key: self.key(which)? },
            AskedOfKeys::RevokeToken(minutes) => KeyCommand::RevokeToken {
                token: format!("t{}", self.drawn).parse().ok()?,
                account: "alice".parse().ok()?,
                now,
                until: now.plus(minutes * MINUTE),
            },
            AskedOfKeys::Use(which) => {
                let used = AccessEvent::ApiKeyUsed { at: now, key: self.key(which)? };
                return Some((Stream::Access("node-1".parse().ok()?), vec![Event::Access(used)]));
            }
        };
        let events = self.keys.decide(command).ok().filter(|events| !events.is_empty())?;
        for event in &events {
            self.keys.evolve(event);
        }
        Some((Stream::Keys, events.into_iter().map(Event::Key).collect()))
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    fn key(&self, which: usize) -> Option<KeyId> {
        let count = self.keys.iter().count();
        let (id, _) = self.keys.iter().nth(which.checked_rem(count)?)?;
        Some(id.clone())
    }
}

fn grant() -> Grant {
    Grant {
        account: "alice".parse().unwrap(),
        role: Role::Trader,
        scopes: Role::Trader.scopes(),
        networks: ["10.0.0.0/8".parse().unwrap()].into(),
        expires_at: None,
        label: Some("desk 2".parse().unwrap()),
    }
}
