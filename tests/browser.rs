//! Pages in a real browser: Chromium without a window, and a server for one page of our own.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::house::folder;

/// Time after which a test fails rather than wait for the browser.
const PAGE_MAX: Duration = Duration::from_mins(1);

/// Time, by the page's own clock, that a page has to build itself before it is looked at.
const BUILD_MS: u32 = 10_000;

/// What Chromium says on stderr when a page writes to its console.
const CONSOLE: &str = ":CONSOLE:";

/// An open page, and what it writes to its console.
pub(crate) struct Page {
    _child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    _profile: TempDir,
}

impl Page {
    /// Opens the page at this address.
    pub(crate) fn open(chromium: &Path, url: &str) -> Page {
        let profile = folder();
        let mut child = headless(chromium, &profile)
            .args(["--enable-logging=stderr", "--log-level=0", url])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("chromium starts");
        let stderr = child.stderr.take().expect("stderr is piped");
        Page { _child: child, lines: BufReader::new(stderr).lines(), _profile: profile }
    }

    /// Returns the next line on the page's console.
    pub(crate) async fn console(&mut self) -> String {
        let line = async {
            while let Some(line) = self.lines.next_line().await.expect("chromium writes text") {
                if let Some((_, said)) = line.split_once(CONSOLE) {
                    return said.to_owned();
                }
            }
            panic!("chromium ended");
        };
        timeout(PAGE_MAX, line).await.expect("the page's console stays silent")
    }
}

/// A page as it looks when it has built itself, and what it asked for on the way.
pub(crate) struct Visit {
    pub(crate) html: String,
    /// Addresses that the page itself asked for, beyond its own.
    pub(crate) requests: Vec<String>,
}

/// Opens a page, lets it build itself, and closes it.
pub(crate) async fn visit(chromium: &Path, origin: &str, path: &str) -> Visit {
    let profile = folder();
    let net_log = profile.path().join("net.json");
    let visit = headless(chromium, &profile)
        .arg(format!("--log-net-log={}", net_log.display()))
        .arg(format!("--virtual-time-budget={BUILD_MS}"))
        .arg("--dump-dom")
        .arg(format!("{origin}{path}"))
        .output();
    let output = timeout(PAGE_MAX, visit).await.expect("chromium ends").expect("chromium starts");
    let html = String::from_utf8(output.stdout).expect("a page is text");

    let net_log = std::fs::read(net_log).expect("chromium has written its log of the network");
    let net_log: Value = serde_json::from_slice(&net_log).expect("that log is JSON");
    // The browser asks for things of its own, too; only what the page asks for has its origin.
    let requests = net_log["events"]
        .as_array()
        .expect("the log has events")
        .iter()
        .map(|event| &event["params"])
        .filter(|params| params["initiator"] == origin)
        .filter_map(|params| params["url"].as_str().map(ToOwned::to_owned))
        .collect();
    Visit { html, requests }
}

/// Chromium without a window, with a profile of its own, and cut off from all but this machine.
fn headless(chromium: &Path, profile: &TempDir) -> Command {
    let mut command = Command::new(chromium);
    command
        .args(["--headless", "--no-first-run", "--disable-gpu", "--disable-quic"])
        // Its sandbox does not start for root, and there are only our own pages to shut in.
        .arg("--no-sandbox")
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// A site with one page, on a port of its own: an origin that is not the house's.
pub(crate) struct Site {
    listener: TcpListener,
    pub(crate) origin: String,
}

impl Site {
    pub(crate) async fn new() -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        Site { listener, origin: format!("http://{address}") }
    }

    /// Answers every request with a page that runs this script, from now to the end of the test.
    pub(crate) fn run(self, script: &str) {
        let html = format!("<!doctype html><meta charset=utf-8><script>\n{script}</script>\n");
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{html}",
            html.len()
        );
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = self.listener.accept().await {
                // One read is enough: a browser sends its few headers at once, and any answer fits.
                let mut request = [0; 4096];
                if stream.read(&mut request).await.is_ok() {
                    // A browser may open connections in advance and close them unused.
                    drop(stream.write_all(answer.as_bytes()).await);
                }
            }
        });
    }
}
