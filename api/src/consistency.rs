//! Reading what one has written: the token that a command answers with, and the wait for it.

use std::str::FromStr;
use std::time::Duration;

use eventlog::entry::Offset;
use eventlog::stream::Log;
use poem::Request;
use poem::http::Method;
use poem::http::header::HeaderName;

use crate::app::App;
use crate::principal::Principal;
use crate::problem::{Code, Problem};

pub const CONSISTENCY_TOKEN: HeaderName = HeaderName::from_static("x-consistency-token");

/// The parameter of a query that says the same as the header.
pub const AFTER: &str = "after";

/// Where what concerns an account is read, below the prefix.
const PORTFOLIO: &str = "/portfolio/";

/// How long a query waits for the views. After it the answer is `SYS_002`.
const VIEWS_PATIENCE: Duration = Duration::from_secs(2);

/// A place of the ledger: whoever shows it shows what the command did. `ledger:1234`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub Offset);

impl Token {
    pub fn text(self) -> String {
        format!("{}:{}", Log::Ledger, self.0)
    }
}

impl FromStr for Token {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let digits = text.strip_prefix("ledger:").unwrap_or_default();
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        let offset = digits.parse().ok().filter(|_| plain);
        offset.map(Offset).map(Self).ok_or("expected a token such as ledger:1234")
    }
}

/// Waits until the views show what a query asks to see: what its token names or, where its caller's
/// account is read without one, the last that this node has written for the caller.
pub async fn caught_up(app: &App, request: &Request) -> Result<(), Problem> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    let named = named(request)?;
    let own = || {
        let is_own = request.uri().path().starts_with(PORTFOLIO);
        let caller = request.data::<Principal>().filter(|_| is_own)?;
        app.desk.last_written(&caller.account).map(Token)
    };
    let Some(Token(offset)) = named.or_else(own) else { return Ok(()) };
    if offset <= app.views.applied(Log::Ledger) {
        return Ok(());
    }
    // Not behind, but asked for what is not there: of another house, or of one that was lost.
    if let Ok(head) = app.ledger.head().await
        && offset > head
    {
        let detail = format!("no command has the token ledger:{offset}: the ledger ends at {head}");
        return Err(Problem::new(Code::NotFound, detail));
    }
    if app.views.wait_applied(Log::Ledger, offset, VIEWS_PATIENCE).await {
        return Ok(());
    }
    let applied = app.views.applied(Log::Ledger);
    let detail = format!("the views show ledger:{applied}, not yet ledger:{offset}");
    Err(Problem::new(Code::ViewsBehind, detail))
}

/// Returns the latest of the tokens that a request names.
fn named(request: &Request) -> Result<Option<Token>, Problem> {
    let mut latest = None;
    for header in request.headers().get_all(CONSISTENCY_TOKEN) {
        let token = header.to_str().unwrap_or_default().parse();
        let token = token.map_err(|reason: &str| Problem::field("X-Consistency-Token", reason))?;
        latest = latest.max(Some(token));
    }
    let query = request.uri().query().unwrap_or_default();
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    for (_, value) in pairs.filter(|(name, _)| *name == AFTER) {
        // The colon is one of the few characters that clients like to write in another way.
        let token = value.replace("%3A", ":").replace("%3a", ":").parse();
        let token = token.map_err(|reason: &str| Problem::field(AFTER, reason))?;
        latest = latest.max(Some(token));
    }
    Ok(latest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_place_of_the_ledger() {
        let token: Token = "ledger:1234".parse().unwrap();
        assert_eq!((token.0, token.text()), (Offset(1_234), "ledger:1234".to_owned()));

        for text in ["", "1234", "ledger:", "ledger:+1", "market:1", "ledger:99999999999999999999"]
        {
            assert!(text.parse::<Token>().is_err(), "{text}");
        }
    }
}
