//! A read on its way to the client: page by page, no faster than the client takes it, and cut short
//! where a test says so.

use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time;
use tonic::Status;

use crate::kurrent::double::answer;
use crate::kurrent::double::cluster::Cluster;
use crate::kurrent::double::faults::ReadFault;
use crate::kurrent::double::life::{self, Life};
use crate::kurrent::double::protocol::streams::ReadResp;
use crate::kurrent::double::protocol::streams::read_resp::Content;
use crate::kurrent::double::reading::{Begin, Direction, Filter, StreamPage};
use crate::kurrent::double::request::{ReadRequest, Source, invalid_position};
use crate::kurrent::double::service::Service;
use crate::kurrent::double::store::Record;

/// Events that are taken from the store at once.
const PAGE_EVENTS: usize = 64;

pub(crate) struct Delivery {
    node: usize,
    cluster: Arc<Cluster>,
    life: watch::Receiver<Life>,
    messages: mpsc::Sender<Result<ReadResp, Status>>,
    fault: Option<ReadFault>,
    events: usize,
    structured_ids: bool,
}

impl Delivery {
    pub(crate) fn new(
        service: &Service,
        messages: mpsc::Sender<Result<ReadResp, Status>>,
        fault: Option<ReadFault>,
    ) -> Self {
        Self {
            node: service.node,
            cluster: Arc::clone(&service.cluster),
            life: service.life.clone(),
            messages,
            fault,
            events: 0,
            structured_ids: false,
        }
    }

    /// Reads until everything is told, the client does not listen any more, or a fault says so. Then the
    /// call ends, with OK unless an error was the last thing told.
    pub(crate) async fn run(mut self, request: ReadRequest) {
        self.structured_ids = request.structured_ids;
        // A break is an end like any other.
        let (Break(()) | Continue(())) = self.read(request).await;
    }

    async fn read(&mut self, request: ReadRequest) -> ControlFlow<()> {
        self.check_fault().await?;
        match (request.source.clone(), request.count_max) {
            (Source::Stream { name, from }, Some(count)) => {
                self.read_stream(&name, from, count, &request).await
            }
            (Source::All { begin, filter }, Some(count)) => {
                self.read_all(begin, &filter, count, request.direction).await
            }
            (Source::Stream { name, from }, None) => self.follow_stream(&name, from).await,
            (Source::All { begin, filter }, None) => {
                self.follow_all(begin, &filter, request.checkpoint_every).await
            }
        }
    }

    async fn read_stream(
        &mut self,
        name: &str,
        from: Option<u64>,
        count_max: usize,
        request: &ReadRequest,
    ) -> ControlFlow<()> {
        let direction = request.direction;
        let mut from = from;
        let mut left = count_max;
        // The end of a stream, read forward, has nothing behind it.
        if from.is_none() && direction == Direction::Forward {
            from = Some(u64::MAX);
        }
        loop {
            let page_max = left.min(PAGE_EVENTS);
            let page = self.cluster.look(self.node, |store, until| {
                store.stream_page(name, from, direction, page_max, until)
            });
            let (records, next, first, last) = match page {
                StreamPage::Missing => return self.send(answer::stream_not_found(name)).await,
                StreamPage::Deleted => return self.fail(answer::stream_deleted(name)).await,
                StreamPage::Read { records, next, first, last } => (records, next, first, last),
            };
            let nothing_yet = left == count_max && records.is_empty();
            let hides_beginning = direction == Direction::Forward && from != Some(first);
            if request.tells_ends && nothing_yet && hides_beginning {
                self.send(answer::content(Content::FirstStreamPosition(first))).await?;
            }
            left -= records.len();
            self.events(&records).await?;
            match next.filter(|_| left > 0) {
                Some(next) => from = Some(next),
                None if request.tells_ends => {
                    return self.send(answer::content(Content::LastStreamPosition(last))).await;
                }
                None => return Continue(()),
            }
        }
    }

    async fn read_all(
        &mut self,
        begin: Begin,
        filter: &Filter,
        count_max: usize,
        direction: Direction,
    ) -> ControlFlow<()> {
        let begins = self.cluster.look(self.node, |store, until| store.begin(begin, until));
        let Ok(mut place) = begins else { return self.fail(invalid_position()).await };
        let mut left = count_max;
        while left > 0 {
            let page_max = left.min(PAGE_EVENTS);
            let page = self.cluster.look(self.node, |store, until| {
                store.page(place, direction, filter, page_max, until)
            });
            left -= page.records.len();
            self.events(&page.records).await?;
            let Some(next) = page.next else { break };
            place = next;
        }
        Continue(())
    }

    async fn follow_stream(&mut self, name: &str, from: Option<u64>) -> ControlFlow<()> {
        let mut changes = self.cluster.changes();
        self.send(answer::confirmation(self.cluster_call_number())).await?;
        let last = self.cluster.look(self.node, |store, _| store.last_revision(name));
        let mut from = from.unwrap_or(last.map_or(0, |last| last + 1));
        let mut is_live = false;
        loop {
            let page = self.cluster.look(self.node, |store, until| {
                store.stream_page(name, Some(from), Direction::Forward, PAGE_EVENTS, until)
            });
            let next = match page {
                StreamPage::Deleted => return self.fail(answer::stream_deleted(name)).await,
                StreamPage::Missing => None,
                StreamPage::Read { records, next, last, .. } => {
                    self.events(&records).await?;
                    from = next.unwrap_or(from.max(last + 1));
                    next
                }
            };
            if next.is_some() {
                continue;
            }
            if !is_live {
                self.send(answer::caught_up(from.checked_sub(1), None)).await?;
                is_live = true;
            }
            self.wait(&mut changes).await?;
        }
    }

    async fn follow_all(
        &mut self,
        begin: Begin,
        filter: &Filter,
        checkpoint_every: usize,
    ) -> ControlFlow<()> {
        let mut changes = self.cluster.changes();
        self.send(answer::confirmation(self.cluster_call_number())).await?;
        let begins = self.cluster.look(self.node, |store, until| store.begin(begin, until));
        let Ok(mut place) = begins else { return self.fail(invalid_position()).await };
        // Who follows has seen the event that it names.
        if matches!(begin, Begin::Position(position) if position > 0) {
            place += 1;
        }
        let mut considered = 0;
        let mut is_live = false;
        loop {
            let next = self.cluster.look(self.node, |store, until| {
                let record = if place < until { store.record(place) } else { None };
                record.map(Arc::clone)
            });
            if let Some(record) = next {
                place += 1;
                considered += 1;
                if record.is_there() && filter.passes(&record) {
                    self.events(std::slice::from_ref(&record)).await?;
                }
                if considered % checkpoint_every == 0 && *filter != Filter::None {
                    self.send(answer::checkpoint(record.position)).await?;
                }
                continue;
            }
            if !is_live {
                let last = place.checked_sub(1);
                let seen = self.cluster.look(self.node, |store, _| {
                    last.and_then(|last| store.record(last)).map(|record| record.position)
                });
                self.send(answer::caught_up(None, seen)).await?;
                is_live = true;
            }
            self.wait(&mut changes).await?;
        }
    }

    fn cluster_call_number(&self) -> u64 {
        self.cluster.calls().values().map(|count| *count as u64).sum()
    }

    async fn events(&mut self, records: &[Arc<Record>]) -> ControlFlow<()> {
        for record in records {
            if let Some(delay) = self.cluster.faults(|faults| faults.event_delay) {
                time::sleep(delay).await;
            }
            self.send(answer::event(record, self.structured_ids)).await?;
            self.events += 1;
            self.check_fault().await?;
        }
        Continue(())
    }

    async fn check_fault(&mut self) -> ControlFlow<()> {
        match self.fault {
            Some(fault) if self.events >= fault.events => {
                if fault.broken {
                    return self.fail(Status::unavailable("the connection was lost")).await;
                }
                Break(())
            }
            Some(_) | None => Continue(()),
        }
    }

    async fn send(&mut self, message: ReadResp) -> ControlFlow<()> {
        let sent = tokio::select! {
            biased;
            () = life::ended(&mut self.life) => return self.end().await,
            sent = self.messages.send(Ok(message)) => sent,
        };
        if sent.is_ok() { Continue(()) } else { Break(()) }
    }

    /// A node that stops ends its calls with OK. One that is killed says nothing more, not even that.
    async fn end(&mut self) -> ControlFlow<()> {
        let is_killed = *self.life.borrow() == Life::Killed;
        if is_killed {
            self.messages.closed().await;
        }
        Break(())
    }

    async fn fail(&mut self, status: Status) -> ControlFlow<()> {
        // If nobody listens any more, nobody misses it.
        self.messages.send(Err(status)).await.ok();
        Break(())
    }

    async fn wait(&mut self, changes: &mut watch::Receiver<u64>) -> ControlFlow<()> {
        tokio::select! {
            () = life::ended(&mut self.life) => self.end().await,
            () = self.messages.closed() => Break(()),
            next = changes.changed() => if next.is_ok() { Continue(()) } else { Break(()) },
        }
    }
}
