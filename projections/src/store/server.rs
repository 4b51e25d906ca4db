//! A real PostgreSQL for tests, on a loopback port that is its own as long as the test runs, also
//! while it is down. It ends with the test.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tempfile::TempDir;
use tokio::time::{self, Instant};

use self::template::{Template, User, as_user, run, temporary, user};

mod template;

/// How long a server may take until it answers or has ended. Past it the test fails.
const READY_WAIT: Duration = Duration::from_mins(1);
const READY_POLL: Duration = Duration::from_millis(20);
/// How often a server is started with another port, when somebody was quicker to take it.
const STARTS_MAX: usize = 5;
/// How long a server may take to end with its test, before it is killed.
const END_WAIT: Duration = Duration::from_secs(5);

/// Who may do anything in a server, and whose the databases are that [`Server::database`] makes. Both
/// have the same password.
const MASTER: &str = "postgres";
const OWNER: &str = "entasis";
pub const PASSWORD: &str = "canary-of-postgres";

/// How a server is started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether it writes through to the disk before it answers, as it does when nobody says
    /// otherwise. Tests that kill no machine are quicker without.
    pub fsync: bool,
}

/// One server, which may be down.
pub struct Server {
    binaries: PathBuf,
    settings: Settings,
    port: u16,
    user: Option<User>,
    child: Mutex<Option<Child>>,
    databases: AtomicU32,
    folder: TempDir,
    /// What its folder was copied from: as long as one server is there, the next is quick.
    _template: Arc<Template>,
}

/// Returns the folder of the binaries: that of the environment, else the one to which `tests/run` has
/// linked. Where there is none the test does not run, and says so; under `ENTASIS_TEST_REQUIRE=1` that
/// is a failure.
pub fn binaries() -> Option<PathBuf> {
    let named = std::env::var_os("ENTASIS_POSTGRES").map(PathBuf::from);
    let linked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/bin/postgres");
    // The server looks for its own files beside its binary, and another user may not see ours.
    let linked = || linked.canonicalize().ok()?.parent().map(Path::to_owned);
    let there = |folder: &PathBuf| {
        ["initdb", "postgres"].iter().all(|binary| folder.join(binary).is_file())
    };
    let folder = named.or_else(linked).filter(there);
    if folder.is_none() {
        let required = std::env::var_os("ENTASIS_TEST_REQUIRE").is_some_and(|value| value == "1");
        assert!(!required, "PostgreSQL is missing; tests/run installs it");
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let line = format!("not run: {test}: PostgreSQL is missing; tests/run installs it\n");
        // Not by a macro, whose output the harness hides while a test passes.
        Write::write_all(&mut io::stderr(), line.as_bytes()).expect("stderr is open");
    }
    folder
}

impl Server {
    /// Starts a server and waits until it answers; `None` where there are no binaries.
    pub async fn start(settings: Settings) -> Option<Self> {
        let binaries = binaries()?;
        let user = user();
        let template = Template::get(&binaries, user);
        for _ in 0..STARTS_MAX {
            let folder = temporary(user);
            run(Command::new("cp").arg("-a").arg(template.data()).arg(folder.path().join("data")));
            let server = Self {
                binaries: binaries.clone(),
                settings,
                port: free_port(),
                user,
                child: Mutex::default(),
                databases: AtomicU32::new(0),
                folder,
                _template: template.clone(),
            };
            server.start_again();
            if server.ready().await {
                server
                    .sql("postgres", &format!("CREATE ROLE {OWNER} LOGIN PASSWORD '{PASSWORD}'"))
                    .await;
                return Some(server);
            }
        }
        panic!("PostgreSQL did not start, {STARTS_MAX} times");
    }

    /// Returns the one that tests of a process share, each with databases of its own. Nobody stops it.
    pub async fn shared() -> Option<Arc<Self>> {
        static SHARED: tokio::sync::Mutex<Weak<Server>> =
            tokio::sync::Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let server = Arc::new(Self::start(Settings::default()).await?);
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    /// Makes an empty database; returns its URL, with user and password.
    pub async fn database(&self) -> String {
        let name = format!("read_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} OWNER {OWNER}")).await;
        self.url(OWNER, &name)
    }

    /// Runs a statement in a database, as the one who may do anything.
    pub async fn sql(&self, database: &str, statement: &str) {
        let options: PgConnectOptions = self.url(MASTER, database).parse().expect("a URL of ours");
        let mut connection =
            options.disable_statement_logging().connect().await.expect("a server that answers");
        let statement = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
        statement.execute(&mut connection).await.expect("a statement that is right");
        connection.close().await.expect("a connection that can be closed");
    }

    /// Ends every connection to a database, whatever is being done over it.
    pub async fn cut_connections(&self, database: &str) {
        self.sql(
            "postgres",
            &format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
            ),
        )
        .await;
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the server's process; `None` while it is down.
    pub fn pid(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    /// Returns what it has said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Kills it as a loss of its machine does, and waits until it is gone.
    pub fn kill9(&self) {
        if let Some(mut child) = self.child().take() {
            child.kill().expect("a process of our own can be killed");
            child.wait().expect("a process of our own ends");
        }
    }

    /// Asks it to end without waiting for its clients, and waits until it has.
    pub async fn stop(&self) {
        signal("INT", self.pid().expect("a server that runs"));
        let deadline = Instant::now() + READY_WAIT;
        while self.pid().is_some() {
            let ended = self
                .child()
                .as_mut()
                .is_none_or(|child| child.try_wait().expect("a process of our own").is_some());
            if ended {
                self.child().take();
                return;
            }
            assert!(Instant::now() < deadline, "PostgreSQL has not ended in {READY_WAIT:?}");
            time::sleep(READY_POLL).await;
        }
    }

    /// Lets it stand still: it answers nothing, and its connections stay.
    pub fn stop_signal(&self) {
        for pid in self.processes() {
            signal("STOP", pid);
        }
    }

    /// Lets a server that stands still go on.
    pub fn cont(&self) {
        for pid in self.processes() {
            signal("CONT", pid);
        }
    }

    /// Starts it when it is down, on the same port and with what it had kept; does not wait.
    pub fn start_again(&self) {
        let log = File::options().create(true).append(true).open(self.log());
        let mut command = as_user(Command::new(self.binaries.join("postgres")), self.user);
        command.arg("-D").arg(self.folder.path().join("data"));
        for setting in [
            format!("port={}", self.port),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", self.folder.path().display()),
            format!("fsync={}", if self.settings.fsync { "on" } else { "off" }),
            "max_connections=200".to_owned(),
            "shared_buffers=16MB".to_owned(),
        ] {
            command.arg("-c").arg(setting);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(log.expect("a temporary folder that takes a file"));
        let child = command.current_dir(self.folder.path()).spawn().expect("postgres starts");
        *self.child() = Some(child);
    }

    /// Starts it when it is down, and waits until it answers.
    pub async fn restart(&self) {
        self.start_again();
        assert!(self.ready().await, "PostgreSQL ended again: {}", self.said());
    }

    /// Waits until it answers; false when it has ended instead.
    pub async fn ready(&self) -> bool {
        let deadline = Instant::now() + READY_WAIT;
        let options: PgConnectOptions =
            self.url(MASTER, "postgres").parse().expect("a URL of ours");
        loop {
            if let Ok(connection) = options.clone().disable_statement_logging().connect().await {
                return connection.close().await.is_ok();
            }
            let running = self.child().as_mut().map(Child::try_wait);
            if !matches!(running, Some(Ok(None))) {
                self.child().take();
                return false;
            }
            assert!(Instant::now() < deadline, "PostgreSQL is not ready: {}", self.said());
            time::sleep(READY_POLL).await;
        }
    }

    fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}:{PASSWORD}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Returns the server's process and those that it has begun, one for each client.
    fn processes(&self) -> Vec<u32> {
        let Some(first) = self.pid() else { return Vec::new() };
        let entries = fs::read_dir("/proc").expect("the processes of this machine");
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let began = |pid: &u32| {
            let told = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // After the name, which may hold anything: the state, and who began it.
            let parent = told.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
            parent.and_then(|parent| parent.parse::<u32>().ok()) == Some(first)
        };
        std::iter::once(first).chain(pids.filter(began)).collect()
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that stands still would not hear of its end.
        self.cont();
        let Some(mut child) = self.child().take() else { return };
        signal("QUIT", child.id());
        let deadline = std::time::Instant::now() + END_WAIT;
        while std::time::Instant::now() < deadline {
            match child.try_wait() {
                Ok(None) => std::thread::sleep(READY_POLL),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        drop(child.kill());
        drop(child.wait());
    }
}

fn signal(signal: &str, pid: u32) {
    // A client's process may have ended meanwhile.
    drop(Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).output());
}

/// Returns a port that nobody has. They lie below those that the system hands out by itself, so that
/// no connection of anybody takes one while its server is down.
fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const PORTS: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Tests run in several processes at once: each begins elsewhere.
    let first = u16::try_from(u64::from(std::process::id()) * 67 % u64::from(PORTS));
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
    async fn a_server_has_its_place_and_its_rows_again_after_a_restart() {
        let Some(server) = Server::start(Settings { fsync: true }).await else { return };
        let url = server.database().await;
        server.sql("read_0", "CREATE TABLE songs (name TEXT)").await;
        server.kill9();
        assert_eq!(server.pid(), None);
        server.restart().await;
        server.stop_signal();
        server.cont();
        server.sql("read_0", "INSERT INTO songs VALUES ('a song')").await;
        server.stop().await;
        server.restart().await;

        let options: PgConnectOptions = url.parse().unwrap();
        let mut connection = options.connect().await.unwrap();
        server.sql("read_0", "GRANT SELECT ON songs TO entasis").await;
        let songs: Vec<(String,)> =
            sqlx::query_as("SELECT name FROM songs").fetch_all(&mut connection).await.unwrap();
        assert_eq!(songs, [("a song".to_owned(),)]);
    }
}
