//! History: the events of this run, kept so that a reader may come late or again.
//!
//! One ring for all readers, bounded in number and in bytes; a reader holds a
//! sequence number and nothing else. Whoever wants what is no longer kept, or
//! never was, is told to read the present state anew, and goes on from there.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use dui_consensus::founding::ClusterId;
use dui_consensus::machine::View;
use dui_core::Event;
use futures_core::Stream;

use crate::clock;
use crate::handle::{NodeEvent, Sequenced};

/// Most events kept: several seconds of a busy writer's, for watches that
/// come back after a connection broke.
const EVENTS_MAX: usize = 16_384;

/// Most bytes of payload kept: user events carry up to 8 KiB each, entries
/// up to 1 MiB.
const PAYLOAD_BYTES_MAX: usize = 8 << 20;

/// The events of a run.
#[derive(Debug, Default)]
pub(crate) struct History {
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Sequenced>,
    /// The number of the newest event ever; 0 before the first.
    newest: u64,
    payload_bytes: usize,
    /// Nothing more will come.
    closed: bool,
    waiting: HashMap<u64, Waker>,
    readers: u64,
}

impl History {
    /// Adds news.
    pub(crate) fn add(&self, event: Event) {
        self.push(NodeEvent::Core(event));
    }

    /// Adds a view.
    pub(crate) fn add_view(&self, cluster: ClusterId, view: View) {
        self.push(NodeEvent::View(cluster, view));
    }

    /// Adds the last event: this node begins to leave.
    pub(crate) fn leaving(&self) {
        self.push(NodeEvent::Leaving);
        self.close();
    }

    /// Ends every stream after what it has yet to read.
    pub(crate) fn close(&self) {
        let mut ring = self.lock();
        ring.closed = true;
        ring.wake();
    }

    /// The number of the newest event; 0 before the first.
    pub(crate) fn newest(&self) -> u64 {
        self.lock().newest
    }

    /// A reader from now on, or from just after `after`.
    pub(crate) fn subscribe(self: &Arc<Self>, after: Option<u64>) -> EventStream {
        let mut ring = self.lock();
        ring.readers += 1;
        EventStream {
            reader: ring.readers,
            position: after.unwrap_or(ring.newest),
            history: self.clone(),
        }
    }

    fn push(&self, event: NodeEvent) {
        let mut ring = self.lock();
        if ring.closed {
            return;
        }
        ring.newest += 1;
        ring.payload_bytes += payload_bytes(&event);
        let sequence = ring.newest;
        ring.events.push_back(Sequenced {
            sequence,
            at_ms: clock::wall_ms(),
            event,
        });
        while ring.events.len() > EVENTS_MAX || ring.payload_bytes > PAYLOAD_BYTES_MAX {
            let Some(oldest) = ring.events.pop_front() else {
                break;
            };
            ring.payload_bytes -= payload_bytes(&oldest.event);
        }
        ring.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        // Every change is complete before anything that could panic.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn wake(&mut self) {
        for (_, waker) in self.waiting.drain() {
            waker.wake();
        }
    }

    /// What a reader that has seen everything up to `position` gets next.
    fn after(&self, position: u64) -> Option<Sequenced> {
        if position == self.newest {
            return None;
        }
        let oldest = self.newest - self.events.len() as u64 + 1;
        if position > self.newest || position + 1 < oldest {
            return Some(Sequenced {
                sequence: self.newest,
                at_ms: clock::wall_ms(),
                event: NodeEvent::Reset,
            });
        }
        self.events.get((position + 1 - oldest) as usize).cloned()
    }
}

fn payload_bytes(event: &NodeEvent) -> usize {
    match event {
        NodeEvent::Core(Event::User(event)) => event.payload.len(),
        NodeEvent::Core(Event::SharedChanged { entry, .. }) => entry.as_bytes().len(),
        _ => 0,
    }
}

/// Events of a node, in order; see [`Handle::subscribe`](crate::Handle::subscribe).
/// Bounded: a reader that falls behind gets [`NodeEvent::Reset`] instead of
/// the missed part. Ends after [`NodeEvent::Leaving`], or when the node stops.
#[derive(Debug)]
pub struct EventStream {
    history: Arc<History>,
    reader: u64,
    position: u64,
}

impl EventStream {
    /// The number of the last event that was read, or that reading begins after.
    pub fn position(&self) -> u64 {
        self.position
    }
}

impl Stream for EventStream {
    type Item = Sequenced;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Sequenced>> {
        let history = self.history.clone();
        let mut ring = history.lock();
        if let Some(event) = ring.after(self.position) {
            self.position = event.sequence;
            return Poll::Ready(Some(event));
        }
        if ring.closed {
            return Poll::Ready(None);
        }
        ring.waiting.insert(self.reader, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.history.lock().waiting.remove(&self.reader);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use dui_core::{NodeId, Timestamp, UserEvent};
    use tokio_stream::StreamExt;

    use super::*;

    fn event(payload_bytes: usize) -> Event {
        Event::User(UserEvent {
            timestamp: Timestamp(1),
            origin: NodeId(1),
            name: "deploy".into(),
            payload: vec![7; payload_bytes],
        })
    }

    fn history(events: usize) -> Arc<History> {
        let history = Arc::new(History::default());
        for _ in 0..events {
            history.add(event(1));
        }
        history
    }

    async fn rest(stream: EventStream) -> Vec<u64> {
        stream.map(|event| event.sequence).collect().await
    }

    #[tokio::test]
    async fn a_reader_that_comes_back_misses_nothing_and_sees_nothing_twice() {
        let history = history(5);
        let late = history.subscribe(Some(2));
        let fresh = history.subscribe(None);
        history.add(event(1));
        history.close();
        assert_eq!(rest(late).await, [3, 4, 5, 6]);
        assert_eq!(rest(fresh).await, [6]);
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken() {
        let history = history(0);
        let mut reader = history.subscribe(None);
        let waiting = tokio::spawn(async move { reader.next().await });
        tokio::task::yield_now().await;
        history.add(event(1));
        assert_eq!(waiting.await.unwrap().unwrap().sequence, 1);
    }

    #[tokio::test]
    async fn what_is_no_longer_kept_is_a_reset_and_then_the_present() {
        let history = history(EVENTS_MAX + 10);
        let mut slow = history.subscribe(Some(9));
        let reset = slow.next().await.unwrap();
        assert_eq!(reset.event, NodeEvent::Reset);
        assert_eq!(reset.sequence, EVENTS_MAX as u64 + 10);
        history.add(event(1));
        assert_eq!(slow.next().await.unwrap().sequence, reset.sequence + 1);
        let just_kept = history.subscribe(Some(11)).next().await.unwrap();
        assert_eq!(just_kept.sequence, 12);
    }

    #[tokio::test]
    async fn a_number_of_another_run_is_a_reset() {
        let history = history(3);
        let reset = history.subscribe(Some(700)).next().await.unwrap();
        assert_eq!((reset.event, reset.sequence), (NodeEvent::Reset, 3));
    }

    #[tokio::test]
    async fn leaving_is_the_last_event_of_every_stream() {
        let history = history(1);
        let reader = history.subscribe(Some(0));
        history.leaving();
        history.add(event(1));
        let events: Vec<_> = reader.map(|event| event.event).collect().await;
        assert_eq!(events, [NodeEvent::Core(event(1)), NodeEvent::Leaving]);
        assert_eq!(history.subscribe(None).next().await, None);
    }

    #[test]
    fn large_payloads_shorten_the_memory_and_do_not_grow_it() {
        let history = history(0);
        for _ in 0..2_000 {
            history.add(event(8 << 10));
        }
        let ring = history.lock();
        assert_eq!(ring.events.len(), PAYLOAD_BYTES_MAX / (8 << 10));
        assert_eq!(ring.payload_bytes, PAYLOAD_BYTES_MAX);
    }
}
