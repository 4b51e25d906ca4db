//! `entasis log create`: makes what the logs need at a broker, as one who may. The house itself need
//! not have the right to.

use std::io::Write;

use anyhow::{Context, Result, bail};
use eventlog::stream::Log;
use serde_json::json;

use crate::command_line::LogCreate;
use crate::configuration::Configuration;
use crate::logs::{LogUrl, Opener};

/// Does no harm where all is there already: it is held against what it must be.
pub(crate) async fn run(create: &LogCreate, configuration: &Configuration) -> Result<()> {
    let opener = Opener::for_copies(configuration);
    let own = match &create.log_url {
        Some(text) => Some(LogUrl::parse(text).context("--log-url is no log")?),
        None => None,
    };
    let mut made = Vec::new();
    for log in [Log::Ledger, Log::Market] {
        let url = own.as_ref().unwrap_or_else(|| configuration.log(log));
        // Folders are made by the house itself.
        let LogUrl::Nats(servers) = url else { continue };
        made.push((log, opener.create(servers, log).await?, url));
    }
    if made.is_empty() {
        bail!("neither log stands behind a broker: a house makes its folders itself");
    }
    let replicas = configuration.nats.replicas;
    for (log, name, url) in made {
        let line = if create.json {
            let url = url.to_string();
            json!({"log": log, "stream": name, "url": url, "replicas": replicas}).to_string()
        } else {
            format!("{name}: the {log} log stands in {url}, replicas: {replicas}")
        };
        writeln!(std::io::stdout(), "{line}")?;
    }
    Ok(())
}
