//! Bare sockets: a task for each connection, the same bytes for all, a write for each message. It
//! speaks as much WebSocket as our clients look at.

use anyhow::{Result, ensure};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

use super::message;
use super::poem::WAITING_MAX;
use super::serve::{Orders, announce};

pub async fn serve(mut orders: Orders) -> Result<()> {
    let (sender, _) = broadcast::channel::<Bytes>(WAITING_MAX);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(listener.local_addr()?);
    let published = sender.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move { drop(attend(stream, &sender).await) });
        }
    });
    while let Some(ids) = orders.next().await {
        for id in ids {
            published.send(message::framed(&message::text(id)).into())?;
        }
    }
    Ok(())
}

async fn attend(mut stream: TcpStream, sender: &broadcast::Sender<Bytes>) -> Result<()> {
    stream.set_nodelay(true)?;
    read_until(&mut stream, b"\r\n\r\n").await?;
    stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await?;
    read_until(&mut stream, message::SUBSCRIBE.as_bytes()).await?;
    let mut receiver = sender.subscribe();
    stream.write_all(&message::framed(message::ACK)).await?;
    loop {
        let frame = receiver.recv().await?;
        stream.write_all(&frame).await?;
    }
}

async fn read_until(stream: &mut TcpStream, end: &[u8]) -> Result<()> {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        ensure!(stream.read_buf(&mut read).await? > 0, "the client left");
    }
    Ok(())
}
