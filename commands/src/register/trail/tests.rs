//! What comes to the door against what stands in the log, at any pace, also while the log is away.

use std::collections::BTreeSet;

use domain::access::Role;
use domain::time::SECOND;
use eventlog::entry::{ENTRY_EVENTS_MAX, Entry, Version};
use eventlog::log::ReadLog;
use eventlog::memory::Memory;
use eventlog::stream::Log;
use proptest::prelude::*;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::flood::{ADDRESSES_MAX, FAILURES_IN_ALL_PER_SECOND_MAX, FAILURES_PER_SECOND_MAX};
use super::waiting::{COUNTED_TOLD_MAX, WAITING_IN_ALL_MAX, WAITING_MAX};
use super::*;
use crate::desk::tests::line::{Fault, Line};

/// The process's own time, from a certain noon on.
struct Passing(Instant);

impl Clock for Passing {
    fn now(&self) -> Timestamp {
        noon().plus(i64::try_from(self.0.elapsed().as_micros()).unwrap())
    }
}

fn noon() -> Timestamp {
    "2024-03-21T12:00:00Z".parse().unwrap()
}

/// A trail on a log, which is being written until it is stopped.
struct Running {
    trail: Arc<Trail>,
    log: Arc<Memory>,
    line: Arc<Line>,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<Result<(), LogError>>>,
}

impl Running {
    /// Returns one that is not being written yet.
    fn still() -> Self {
        let log = Arc::new(Memory::new(Log::Ledger));
        let line = Line::new(&log, 1);
        let clock = Arc::new(Passing(Instant::now()));
        let trail = Arc::new(Trail::new(line.clone(), clock, "node-1".parse().unwrap()));
        Self { trail, log, line, stop: None, task: None }
    }

    fn new() -> Self {
        let mut running = Self::still();
        running.start();
        running
    }

    fn start(&mut self) {
        let (stop, stopped) = oneshot::channel();
        let trail = self.trail.clone();
        let run = async move { trail.run(async { drop(stopped.await) }).await };
        (self.stop, self.task) = (Some(stop), Some(tokio::spawn(run)));
    }

    /// Stops it, and returns how it ended.
    async fn stop(&mut self) -> Result<(), LogError> {
        drop(self.stop.take());
        self.task.take().unwrap().await.unwrap()
    }

    async fn entries(&self) -> Vec<Entry> {
        let stream = Stream::Access("node-1".parse().unwrap());
        self.log.read_stream(&stream, Version(0), usize::MAX).await.unwrap()
    }

    async fn events(&self) -> Vec<AccessEvent> {
        let events = self.entries().await.into_iter().flat_map(|entry| entry.events);
        events
            .map(|event| match event {
                Event::Access(event) => event,
                event => panic!("{event:?}"),
            })
            .collect()
    }

    /// Returns what stands in the log of an address: how many one by one, and how many counted.
    async fn told_of(&self, address: &str) -> (u64, u64) {
        let address: IpAddr = address.parse().unwrap();
        let (mut recorded, mut counted) = (0, 0);
        for event in self.events().await {
            match event {
                AccessEvent::AuthenticationFailed { address: of, .. } if of == address => {
                    recorded += 1;
                }
                AccessEvent::FailuresCounted { address: of, count, .. } if of == address => {
                    counted += count;
                }
                _ => {}
            }
        }
        (recorded, counted)
    }

    /// A failure of an address, which has a number.
    fn fail(&self, address: &str, number: usize) {
        let address: IpAddr = address.parse().unwrap();
        self.trail.note(Some(address), failed(address, number, self.trail.clock.now()));
    }
}

fn failed(address: IpAddr, number: usize, at: Timestamp) -> AccessEvent {
    AccessEvent::AuthenticationFailed {
        at,
        address,
        reason: "token_expired".to_owned(),
        key: None,
        request_id: number.to_string(),
    }
}

fn read(number: usize) -> AccessEvent {
    AccessEvent::RecordsRead {
        at: noon(),
        account: "ann".parse().unwrap(),
        role: Role::Admin,
        operation: "api_keys".to_owned(),
        address: "192.0.2.1".parse().unwrap(),
        request_id: number.to_string(),
    }
}

fn key(name: &str) -> KeyId {
    name.parse().unwrap()
}

fn numbers(events: &[AccessEvent]) -> Vec<usize> {
    events.iter().filter_map(request_id).map(|number| number.parse().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_left_is_written_in_order_and_in_few_entries() {
    let running = Running::new();
    for number in 0..600 {
        running.trail.note(None, read(number));
    }
    sleep(5 * REST).await;

    let entries = running.entries().await;
    let sizes: Vec<usize> = entries.iter().map(|entry| entry.events.len()).collect();
    assert_eq!(sizes, [ENTRY_EVENTS_MAX, ENTRY_EVENTS_MAX, 600 - 2 * ENTRY_EVENTS_MAX]);
    assert_eq!(numbers(&running.events().await), (0..600).collect::<Vec<_>>());
    let Actor { principal, role, via } = &entries[0].actor;
    assert_eq!([principal, role, via], ["node", "engine", "trail"]);
    for pair in entries.windows(2) {
        assert!(pair[1].recorded_at.since(pair[0].recorded_at) >= SECOND / 5);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_while_nothing_happens() {
    let running = Running::new();
    sleep(Duration::from_hours(1)).await;
    assert_eq!(running.line.asked(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_comes_too_fast_from_one_address_is_counted_to_the_last_one() {
    let running = Running::new();
    for number in 0..1_000 {
        running.fail("203.0.113.7", number);
    }
    // Neither a neighbour nor one who comes seldom loses anything.
    for number in 1_000..1_007 {
        running.fail("203.0.113.8", number);
    }
    sleep(3 * WINDOW).await;

    let max = u64::from(FAILURES_PER_SECOND_MAX);
    assert_eq!(running.told_of("203.0.113.7").await, (max, 1_000 - max));
    assert_eq!(running.told_of("203.0.113.8").await, (7, 0));
    let events = running.events().await;
    assert_eq!(numbers(&events), (0..10).chain(1_000..1_007).collect::<Vec<_>>());

    // A second later it is as if nothing had been.
    running.fail("203.0.113.7", 0);
    sleep(WINDOW).await;
    assert_eq!(running.told_of("203.0.113.7").await, (max + 1, 1_000 - max));
}

#[tokio::test(start_paused = true)]
async fn a_flood_that_goes_on_is_told_of_now_and_then() {
    let running = Running::new();
    let each = Duration::from_millis(10);
    for number in 0..3_500 {
        running.fail("203.0.113.7", number);
        sleep(each).await;
    }
    sleep(3 * WINDOW).await;

    let (recorded, counted) = running.told_of("203.0.113.7").await;
    assert_eq!(recorded + counted, 3_500);
    assert_eq!(recorded, 35 * u64::from(FAILURES_PER_SECOND_MAX));
    let told: Vec<_> = running
        .events()
        .await
        .into_iter()
        .filter_map(|event| match event {
            AccessEvent::FailuresCounted { from, to, .. } => Some((from, to)),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 4);
    for (from, to) in &told {
        assert!(from < to && to.since(*from) <= 11 * SECOND, "{from} {to}");
    }
    assert!(told.windows(2).all(|pair| pair[0].1 < pair[1].0));
}

#[tokio::test(start_paused = true)]
async fn all_that_one_site_has_is_one_address() {
    let running = Running::new();
    for number in 0..100 {
        running.fail(&format!("2001:db8:0:7::{number:x}"), number);
        running.fail(&format!("2001:db8:0:8::{number:x}"), number);
        running.fail("::ffff:203.0.113.7", number);
        running.fail("203.0.113.7", number);
    }
    sleep(3 * WINDOW).await;

    let max = u64::from(FAILURES_PER_SECOND_MAX);
    for (address, count) in [("2001:db8:0:7::", 100), ("2001:db8:0:8::", 100), ("203.0.113.7", 200)]
    {
        assert_eq!(running.told_of(address).await.1, count - max, "{address}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_from_too_many_addresses_at_once_is_counted_all_the_same() {
    let running = Running::new();
    let addresses = ADDRESSES_MAX + 500;
    let address = |number: usize| format!("10.0.{}.{}", number / 256, number % 256);
    for number in 0..addresses {
        running.fail(&address(number), number);
    }
    sleep(Duration::from_secs(20)).await;

    let max = FAILURES_IN_ALL_PER_SECOND_MAX as usize;
    assert_eq!(numbers(&running.events().await).len(), max);
    assert_eq!(running.told_of("0.0.0.0").await, (0, (addresses - max) as u64));
    // Those that are quiet make room for others.
    running.fail(&address(addresses - 1), 0);
    sleep(WINDOW).await;
    assert_eq!(running.told_of(&address(addresses - 1)).await, (1, 0));
}

/// One who has a /48 of IPv6 has 65,536 of what counts as one address.
#[tokio::test(start_paused = true)]
async fn a_flood_from_very_many_addresses_is_a_trickle_in_the_log() {
    let running = Running::new();
    for second in 0..60 {
        for number in 0..2_000 {
            running.fail(&format!("2001:db8:0:{number:x}::1"), second * 2_000 + number);
            running.fail(&format!("2001:db8:0:{number:x}::1"), second * 2_000 + number);
        }
        sleep(WINDOW).await;
    }
    let during = running.events().await.len();
    sleep(Duration::from_mins(10)).await;

    let (mut recorded, mut counted) = (0, 0);
    for event in running.events().await {
        match event {
            AccessEvent::FailuresCounted { count, .. } => counted += count,
            _ => recorded += 1,
        }
    }
    assert_eq!(recorded + counted, 60 * 4_000);
    let told_max = 5 * COUNTED_TOLD_MAX;
    let max = 60 * (FAILURES_IN_ALL_PER_SECOND_MAX as usize + told_max);
    assert!(during <= max, "{during} events in a minute");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_any_more_is_counted_and_what_may_not_be_counted_has_its_room() {
    let mut running = Running::still();
    let addresses = WAITING_MAX / 10 + 50;
    for number in 0..addresses * 10 {
        running.fail(&format!("10.0.{}.{}", number / 2_560, number / 10 % 256), number);
        if number % FAILURES_IN_ALL_PER_SECOND_MAX as usize == 99 {
            sleep(WINDOW).await;
        }
    }
    for number in 0..WAITING_IN_ALL_MAX {
        running.trail.note(None, read(number));
    }
    running.start();
    sleep(Duration::from_mins(1)).await;

    let (mut recorded, mut counted, mut reads) = (0, 0, 0);
    for event in running.events().await {
        match event {
            AccessEvent::FailuresCounted { count, .. } => counted += count,
            AccessEvent::RecordsRead { .. } => reads += 1,
            _ => recorded += 1,
        }
    }
    assert_eq!((recorded, reads), (WAITING_MAX, WAITING_IN_ALL_MAX - WAITING_MAX));
    assert_eq!(recorded + usize::try_from(counted).unwrap(), addresses * 10);
}

#[tokio::test(start_paused = true)]
async fn what_still_waits_is_written_before_the_end() {
    let mut running = Running::new();
    sleep(WINDOW).await;
    for number in 0..700 {
        running.trail.note(None, read(number));
        running.fail("203.0.113.7", number);
    }

    assert_eq!(running.stop().await, Ok(()));
    let (recorded, counted) = running.told_of("203.0.113.7").await;
    assert_eq!(recorded + counted, 700);
    assert_eq!(running.events().await.len(), 700 + usize::try_from(recorded).unwrap() + 1);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_away_is_waited_for_and_nothing_is_written_twice() {
    for fault in [Fault::Unreachable, Fault::Full, Fault::Lost, Fault::Unheard] {
        let running = Running::new();
        running.line.fail([fault; 5]);
        for number in 0..300 {
            running.trail.note(None, read(number));
            running.fail("203.0.113.7", 300 + number);
        }
        sleep(Duration::from_mins(1)).await;

        let events = running.events().await;
        let expected: BTreeSet<usize> = (0..310).collect();
        let written = numbers(&events);
        assert_eq!(written.iter().copied().collect::<BTreeSet<_>>(), expected, "{fault:?}");
        assert_eq!(written.len(), expected.len(), "{fault:?}");
        assert_eq!(running.told_of("203.0.113.7").await, (10, 290), "{fault:?}");
    }
}

/// The end comes while an entry is on its way: it is written once, and so is what comes after it.
#[tokio::test(start_paused = true)]
async fn an_entry_that_the_end_meets_half_way_is_written_once() {
    for fault in [Fault::Unreachable, Fault::Lost, Fault::Unheard] {
        let mut running = Running::new();
        running.line.fail([fault; 3]);
        for number in 0..300 {
            running.trail.note(None, read(number));
        }
        sleep(REST + Duration::from_millis(150)).await;

        assert_eq!(running.stop().await, Ok(()), "{fault:?}");
        assert_eq!(numbers(&running.events().await), (0..300).collect::<Vec<_>>(), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_stays_away_does_not_hold_up_the_end() {
    let mut running = Running::new();
    running.line.fail([Fault::Unreachable; 100]);
    running.trail.note(None, read(1));
    sleep(WINDOW).await;
    let began = Instant::now();

    assert_eq!(running.stop().await, Ok(()));
    assert_eq!(began.elapsed(), STOP_PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_does_not_pass_ends_it() {
    let mut running = Running::new();
    running.line.fail([Fault::Damaged]);
    running.trail.note(None, read(1));

    let ended = running.task.take().unwrap().await.unwrap();
    assert!(matches!(ended, Err(LogError::Damaged { .. })), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_recorded_is_durable_when_that_is_said() {
    let running = Running::still();
    for number in 0..3 {
        running.trail.record(read(number)).await.unwrap();
        assert_eq!(running.entries().await.len(), number + 1);
    }
    assert_eq!(running.entries().await[2].correlation_id.as_deref(), Some("2"));
    // The same again is something else that happened.
    running.trail.record(read(2)).await.unwrap();
    assert_eq!(running.entries().await.len(), 4);

    running.line.fail([Fault::Unheard, Fault::Lost]);
    running.trail.record(read(4)).await.unwrap();
    assert_eq!(running.entries().await.len(), 5);
    running.line.fail([Fault::Full]);
    assert_eq!(running.trail.record(read(5)).await, Err(LogError::Full));
}

#[tokio::test(start_paused = true)]
async fn a_key_is_told_of_once_on_each_day_on_which_it_is_used() {
    let running = Running::new();
    let (first, second) = (key("aaaaaaaa"), key("bbbbbbbb"));
    for hour in 0..30_i64 {
        let at = noon().plus(hour * 60 * 60 * SECOND);
        for _ in 0..100 {
            running.trail.used(&first, at);
        }
        if hour == 13 {
            running.trail.used(&second, at);
            // One whose clock is behind tells nothing new.
            running.trail.used(&second, at.plus(-DAY));
        }
    }
    sleep(2 * WINDOW).await;

    let hour = |hour: i64| noon().plus(hour * 60 * 60 * SECOND);
    let used = |key: &KeyId, at| AccessEvent::ApiKeyUsed { at, key: key.clone() };
    assert_eq!(
        running.events().await,
        [used(&first, hour(0)), used(&first, hour(12)), used(&second, hour(13))]
    );
}

#[tokio::test(start_paused = true)]
async fn a_use_for_which_there_is_no_room_is_told_of_at_the_next() {
    let mut running = Running::still();
    for number in 0..WAITING_IN_ALL_MAX {
        running.trail.note(None, read(number));
    }
    running.trail.used(&key("aaaaaaaa"), noon());
    running.start();
    sleep(Duration::from_mins(1)).await;
    running.trail.used(&key("aaaaaaaa"), noon());
    sleep(WINDOW).await;

    let events = running.events().await;
    assert_eq!(events.len(), WAITING_IN_ALL_MAX + 1);
    assert!(matches!(events.last(), Some(AccessEvent::ApiKeyUsed { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However fast, from wherever, and however the log fares: what is recorded and what is counted
    /// of an address is all that came from it, and no more than so much of a second is recorded.
    #[test]
    fn what_came_is_what_is_told(
        bursts in prop::collection::vec((0..3_000_u64, 0..4_u8, 0..40_usize), 1..40),
        faults in prop::collection::vec(0..3_u8, 0..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut running = Running::new();
            running.line.fail(faults.iter().map(|fault| match fault {
                0 => Fault::Unreachable,
                1 => Fault::Unheard,
                _ => Fault::None,
            }));
            let (mut came, mut number) = (BTreeMap::<u8, u64>::new(), 0);
            for (pause, address, count) in &bursts {
                sleep(Duration::from_millis(*pause)).await;
                for _ in 0..*count {
                    running.fail(&format!("203.0.113.{address}"), number);
                    number += 1;
                }
                *came.entry(*address).or_default() += *count as u64;
            }
            sleep(Duration::from_mins(2)).await;
            running.stop().await.unwrap();

            for (address, came) in came {
                let address = format!("203.0.113.{address}");
                let (recorded, counted) = running.told_of(&address).await;
                prop_assert_eq!(recorded + counted, came);
                let mut at = Vec::new();
                for event in running.events().await {
                    let AccessEvent::AuthenticationFailed { at: then, address: of, .. } = event
                    else {
                        continue;
                    };
                    if of.to_string() == address {
                        at.push(then);
                    }
                }
                // Two windows meet in a second at the most.
                let max = 2 * FAILURES_PER_SECOND_MAX as usize;
                for pair in at.windows(max + 1) {
                    prop_assert!(pair[max].since(pair[0]) >= SECOND);
                }
            }
            let numbers = numbers(&running.events().await);
            prop_assert!(numbers.is_sorted());
            Ok(())
        })?;
    }
}
