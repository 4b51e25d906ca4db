//! Answers as the document shows them.

use serde_json::{Value, json};

const KEY_ID: &str = "3cQ8vYx1";

/// What a key looks like. It opens nothing: its check is not right.
const KEY: &str = "ent_live_3cQ8vYx1_...";

/// The specification's own examples, with our additive keys behind, and the status that they come
/// with.
pub(super) fn of(operation_id: &str) -> Option<(u16, Value)> {
    match operation_id {
        "market_price" => Some((
            200,
            json!({
                "symbol": "BTC-USDT",
                "price": "65432.10",
                "timestamp": "2024-03-21T09:30:00Z",
                "volume": "123.45",
                "exchange": "binance",
                "age_ms": 120,
                "stale": false,
                "quantity": "1.23",
                "taker": "buy",
                "trade_id": 3_482_051_177_u64,
                "quote_volume": "8044233.15",
                "open_24h": "64000.00",
                "change_24h": "1432.10",
                "change_24h_percent": "2.24",
                "window": "24h_rolling",
                "resolution": "1m",
                "entry": {"stream": "market-binance.BTC-USDT", "version": 41},
            }),
        )),
        "market_history" => Some((
            200,
            json!({
                "symbol": "BTC-USDT",
                "data": [{
                    "timestamp": "2024-03-21T09:00:00Z",
                    "open": "65000.00",
                    "high": "65100.00",
                    "low": "64900.00",
                    "close": "65050.00",
                    "volume": "234.56",
                    "quote_volume": "15249587.20",
                    "taker_buy": "120.01",
                    "trades": 812,
                    "first_trade_id": 3_482_050_366_u64,
                    "last_trade_id": 3_482_051_177_u64,
                    "closed": true,
                    "source": "built",
                    "revision": 0,
                }],
                "interval": "1h",
                "exchange": "binance",
                "gaps": [],
                "next_cursor": null,
            }),
        )),
        "market_orderbook" => Some((
            200,
            json!({
                "symbol": "BTC-USDT",
                "bids": [["65000.00", "1.234"], ["64999.00", "2.345"]],
                "asks": [["65001.00", "1.234"], ["65002.00", "2.345"]],
                "timestamp": "2024-03-21T09:30:00.123Z",
                "exchange": "binance",
                "synced": true,
                "verified": true,
                "age_ms": 120,
                "stale": false,
                "last_update_id": 50_093_239_218_u64,
                "entry": {"stream": "market-binance.BTC-USDT", "version": 41},
            }),
        )),
        "portfolio_positions" => Some((
            200,
            json!({
                "positions": [{
                    "symbol": "BTC-USDT",
                    "size": "1.5",
                    "entry_price": "64000.00",
                    "current_price": "65000.00",
                    "pnl": "1500.00",
                    "timestamp": "2024-03-21T09:30:00Z",
                    "position_id": "pos_3s6wpmk11hy1twvxd1cd2a9q6n",
                    "type": "long",
                    "leverage": "1",
                    "margin": "96000.00",
                    "liquidation_price": null,
                    "realized_pnl": "0.00",
                    "opened_at": "2024-03-21T09:29:00Z",
                    "fees": "38.40",
                    "funding": "0.00",
                    "margin_ratio": "0.003590",
                    "stop_loss": null,
                    "take_profit": null,
                    "status": "open",
                    "age_ms": 120,
                    "stale": false,
                }],
                "next_cursor": null,
            }),
        )),
        "open_position" => Some((
            201,
            json!({
                "position_id": "pos_3s6wpmk11hy1twvxd1cd2a9q6n",
                "status": "success",
                "timestamp": "2024-03-21T09:30:00Z",
                "symbol": "BTC-USDT",
                "type": "long",
                "size": "1.5",
                "entry_price": "64000.00",
                "cost": "96000.00",
                "fee": "38.40",
                "margin": "96000.00",
                "liquidation_price": null,
                "basis": "book_vwap",
                "market": {"stream": "market-binance.BTC-USDT", "version": 41},
                "entry": {"stream": "account-demo", "version": 3},
                "token": "ledger:1234",
                "effect": "opened",
                "realized": "0.00",
                "leverage": "1",
            }),
        )),
        "list_api_keys" => Some((200, json!({"api_keys": [api_key()], "next_cursor": null}))),
        "create_api_key" => Some((
            201,
            json!({
                "id": KEY_ID,
                "api_key": KEY,
                "account": "demo",
                "role": "trader",
                "scopes": ["market:read", "portfolio:read"],
                "networks": ["10.0.0.0/8"],
                "expires_at": "2025-03-21T00:00:00Z",
                "label": "the reporter",
                "created_at": "2024-03-21T09:30:00Z",
                "entry": {"stream": "keys", "version": 1},
                "token": "ledger:1234",
            }),
        )),
        "rotate_api_key" => Some((
            200,
            json!({
                "id": KEY_ID,
                "api_key": KEY,
                "status": "success",
                "timestamp": "2024-03-21T09:30:00Z",
                "former_until": "2024-03-21T10:30:00Z",
                "entry": {"stream": "keys", "version": 2},
                "token": "ledger:1235",
            }),
        )),
        "revoke_api_key" => Some((
            200,
            json!({
                "id": KEY_ID,
                "status": "success",
                "timestamp": "2024-03-21T09:30:00Z",
                "entry": {"stream": "keys", "version": 3},
                "token": "ledger:1236",
            }),
        )),
        "issue_token" => Some((
            200,
            json!({
                "token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...",
                "token_type": "Bearer",
                "expires_in": 900,
                "expires_at": "2024-03-21T09:45:00Z",
                "account": "demo",
                "role": "trader",
                "scopes": ["market:read", "portfolio:read"],
            }),
        )),
        "revoke_token" => {
            Some((200, json!({"status": "success", "timestamp": "2024-03-21T09:30:00Z"})))
        }
        "issue_ticket" => Some((
            200,
            json!({
                "ticket": "ent_ticket_...",
                "expires_at": "2024-03-21T09:30:30Z",
                "expires_in": 30,
            }),
        )),
        _ => None,
    }
}

/// A key as it is listed.
fn api_key() -> Value {
    json!({
        "id": KEY_ID,
        "account": "demo",
        "role": "trader",
        "scopes": ["market:read", "portfolio:read"],
        "networks": ["10.0.0.0/8"],
        "expires_at": "2025-03-21T00:00:00Z",
        "label": "the reporter",
        "created_at": "2024-03-21T09:30:00Z",
        "rotated_at": null,
        "former_until": null,
        "revoked_at": null,
        "used_at": "2024-03-21T09:31:00Z",
    })
}
