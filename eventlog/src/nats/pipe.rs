//! Messages sent one after the other without waiting for the word that each is stored: in the order in
//! which they are handed in, which a request for each would not keep.

use std::time::Duration;

use async_nats::{HeaderMap, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time;

use crate::nats::broker::{Acknowledged, Broker, Fault, acknowledged};

pub(super) struct Pipe<'a> {
    broker: &'a Broker,
    inbox: String,
    answers: Subscriber,
}

impl Broker {
    pub(super) async fn pipe(&self) -> Result<Pipe<'_>, Fault> {
        let inbox = self.client.new_inbox();
        let answers = self.client.subscribe(format!("{inbox}.*")).await;
        let answers = answers.map_err(|error| Fault::Unsent(error.to_string()))?;
        Ok(Pipe { broker: self, inbox, answers })
    }
}

impl Pipe<'_> {
    /// Sends a message; its answer comes under a number.
    pub(super) async fn send(
        &mut self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
        number: usize,
    ) -> Result<(), Fault> {
        if !self.broker.is_connected() {
            return Err(Fault::Unsent("there is no connection to NATS".to_owned()));
        }
        let inbox = format!("{}.{number}", self.inbox);
        let client = &self.broker.client;
        let sent = client.publish_with_reply_and_headers(subject, inbox, headers, payload).await;
        sent.map_err(|error| Fault::Silence(error.to_string()))
    }

    /// Returns the next answer, and the number of the message that it is for.
    pub(super) async fn next(
        &mut self,
        wait: Duration,
    ) -> Result<(usize, Result<Acknowledged, Fault>), Fault> {
        let silence = || Fault::Silence(format!("NATS does not answer within {wait:?}"));
        let next = time::timeout(wait, self.answers.next()).await;
        let answer = next.ok().flatten().ok_or_else(silence)?;
        let number = answer.subject.rsplit('.').next().and_then(|number| number.parse().ok());
        let number = number.ok_or_else(silence)?;
        if answer.status == Some(async_nats::StatusCode::NO_RESPONDERS) {
            return Ok((number, Err(Fault::Silence("nobody has the stream now".to_owned()))));
        }
        Ok((number, acknowledged(&answer.payload)))
    }
}
