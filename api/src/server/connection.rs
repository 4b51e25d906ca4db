//! One connection, from its first byte to its end or to the point where it becomes a WebSocket.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Addr, Endpoint};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::server::activity::{Activity, Overdue, Pieces};
use crate::server::patience::Patient;
use crate::server::{Peer, Seat, Server};
use crate::tls::{H2, HTTP_1_1, Tls};

/// Bytes of a connection's read buffer: a head that does not fit is answered with 431.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Header fields of a request. More are answered with 431.
const HEADERS_MAX: usize = 64;

/// Requests that are at work at once on one connection of HTTP/2. One more is refused, and may be sent
/// again.
const STREAMS_MAX: u32 = 128;

/// Bytes of a head of HTTP/2, with 32 for each field. A larger one is answered with 431.
const HEAD_BYTES_MAX: u32 = 16 * 1024;

/// Bytes of bodies that wait to be read: of one request, which is as much as any may have, and of all
/// of a connection. The client sends no more until they are.
const WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;

/// Bytes of one answer that wait to be taken by the client. The rest waits for them.
const SEND_BYTES_MAX: usize = 64 * 1024;

/// How often a client of HTTP/2 is asked whether it is there, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct Connection {
    pub(super) server: Arc<Server>,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) peer: Peer,
    pub(super) seat: Arc<Seat>,
}

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Stream(#[from] io::Error),
    #[error(transparent)]
    Protocol(#[from] hyper::Error),
    #[error("an answer was not taken")]
    Stuck,
}

/// Runs what is at work on a connection of HTTP/2 where the server waits for it.
#[derive(Clone)]
struct Tracked {
    tasks: TaskTracker,
    cut: CancellationToken,
}

impl<F> Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, work: F) {
        let cut = self.cut.clone();
        self.tasks.spawn(async move { cut.run_until_cancelled(work).await.map(drop) });
    }
}

impl Connection {
    pub(super) async fn attend(self, stream: TcpStream) {
        let remote = self.remote;
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%remote, %error, "the connection is gone already");
            return;
        }
        let (stream, release) = Patient::new(stream, self.server.settings.write_patience);
        let ended = match self.server.tls.clone() {
            None => self.http1(stream).await,
            Some(tls) => match self.secured(stream, &tls).await {
                Err(error) => Err(error.into()),
                Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(H2) => {
                    self.http2(stream).await
                }
                Ok(stream) => self.http1(stream).await,
            },
        };
        // If it has become a WebSocket, that has deadlines of its own, and says so when they pass.
        release.release();
        if let Err(error) = ended {
            // The client's doing: it left, was too slow, or does not speak HTTP.
            debug!(%remote, %error, "a connection broke off");
        }
    }

    /// Returns the stream behind TLS, as soon as both sides agree on how.
    async fn secured<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        tls: &Tls,
    ) -> io::Result<TlsStream<S>> {
        let mut config = tls.current();
        if self.peer.denied {
            // One answer is all there will be: of HTTP/1, after which the connection is closed.
            Arc::make_mut(&mut config).alpn_protocols = vec![HTTP_1_1.to_vec()];
        }
        let handshake = TlsAcceptor::from(config).accept(stream);
        let too_slow = || io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long");
        let stopped = || io::Error::new(io::ErrorKind::Interrupted, "the server stops");
        tokio::select! {
            agreed = timeout(self.server.settings.handshake_patience, handshake) => {
                agreed.map_err(|_| too_slow())?
            }
            () = self.server.stop.cancelled() => Err(stopped()),
        }
    }

    async fn http1<S>(&self, stream: S) -> Result<(), Broken>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let answer =
            service_fn(
                move |request| async move { Ok::<_, Infallible>(self.answer(request).await) },
            );
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.server.settings.head_patience)
            .max_buf_size(BUFFER_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .keep_alive(!self.peer.denied)
            .serve_connection(TokioIo::new(stream), answer)
            .with_upgrades();
        self.served(connection, http1::UpgradeableConnection::graceful_shutdown, pending()).await
    }

    async fn http2<S>(&self, stream: S) -> Result<(), Broken>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let settings = &self.server.settings;
        let activity = Activity::new(settings.head_patience, settings.write_patience);
        let answer = service_fn(|request| {
            let (connection, open) = (self.clone(), activity.open());
            async move {
                let response = connection.answer(request).await;
                Ok::<_, Infallible>(response.map(|body| Pieces::new(body, open)))
            }
        });
        let work = Tracked { tasks: self.server.tasks.clone(), cut: self.server.cut.clone() };
        let connection = http2::Builder::new(work)
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(SEND_BYTES_MAX)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_PATIENCE)
            .serve_connection(TokioIo::new(stream), answer);
        let overdue = activity.overdue();
        self.served(connection, http2::Connection::graceful_shutdown, overdue).await
    }

    /// Drives a connection until it has ended, or must: with the server, or because it is overdue.
    async fn served<C>(
        &self,
        connection: C,
        finish: impl FnOnce(Pin<&mut C>),
        overdue: impl Future<Output = Overdue>,
    ) -> Result<(), Broken>
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut connection = pin!(connection);
        let limit = tokio::select! {
            ended = connection.as_mut() => return Ok(ended?),
            // The server itself says when time is up.
            () = self.server.stop.cancelled() => None,
            overdue = overdue => match overdue {
                Overdue::Stuck => return Err(Broken::Stuck),
                Overdue::Idle | Overdue::Old => Some(self.server.settings.stop_patience),
            },
        };
        finish(connection.as_mut());
        let time_is_up = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => pending().await,
            }
        };
        tokio::select! {
            ended = connection => Ok(ended?),
            () = self.server.cut.cancelled() => Ok(()),
            () = time_is_up => Ok(()),
        }
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
    ) -> Response<impl Body<Data = Bytes, Error = io::Error> + use<>> {
        let seat = Arc::clone(&self.seat);
        request.extensions_mut().insert(seat);
        request.extensions_mut().insert(self.peer);
        let request = poem::Request::from((
            request,
            LocalAddr(Addr::SocketAddr(self.local)),
            RemoteAddr(Addr::SocketAddr(self.remote)),
            if self.peer.secure { Scheme::HTTPS } else { Scheme::HTTP },
        ));
        Response::<_>::from(self.server.house.get_response(request).await)
    }
}
