//! The WebSocket rows: how much a core delivers, how soon, and what a client costs that never reads.
//!
//! Each server is a process of its own on one core, with one worker; the clients share one thread
//! here. Rates are deliveries per second of the server's processor time, because the clients need a
//! core too. All sides get the same messages at the same pace, and every client must have had every
//! one of them. Each round starts its server anew and warms it up, so there are fewer rounds than in
//! the other rows.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{interval, sleep};

use self::crowd::{Counting, Script, Timing};
use self::server::{Kind, Server};
use crate::row::{Goal, Row, SLACK, median};

mod server;

mod crowd;

pub mod serve;

mod bare;
mod ours;
mod poem;

mod nats;

pub mod message;

/// Rounds of each row; an odd number has a median of its own.
const ROUNDS: usize = 5;

/// Clients, where a process may have so many files open.
const CLIENTS: usize = 1_000;

/// Files that a process needs besides its clients.
const FILES_BESIDES: usize = 64;

/// Fan-out: messages that are published at once, and how often.
const FAN_OUT: Pace = Pace { batch: 10, every: Duration::from_millis(10), warm: 20, batches: 200 };

/// Latency: 50,000 deliveries a second.
const ONE_BY_ONE: Pace =
    Pace { batch: 1, every: Duration::from_millis(20), warm: 20, batches: 100 };

/// The clients of whom one never reads; they get 50,000 deliveries a second too.
const NEIGHBOURS: usize = 200;
const BESIDE: Pace = Pace { batch: 1, every: Duration::from_millis(4), warm: 50, batches: 300 };

/// What is published before, so that whoever does not read is stuck: 540 kB in entries of 250.
const JAM: u64 = 5_000;
const JAM_BATCH: u64 = 250;

/// How long a server may take until it has written the jam down and memory is at rest.
const REST: Duration = Duration::from_millis(100);

/// Memory that a stalled client may cost.
const STALLED_BYTES_MAX: f64 = 2.0 * 1024.0 * 1024.0;

/// How messages are published.
struct Pace {
    batch: u64,
    every: Duration,
    /// Batches that are not measured, and batches that are.
    warm: u64,
    batches: u64,
}

/// Prints the rows; false when one is far off.
pub fn rows(notes: &mut Vec<String>) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let clients = CLIENTS.min(server::files_max()?.saturating_sub(FILES_BESIDES));
    if clients < CLIENTS {
        notes.push(format!("only {clients} WebSocket clients: `ulimit -n` allows no more"));
    }
    if !server::can_pin() {
        notes.push("the servers are not pinned to a core: there is no taskset".to_owned());
    }
    let mut good = runtime.block_on(fan_out(clients))?;
    good &= runtime.block_on(latency(clients))?;
    good &= runtime.block_on(stalled(notes))?;
    Ok(good)
}

async fn fan_out(clients: usize) -> Result<bool> {
    let path = format!("WebSocket fan-out, {clients} clients, per second of the server's core");
    let row = |yardstick, goal| Row {
        path: path.clone(),
        yardstick,
        unit: "deliveries/s",
        goal: Goal::AtLeast(goal),
        ours: Vec::new(),
        theirs: Vec::new(),
    };
    let mut poem = row("poem's WebSocket, coalesced", 1.3);
    let mut nats = row("nats-server's WebSocket listener", 1.5);
    let has_nats = nats::binary().is_some();
    for _ in 0..ROUNDS {
        let ours = delivered(Kind::Ours, clients).await?;
        poem.ours.push(ours);
        poem.theirs.push(delivered(Kind::Poem, clients).await?);
        if has_nats {
            nats.ours.push(ours);
            nats.theirs.push(delivered(Kind::Nats, clients).await?);
        }
    }
    let good = poem.print();
    if has_nats {
        return Ok(nats.print() && good);
    }
    Row::print_not_measured(&path, nats.yardstick, nats.goal, "no nats-server");
    Ok(good)
}

/// Returns deliveries per second of the server's processor time.
async fn delivered(kind: Kind, clients: usize) -> Result<f64> {
    let mut server = Server::start(kind)?;
    let counting = Counting::start(crowd::join(&server, clients).await?);
    let (warm, all) = (FAN_OUT.batch * FAN_OUT.warm, FAN_OUT.messages());
    FAN_OUT.publish(&mut server, 0, FAN_OUT.warm, |_| ()).await?;
    counting.wait_for(warm).await?;
    let before = server.cpu_seconds()?;
    FAN_OUT.publish(&mut server, warm, FAN_OUT.batches, |_| ()).await?;
    counting.wait_for(all).await?;
    let seconds = server.cpu_seconds()? - before;
    Ok((all - warm) as f64 * clients as f64 / seconds)
}

async fn latency(clients: usize) -> Result<bool> {
    let mut row = Row {
        path: format!("WebSocket latency, {clients} clients, 50 messages/s each: p99"),
        yardstick: "bare tokio sockets, a task for each",
        unit: "µs",
        goal: Goal::AtMost(1.3),
        ours: Vec::new(),
        theirs: Vec::new(),
    };
    for _ in 0..ROUNDS {
        row.ours.push(p99(Kind::Ours, clients).await?);
        row.theirs.push(p99(Kind::Bare, clients).await?);
    }
    Ok(row.print())
}

/// Returns the microseconds that 99 of 100 deliveries took at the most.
async fn p99(kind: Kind, clients: usize) -> Result<f64> {
    let mut server = Server::start(kind)?;
    let script = Arc::new(Script::new(ONE_BY_ONE.messages()));
    let timing = Timing::start(crowd::join(&server, clients).await?, &script);
    let batches = ONE_BY_ONE.warm + ONE_BY_ONE.batches;
    ONE_BY_ONE.publish(&mut server, 0, batches, |id| script.publishes(id)).await?;
    let micros = timing.finish(usize::try_from(ONE_BY_ONE.warm)?).await?;
    Ok(quantile(&micros, 0.99))
}

async fn stalled(notes: &mut Vec<String>) -> Result<bool> {
    let mut row = Row {
        path: "WebSocket latency of 199 clients beside one that never reads: median".to_owned(),
        yardstick: "the same, and it reads",
        unit: "µs",
        goal: Goal::AtMost(1.1),
        ours: Vec::new(),
        theirs: Vec::new(),
    };
    let (mut stuck, mut reading) = (Seen::default(), Seen::default());
    for _ in 0..ROUNDS {
        stuck.add(beside(false).await?);
        reading.add(beside(true).await?);
    }
    (row.ours, row.theirs) = (stuck.p50, reading.p50);
    let good = row.print();
    notes.push(format!(
        "p99 of the 199 clients beside one that never reads: {:.0} µs, and {:.0} when it reads",
        median(&mut stuck.p99),
        median(&mut reading.p99)
    ));
    let bytes = median(&mut stuck.grown) - median(&mut reading.grown);
    let word = if bytes <= STALLED_BYTES_MAX { "reached" } else { "MISSED" };
    notes.push(format!(
        "memory of the server for a client that never reads: {:.2} MiB more than for one that does \
         (to reach: 2 at the most): {word}",
        bytes / 1024.0 / 1024.0
    ));
    Ok(good && bytes <= STALLED_BYTES_MAX * SLACK)
}

/// What was seen round by round.
#[derive(Default)]
struct Seen {
    p50: Vec<f64>,
    p99: Vec<f64>,
    grown: Vec<f64>,
}

impl Seen {
    fn add(&mut self, round: Beside) {
        self.p50.push(quantile(&round.micros, 0.5));
        self.p99.push(quantile(&round.micros, 0.99));
        self.grown.push(round.grown);
    }
}

/// What the others had of a round beside one client.
struct Beside {
    micros: Vec<f64>,
    /// Bytes by which the server's memory grew.
    grown: f64,
}

async fn beside(reads: bool) -> Result<Beside> {
    let mut server = Server::start(Kind::OursSmall)?;
    let script = Arc::new(Script::new(JAM + BESIDE.messages()));
    let others = Timing::start(crowd::join(&server, NEIGHBOURS - 1).await?, &script);
    let one = crowd::join_small(&server).await?;
    let client = one.local_addr()?;
    let (reading, _stuck) =
        if reads { (Some(Timing::start(vec![one], &script)), None) } else { (None, Some(one)) };
    let before = server.resident_bytes()?;
    for first in (0..JAM).step_by(usize::try_from(JAM_BATCH)?) {
        let ids = first..first + JAM_BATCH;
        ids.clone().for_each(|id| script.publishes(id));
        server.publish(ids)?;
        sleep(REST / 5).await;
    }
    sleep(REST).await;
    BESIDE
        .publish(&mut server, JAM, BESIDE.warm + BESIDE.batches, |id| script.publishes(id))
        .await?;
    let micros = others.finish(usize::try_from(JAM + BESIDE.warm)?).await?;
    let grown = server.resident_bytes()? - before;
    match reading {
        Some(reading) => drop(reading.finish(0).await?),
        None => {
            ensure!(server.bytes_stuck(client)? > 0, "the client that never reads is not stuck")
        }
    }
    Ok(Beside { micros, grown })
}

impl Pace {
    const fn messages(&self) -> u64 {
        self.batch * (self.warm + self.batches)
    }

    /// Publishes `batches` from message `first` on, and says each before it goes.
    async fn publish(
        &self,
        server: &mut Server,
        first: u64,
        batches: u64,
        say: impl Fn(u64),
    ) -> Result<()> {
        let mut beat = interval(self.every);
        for batch in 0..batches {
            beat.tick().await;
            let first = first + batch * self.batch;
            let ids = first..first + self.batch;
            ids.clone().for_each(&say);
            server.publish(ids)?;
        }
        Ok(())
    }
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share) as usize;
    sorted[place.min(sorted.len() - 1)]
}
