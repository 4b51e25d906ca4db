//! Who is there, as a page: clients ask for it by a plain HTTP request on the port of the calls.

use std::io;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kurrent::double::cluster::Cluster;
use crate::kurrent::double::discovery::instance_id;

/// Bytes of a request. A longer one gets no answer.
const REQUEST_BYTES_MAX: usize = 16_384;
const ZERO_ID: &str = "00000000-0000-0000-0000-000000000000";

/// Answers the one request of a connection, and closes it.
pub(crate) async fn answer(mut stream: TcpStream, cluster: &Cluster) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let read = stream.read_buf(&mut request).await?;
        if read == 0 || request.len() > REQUEST_BYTES_MAX {
            return Ok(());
        }
    }
    let answer = if request.starts_with(b"GET /gossip ") {
        cluster.count_call("gossip_page");
        response("200 OK", &page(cluster))
    } else {
        response("404 Not Found", "{}")
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn response(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    )
}

fn page(cluster: &Cluster) -> String {
    let leader = cluster.leader();
    let members: Vec<_> = cluster
        .members()
        .into_iter()
        .enumerate()
        .map(|(node, member)| {
            let state = match leader {
                _ if !member.alive => "Shutdown",
                Some(leader) if leader == node => "Leader",
                Some(_) => "Follower",
                None => "Unknown",
            };
            let end = cluster.look(node, |store, _| store.end());
            json!({
                "instanceId": instance_id(node),
                "timeStamp": "2026-01-01T00:00:00Z",
                "state": state,
                "isAlive": member.alive,
                "internalTcpIp": "127.0.0.1",
                "internalTcpPort": 1112,
                "internalSecureTcpPort": 0,
                "externalTcpIp": "127.0.0.1",
                "externalTcpPort": 0,
                "externalSecureTcpPort": 0,
                "httpEndPointIp": "127.0.0.1",
                "httpEndPointPort": member.port,
                "lastCommitPosition": end,
                "writerCheckpoint": end,
                "chaserCheckpoint": end,
                "epochPosition": 0,
                "epochNumber": 0,
                "epochId": ZERO_ID,
                "nodePriority": 0,
                "isReadOnlyReplica": false,
            })
        })
        .collect();
    json!({ "members": members }).to_string()
}
