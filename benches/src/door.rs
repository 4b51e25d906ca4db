//! A query through the whole door: token judged, limits counted, ids, headers and a line in the log.
//!
//! The yardstick is the least that poem-openapi can answer, behind the same accept loop and to the
//! same clients: the ratio says what the door costs.
#![expect(clippy::disallowed_types, reason = "what the macro of poem-openapi writes is not ours")]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Result;
use api::server::Server;
use api::settings::Settings;
use poem::{EndpointExt, Route};
use poem_openapi::payload::PlainText;
use poem_openapi::{OpenApi, OpenApiService};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client;
use crate::trading::House;

const REQUESTS_EACH: usize = 400;

/// Both servers, in this process.
pub struct Doors {
    house: House,
    hello: SocketAddr,
    _tasks: JoinSet<()>,
}

struct Hello;

#[OpenApi]
impl Hello {
    #[oai(path = "/hello", method = "get", operation_id = "hello")]
    async fn hello(&self) -> PlainText<&'static str> {
        PlainText("hello")
    }
}

impl Doors {
    pub async fn open() -> Result<Self> {
        // As in the binary, each answer is a line of JSON; here it goes nowhere.
        tracing_subscriber::fmt().json().with_writer(io::sink).init();
        let house = House::open().await?;
        let service = OpenApiService::new(Hello, "hello", "1");
        let endpoint = Route::new().nest("/", service).map_to_response().boxed();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let hello = listener.local_addr()?;
        let server = Arc::new(Server {
            house: endpoint,
            tls: None,
            gate: house.gate(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            settings: Settings::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(server.run(listener).await) });
        Ok(Self { house, hello, _tasks: tasks })
    }

    /// Returns the prices per second.
    pub async fn prices(&self) -> Result<f64> {
        let (address, token) = (self.house.address(), self.house.token());
        let request = format!(
            "GET /api/v1/market/price/BTC-USDT HTTP/1.1\r\nHost: bench\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        );
        client::requests(address, REQUESTS_EACH, move |_, _: &[u8]| request.clone()).await
    }

    /// Returns the hellos per second.
    pub async fn hellos(&self) -> Result<f64> {
        let request = |_, _: &[u8]| "GET /hello HTTP/1.1\r\nHost: bench\r\n\r\n".to_owned();
        client::requests(self.hello, REQUESTS_EACH, request).await
    }
}
