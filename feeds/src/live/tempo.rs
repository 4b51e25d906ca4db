//! How long a live feed waits for what. Tests make it short; the words for why stand here.

use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Tempo {
    /// How often it is looked for what is due.
    pub(crate) look: Duration,
    /// Waits between connects are drawn from zero to `backoff_min` · 2ⁿ, at most `backoff_max`.
    pub(crate) backoff_min: Duration,
    pub(crate) backoff_max: Duration,
    /// Data for this long sets n back. A connect alone does not: it would make a hot loop.
    pub(crate) steady: Duration,
    /// Time for a socket to open.
    pub(crate) connect_patience: Duration,
    /// Silence after which a book is no longer told.
    pub(crate) book_silence: Duration,
    /// Silence of a whole socket, and of all of one instrument, after which something is done; see
    /// `live::quiet`.
    pub(crate) socket_silence_min: Duration,
    pub(crate) socket_silence_max: Duration,
    pub(crate) instrument_silence_min: Duration,
    /// The age at which a socket gets its successor; `None` is the venue's own.
    pub(crate) socket_age: Option<Duration>,
    /// Time for a successor to tell of everything. Then the older socket goes all the same.
    pub(crate) overlap_max: Duration,
    /// Time in which trades that came out of order may fill a hole.
    pub(crate) hole_patience: Duration,
    /// Venue time after a minute's end before its bar is asked for.
    pub(crate) minute_patience: Duration,
    /// Time for a request to connect, and to be answered whole.
    pub(crate) request_connect: Duration,
    pub(crate) request_patience: Duration,
    /// The wait after "too many requests" that says no time.
    pub(crate) limited: Duration,
}

impl Default for Tempo {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            look: Duration::from_millis(50),
            backoff_min: Duration::from_millis(250),
            backoff_max: seconds(30),
            steady: seconds(60),
            connect_patience: seconds(10),
            book_silence: seconds(5),
            socket_silence_min: seconds(10),
            socket_silence_max: seconds(60),
            instrument_silence_min: seconds(60),
            socket_age: None,
            overlap_max: seconds(60),
            hole_patience: Duration::from_millis(500),
            minute_patience: seconds(3),
            request_connect: seconds(5),
            request_patience: seconds(20),
            limited: seconds(60),
        }
    }
}
