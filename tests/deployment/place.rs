//! The deployment without containers: the real programs, with the words, the variables and the files
//! of docker-compose.yml. Only where things are is another: every service is on a loopback port of
//! its own, and its mounts are where they are on this machine.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::told::{engine_of, filled, mounts, secret, told, words};
use crate::canaries;
use crate::house::{self, House, folder};
use crate::tools::{project, tool};

/// Time after which a test fails rather than wait.
const START_MAX: Duration = Duration::from_mins(1);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The user of a database that refuses to run as root: `nobody`, and its group.
const NOBODY: (u32, u32) = (65_534, 65_534);

/// Where services listen in their containers.
const PORTS: [(&str, u16); 14] = [
    ("n1", 4222),
    ("n1", 6222),
    ("n1", 8222),
    ("n2", 4222),
    ("n2", 6222),
    ("n2", 8222),
    ("n3", 4222),
    ("n3", 6222),
    ("n3", 8222),
    ("postgres", 5432),
    ("e1", 9464),
    ("e2", 9464),
    ("proxy", 8443),
    ("grafana", 3000),
];

/// The brokers, by the names of their services.
pub(crate) const BROKERS: [&str; 3] = ["n1", "n2", "n3"];

/// The services that run, and what the files say.
pub(crate) struct Place {
    told: Value,
    ports: BTreeMap<(&'static str, u16), u16>,
    /// Of everything that services write.
    folder: TempDir,
    services: BTreeMap<&'static str, Service>,
}

struct Service {
    child: Child,
    log: PathBuf,
}

/// An engine that runs.
pub(crate) struct Engine {
    pub(crate) house: House,
    _folder: TempDir,
}

impl Place {
    /// Reads the files, and finds a port for each service; `None` where a program is missing.
    pub(crate) fn new() -> Option<Self> {
        for name in ["nats-server", "postgres", "initdb", "psql", "caddy"] {
            tool(name)?;
        }
        Self::of_files()
    }

    /// The same for the house on KurrentDB, which is on this local port; nothing else has to be there.
    pub(crate) fn on_kurrentdb(port: u16) -> Option<Self> {
        let mut place = Self::of_files()?;
        place.ports.insert(("kurrent", 2113), port);
        Some(place)
    }

    fn of_files() -> Option<Self> {
        // What is recorded must not depend on a venue.
        let variables = filled().replace("ENTASIS_FEED=binance", "ENTASIS_FEED=simulated\n#");
        for name in variables.lines().filter_map(|line| line.split_once('=')) {
            if name.1 == secret(name.0) {
                canaries::plant(name.1);
            }
        }
        let told = told(&variables)?;
        let ports = PORTS.into_iter().zip(free_ports(PORTS.len())).collect();
        Some(Self { told, ports, folder: folder(), services: BTreeMap::new() })
    }

    fn service(&self, name: &str) -> &Value {
        &self.told["compose"]["services"][name]
    }

    /// Returns the local port of a service's port.
    pub(crate) fn port(&self, service: &str, port: u16) -> u16 {
        let find = self.ports.iter().find(|(known, _)| **known == (service, port));
        *find.unwrap_or_else(|| panic!("{service}:{port} is no port")).1
    }

    /// Returns what a text of a service means on this machine.
    fn here(&self, service: &str, text: &str) -> String {
        let mut text = text.to_owned();
        for ((name, port), local) in &self.ports {
            let local = format!("127.0.0.1:{local}");
            if *name == service {
                // First: a local port may begin with the same digits.
                text = text.replace(&format!("127.0.0.1:{port}"), &local);
                text = text.replace(&format!("0.0.0.0:{port}"), &local);
            }
            text = text.replace(&format!("{name}:{port}"), &local);
        }
        for (from, to, _) in mounts(self.service(service)) {
            let from = match from.strip_prefix("./") {
                Some(file) => project().join(file),
                None => self.folder.path().join(from),
            };
            text = text.replace(to, from.to_str().expect("a plain path"));
        }
        text
    }

    /// Returns the variables of a service.
    fn environment(&self, service: &str) -> Vec<(String, String)> {
        let map = self.service(service)["environment"].as_object().expect("variables");
        map.iter()
            .map(|(name, value)| (name.clone(), self.here(service, value.as_str().expect("text"))))
            .collect()
    }

    /// Returns the words that a service is started with.
    fn command(&self, service: &str) -> Vec<String> {
        let words = words(&self.service(service)["command"]);
        words.into_iter().map(|word| self.here(service, word)).collect()
    }

    /// Starts a program as a service, with nothing but the service's variables, and those besides.
    fn spawn<W: AsRef<OsStr>>(
        &mut self,
        service: &'static str,
        program: &Path,
        words: &[W],
        besides: &[(&str, String)],
    ) {
        let log = self.folder.path().join(format!("{service}.log"));
        let file = std::fs::File::options().create(true).append(true).open(&log).expect("a log");
        let mut command = Command::new(program);
        command
            .args(words)
            .env_clear()
            .envs(self.environment(service))
            .envs(besides.iter().map(|(name, value)| (*name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log"))
            .stderr(file)
            .kill_on_drop(true);
        if service == "postgres" {
            as_nobody(&mut command);
        }
        let child = command.spawn().expect("a program that starts");
        self.services.insert(service, Service { child, log });
    }

    /// Starts the brokers, and returns when each says that it is well.
    pub(crate) async fn start_brokers(&mut self) {
        for name in BROKERS {
            let (program, words) = (tool("nats-server").expect("it was there"), self.command(name));
            self.spawn(name, &program, &words, &[]);
        }
        for name in BROKERS {
            let asked = words(&self.service(name)["healthcheck"]["test"]);
            let url = self.here(name, asked.last().expect("words"));
            self.until_well(name, &url).await;
        }
    }

    /// Kills a broker as a loss of its machine does.
    pub(crate) async fn kill(&mut self, broker: &str) {
        let mut service = self.services.remove(broker).expect("a broker that runs");
        service.child.kill().await.expect("a process of our own can be killed");
        canaries::keep_log(&service.log);
    }

    async fn until_well(&mut self, service: &'static str, url: &str) {
        let deadline = Instant::now() + START_MAX;
        loop {
            let answer = reqwest::get(url).await;
            if answer.as_ref().is_ok_and(|answer| answer.status() == 200) {
                return;
            }
            self.still_runs(service);
            assert!(Instant::now() < deadline, "{url}: {answer:?}\n{}", self.said(service));
            sleep(LOOK_AGAIN).await;
        }
    }

    fn still_runs(&mut self, service: &str) {
        let said = self.said(service);
        let child = &mut self.services.get_mut(service).expect("a service that runs").child;
        let ended = child.try_wait().expect("a child can be waited for");
        assert!(ended.is_none(), "{service} has ended: {ended:?}\n{said}");
    }

    fn said(&self, service: &str) -> String {
        let path = self.folder.path().join(format!("{service}.log"));
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// Makes the database and starts it, as the image does with the same words and variables.
    pub(crate) async fn start_postgres(&mut self) {
        let data = self.folder.path().join("postgres");
        let password = self.folder.path().join("superuser");
        let environment: BTreeMap<String, String> =
            self.environment("postgres").into_iter().collect();
        std::fs::write(&password, &environment["POSTGRES_PASSWORD"]).expect("a file");
        if is_root() {
            // Who it runs as must be able to look in.
            for path in [self.folder.path(), &password] {
                chown(path, Some(NOBODY.0), Some(NOBODY.1)).expect("root may give a file away");
            }
        }
        let mut initdb = Command::new(program("initdb"));
        initdb
            .args(environment["POSTGRES_INITDB_ARGS"].split(' '))
            .args(["--username=postgres", "--no-sync", "--pwfile"])
            .arg(&password)
            .arg(&data)
            .current_dir(self.folder.path())
            .env_clear();
        as_nobody(&mut initdb);
        good(initdb.output().await.expect("a program that starts"));

        let port = self.port("postgres", 5432);
        let sockets = self.folder.path().to_str().expect("a plain path").to_owned();
        // The first word is the program; what the image finds out by itself comes last.
        let mut words = self.readable(self.command("postgres").split_off(1));
        for word in [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={sockets}"),
        ] {
            words.extend(["-c".to_owned(), word]);
        }
        let data = [("PGDATA", data.display().to_string())];
        self.spawn("postgres", &program("postgres"), &words, &data);
        let deadline = Instant::now() + START_MAX;
        // The local socket alone is the superuser's.
        while !self.psql("postgres", &sockets, &["--command", "select 1"]).await.status.success() {
            self.still_runs("postgres");
            assert!(Instant::now() < deadline, "{}", self.said("postgres"));
            sleep(LOOK_AGAIN).await;
        }
        let (create, _, _) = mounts(self.service("postgres"))
            .into_iter()
            .find(|(_, to, _)| to.starts_with("/docker-entrypoint-initdb.d/"))
            .expect("what makes the database");
        let create = project().join(create);
        let create = create.to_str().expect("a plain path");
        good(self.psql("postgres", &sockets, &["--file", create]).await);
    }

    /// Returns words in which each file of the project is a copy that everybody may read: the project
    /// itself may stand where a user without rights cannot go.
    fn readable(&self, words: Vec<String>) -> Vec<String> {
        words
            .into_iter()
            .map(|word| {
                let Some((key, file)) = word.split_once('=') else { return word };
                let from = Path::new(file);
                let Some(name) = from.file_name().filter(|_| from.starts_with(project())) else {
                    return word;
                };
                let to = self.folder.path().join(name);
                std::fs::copy(from, &to).expect("a file that is mounted");
                format!("{key}={}", to.display())
            })
            .collect()
    }

    /// Runs `psql` as a user, on the folder of the local socket or on an address.
    pub(crate) async fn psql(&self, user: &str, host: &str, words: &[&str]) -> Output {
        let environment: BTreeMap<String, String> =
            self.environment("postgres").into_iter().collect();
        let password = match user {
            "postgres" => "POSTGRES_PASSWORD",
            _ => "ENTASIS_POSTGRES__PASSWORD",
        };
        let database = if user == "postgres" { "postgres" } else { "entasis" };
        Command::new(program("psql"))
            .args(["--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align"])
            .args(["--username", user, "--host", host, "--dbname", database])
            .args(["--port", &self.port("postgres", 5432).to_string()])
            .args(words)
            .env_clear()
            .env("PGPASSWORD", &environment[password])
            .envs(&environment)
            .output()
            .await
            .expect("a program that starts")
    }

    /// Makes the streams, as the service `setup` does.
    pub(crate) async fn set_up(&self) -> Output {
        let folder = folder();
        let words = self.command("setup");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = house::command(&folder, &words);
        command.envs(self.engine_environment("setup", &folder));
        timeout(START_MAX, command.output()).await.expect("words that end it").expect("a start")
    }

    /// Starts an engine, and returns when it is ready.
    pub(crate) async fn start_engine(&self, name: &str) -> Engine {
        let folder = folder();
        let environment = self.engine_environment(name, &folder);
        let variables = environment.iter().map(|(name, value)| format!("{name}={value}"));
        let runner: Vec<String> = ["env".to_owned()].into_iter().chain(variables).collect();
        let words = self.command(name);
        let words = words.iter().map(String::as_str);
        let house = House::start_under(&folder, &runner, words).await;
        Engine { house, _folder: folder }
    }

    /// Returns a token, as whoever runs the deployment gets it: by a command in an engine's container.
    pub(crate) async fn token(&self, engine: &str, account: &str, role: &str) -> String {
        let folder = folder();
        let words = ["token", "issue", "--account", account, "--role", role, "--ttl", "1h"];
        let mut command = house::command(&folder, &words);
        command.envs(self.engine_environment(engine, &folder));
        let token = good(command.output().await.expect("a start")).trim_end().to_owned();
        canaries::plant(&token);
        token
    }

    /// Returns the variables of an engine, and with them what its file says of places that are
    /// elsewhere here.
    fn engine_environment(&self, name: &str, folder: &TempDir) -> Vec<(String, String)> {
        let engine = engine_of(&self.told, name);
        let mut environment = self.environment(name);
        environment.push(("ENTASIS_DATA".to_owned(), folder.path().display().to_string()));
        let said = |at: &str| engine.pointer(at).and_then(Value::as_str);
        for (variable, at) in [
            ("ENTASIS_LOG", "/log"),
            ("ENTASIS_READ_STORE", "/read_store"),
            ("ENTASIS_METRICS__LISTEN", "/metrics/listen"),
        ] {
            // Two that do the same thing cannot tell figures at one place.
            let is_left_out = name == "setup" && at == "/metrics/listen";
            if let Some(said) = said(at).filter(|_| !is_left_out) {
                environment.push((variable.to_owned(), self.here(name, said)));
            }
        }
        let monitors = words(&engine["nats"]["monitors"]).join(" ");
        if !monitors.is_empty() {
            environment.push(("ENTASIS_NATS__MONITORS".to_owned(), self.here(name, &monitors)));
        }
        if engine["addresses"]["trusted_proxies"].is_array() {
            let proxies = ("ENTASIS_ADDRESSES__TRUSTED_PROXIES".to_owned(), "127.0.0.1".to_owned());
            environment.push(proxies);
        }
        environment
    }

    /// Starts the proxy before engines, and returns its address.
    pub(crate) fn start_proxy(&mut self, engines: [&Engine; 2]) -> String {
        let port = self.port("proxy", 8443);
        let words = self.command("proxy");
        let besides = [
            ("PROXY_BIND", "127.0.0.1".to_owned()),
            ("PROXY_PORT", port.to_string()),
            ("PROXY_ENGINES", engines.map(|engine| engine.house.host.clone()).join(" ")),
            ("XDG_CONFIG_HOME", self.folder.path().display().to_string()),
        ];
        let (program, words) = words.split_first().expect("a program");
        self.spawn("proxy", &tool(program).expect("it was there"), words, &besides);
        format!("https://localhost:{port}")
    }

    /// Returns a client that reaches the proxy by its name, whose certificate nobody knows.
    pub(crate) fn client(&self) -> reqwest::Client {
        let address = ([127, 0, 0, 1], self.port("proxy", 8443)).into();
        let client = reqwest::Client::builder()
            .resolve("localhost", address)
            .tls_danger_accept_invalid_certs(true)
            .timeout(Duration::from_secs(10));
        client.build().expect("a client")
    }

    /// Returns the words by which an engine's image is asked whether it lives, for this engine.
    pub(crate) fn image_health(engine: &Engine) -> Vec<String> {
        let dockerfile = super::told::text("Dockerfile");
        let (_, health) = dockerfile.split_once("HEALTHCHECK ").expect("a health check");
        let (_, list) = health.split_once("CMD ").expect("its words");
        let words: Vec<String> =
            serde_json::from_str(list.lines().next().expect("a line")).expect("a list of words");
        let (_, port) = engine.house.host.rsplit_once(':').expect("an address");
        words.into_iter().map(|word| word.replace("/8080", &format!("/{port}"))).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for (name, service) in &mut self.services {
            // By its number, and waited for, so that nothing writes into the folder any more.
            if service.child.start_kill().is_ok() {
                while matches!(service.child.try_wait(), Ok(None)) {
                    std::thread::yield_now();
                }
            }
            canaries::keep_log(&service.log);
            if std::thread::panicking() {
                let said = std::fs::read_to_string(&service.log).unwrap_or_default();
                eprintln!("{name} said:\n{said}");
            }
        }
    }
}

/// Returns what a command printed that ended well.
pub(crate) fn good(output: Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).expect("text")
}

/// Returns where a program of PostgreSQL really is: it looks for its files beside itself.
fn program(name: &str) -> PathBuf {
    tool(name).expect("it was there").canonicalize().expect("a link to what is there")
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0)
}

/// Lets a command run without rights, where we have all.
fn as_nobody(command: &mut Command) {
    if is_root() {
        command.uid(NOBODY.0).gid(NOBODY.1);
    }
}

/// Returns ports that nobody has now.
fn free_ports(count: usize) -> Vec<u16> {
    // All are held until all are found.
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    held.iter().map(|port| port.local_addr().expect("an address").port()).collect()
}
