//! When a session must do something, and how much a client may say.

use std::time::Duration;

use tokio::time::Instant;

use crate::settings::WsSettings;
use crate::ws::protocol::Mode;

/// Messages past the limit that are forgiven.
const STRIKES_MAX: u32 = 1;

/// How many messages a client may still send: a bucket that fills again with time.
#[derive(Debug)]
pub struct Allowance {
    left: f64,
    burst: f64,
    per_second: f64,
    at: Instant,
    strikes: u32,
}

/// Whether one more message is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Yes,
    /// Too many; this time it is forgiven.
    Forgiven,
    TooMany,
}

impl Allowance {
    pub fn new(settings: &WsSettings, now: Instant) -> Self {
        let burst = f64::from(settings.messages_burst);
        let per_second = f64::from(settings.messages_per_second);
        Self { left: burst, burst, per_second, at: now, strikes: 0 }
    }

    pub fn take(&mut self, now: Instant) -> Taken {
        let since = now.duration_since(self.at).as_secs_f64();
        self.left = since.mul_add(self.per_second, self.left).min(self.burst);
        self.at = now;
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Taken::Yes;
        }
        self.strikes += 1;
        if self.strikes > STRIKES_MAX { Taken::TooMany } else { Taken::Forgiven }
    }
}

/// When something must have happened.
#[derive(Debug)]
pub struct Deadlines {
    ping_every: Duration,
    pong_patience: Duration,
    heartbeat_every: Duration,
    renew_patience: Duration,
    ping_at: Instant,
    gone_at: Instant,
    /// A ping is out.
    pinged: bool,
    /// `None` on plain connections.
    heartbeat_at: Option<Instant>,
    /// `None` once there was a subscription.
    subscribe_by: Option<Instant>,
    /// `None` on plain connections, and once it was said.
    closing_at: Option<Instant>,
    /// `None` while nobody is known, and of those who do not expire.
    expiry: Option<Expiry>,
    ends_at: Instant,
}

/// The end of what a client presented.
#[derive(Debug, Clone, Copy)]
enum Expiry {
    At(Instant),
    /// It has expired. A new token must come by then.
    RenewBy(Instant),
}

impl Expiry {
    const fn next(self) -> Instant {
        match self {
            Self::At(at) | Self::RenewBy(at) => at,
        }
    }
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue {
    /// No subscription came.
    Idle,
    NoPong,
    /// What the client presented is not good any more.
    Expired,
    /// And nothing new came.
    NotRenewed,
    Ended,
    Closing,
    Heartbeat,
    Ping,
}

impl Deadlines {
    pub fn new(settings: &WsSettings, mode: Mode, now: Instant) -> Self {
        let extended = |at| (mode == Mode::Extended).then_some(at);
        let ends_at = now + settings.life;
        Self {
            ping_every: settings.ping_every,
            pong_patience: settings.pong_patience,
            heartbeat_every: settings.heartbeat_every,
            renew_patience: settings.renew_patience,
            ping_at: now + settings.ping_every,
            gone_at: now + settings.pong_patience,
            pinged: false,
            heartbeat_at: extended(now + settings.heartbeat_every),
            subscribe_by: Some(now + settings.subscribe_patience),
            closing_at: extended(now + settings.life.saturating_sub(settings.closing_ahead)),
            expiry: None,
            ends_at,
        }
    }

    pub fn next(&self) -> Instant {
        let expiry = self.expiry.map(Expiry::next);
        let optional = [self.heartbeat_at, self.subscribe_by, self.closing_at, expiry];
        let always = [self.ping_at, self.gone_at, self.ends_at];
        optional.into_iter().flatten().chain(always).min().unwrap_or(self.ends_at)
    }

    /// The client has answered; returns whether it was asked.
    pub fn heard(&mut self, now: Instant) -> bool {
        self.gone_at = now + self.pong_patience;
        std::mem::take(&mut self.pinged)
    }

    pub fn subscribed(&mut self) {
        self.subscribe_by = None;
    }

    /// The client has presented something that is good until then; `None` means for good.
    pub fn good_until(&mut self, at: Option<Instant>) {
        self.expiry = at.map(Expiry::At);
    }

    /// Whether what the client presented is not good any more.
    pub fn has_expired(&self, now: Instant) -> bool {
        match self.expiry {
            None => false,
            Some(Expiry::At(at)) => at <= now,
            Some(Expiry::RenewBy(_)) => true,
        }
    }

    /// Returns the first thing that is due, which then counts as done.
    pub fn pass(&mut self, now: Instant) -> Option<Overdue> {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.subscribe_by) {
            return Some(Overdue::Idle);
        }
        if self.gone_at <= now {
            return Some(Overdue::NoPong);
        }
        if self.ends_at <= now {
            return Some(Overdue::Ended);
        }
        match self.expiry {
            Some(Expiry::At(at)) if at <= now => {
                self.expiry = Some(Expiry::RenewBy(now + self.renew_patience));
                return Some(Overdue::Expired);
            }
            Some(Expiry::RenewBy(at)) if at <= now => return Some(Overdue::NotRenewed),
            Some(_) | None => {}
        }
        if due(self.closing_at) {
            self.closing_at = None;
            return Some(Overdue::Closing);
        }
        if due(self.heartbeat_at) {
            self.heartbeat_at = Some(now + self.heartbeat_every);
            return Some(Overdue::Heartbeat);
        }
        if self.ping_at <= now {
            self.ping_at = now + self.ping_every;
            self.pinged = true;
            return Some(Overdue::Ping);
        }
        None
    }
}

/// Returns when a session should come back: all of them spread over `spread`, however many there
/// are. Each next number falls into the widest space that the others leave; `lot` sets this node
/// apart from others.
pub fn reconnect_after(lot: u64, session: u64, spread: Duration) -> Duration {
    // 2^64 divided by the golden ratio.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let share = lot.wrapping_add(session.wrapping_mul(STEP));
    let nanos = (u128::from(share) * spread.as_nanos()) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Overdue::{Closing, Heartbeat, Ping};

    #[test]
    fn what_is_due_comes_once_and_in_order() {
        let settings = WsSettings {
            ping_every: Duration::from_secs(20),
            heartbeat_every: Duration::from_secs(15),
            life: Duration::from_secs(100),
            closing_ahead: Duration::from_mins(1),
            pong_patience: Duration::from_secs(200),
            ..WsSettings::default()
        };
        let start = Instant::now();
        let mut deadlines = Deadlines::new(&settings, Mode::Extended, start);
        deadlines.subscribed();
        let mut due = Vec::new();
        while deadlines.next() <= start + Duration::from_secs(50) {
            let now = deadlines.next();
            due.extend(deadlines.pass(now).map(|what| (now.duration_since(start).as_secs(), what)));
        }
        assert_eq!(
            due,
            [
                (15, Heartbeat),
                (20, Ping),
                (30, Heartbeat),
                (40, Closing),
                (40, Ping),
                (45, Heartbeat)
            ]
        );
    }

    #[test]
    fn who_has_expired_must_send_a_new_token_in_time() {
        let second = Duration::from_secs(1);
        let settings = WsSettings { renew_patience: 30 * second, ..WsSettings::default() };
        let start = Instant::now();
        let mut deadlines = Deadlines::new(&settings, Mode::Plain, start);
        deadlines.subscribed();
        assert!(!deadlines.has_expired(start));

        deadlines.good_until(Some(start + 5 * second));
        assert_eq!(deadlines.next(), start + 5 * second);
        assert!(!deadlines.has_expired(start + 4 * second));
        // Also before anybody has looked.
        assert!(deadlines.has_expired(start + 5 * second));
        let late = start + 6 * second;
        assert_eq!(deadlines.pass(late), Some(Overdue::Expired));
        assert_eq!(deadlines.pass(late), None, "it is said once");
        assert!(deadlines.has_expired(late));

        deadlines.good_until(None);
        assert!(!deadlines.has_expired(late));
        deadlines.good_until(Some(start + 10 * second));
        deadlines.heard(start + 10 * second);
        assert_eq!(deadlines.pass(start + 10 * second), Some(Overdue::Expired));
        deadlines.heard(start + 40 * second);
        assert_eq!(deadlines.pass(start + 39 * second), Some(Ping));
        assert_eq!(deadlines.pass(start + 40 * second), Some(Overdue::NotRenewed));
    }

    #[test]
    fn sessions_come_back_spread_out() {
        let spread = Duration::from_secs(10);
        let mut after: Vec<_> =
            (1..=100).map(|session| reconnect_after(77, session, spread)).collect();
        after.sort();
        let widest = after.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap();

        assert!(after.iter().all(|after| *after < spread));
        assert!(widest < Duration::from_millis(300), "{widest:?}");
    }
}
