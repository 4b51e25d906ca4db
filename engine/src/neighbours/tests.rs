//! Nodes that speak over a real broker.

use api::auth::token_keys::{Algorithm, TokenKeys};
use api::rules::Rules;
use async_nats::ConnectOptions;
use commands::register::Register;
use commands::register::trail::Trail;
use domain::access::Role;
use domain::name::AccountId;
use eventlog::memory::Memory;
use eventlog::nats::server::{Cluster, Settings};
use eventlog::stream::Log;
use secrecy::ExposeSecret;
use tokio::task::JoinHandle;

use super::*;
use crate::clock::Wall;

/// What never comes is a failure, not a wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node's gate, and what it says to others.
struct Node {
    gate: Arc<Gate>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Node {
    async fn start(broker: &str, name: &str) -> Self {
        let options = ConnectOptions::new()
            .ping_interval(Duration::from_millis(500))
            .reconnect_delay_callback(|_| Duration::from_millis(50));
        let client = options.connect(broker).await.unwrap();
        let neighbours = Arc::new(Neighbours::new(client, "entasis"));
        let clock: Arc<dyn Clock> = Arc::new(Wall);
        let ledger = Arc::new(Memory::new(Log::Ledger));
        let keys = TokenKeys::drawn(Algorithm::Hs256);
        let register = Register::new(ledger.clone(), clock.clone());
        let trail = Trail::new(ledger, clock.clone(), name.parse().unwrap());
        let keys = TokenKeys::read(keys.expose_secret()).unwrap();
        let gate = Gate::new(keys, Rules::default(), Arc::new(register), Arc::new(trail));
        let gate = Arc::new(gate.beside(neighbours.clone()));
        let (stop, name) = (CancellationToken::new(), name.parse().unwrap());
        let running = tokio::spawn({
            let (gate, stop) = (gate.clone(), stop.clone());
            async move { neighbours.run(name, gate, clock, stop).await }
        });
        Self { gate, stop, running }
    }

    /// Returns once the node shares its limits among so many.
    async fn among(&self, nodes: u32) {
        wait_until(|| self.gate.limits.nodes() == nodes).await;
    }

    /// Returns how many requests of an account are left of a thousand, with one more of them.
    fn left(&self, account: &AccountId) -> u32 {
        self.gate.limits.account(account, 1_000).unwrap().remaining
    }
}

async fn wait_until(is_so: impl Fn() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waited).await.expect("it is so in time");
}

fn principal() -> Principal {
    Principal {
        account: "alice".parse().unwrap(),
        role: Role::Trader,
        scopes: Role::Trader.scopes(),
        keys: ["key00001".parse().unwrap()].into(),
        token: Some("token1".parse().unwrap()),
        expires_at: Some(Wall.now().plus(1_234_567)),
    }
}

#[tokio::test]
async fn what_one_node_accepts_counts_at_the_others() {
    let Some(broker) = Cluster::single(Settings::default()).await else { return };
    let one = Node::start(&broker.url(0), "one").await;
    let other = Node::start(&broker.url(0), "other").await;
    one.among(2).await;
    other.among(2).await;
    let account: AccountId = "alice".parse().unwrap();

    for _ in 0..50 {
        assert!(one.gate.limits.account(&account, 1_000).unwrap().accepted);
    }
    // Asking takes one each time, so what is seen is how much of it the other has heard.
    let asked = std::cell::Cell::new(0);
    wait_until(|| {
        asked.set(asked.get() + 1);
        let left = other.gate.limits.account(&account, 1_000);
        left.is_ok_and(|verdict| verdict.remaining == 1_000 - 50 - asked.get())
            || left.is_err() && {
                asked.set(asked.get() - 1);
                false
            }
    })
    .await;
}

#[tokio::test]
async fn a_ticket_of_one_node_is_good_once_at_another() {
    let Some(broker) = Cluster::single(Settings::default()).await else { return };
    let one = Node::start(&broker.url(0), "one").await;
    let other = Node::start(&broker.url(0), "other").await;
    one.among(2).await;
    let (address, origin) = ("192.0.2.1".parse().unwrap(), Some("https://app.example.com"));
    let issue = || {
        let ticket = one.gate.tickets.issue(principal(), address, origin, Wall.now()).unwrap();
        ticket.text.expose_secret().to_owned()
    };
    let redeem =
        async |ticket: &str, origin| other.gate.redeem(ticket, address, origin, Wall.now()).await;

    let ticket = issue();
    let redeemed = redeem(&ticket, origin).await.unwrap();
    assert_eq!((redeemed.account, redeemed.role), (principal().account, Role::Trader));
    assert_eq!((redeemed.keys, redeemed.token), (principal().keys, principal().token));
    assert_eq!(redeem(&ticket, origin).await, None);
    assert_eq!(one.gate.redeem(&ticket, address, origin, Wall.now()).await, None);

    // Shown by a page of strangers it is used up.
    let ticket = issue();
    assert_eq!(redeem(&ticket, Some("https://evil.example.com")).await, None);
    assert_eq!(redeem(&ticket, origin).await, None);

    // Its node has gone, and with it the ticket.
    let ticket = issue();
    one.stop.cancel();
    one.running.await.unwrap();
    let began = Instant::now();
    assert_eq!(redeem(&ticket, origin).await, None);
    assert!(began.elapsed() < REDEEM_PATIENCE * 2, "{:?}", began.elapsed());
}

#[tokio::test]
async fn nodes_whose_broker_was_away_share_again_when_it_is_back() {
    let Some(mut broker) = Cluster::single(Settings::default()).await else { return };
    let one = Node::start(&broker.url(0), "one").await;
    let other = Node::start(&broker.url(0), "other").await;
    one.among(2).await;
    other.among(2).await;
    let account: AccountId = "alice".parse().unwrap();

    broker.kill9(0).await;
    one.among(1).await;
    // Alone it is exact, and waits for nobody.
    for left in (700..1_000).rev() {
        assert_eq!(one.left(&account), left);
    }
    broker.start_again(0);
    other.among(2).await;
    let heard = || match other.gate.limits.account(&account, 1_000) {
        Ok(verdict) => verdict.remaining < 700,
        Err(_) => false,
    };
    wait_until(heard).await;
}
