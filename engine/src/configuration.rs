//! What the house is to be: a file, then `ENTASIS_…` variables, then flags; checked once, here.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use commands::intake::BookRecording;
use commands::terms::TradingTerms;
use config::{Config, ConfigError, Environment, File, FileFormat, Map};
use domain::instrument::Venue;
use eventlog::log::Durability;
use eventlog::stream::Log;
use feeds::feed::Addresses;
use feeds::spec::FeedSpec;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use crate::command_line::{Demo, Place, Serve};
use crate::configuration::door::{AddressKeys, AuthKeys, Door, LimitKeys, TlsKeys};
use crate::configuration::kurrent::{KurrentKeys, KurrentSettings};
use crate::configuration::nats::{NatsKeys, NatsSettings};
use crate::configuration::venues::VenueKeys;
use crate::logs::{self, LogUrl};
use crate::read_store::ReadStoreUrl;
use crate::roles::Roles;
use crate::trading::TradingKeys;

pub(crate) mod door;
pub(crate) mod kurrent;
pub(crate) mod nats;

mod venues;

const LISTEN_DEFAULT: &str = "127.0.0.1:8080";
const METRICS_EXAMPLE: &str = "127.0.0.1:9464";
const DATA_DEFAULT: &str = "data";
const DEMO_DATA_DEFAULT: &str = "data/demo";

const MARKET_DAYS_DEFAULT: NonZeroU32 = NonZeroU32::new(7).expect("it is not zero");
const MARKET_BYTES_DEFAULT: NonZeroU64 = NonZeroU64::new(20_000_000_000).expect("it is not zero");

pub(crate) const DAY: Duration = Duration::from_hours(24);

/// What the names of our variables begin with.
const PREFIX: &str = "ENTASIS_";

/// Variables that are no keys: of the test run, of the choice of the file itself, of the demo alone.
const NOT_KEYS: [&str; 3] = ["ENTASIS_TEST_", "ENTASIS_CONFIG", "ENTASIS_SEED"];

/// Everything that the house needs to know before it starts.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) listen: String,
    pub(crate) ledger: LogUrl,
    pub(crate) market: LogUrl,
    pub(crate) nats: NatsSettings,
    pub(crate) kurrent: KurrentSettings,
    /// What an acknowledged entry of the ledger must survive at least.
    pub(crate) durability_min: Option<Durability>,
    /// What this node does, among several that share their logs.
    pub(crate) roles: Roles,
    /// In order of trust: the first that brings an instrument is its primary venue.
    pub(crate) feeds: Vec<FeedSpec>,
    pub(crate) books: BookRecording,
    /// Where venues are reached, other than at their own addresses.
    pub(crate) venues: BTreeMap<Venue, Addresses>,
    pub(crate) ws: Ws,
    pub(crate) door: Door,
    pub(crate) read_store: ReadStoreUrl,
    pub(crate) retention: Retention,
    pub(crate) trading: TradingTerms,
    /// Where figures are told to whoever collects them, as `HOST:PORT`; nowhere when absent.
    pub(crate) metrics: Option<String>,
    /// Whether the account of the demonstration is opened and funded.
    pub(crate) funded: bool,
    /// How it is read again while the house runs.
    pub(crate) read_again: Option<Serve>,
}

/// What of the market log is kept: at least this long, unless it grows past so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retention {
    pub(crate) market_days: NonZeroU32,
    pub(crate) market_bytes: NonZeroU64,
}

/// The keys of the file. A variable has the same name in capitals, after `ENTASIS_`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    listen: Option<String>,
    data: Option<PathBuf>,
    log: Option<String>,
    market_log: Option<String>,
    #[serde(default)]
    nats: NatsKeys,
    #[serde(default)]
    kurrent: KurrentKeys,
    /// What an acknowledged entry of the ledger must survive: quorum, fsync, os or memory. A house
    /// whose ledger keeps less does not start.
    durability_min: Option<String>,
    /// Where snapshots and the archive stand: `sqlite:FILE` or `postgres://USER@HOST/DATABASE`.
    read_store: Option<String>,
    #[serde(default)]
    postgres: PostgresKeys,
    /// What this node does: door, feeds, guardian, jobs; all of it when absent.
    #[serde(default, deserialize_with = "words")]
    roles: Vec<String>,
    #[serde(default)]
    metrics: MetricsKeys,
    #[serde(default, deserialize_with = "words")]
    feed: Vec<String>,
    /// What is recorded of order books: all, sampled or off.
    books: Option<String>,
    #[serde(default)]
    venues: BTreeMap<String, VenueKeys>,
    /// What this node is called among others: a part of the name of its stream.
    node: Option<String>,
    #[serde(default)]
    ws: Ws,
    #[serde(default)]
    auth: AuthKeys,
    #[serde(default)]
    tls: TlsKeys,
    #[serde(default)]
    limits: LimitKeys,
    #[serde(default)]
    addresses: AddressKeys,
    #[serde(default)]
    retention: RetentionKeys,
    #[serde(default)]
    trading: TradingKeys,
}

/// `[retention]`: how long and how much of the market log is kept, whichever is less. The ledger is
/// kept for ever.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RetentionKeys {
    market_days: Option<NonZeroU32>,
    market_bytes: Option<NonZeroU64>,
}

/// `[postgres]`: what does not belong into the URL of the read store.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PostgresKeys {
    /// Meant for a variable, `ENTASIS_POSTGRES__PASSWORD`.
    password: Option<SecretString>,
}

/// `[metrics]`: figures for Prometheus, on an address of their own.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MetricsKeys {
    listen: Option<String>,
}

/// `[ws]`: the WebSocket door. In a variable, two underlines stand for the dot: `ENTASIS_WS__ORIGINS`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Ws {
    /// Pages of these origins may connect, besides our own: `https://app.example.com`.
    #[serde(deserialize_with = "words")]
    pub(crate) origins: Vec<String>,
    /// Whether the market and its books are told to whoever connects; so when absent.
    pub(crate) anonymous_market: Option<bool>,
    /// Sessions that one account, and one address, holds at once.
    pub(crate) connections_account_max: Option<usize>,
    pub(crate) connections_ip_max: Option<usize>,
    /// Subscriptions of one connection.
    pub(crate) subscriptions_max: Option<usize>,
    /// Messages a second from one client, and how many may come at once.
    pub(crate) messages_per_second: Option<u32>,
    pub(crate) messages_burst: Option<u32>,
}

/// Reads a list: in a file it is one, in a variable it has blanks between.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        List(Vec<String>),
        Text(String),
    }
    Ok(match Words::deserialize(deserializer)? {
        Words::List(words) => words,
        Words::Text(text) => text.split_whitespace().map(ToOwned::to_owned).collect(),
    })
}

impl Configuration {
    /// Returns where a log stands.
    pub(crate) fn log(&self, log: Log) -> &LogUrl {
        match log {
            Log::Ledger => &self.ledger,
            Log::Market => &self.market,
        }
    }
}

pub(crate) fn of_serve(serve: &Serve) -> Result<Configuration> {
    let configuration = configured(serve, variables()?)?;
    Ok(Configuration { read_again: Some(serve.clone()), ..configuration })
}

/// Returns where the data of a house is that need not run.
pub(crate) fn of_place(place: &Place) -> Result<Configuration> {
    if let Some(data) = &place.data {
        return of_demo(&Demo { data: Some(data.clone()), ..Demo::default() });
    }
    configured(&serve_of_place(place), variables()?)
}

/// Returns what a house would know of its brokers, and of its logs there.
pub(crate) fn of_brokers(config: Option<&Path>) -> Result<Configuration> {
    of_place(&Place { data: None, config: config.map(ToOwned::to_owned) })
}

/// Returns the words of a house at a place. Nothing depends on its feeds and its door here: a
/// recording that has gone, or a flag for TLS that is not repeated, is no reason to fail.
fn serve_of_place(place: &Place) -> Serve {
    Serve {
        config: place.config.clone(),
        feed: vec!["simulated".to_owned()],
        listen: Some(LISTEN_DEFAULT.to_owned()),
        ..Serve::default()
    }
}

/// Returns the variables that are ours.
fn variables() -> Result<Map<String, String>> {
    ours(std::env::vars_os())
}

fn ours(all: impl Iterator<Item = (OsString, OsString)>) -> Result<Map<String, String>> {
    // Others may be anything, also no text.
    let ours = all.filter_map(|(name, value)| {
        let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
        Some((name, value))
    });
    ours.map(|(name, value)| match value.into_string() {
        Ok(value) => Ok((name, value)),
        // The value is not told: it may be a secret.
        Err(_) => bail!("{name} is no text"),
    })
    .collect()
}

pub(crate) fn of_demo(demo: &Demo) -> Result<Configuration> {
    let seed = demo.seed.map(|seed| format!("?seed={seed}")).unwrap_or_default();
    let configuration = checked(Keys {
        listen: demo.listen.clone(),
        data: Some(demo.data.clone().unwrap_or_else(|| DEMO_DATA_DEFAULT.into())),
        feed: vec![format!("simulated{seed}")],
        tls: TlsKeys::of_flag(demo.tls_self_signed),
        ..Keys::default()
    })?;
    Ok(Configuration { funded: true, ..configuration })
}

fn configured(serve: &Serve, variables: Map<String, String>) -> Result<Configuration> {
    let keys: Map<String, String> = variables
        .into_iter()
        .filter(|(name, _)| !NOT_KEYS.iter().any(|other| name.starts_with(other)))
        .collect();
    let mut sources = Config::builder();
    if let Some(file) = &serve.config {
        sources = sources.add_source(File::from(file.as_path()).format(FileFormat::Toml));
    }
    let variables = Environment::with_prefix("ENTASIS")
        .prefix_separator("_")
        .separator("__")
        .ignore_empty(true)
        .source(Some(keys));
    let mut keys: Keys = sources
        .add_source(variables)
        .build()
        .map_err(unread)
        .context("the configuration cannot be read")?
        .try_deserialize()
        .context("the configuration is wrong")?;

    if let Some(listen) = &serve.listen {
        keys.listen = Some(listen.clone());
    }
    if let Some(data) = &serve.data {
        keys.data = Some(data.clone());
    }
    if let Some(log) = &serve.log {
        keys.log = Some(log.clone());
    }
    if let Some(market_log) = &serve.market_log {
        keys.market_log = Some(market_log.clone());
    }
    if let Some(read_store) = &serve.read_store {
        keys.read_store = Some(read_store.clone());
    }
    if !serve.roles.is_empty() {
        keys.roles.clone_from(&serve.roles);
    }
    if serve.tls_self_signed {
        keys.tls.sign_self();
    }
    if !serve.feed.is_empty() {
        keys.feed.clone_from(&serve.feed);
    }
    checked(keys)
}

/// Returns why a configuration cannot be read, without the line of the file that is wrong, which the
/// reader of TOML quotes: it may hold a secret.
fn unread(error: ConfigError) -> anyhow::Error {
    let ConfigError::FileParse { uri, cause } = &error else { return error.into() };
    let said = cause.to_string();
    let place = said.lines().next().unwrap_or_default();
    anyhow!("{}: {place}", uri.as_deref().unwrap_or("the file"))
}

fn checked(keys: Keys) -> Result<Configuration> {
    let data = keys.data.clone().unwrap_or_else(|| DATA_DEFAULT.into());
    let url = |key: &str, text: &str| {
        LogUrl::parse(text).with_context(|| format!("{key} = {:?} is no log", told(text)))
    };
    let ledger = match &keys.log {
        Some(text) => url("log", text)?,
        None => LogUrl::Embedded(data.clone()),
    };
    let market = match &keys.market_log {
        Some(text) => url("market_log", text)?,
        None => ledger.clone(),
    };
    // Beside the ledger, where nobody says otherwise.
    let own = match (&keys.data, &ledger) {
        (None, LogUrl::Embedded(folder)) => folder.clone(),
        (Some(_), _) | (None, LogUrl::Nats(_) | LogUrl::Kurrent(_)) => data.clone(),
    };
    let read_store = match &keys.read_store {
        Some(text) => ReadStoreUrl::parse(text, keys.postgres.password.as_ref())
            .with_context(|| format!("read_store = {:?} is no read store", told(text)))?,
        None => ReadStoreUrl::in_folder(&own),
    };
    kurrent::check_retention(&market, keys.retention)?;
    let retention = Retention {
        market_days: keys.retention.market_days.unwrap_or(MARKET_DAYS_DEFAULT),
        market_bytes: keys.retention.market_bytes.unwrap_or(MARKET_BYTES_DEFAULT),
    };
    let mut words = keys.feed;
    if words.is_empty() {
        words.push("simulated".to_owned());
    }
    let feeds = words
        .iter()
        .map(|word| word.parse::<FeedSpec>().with_context(|| format!("feed = {word:?}")))
        .collect::<Result<Vec<_>>>()?;
    let simulated = feeds.iter().filter(|feed| matches!(feed, FeedSpec::Simulated { .. }));
    if simulated.map(|feed| format!("{feed:?}")).collect::<BTreeSet<_>>().len() > 1 {
        bail!("feed: two simulated markets with different seeds would contradict each other");
    }
    for feed in &feeds {
        let FeedSpec::Recording(recording) = feed else { continue };
        for file in &recording.files {
            let there = file.is_file();
            ensure!(there, "feed: there is no file {}", file.display());
        }
    }
    let listen = keys.listen.unwrap_or_else(|| LISTEN_DEFAULT.to_owned());
    check_address("listen", &listen, LISTEN_DEFAULT)?;
    if let Some(listen) = &keys.metrics.listen {
        check_address("metrics.listen", listen, METRICS_EXAMPLE)?;
    }
    let durability_min = keys
        .durability_min
        .as_ref()
        .map(|word| logs::durability(word).with_context(|| format!("durability_min = {word:?}")));
    let roles =
        keys.roles.iter().flat_map(|words| words.split(',')).filter(|word| !word.is_empty());
    let roles = Roles::parse(roles)?;
    let books = match &keys.books {
        Some(text) => text.parse().with_context(|| format!("books = {text:?}"))?,
        None => BookRecording::All,
    };
    let venues = keys.venues.into_iter().map(venues::addresses).collect::<Result<_>>()?;
    let parts = (keys.auth, keys.tls, keys.limits, keys.addresses);
    let door = Door::of(&own, &listen, keys.node.as_deref(), parts, &keys.ws)?;
    let (ws, trading) = (keys.ws, keys.trading.terms()?);
    Ok(Configuration {
        listen,
        ledger,
        market,
        nats: NatsSettings::of(keys.nats)?,
        kurrent: KurrentSettings::of(keys.kurrent)?,
        durability_min: durability_min.transpose()?,
        roles,
        feeds,
        books,
        venues,
        ws,
        door,
        read_store,
        retention,
        trading,
        metrics: keys.metrics.listen,
        funded: false,
        read_again: None,
    })
}

fn check_address(key: &str, listen: &str, example: &str) -> Result<()> {
    let port = listen.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    ensure!(port.is_some(), "{key} = {listen:?}: expected HOST:PORT, such as {example}");
    Ok(())
}

/// Returns a URL as it may be told: what stands before its host or among its options may be a secret.
fn told(url: &str) -> String {
    match (url.split_once(':'), url.rsplit_once('@')) {
        (Some((scheme, _)), _) if url.contains('?') => format!("{scheme}://…"),
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests;
