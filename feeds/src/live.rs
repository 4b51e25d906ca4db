//! Listens to a venue as it happens: one loop for all venues.
//!
//! ```text
//! sockets ──frames──▶ decode ──▶ listener: splice, scales, missing trades ──▶ the intake's queue
//!                                   │ what is missing                              ▲
//!                                   ▼                                              │
//!                       requests: snapshots ─▶ splice;  trades, bars ──────────────┘
//! ```
//!
//! The loop holds all state and never waits for the venue. Sockets and requests are tasks that it
//! owns: they end with it. When the intake's queue is full the loop waits, then the sockets wait,
//! and then the venue does: nothing is dropped. While two sockets overlap, both are listened to.
//! Diffs told twice are dropped here, by their ids; trades told twice are dropped by the rule of
//! their market, which knows them for longer than a feed does.

mod backoff;
mod history;
mod listener;
mod minutes;
mod missing;
mod quiet;
mod rest;
mod socket;
mod sockets;
mod station;
pub(crate) mod tempo;
mod tls;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use domain::instrument::{self, Instrument};
use domain::observation::{Heard, Link, Observation};
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::counts::Counts;
use crate::feed::{Now, Surroundings};
use crate::live::backoff::Backoff;
use crate::live::history::History;
use crate::live::listener::Listener;
use crate::live::rest::{Rest, RestError, Share};
use crate::live::socket::Address;
use crate::live::sockets::Sockets;
use crate::live::station::Station;
use crate::live::tempo::Tempo;
use crate::venue::{Ask, Listed, Venue};
use crate::venues;

/// Instruments of one feed. Each has three streams, and a socket of Binance carries at most 1,024.
pub const INSTRUMENTS_MAX: usize = 200;

/// What to listen to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    pub venue: instrument::Venue,
    pub instruments: Vec<Instrument>,
}

/// Why a live feed ended. A venue that cannot be reached is no reason: that passes.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    #[error("there is no live adapter for {0}")]
    NoAdapter(instrument::Venue),
    #[error("{venue} does not list {instrument}")]
    Unlisted { venue: instrument::Venue, instrument: Instrument },
    #[error("requests cannot be made: {0}")]
    Client(#[from] reqwest::Error),
}

/// Listens until nobody listens to it any more.
pub(crate) async fn run(
    live: Live,
    surroundings: Surroundings,
    tempo: Tempo,
    out: Sender<Observation>,
    counts: Arc<Counts>,
) -> Result<(), LiveError> {
    let Surroundings { now, addresses, resume, seed } = surroundings;
    let venue = venues::decoder(&live.venue, &live.instruments)
        .filter(|_| venues::is_live(live.venue.as_str()))
        .ok_or_else(|| LiveError::NoAdapter(live.venue.clone()))?;
    let terms = venue.terms();
    let tls = tls::configuration();
    let rest_url = addresses.rest_url.as_deref().unwrap_or(terms.rest_url);
    let rest = Arc::new(Rest::new(rest_url, terms, tls.clone(), tempo, seed)?);

    let mut waits = Backoff::new(seed, 1, &tempo);
    let asking = listings(&live, venue.as_ref(), &rest, &mut waits, &now, &out);
    let listed = tokio::select! {
        listed = asking => listed?,
        () = out.closed() => return Ok(()),
    };
    let venue = venue.knowing(&listed);
    for Listed { instrument, listing, .. } in &listed {
        let heard = Heard::Listed(instrument.clone(), *listing);
        if !counts.hand_over(told(&now, heard), &out).await {
            return Ok(());
        }
    }
    info!(venue = %live.venue, instruments = listed.len(), "listening");

    let ws_url = addresses.ws_url.as_deref().unwrap_or(terms.ws_url);
    let address = Address {
        url: format!("{}{}", ws_url.trim_end_matches('/'), venue.streams()),
        subscriptions: venue.subscriptions(),
        tls: Arc::new(tls),
        connect_patience: tempo.connect_patience,
    };
    let listener = Listener::new(&listed, &resume, tempo);
    let scales = listener.scales().clone();
    let history = History { venue, rest, scales, now, out, counts };
    waits.reset();
    let sockets = Sockets::new(tempo, terms.socket_age, waits, Instant::now());
    Station::new(tempo, address, listener, sockets, history, seed).run().await;
    Ok(())
}

/// Asks how the venue lists what is wanted, until it says so.
async fn listings(
    live: &Live,
    venue: &dyn Venue,
    rest: &Rest,
    waits: &mut Backoff,
    now: &Now,
    out: &Sender<Observation>,
) -> Result<Vec<Listed>, LiveError> {
    loop {
        let answer = rest.get(venue, &venue.request(&Ask::Listings), Share::Books).await;
        let error = match answer.and_then(|body| Ok(venue.listed(&body)?)) {
            Ok(listed) => return all_of(live, listed),
            Err(error) => error,
        };
        warn!(venue = %live.venue, %error, "the listings cannot be had");
        // The end of the queue is noticed by the caller.
        let _listening = out.send(told(now, Heard::Link(Link::Down(error.to_string())))).await;
        match error {
            // The next request waits for it.
            RestError::Limited { .. } => {}
            _ => sleep(waits.next()).await,
        }
    }
}

fn all_of(live: &Live, listed: Vec<Listed>) -> Result<Vec<Listed>, LiveError> {
    let has = |wanted: &&Instrument| listed.iter().any(|listed| listed.instrument == **wanted);
    match live.instruments.iter().find(|wanted| !has(wanted)) {
        None => Ok(listed),
        Some(unlisted) => {
            Err(LiveError::Unlisted { venue: live.venue.clone(), instrument: unlisted.clone() })
        }
    }
}

fn told(now: &Now, heard: Heard) -> Observation {
    Observation { received_at: now(), venue_time: None, heard }
}
