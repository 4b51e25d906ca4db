//! The door: HTTP and WebSocket. It translates, and decides nothing.
//!
//! Read in this order: what the door stands on (`app`, with its limits in `settings`, whether it
//! may be asked in `opening`, how it reads a log that may be away in `prompt`, and how both fare in
//! `standing`) and how its parts are put together (`routes`), the accept loop (`server`, `admission`), what is done around
//! every request (`door`, `operations`), how somebody is let in through it (`admittance`, `allowance`), what makes a command happen once (`idempotency`) and a read show it
//! (`consistency`), and how a client is told no (`problem`). Who may come in stands in `gate`: who
//! somebody is (`auth`, with a tour of its own) and what they may do (`principal`), from where they come
//! (`addresses`), how often (`limits`), by which rules (`rules`), behind which certificate (`tls`),
//! with which ticket (`tickets`), and what of it the other nodes are asked (`neighbours`). Then the
//! resources: `market`, `orderbook` and `health`; of an account, `positions` and `account` to read and `trading`,
//! `stops` and `operator` to change, of keys `api_keys` and `tokens`, each through `orders`, with the bodies of requests in `body`; with the texts
//! of values in `scalar` and answers that are named by their hash in `entity`; the documents and their page (`docs`), and figures for those who watch (`metrics`). Last the WebSocket, which has a
//! tour of its own (`ws`).

pub mod app;
pub mod opening;
pub mod settings;

pub mod prompt;
pub mod standing;

pub mod routes;

pub mod server;

pub mod admission;

pub mod door;
pub mod operations;

pub mod admittance;
pub mod allowance;

pub mod consistency;
pub mod idempotency;

pub mod problem;

pub mod gate;

pub mod auth;
pub mod principal;

pub mod addresses;
pub mod limits;
pub mod rules;

pub mod tls;

pub mod tickets;

pub mod neighbours;

pub mod health;
pub mod market;
pub mod orderbook;

pub mod api_keys;
pub mod tokens;

pub mod account;
pub mod operator;
pub mod positions;
pub mod stops;
pub mod trading;

pub mod body;
pub mod orders;

pub mod entity;
pub mod scalar;

pub mod docs;
pub mod metrics;
pub mod ws;

#[cfg(test)]
mod tests;
