//! Keys, certificate and rules of the door: read at the start, and again whenever their files change.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use api::auth::token_keys::{Algorithm, TokenKeys};
use api::gate::Gate;
use api::tls::{self, Tls};
use commands::clock::Clock;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

use crate::clock::Wall;
use crate::command_line::Serve;
use crate::configuration;
use crate::configuration::door::{Door, TlsChoice, TokenKeysAt};
use crate::private;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Names under which this machine is reached from itself.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Returns the keys that tokens are signed with. Where none are configured and none are there, they
/// are drawn.
pub(crate) fn token_keys(door: &Door) -> Result<TokenKeys> {
    let text = token_keys_text(door)?;
    TokenKeys::read(text.expose_secret()).context("the keys of tokens")
}

/// Returns the text of the file of these keys.
pub(crate) fn token_keys_text(door: &Door) -> Result<SecretString> {
    match &door.token_keys {
        TokenKeysAt::Private => {
            let drawn = || Ok(TokenKeys::drawn(Algorithm::Hs256));
            door.private.read_or_make(&door.private.token_keys(), drawn)
        }
        TokenKeysAt::File(file) => private::read(file),
        TokenKeysAt::Secret(secret) => TokenKeys::of_secret(secret).context("auth.secret"),
    }
}

/// Returns the file of these keys; `None` where they are no file.
pub(crate) fn token_keys_file(door: &Door) -> Option<PathBuf> {
    match &door.token_keys {
        TokenKeysAt::Private => Some(door.private.token_keys()),
        TokenKeysAt::File(file) => Some(file.clone()),
        TokenKeysAt::Secret(_) => None,
    }
}

/// Returns what connections are answered with; `None` where they are plain.
pub(crate) fn tls(door: &Door) -> Result<Option<ServerConfig>> {
    if let TlsChoice::SelfSigned { host } = &door.tls {
        make_certificate(door, host).context("the self-signed certificate")?;
    }
    let Some((certificate, key)) = certificate_files(door) else { return Ok(None) };
    read_certificate(&certificate, &key).map(Some)
}

fn certificate_files(door: &Door) -> Option<(PathBuf, PathBuf)> {
    match &door.tls {
        TlsChoice::Plain { .. } => None,
        TlsChoice::Files { certificate, key } => Some((certificate.clone(), key.clone())),
        TlsChoice::SelfSigned { .. } => {
            Some((door.private.certificate(), door.private.certificate_key()))
        }
    }
}

fn read_certificate(certificate: &Path, key: &Path) -> Result<ServerConfig> {
    let read = |file: &Path| fs::read(file).with_context(|| format!("{}", file.display()));
    let (chain, key_text) = (read(certificate)?, read(key)?);
    tls::configured(&chain, &key_text)
        .and_then(|config| tls::check_time(&chain, Wall.now()).map(|()| config))
        .with_context(|| format!("{} with {}", certificate.display(), key.display()))
}

/// Makes a certificate for this machine and the host it listens on, unless there is one.
fn make_certificate(door: &Door, host: &str) -> Result<()> {
    let (file, key_file) = (door.private.certificate(), door.private.certificate_key());
    if file.exists() && key_file.exists() {
        return Ok(());
    }
    let mut names: Vec<String> = OWN_NAMES.map(str::to_owned).into();
    let is_name = !host.is_empty() && host != "0.0.0.0" && host != "::";
    if is_name && !names.iter().any(|name| name == host) {
        names.push(host.to_owned());
    }
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names)?;
    door.private.make()?;
    private::replace(&key_file, &SecretString::from(signing_key.serialize_pem()))?;
    fs::write(&file, cert.pem()).with_context(|| format!("{}", file.display()))?;
    tracing::info!(file = %file.display(), "certificate made: clients must be told to trust it");
    Ok(())
}

/// What is read again while the house runs.
pub(crate) struct Refresher {
    gate: Arc<Gate>,
    tls: Option<Arc<Tls>>,
    door: Door,
    serve: Option<Serve>,
    seen: Seen,
}

#[derive(Debug, Clone, Copy)]
enum Subject {
    TokenKeys,
    Certificate,
    Configuration,
}

/// What tells a file from what it was.
type Mark = Option<(i64, i64, u64, u64)>;

/// The files that are looked at, and as what they were seen last.
pub(crate) struct Seen(Vec<(Subject, Vec<PathBuf>, Vec<Mark>)>);

impl Seen {
    /// Looks at them. Before they are read for the first time: a start can be long, and what is
    /// changed meanwhile is not to be missed.
    pub(crate) fn of(door: &Door, serve: Option<&Serve>) -> Self {
        let mut files: Vec<(Subject, Vec<PathBuf>)> = Vec::new();
        files.extend(token_keys_file(door).map(|file| (Subject::TokenKeys, vec![file])));
        files.extend(
            certificate_files(door)
                .map(|(certificate, key)| (Subject::Certificate, vec![certificate, key])),
        );
        let configuration = serve.and_then(|serve| serve.config.clone());
        files.extend(configuration.map(|file| (Subject::Configuration, vec![file])));
        let seen = files.into_iter().map(|(subject, files)| {
            let marks = marks(&files);
            (subject, files, marks)
        });
        Self(seen.collect())
    }
}

impl Refresher {
    pub(crate) const fn new(
        gate: Arc<Gate>,
        tls: Option<Arc<Tls>>,
        door: Door,
        serve: Option<Serve>,
        seen: Seen,
    ) -> Self {
        Self { gate, tls, door, serve, seen }
    }

    /// Looks at the files until told to stop. What cannot be used is refused, and what was there
    /// before counts on.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let look_again = || tokio::time::sleep(LOOK_EVERY);
        while stop.run_until_cancelled(look_again()).await.is_some() {
            for (subject, files, before) in std::mem::take(&mut self.seen.0) {
                let now = marks(&files);
                if now != before {
                    match self.refresh(subject) {
                        Ok(()) => tracing::info!(?subject, "read again"),
                        Err(error) => tracing::error!(
                            ?subject,
                            error = format!("{error:#}"),
                            "cannot be used; what was there before counts on"
                        ),
                    }
                }
                self.seen.0.push((subject, files, now));
            }
        }
    }

    fn refresh(&self, subject: Subject) -> Result<()> {
        match subject {
            Subject::TokenKeys => {
                // One that is gone is not drawn anew: every token would be worth nothing.
                if let Some(file) = token_keys_file(&self.door) {
                    let text = private::read(&file)?;
                    self.gate.token_keys.store(Arc::new(TokenKeys::read(text.expose_secret())?));
                }
            }
            Subject::Certificate => {
                if let (Some(tls), Some((certificate, key))) =
                    (&self.tls, certificate_files(&self.door))
                {
                    tls.replace(read_certificate(&certificate, &key)?);
                }
            }
            Subject::Configuration => {
                if let Some(serve) = &self.serve {
                    let configuration = configuration::of_serve(serve)?;
                    self.gate.rules.store(Arc::new(configuration.door.rules));
                    tracing::info!(
                        "limits of requests, addresses and origins count from now on, everything \
                         else from the next start on"
                    );
                }
            }
        }
        Ok(())
    }
}

fn marks(files: &[PathBuf]) -> Vec<Mark> {
    let mark = |file: &PathBuf| {
        let found = fs::metadata(file).ok()?;
        Some((found.mtime(), found.mtime_nsec(), found.size(), found.ino()))
    };
    files.iter().map(mark).collect()
}
