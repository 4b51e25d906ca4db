//! What of the door may be changed while it is open: from where one may come, and how often.

use domain::network::Network;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Only from these networks, if there are any.
    pub allow: Vec<Network>,
    /// Not from these, whatever else is said.
    pub deny: Vec<Network>,
    /// Proxies that are believed when they say for whom they ask.
    pub trusted_proxies: Vec<Network>,
    /// Requests of one account in any 60 seconds.
    pub requests_max: u32,
    /// Requests of one address in 60 seconds, whoever asks; and handshakes of it.
    pub requests_ip_max: u32,
    /// Failed authentications of one address in 60 seconds. More are 429.
    pub failures_ip_max: u32,
    /// Whether the market and its books are told on the WebSocket to whoever connects.
    pub anonymous_market: bool,
    /// Origins whose pages may open a WebSocket, besides our own: `https://app.example.com`.
    pub origins: Vec<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            deny: Vec::new(),
            trusted_proxies: Vec::new(),
            requests_max: 1_000,
            requests_ip_max: 10_000,
            failures_ip_max: 20,
            anonymous_market: true,
            origins: Vec::new(),
        }
    }
}
