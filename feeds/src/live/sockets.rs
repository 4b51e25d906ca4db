//! Which sockets a feed has: one, none while it waits to connect, two while one follows another.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use domain::instrument::Instrument;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::live::backoff::Backoff;
use crate::live::quiet::Quiet;
use crate::live::socket::SocketId;
use crate::live::tempo::Tempo;

/// Connects in [`CONNECTS_WINDOW`]; a venue bars an address that makes more. Beyond it a feed waits.
const CONNECTS_MAX: usize = 300;
const CONNECTS_WINDOW: Duration = Duration::from_mins(5);

/// The sockets of a feed, oldest first.
pub(super) struct Sockets {
    tempo: Tempo,
    age: Duration,
    lines: Vec<Socket>,
    next: u64,
    connect_at: Instant,
    connects: VecDeque<Instant>,
    backoff: Backoff,
}

struct Socket {
    id: SocketId,
    opened_at: Option<Instant>,
    data: Quiet,
    data_since: Option<Instant>,
    /// Whose books it has told of.
    diffs: BTreeSet<Instrument>,
    /// Whether the venue said that it is about to hang up, or a stream of it seems forgotten.
    closing: bool,
    /// Dropped, it stops the socket.
    _stop: oneshot::Sender<()>,
}

/// What became of a socket's end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Another goes on telling, or this one was stopped by ourselves.
    Unnoticed,
    /// Nobody tells any more.
    Alone,
}

impl Sockets {
    pub(super) fn new(tempo: Tempo, age: Duration, backoff: Backoff, at: Instant) -> Self {
        let age = tempo.socket_age.unwrap_or(age);
        let (lines, connects) = (Vec::new(), VecDeque::new());
        Self { tempo, age, lines, next: 0, connect_at: at, connects, backoff }
    }

    /// Returns the id of a socket to open now, and what stops it.
    pub(super) fn connect(&mut self, at: Instant) -> Option<(SocketId, oneshot::Receiver<()>)> {
        let wanted = match &self.lines[..] {
            [] => true,
            [only] => only.closing || only.opened_at.is_some_and(|opened| at >= opened + self.age),
            _ => false,
        };
        if !wanted || at < self.connect_at || !self.may_connect(at) {
            return None;
        }
        self.next += 1;
        let (stop, stopped) = oneshot::channel();
        let socket = Socket {
            id: SocketId(self.next),
            opened_at: None,
            data: Quiet::default(),
            data_since: None,
            diffs: BTreeSet::new(),
            closing: false,
            _stop: stop,
        };
        let id = socket.id;
        self.lines.push(socket);
        Some((id, stopped))
    }

    fn may_connect(&mut self, at: Instant) -> bool {
        while self.connects.front().is_some_and(|connect| at >= *connect + CONNECTS_WINDOW) {
            self.connects.pop_front();
        }
        let may = self.connects.len() < CONNECTS_MAX;
        if may {
            self.connects.push_back(at);
        }
        may
    }

    pub(super) fn opened(&mut self, id: SocketId, at: Instant) {
        if let Some(socket) = self.get(id) {
            socket.opened_at = Some(at);
            socket.data.rest(at);
        }
    }

    /// Notes that a socket told something: whose book, where it was a diff. Returns whether the
    /// socket is one of ours still: what a stopped one had sent before is of no interest.
    pub(super) fn data(&mut self, id: SocketId, diff_of: Option<&Instrument>, at: Instant) -> bool {
        let steady = self.tempo.steady;
        let Some(socket) = self.get(id) else { return false };
        socket.data.hear(at);
        let since = *socket.data_since.get_or_insert(at);
        if let Some(instrument) = diff_of.filter(|one| !socket.diffs.contains(one)) {
            socket.diffs.insert(instrument.clone());
        }
        if at >= since + steady {
            self.backoff.reset();
        }
        true
    }

    /// Wants a successor of a socket that is about to go.
    pub(super) fn closing(&mut self, id: SocketId) {
        if let Some(socket) = self.get(id) {
            socket.closing = true;
        }
    }

    /// Wants a successor of the only socket.
    pub(super) fn replace(&mut self) {
        if let [only] = &mut self.lines[..] {
            only.closing = true;
        }
    }

    /// Notes a socket's end. The next is opened after a wait.
    pub(super) fn ended(&mut self, id: SocketId, at: Instant) -> Ended {
        let Some(place) = self.lines.iter().position(|socket| socket.id == id) else {
            return Ended::Unnoticed;
        };
        self.lines.remove(place);
        self.connect_at = at + self.backoff.next();
        if self.lines.iter().any(|socket| socket.data_since.is_some()) {
            Ended::Unnoticed
        } else {
            Ended::Alone
        }
    }

    /// Lets the older of two sockets go once its successor has told of all books, or had the time
    /// to.
    pub(super) fn hand_over(&mut self, instruments: &BTreeSet<Instrument>, at: Instant) {
        let [_, next] = &self.lines[..] else { return };
        let patient = next.data_since.is_none_or(|since| at < since + self.tempo.overlap_max);
        if !patient || (!instruments.is_empty() && next.diffs == *instruments) {
            self.lines.remove(0);
            // A venue that wants each socket replaced at once must not be hammered.
            self.connect_at = at + self.backoff.next();
        }
    }

    /// Returns a socket that has fallen silent.
    pub(super) fn silent(&self, at: Instant) -> Option<(SocketId, Duration)> {
        let (min, max) = (self.tempo.socket_silence_min, self.tempo.socket_silence_max);
        let silent = self.lines.iter().find(|socket| socket.data.is_past(at, min, max))?;
        Some((silent.id, silent.data.since(at)))
    }

    fn get(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.lines.iter_mut().find(|socket| socket.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_want_a_successor_at_once_are_replaced_ever_more_seldom() {
        let (tempo, mut at) = (Tempo::default(), Instant::now());
        let backoff = Backoff::new(7, 1, &tempo);
        let mut sockets = Sockets::new(tempo, Duration::from_hours(23), backoff, at);
        let btc: Instrument = "BTC-USDT".parse().unwrap();
        let (mut connects, mut stops) = (0, Vec::new());
        for _ in 0..10 * 60 * 20 {
            at += tempo.look;
            if let Some((id, stop)) = sockets.connect(at) {
                connects += 1;
                stops.push(stop);
                sockets.opened(id, at);
                sockets.data(id, Some(&btc), at);
                sockets.closing(id);
            }
            sockets.hand_over(&BTreeSet::from([btc.clone()]), at);
        }

        assert!((10..80).contains(&connects), "{connects} in ten minutes");
    }
}
