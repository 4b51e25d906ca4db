//! What one client is told of its own account: as it stands now, then what has changed.
//!
//! Made of the views when it is due, for each session anew: of an account a few sessions listen, and
//! who is slow misses nothing but what is past. Each frame says at which place of both logs it holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::account::position::PositionId;
use domain::name::AccountId;
use eventlog::entry::{Offset, Version};
use eventlog::stream::Log;
use poem_openapi::types::ToJSON;
use projections::holdings::{CLOSED_HELD_MAX, Closed};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::account::{AccountBody, not_open};
use crate::app::App;
use crate::positions::{Marks, PositionBody, newest_first};
use crate::problem::Problem;
use crate::ws::answers;
use crate::ws::bell::Listener;
use crate::ws::outbox::Outbox;
use crate::ws::owners::Owners;
use crate::ws::protocol::{OwnChannel, Rejection};
use crate::ws::subscription::{Client, Left};

/// Of the time of a session, its looks take this part at the most: one in so many.
const LOOK_SHARE: u32 = 16;

/// One of its own channels that a client listens to.
#[derive(Debug)]
pub struct OwnSubscription {
    channel: OwnChannel,
    account: AccountId,
    listener: Arc<Listener>,
    owners: Arc<Owners>,
    /// With which to leave `owners`.
    number: u64,
    /// Between two frames there is at least this.
    pause: Duration,
    next_at: Instant,
    told: Told,
}

/// What the client knows.
#[derive(Debug)]
enum Told {
    Nothing,
    /// It was told that there is nothing to tell, and why.
    Trouble(String),
    /// The positions that are open, by the hash of what was told of each, and the account's entry up
    /// to which closed ones were told.
    Positions(BTreeMap<PositionId, [u8; 32]>, Version),
    Account(Value),
}

/// An account as it stands at one place of both logs.
#[derive(Debug)]
pub struct Standing {
    pub at: At,
    pub version: Version,
    /// Newest first.
    pub open: Vec<(PositionId, Box<RawValue>)>,
    /// Those that were closed after an entry of the account, oldest first; `None` where more were
    /// than are held.
    pub closed: Option<Vec<Box<RawValue>>>,
}

/// A place in each log, of which neither part ever falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct At {
    pub ledger: Offset,
    pub market: Offset,
}

impl At {
    /// Returns how far the views of a node have come.
    pub fn of(app: &App) -> Self {
        Self { ledger: app.views.applied(Log::Ledger), market: app.views.applied(Log::Market) }
    }
}

#[derive(Serialize)]
struct PositionsFrame<'a> {
    r#type: &'static str,
    channel: OwnChannel,
    at: At,
    positions: Vec<&'a RawValue>,
}

#[derive(Serialize)]
struct AccountFrame<'a> {
    r#type: &'static str,
    channel: OwnChannel,
    at: At,
    #[serde(flatten)]
    account: &'a Value,
}

impl OwnSubscription {
    pub fn new(
        (channel, account): (OwnChannel, AccountId),
        listener: Arc<Listener>,
        owners: Arc<Owners>,
        pause: Duration,
    ) -> Self {
        let number = owners.join(Arc::clone(&listener));
        let next_at = Instant::now();
        Self { channel, account, listener, owners, number, pause, next_at, told: Told::Nothing }
    }

    /// Puts what is due into the outbox.
    pub fn collect(&mut self, client: &Client<'_>, out: &mut Outbox) -> Left {
        if out.is_full() {
            return Left::More;
        }
        if client.now < self.next_at {
            self.listener.mute();
            return Left::At(self.next_at);
        }
        self.listener.heard();
        let began = Instant::now();
        let said = match self.channel {
            OwnChannel::Positions => self.tell_positions(client, out),
            OwnChannel::Account => self.tell_account(client, out),
        };
        let least = match said {
            Ok(true) => self.pause,
            // It has cost as much to find out.
            Ok(false) => client.app.settings.ws.own_every,
            Err(problem) => {
                self.tell_trouble(client, &problem, out);
                client.app.settings.ws.own_every
            }
        };
        self.next_at = next_look(client.now, least, began.elapsed());
        Left::Nothing
    }

    fn tell_positions(&mut self, client: &Client<'_>, out: &mut Outbox) -> Result<bool, Problem> {
        let since = match &self.told {
            Told::Positions(_, version) => Some(*version),
            Told::Nothing | Told::Trouble(_) | Told::Account(_) => None,
        };
        let Standing { at, version, open, closed } =
            client.app.standing_since(&self.account, since)?;
        let now: BTreeMap<_, _> = open.iter().map(|(id, body)| (*id, hash(body))).collect();
        let (form, positions) = match (&self.told, &closed) {
            (Told::Positions(known, _), Some(closed)) => {
                let changed = open.iter().filter(|(id, _)| known.get(id) != now.get(id));
                let closed = closed.iter().map(|body| &**body);
                ("data", closed.chain(changed.map(|(_, body)| &**body)).collect::<Vec<_>>())
            }
            // Also who has missed more than is remembered begins anew.
            (Told::Positions(..) | Told::Nothing | Told::Trouble(_) | Told::Account(_), _) => {
                ("snapshot", open.iter().map(|(_, body)| &**body).collect())
            }
        };
        let due = form == "snapshot" || !positions.is_empty();
        if due {
            say(out, &PositionsFrame { r#type: form, channel: self.channel, at, positions });
        }
        self.told = Told::Positions(now, version);
        Ok(due)
    }

    fn tell_account(&mut self, client: &Client<'_>, out: &mut Outbox) -> Result<bool, Problem> {
        let (at, account) = client.app.account_standing(&self.account)?;
        let form = match &self.told {
            Told::Account(known) if *known == account => return Ok(false),
            Told::Account(_) => "data",
            Told::Nothing | Told::Trouble(_) | Told::Positions(..) => "snapshot",
        };
        say(out, &AccountFrame { r#type: form, channel: self.channel, at, account: &account });
        self.told = Told::Account(account);
        Ok(true)
    }

    /// Says once why there is nothing to tell. When there is again, it begins anew.
    fn tell_trouble(&mut self, client: &Client<'_>, problem: &Problem, out: &mut Outbox) {
        if !matches!(&self.told, Told::Trouble(told) if *told == problem.detail) {
            let rejection = Rejection::new(problem.code, problem.detail.clone());
            out.say(&answers::own_error(&rejection, self.channel, client.language));
            self.told = Told::Trouble(problem.detail.clone());
        }
    }
}

impl App {
    /// Returns the open positions of an account, and those that were closed after one of its
    /// entries. An account that was never opened holds nothing.
    fn standing_since(
        &self,
        account: &AccountId,
        since: Option<Version>,
    ) -> Result<Standing, Problem> {
        self.views.at_rest(|_| {
            let at = At::of(self);
            let holdings = self.views.holdings();
            let Some(held) = holdings.get(account) else {
                let (open, closed) = (Vec::new(), Some(Vec::new()));
                return Ok(Standing { at, version: Version(0), open, closed });
            };
            let mut marks = Marks::of(self);
            let open = newest_first(held).into_iter().map(|(position, life)| {
                let body = PositionBody::of_open(&mut marks, position, life)?;
                Ok((position.id, text(&told(&body))))
            });
            let is_news = |closed: &&Closed| {
                since.is_some_and(|since| {
                    closed.life.entries.last().is_some_and(|last| *last > since)
                })
            };
            let is_cut = held.closed.len() == CLOSED_HELD_MAX
                && held.closed.front().as_ref().is_some_and(is_news);
            let news = held.closed.iter().filter(is_news);
            let news = news.map(|closed| text(&told(&PositionBody::of_closed(self, closed))));
            let closed = (!is_cut).then(|| news.collect());
            Ok(Standing {
                at,
                version: held.version,
                open: open.collect::<Result<_, Problem>>()?,
                closed,
            })
        })
    }

    /// Returns an account as it stands.
    fn account_standing(&self, account: &AccountId) -> Result<(At, Value), Problem> {
        self.views.at_rest(|_| {
            let holdings = self.views.holdings();
            let held = holdings.get(account).ok_or_else(|| not_open(account))?;
            Ok((At::of(self), told(&AccountBody::of(self, account, held)?)))
        })
    }
}

/// Returns when an account is looked at again. A look at thousands of positions takes long, and all
/// who wait for the views and for this node wait meanwhile: they come first.
fn next_look(now: Instant, least: Duration, took: Duration) -> Instant {
    now + least.max(took * LOOK_SHARE)
}

/// Returns a body as it is told on a socket: how old a mark is would be another frame each time,
/// and not true any more when it arrives.
fn told(body: &impl ToJSON) -> Value {
    let mut value = body.to_json().unwrap_or_default();
    if let Some(keys) = value.as_object_mut() {
        keys.shift_remove("age_ms");
    }
    value
}

fn text(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).expect("what is written as JSON reads as JSON")
}

/// Returns what a client's knowledge of a position is kept as: of thousands of positions the texts
/// would be megabytes in each session.
fn hash(body: &RawValue) -> [u8; 32] {
    Sha256::digest(body.get()).into()
}

fn say(out: &mut Outbox, frame: &impl Serialize) {
    out.say(&serde_json::to_string(frame).expect("texts can always be written as JSON"));
}

impl Drop for OwnSubscription {
    fn drop(&mut self) {
        self.owners.leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_holds_thousands_of_positions_is_told_less_often() {
        let (now, every) = (Instant::now(), Duration::from_millis(100));
        for (took, pause) in [(0, 100), (6, 100), (50, 800)] {
            let next = next_look(now, every, Duration::from_millis(took));
            assert_eq!(next - now, Duration::from_millis(pause), "{took}");
        }
    }
}
