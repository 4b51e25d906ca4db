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
        match url {
            // Folders are made by the house itself.
            LogUrl::Embedded(_) => {}
            LogUrl::Nats(servers) => {
                made.push((log, Some(opener.create(servers, log).await?), url));
            }
            // A stream there begins with its first event.
            LogUrl::Kurrent(_) => made.push((log, None, url)),
        }
    }
    if made.is_empty() {
        bail!("neither log stands behind a broker: a house makes its folders itself");
    }
    let replicas = configuration.nats.replicas;
    for (log, name, url) in made {
        let line = told(create.json, log, name.as_deref(), url, replicas);
        writeln!(std::io::stdout(), "{line}")?;
    }
    Ok(())
}

/// Says what was made for a log; nothing has a name where nothing was to be made.
fn told(in_json: bool, log: Log, name: Option<&str>, url: &LogUrl, replicas: usize) -> String {
    let replicas = name.map(|_| replicas);
    if in_json {
        let url = url.to_string();
        return json!({"log": log, "stream": name, "url": url, "replicas": replicas}).to_string();
    }
    match (name, replicas) {
        (Some(name), Some(replicas)) => {
            format!("{name}: the {log} log stands in {url}, replicas: {replicas}")
        }
        _ => format!("nothing to make for the {log} log in {url}: KurrentDB makes a stream itself"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_is_to_be_made_that_is_said() {
        let nats = LogUrl::parse("nats://a").unwrap();
        let kurrent = LogUrl::parse("kurrentdb://u:canary@a").unwrap();

        let made = told(false, Log::Ledger, Some("ENTASIS_LEDGER"), &nats, 3);
        assert_eq!(made, "ENTASIS_LEDGER: the ledger log stands in nats://a:4222, replicas: 3");
        let not_made = told(false, Log::Market, None, &kurrent, 3);
        assert!(not_made.starts_with("nothing to make for the market log in kurrentdb://a:2113"));
        let in_json = told(true, Log::Market, None, &kurrent, 3);
        assert_eq!(
            in_json,
            r#"{"log":"market","stream":null,"url":"kurrentdb://a:2113","replicas":null}"#
        );
    }
}
