//! Why a session ends, and how: its client is told, and hangs up.

use std::borrow::Cow;
use std::time::Duration;

use futures_util::SinkExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::ws::outbox::Outbox;

/// Nobody has said who they are, or nobody who is known any more.
pub const UNAUTHENTICATED: CloseCode = CloseCode::Library(4401);

/// The key may not be used from there.
pub const FORBIDDEN: CloseCode = CloseCode::Library(4403);

/// No subscription came.
pub const IDLE: CloseCode = CloseCode::Library(4408);

/// The client cannot keep up.
pub const SLOW: CloseCode = CloseCode::Library(4409);

/// Why a session ends.
#[derive(Debug)]
pub enum Ending {
    /// We close, and say why.
    Close(CloseCode, Cow<'static, str>),
    /// The client closed, or is gone.
    Gone,
}

impl Ending {
    /// Returns how a session ends whose socket has failed like this.
    pub fn of(error: &Error) -> Self {
        match error {
            Error::Capacity(_) => Self::Close(CloseCode::Size, "the message is too large".into()),
            Error::Utf8(_) => Self::Close(CloseCode::Invalid, "text must be UTF-8".into()),
            Error::WriteBufferFull(_) => Self::Close(SLOW, "too slow".into()),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::Gone,
            Error::Protocol(_) => Self::Close(CloseCode::Protocol, "not the protocol".into()),
            _ => Self::Gone,
        }
    }
}

/// Says why, hangs up, and waits for the client to do the same: what it still sends would else make
/// the kernel throw our last frame away.
pub async fn close<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: WebSocketStream<S>,
    outbox: &mut Outbox,
    frame: CloseFrame,
    patience: Duration,
) {
    let farewell = async {
        // A frame that was begun is ended first, tungstenite's or ours: the next would be part of it.
        if !outbox.is_begun() {
            socket.flush().await.ok()?;
        }
        outbox.write(socket.get_mut(), patience).await.ok()?;
        socket.send(Message::Close(Some(frame))).await.ok()?;
        let stream = socket.get_mut();
        stream.shutdown().await.ok()?;
        let mut rest = [0; 4096];
        while stream.read(&mut rest).await.ok()? > 0 {}
        Some(())
    };
    // Too slow, or gone: either way it was told as far as it can be.
    drop(timeout(patience, farewell).await);
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::Bytes;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    #[tokio::test]
    async fn a_control_frame_that_was_begun_is_ended_before_anything_else() {
        let (ours, mut theirs) = tokio::io::duplex(3);
        let mut socket = WebSocketStream::from_raw_socket(ours, Role::Server, None).await;
        socket.feed(Message::Ping(Bytes::from_static(b"ping"))).await.unwrap();
        let flushed = timeout(Duration::from_millis(10), socket.flush()).await;
        assert!(flushed.is_err(), "there is room for a part of it only");
        let mut outbox = Outbox::new(1_000);
        outbox.say("x");

        let frame = CloseFrame { code: SLOW, reason: "".into() };
        let reading = async {
            let mut taken = Vec::new();
            theirs.read_to_end(&mut taken).await.unwrap();
            theirs.shutdown().await.unwrap();
            drop(theirs);
            taken
        };
        let (taken, ()) =
            tokio::join!(reading, close(socket, &mut outbox, frame, Duration::from_secs(10)));
        assert_eq!(taken, b"\x89\x04ping\x81\x01x\x88\x02\x11\x39");
    }
}
