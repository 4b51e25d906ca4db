//! The accept loop: who gets a connection, and an orderly stop.
//!
//! What a connection does with it stands in `server/connection`: TLS, HTTP/1 or HTTP/2, and how long
//! it waits for whom. Who takes nothing of what is sent is found out in `server/patience`, and with
//! HTTP/2 in `server/activity`.

mod activity;
mod connection;
mod patience;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use poem::Response;
use poem::endpoint::BoxEndpoint;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::admission::{Admission, Admitted};
use crate::gate::Gate;
use crate::server::connection::Connection;
use crate::settings::Settings;
use crate::tls::Tls;

/// How long nobody is accepted after an accept failed: descriptors run out for longer than a moment,
/// and trying at once again would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection's place among the many. Whoever outlives the connection, as a WebSocket does, keeps
/// it along.
pub struct Seat {
    _permit: OwnedSemaphorePermit,
    /// A trusted proxy has none: its connections are those of many.
    _admitted: Option<Admitted>,
}

/// Who is at the other end of a connection. Every request of it carries this along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// In canonical form. It may be a proxy's: for whom that asks is said in `addresses`.
    pub address: IpAddr,
    /// Whether the rules say no to it, as they were when it connected.
    pub denied: bool,
    /// Whether what is said is said over TLS.
    pub secure: bool,
}

/// What all connections share.
pub struct Server {
    pub house: BoxEndpoint<'static, Response>,
    /// From where one may come, and which proxies are trusted.
    pub gate: Arc<Gate>,
    /// `None` where a proxy ends TLS, or nobody is to.
    pub tls: Option<Arc<Tls>>,
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
                    let Some((peer, admitted)) = self.admit(remote, &admission) else {
                        debug!(%remote, "an address has too many connections, or too often new ones");
                        continue;
                    };
                    let seat = Arc::new(Seat { _permit: permit, _admitted: admitted });
                    let server = Arc::clone(&self);
                    let connection = Connection { server, local, remote, peer, seat };
                    self.tasks.spawn(connection.attend(stream));
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

    /// Returns who has connected, and the place that is theirs; `None` when they have enough of them, or
    /// come too often.
    ///
    /// Whoever is denied is let in as far as it takes to say so.
    fn admit(
        &self,
        remote: SocketAddr,
        admission: &Arc<Admission>,
    ) -> Option<(Peer, Option<Admitted>)> {
        let rules = self.gate.rules.load();
        let address = remote.ip().to_canonical();
        let trusted = rules.trusts(address);
        let denied = !trusted && !rules.admits(address);
        let peer = Peer { address, denied, secure: self.tls.is_some() };
        if trusted {
            return Some((peer, None));
        }
        let may_shake_hands =
            || self.gate.limits.handshake(address, rules.requests_ip_max).accepted;
        if peer.secure && !may_shake_hands() {
            return None;
        }
        Some((peer, Some(admission.enter(address)?)))
    }
}
