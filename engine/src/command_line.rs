//! The words an operator types, and the codes that the process ends with.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
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
}

#[derive(Debug, Args)]
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
}

/// Each flag has a configuration key of the same name and a variable `ENTASIS_…`; a flag wins over
/// the variable, and the variable over the file.
#[derive(Debug, Default, Args)]
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
    /// Where the ledger stands, and the market log too unless it has its own [default: embedded:DATA]
    #[arg(long, value_name = "URL")]
    pub(crate) log: Option<String>,
    /// Where the market log stands
    #[arg(long, value_name = "URL")]
    pub(crate) market_log: Option<String>,
    /// A feed; may be given more than once [default: simulated]
    #[arg(long, value_name = "SPEC", long_help = FEED_HELP)]
    pub(crate) feed: Vec<String>,
}

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

/// Log lines go to stderr, in colours on a terminal and as JSON elsewhere. `RUST_LOG` selects them.
pub(crate) fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
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
