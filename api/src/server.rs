//! The accept loop: connections over hyper, their limits, and an orderly stop.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::endpoint::BoxEndpoint;
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Addr, Endpoint, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::admission::{Admission, Admitted};
use crate::settings::Settings;

/// Bytes of a connection's read buffer: a head that does not fit is answered with 431.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Header fields of a request. More are answered with 431.
const HEADERS_MAX: usize = 64;

/// How long nobody is accepted after an accept failed: descriptors run out for longer than a moment,
/// and trying at once again would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection's place among the many. Whoever outlives the connection, as a WebSocket does, keeps
/// it along.
pub struct Seat {
    _permit: OwnedSemaphorePermit,
    _admitted: Admitted,
}

/// What all connections share.
pub struct Server {
    pub house: BoxEndpoint<'static, Response>,
    /// Whatever must end before the server has ended.
    pub tasks: TaskTracker,
    /// No new requests; what runs may finish.
    pub stop: CancellationToken,
    /// Time is up for what still runs.
    pub cut: CancellationToken,
    pub settings: Settings,
}

impl Server {
    /// Serves until the stop, then lets what runs finish, and cuts it off when that takes too long.
    pub async fn run(self: Arc<Self>, listener: TcpListener) -> io::Result<()> {
        let local = listener.local_addr()?;
        let seats = Arc::new(Semaphore::new(self.settings.connections_max));
        let admission = Admission::new(self.settings.connections_ip_max);
        let mut failures = 0_u64;
        loop {
            let next = async {
                let permit = Arc::clone(&seats).acquire_owned().await;
                let permit = permit.expect("nobody closes the semaphore");
                (permit, listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                next = next => next,
            };
            match accepted {
                Ok((stream, remote)) => {
                    let Some(admitted) = admission.enter(remote.ip()) else {
                        debug!(%remote, "an address has too many connections");
                        continue;
                    };
                    let seat = Arc::new(Seat { _permit: permit, _admitted: admitted });
                    let server = Arc::clone(&self);
                    self.tasks.spawn(server.attend(stream, local, remote, seat));
                }
                Err(error) => {
                    failures += 1;
                    warn!(%error, failures, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        self.tasks.close();
        if tokio::time::timeout(self.settings.stop_patience, self.tasks.wait()).await.is_err() {
            warn!(left = self.tasks.len(), "connections are cut off");
            self.cut.cancel();
            self.tasks.wait().await;
        }
        Ok(())
    }

    /// Serves one connection to its end, or to the point where it becomes a WebSocket.
    async fn attend(
        self: Arc<Self>,
        stream: TcpStream,
        local: SocketAddr,
        remote: SocketAddr,
        seat: Arc<Seat>,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%remote, %error, "the connection is gone already");
            return;
        }
        let server = Arc::clone(&self);
        let answer = service_fn(move |request| {
            let (server, seat) = (Arc::clone(&server), Arc::clone(&seat));
            async move { server.answer(request, local, remote, seat).await }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.settings.head_patience)
            .max_buf_size(BUFFER_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), answer)
            .with_upgrades();
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = self.cut.cancelled() => return,
                }
            }
        };
        if let Err(error) = ended {
            // The client's doing: it left, was too slow, or does not speak HTTP.
            debug!(%remote, %error, "a connection broke off");
        }
    }

    async fn answer(
        &self,
        mut request: hyper::Request<Incoming>,
        local: SocketAddr,
        remote: SocketAddr,
        seat: Arc<Seat>,
    ) -> Result<
        hyper::Response<impl hyper::body::Body<Data = Bytes, Error = io::Error> + use<>>,
        Infallible,
    > {
        request.extensions_mut().insert(seat);
        let request = poem::Request::from((
            request,
            LocalAddr(Addr::SocketAddr(local)),
            RemoteAddr(Addr::SocketAddr(remote)),
            Scheme::HTTP,
        ));
        let response = self.house.get_response(request).await;
        Ok(hyper::Response::<_>::from(response))
    }
}
