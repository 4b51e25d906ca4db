//! How long somebody is waited for who takes nothing of what is sent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A stream that breaks when a write makes no way for too long.
///
/// Only writes are watched: whoever waits for something to read knows how long it may.
#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    patience: Duration,
    /// Runs while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
    released: Arc<AtomicBool>,
}

/// Lets a stream be as slow as it likes: what it has become has deadlines of its own.
#[derive(Debug, Clone)]
pub(super) struct Release(Arc<AtomicBool>);

impl Release {
    pub(super) fn release(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, patience: Duration) -> (Self, Release) {
        let released = Arc::new(AtomicBool::new(false));
        let release = Release(Arc::clone(&released));
        (Self { stream, patience, waiting: None, released }, release)
    }

    /// Passes on what became of a write, unless it has waited for too long.
    fn watched(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(self.patience)));
        if waiting.as_mut().poll(context).is_pending() || self.released.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let error = io::Error::new(io::ErrorKind::TimedOut, "nothing was taken for too long");
        Poll::Ready(Err(error))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.watched(written, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.watched(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // A flush of TCP is always done, and so says nothing about the write.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    /// Returns a stream that holds all it can, and its other end.
    async fn full(patience: Duration) -> (Patient<DuplexStream>, Release, DuplexStream) {
        let (server, client) = duplex(64);
        let (mut server, release) = Patient::new(server, patience);
        server.write_all(&[0; 64]).await.unwrap();
        (server, release, client)
    }

    /// Writes a byte if that can be done at once.
    fn write(stream: &mut Patient<DuplexStream>) -> Option<io::Result<usize>> {
        poll_fn(|context| Pin::new(&mut *stream).poll_write(context, &[0])).now_or_never()
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_given_up() {
        let (mut server, _release, _client) = full(Duration::from_millis(20)).await;

        let error = server.write_all(&[0]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_reader_that_goes_on_is_waited_for_anew() {
        let (mut server, _release, mut client) = full(LONG).await;
        assert!(write(&mut server).is_none());
        let first = server.waiting.as_ref().unwrap().deadline();
        assert!(write(&mut server).is_none());
        assert_eq!(server.waiting.as_ref().unwrap().deadline(), first, "asking is no progress");
        server.flush().await.unwrap();
        assert!(server.waiting.is_some(), "nor is a flush");

        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 1);
        assert_eq!(write(&mut server).unwrap().unwrap(), 1);
        assert!(server.waiting.is_none());
        assert!(write(&mut server).is_none());
        assert!(server.waiting.as_ref().unwrap().deadline() > first);
    }

    #[tokio::test]
    async fn a_stream_that_is_released_may_wait() {
        let (mut server, release, _client) = full(Duration::ZERO).await;
        release.release();

        assert!(write(&mut server).is_none());
        server.waiting.as_mut().unwrap().await;
        assert!(write(&mut server).is_none());
    }
}
