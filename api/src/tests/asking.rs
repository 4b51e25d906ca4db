//! How a test asks a house over HTTP, and as whom.

use domain::access::{Role, Scope};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use commands::clock::Clock;

use crate::auth::token::{self, Claims};
use crate::operations::{PREFIXES, SOCKET};
use crate::tests::house::{House, TRADER};

/// Who else is known to a house: they hold no account.
const OPERATOR: &str = "olga";
const ADMIN: &str = "ada";

/// What came back, as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Header fields as they are sent.
fn lines(headers: &[(&str, &str)]) -> String {
    let mut lines = String::new();
    for (name, value) in headers {
        lines.extend([name, ": ", value, "\r\n"]);
    }
    lines
}

impl House {
    /// Returns a token of somebody, for an hour from now; with all that their role may, or with less.
    pub(crate) fn token(&self, account: &str, role: Role, scopes: Option<&[Scope]>) -> String {
        let scopes = scopes.map(|scopes| scopes.iter().copied().collect());
        let now = self.clock.now();
        let claims = Claims {
            id: Uuid::now_v7().to_string().parse().unwrap(),
            account: account.parse().unwrap(),
            role,
            scopes: scopes.unwrap_or_else(|| role.scopes()),
            issued_at: now,
            expires_at: now.plus(60 * domain::time::MINUTE),
            key: None,
        };
        token::sign(&self.gate.token_keys.load(), &claims).expose_secret().to_owned()
    }

    /// Returns who of this house may ask for a path: its trader, its operator, its admin; nobody
    /// where no operation is.
    fn whose(path: &str) -> Option<(&'static str, Role)> {
        let below = PREFIXES.iter().find_map(|prefix| path.strip_prefix(prefix))?;
        match below.split(['/', '?']).nth(1)? {
            "operator" => Some((OPERATOR, Role::Operator)),
            "admin" => Some((ADMIN, Role::Admin)),
            "ws" if below.starts_with(SOCKET) => None,
            _ => Some((TRADER, Role::Trader)),
        }
    }

    /// Returns the header fields of a request, with a token of whoever may, unless the test says
    /// itself who it is.
    pub(crate) fn fields(&self, path: &str, headers: &[(&str, &str)]) -> String {
        let mut fields = lines(headers);
        let is_own = |name: &str| {
            name.eq_ignore_ascii_case("Authorization") || name.eq_ignore_ascii_case("X-API-Key")
        };
        if let Some((account, role)) = Self::whose(path)
            && !headers.iter().any(|(name, _)| is_own(name))
        {
            let token = self.token(account, role, None);
            fields.extend(["Authorization: Bearer ", &token, "\r\n"]);
        }
        fields
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[]).await
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let fields = self.fields(path, headers);
        self.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{fields}\r\n"
        ))
        .await
    }

    /// Asks with these headers and no others: without them, as nobody.
    pub(crate) async fn bare(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let fields = lines(headers);
        self.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{fields}\r\n"
        ))
        .await
    }

    /// Sends a body of JSON.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let fields = self.fields(path, headers);
        self.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n{fields}\r\n{body}",
            body.len()
        ))
        .await
    }

    /// Asks as whoever has this token, with a body of JSON where there is one.
    pub(crate) async fn ask_as(&self, token: &str, method: &str, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str())];
        match body {
            "" => self.bare(method, path, &headers).await,
            body => self.call(method, path, body, &headers).await,
        }
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.call("POST", path, body, &[]).await
    }

    /// Gives somebody a key, and returns its id and its text.
    pub(crate) async fn key(&self, body: &str) -> (String, String) {
        let given = self.post("/v1/admin/api-keys", body).await;
        assert_eq!(given.status, 201, "{}", given.body);
        let text = |name: &str| given.json()[name].as_str().unwrap().to_owned();
        (text("id"), text("api_key"))
    }

    pub(crate) async fn send(&self, request: String) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let place = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..place].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: String::from_utf8_lossy(&answer[place + 4..]).into_owned() }
    }
}
