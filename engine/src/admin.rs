//! What an administrator does on the machine itself: through the socket of the house that runs, or
//! in its place when none runs.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use api::auth::key_text::{self, KeyText};
use commands::clock::Clock;
use commands::register::{self, KeyOrder, Register, RegisterError};
use domain::keys::command::{KeyCommand, KeyRefusal};
use domain::keys::key::{ApiKey, Grant, KeyId};
use domain::time::SECOND;
use eventlog::entry::Actor;
use eventlog::stream::Log;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock::Wall;
use crate::configuration::Configuration;
use crate::logs::Opener;

/// Bytes of a request: more is somebody else's protocol.
const REQUEST_BYTES_MAX: u64 = 64 * 1024;

/// How long one may take to ask.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often an id is drawn anew that is taken.
const DRAWS_MAX: usize = 8;

/// What can be asked of keys.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    CreateKey { grant: Grant },
    ListKeys,
    RotateKey { key: KeyId, overlap_s: u32 },
    RevokeKey { key: KeyId },
}

/// What is told. The secret of a key is in it once.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Told {
    Key { id: KeyId, api_key: String },
    Keys(Vec<(KeyId, ApiKey)>),
    Revoked { id: KeyId },
    Refused(String),
}

/// Does what is asked, and returns once it is durable.
pub(crate) async fn carry_out(
    register: &Register,
    clock: &dyn Clock,
    request: Request,
) -> Result<Told> {
    match request {
        Request::CreateKey { grant } => create(register, clock, grant).await,
        Request::ListKeys => {
            let keys = register.keys().await?;
            Ok(Told::Keys(keys.iter().map(|(id, key)| (id.clone(), key.clone())).collect()))
        }
        Request::RotateKey { key, overlap_s } => {
            let drawn = key_text::drawn_for(key.clone());
            let former_until = clock.now().plus(i64::from(overlap_s) * SECOND);
            let command = KeyCommand::RotateApiKey { key, secret: drawn.hash(), former_until };
            match submit(register, command).await? {
                Ok(()) => Ok(shown(&drawn)),
                Err(refusal) => Ok(Told::Refused(refusal.to_string())),
            }
        }
        Request::RevokeKey { key } => {
            match submit(register, KeyCommand::RevokeApiKey { key: key.clone() }).await? {
                Ok(()) => Ok(Told::Revoked { id: key }),
                Err(refusal) => Ok(Told::Refused(refusal.to_string())),
            }
        }
    }
}

async fn create(register: &Register, clock: &dyn Clock, grant: Grant) -> Result<Told> {
    for _ in 0..DRAWS_MAX {
        let drawn = key_text::drawn();
        let command = KeyCommand::CreateApiKey {
            key: drawn.id.clone(),
            grant: grant.clone(),
            secret: drawn.hash(),
            now: clock.now(),
        };
        match submit(register, command).await? {
            Ok(()) => return Ok(shown(&drawn)),
            Err(KeyRefusal::KeyTaken) => {}
            Err(refusal) => return Ok(Told::Refused(refusal.to_string())),
        }
    }
    bail!("no id could be drawn that is free")
}

fn shown(key: &KeyText) -> Told {
    Told::Key { id: key.id.clone(), api_key: key.text().expose_secret().to_owned() }
}

async fn submit(register: &Register, command: KeyCommand) -> Result<Result<(), KeyRefusal>> {
    // Nobody asks twice under one name here: each call is a wish of its own.
    let name = Uuid::now_v7().to_string();
    let order = KeyOrder {
        append_id: register::append_id("console", &name),
        asked: format!("{{\"console\":\"{name}\"}}"),
        command,
        actor: Actor {
            principal: "console".to_owned(),
            role: "admin".to_owned(),
            via: "console".to_owned(),
        },
        correlation_id: None,
    };
    match register.submit(order).await {
        Ok(_) => Ok(Ok(())),
        Err(RegisterError::Refused(refusal)) => Ok(Err(refusal)),
        Err(error) => Err(error.into()),
    }
}

/// The socket of a house that runs. Only who may enter its private folder can reach it.
pub(crate) struct Socket(UnixListener);

impl Socket {
    /// Opens the socket in the place of one that a house has left behind. Two houses whose ledger
    /// stands elsewhere may have been given one folder by mistake: the second is told.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let named = || format!("the socket {}", path.display());
        let is_used = std::os::unix::net::UnixStream::connect(path).is_ok();
        ensure!(!is_used, "another house uses this data folder: it listens at {}", path.display());
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(named);
            }
            _ => {}
        }
        let listener = UnixListener::bind(path).with_context(named)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .with_context(named)?;
        Ok(Self(listener))
    }

    /// Answers until told to stop, one after the other.
    pub(crate) async fn run(
        self,
        register: Arc<Register>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) {
        while let Some(accepted) = stop.run_until_cancelled(self.0.accept()).await {
            let attended = match accepted {
                Ok((stream, _)) => {
                    let attend = attend(stream, &register, clock.as_ref());
                    tokio::time::timeout(PATIENCE, attend)
                        .await
                        .unwrap_or_else(|_| Err(anyhow!("it took too long")))
                }
                Err(error) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Err(error.into())
                }
            };
            if let Err(error) = attended {
                tracing::warn!(error = format!("{error:#}"), "an administrator was not answered");
            }
        }
    }
}

async fn attend(stream: UnixStream, register: &Register, clock: &dyn Clock) -> Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(REQUEST_BYTES_MAX)).read_line(&mut line).await?;
    let told = match serde_json::from_str(&line) {
        Ok(request) => match carry_out(register, clock, request).await {
            Ok(told) => told,
            Err(error) => Told::Refused(format!("{error:#}")),
        },
        Err(error) => Told::Refused(error.to_string()),
    };
    let mut answer = serde_json::to_vec(&told)?;
    answer.push(b'\n');
    write.write_all(&answer).await?;
    Ok(())
}

/// Has something done by the house that runs on this data or, when none runs, in its place.
pub(crate) async fn ask(configuration: &Configuration, request: Request) -> Result<Told> {
    let path = configuration.door.private.socket();
    if let Ok(stream) = UnixStream::connect(&path).await {
        return ask_house(stream, &request).await.context("the house did not answer");
    }
    let opener = Opener::of(configuration).making_nothing();
    let ledger = opener.open(&configuration.ledger, Log::Ledger).await?;
    let clock: Arc<dyn Clock> = Arc::new(Wall);
    let register = Register::new(ledger.log, clock.clone());
    carry_out(&register, clock.as_ref(), request).await
}

async fn ask_house(mut stream: UnixStream, request: &Request) -> Result<Told> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, read).await.context("it took too long")??;
    ensure!(!answer.is_empty(), "it hung up");
    Ok(serde_json::from_str(&answer)?)
}
