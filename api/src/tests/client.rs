//! A client of the WebSocket.

use std::time::Duration;

use domain::access::Role;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::tests::house::{House, TRADER};

pub(crate) struct Client(pub(crate) WebSocketStream<TcpStream>);

impl Client {
    pub(crate) async fn connect(
        house: &House,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, u16> {
        let stream = TcpStream::connect(house.address).await.unwrap();
        let mut request = format!("ws://{}{path}", house.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }

    pub(crate) async fn open(house: &House) -> Self {
        Self::connect(house, "/ws/market", &[]).await.unwrap()
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// Returns what comes next. What never comes is a failure, not a wait.
    pub(crate) async fn message(&mut self) -> Option<Result<Message, Error>> {
        let patience = Duration::from_secs(20);
        tokio::time::timeout(patience, self.0.next()).await.expect("a message in time")
    }

    /// Returns the next text; pings are answered on the way.
    pub(crate) async fn next(&mut self) -> String {
        loop {
            match self.message().await.unwrap().unwrap() {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Returns the code with which the server closes, whatever comes before.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.message().await.unwrap().unwrap() {
                return frame.unwrap().code.into();
            }
        }
    }

    /// Connects as an extended client.
    pub(crate) async fn extended(house: &House) -> Self {
        Self::connect(house, "/ws/market?v=1", &[]).await.unwrap()
    }

    /// Connects as an extended client of the house's trader.
    pub(crate) async fn trader(house: &House) -> Self {
        Self::holding(house, &house.token(TRADER, Role::Trader, None)).await
    }

    /// Connects as an extended client that holds this token.
    pub(crate) async fn holding(house: &House, token: &str) -> Self {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        Self::connect(house, "/ws/market?v=1", &headers).await.unwrap()
    }

    /// Returns the next frame.
    pub(crate) async fn frame(&mut self) -> Value {
        serde_json::from_str(&self.next().await).unwrap()
    }

    /// Sends a message that gets an answer, and returns the answer.
    pub(crate) async fn ask(&mut self, text: &str) -> Value {
        self.send(text).await;
        self.frame().await
    }

    /// Returns the code and the reason with which the server closes, and what came before.
    pub(crate) async fn farewell(&mut self) -> (u16, String, Vec<Value>) {
        let mut before = Vec::new();
        loop {
            match self.message().await.unwrap().unwrap() {
                Message::Close(frame) => {
                    let frame = frame.unwrap();
                    return (frame.code.into(), frame.reason.to_string(), before);
                }
                Message::Text(text) => before.push(serde_json::from_str(&text).unwrap()),
                _ => {}
            }
        }
    }
}

/// Returns the keys of a frame, in order.
pub(crate) fn keys(frame: &Value) -> Vec<&str> {
    frame.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Returns the sequence of a frame.
pub(crate) fn seq(frame: &Value) -> u64 {
    frame["seq"].as_u64().unwrap_or_else(|| panic!("no sequence in {frame}"))
}
