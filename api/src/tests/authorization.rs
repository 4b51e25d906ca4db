//! Who may do what: every operation, asked by everybody.

use std::collections::BTreeSet;

use domain::access::{Role, Scope};
use eventlog::entry::Version;
use eventlog::log::ReadLog;

use crate::operations::{PREFIXES, TABLE};
use crate::tests::house::{House, TRADER, snapshot};

/// Another trader, who has an account and money as well.
pub(crate) const OTHER: &str = "zelda-9";

const LONG: &str = r#"{"symbol":"BTC-USDT","size":"0.1","type":"long"}"#;

/// Who asks, in the order of the columns below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Owner,
    Other,
    Nobody,
    Operator,
    Auditor,
    Admin,
    /// Somebody of the right role, with every scope of it but the one that is asked for.
    WrongScope,
}

const EVERYBODY: [Who; 7] =
    [Who::Owner, Who::Other, Who::Nobody, Who::Operator, Who::Auditor, Who::Admin, Who::WrongScope];

/// How an operation is asked, and what each of [`EVERYBODY`] is answered. In a path, `{position}` is
/// one of the owner's, `{key}` the id of a key. The scope is the one that [`Who::WrongScope`] lacks.
struct Row {
    id: &'static str,
    method: &'static str,
    path: &'static str,
    body: &'static str,
    scope: Option<Scope>,
    expected: [u16; 7],
}

const fn row(
    id: &'static str,
    (method, path): (&'static str, &'static str),
    body: &'static str,
    scope: Option<Scope>,
    expected: [u16; 7],
) -> Row {
    Row { id, method, path, body, scope, expected }
}

/// Written for itself, not read from what the door goes by.
const MATRIX: [Row; 26] = {
    use Scope::{Admin, MarketRead, Operator, PortfolioRead, PortfolioWrite};
    const ALL: [u16; 7] = [200, 200, 401, 200, 200, 200, 403];
    const OWN: [u16; 7] = [200, 200, 401, 403, 403, 403, 403];
    const OWN_POSITION: [u16; 7] = [200, 404, 401, 403, 403, 403, 403];
    const OPERATE: [u16; 7] = [403, 403, 401, 200, 403, 403, 403];
    const OPERATE_NEW: [u16; 7] = [403, 403, 401, 201, 403, 403, 403];
    const ADMINISTER: [u16; 7] = [403, 403, 401, 403, 403, 200, 403];
    const ADMINISTER_NEW: [u16; 7] = [403, 403, 401, 403, 403, 201, 403];
    const LIMITS: &str = r#"{"positions_max":9,"notional_max":"1000000"}"#;
    [
        row("market_price", ("GET", "market/price/BTC-USDT"), "", Some(MarketRead), ALL),
        row("market_history", ("GET", "market/history/BTC-USDT"), "", Some(MarketRead), ALL),
        row("market_symbols", ("GET", "market/symbols"), "", Some(MarketRead), ALL),
        row("market_gaps", ("GET", "market/gaps/BTC-USDT"), "", Some(MarketRead), ALL),
        row("market_orderbook", ("GET", "market/orderbook/BTC-USDT"), "", Some(MarketRead), ALL),
        row("portfolio_positions", ("GET", "portfolio/positions"), "", Some(PortfolioRead), OWN),
        row(
            "open_position",
            ("POST", "portfolio/positions"),
            LONG,
            Some(PortfolioWrite),
            [201, 201, 401, 403, 403, 403, 403],
        ),
        row(
            "portfolio_position",
            ("GET", "portfolio/positions/{position}"),
            "",
            Some(PortfolioRead),
            OWN_POSITION,
        ),
        row(
            "reduce_position",
            ("POST", "portfolio/positions/{position}/reduce"),
            r#"{"size":"0.01"}"#,
            Some(PortfolioWrite),
            OWN_POSITION,
        ),
        row(
            "close_position",
            ("POST", "portfolio/positions/{position}/close"),
            "{}",
            Some(PortfolioWrite),
            OWN_POSITION,
        ),
        row(
            "set_stops",
            ("PUT", "portfolio/positions/{position}/stops"),
            r#"{"stop_loss":"60000"}"#,
            Some(PortfolioWrite),
            OWN_POSITION,
        ),
        row(
            "remove_stops",
            ("DELETE", "portfolio/positions/{position}/stops"),
            "",
            Some(PortfolioWrite),
            OWN_POSITION,
        ),
        row("portfolio_account", ("GET", "portfolio/account"), "", Some(PortfolioRead), OWN),
        row("portfolio_equity", ("GET", "portfolio/equity"), "", Some(PortfolioRead), OWN),
        row(
            "open_account",
            ("POST", "operator/accounts"),
            r#"{"account":"new"}"#,
            Some(Operator),
            OPERATE_NEW,
        ),
        row(
            "deposit",
            ("POST", "operator/accounts/demo/deposits"),
            r#"{"amount":"1"}"#,
            Some(Operator),
            OPERATE_NEW,
        ),
        row(
            "withdraw",
            ("POST", "operator/accounts/demo/withdrawals"),
            r#"{"amount":"1"}"#,
            Some(Operator),
            OPERATE_NEW,
        ),
        row(
            "set_limits",
            ("PUT", "operator/accounts/demo/limits"),
            LIMITS,
            Some(Operator),
            OPERATE,
        ),
        row(
            "set_mode",
            ("PUT", "operator/accounts/zelda-9/mode"),
            r#"{"mode":"netting"}"#,
            Some(Operator),
            OPERATE,
        ),
        row("list_api_keys", ("GET", "admin/api-keys"), "", Some(Admin), ADMINISTER),
        row(
            "create_api_key",
            ("POST", "admin/api-keys"),
            r#"{"account":"demo","role":"trader"}"#,
            Some(Admin),
            ADMINISTER_NEW,
        ),
        row(
            "rotate_api_key",
            ("POST", "admin/api-keys/{key}/rotate"),
            "{}",
            Some(Admin),
            ADMINISTER,
        ),
        row("revoke_api_key", ("DELETE", "admin/api-keys/{key}"), "", Some(Admin), ADMINISTER),
        // All of them come with tokens; a token cannot be had for a token.
        row("issue_token", ("POST", "auth/token"), "", None, [401; 7]),
        row(
            "revoke_token",
            ("DELETE", "auth/token"),
            "",
            None,
            [200, 200, 401, 200, 200, 200, 200],
        ),
        row("issue_ticket", ("POST", "ws/ticket"), "", None, [200, 200, 401, 200, 200, 200, 200]),
    ]
};

/// A house in which both traders have money, and the first a position.
pub(crate) async fn furnished() -> (House, String, String) {
    let house = House::trading().await;
    let book = snapshot(1, "2024-03-21T09:30:00Z", "63999.00:5", "64000.00:5");
    house.record("market-binance.BTC-USDT", vec![book]).await;
    house.fund_for(OTHER, "50000.00").await;
    let position = house.position(LONG).await;
    let (key, _) = house.key(r#"{"account":"demo","role":"trader"}"#).await;
    (house, position, key)
}

fn token(house: &House, who: Who, scope: Option<Scope>) -> Option<String> {
    let (account, role) = match who {
        Who::Owner => (TRADER, Role::Trader),
        Who::Other => (OTHER, Role::Trader),
        Who::Nobody => return None,
        Who::Operator => ("olga", Role::Operator),
        Who::Auditor => ("audrey", Role::Auditor),
        Who::Admin => ("ada", Role::Admin),
        Who::WrongScope => {
            let role = match scope {
                Some(Scope::Operator) => Role::Operator,
                Some(Scope::Admin) => Role::Admin,
                _ => Role::Trader,
            };
            let account = if role == Role::Trader { TRADER } else { "olga" };
            let left: Vec<Scope> =
                role.scopes().iter().filter(|held| Some(*held) != scope).collect();
            return Some(house.token(account, role, Some(&left)));
        }
    };
    Some(house.token(account, role, None))
}

async fn version(house: &House, stream: &str) -> usize {
    let stream = stream.parse().unwrap();
    house.ledger.read_stream(&stream, Version(0), 1_000).await.unwrap().len()
}

#[tokio::test]
async fn every_operation_is_for_those_whom_it_is_for_and_for_nobody_else() {
    let mut asked = 0;
    for (round, row) in MATRIX.into_iter().enumerate() {
        let Row { id, method, path, body, scope, expected } = row;
        let prefix = PREFIXES[round % PREFIXES.len()];
        // Those who may come last: what they do must not be what the others are judged by.
        let mut order: Vec<(Who, u16)> = EVERYBODY.into_iter().zip(expected).collect();
        order.sort_by_key(|(_, status)| *status < 300);
        let (house, position, key) = furnished().await;
        let path = path.replace("{position}", &position).replace("{key}", &key);
        let path = format!("{prefix}/{path}");
        let streams = ["account-demo", "account-zelda-9", "account-new", "keys"];
        let mut before = [0; 4];
        for (place, stream) in streams.iter().enumerate() {
            before[place] = version(&house, stream).await;
        }
        for (who, status) in order {
            let answer = match token(&house, who, scope) {
                Some(token) => house.ask_as(&token, method, &path, body).await,
                None => house.bare(method, &path, &[("Content-Length", "0")]).await,
            };
            asked += 1;
            assert_eq!(answer.status, status, "{id} asked by {who:?}: {}", answer.body);
            if answer.status >= 400 {
                assert_eq!(answer.json()["code"], status.to_string(), "{id} {who:?}");
                for (place, stream) in streams.iter().enumerate() {
                    let now = version(&house, stream).await;
                    assert_eq!(now, before[place], "{id} asked by {who:?} changed {stream}");
                }
            }
            let challenge = answer.header("WWW-Authenticate");
            assert_eq!(challenge.is_some(), status == 401, "{id} {who:?}");
            assert!(status == 401 || answer.header("Idempotency-Key") != Some(""), "{id}");
        }
    }
    assert_eq!(asked, MATRIX.len() * EVERYBODY.len());
}

#[tokio::test]
async fn every_operation_stands_in_the_table_and_in_the_matrix() {
    let house = House::open().await;
    let document = house.get("/openapi.json").await.json();
    let mut documented = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert!(documented.insert(id), "{method} {path} has the id of another");
            // What is documented is served, to whoever may.
            for prefix in PREFIXES {
                let path = format!("{prefix}{}", path.replace(['{', '}'], ""));
                let answer =
                    house.bare(&method.to_uppercase(), &path, &[("Content-Length", "0")]).await;
                assert_eq!(answer.status, 401, "{method} {path}");
            }
        }
    }
    let table: BTreeSet<String> = TABLE.iter().map(|row| row.id.to_owned()).collect();
    let matrix: BTreeSet<String> = MATRIX.iter().map(|row| row.id.to_owned()).collect();

    assert_eq!((table.len(), matrix.len()), (TABLE.len(), MATRIX.len()));
    assert_eq!(table, documented);
    assert_eq!(matrix, documented);
}

#[tokio::test]
async fn no_path_of_the_document_can_be_taken_for_another() {
    let house = House::open().await;
    let document = house.get("/openapi.json").await.json();
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    let is_open = |segment: &str| segment.starts_with('{');
    for (place, one) in paths.iter().enumerate() {
        for other in &paths[place + 1..] {
            let (one, other): (Vec<_>, Vec<_>) =
                (one.split('/').collect(), other.split('/').collect());
            let differ = one.len() != other.len()
                || one
                    .iter()
                    .zip(&other)
                    .any(|(one, other)| one != other && !is_open(one) && !is_open(other));
            assert!(differ, "{one:?} {other:?}");
        }
    }
}
