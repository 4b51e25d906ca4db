//! Real NATS servers for tests: one, or a cluster of three, on loopback ports that are theirs as long
//! as the test runs, also while a server is down. They end with the test.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{self, Instant};

/// How long a server may take until it is ready. Past it the test fails.
const READY_WAIT: Duration = Duration::from_mins(1);
const READY_POLL: Duration = Duration::from_millis(20);
/// One question whether a server is ready.
const ASK_WAIT: Duration = Duration::from_secs(2);
/// How often a server is started with other ports, when somebody was quicker to take them.
const STARTS_MAX: usize = 5;

/// When a server has what it acknowledges on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncInterval {
    /// Before it acknowledges.
    Always,
    /// Every two minutes: what a server does that nobody told otherwise.
    Ordinary,
}

/// How servers are started.
#[derive(Debug, Clone)]
pub struct Settings {
    pub sync_interval: SyncInterval,
    /// Lines of their configuration files beside ours, such as accounts and users.
    pub lines: String,
    /// User and password of the tests themselves, where those lines ask for one.
    pub user: Option<(String, String)>,
    /// The words that start another program which becomes the server: one that enters a namespace.
    pub runner: Vec<String>,
    /// Where messages are kept, in a folder for each server; in one of the test's own when absent.
    pub store: Option<PathBuf>,
    /// How many bytes of messages a server keeps; all that its disk takes when absent.
    pub store_bytes: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sync_interval: SyncInterval::Always,
            lines: String::new(),
            user: None,
            runner: Vec::new(),
            store: None,
            store_bytes: None,
        }
    }
}

/// Servers that know each other, numbered from zero.
pub struct Cluster {
    nodes: Vec<Node>,
    user: Option<(String, String)>,
    /// What they keep goes with it, unless they were told to keep it elsewhere.
    _folder: TempDir,
}

/// One server, which may be down.
struct Node {
    configuration: PathBuf,
    runner: Vec<String>,
    store: PathBuf,
    log: PathBuf,
    client: u16,
    monitor: u16,
    child: Option<Child>,
}

/// Returns the binary: that of the environment, else the one that `tests/run` has installed. Where
/// there is none the test does not run, and says so; under `ENTASIS_TEST_REQUIRE=1` that is a failure.
pub fn binary() -> Option<PathBuf> {
    let named = std::env::var_os("ENTASIS_NATS_SERVER").map(PathBuf::from);
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/bin/nats-server");
    let binary = named.or(Some(tools)).filter(|binary| binary.is_file());
    if binary.is_none() {
        let required = std::env::var_os("ENTASIS_TEST_REQUIRE").is_some_and(|value| value == "1");
        assert!(!required, "nats-server is missing; tests/run installs it");
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let line = format!("not run: {test}: nats-server is missing; tests/run installs it\n");
        // Not by a macro, whose output the harness hides while a test passes.
        io::Write::write_all(&mut io::stderr(), line.as_bytes()).expect("stderr is open");
    }
    binary
}

impl Cluster {
    /// Starts one server and waits until it is ready; `None` where there is no binary.
    pub async fn single(settings: Settings) -> Option<Self> {
        Self::start(1, &settings).await
    }

    /// Starts three and waits until they have found each other; `None` where there is no binary.
    pub async fn three(settings: Settings) -> Option<Self> {
        Self::start(3, &settings).await
    }

    async fn start(size: usize, settings: &Settings) -> Option<Self> {
        let binary = binary()?;
        for _ in 1..STARTS_MAX {
            let mut cluster = Self::prepare(size, settings);
            for node in &mut cluster.nodes {
                node.run(&binary);
            }
            if cluster.ready().await {
                return Some(cluster);
            }
        }
        panic!("the NATS servers did not start, {STARTS_MAX} times");
    }

    fn prepare(size: usize, settings: &Settings) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let routes: Vec<u16> = (0..size).map(|_| free_port()).collect();
        let node = |number: usize, route: &u16| {
            let named = |what: &str| folder.path().join(format!("n{number}.{what}"));
            let node = Node {
                configuration: named("conf"),
                runner: settings.runner.clone(),
                store: match &settings.store {
                    Some(store) => store.join(format!("n{number}")),
                    None => named("store"),
                },
                log: named("log"),
                client: free_port(),
                monitor: free_port(),
                child: None,
            };
            std::fs::write(&node.configuration, node.lines(number, *route, &routes, settings))
                .expect("a temporary folder that takes a file");
            node
        };
        let nodes = routes.iter().enumerate().map(|(number, route)| node(number, route)).collect();
        Self { nodes, user: settings.user.clone(), _folder: folder }
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Returns where clients connect: all servers, with commas between them.
    pub fn urls(&self) -> String {
        (0..self.nodes.len()).map(|number| self.url(number)).collect::<Vec<_>>().join(",")
    }

    /// Returns where clients connect to one server.
    pub fn url(&self, number: usize) -> String {
        format!("nats://127.0.0.1:{}", self.node(number).client)
    }

    /// Returns where one server tells how it fares, over HTTP.
    pub fn monitor(&self, number: usize) -> String {
        format!("http://127.0.0.1:{}", self.node(number).monitor)
    }

    /// Returns the process of a server; `None` while it is down.
    pub fn pid(&self, number: usize) -> Option<u32> {
        self.node(number).child.as_ref().and_then(Child::id)
    }

    /// Returns the folder in which a server keeps its messages.
    pub fn store(&self, number: usize) -> &Path {
        &self.node(number).store
    }

    /// Returns what a server has said so far.
    pub fn said(&self, number: usize) -> String {
        std::fs::read_to_string(&self.node(number).log).unwrap_or_default()
    }

    /// Returns a client of all servers, which connects again for ever.
    pub async fn client(&self) -> async_nats::Client {
        self.connect(&self.urls()).await
    }

    /// Returns a client of one server only.
    pub async fn client_of(&self, number: usize) -> async_nats::Client {
        self.connect(&self.url(number)).await
    }

    async fn connect(&self, urls: &str) -> async_nats::Client {
        let mut options = async_nats::ConnectOptions::new()
            .ping_interval(Duration::from_secs(1))
            .reconnect_delay_callback(|_| Duration::from_millis(50));
        if let Some((user, password)) = &self.user {
            options = options.user_and_password(user.clone(), password.clone());
        }
        let servers: Vec<async_nats::ServerAddr> =
            urls.split(',').map(|url| url.parse().expect("a URL of ours")).collect();
        options.connect(servers).await.expect("a server that is ready")
    }

    /// Kills a server as a loss of its machine does, and waits until it is gone.
    pub async fn kill9(&mut self, number: usize) {
        let node = self.node_mut(number);
        if let Some(mut child) = node.child.take() {
            child.kill().await.expect("a process of our own can be killed");
        }
    }

    /// Asks a server to end, and waits until it has.
    pub async fn stop(&mut self, number: usize) {
        self.signal(number, "TERM").await;
        if let Some(mut child) = self.node_mut(number).child.take() {
            child.wait().await.expect("a process of our own ends");
        }
    }

    /// Lets a server stand still: it answers nothing, and its connections stay.
    pub async fn stop_signal(&self, number: usize) {
        self.signal(number, "STOP").await;
    }

    /// Lets a server that stands still go on.
    pub async fn cont(&self, number: usize) {
        self.signal(number, "CONT").await;
    }

    async fn signal(&self, number: usize, signal: &str) {
        let pid = self.pid(number).expect("a server that runs");
        let status = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status();
        assert!(status.await.expect("kill is there").success(), "{signal} for {pid}");
    }

    /// Starts a server that is down, on the same ports and with what it had kept; does not wait.
    pub fn start_again(&mut self, number: usize) {
        let binary = binary().expect("it was there before");
        self.node_mut(number).run(&binary);
    }

    /// Starts a server that is down and waits until all that run are ready.
    pub async fn restart(&mut self, number: usize) {
        self.start_again(number);
        assert!(self.ready().await, "server {number} ended again: {}", self.said(number));
    }

    /// Waits until all servers that run are ready; `false` when one has ended instead.
    pub async fn ready(&mut self) -> bool {
        let deadline = Instant::now() + READY_WAIT;
        for node in &mut self.nodes {
            let Some(child) = &mut node.child else { continue };
            while !is_ready(node.monitor).await {
                if child.try_wait().expect("a process of our own").is_some() {
                    return false;
                }
                assert!(Instant::now() < deadline, "a NATS server is not ready in {READY_WAIT:?}");
                time::sleep(READY_POLL).await;
            }
        }
        true
    }

    fn node(&self, number: usize) -> &Node {
        self.nodes.get(number).expect("a server of this cluster")
    }

    fn node_mut(&mut self, number: usize) -> &mut Node {
        self.nodes.get_mut(number).expect("a server of this cluster")
    }
}

impl Node {
    fn lines(&self, number: usize, route: u16, routes: &[u16], settings: &Settings) -> String {
        let sync_interval = match settings.sync_interval {
            SyncInterval::Always => "sync_interval: always",
            SyncInterval::Ordinary => "sync_interval: 2m",
        };
        let cluster = if routes.len() > 1 {
            let urls: Vec<_> =
                routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
            format!(
                "cluster {{ name: test, listen: \"127.0.0.1:{route}\", no_advertise: true, \
                 routes: [{}] }}\n",
                urls.join(", ")
            )
        } else {
            String::new()
        };
        let limit =
            settings.store_bytes.map(|bytes| format!(", max_file: {bytes}")).unwrap_or_default();
        format!(
            "server_name: n{number}\nlisten: \"127.0.0.1:{}\"\nhttp: \"127.0.0.1:{}\"\n\
             jetstream {{ store_dir: \"{}\", {sync_interval}{limit} }}\nlog_file: \"{}\"\n{cluster}{}\n",
            self.client,
            self.monitor,
            self.store.display(),
            self.log.display(),
            settings.lines
        )
    }

    fn run(&mut self, binary: &Path) {
        let mut command = match self.runner.as_slice() {
            [] => Command::new(binary),
            [program, words @ ..] => {
                let mut command = Command::new(program);
                command.args(words).arg(binary);
                command
            }
        };
        command.arg("-c").arg(&self.configuration);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.kill_on_drop(true).spawn().expect("nats-server starts"));
    }
}

async fn is_ready(monitor: u16) -> bool {
    let asked = time::timeout(ASK_WAIT, get(monitor, "/healthz")).await;
    asked.is_ok_and(|answer| answer.is_ok_and(|text| text.starts_with("HTTP/1.1 200")))
}

async fn get(port: u16, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

/// Returns a port that nobody has. They lie below those that the system hands out by itself, so that
/// no connection of anybody takes one while its server is down.
fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const PORTS: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Tests run in several processes at once: each begins elsewhere.
    let first = u16::try_from(u64::from(std::process::id()) * 61 % u64::from(PORTS));
    let first = first.expect("less than the number of ports");
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) % PORTS;
        let port = FIRST + first.wrapping_add(number) % PORTS;
        if TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok() {
            return port;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_has_its_place_again_after_a_restart() {
        for size in [1, 3] {
            let Some(mut cluster) = Cluster::start(size, &Settings::default()).await else {
                return;
            };
            let (url, pid) = (cluster.url(0), cluster.pid(0));
            let client = cluster.client_of(0).await;
            assert_eq!(cluster.len(), size);

            cluster.kill9(0).await;
            assert_eq!(cluster.pid(0), None);
            cluster.restart(0).await;
            cluster.stop_signal(0).await;
            cluster.cont(0).await;

            assert!(cluster.pid(0) != pid && cluster.url(0) == url);
            time::timeout(READY_WAIT, client.flush()).await.unwrap().unwrap();
            cluster.stop(0).await;
        }
    }
}
