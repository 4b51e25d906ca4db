//! Whatever is asked about keys: what opens the door is what a plain list of all that happened says.

use proptest::prelude::*;

use super::*;

/// What is asked. Keys, secrets and tokens are few, so that they meet.
#[derive(Debug, Clone)]
enum Ask {
    Create { key: usize, secret: u8, trader: bool, expires: Option<i64>, scopes: Vec<usize> },
    Rotate { key: usize, secret: u8, overlap: i64 },
    Revoke { key: usize },
    RevokeToken { token: usize, lives: i64 },
}

fn ask() -> impl Strategy<Value = (i64, Ask)> {
    let scopes = prop::collection::vec(0..Scope::ALL.len(), 0..3);
    let ask = prop_oneof![
        3 => (0..6_usize, 0..4_u8, any::<bool>(), prop::option::of(-20..200_i64), scopes)
            .prop_map(|(key, secret, trader, expires, scopes)| {
                Ask::Create { key, secret, trader, expires, scopes }
            }),
        2 => (0..6_usize, 0..4_u8, 0..100_i64)
            .prop_map(|(key, secret, overlap)| Ask::Rotate { key, secret, overlap }),
        1 => (0..6_usize).prop_map(|key| Ask::Revoke { key }),
        3 => (0..9_usize, -5..60_i64)
            .prop_map(|(token, lives)| Ask::RevokeToken { token, lives }),
    ];
    (0..20_i64, ask)
}

impl Ask {
    fn command(&self, now: Timestamp) -> KeyCommand {
        let later = |seconds: i64| now.plus(seconds * SECOND);
        match self {
            Self::Create { key, secret, trader, expires, scopes } => {
                let role = if *trader { Role::Trader } else { Role::Admin };
                let scopes = scopes.iter().map(|place| Scope::ALL[*place]).collect();
                let grant = Grant { role, scopes, expires_at: expires.map(later), ..grant() };
                let (key, secret) = (key_id(*key), self::secret(*secret));
                KeyCommand::CreateApiKey { key, grant, secret, now }
            }
            Self::Rotate { key, secret, overlap } => KeyCommand::RotateApiKey {
                key: key_id(*key),
                secret: self::secret(*secret),
                former_until: later(*overlap),
            },
            Self::Revoke { key } => revoke(*key),
            Self::RevokeToken { token, lives } => {
                let account = "alice".parse().unwrap();
                let (token, until) = (token_id(*token), later(*lives));
                KeyCommand::RevokeToken { token, account, now, until }
            }
        }
    }
}

/// All that was asked for and done, in order; questions are answered by looking through all of it.
#[derive(Default)]
struct Told(Vec<(Timestamp, KeyCommand)>);

impl Told {
    /// Every secret that a key ever had, each with when it began and what was said of its end.
    fn secrets(&self, of: &KeyId) -> Vec<(SecretHash, Option<Timestamp>)> {
        let mut secrets: Vec<(SecretHash, Option<Timestamp>)> = Vec::new();
        for (_, command) in &self.0 {
            match command {
                KeyCommand::CreateApiKey { key, secret, .. } if key == of => {
                    secrets.push((*secret, None));
                }
                KeyCommand::RotateApiKey { key, secret, former_until } if key == of => {
                    secrets.last_mut().unwrap().1 = Some(*former_until);
                    secrets.push((*secret, None));
                }
                _ => {}
            }
        }
        secrets
    }

    fn made(&self, of: &KeyId) -> Option<&Grant> {
        self.0.iter().find_map(|(_, command)| match command {
            KeyCommand::CreateApiKey { key, grant, .. } if key == of => Some(grant),
            _ => None,
        })
    }

    fn is_key_revoked(&self, of: &KeyId) -> bool {
        let revocation = KeyCommand::RevokeApiKey { key: of.clone() };
        self.0.iter().any(|(_, command)| *command == revocation)
    }

    fn is_token_revoked(&self, of: &TokenId) -> bool {
        let revokes = |command: &KeyCommand| matches!(command, KeyCommand::RevokeToken { token, .. } if token == of);
        self.0.iter().any(|(_, command)| revokes(command))
    }

    /// Returns whether a command is carried out: it is allowed, and not so already.
    fn does(&self, command: &KeyCommand) -> Result<bool, ()> {
        match command {
            KeyCommand::CreateApiKey { key, grant, secret, now } => {
                if let Some(made) = self.made(key) {
                    let is_so = made == grant
                        && self.secrets(key).last() == Some(&(*secret, None))
                        && !self.is_key_revoked(key);
                    return if is_so { Ok(false) } else { Err(()) };
                }
                let is_good = !grant.scopes.is_empty()
                    && grant.scopes.iter().all(|scope| grant.role.scopes().contains(scope))
                    && grant.expires_at.is_none_or(|expires_at| expires_at > *now);
                if is_good { Ok(true) } else { Err(()) }
            }
            KeyCommand::RotateApiKey { key, secret, .. } => {
                let secrets = self.secrets(key);
                let Some((current, _)) = secrets.last() else { return Err(()) };
                if self.is_key_revoked(key) { Err(()) } else { Ok(current != secret) }
            }
            KeyCommand::RevokeApiKey { key } => match self.made(key) {
                Some(_) => Ok(!self.is_key_revoked(key)),
                None => Err(()),
            },
            KeyCommand::RevokeToken { token, now, until, .. } => {
                Ok(until > now && !self.is_remembered(token))
            }
        }
    }

    /// Whether a token counts as revoked after all that has happened: until another is revoked after
    /// its end.
    fn is_remembered(&self, of: &TokenId) -> bool {
        let mut until = None;
        for (at, command) in &self.0 {
            let KeyCommand::RevokeToken { token, until: ends, .. } = command else { continue };
            until = until.filter(|until| until >= at);
            if token == of {
                until = Some(*ends);
            }
        }
        until.is_some()
    }
}

proptest! {
    #[test]
    fn what_opens_the_door_is_what_was_asked_for(asks in prop::collection::vec(ask(), 1..60)) {
        let (mut told, mut keys, mut events) = (Told::default(), Keys::default(), Vec::new());
        let mut now = at("09:30");
        for (pause, ask) in &asks {
            now = now.plus(pause * SECOND);
            let command = ask.command(now);
            let decided = keys.decide(command.clone());

            let does = decided.as_ref().map(|events| !events.is_empty()).map_err(|_| ());
            prop_assert_eq!(does, told.does(&command), "{:?}", command);
            if does == Ok(true) {
                told.0.push((now, command.clone()));
            }
            for event in decided.unwrap_or_default() {
                keys.evolve(&event);
                events.push(event);
            }
            // Sent twice is sent once.
            if does.is_ok() {
                prop_assert_eq!(keys.decide(command), Ok(Vec::new()));
            }

            for (id, key) in keys.iter() {
                let secrets = told.secrets(id);
                let good_then = |at: Timestamp| {
                    let former = key.former.iter().filter(|former| at < former.until);
                    let mut good = vec![key.secret];
                    good.extend(former.map(|former| former.secret));
                    good
                };
                let expected = |at: Timestamp| {
                    let newest = secrets.iter().rev().take(2);
                    let good = newest.filter(|(_, until)| until.is_none_or(|until| at < until));
                    good.map(|(secret, _)| *secret).collect::<Vec<_>>()
                };
                for later in [0, 1, 50, 200] {
                    let at = now.plus(later * SECOND);
                    prop_assert_eq!(good_then(at), expected(at));
                }
                prop_assert_eq!(Some(&key.grant), told.made(id));
                prop_assert_eq!(key.revoked, told.is_key_revoked(id));
            }
            for token in (0..9).map(token_id) {
                prop_assert_eq!(keys.is_revoked(&token), told.is_remembered(&token));
                // What is forgotten would not open the door.
                if told.is_token_revoked(&token) && !keys.is_revoked(&token) {
                    let ended = told.0.iter().all(|(_, command)| match command {
                        KeyCommand::RevokeToken { token: of, until, .. } if *of == token => {
                            *until < now
                        }
                        _ => true,
                    });
                    prop_assert!(ended);
                }
            }
        }
        let lines: Vec<String> =
            events.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
        let read: Vec<KeyEvent> =
            lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        prop_assert_eq!(&read, &events);
        prop_assert_eq!(&super::keys(&read), &keys);
        prop_assert_eq!(restored(&keys), keys);
    }
}

/// Returns keys that were put together again from all that is told of these.
fn restored(keys: &Keys) -> Keys {
    let mut copy = Keys::default();
    copy.restore_revoked(keys.revoked().clone());
    for (_, token) in keys.tokens().iter() {
        let revoked = keys.tokens().get(token).unwrap();
        copy.restore_token(token.clone(), revoked.clone());
    }
    for (id, key) in keys.iter() {
        copy.restore_key(id.clone(), key.clone());
    }
    copy
}
