//! Logs in KurrentDB, as a URL and the configuration say.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use eventlog::kurrent::address::{Address, Login};
use eventlog::kurrent::{self, Kurrent, TESTED};
use eventlog::log::ReadLog;
use eventlog::stream::Log;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::ExposeSecret;

use crate::configuration::kurrent::{KurrentSettings, is_prefix};
use crate::configuration::{DAY, Retention};
use crate::logs::{Opener, survived};

/// How the client calls the file of trusted authorities.
const AUTHORITIES: &str = "tlsCaFile";

/// Reads a URL. What is wrong with it is not repeated: part of a password may stand anywhere.
pub(super) fn address(text: &str) -> Result<Address> {
    let address: Address = text.parse()?;
    let prefix = address.prefix().unwrap_or_default();
    ensure!(is_prefix(prefix), "behind the / may stand letters, digits and _, 32 at most");
    Ok(address)
}

impl Opener {
    /// Opens a log; says in the log lines what was found.
    pub(super) async fn open_kurrent(&self, url: &Address, log: Log) -> Result<Kurrent> {
        let named = || format!("the {log} log in {url}");
        let settings = &self.kurrent;
        let address = to_ask(settings, url).with_context(named)?;
        let options = kurrent::Options {
            keep: self.keep.clone(),
            ..options(settings, &address, self.retention)
        };
        let opened = Kurrent::open(address, log, options).await.with_context(named)?;
        let durability = opened.durability();
        let survives = survived(durability);
        let days = self.retention.market_days.get();
        match log {
            Log::Ledger => {
                tracing::info!(%log, %url, ?durability, survives, tested = TESTED, "log opened");
            }
            Log::Market => tracing::info!(
                %log,
                %url,
                ?durability,
                survives,
                tested = TESTED,
                days,
                "log opened; what is older than so many days is dropped, however many bytes that leaves"
            ),
        }
        Ok(opened)
    }
}

fn options(
    settings: &KurrentSettings,
    address: &Address,
    retention: Retention,
) -> kurrent::Options {
    // Who the URL says that we are counts.
    let configured = settings.login.as_ref().filter(|_| address.login().is_none());
    kurrent::Options {
        prefix: settings.prefix.clone(),
        login: configured.map(|login| Login {
            user: login.user.clone(),
            password: login.password.expose_secret().to_owned(),
        }),
        market_age: DAY * retention.market_days.get(),
        nodes: settings.nodes.map(Into::into),
        ..kurrent::Options::default()
    }
}

/// Returns an address with what is configured and the URL does not say.
fn to_ask(settings: &KurrentSettings, url: &Address) -> Result<Address> {
    let mut address = url.clone();
    if !settings.tls && !url.speaks_of_tls() {
        address = address.with("tls", "false");
    }
    if let Some(file) = &settings.tls_ca {
        let file = file.to_str().context("kurrent.tls_ca: its name is no text")?;
        address = address.with(AUTHORITIES, file);
    }
    if let Some(file) = address.setting(AUTHORITIES) {
        let named = || format!("kurrent.tls_ca, or {AUTHORITIES} in the URL: {file}");
        check_authorities(Path::new(file)).with_context(named)?;
    }
    Ok(address)
}

/// Reads a file of certificates: the client would end the process where it does not read.
fn check_authorities(file: &Path) -> Result<()> {
    let certificates = CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>()?;
    ensure!(!certificates.is_empty(), "there is no certificate in it");
    Ok(())
}

#[cfg(test)]
mod tests;
