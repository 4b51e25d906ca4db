//! Where a server of KurrentDB is, as its URL says it.

use std::fmt;
use std::str::FromStr;

/// Settings of a URL that are handed on to the client as they are.
const HANDED_ON: [&str; 8] = [
    "tls",
    "tlsVerifyCert",
    "tlsCaFile",
    "userCertFile",
    "userKeyFile",
    "gossipTimeout",
    "keepAliveInterval",
    "keepAliveTimeout",
];

/// What is said to each client unless the URL says it: all that we ask must come from the leader, and
/// a first connection need not wait.
const OURS: [(&str, &str); 3] =
    [("nodePreference", "leader"), ("discoveryInterval", "20"), ("gossipTimeout", "700")];

const PORT_DEFAULT: u16 = 2_113;

/// One node, several of a cluster, or a name under which they are found.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    is_discovered: bool,
    /// As `host:port`.
    hosts: Vec<String>,
    login: Option<Login>,
    prefix: Option<String>,
    /// Names and values.
    settings: Vec<(String, String)>,
}

/// Who we say that we are.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: String,
}

/// What is wrong with a URL. It repeats nothing of it: part of a password may stand anywhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAnAddress(String);

impl Address {
    /// Returns the login that stands in the URL.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// Returns what the URL puts before the names of our streams.
    pub fn prefix(&self) -> Option<&str> {
        self.prefix.as_deref()
    }

    /// Whether the URL speaks of TLS itself.
    pub fn speaks_of_tls(&self) -> bool {
        self.settings.iter().any(|(name, _)| name.starts_with("tls"))
    }

    /// Returns a setting that the URL has, or that was added.
    pub fn setting(&self, name: &str) -> Option<&str> {
        let found = self.settings.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Adds a setting, unless the URL has it.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        if self.settings.iter().all(|(own, _)| own != name) {
            self.settings.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Returns what the client is told: without the login, which it would take as it is spelled.
    pub(super) fn told(&self) -> String {
        let with_ours =
            OURS.iter().fold(self.clone(), |told, (name, value)| told.with(name, value));
        let settings =
            with_ours.settings.iter().map(|(name, value)| format!("{name}={}", escaped(value)));
        let settings: Vec<_> = settings.collect();
        format!("{}?{}", self.plain(), settings.join("&"))
    }

    fn plain(&self) -> String {
        let discover = if self.is_discovered { "+discover" } else { "" };
        format!("kurrentdb{discover}://{}", self.hosts.join(","))
    }
}

/// Without what is nobody else's business.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plain())?;
        self.prefix.as_ref().map_or(Ok(()), |prefix| write!(f, "/{prefix}"))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Reads `kurrentdb://[user:password@]host[:port][,host[:port]…][/prefix][?setting=value&…]`; `esdb` is
/// the older name of the same, and `+discover` behind either asks a name for its nodes.
impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let wrong = |text: &str| NotAnAddress(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("it has no ://"))?;
        let is_discovered = match scheme {
            "kurrentdb" | "esdb" => false,
            "kurrentdb+discover" | "esdb+discover" => true,
            _ => return Err(wrong("expected kurrentdb://, esdb://, or one with +discover")),
        };
        let (login, rest) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((login, rest)) => {
                let (user, password) = login
                    .split_once(':')
                    .ok_or_else(|| wrong("expected USER:PASSWORD before the @"))?;
                let unescaped = |text| {
                    unescaped(text).ok_or_else(|| {
                        wrong(
                            "a % is followed by no two hexadecimal digits, or the login is no text",
                        )
                    })
                };
                let login = Login { user: unescaped(user)?, password: unescaped(password)? };
                if login.user.is_empty() {
                    return Err(wrong("the user before the @ has no name"));
                }
                (Some(login), rest)
            }
        };
        let (rest, settings) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts = hosts.split(',').map(host).collect::<Result<Vec<_>, _>>()?;
        if is_discovered && hosts.len() > 1 {
            return Err(wrong("one name is asked for its nodes: +discover takes one"));
        }
        let settings = settings.split('&').filter(|setting| !setting.is_empty());
        let settings = settings.map(setting).collect::<Result<_, _>>()?;
        let prefix = Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty());
        Ok(Self { is_discovered, hosts, login, prefix, settings })
    }
}

fn host(text: &str) -> Result<String, NotAnAddress> {
    let wrong =
        || NotAnAddress("expected HOST or HOST:PORT, of letters, digits, - and .".to_owned());
    let (host, port) = match text.split_once(':') {
        None => (text, PORT_DEFAULT),
        Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
    };
    let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if host.is_empty() || !host.bytes().all(may_stand) {
        return Err(wrong());
    }
    Ok(format!("{host}:{port}"))
}

fn setting(text: &str) -> Result<(String, String), NotAnAddress> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let known = HANDED_ON.iter().find(|known| known.eq_ignore_ascii_case(name));
    let known = known
        .ok_or_else(|| NotAnAddress(format!("behind the ? may stand: {}", HANDED_ON.join(", "))))?;
    let value = unescaped(value).filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| NotAnAddress(format!("{known} has no value")))?;
    Ok(((*known).to_owned(), value))
}

/// Reads %41 as A.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut read = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            read.push(byte);
            continue;
        }
        let mut digit =
            || char::from(bytes.next()?).to_digit(16).and_then(|it| u8::try_from(it).ok());
        read.push(digit()? << 4 | digit()?);
    }
    String::from_utf8(read).ok()
}

fn escaped(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte);
    text.bytes()
        .map(
            |byte| {
                if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        text.parse::<Address>().unwrap().told()
    }

    #[test]
    fn an_address_is_read_and_told_without_its_login() {
        let address: Address =
            "esdb://ann:s%40crEt@n1,n2:2114/blue?tls=false&tlsCaFile=/a%20b".parse().unwrap();

        let login = Login { user: "ann".to_owned(), password: "s@crEt".to_owned() };
        assert_eq!(address.login(), Some(&login));
        assert_eq!(address.prefix(), Some("blue"));
        assert!(address.speaks_of_tls());
        for told in
            [address.to_string(), format!("{address:?}"), address.told(), format!("{login:?}")]
        {
            assert!(!told.contains("crEt"), "{told}");
        }
        assert_eq!(address.to_string(), "kurrentdb://n1:2113,n2:2114/blue");
        assert_eq!(
            address.told(),
            "kurrentdb://n1:2113,n2:2114?tls=false&tlsCaFile=/a%20b&nodePreference=leader&\
             discoveryInterval=20&gossipTimeout=700"
        );
    }

    #[test]
    fn the_client_understands_what_it_is_told() {
        for (text, hosts) in [
            ("kurrentdb://localhost", 1),
            ("esdb://localhost:2114?tls=false&gossipTimeout=50", 1),
            ("kurrentdb://a,b:1,c/x", 3),
            ("esdb+discover://cluster.example", 1),
        ] {
            let settings: eventstore::ClientSettings = told(text).parse().unwrap();
            assert_eq!(settings.hosts().len(), hosts, "{text}");
            assert_eq!(settings.is_dns_discovery_enabled(), text.contains("discover"));
            assert_eq!(settings.is_secure_mode_enabled(), !text.contains("tls=false"));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for text in [
            "kurrentdb:localhost",
            "nats://sEcret",
            "kurrentdb://",
            "kurrentdb://a:sEcret@host:x",
            "kurrentdb://sEcret@host",
            "kurrentdb://:sEcret@host",
            "kurrentdb://a:%sEcret@host",
            "kurrentdb://host/sEc/ret@",
            "kurrentdb://host?sEcret=1",
            "kurrentdb://host?tls",
            "kurrentdb+discover://a,b",
            "kurrentdb://[::1]:2113",
        ] {
            let refused = text.parse::<Address>().unwrap_err().to_string();
            assert!(!refused.contains("sEc"), "{text}: {refused}");
        }
    }
}
