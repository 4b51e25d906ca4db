//! The operations: what each asks of whoever asks for it, what may be kept of its answer, which
//! methods a path has, and which parameters a query.

use std::collections::BTreeMap;

use domain::access::Scope;
use poem::http::Method;
use serde_json::Value;

use crate::principal::Principal;
use crate::problem::{Code, Problem};

/// What stands before the paths of the document, with the same meaning.
pub const PREFIXES: [&str; 2] = ["/api/v1", "/v1"];

/// Where the WebSocket is, below each prefix and without one. It judges for itself who may open it.
pub const SOCKET: &str = "/ws/market";

/// What paths allow that are in no document.
const ALLOW_ELSEWHERE: &str = "GET, HEAD";

/// What an operation asks of whoever asks for it. Whoever is let in is counted for their account, each
/// request as one: an order that is only weighed costs as much as one that is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever was let in.
    Anybody,
    /// A key, and no token: a token cannot be had for a token.
    Key,
    /// A token, whatever else.
    Token,
    Scope(Scope),
}

/// What may be kept of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// Nothing: it is an account's, or old in a moment.
    Nothing,
    /// All, if it is asked each time whether it still holds.
    IfStillSo,
}

/// What stands of an operation here, and not in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub id: &'static str,
    pub access: Access,
    pub keeping: Keeping,
}

const fn row(id: &'static str, access: Access) -> Row {
    Row { id, access, keeping: Keeping::Nothing }
}

const fn scope(id: &'static str, scope: Scope) -> Row {
    row(id, Access::Scope(scope))
}

/// Every operation of the document, by its id. One that is missing here is served to nobody.
pub const TABLE: [Row; 26] = [
    scope("market_price", Scope::MarketRead),
    Row { keeping: Keeping::IfStillSo, ..scope("market_history", Scope::MarketRead) },
    scope("market_symbols", Scope::MarketRead),
    scope("market_gaps", Scope::MarketRead),
    scope("market_orderbook", Scope::MarketRead),
    scope("portfolio_positions", Scope::PortfolioRead),
    scope("open_position", Scope::PortfolioWrite),
    scope("portfolio_position", Scope::PortfolioRead),
    scope("close_position", Scope::PortfolioWrite),
    scope("reduce_position", Scope::PortfolioWrite),
    scope("set_stops", Scope::PortfolioWrite),
    scope("remove_stops", Scope::PortfolioWrite),
    scope("portfolio_account", Scope::PortfolioRead),
    scope("portfolio_equity", Scope::PortfolioRead),
    scope("open_account", Scope::Operator),
    scope("deposit", Scope::Operator),
    scope("withdraw", Scope::Operator),
    scope("set_limits", Scope::Operator),
    scope("set_mode", Scope::Operator),
    scope("list_api_keys", Scope::Admin),
    scope("create_api_key", Scope::Admin),
    scope("rotate_api_key", Scope::Admin),
    scope("revoke_api_key", Scope::Admin),
    row("issue_token", Access::Key),
    row("revoke_token", Access::Token),
    row("issue_ticket", Access::Anybody),
];

/// Returns the row of an operation.
pub fn row_of(id: &str) -> Option<Row> {
    TABLE.into_iter().find(|row| row.id == id)
}

impl Row {
    /// Whether what an operation changes stands in a log under a name of its client's, so that it
    /// happens once. A token or a ticket is no such fact: a second one is another.
    pub const fn is_command(self, may_change: bool) -> bool {
        may_change && matches!(self.access, Access::Scope(_))
    }
}

impl Access {
    /// Returns whoever was let in, if they may ask for the operation.
    pub fn check(self, admitted: Option<Principal>) -> Result<Principal, Problem> {
        let unauthorized = |detail| Problem::new(Code::Unauthorized, detail);
        let principal = admitted.ok_or_else(|| unauthorized(self.wanted()))?;
        let is_met = match self {
            Self::Anybody => true,
            Self::Key => principal.token.is_none(),
            Self::Token => principal.token.is_some(),
            Self::Scope(scope) if principal.scopes.contains(scope) => true,
            Self::Scope(scope) => {
                let detail = format!("this needs the scope {scope}");
                return Err(Problem::new(Code::Forbidden, detail));
            }
        };
        if is_met { Ok(principal) } else { Err(unauthorized(self.wanted())) }
    }

    const fn wanted(self) -> &'static str {
        match self {
            Self::Anybody | Self::Scope(_) => "a token or an API key is needed",
            Self::Key => "an API key is needed, and no token",
            Self::Token => "a token is needed",
        }
    }
}

/// Read from the document itself, so that the two cannot differ.
#[derive(Debug, Default)]
pub struct Operations(Vec<Path>);

#[derive(Debug)]
struct Path {
    /// The segments of the path; `None` stands for a parameter.
    segments: Vec<Option<String>>,
    methods: BTreeMap<String, Operation>,
}

/// An operation of the document.
#[derive(Debug)]
pub struct Operation {
    pub row: Row,
    /// The names of its query's parameters.
    parameters: Vec<String>,
}

/// What a request asks for.
#[derive(Debug)]
pub enum Sought<'a> {
    Operation(&'a Operation),
    /// There is a path, but not this method.
    NoMethod,
    /// There is no such path below a prefix.
    NoPath,
    /// What is no operation: the house itself, its documents, the WebSocket.
    Elsewhere,
}

impl Operations {
    pub fn of(document: &Value) -> Self {
        let paths = document.get("paths").and_then(Value::as_object);
        let path = |(template, methods): (&String, &Value)| Path {
            segments: template.split('/').map(segment).collect(),
            methods: methods
                .as_object()
                .into_iter()
                .flatten()
                .filter_map(|(method, operation)| {
                    Some((method.to_uppercase(), Operation::of(operation)?))
                })
                .collect(),
        };
        Self(paths.into_iter().flatten().map(path).collect())
    }

    /// Returns what a request asks for.
    pub fn seek(&self, method: &Method, path: &str) -> Sought<'_> {
        let Some(path) = below_prefix(path).filter(|path| *path != SOCKET) else {
            return Sought::Elsewhere;
        };
        let method = if method == Method::HEAD { &Method::GET } else { method };
        match self.find(path).map(|path| path.methods.get(method.as_str())) {
            Some(Some(operation)) => Sought::Operation(operation),
            Some(None) => Sought::NoMethod,
            None => Sought::NoPath,
        }
    }

    /// Returns the methods that a path has, for `Allow`.
    pub fn allow(&self, path: &str) -> String {
        let Some(path) = below_prefix(path).and_then(|path| self.find(path)) else {
            return ALLOW_ELSEWHERE.to_owned();
        };
        let mut methods: Vec<&str> = path.methods.keys().map(String::as_str).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.join(", ")
    }

    fn find(&self, path: &str) -> Option<&Path> {
        self.0.iter().find(|candidate| candidate.is(path))
    }
}

fn below_prefix(path: &str) -> Option<&str> {
    let below = PREFIXES.iter().find_map(|prefix| path.strip_prefix(prefix))?;
    (below.is_empty() || below.starts_with('/')).then_some(below)
}

impl Operation {
    fn of(operation: &Value) -> Option<Self> {
        let row = row_of(operation.get("operationId")?.as_str()?)?;
        Some(Self { row, parameters: query_names(operation) })
    }

    /// Refuses a parameter that the operation does not know, or that comes twice: poem would pass
    /// over it, and the client would believe that it counts.
    pub fn check_query(&self, query: &str) -> Result<(), Problem> {
        let mut seen = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let name = pair.split_once('=').map_or(pair, |(name, _)| name);
            if !self.parameters.iter().any(|known| known == name) {
                return Err(Problem::field(name, "no such parameter"));
            }
            if seen.contains(&name) {
                return Err(Problem::field(name, "given more than once"));
            }
            seen.push(name);
        }
        Ok(())
    }
}

impl Path {
    fn is(&self, path: &str) -> bool {
        let mut segments = path.split('/');
        self.segments.iter().all(|expected| {
            // A name that is left out is a name still: the router takes it for one, too.
            segments
                .next()
                .is_some_and(|found| expected.as_ref().is_none_or(|expected| expected == found))
        }) && segments.next().is_none()
    }
}

fn segment(segment: &str) -> Option<String> {
    (!segment.starts_with('{')).then(|| segment.to_owned())
}

fn query_names(operation: &Value) -> Vec<String> {
    let parameters = operation.get("parameters").and_then(Value::as_array);
    parameters
        .into_iter()
        .flatten()
        .filter(|parameter| parameter.get("in").is_some_and(|place| place == "query"))
        .filter_map(|parameter| parameter.get("name")?.as_str().map(str::to_owned))
        .collect()
}
