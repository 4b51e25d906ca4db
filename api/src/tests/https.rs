//! A node behind TLS, and what speaks to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::gate::Gate;
use crate::routes;
use crate::settings::Settings;
use crate::tests::certificates::Issued;
use crate::tests::house::foundation;
use crate::tls::{HTTP_1_1, Tls, configured};

/// What never happens is a failure, not a wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct SecureHouse {
    pub(crate) address: SocketAddr,
    pub(crate) issued: Issued,
    pub(crate) tls: Arc<Tls>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) stop: CancellationToken,
    pub(crate) serving: JoinHandle<std::io::Result<()>>,
}

impl SecureHouse {
    pub(crate) async fn open() -> Self {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let issued = Issued::new();
        let config = configured(issued.chain.as_bytes(), issued.key.as_bytes()).unwrap();
        let (tls, stop) = (Arc::new(Tls::new(config)), CancellationToken::new());
        let app = foundation(settings);
        app.opening.open();
        let gate = Arc::clone(&app.gate);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = routes::serve(listener, Some(Arc::clone(&tls)), app, stop.clone());
        Self { address, issued, tls, gate, stop, serving: tokio::spawn(serving) }
    }

    /// Connects as a client that trusts a certificate, and speaks these protocols.
    pub(crate) async fn try_connect(
        &self,
        trusted: &Issued,
        protocols: &[&[u8]],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let connector = TlsConnector::from(trusted.client(protocols));
        connector.connect("localhost".try_into().unwrap(), stream).await
    }

    pub(crate) async fn connect(&self, protocols: &[&[u8]]) -> TlsStream<TcpStream> {
        self.try_connect(&self.issued, protocols).await.unwrap()
    }

    /// Returns the status of an answer, on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> u16 {
        let mut stream = self.connect(&[HTTP_1_1]).await;
        get(&mut stream, path, "close").await
    }
}

/// Asks on a connection that stands, and returns the status of the answer.
pub(crate) async fn get(stream: &mut TlsStream<TcpStream>, path: &str, connection: &str) -> u16 {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await;
    let answer = str::from_utf8(&answer[..read.expect("an answer in time").unwrap()]).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}
