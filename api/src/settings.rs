//! The limits of the door, each with what happens when it is reached, and what it says of the house.

use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Settings {
    /// Connections at once. At the limit nobody is accepted until one ends: callers wait in the
    /// kernel's queue.
    pub connections_max: usize,
    /// Connections that one address holds at once. One more is closed without a word.
    pub connections_ip_max: usize,
    /// A request's head must be in after this, else the connection is closed. It also ends a
    /// connection that is kept alive for nothing.
    pub head_patience: Duration,
    /// A TLS handshake must be done after this, else the connection is closed.
    pub handshake_patience: Duration,
    /// A request's body must be in after this, counted from its head, else it is answered with 408
    /// and the connection is closed.
    pub body_patience: Duration,
    /// Whoever takes nothing of an answer for so long is cut off.
    pub write_patience: Duration,
    /// An answer must be ready after this, body of the request included, else it is 503.
    pub answer_patience: Duration,
    /// What still runs so long after the stop is cut off.
    pub stop_patience: Duration,
    /// What the logs stand on.
    pub ledger: Backend,
    pub market: Backend,
    pub ws: WsSettings,
}

/// What keeps a log, as `/health` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend {
    pub name: &'static str,
    /// How our side of it was tried out, where that is less than it should be.
    pub tested: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub struct WsSettings {
    /// Sessions that one address holds at once. One more is 429.
    pub connections_ip_max: usize,
    /// Sessions that one account holds at once. One more is 429, or closes with 1008 where somebody
    /// says only later whose it is.
    pub connections_account_max: usize,
    /// What one connection listens to, each symbol on each channel. One more is `WS_004`.
    pub subscriptions_max: usize,
    /// Messages a second from one client, and how many may come at once. One more is `WS_005`,
    /// and the second time the connection is closed with 1008.
    pub messages_per_second: u32,
    pub messages_burst: u32,
    /// Bytes of one message from a client. A larger one closes with 1009.
    pub message_bytes_max: usize,
    /// Bytes of frames that are gathered for one write; the rest waits in the rings.
    pub write_bytes_max: usize,
    /// A write that makes no way for so long closes with 4409.
    pub write_patience: Duration,
    /// A close may take so long: to get the last frames out, and then for the client to hang up.
    /// After it the connection is cut.
    pub close_patience: Duration,
    /// Without a valid subscription by then, the connection closes with 4408; with 4401 where
    /// nothing is told without credentials, and none came.
    pub subscribe_patience: Duration,
    /// Whose token has expired has this long to send a new one. Then the connection closes with 4401.
    pub renew_patience: Duration,
    pub ping_every: Duration,
    /// How often an extended connection is told that we are still there.
    pub heartbeat_every: Duration,
    /// Without a pong for so long the client is gone.
    pub pong_patience: Duration,
    /// A connection this old is closed with 1001; the client connects anew.
    pub life: Duration,
    /// An extended connection is told so long before.
    pub closing_ahead: Duration,
    /// Those who are told to come back do so spread over this time.
    pub reconnect_spread: Duration,
    /// Sets the spread of this node apart from that of others: drawn at its start.
    pub lot: u64,
    /// Between two books of a plain connection there is at least this.
    pub plain_book_every: Duration,
    /// Between two frames of an account there is at least this.
    pub own_every: Duration,
    /// Topics that are told at once: channel, instrument, and depth or interval. One more is
    /// `WS_004`. Together with `ring_bytes_max` it bounds what rings can take.
    pub topics_max: usize,
    /// What is kept of each topic for sessions that lag or come back: whichever is reached first.
    /// A session that falls behind further goes on with the newest, and is told of the gap.
    pub ring_frames_max: usize,
    pub ring_bytes_max: usize,
    pub ring_age_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            connections_ip_max: 1_024,
            head_patience: Duration::from_secs(8),
            handshake_patience: Duration::from_secs(5),
            body_patience: Duration::from_secs(8),
            write_patience: Duration::from_secs(10),
            answer_patience: Duration::from_secs(10),
            stop_patience: Duration::from_secs(10),
            ledger: Backend { name: "embedded", tested: None },
            market: Backend { name: "embedded", tested: None },
            ws: WsSettings::default(),
        }
    }
}

impl Default for WsSettings {
    fn default() -> Self {
        Self {
            connections_ip_max: 20,
            connections_account_max: 5,
            subscriptions_max: 1_024,
            messages_per_second: 10,
            messages_burst: 20,
            message_bytes_max: 16 * 1024,
            write_bytes_max: 1024 * 1024,
            write_patience: Duration::from_secs(10),
            close_patience: Duration::from_secs(1),
            subscribe_patience: Duration::from_secs(30),
            renew_patience: Duration::from_secs(30),
            ping_every: Duration::from_secs(20),
            heartbeat_every: Duration::from_secs(15),
            pong_patience: Duration::from_mins(1),
            life: Duration::from_hours(24),
            closing_ahead: Duration::from_mins(1),
            reconnect_spread: Duration::from_secs(10),
            lot: 0,
            plain_book_every: Duration::from_millis(100),
            own_every: Duration::from_millis(100),
            ring_frames_max: 4_096,
            topics_max: 512,
            ring_bytes_max: 4 * 1024 * 1024,
            ring_age_max: Duration::from_mins(1),
        }
    }
}
