//! Whether a connection of HTTP/2 is used, and what is answered on it taken.
//!
//! With HTTP/1 it is enough to watch the head and the stream. Here many requests share a stream that
//! is never silent: pings alone keep it, and whoever grants no window to an answer does not stop the
//! others.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

/// Bytes of an answer that are handed out at once. What was handed out cannot be watched any more.
const PIECE_BYTES: usize = 8 * 1024;

/// A connection this old takes no more requests, so that answers that are taken too slowly to end, and
/// too fast to be noticed, go with it. Clients connect anew.
const LIFE: Duration = Duration::from_mins(10);

/// Why a connection should go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Nobody asks for anything.
    Idle,
    /// An answer is not taken.
    Stuck,
    /// It is as old as it may get.
    Old,
}

#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    idle_patience: Duration,
    stuck_patience: Duration,
    requests: Mutex<Requests>,
}

#[derive(Debug)]
struct Requests {
    last: u64,
    /// Those that are not answered to the end and, where the client has to take a piece, since when.
    open: BTreeMap<u64, Option<Instant>>,
    /// When the last of them was.
    idle_since: Instant,
}

/// One request, until it is dropped.
#[derive(Debug)]
pub(super) struct Open {
    activity: Arc<Activity>,
    number: u64,
}

impl Activity {
    pub(super) fn new(idle_patience: Duration, stuck_patience: Duration) -> Arc<Self> {
        let began = Instant::now();
        let requests = Requests { last: 0, open: BTreeMap::new(), idle_since: began };
        let requests = Mutex::new(requests);
        Arc::new(Self { began, idle_patience, stuck_patience, requests })
    }

    pub(super) fn open(self: &Arc<Self>) -> Open {
        let mut requests = self.requests();
        requests.last += 1;
        let number = requests.last;
        requests.open.insert(number, None);
        Open { activity: Arc::clone(self), number }
    }

    /// Returns when the connection should go, and why.
    pub(super) async fn overdue(&self) -> Overdue {
        loop {
            let now = Instant::now();
            let (at, overdue) = self.due();
            if at <= now {
                return overdue;
            }
            // What begins meanwhile is not overdue before this.
            sleep_until(at.min(now + self.idle_patience.min(self.stuck_patience))).await;
        }
    }

    /// Returns what is overdue next as things stand, and when.
    fn due(&self) -> (Instant, Overdue) {
        let requests = self.requests();
        let old = (self.began + LIFE, Overdue::Old);
        let idle = (requests.idle_since + self.idle_patience, Overdue::Idle);
        let idle = Some(idle).filter(|_| requests.open.is_empty());
        let stuck = requests.open.values().flatten().min();
        let stuck = stuck.map(|since| (*since + self.stuck_patience, Overdue::Stuck));
        [idle, stuck].into_iter().flatten().fold(
            old,
            |next, other| {
                if other.0 < next.0 { other } else { next }
            },
        )
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn set(&self, taken: Option<Instant>) {
        self.activity.requests().open.insert(self.number, taken);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut requests = self.activity.requests();
        requests.open.remove(&self.number);
        requests.idle_since = Instant::now();
    }
}

/// An answer in pieces: the next one is asked for when the client has room for it.
#[derive(Debug)]
pub(super) struct Pieces<B> {
    body: B,
    rest: Bytes,
    open: Open,
}

impl<B> Pieces<B> {
    pub(super) fn new(body: B, open: Open) -> Self {
        Self { body, rest: Bytes::new(), open }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Pieces<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        // Whatever it waits for now, it is not the client.
        this.open.set(None);
        if this.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => frame.into_data(),
                other => return Poll::Ready(other),
            };
            match frame {
                Ok(data) if data.len() > PIECE_BYTES => this.rest = data,
                Ok(data) => {
                    this.open.set(Some(Instant::now()));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let piece = this.rest.split_to(PIECE_BYTES.min(this.rest.len()));
        this.open.set(Some(Instant::now()));
        // A copy: a piece that is not taken would keep the whole answer.
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(&piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests;
