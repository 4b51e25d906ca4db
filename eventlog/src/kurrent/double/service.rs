//! The calls on streams, as one node answers them.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::kurrent::double::appending::{Appended, Expected};
use crate::kurrent::double::cluster::{Cluster, Held, not_ready};
use crate::kurrent::double::delivery::Delivery;
use crate::kurrent::double::faults::{AppendFault, Faults};
use crate::kurrent::double::life::Life;
use crate::kurrent::double::protocol::streams::streams_server::Streams;
use crate::kurrent::double::protocol::streams::{
    AppendReq, AppendResp, DeleteReq, DeleteResp, ReadReq, ReadResp, TombstoneReq, TombstoneResp,
    delete_resp, tombstone_resp,
};
use crate::kurrent::double::request::{AppendRequest, DeleteRequest, ReadRequest};
use crate::kurrent::double::{access, answer};

/// Messages of a read that wait for the client. When they are so many the server waits.
const MESSAGES_MAX: usize = 16;

#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) node: usize,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) life: watch::Receiver<Life>,
}

impl Service {
    fn check(&self, metadata: &MetadataMap, reads_all: bool) -> Result<(), Status> {
        access::check(&self.cluster.users, metadata, reads_all)?;
        self.cluster.check_leader(self.node, metadata)
    }

    async fn append_faulty(&self, request: AppendRequest) -> Result<AppendResp, Status> {
        let fault = self.cluster.faults(Faults::next_append);
        let AppendRequest { stream, expected, events } = request;
        match fault {
            Some(AppendFault::Refused) => return Err(not_ready()),
            Some(AppendFault::Held) => {
                self.cluster.hold(Held { stream, expected, events });
                return Err(answer::timed_out());
            }
            Some(AppendFault::Late(delay)) => {
                let cluster = Arc::clone(&self.cluster);
                tokio::spawn(async move {
                    time::sleep(delay).await;
                    cluster.append(&stream, expected, events);
                });
                return Err(answer::timed_out());
            }
            Some(_) | None => {}
        }
        let appended = self.cluster.append(&stream, expected, events);
        let current = self.cluster.look(self.node, |store, _| store.last_revision(&stream));
        let answer = answer::append(&stream, expected, &appended, current);
        match fault {
            Some(AppendFault::AnswerLost) => Err(Status::unavailable("the connection was lost")),
            Some(AppendFault::TimedOut) => Err(answer::timed_out()),
            Some(AppendFault::AnsweredLate(delay)) => {
                time::sleep(delay).await;
                answer
            }
            Some(AppendFault::WithoutPosition) => answer.map(answer::without_position),
            Some(AppendFault::Refused | AppendFault::Held | AppendFault::Late(_)) | None => answer,
        }
    }
}

#[tonic::async_trait]
impl Streams for Service {
    type ReadStream = Pin<Box<dyn Stream<Item = Result<ReadResp, Status>> + Send>>;

    async fn read(&self, request: Request<ReadReq>) -> Result<Response<Self::ReadStream>, Status> {
        self.cluster.count_call("read");
        let (metadata, _, message) = request.into_parts();
        let request = ReadRequest::of(message)?;
        self.check(&metadata, request.is_of_all())?;

        let (messages, mut receiver) = mpsc::channel(MESSAGES_MAX);
        let fault = self.cluster.faults(|faults| faults.next_read(request.kind()));
        let delivery = Delivery::new(self, messages, fault);
        tokio::spawn(delivery.run(request));
        // A server says nothing at all, not even that it heard, before it has something to tell.
        let Some(first) = receiver.recv().await.transpose()? else {
            return Ok(Response::new(Box::pin(tokio_stream::empty())));
        };
        let rest = ReceiverStream::new(receiver);
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(first)).chain(rest))))
    }

    async fn append(
        &self,
        request: Request<Streaming<AppendReq>>,
    ) -> Result<Response<AppendResp>, Status> {
        self.cluster.count_call("append");
        self.check(request.metadata(), false)?;
        let request = AppendRequest::of(request.into_inner()).await?;
        self.append_faulty(request).await.map(Response::new)
    }

    async fn delete(&self, request: Request<DeleteReq>) -> Result<Response<DeleteResp>, Status> {
        self.cluster.count_call("delete");
        self.check(request.metadata(), false)?;
        let DeleteRequest { stream, expected } = DeleteRequest::of(request.into_inner())?;
        let deleted = self.cluster.change(|store| store.delete(&stream, expected));
        let position = position(&stream, expected, &deleted)?;
        let position =
            delete_resp::Position { commit_position: position, prepare_position: position };
        let position_option = Some(delete_resp::PositionOption::Position(position));
        Ok(Response::new(DeleteResp { position_option }))
    }

    async fn tombstone(
        &self,
        request: Request<TombstoneReq>,
    ) -> Result<Response<TombstoneResp>, Status> {
        self.cluster.count_call("tombstone");
        self.check(request.metadata(), false)?;
        let DeleteRequest { stream, expected } = DeleteRequest::of_tombstone(request.into_inner())?;
        let deleted = self.cluster.change(|store| store.tombstone(&stream, expected));
        let position = position(&stream, expected, &deleted)?;
        let position =
            tombstone_resp::Position { commit_position: position, prepare_position: position };
        let position_option = Some(tombstone_resp::PositionOption::Position(position));
        Ok(Response::new(TombstoneResp { position_option }))
    }
}

/// A conflict is a status here: only appends have one as a result.
fn position(stream: &str, expected: Expected, deleted: &Appended) -> Result<u64, Status> {
    match deleted {
        Appended::There { records, .. } => Ok(records.last().map_or(0, |record| record.position)),
        Appended::Conflict { current } => Err(Status::failed_precondition(format!(
            "Append failed due to WrongExpectedVersion. Stream: {stream}, Expected version: \
             {expected:?}, Actual version: {current:?}"
        ))),
        Appended::Deleted => Err(answer::stream_deleted(stream)),
    }
}
