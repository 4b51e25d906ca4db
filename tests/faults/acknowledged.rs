//! Each call of the log's that can fail, fails: in a log in a process of its own, which tells what
//! it acknowledges. After an error of the log's own files nothing more is acknowledged; a start
//! without faults then holds every acknowledged entry, once and where it was said to be.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::event::Event;
use domain::market::event::MarketEvent;
use domain::tick::{Side, Tick};
use domain::time::Timestamp;
use eventlog::embedded::verify::verify;
use eventlog::embedded::{Embedded, Opened, Options};
use eventlog::entry::{Actor, Draft, Entry, Offset};
use eventlog::files::Disk;
use eventlog::log::{Appended, EventLog, Expected, LogError, ReadLog, Retention, Trim, Trimmed};
use eventlog::stream::Log;
use uuid::Uuid;

use crate::faults::injected::{self, Call, Fault, Site};
use crate::faults::{Lots, assert_whole};
use crate::house::folder;
use crate::tools::times;

/// A segment is full after some ten entries, and grows in four steps.
const OPTIONS: Options =
    Options { segment_bytes: 16 << 10, prepare_bytes: 4 << 10, append_ids_max: 32 };

/// Entries that are there before, and entries that are put in under faults.
const BEFORE: u64 = 25;
const APPENDS: u64 = 60;

/// How often an append is tried again on a full disk, and anew after the log has stopped.
const TRIES: usize = 20;
const LAST_WORDS: u64 = 5;

/// Positions at which each call site fails.
const POSITIONS: usize = 3;

/// Where the process is told which folder its log is in.
const FOLDER: &str = "ENTASIS_TEST_FAULTS_FOLDER";

/// Time that the log has for what it does when nobody asks.
const IDLE_MAX: Duration = Duration::from_millis(400);

fn open(folder: &Path) -> Result<(Embedded, Opened), LogError> {
    let disk = Disk::open(folder).map_err(|error| LogError::Unavailable(error.to_string()))?;
    Embedded::open(Arc::new(disk), Log::Market, OPTIONS)
}

/// Entry number `number`: what it holds, its id and its stream follow from the number.
fn draft(number: u64) -> Draft {
    let tick = |place: u64| {
        let at = Timestamp::from_millis(1_711_013_400_000 + i64::try_from(number).unwrap());
        Event::Market(MarketEvent::TickObserved(Tick {
            trade_id: number * 100 + place,
            price: format!("{}.{place:02}", 50_000 + number).parse().unwrap(),
            quantity: "0.12345678".parse().unwrap(),
            taker: if place.is_multiple_of(2) { Side::Buy } else { Side::Sell },
            traded_at: at,
            received_at: at,
        }))
    };
    let stream = if number.is_multiple_of(3) { "ETH-USDT" } else { "BTC-USDT" };
    Draft {
        stream: format!("market-binance.{stream}").parse().unwrap(),
        append_id: Uuid::from_u128(u128::from(number)),
        command_id: Uuid::from_u128(u128::from(number) << 64),
        recorded_at: Timestamp::from_millis(1_711_013_400_000),
        actor: Actor {
            principal: "tests".to_owned(),
            role: "feed".to_owned(),
            via: "faults".to_owned(),
        },
        correlation_id: None,
        causation: None,
        events: (0..30 + number % 30).map(tick).collect(),
    }
}

/// Appends one entry; a full disk is asked again, as whoever writes does.
async fn append(log: &Embedded, number: u64) -> Result<Appended, LogError> {
    let mut answer = log.append(draft(number), Expected::Any).await;
    for _ in 0..TRIES {
        if answer != Err(LogError::Full) {
            break;
        }
        answer = log.append(draft(number), Expected::Any).await;
    }
    answer
}

/// Opens the log in a folder, appends to it and trims it, in two sittings. Tells each answer.
async fn work(folder: &Path, mut tell: impl FnMut(String)) {
    let half = BEFORE + APPENDS / 2;
    for numbers in [BEFORE..half, half..BEFORE + APPENDS] {
        let log = match open(folder) {
            Ok((log, _)) => log,
            Err(error) => return tell(format!("unopened 0 {error}")),
        };
        let mut stopped = None;
        for number in numbers {
            match append(&log, number).await {
                Ok(Appended { offset, .. }) => tell(format!("acknowledged {number} {offset}")),
                Err(error) => {
                    tell(format!("failed {number} {error}"));
                    stopped.get_or_insert(number);
                }
            }
            if stopped.is_some_and(|stopped| number >= stopped + LAST_WORDS) {
                return;
            }
        }
        if stopped.is_some() {
            return;
        }
        until_idle(folder);
        // Between the sittings and at the end the oldest segments go.
        match log.trim(keep()).await {
            Ok(Trimmed { floor, .. }) => tell(format!("trimmed 0 {floor}")),
            Err(error) => tell(format!("untrimmed 0 {error}")),
        }
    }
    tell("done 0 -".to_owned());
}

/// Returns what a trim may drop: more than is held of three segments, and not the newest.
fn keep() -> Retention {
    Retention {
        recorded_before: Timestamp::MIN,
        bytes_max: 3 * OPTIONS.segment_bytes,
        up_to: Offset(u64::MAX),
    }
}

/// Waits a little until what is done in the background is done: each sealed segment has its index.
fn until_idle(folder: &Path) {
    let deadline = Instant::now() + IDLE_MAX;
    let count = |end: &str| {
        let names = std::fs::read_dir(folder).expect("the log's folder").flatten();
        names.filter(|name| name.file_name().to_string_lossy().ends_with(end)).count()
    };
    while count(".idx") + 1 < count(".log") && Instant::now() < deadline {
        std::thread::yield_now();
    }
}

/// What the process told.
#[derive(Debug, Default)]
struct Told {
    /// Numbers with their offsets.
    acknowledged: BTreeMap<u64, u64>,
    failed: BTreeMap<u64, String>,
    /// The highest floor that a trim has told.
    floor: u64,
    /// Whether a trim told none: the floor may have risen all the same.
    is_floor_unknown: bool,
    is_unopened: bool,
    is_done: bool,
    all: Vec<String>,
}

impl Told {
    fn take(&mut self, line: &str) {
        let mut words = line.splitn(3, ' ');
        let (word, number) = (words.next(), words.next().and_then(|word| word.parse().ok()));
        let rest = words.next().unwrap_or_default();
        match (word, number) {
            (Some("acknowledged"), Some(number)) => {
                assert!(self.failed.is_empty(), "acknowledged after an error: {self:?} {line}");
                self.acknowledged.insert(number, rest.parse().expect("an offset"));
            }
            (Some("failed"), Some(number)) => {
                self.failed.insert(number, rest.to_owned());
            }
            (Some("done"), _) => self.is_done = true,
            (Some("trimmed"), _) => self.floor = rest.parse().expect("an offset"),
            (Some("untrimmed"), _) => self.is_floor_unknown = true,
            (Some("unopened"), _) => self.is_unopened = true,
            _ => return,
        }
        self.all.push(line.to_owned());
    }
}

async fn entries(log: &Embedded) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let after = all.last().map_or(Offset(0), |entry| entry.offset);
        let more = log.read(after, 1_000).await.expect("a log that was just opened reads");
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// Every acknowledged entry is there as it was put in, and what was not is there at most once; the
/// log takes more.
async fn assert_kept(folder: &Path, told: &Told) {
    let (log, _) = open(folder).unwrap_or_else(|error| panic!("{error}: {:#?}", told.all));
    let floor = log.floor().await.unwrap().0;
    assert!(floor == told.floor || told.is_floor_unknown && floor > told.floor, "{told:#?}");
    let held = entries(&log).await;
    assert_whole(Offset(floor), &held);
    let by_id: BTreeMap<Uuid, &Entry> = held.iter().map(|entry| (entry.append_id, entry)).collect();
    let before = (1..BEFORE).map(|number| (number, number));
    let acknowledged = told.acknowledged.iter().map(|(number, offset)| (*number, *offset));
    for (number, offset) in before.chain(acknowledged) {
        let Draft { append_id, stream, events, .. } = draft(number);
        if offset <= floor {
            continue;
        }
        let Some(entry) = by_id.get(&append_id) else { panic!("{number} is lost: {told:#?}") };
        assert_eq!(
            (entry.offset, &entry.stream, &entry.events),
            (Offset(offset), &stream, &events)
        );
    }
    for entry in &held {
        let number = u64::try_from(entry.append_id.as_u128()).unwrap();
        assert_eq!(entry.events, draft(number).events);
    }
    // What has no outcome gets one, and there is room for more.
    let more = BEFORE + APPENDS;
    for number in told.failed.keys().copied().chain([more]) {
        let appended = append(&log, number).await.unwrap();
        let known = by_id.get(&Uuid::from_u128(u128::from(number)));
        assert_eq!(known.map(|entry| entry.offset), appended.repeated.then_some(appended.offset));
    }
    drop(log);
    let files = Disk::open(folder).unwrap();
    verify(&files, Log::Market).unwrap_or_else(|error| panic!("{error}: {:#?}", told.all));
}

/// Makes the log that all runs begin with: closed segments, an open one, and an end that a crash
/// has left unfinished.
async fn begin(folder: &Path) {
    let (log, _) = open(folder).unwrap();
    for number in 1..=BEFORE {
        append(&log, number).await.unwrap();
    }
    until_idle(folder);
    drop(log);
    let names = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let newest = names.filter(|path| injected::kind(path) == ".log").max().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    // The last group misses its last bytes.
    bytes[end - 40..].fill(0);
    std::fs::write(newest, bytes).unwrap();
}

/// The runs, each in a copy of the same log.
struct Runs {
    place: tempfile::TempDir,
    log: PathBuf,
    trace: PathBuf,
}

impl Runs {
    async fn prepare() -> Self {
        let place = folder();
        begin(&place.path().join("begun")).await;
        let (log, trace) = (place.path().join("log"), place.path().join("trace"));
        Self { place, log, trace }
    }

    /// Runs the process once, with a call that fails or without.
    fn run(&self, fault: Option<&Fault>) -> Told {
        drop(std::fs::remove_dir_all(&self.log));
        crate::faults::space::copy(&self.place.path().join("begun"), &self.log);
        let runner = injected::runner(&self.trace, fault);
        let output = Command::new(&runner[0])
            .args(&runner[1..])
            .arg(std::env::current_exe().expect("this test has a binary"))
            .args(["--exact", "faults::acknowledged::a_log_tells_what_it_holds", "--nocapture"])
            .env(FOLDER, &self.log)
            .stdout(Stdio::null())
            .output()
            .expect("strace starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{fault:?}: {said}");
        let mut told = Told::default();
        said.lines().for_each(|line| told.take(line));
        told
    }
}

/// Draws the positions of a site that fail: its first and its last call, and others between.
fn drawn<'a>(calls: &'a [Call], lots: &mut Lots) -> Vec<&'a Call> {
    let positions = times(POSITIONS).min(calls.len());
    let mut places = vec![0, calls.len() - 1];
    places.truncate(positions);
    while places.len() < positions {
        let place = usize::try_from(lots.below(calls.len() as u64)).unwrap();
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places.into_iter().map(|place| &calls[place]).collect()
}

/// Holds what a process told after a failed call against the promise for the file that it hit.
fn assert_stopped((name, kind): &Site, error: &str, told: &Told, fault: &Fault) {
    match kind.as_str() {
        // What was trimmed is deleted another time.
        _ if name.starts_with("unlink") => assert!(told.failed.is_empty(), "{fault:?}: {told:#?}"),
        // Nobody knows what the disk holds now. A full disk may pass.
        ".log" if error == "EIO" => assert!(!told.is_done, "{fault:?} passed unnoticed: {told:#?}"),
        // The log is whole without these. But for the last step of a roll: it gives the name.
        kind if kind.contains("idx") || kind == "next" && !name.starts_with("rename") => {
            // A start that cannot clear away what a crash has left is none.
            assert!(told.is_done || told.is_unopened, "{fault:?}: {told:#?}");
            assert!(told.failed.is_empty(), "{fault:?}: {told:#?}");
        }
        _ => {}
    }
}

#[tokio::test]
async fn a_log_tells_what_it_holds() {
    // As a process of its own it only tells; whoever started it judges.
    if let Some(folder) = std::env::var_os(FOLDER) {
        let tell = |line| writeln!(std::io::stderr(), "{line}").expect("stderr is open");
        return work(Path::new(&folder), tell).await;
    }
    let place = folder();
    begin(place.path()).await;
    let mut told = Told::default();
    work(place.path(), |line| told.take(&line)).await;
    assert!(told.is_done && told.failed.is_empty(), "{told:#?}");
    assert_kept(place.path(), &told).await;
}

#[tokio::test]
async fn whatever_call_fails_nothing_acknowledged_is_lost() {
    if !injected::is_possible() {
        return;
    }
    let mut lots = Lots::draw("failing calls");
    let runs = Runs::prepare().await;
    let told = runs.run(None);
    assert!(told.is_done && told.failed.is_empty(), "{told:#?}");
    let sites = injected::sites(injected::calls(&runs.trace, &runs.log));
    assert!(sites.len() >= 5, "{:?}", sites.keys());

    let (mut hit, mut missed) = (0, 0);
    for (site, calls) in &sites {
        for call in drawn(calls, &mut lots) {
            for error in injected::errors(&call.name) {
                let fault = Fault {
                    call: call.name.clone(),
                    paths: vec![call.path.clone()],
                    error,
                    when: call.place.to_string(),
                };
                let told = runs.run(Some(&fault));
                assert_kept(&runs.log, &told).await;
                if injected::has_failed(&runs.trace) {
                    hit += 1;
                    assert_stopped(site, error, &told, &fault);
                } else {
                    missed += 1;
                }
            }
        }
        eprintln!("{site:?}: {} calls, {hit} failed so far", calls.len());
    }
    // What happens in the background does not happen in the same place each time.
    assert!(missed * 4 <= hit, "{missed} faults hit nothing, {hit} did");
}
