//! `entasis doctor`: what this machine and this configuration would run on, and what is wrong with it.
//!
//! It changes nothing and makes nothing, and a house may run on the same data meanwhile. `finding` is
//! what is said and how it looks, `log` looks at a log, `read_store` at snapshots and archive, and
//! `machine` at folders, secrets and disks.

use std::io::Write;

use anyhow::{Result, ensure};
use eventlog::stream::Log;
use serde_json::{Map, json};

use crate::command_line::Doctor;
use crate::configuration::Configuration;
use crate::doctor::finding::Level;
use crate::doctor::log::Asked;
use crate::logs::Opener;

mod finding;
mod log;
mod machine;
mod read_store;

/// Prints what was found. A problem is an error, a warning is none.
pub(crate) async fn run(doctor: &Doctor, configuration: &Configuration) -> Result<()> {
    // How durable a log must be is judged here, and not a reason not to look at it.
    let opener = Opener::for_copies(configuration).making_nothing();
    let [ledger, market] = [Log::Ledger, Log::Market].map(|log| Asked::of(configuration, log));
    let (of_ledger, of_market, of_store) = tokio::join!(
        log::look(&opener, ledger.url, Log::Ledger),
        log::look(&opener, market.url, Log::Market),
        read_store::look(&configuration.read_store),
    );
    let mut findings = Vec::new();
    let mut logs = Map::new();
    for (asked, found) in [(&ledger, &of_ledger), (&market, &of_market)] {
        findings.extend(asked.judge(found));
        logs.insert(asked.log.to_string(), asked.told(found));
    }
    findings.push(of_store);
    findings.extend(machine::look(configuration));

    let version = env!("CARGO_PKG_VERSION");
    let [problems, warnings] = [Level::Problem, Level::Warning]
        .map(|level| findings.iter().filter(|finding| finding.level == level).count());
    let mut out = std::io::stdout().lock();
    if doctor.json {
        let told = json!({
            "version": version,
            "logs": logs,
            "findings": findings,
            "problems": problems,
            "warnings": warnings,
        });
        writeln!(out, "{told}")?;
    } else {
        writeln!(out, "entasis {version}")?;
        for finding in &findings {
            writeln!(out, "{finding}")?;
        }
    }
    out.flush()?;
    ensure!(problems == 0, "{}", summary(problems, warnings));
    Ok(())
}

fn summary(problems: usize, warnings: usize) -> String {
    let counted = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    };
    format!("{} and {}", counted(problems, "problem"), counted(warnings, "warning"))
}

#[cfg(test)]
mod tests;
