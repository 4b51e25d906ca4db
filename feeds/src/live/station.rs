//! The loop: frames in, observations out, and whatever is due in between.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::instrument::Instrument;
use domain::observation::{Heard, Link, Observation};
use domain::time::Timestamp;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::feed::Hole;
use crate::live::backoff::Backoff;
use crate::live::history::{Filled, History};
use crate::live::listener::Listener;
use crate::live::rest::{RestError, Share};
use crate::live::socket::{self, Address, Event, SocketId};
use crate::live::sockets::{Ended, Sockets};
use crate::live::tempo::Tempo;
use crate::venue::{Ask, Decoded};

/// Frames that wait for the loop. When it is full, sockets wait.
const EVENTS_MAX: usize = 256;

/// Snapshots, and pieces of history, that are asked for at once.
const SNAPSHOTS_MAX: usize = 2;
const HISTORY_MAX: usize = 2;

/// How often a hole that the venue says nothing about is asked for before it is given up.
const HOLE_TRIES_MAX: u32 = 5;

/// Malformed frames that are logged with their reason. The ones after them are counted only.
const MALFORMED_LOGGED_MAX: u64 = 10;

/// A feed at work.
pub(super) struct Station {
    tempo: Tempo,
    address: Address,
    listener: Listener,
    instruments: BTreeSet<Instrument>,
    sockets: Sockets,
    history: History,
    lines: JoinSet<()>,
    requests: JoinSet<Done>,
    /// What is being asked for, and from when on it may be asked for again.
    snapshots: BTreeMap<Instrument, Asked>,
    bars: BTreeMap<Instrument, Asked>,
    holes: BTreeMap<Instrument, Asked>,
    /// Whether data flows; unknown at first.
    link: Option<Link>,
}

/// One kind of question about one instrument.
struct Asked {
    under_way: bool,
    again_at: Instant,
    waits: Backoff,
    tries: u32,
    /// When it brought a whole book last; of other questions never.
    well_at: Option<Instant>,
}

/// The end of a request.
enum Done {
    Snapshot(Instrument, Box<Result<Observation, RestError>>),
    Minutes {
        instrument: Instrument,
        first: Timestamp,
        last: Timestamp,
        end: Result<(), RestError>,
    },
    Hole {
        instrument: Instrument,
        hole: Hole,
        filled: Filled,
    },
}

impl Station {
    pub(super) fn new(
        tempo: Tempo,
        address: Address,
        listener: Listener,
        sockets: Sockets,
        history: History,
        seed: u64,
    ) -> Self {
        let at = Instant::now();
        let instruments = listener.instruments();
        let asked = |branch: u64| {
            let idle = |(place, one): (u64, Instrument)| {
                let waits = Backoff::new(seed, branch << 32 | place, &tempo);
                (one, Asked { under_way: false, again_at: at, waits, tries: 0, well_at: None })
            };
            (0..).zip(instruments.iter().cloned()).map(idle).collect()
        };
        let (snapshots, bars, holes) = (asked(3), asked(4), asked(5));
        Self {
            tempo,
            address,
            listener,
            instruments,
            sockets,
            history,
            lines: JoinSet::new(),
            requests: JoinSet::new(),
            snapshots,
            bars,
            holes,
            link: None,
        }
    }

    /// Runs until nobody listens any more.
    pub(super) async fn run(mut self) {
        let (events, mut heard) = mpsc::channel(EVENTS_MAX);
        let mut look = interval(self.tempo.look);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = Vec::new();
        loop {
            tokio::select! {
                Some(event) = heard.recv() => self.take(event, &mut told),
                Some(done) = self.requests.join_next() => self.done(done, &mut told),
                Some(ended) = self.lines.join_next() => panic_on(ended),
                _ = look.tick() => self.look(heard.is_empty(), &events, &mut told),
                () = self.history.out.closed() => return,
            }
            for observation in told.drain(..) {
                if !self.history.counts.hand_over(observation, &self.history.out).await {
                    return;
                }
            }
        }
    }

    fn take(&mut self, event: Event, told: &mut Vec<Observation>) {
        let at = Instant::now();
        match event {
            Event::Opened(socket) => self.sockets.opened(socket, at),
            Event::Ended { socket, reason } => self.ended(socket, &reason, at, told),
            Event::Frame { socket, received_at, frame } => {
                self.history.counts.frame();
                match self.history.venue.decode(&frame.into_data(), received_at) {
                    Ok(Decoded::One(observation)) => self.hear(socket, observation, at, told),
                    Ok(Decoded::Acknowledged) => {}
                    Ok(Decoded::Ignored) => self.history.counts.ignore(),
                    Ok(Decoded::Closing) => {
                        info!("the venue is about to hang up: a successor is opened");
                        self.sockets.closing(socket);
                    }
                    Err(error) => {
                        if self.history.counts.malform() < MALFORMED_LOGGED_MAX {
                            warn!(%error, "malformed frame");
                        }
                    }
                }
            }
        }
    }

    fn hear(
        &mut self,
        socket: SocketId,
        observation: Observation,
        at: Instant,
        told: &mut Vec<Observation>,
    ) {
        let diff_of = match &observation.heard {
            Heard::Diff(instrument, _) => Some(instrument),
            _ => None,
        };
        // What a socket had said before it was let go still counts while another one tells.
        if !self.sockets.data(socket, diff_of, at) && self.link != Some(Link::Up) {
            return;
        }
        // The first words that carry a time: what was missed is counted by the venue's clock.
        if let Some(venue_time) = observation.venue_time.filter(|_| self.link != Some(Link::Up)) {
            self.listener.connected(venue_time, at);
            self.tell_link(Link::Up, told);
        }
        self.listener.hear(observation, at, told);
    }

    fn ended(&mut self, socket: SocketId, reason: &str, at: Instant, told: &mut Vec<Observation>) {
        if self.sockets.ended(socket, at) == Ended::Unnoticed {
            return;
        }
        warn!(reason, "nothing is heard any more");
        if self.link == Some(Link::Up) {
            self.listener.disconnected((self.history.now)(), told);
        }
        self.tell_link(Link::Down(reason.to_owned()), told);
    }

    fn tell_link(&mut self, link: Link, told: &mut Vec<Observation>) {
        if self.link.as_ref() != Some(&link) {
            let received_at = (self.history.now)();
            let heard = Heard::Link(link.clone());
            told.push(Observation { received_at, venue_time: None, heard });
            self.link = Some(link);
        }
    }

    /// Does whatever is due. While frames wait to be taken, the intake was slow, and no silence is
    /// the venue's.
    fn look(&mut self, all_taken: bool, events: &mpsc::Sender<Event>, told: &mut Vec<Observation>) {
        let (at, now) = (Instant::now(), (self.history.now)());
        if let Some((silent, since)) = self.sockets.silent(at).filter(|_| all_taken) {
            let reason = format!("silent for {} ms", since.as_millis());
            self.ended(silent, &reason, at, told);
        }
        if self.link == Some(Link::Up) && all_taken {
            if self.listener.has_forgotten_stream(at) {
                self.sockets.replace();
            }
            self.listener.lose_silent_books(now, at, told);
        }
        self.sockets.hand_over(&self.instruments, at);
        if let Some((id, stop)) = self.sockets.connect(at) {
            let (address, now) = (self.address.clone(), self.history.now.clone());
            self.lines.spawn(socket::run(id, address, now, events.clone(), stop));
        }
        if self.link == Some(Link::Up) {
            self.ask_for_snapshots(at);
            self.ask_for_history(self.listener.venue_time(now), at);
        }
    }

    fn ask_for_snapshots(&mut self, at: Instant) {
        let mut under_way = under_way(&self.snapshots);
        for (instrument, asked) in &mut self.snapshots {
            let wanted = self.listener.splices().of(instrument).wants_snapshot();
            if under_way >= SNAPSHOTS_MAX || !wanted || !asked.may_start(at) {
                continue;
            }
            under_way += 1;
            let (history, instrument) = (self.history.clone(), instrument.clone());
            self.requests.spawn(async move {
                let History { venue, rest, now, .. } = history;
                let request = venue.request(&Ask::Snapshot(instrument.clone()));
                let end = rest.get(venue.as_ref(), &request, Share::Books).await;
                let end = end.and_then(|body| Ok(venue.snapshot(&instrument, &body, now())?));
                Done::Snapshot(instrument, Box::new(end))
            });
        }
    }

    fn ask_for_history(&mut self, venue_time: Timestamp, at: Instant) {
        let mut under_way = under_way(&self.holes) + under_way(&self.bars);
        let page_max = self.history.venue.terms().minutes_max;
        for (instrument, ear) in self.listener.ears() {
            let Some(asked) = self.holes.get_mut(instrument) else { continue };
            if under_way >= HISTORY_MAX || !asked.is_idle(at) {
                continue;
            }
            let Some(hole) = ear.missing.due(at) else { continue };
            asked.under_way = true;
            under_way += 1;
            let give_up = asked.tries >= HOLE_TRIES_MAX;
            let (history, instrument) = (self.history.clone(), instrument.clone());
            self.requests.spawn(async move {
                let filled = if give_up {
                    history.give_up(&instrument, hole).await
                } else {
                    history.fill(&instrument, hole).await
                };
                Done::Hole { instrument, hole, filled }
            });
        }
        for (instrument, ear) in self.listener.ears() {
            let Some(asked) = self.bars.get_mut(instrument) else { continue };
            if under_way >= HISTORY_MAX || !asked.is_idle(at) {
                continue;
            }
            let due = ear.minutes.due(venue_time, self.tempo.minute_patience, page_max);
            let Some((first, last)) = due else { continue };
            asked.under_way = true;
            under_way += 1;
            let (history, instrument) = (self.history.clone(), instrument.clone());
            self.requests.spawn(async move {
                let end = history.minutes(&instrument, first, last).await;
                Done::Minutes { instrument, first, last, end }
            });
        }
    }

    fn done(&mut self, done: Result<Done, JoinError>, told: &mut Vec<Observation>) {
        let at = Instant::now();
        match done {
            Ok(Done::Snapshot(instrument, end)) => self.snapshot(&instrument, *end, at, told),
            Ok(Done::Minutes { instrument, first, last, end }) => {
                let Some(asked) = self.bars.get_mut(&instrument) else { return };
                let passes = end.as_ref().err().is_none_or(RestError::may_pass);
                asked.end(end.is_ok(), at);
                if let Err(error) = end {
                    warn!(%instrument, %error, "the venue's own bars cannot be had");
                }
                // What the venue refuses once, it refuses again: the next page is asked for.
                if let (true, Some(ear)) =
                    (asked.tries == 0 || !passes, self.listener.ear(&instrument))
                {
                    ear.minutes.reached(first, last);
                }
            }
            Ok(Done::Hole { instrument, hole, filled }) => {
                self.filled(&instrument, hole, filled, at);
            }
            Err(error) => panic_on(Err(error)),
        }
    }

    fn snapshot(
        &mut self,
        instrument: &Instrument,
        end: Result<Observation, RestError>,
        at: Instant,
        told: &mut Vec<Observation>,
    ) {
        // An answer from before the line broke may be older than what was missed since.
        let wanted =
            self.link == Some(Link::Up) && self.listener.splices().of(instrument).wants_snapshot();
        match end {
            Ok(_) if !wanted => {}
            Ok(snapshot) => {
                // Not its venue's time: it was on its way for as long as the request took.
                let snapshot = Observation { venue_time: None, ..snapshot };
                self.listener.hear(snapshot, at, told);
            }
            Err(error) => {
                warn!(%instrument, %error, "no snapshot of the book");
                if !matches!(error, RestError::Limited { .. }) {
                    self.listener.splices().of(instrument).fail();
                }
            }
        }
        let whole = self.listener.splices().of(instrument).book().is_some();
        if let Some(asked) = self.snapshots.get_mut(instrument) {
            // A book that is lost again and again is asked for ever more seldom.
            let steady = asked.well_at.is_none_or(|well| at >= well + self.tempo.steady);
            asked.end(whole && steady, at);
            if whole {
                asked.well_at = Some(at);
            }
        }
    }

    fn filled(&mut self, instrument: &Instrument, hole: Hole, filled: Filled, at: Instant) {
        let (Some(asked), Some(ear)) =
            (self.holes.get_mut(instrument), self.listener.ear(instrument))
        else {
            return;
        };
        match filled {
            Filled::Whole => {
                info!(%instrument, hole.first, hole.last, "missing trades were fetched");
                asked.end(true, at);
                ear.missing.close(&hole);
            }
            Filled::Gone => {
                asked.end(true, at);
                ear.missing.close(&hole);
                ear.minutes.want(hole.after.unwrap_or(hole.before), hole.before);
            }
            Filled::Rest(rest, error) => {
                warn!(%instrument, %error, "missing trades cannot be had now");
                let tries = asked.tries;
                asked.end(false, at);
                // The venue is at fault, not the hole: it is asked for until there is an answer.
                asked.tries = tries;
                ear.missing.put_back(&hole, rest, asked.again_at);
            }
            Filled::Empty(rest) => {
                asked.end(false, at);
                ear.missing.put_back(&hole, rest, asked.again_at);
            }
        }
    }
}

/// A task that panicked takes the feed with it. Cancelled ones went together with all of this.
fn panic_on(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

fn under_way(asked: &BTreeMap<Instrument, Asked>) -> usize {
    asked.values().filter(|asked| asked.under_way).count()
}

impl Asked {
    fn is_idle(&self, at: Instant) -> bool {
        !self.under_way && at >= self.again_at
    }

    fn may_start(&mut self, at: Instant) -> bool {
        let may = self.is_idle(at);
        self.under_way |= may;
        may
    }

    /// Notes the end of a request; after a failure the next waits.
    fn end(&mut self, well: bool, at: Instant) {
        self.under_way = false;
        if well {
            self.waits.reset();
            (self.tries, self.again_at) = (0, at);
        } else {
            self.tries += 1;
            self.again_at = at + self.waits.next().max(Duration::from_millis(1));
        }
    }
}
