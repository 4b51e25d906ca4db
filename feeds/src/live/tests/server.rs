//! A venue on loopback: sockets that a test speaks through, and answers that it has prepared.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex as AsyncMutex, Notify, oneshot};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

/// What a request is answered with.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: &'static str,
    pub(super) body: String,
    /// Not given before this is sent, or dropped.
    held: Option<Arc<AsyncMutex<oneshot::Receiver<()>>>>,
}

pub(super) fn ok(body: impl Into<String>) -> Answer {
    Answer { status: 200, headers: "X-MBX-USED-WEIGHT-1M: 7\r\n", body: body.into(), held: None }
}

pub(super) fn fails(status: u16, headers: &'static str, body: &str) -> Answer {
    Answer { status, headers, body: body.to_owned(), held: None }
}

/// Returns an answer that waits for a word of the test.
pub(super) fn held_back(answer: Answer) -> (Answer, oneshot::Sender<()>) {
    let (word, held) = oneshot::channel();
    (Answer { held: Some(Arc::new(AsyncMutex::new(held))), ..answer }, word)
}

/// Prepared answers, by the word that a request's path holds. The last of a word is given again.
#[derive(Default)]
struct Answers(Vec<(&'static str, VecDeque<Answer>)>);

/// The paths that were asked for.
#[derive(Default)]
struct Asked {
    paths: Mutex<Vec<String>>,
    more: Notify,
}

pub(super) struct Venue {
    sockets: TcpListener,
    pub(super) ws_url: String,
    pub(super) rest_url: String,
    answers: Arc<Mutex<Answers>>,
    asked: Arc<Asked>,
    _tasks: JoinSet<()>,
}

impl Venue {
    pub(super) async fn new() -> Self {
        let sockets = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let requests = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = |scheme: &str, address: SocketAddr| format!("{scheme}://{address}");
        let ws_url = url("ws", sockets.local_addr().unwrap());
        let rest_url = url("http", requests.local_addr().unwrap());
        let (answers, asked) = (Arc::default(), Arc::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(answer_all(requests, Arc::clone(&answers), Arc::clone(&asked)));
        Self { sockets, ws_url, rest_url, answers, asked, _tasks: tasks }
    }

    /// Prepares one more answer to requests whose path holds this word.
    pub(super) fn answer(&self, word: &'static str, answer: Answer) {
        let mut answers = self.answers.lock().unwrap();
        match answers.0.iter_mut().find(|(known, _)| *known == word) {
            Some((_, prepared)) => prepared.push_back(answer),
            None => answers.0.push((word, VecDeque::from([answer]))),
        }
    }

    /// Returns how often it was asked for a path that holds this word.
    pub(super) fn asked(&self, word: &str) -> Vec<String> {
        let asked = self.asked.paths.lock().unwrap();
        asked.iter().filter(|path| path.contains(word)).cloned().collect()
    }

    /// Waits until it was asked for a path that holds this word.
    pub(super) async fn is_asked(&self, word: &str) {
        while self.asked(word).is_empty() {
            self.asked.more.notified().await;
        }
    }

    /// Waits for the feed to connect.
    pub(super) async fn accept(&self) -> Peer {
        let (stream, _) = self.sockets.accept().await.unwrap();
        Peer(accept_async(stream).await.unwrap())
    }
}

/// The venue's side of a socket.
pub(super) struct Peer(WebSocketStream<TcpStream>);

impl Peer {
    pub(super) async fn say(&mut self, frame: &str) {
        self.0.send(Message::text(frame)).await.unwrap();
    }

    /// Pings, and returns the payload of the pong; `None` when the feed has let go.
    pub(super) async fn ping(&mut self, payload: &'static [u8]) -> Option<Vec<u8>> {
        self.0.send(Message::Ping(payload.into())).await.ok()?;
        match self.0.next().await?.ok()? {
            Message::Pong(payload) => Some(payload.to_vec()),
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the feed to let go.
    pub(super) async fn gone(mut self) {
        while let Some(Ok(_)) = self.0.next().await {}
    }
}

async fn answer_all(requests: TcpListener, answers: Arc<Mutex<Answers>>, asked: Arc<Asked>) {
    let mut under_way = JoinSet::new();
    loop {
        let (stream, _) = requests.accept().await.unwrap();
        under_way.spawn(answer_one(stream, Arc::clone(&answers), Arc::clone(&asked)));
    }
}

async fn answer_one(mut stream: TcpStream, answers: Arc<Mutex<Answers>>, asked: Arc<Asked>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let answer = {
        let mut answers = answers.lock().unwrap();
        let prepared = answers.0.iter_mut().find(|(word, _)| path.contains(word));
        match prepared {
            Some((_, prepared)) if prepared.len() > 1 => prepared.pop_front().unwrap(),
            Some((_, prepared)) => prepared[0].clone(),
            None => fails(404, "", r#"{"code":-1,"msg":"nothing prepared"}"#),
        }
    };
    asked.paths.lock().unwrap().push(path);
    asked.more.notify_one();
    let Answer { status, headers, body, held } = answer;
    if let Some(held) = held {
        let _word = (&mut *held.lock().await).await;
    }
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let _written = stream.write_all(text.as_bytes()).await;
}
