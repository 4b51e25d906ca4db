//! poem's own WebSocket, used well: a text is encoded once, and each client is fed until nothing is
//! due before its socket is flushed.

use anyhow::{Result, bail};
use futures_util::{SinkExt, StreamExt};
use poem::listener::TcpAcceptor;
use poem::web::Data;
use poem::web::websocket::{Message, WebSocket, WebSocketStream};
use poem::{EndpointExt, IntoResponse, Route, Server, get, handler};
use tokio::net::TcpListener;
use tokio::sync::broadcast;

use super::message;
use super::serve::{Orders, announce};

/// Messages that wait for a slow client. It would lose what is more, and the round fails then.
pub const WAITING_MAX: usize = 16_384;

pub async fn serve(mut orders: Orders) -> Result<()> {
    let (sender, _) = broadcast::channel::<String>(WAITING_MAX);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let routes = Route::new().at("/ws/market", get(market)).data(sender.clone());
    let server = Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?);
    let mut server = tokio::spawn(server.run(routes));
    announce(address);
    loop {
        let ids = tokio::select! {
            ended = &mut server => bail!("the server ended: {ended:?}"),
            ids = orders.next() => ids,
        };
        let Some(ids) = ids else { return Ok(()) };
        for id in ids {
            sender.send(message::text(id))?;
        }
    }
}

#[handler]
fn market(socket: WebSocket, Data(sender): Data<&broadcast::Sender<String>>) -> impl IntoResponse {
    let sender = sender.clone();
    // Nobody is left to tell that a client is gone.
    socket.on_upgrade(async move |mut socket| drop(attend(&mut socket, &sender).await))
}

async fn attend(socket: &mut WebSocketStream, sender: &broadcast::Sender<String>) -> Result<()> {
    socket.next().await.transpose()?;
    let mut receiver = sender.subscribe();
    socket.send(Message::text(message::ACK)).await?;
    loop {
        let mut text = Ok(receiver.recv().await?);
        while let Ok(due) = text {
            socket.feed(Message::Text(due)).await?;
            text = receiver.try_recv();
        }
        socket.flush().await?;
    }
}
