//! A client's connection, which can be frozen and cut.

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::kurrent::double::life::Life;

type Change = Pin<Box<dyn Future<Output = watch::Receiver<Life>> + Send>>;

pub(crate) struct Connection {
    stream: TcpStream,
    life: Life,
    change: Change,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, mut life: watch::Receiver<Life>) -> Self {
        let now = *life.borrow_and_update();
        Self { stream, life: now, change: next_change(life) }
    }

    /// Returns the stream while bytes flow. Pending while the node is frozen: its thaw wakes the task.
    fn poll_stream(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Pin<&mut TcpStream>>> {
        while let Poll::Ready(mut life) = self.change.as_mut().poll(context) {
            self.life = *life.borrow_and_update();
            self.change = next_change(life);
        }
        match self.life {
            Life::Running | Life::Stopping => Poll::Ready(Ok(Pin::new(&mut self.stream))),
            Life::Frozen => Poll::Pending,
            Life::Killed => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

fn next_change(mut life: watch::Receiver<Life>) -> Change {
    Box::pin(async move {
        if life.changed().await.is_err() {
            pending::<()>().await;
        }
        life
    })
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.poll_stream(context)? {
            Poll::Ready(stream) => {
                // The client sends a call in two pieces, and the second only when the first was
                // acknowledged: the system would take 40 ms for that. Where it cannot be asked not to,
                // tests are slower.
                #[cfg(target_os = "linux")]
                stream.set_quickack(true).ok();
                stream.poll_read(context, buffer)
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.poll_stream(context)? {
            Poll::Ready(stream) => stream.poll_write(context, bytes),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_stream(context)? {
            Poll::Ready(stream) => stream.poll_flush(context),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_stream(context)? {
            Poll::Ready(stream) => stream.poll_shutdown(context),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}
