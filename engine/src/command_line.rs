//! The words an operator types, and the codes that the process ends with.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use api::auth::token_keys::Algorithm;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use domain::access::{Role, Scope};
use domain::keys::key::{KeyId, Label};
use domain::name::AccountId;
use domain::network::Network;
use eventlog::stream::{Log, Stream};
use tracing_subscriber::EnvFilter;

/// Exit codes. Two is a wrong command line; clap gives it.
pub(crate) const FAILED: u8 = 1;
pub(crate) const CONFIGURATION_WRONG: u8 = 5;

/// Event-sourced backend for digital-asset market data, portfolio positions, risk and prediction.
#[derive(Debug, Parser)]
#[command(name = "entasis", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run with a simulated market and embedded defaults: nothing to set up.
    Demo(Demo),
    /// Run as configured.
    Serve(Serve),
    /// Issue tokens, look at them, change the keys that sign them.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Make, list, rotate and revoke API keys.
    #[command(subcommand, name = "apikey")]
    ApiKey(ApiKeyCommand),
    /// Say what this machine and a configuration would run on, what is wrong with it, and what to do.
    /// Changes nothing, also while the house runs; ends with 1 where there is a problem.
    Doctor(Doctor),
    /// Look into the logs.
    #[command(subcommand)]
    Log(LogCommand),
    /// Copy all data into a folder, also while the house runs.
    Backup(Backup),
    /// Bring a backup back as a new data folder.
    Restore(Restore),
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Print a new token, alone on stdout.
    Issue(TokenIssue),
    /// Tell what a token says, and whether its signature and its times are good. Whether it was
    /// revoked, only the house knows.
    Inspect(TokenInspect),
    /// Put a new key before those that sign tokens; the former goes on verifying for a day.
    Rotate(TokenRotate),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApiKeyCommand {
    /// Print a new key, alone on stdout: it is shown once.
    Create(ApiKeyCreate),
    /// List all keys, without their secrets.
    List(ApiKeyList),
    /// Print a new secret for a key.
    Rotate(ApiKeyRotate),
    /// Revoke a key, for good.
    Revoke(ApiKeyRevoke),
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Print entries as JSON, one a line, also while the house runs.
    Cat(LogCat),
    /// Bring logs from one place to another, byte for byte, and compare both. Interrupted, it goes
    /// on when it is run again. Also while a house writes to the original; nobody may write to the
    /// copy.
    Copy(LogCopy),
    /// Make what logs need at a broker, as a user who may; all that is there already is checked.
    Create(LogCreate),
}

#[derive(Debug, Default, Args)]
pub(crate) struct Demo {
    /// Address to listen on; port 0 picks a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", env = "ENTASIS_LISTEN")]
    pub(crate) listen: Option<String>,
    /// Folder for the logs [default: ./data/demo]
    #[arg(long, value_name = "DIR", env = "ENTASIS_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Which simulated market to run [default: 1]
    #[arg(long, value_name = "N", env = "ENTASIS_SEED")]
    pub(crate) seed: Option<u64>,
    /// Serve over TLS with a certificate that is made in the data folder
    #[arg(long)]
    pub(crate) tls_self_signed: bool,
}

/// Each flag has a configuration key of the same name and a variable `ENTASIS_…`; a flag wins over
/// the variable, and the variable over the file.
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct Serve {
    /// Configuration file, in TOML
    #[arg(long, value_name = "FILE", env = "ENTASIS_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Address to listen on; port 0 picks a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// Data folder [default: ./data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    #[arg(long, value_name = "URL", help = LOG_HELP)]
    pub(crate) log: Option<String>,
    /// Where the market log stands
    #[arg(long, value_name = "URL")]
    pub(crate) market_log: Option<String>,
    #[arg(long, value_name = "URL", help = READ_STORE_HELP)]
    pub(crate) read_store: Option<String>,
    /// What this node does, of door,feeds,guardian,jobs [default: all of it]
    #[arg(long, value_name = "ROLES", value_delimiter = ',')]
    pub(crate) roles: Vec<String>,
    /// A feed; may be given more than once [default: simulated]
    #[arg(long, value_name = "SPEC", long_help = FEED_HELP)]
    pub(crate) feed: Vec<String>,
    /// Serve over TLS with a certificate that is made in the data folder
    #[arg(long)]
    pub(crate) tls_self_signed: bool,
}

/// Where the data is of a house that need not run.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Data folder, with everything in its usual place; no configuration is asked [default: ./data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Configuration file of the house, in TOML
    #[arg(long, value_name = "FILE", env = "ENTASIS_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct LogCat {
    /// Which log: ledger or market [default: the one of the stream, else ledger]
    #[arg(long, value_name = "LOG", value_parser = a_log())]
    pub(crate) log: Option<Log>,
    /// Only the entries of this stream, such as market-binance.BTC-USDT
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<Stream>,
    /// Begin behind this offset, or with --stream behind this version
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) after: u64,
    /// Print so many entries at most
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Wait for more until interrupted
    #[arg(long)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct LogCopy {
    #[arg(long, value_name = "URL", help = FROM_HELP)]
    pub(crate) from: String,
    /// The copy, new or begun before
    #[arg(long, value_name = "URL")]
    pub(crate) to: String,
    /// Which log
    #[arg(long, value_name = "LOG", default_value = "all")]
    pub(crate) log: Which,
    /// Tell in JSON what was copied
    #[arg(long)]
    pub(crate) json: bool,
    /// Configuration file, in TOML, for its sections [nats] and [kurrent]
    #[arg(long, value_name = "FILE", env = "ENTASIS_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    Ledger,
    Market,
    All,
}

impl Which {
    pub(crate) const fn logs(self) -> &'static [Log] {
        match self {
            Self::Ledger => &[Log::Ledger],
            Self::Market => &[Log::Market],
            Self::All => &[Log::Ledger, Log::Market],
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct LogCreate {
    /// Where, for both logs [default: as configured]
    #[arg(long, value_name = "URL")]
    pub(crate) log_url: Option<String>,
    /// Tell in JSON, one log a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Configuration file, in TOML
    #[arg(long, value_name = "FILE", env = "ENTASIS_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Tell in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Folder to put it in, new or empty
    #[arg(value_name = "TARGET")]
    pub(crate) target: PathBuf,
    /// Leave out snapshots and the archive: a start makes them anew from the logs
    #[arg(long)]
    pub(crate) without_read_store: bool,
    /// Tell in JSON what was copied
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup
    #[arg(long, value_name = "BACKUP")]
    pub(crate) from: PathBuf,
    /// Data folder to make, new or empty
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Tell in JSON what was restored
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TokenIssue {
    /// Whose it is: an account, or the name of one who holds none
    #[arg(long, value_name = "NAME")]
    pub(crate) account: AccountId,
    /// trader, auditor, operator or admin
    #[arg(long, default_value = "trader")]
    pub(crate) role: Role,
    /// For how long it is good: 30s, 15m, 24h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub(crate) ttl: Duration,
    /// Only this; may be given more than once [default: all of the role]
    #[arg(long, value_name = "SCOPE")]
    pub(crate) scope: Vec<Scope>,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct TokenInspect {
    /// The token; - reads it from stdin, where no list of processes shows it
    #[arg(value_name = "TOKEN")]
    pub(crate) token: String,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct TokenRotate {
    /// How the new key signs [HS256, `EdDSA`]
    #[arg(long, default_value = "HS256", value_parser = algorithm)]
    pub(crate) algorithm: Algorithm,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct ApiKeyCreate {
    /// Whose it is: an account, or the name of one who holds none
    #[arg(long, value_name = "NAME")]
    pub(crate) account: AccountId,
    /// trader, auditor, operator or admin
    #[arg(long, default_value = "trader")]
    pub(crate) role: Role,
    /// Only this; may be given more than once [default: all of the role]
    #[arg(long, value_name = "SCOPE")]
    pub(crate) scope: Vec<Scope>,
    /// Good from this network only, in CIDR form; may be given more than once
    #[arg(long, value_name = "CIDR")]
    pub(crate) network: Vec<Network>,
    /// For how long it is good: 24h, 90d [default: until it is revoked]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) ttl: Option<Duration>,
    /// What to call it
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: Option<Label>,
    /// Tell in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct ApiKeyList {
    /// Tell in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct ApiKeyRotate {
    /// The eight characters that stand behind `ent_live_`
    #[arg(value_name = "ID")]
    pub(crate) id: KeyId,
    /// For how long the former secret goes on being good: 1h, 7d at most
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    pub(crate) overlap: Duration,
    /// Tell in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct ApiKeyRevoke {
    /// The eight characters that stand behind `ent_live_`
    #[arg(value_name = "ID")]
    pub(crate) id: KeyId,
    /// Tell in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// Reads a time such as `90s`, `15m`, `24h` or `7d`.
fn duration(text: &str) -> Result<Duration, &'static str> {
    let expected = "expected a whole number and s, m, h or d, such as 15m";
    let unit = text.chars().last().ok_or(expected)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(expected),
    };
    let number = text.strip_suffix(unit).and_then(|number| number.parse::<u32>().ok());
    Ok(Duration::from_secs(u64::from(number.ok_or(expected)?) * seconds))
}

fn algorithm(text: &str) -> Result<Algorithm, &'static str> {
    match text {
        "HS256" => Ok(Algorithm::Hs256),
        "EdDSA" => Ok(Algorithm::EdDsa),
        _ => Err("expected HS256 or EdDSA"),
    }
}

impl TokenCommand {
    pub(crate) const fn place(&self) -> &Place {
        match self {
            Self::Issue(TokenIssue { place, .. })
            | Self::Inspect(TokenInspect { place, .. })
            | Self::Rotate(TokenRotate { place, .. }) => place,
        }
    }
}

impl ApiKeyCommand {
    pub(crate) const fn place(&self) -> &Place {
        match self {
            Self::Create(ApiKeyCreate { place, .. })
            | Self::List(ApiKeyList { place, .. })
            | Self::Rotate(ApiKeyRotate { place, .. })
            | Self::Revoke(ApiKeyRevoke { place, .. }) => place,
        }
    }
}

fn a_log() -> impl TypedValueParser<Value = Log> {
    let logs = [Log::Ledger, Log::Market];
    PossibleValuesParser::new(logs.map(Log::as_str))
        .map(move |name| logs.into_iter().find(|log| log.as_str() == name).unwrap_or(Log::Ledger))
}

const LOG_HELP: &str = "Where the ledger stands, and the market log too unless it has its own: \
embedded:DIR, nats://HOST[:PORT][,HOST…][/PREFIX] or kurrentdb://HOST[:PORT][,HOST…][/PREFIX] \
[default: embedded:DATA]";

const READ_STORE_HELP: &str = "Where snapshots and the archive stand: sqlite:FILE or \
postgres://USER@HOST/DATABASE [default: sqlite:DATA/read.db]";

const FROM_HELP: &str = "The original: embedded:DIR, nats://HOST[:PORT][,HOST…][/PREFIX] or \
kurrentdb://HOST[:PORT][,HOST…][/PREFIX]";

const FEED_HELP: &str = "A feed; may be given more than once. The first that brings an instrument \
is its primary venue [default: simulated]

  simulated[?seed=N]
  binance:BTC-USDT[,ETH-USDT…]
  binance_usdm:BTC-USDT[,ETH-USDT…]
  recording:FILE[,FILE…]?venue=binance&symbol=BTC-USDT[&speed=max|1|10]";

/// Reads the command line; when there is nothing to run, the code to end with.
pub(crate) fn parse() -> Result<Command, ExitCode> {
    CommandLine::try_parse().map(|line| line.command).map_err(|error| {
        // Help goes to stdout, a mistake to stderr; a reader that is gone is no mistake of ours.
        drop(error.print());
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(FAILED))
    })
}

/// What is told without `RUST_LOG`. What becomes of a connection to a broker or a database we tell
/// ourselves; the client of KurrentDB has an error for each call that fails.
const LINES_DEFAULT: &str = "info,async_nats=error,kurrentdb=off";

/// The same for a doctor, who says what is found in other words.
const LINES_OF_DOCTOR: &str = "error,async_nats=off,kurrentdb=off";

/// Log lines go to stderr, in colours on a terminal and as JSON elsewhere. `RUST_LOG` selects them.
pub(crate) fn start_log(command: &Command) {
    let default = match command {
        Command::Doctor(_) => LINES_OF_DOCTOR,
        _ => LINES_DEFAULT,
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        lines.init();
    } else {
        lines.json().flatten_event(true).init();
    }
}

/// Says why the process ends, and returns the code that it ends with.
#[expect(clippy::print_stderr, reason = "the last word of the process, whatever the log level")]
pub(crate) fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("entasis: {error:#}");
    ExitCode::from(code)
}
