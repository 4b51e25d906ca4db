//! The brokers that this process speaks to, each over one connection that all who need it share.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex as Held;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::configuration::nats::{Identity, NatsSettings};
use crate::private;

/// How long the first connection may take, all servers together.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long one server may take to answer before the next is tried.
const SERVER_MAX: Duration = Duration::from_secs(2);

/// Time between two pings. A server that has answered none for three of these is given up.
const PING: Duration = Duration::from_secs(1);

/// Waits before the second and later attempts to connect again; each is twice as long as the one
/// before.
const RETRY_MIN: Duration = Duration::from_millis(25);
const RETRY_MAX: Duration = Duration::from_millis(250);

const PORT_DEFAULT: u16 = 4_222;

/// The servers of one broker, and under which prefix a house keeps its logs there.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Servers {
    /// As `host:port`, in the order of the URL.
    addresses: Vec<String>,
    login: Option<Login>,
    /// Before the one that is configured.
    pub(crate) prefix: Option<String>,
}

/// Who a URL says that we are.
#[derive(Clone)]
struct Login {
    user: String,
    password: SecretString,
}

impl PartialEq for Login {
    fn eq(&self, other: &Self) -> bool {
        let [own, others] = [&self.password, &other.password].map(ExposeSecret::expose_secret);
        self.user == other.user && own == others
    }
}

impl Eq for Login {}

impl Servers {
    /// Reads what stands behind `nats://`: `[user:password@]host[:port][,host[:port]…][/prefix]`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (login, rest) = match text.rsplit_once('@') {
            None => (None, text),
            Some((login, rest)) => {
                let (user, password) =
                    login.split_once(':').context("expected USER:PASSWORD before the @")?;
                ensure!(!user.is_empty(), "the user before the @ has no name");
                let password = SecretString::from(password.to_owned());
                (Some(Login { user: user.to_owned(), password }), rest)
            }
        };
        let (hosts, prefix) = match rest.split_once('/') {
            None | Some((_, "")) => (rest.trim_end_matches('/'), None),
            Some((hosts, prefix)) => (hosts, Some(prefix)),
        };
        if let Some(prefix) = prefix {
            check_prefix(prefix)?;
        }
        let addresses = hosts.split(',').map(address).collect::<Result<_>>()?;
        Ok(Self { addresses, login, prefix: prefix.map(ToOwned::to_owned) })
    }

    /// Whether both are the same broker to the same user.
    fn is_same_broker(&self, other: &Self) -> bool {
        self.addresses == other.addresses && self.login == other.login
    }
}

/// Without what is nobody else's business.
impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nats://{}", self.addresses.join(","))?;
        self.prefix.as_ref().map_or(Ok(()), |prefix| write!(f, "/{prefix}"))
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A prefix is a token of a subject, and in capitals the beginning of a name.
pub(crate) fn check_prefix(prefix: &str) -> Result<()> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    ensure!(
        (1..=32).contains(&prefix.len()) && prefix.bytes().all(fits),
        "the prefix {prefix:?} is no name: expected 1 to 32 of A-Z, a-z, 0-9, - and _"
    );
    Ok(())
}

/// Reads a host and perhaps a port. What is wrong with it is not repeated: where a password holds an
/// `@` or a `/`, part of it may stand here.
fn address(text: &str) -> Result<String> {
    let (host, port) = match text.rsplit_once(':') {
        // Within brackets a colon is part of the address.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
    ensure!(
        !host.is_empty() && host.bytes().all(fits),
        "expected nats://HOST[:PORT][,HOST[:PORT]…][/PREFIX]"
    );
    let port = match port {
        None => PORT_DEFAULT,
        Some(port) => port.parse().ok().context("expected a port behind each colon")?,
    };
    Ok(format!("{host}:{port}"))
}

/// Connects to brokers, and to each only once.
pub(crate) struct Brokers {
    settings: NatsSettings,
    /// What a broker shows of us among its connections.
    name: String,
    connected: Mutex<Vec<(Servers, Client)>>,
}

impl Brokers {
    pub(crate) fn new(settings: NatsSettings, name: impl Into<String>) -> Self {
        Self { settings, name: name.into(), connected: Mutex::default() }
    }

    pub(crate) const fn settings(&self) -> &NatsSettings {
        &self.settings
    }

    /// Returns the connection to a broker, which finds its way back by itself whenever it is lost.
    pub(crate) async fn client(&self, servers: &Servers) -> Result<Client> {
        let mut connected = self.connected.lock().await;
        if let Some((_, client)) = connected.iter().find(|(of, _)| of.is_same_broker(servers)) {
            return Ok(client.clone());
        }
        let client = self.connect(servers).await?;
        connected.push((servers.clone(), client.clone()));
        Ok(client)
    }

    async fn connect(&self, servers: &Servers) -> Result<Client> {
        let addresses: Vec<String> =
            servers.addresses.iter().map(|address| format!("nats://{address}")).collect();
        let options = self.options(servers)?;
        let connecting = timeout(CONNECT_MAX, options.connect(addresses.as_slice()));
        let named = || format!("the broker {servers}");
        match connecting.await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(said(&error)).with_context(named),
            Err(_) => {
                let waited = CONNECT_MAX.as_secs();
                Err(anyhow!("no server has answered within {waited} s")).with_context(named)
            }
        }
    }

    fn options(&self, servers: &Servers) -> Result<ConnectOptions> {
        let events = Arc::new(Events::new(servers));
        let settings = &self.settings;
        let mut options = ConnectOptions::new()
            .name(&self.name)
            .connection_timeout(SERVER_MAX)
            .ping_interval(PING)
            .max_reconnects(None)
            .reconnect_delay_callback(pause)
            .require_tls(settings.tls)
            .event_callback(move |event| {
                let events = Arc::clone(&events);
                async move { events.tell(&event) }
            });
        if let Some(ca) = &settings.tls_ca {
            // Where it does not read, the client would only say that TLS has failed.
            std::fs::metadata(ca).with_context(|| format!("nats.tls_ca: {}", ca.display()))?;
            options = options.add_root_certificates(ca.clone());
        }
        if let Some(Login { user, password }) = &servers.login {
            return Ok(options.user_and_password(user.clone(), password.expose_secret().to_owned()));
        }
        Ok(match &settings.identity {
            Identity::Nobody => options,
            Identity::User { user, password } => {
                options.user_and_password(user.clone(), password.expose_secret().to_owned())
            }
            Identity::Credentials(file) => {
                let text = private::read(file).context("nats.credentials")?;
                // Its own error may repeat what it could not read.
                options.credentials(text.expose_secret()).map_err(|_| {
                    anyhow!("nats.credentials: {} holds no credentials", file.display())
                })?
            }
            Identity::Nkey(file) => {
                let seed = private::read(file).context("nats.nkey")?;
                options.nkey(seed.expose_secret().trim().to_owned())
            }
        })
    }
}

/// Returns how long to wait before an attempt to connect.
fn pause(attempt: usize) -> Duration {
    let Some(doublings) = attempt.checked_sub(2) else { return Duration::ZERO };
    let doublings = u32::try_from(doublings).unwrap_or(u32::MAX).min(8);
    (RETRY_MIN * 2_u32.pow(doublings)).min(RETRY_MAX)
}

/// Says why there is no connection, and what to look at.
fn said(error: &async_nats::ConnectError) -> anyhow::Error {
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation => anyhow!(
            "it lets nobody in by this name and secret: see nats.user and nats.password, or \
             nats.credentials"
        ),
        ConnectErrorKind::Authentication => {
            anyhow!("it could not be proved who we are: see nats.nkey and nats.credentials")
        }
        _ => anyhow!("{error}"),
    }
}

/// Says in the log lines what becomes of a connection: each thing once, however often the client
/// tries again.
struct Events {
    broker: String,
    seen: Held<Seen>,
}

#[derive(Default)]
struct Seen {
    is_lost: bool,
    error: String,
}

impl Events {
    fn new(servers: &Servers) -> Self {
        Self { broker: servers.to_string(), seen: Held::default() }
    }

    fn tell(&self, event: &Event) {
        let broker = &self.broker;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Connected => {
                let again = std::mem::take(&mut seen.is_lost);
                seen.error.clear();
                tracing::info!(broker, again, "connected to the broker");
            }
            Event::Disconnected => {
                if !std::mem::replace(&mut seen.is_lost, true) {
                    tracing::warn!(broker, "the connection to the broker is lost; trying again");
                }
            }
            Event::LameDuckMode => tracing::info!(broker, "a server of the broker is going away"),
            Event::Draining | Event::Closed => {
                tracing::info!(broker, "the connection to the broker is closed");
            }
            Event::SlowConsumer(subscription) => {
                tracing::warn!(broker, subscription, "messages came faster than they were taken");
            }
            Event::ServerError(_) | Event::ClientError(_) => {
                let error = event.to_string();
                if seen.error != error {
                    tracing::warn!(broker, error, "the broker");
                    seen.error = error;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
