//! The operator's commands beside a running house: what `log cat` prints is what the log holds, and
//! a backup comes back as it was, or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use eventlog::embedded::read_only::ReadOnly;
use eventlog::entry::Hash;
use eventlog::files::Disk;
use eventlog::stream::Log;
use projections::projector;
use projections::views::Views;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::data;
use crate::house::{House, ended, folder, lines, output, run};
use crate::journeys::until_played;
use crate::restart::{entries, open};

/// Time after which a test fails rather than wait for a line.
const LINE_MAX: Duration = Duration::from_mins(1);

const PRICE: &str = "/v1/market/price/BTC-USDT";
const HISTORY: &str = "/v1/market/history/BTC-USDT?interval=1m";

/// The small recording as a feed; it lasts 25 seconds of its own time.
fn feed(speed: &str) -> String {
    let file = data::small_recording();
    format!("recording:{}?venue=binance&symbol=BTC-USDT&speed={speed}", file.display())
}

/// Returns a folder whose `data` is that of a house which has recorded and was stopped.
async fn recorded() -> TempDir {
    let folder = folder();
    let house = House::start(&folder, ["serve", "--feed", &feed("max")]).await;
    until_played(&house).await;
    assert!(house.stop().await.success());
    folder
}

async fn cat(folder: &TempDir, log: &str, data: &str) -> String {
    output(folder, &["log", "cat", "--log", log, "--data", data]).await
}

/// Returns all files beneath a folder, with what is in them.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                files.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    files
}

/// Returns what the views hold after these entries of both logs, counted from the first.
async fn state_hashes(data: &Path) -> BTreeMap<&'static str, Hash> {
    let views = Views::new(Vec::new());
    for log in [Log::Ledger, Log::Market] {
        let files = Arc::new(Disk::existing(data.join(log.as_str())).unwrap());
        projector::catch_up(log, &ReadOnly::open(files, log).unwrap(), &views).await.unwrap();
    }
    views.state_hashes()
}

/// The same of a log's first entries, as a cat has printed them.
async fn state_hashes_of_first(folder: &TempDir, cats: [&str; 2]) -> BTreeMap<&'static str, Hash> {
    let views = Views::new(Vec::new());
    for (log, cat) in [Log::Ledger, Log::Market].into_iter().zip(cats) {
        let all = entries(&open(folder, log)).await;
        views.fold(log, &all[..cat.lines().count()]);
    }
    views.state_hashes()
}

#[tokio::test]
async fn a_cat_beside_a_running_house_prints_what_the_log_holds() {
    let folder = folder();
    let house = House::start(&folder, ["demo", "--data", "data"]).await;
    house.until("/api/v1/market/price/SOL-USDT", |answer| answer.status == 200).await;
    let before = house.get("/readyz").await.body["views"]["market"]["applied"].as_u64().unwrap();
    let running = cat(&folder, "market", "data").await;
    assert!(running.lines().count() as u64 >= before, "what was shown is printed");
    assert!(house.stop().await.success());

    let stopped = cat(&folder, "market", "data").await;
    assert!(stopped.starts_with(&running) && running.ends_with('\n'));
    let all = entries(&open(&folder, Log::Market)).await;
    let lines: Vec<String> =
        all.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect();
    assert_eq!(stopped.lines().collect::<Vec<_>>(), lines);

    let stream = all.last().unwrap().stream.to_string();
    let own = all.iter().zip(&lines).filter(|(entry, _)| entry.stream.to_string() == stream);
    let own: Vec<&String> = own.map(|(_, line)| line).collect();
    for (words, expected) in [
        (vec!["--after", "3", "--limit", "2"], lines[3..5].iter().collect::<Vec<_>>()),
        (vec!["--limit", "0"], vec![]),
        (vec!["--after", "1000000000"], vec![]),
        (vec!["--stream", &stream], own.clone()),
        (vec!["--stream", &stream, "--after", "1", "--limit", "1"], own[1..2].to_vec()),
        (vec!["--stream", "pulse-nobody"], vec![]),
    ] {
        let words = [vec!["log", "cat", "--log", "market", "--data", "data"], words].concat();
        let printed = output(&folder, &words).await;
        assert_eq!(printed.lines().collect::<Vec<_>>(), expected, "{words:?}");
    }
    // The folder of `serve` without a word is the same, and a stream knows its log.
    assert_eq!(
        output(&folder, &["log", "cat", "--stream", &stream]).await.lines().count(),
        own.len()
    );
}

#[tokio::test]
async fn a_cat_that_follows_prints_what_comes() {
    let folder = folder();
    let house = House::start(&folder, ["serve", "--feed", &feed("50")]).await;
    let words = ["log", "cat", "--log", "market", "--follow"];
    let (mut following, mut printed) = lines(&folder, &words);
    until_played(&house).await;
    assert!(house.stop().await.success());

    for line in cat(&folder, "market", "data").await.lines() {
        let next = timeout(LINE_MAX, printed.next_line()).await.expect("a line in time");
        assert_eq!(next.unwrap().as_deref(), Some(line));
    }
    assert!(following.try_wait().unwrap().is_none(), "it waits for more");
    following.kill().await.unwrap();
}

#[tokio::test]
async fn a_cat_ends_quietly_when_nobody_reads_on() {
    let folder = recorded().await;
    // More than a pipe holds.
    assert!(cat(&folder, "market", "data").await.len() > 70_000);
    let (child, mut printed) = lines(&folder, &["log", "cat", "--log", "market"]);

    assert!(printed.next_line().await.unwrap().is_some());
    drop(printed);

    let ended = timeout(LINE_MAX, child.wait_with_output()).await.expect("an end").unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && said.is_empty(), "{said}");
}

#[tokio::test]
async fn a_cat_says_what_is_wrong_and_makes_nothing() {
    let folder = folder();
    fs::create_dir_all(folder.path().join("empty/market")).unwrap();
    for (words, code, reason) in [
        (vec!["--log", "orders"], 2, "[possible values: ledger, market]"),
        (vec!["--stream", "orders-1"], 2, "no stream has the name \"orders-1\""),
        (vec!["--log", "ledger", "--stream", "pulse-binance"], 1, "a stream of the market log"),
        (vec![], 1, "there is no ledger log in data/ledger"),
        (vec!["--data", "none", "--follow"], 1, "there is no ledger log in none/ledger"),
        (vec!["--data", "empty"], 1, "there is no ledger log in empty/ledger"),
        (vec!["--data", "empty", "--log", "market"], 1, "there is no market log in empty/market"),
        (vec!["--config", "none.toml"], 5, "none.toml"),
    ] {
        let words = [vec!["log", "cat"], words].concat();
        let (status, said) = run(&folder, &words).await;
        assert_eq!(status, Some(code), "{words:?}: {said}");
        assert!(said.contains(reason), "{words:?}: {said}");
    }
    let (status, said) = run(&folder, &["backup", "--data", "none", "copy"]).await;
    assert_eq!(status, Some(1), "{said}");
    assert_eq!(tree(folder.path()), BTreeMap::new());
    assert!(!folder.path().join("data").exists() && !folder.path().join("none").exists());
    assert!(!folder.path().join("copy").exists());
}

#[tokio::test]
async fn a_cat_of_a_damaged_log_prints_what_stands_before_the_damage() {
    let folder = recorded().await;
    let whole = cat(&folder, "market", "data").await;
    let file = folder.path().join("data/market/00000000000000000001.log");
    let mut bytes = fs::read(&file).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[used / 2] ^= 1;
    fs::write(&file, bytes).unwrap();

    let ended = ended(&folder, &["log", "cat", "--log", "market"]).await;

    let (printed, said) =
        (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert_eq!(ended.status.code(), Some(1));
    let lines = printed.lines().count();
    assert!(whole.starts_with(&printed) && lines > 10, "{lines}");
    assert!(lines < whole.lines().count());
    let damage = "entasis: the market log: the log is damaged at offset ";
    let (_, offset) = said.split_once(damage).unwrap_or_else(|| panic!("{said}"));
    let (offset, place) = offset.split_once(": ").unwrap();
    assert!(place.starts_with("00000000000000000001.log, byte "), "{said}");
    // A group is whole or it is nothing, so a few may be missing before the damage.
    assert!(offset.parse::<usize>().unwrap() > lines, "{said}");
}

#[tokio::test]
async fn a_busy_house_is_copied_and_comes_back_as_it_was() {
    let folder = folder();
    let feed = feed("2");
    let house = House::start(&folder, ["serve", "--feed", &feed]).await;
    let is_busy = |body: &Value| body["views"]["market"]["applied"].as_u64() > Some(20);
    let ready = house.until("/readyz", |answer| is_busy(&answer.body)).await;
    let acknowledged = ready.body["views"]["market"]["applied"].as_u64().unwrap();

    let told = output(&folder, &["backup", "copies/first", "--json"]).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    let head = |log: &str| told[log]["head"].as_u64().unwrap();
    assert!(head("market") >= acknowledged, "{told}");
    let during = house.get("/readyz").await.body;
    assert_ne!(during["feeds"][0]["state"], "finished", "the copy was made in the middle");
    let words = ["restore", "--from", "copies/first", "--data", "back/data", "--json"];
    let back: Value = serde_json::from_str(&output(&folder, &words).await).unwrap();
    for key in ["made_at", "ledger", "market", "files", "bytes"] {
        assert_eq!(back[key], told[key]);
    }
    until_played(&house).await;
    let (price, history) = (house.get(PRICE).await.body, house.get(HISTORY).await.body);
    assert!(house.stop().await.success());

    // What came back is what the house had held, to the byte, and gives the same views.
    let mut cats = Vec::new();
    for log in ["ledger", "market"] {
        let (whole, part) = (cat(&folder, log, "data").await, cat(&folder, log, "back/data").await);
        assert!(whole.starts_with(&part), "the {log} log");
        assert_eq!(part.lines().count() as u64, head(log));
        if let Some(last) = part.lines().last() {
            let last: Value = serde_json::from_str(last).unwrap();
            assert_eq!(last["hash"], told[log]["head_hash"]);
        }
        cats.push(part);
    }
    assert!(cats[1].lines().count() < cat(&folder, "market", "data").await.lines().count());
    let original = state_hashes_of_first(&folder, [&cats[0], &cats[1]]).await;
    assert_eq!(state_hashes(&folder.path().join("back/data")).await, original);

    // It goes on where it was, and comes to the same end.
    let words = ["serve", "--data", "back/data", "--feed", &feed.replace("speed=2", "speed=max")];
    let house = House::start(&folder, words).await;
    until_played(&house).await;
    let same = |one: &Value, other: &Value| {
        for key in ["trade_id", "price", "volume", "data"] {
            assert_eq!(one[key], other[key], "{key}");
        }
    };
    same(&house.get(PRICE).await.body, &price);
    same(&house.get(HISTORY).await.body, &history);
    assert!(house.stop().await.success());
    assert!(cat(&folder, "market", "back/data").await.starts_with(&cats[1]));
}

#[tokio::test]
async fn a_damaged_backup_is_refused_and_the_file_named() {
    let folder = recorded().await;
    let told = output(&folder, &["backup", "copy"]).await;
    assert!(told.starts_with("backup: copy, as of ") && told.contains("market log: entries 1 to"));
    let copy = folder.path().join("copy");
    let whole = tree(&copy);
    assert!(whole.len() >= 3, "{:?}", whole.keys());
    let untouched = tree(&folder.path().join("data"));

    for (file, bytes) in &whole {
        let middle = bytes.len() / 2;
        let mut flipped = bytes.clone();
        flipped[middle] ^= 1;
        let longer = [bytes.as_slice(), &[0]].concat();
        for (how, changed) in [
            ("flipped", Some(flipped)),
            ("cut", Some(bytes[..middle].to_vec())),
            ("longer", Some(longer)),
            ("missing", None),
        ] {
            // A manifest with a zero behind its end is no JSON either.
            match changed {
                Some(changed) => fs::write(file, changed).unwrap(),
                None => fs::remove_file(file).unwrap(),
            }
            let words = ["restore", "--from", "copy", "--data", "back"];
            let (status, said) = run(&folder, &words).await;
            let name = file.strip_prefix(&copy).unwrap().display().to_string();
            assert_eq!(status, Some(1), "{name} {how}: {said}");
            assert!(said.contains(&name), "{name} {how}: {said}");
            assert!(!folder.path().join("back").exists(), "{name} {how}");
            assert!(!folder.path().join("back.unfinished").exists(), "{name} {how}");
            fs::write(file, bytes).unwrap();
        }
    }
    output(&folder, &["restore", "--from", "copy", "--data", "back"]).await;
    assert_eq!(tree(&folder.path().join("data")), untouched);
    assert_eq!(cat(&folder, "market", "back").await, cat(&folder, "market", "data").await);
}

/// Changes a manifest, and its own hash with it.
fn forge(manifest: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(manifest).unwrap();
    assert!(text.contains(from), "{text}");
    let text = text.replace(from, to);
    let (body, _) = text.strip_prefix("{\"manifest\": ").unwrap().rsplit_once(",\n").unwrap();
    let sha256 = Hash::of(body.as_bytes());
    fs::write(manifest, format!("{{\"manifest\": {body},\n\"sha256\": \"{sha256}\"}}\n")).unwrap();
}

#[tokio::test]
async fn a_backup_whose_hashes_fit_is_still_held_against_all_that_a_log_promises() {
    let folder = recorded().await;
    output(&folder, &["backup", "copy", "--without-read-store"]).await;
    let manifest = folder.path().join("copy/manifest.json");
    let segment = folder.path().join("copy/market/00000000000000000001.log");
    let (whole_manifest, whole) = (fs::read(&manifest).unwrap(), fs::read(&segment).unwrap());
    let hash = |bytes: &[u8]| Hash::of(bytes).to_string();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let mut torn = whole.clone();
    torn[used] ^= 1;
    let text = String::from_utf8(whole_manifest.clone()).unwrap();
    let (_, head) = text.rsplit_once("\"head_hash\": \"").unwrap();
    let head = &head[..64];
    for (bytes, (from, to), reason) in [
        (&flipped, (hash(&whole), hash(&flipped)), "the log is damaged at offset "),
        (&torn, (hash(&whole), hash(&torn)), "its end is not whole"),
        (&whole, (head.to_owned(), hash(b"")), "it is not what the manifest says"),
        (&whole, ("market/0".to_owned(), "../market/0".to_owned()), "does not lead out of it"),
        (&whole, ("\"format\": 1".to_owned(), "\"format\": 2".to_owned()), "it has format 2"),
    ] {
        fs::write(&segment, bytes).unwrap();
        forge(&manifest, &from, &to);
        let (status, said) = run(&folder, &["restore", "--from", "copy", "--data", "back"]).await;
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains(reason), "{said}");
        assert!(!folder.path().join("back").exists());
        assert!(!folder.path().join("back.unfinished").exists());
        assert!(!folder.path().join("market").exists());
        fs::write(&manifest, &whole_manifest).unwrap();
    }
}

#[tokio::test]
async fn nothing_is_put_where_something_is() {
    let folder = recorded().await;
    output(&folder, &["backup", "copy", "--without-read-store"]).await;
    assert!(!tree(folder.path()).contains_key(&folder.path().join("copy/read.db")));
    let before = tree(folder.path());
    for words in [
        vec!["backup", "copy"],
        vec!["backup", "data"],
        vec!["restore", "--from", "copy", "--data", "data"],
        vec!["restore", "--from", "copy", "--data", "copy"],
    ] {
        let (status, said) = run(&folder, &words).await;
        assert_eq!(status, Some(1), "{words:?}: {said}");
        assert!(said.contains(" is not empty"), "{words:?}: {said}");
    }
    let (status, said) = run(&folder, &["restore", "--from", "data", "--data", "back"]).await;
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("data is no backup: its manifest.json cannot be read"), "{said}");
    assert_eq!(tree(folder.path()), before);

    // An empty folder is as good as none; and logs alone are enough for a house.
    fs::create_dir(folder.path().join("back")).unwrap();
    output(&folder, &["restore", "--from", "copy", "--data", "back"]).await;
    let house = House::start(&folder, ["serve", "--data", "back", "--feed", &feed("max")]).await;
    let ready = until_played(&house).await;
    assert_eq!(ready["feeds"][0]["recorded"], 0, "all of it was there");
}
