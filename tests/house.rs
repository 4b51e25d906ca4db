//! The real `entasis`, started in a folder of its own, asked over HTTP, stopped or killed.
//!
//! ```text
//! let folder = folder();
//! let house = House::start(&folder, ["demo"]).await;
//! let price = house.until("/api/v1/market/price/BTC-USDT", |answer| answer.status == 200).await;
//! house.stop().await;                       // or kill(), or nothing: dropping it kills it
//! let house = House::start(&folder, ["demo"]).await;          // on the same data
//! ```

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use reqwest::header::AUTHORIZATION;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout};

use crate::canaries;

/// Times after which a test fails rather than wait. Generous: the machine may be busy compiling.
const START_MAX: Duration = Duration::from_mins(1);
const STOP_MAX: Duration = Duration::from_secs(30);
const UNTIL_MAX: Duration = Duration::from_mins(1);

/// Pause between two looks at something that is not yet so.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What a house is asked in a minute by one who waits for it, and more: those that are about limits
/// set their own, or are a `demo`, which takes none from its environment.
const REQUESTS_MAX: (&str, &str) = ("ENTASIS_LIMITS__REQUESTS_MAX", "1000000");

/// What the house said on stderr; in the folder it runs in.
const LOG: &str = "stderr.log";

/// Returns a new folder for a house; it goes when the test ends.
pub(crate) fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

/// A running `entasis`. Dropping it kills it; where a test fails, it shows what the house said.
pub(crate) struct House {
    child: Child,
    /// Kept open: a house whose stdout is closed could not print any more.
    _stdout: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
    /// The folder it was started in, and the words that say where in it its data is.
    folder: PathBuf,
    place: [String; 2],
    /// `http`, or `https` where it has a certificate.
    pub(crate) scheme: String,
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
    client: reqwest::Client,
    trader: OnceCell<String>,
    operator: OnceCell<String>,
}

/// An answer with its body as JSON; `null` where it is none.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl House {
    /// Starts `entasis` with these words, in this folder and on a free port. Returns when it is ready.
    pub(crate) async fn start<'a>(
        folder: &TempDir,
        words: impl IntoIterator<Item = &'a str>,
    ) -> House {
        Self::start_under(folder, &[], words).await
    }

    /// The same, and it logs as much as `RUST_LOG` says.
    pub(crate) async fn start_talking<'a>(
        folder: &TempDir,
        words: impl IntoIterator<Item = &'a str>,
        log: &str,
    ) -> House {
        let runner = ["env".to_owned(), format!("RUST_LOG={log}")];
        Self::start_under(folder, &runner, words).await
    }

    /// The same by the words of another program, whose process becomes the house: one that traces
    /// it, or that enters a namespace first.
    pub(crate) async fn start_under<'a>(
        folder: &TempDir,
        runner: &[String],
        words: impl IntoIterator<Item = &'a str>,
    ) -> House {
        let log = folder.path().join(LOG);
        let words: Vec<&str> = words.into_iter().collect();
        let place = place(&words);
        let mut child = entasis_under(folder, runner, words)
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(&log).expect("a log file"))
            .spawn()
            .expect("the binary that was just built starts");

        let stdout = child.stdout.take().expect("stdout is piped");
        let mut stdout = BufReader::new(stdout).lines();
        let first = timeout(START_MAX, stdout.next_line()).await;
        let Ok(Ok(Some(line))) = &first else {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            panic!("the house did not start: {first:?}\n{said}");
        };
        let Some((scheme, host)) =
            line.strip_prefix("listening on ").and_then(|url| url.split_once("://"))
        else {
            panic!("the first line on stdout is {line:?}");
        };
        let (scheme, host) = (scheme.to_owned(), host.to_owned());
        // Whatever certificate it has made itself; a stranger is not asked.
        let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true);
        let client = client.build().expect("a client");
        let house = House {
            child,
            _stdout: stdout,
            log,
            folder: folder.path().to_owned(),
            place,
            scheme,
            host,
            client,
            trader: OnceCell::new(),
            operator: OnceCell::new(),
        };
        // It listens before it has caught up with its logs.
        house.until("/readyz", |answer| answer.status == 200).await;
        house
    }

    /// Returns the answer to `GET path`.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(path).await.unwrap_or_else(|error| panic!("GET {path}: {error:?}"))
    }

    /// Asks again and again until the answer is as wished, and returns that answer. Fails when it
    /// takes too long.
    pub(crate) async fn until(&self, path: &str, wished: impl Fn(&Answer) -> bool) -> Answer {
        let deadline = Instant::now() + UNTIL_MAX;
        loop {
            let answer = self.ask(path).await;
            if answer.as_ref().is_ok_and(&wished) {
                return answer.expect("an answer was judged");
            }
            assert!(Instant::now() < deadline, "GET {path} is still {answer:?}");
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Returns a new token of a principal in a role, as the one who runs the house gets it.
    pub(crate) async fn token(&self, account: &str, role: &str) -> String {
        let [flag, place] = &self.place;
        let words =
            ["token", "issue", "--account", account, "--role", role, "--ttl", "24h", flag, place];
        secret(&entasis_in(&self.folder, &[], words).output().await.expect("a start"))
    }

    /// Returns a new API key of a principal in a role, made beside the house that runs.
    pub(crate) async fn api_key(&self, account: &str, role: &str) -> String {
        let [flag, place] = &self.place;
        let words = ["apikey", "create", "--account", account, "--role", role, flag, place];
        secret(&entasis_in(&self.folder, &[], words).output().await.expect("a start"))
    }

    /// Returns the token that goes with a path: the operator's for what operators do, else that of
    /// the holder of the account `demo`.
    pub(crate) async fn token_for(&self, path: &str) -> &str {
        if path.contains("/operator/") {
            self.operator.get_or_init(|| self.token("operator", "operator")).await
        } else {
            self.trader.get_or_init(|| self.token("demo", "trader")).await
        }
    }

    /// Returns the answer to `POST path` with a body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.client.post(self.url(path)).json(body), path)
            .await
            .unwrap_or_else(|error| panic!("POST {path}: {error:?}"))
    }

    /// Returns the answer to `PUT path` with a body.
    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.client.put(self.url(path)).json(body), path)
            .await
            .unwrap_or_else(|error| panic!("PUT {path}: {error:?}"))
    }

    async fn ask(&self, path: &str) -> Result<Answer, reqwest::Error> {
        self.send(self.client.get(self.url(path)), path).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.host)
    }

    async fn send(
        &self,
        mut request: reqwest::RequestBuilder,
        path: &str,
    ) -> Result<Answer, reqwest::Error> {
        if path.contains("/v1/") {
            let token = self.token_for(path).await;
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let body = serde_json::from_slice(&response.bytes().await?).unwrap_or_default();
        Ok(Answer { status, body })
    }

    /// Returns the number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("a child that was not waited for has an id")
    }

    /// Returns all that it has said on stderr: its log.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks the house to stop (SIGTERM), waits for it, and returns how it ended.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        let id = self.id();
        // The shell's own `kill` is everywhere; another crate for one system call is not worth it.
        let kill = Command::new("sh").args(["-c", &format!("kill -TERM {id}")]).status().await;
        assert!(kill.is_ok_and(|kill| kill.success()), "the house was gone before it was stopped");
        timeout(STOP_MAX, self.child.wait())
            .await
            .expect("a house that is asked to stop, stops")
            .expect("a child can be waited for")
    }

    /// Waits for a house that ends by itself, and returns how.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        let ended = timeout(STOP_MAX, self.child.wait()).await;
        ended.expect("a house that ends by itself").expect("a child can be waited for")
    }

    /// Kills the house in the middle of whatever it does (SIGKILL).
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("a running house can be killed");
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // Waited for, so that another house can open the same folder at once.
        if self.child.start_kill().is_ok() {
            while matches!(self.child.try_wait(), Ok(None)) {
                std::thread::yield_now();
            }
        }
        canaries::keep_log(&self.log);
        if std::thread::panicking() {
            eprintln!("the house said:\n{}", self.said());
        }
    }
}

/// Returns what a command has printed that is nobody else's business; no log may hold it.
fn secret(printed: &Output) -> String {
    let said = String::from_utf8_lossy(&printed.stderr);
    assert!(printed.status.success(), "{said}");
    let text = str::from_utf8(&printed.stdout).expect("text").trim_end();
    canaries::plant(text);
    text.to_owned()
}

/// Runs `entasis` with words that end it by themselves, in this folder; returns all of its end.
pub(crate) async fn ended(folder: &TempDir, words: &[&str]) -> Output {
    let run = entasis(folder, words.iter().copied()).output();
    timeout(START_MAX, run).await.expect("words that end it").expect("a start")
}

/// The same; returns its exit code and what it said on stderr.
pub(crate) async fn run(folder: &TempDir, words: &[&str]) -> (Option<i32>, String) {
    let output = ended(folder, words).await;
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The same with words that end it well; returns what it said on stdout.
pub(crate) async fn output(folder: &TempDir, words: &[&str]) -> String {
    let output = ended(folder, words).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

/// Starts `entasis` with words that make it print on; returns its lines.
pub(crate) fn lines(folder: &TempDir, words: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = entasis(folder, words.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary that was just built starts");
    let stdout = child.stdout.take().expect("stdout is piped");
    (child, BufReader::new(stdout).lines())
}

/// Returns `entasis` with these words, ready to start in this folder; it ends with its value.
pub(crate) fn command(folder: &TempDir, words: &[&str]) -> Command {
    let mut command = entasis(folder, words.iter().copied());
    command.kill_on_drop(true);
    command
}

/// Returns `entasis` with these words, ready to start in this folder, and with nothing in its
/// environment that could configure it or its log.
fn entasis<'a>(folder: &TempDir, words: impl IntoIterator<Item = &'a str>) -> Command {
    entasis_under(folder, &[], words)
}

/// Returns the words that say where the data is of a house that was started with others.
fn place(words: &[&str]) -> [String; 2] {
    let said = |flag: &str| words.windows(2).find(|pair| pair[0] == flag).map(|pair| pair[1]);
    let (flag, place) = match (said("--config"), said("--data"), words.first()) {
        (Some(config), ..) => ("--config", config),
        (None, Some(data), _) => ("--data", data),
        (None, None, Some(&"demo")) => ("--data", "data/demo"),
        (None, None, _) => ("--data", "data"),
    };
    [flag, place].map(str::to_owned)
}

/// The same, started by the words of another program.
fn entasis_under<'a>(
    folder: &TempDir,
    runner: &[String],
    words: impl IntoIterator<Item = &'a str>,
) -> Command {
    entasis_in(folder.path(), runner, words)
}

fn entasis_in<'a>(
    folder: &Path,
    runner: &[String],
    words: impl IntoIterator<Item = &'a str>,
) -> Command {
    let mut command = match runner {
        [] => Command::new(&*BINARY),
        [program, rest @ ..] => {
            let mut command = Command::new(program);
            command.args(rest).arg(&*BINARY);
            command
        }
    };
    for (name, _) in std::env::vars_os() {
        if name == "RUST_LOG" || name.to_string_lossy().starts_with("ENTASIS_") {
            command.env_remove(name);
        }
    }
    let (name, value) = REQUESTS_MAX;
    command.env(name, value);
    command.args(words).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// `entasis`, built once, in the profile of the tests. If it cannot be built, every test that needs
/// it fails, and the first says why.
static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let built = std::process::Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--package", "engine", "--bin", "entasis", "--profile", profile])
        .args(["--message-format", "json-render-diagnostics"])
        .output()
        .expect("the cargo that built this test");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo names what it has built")
});
