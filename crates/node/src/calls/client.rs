//! Client: calls others, over connections that are kept.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dui_consensus::group::{Calling, Lane, Unreached, Wire};
use dui_core::{ClusterName, NodeId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::{Assembly, IDLE_MAX, OPEN_MAX, hello, parts};
use crate::handle::Handle;
use crate::streams::{Security, StreamEvent, carry, connect};

/// Calls to other nodes. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Calls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    cluster: ClusterName,
    me: NodeId,
    handle: Handle,
    /// Where this node is: connections come from there.
    bound: watch::Receiver<SocketAddr>,
    security: Arc<Security>,
    slots: Mutex<HashMap<(NodeId, Lane), Slot>>,
}

/// A connection, if there is one; locked while it is being made.
type Slot = Arc<tokio::sync::Mutex<Option<Connection>>>;

#[derive(Clone, Debug)]
struct Connection {
    frames: mpsc::Sender<Vec<u8>>,
    waiting: Waiting,
    next: Arc<AtomicU32>,
}

/// Who waits for an answer of which number.
type Waiting = Arc<Mutex<HashMap<u32, oneshot::Sender<Vec<u8>>>>>;

impl Calls {
    pub(crate) fn new(
        cluster: ClusterName,
        me: NodeId,
        handle: Handle,
        bound: watch::Receiver<SocketAddr>,
        security: Arc<Security>,
    ) -> Self {
        Self(Arc::new(Shared {
            cluster,
            me,
            handle,
            bound,
            security,
            slots: Mutex::default(),
        }))
    }

    /// Closes what leads to a node: it is gone.
    pub(crate) fn forget(&self, id: NodeId) {
        lock(&self.0.slots).retain(|(to, _), _| *to != id);
    }

    async fn ask(self, to: NodeId, lane: Lane, call: Vec<u8>) -> Result<Vec<u8>, Unreached> {
        let slot = lock(&self.0.slots).entry((to, lane)).or_default().clone();
        let mut again = true;
        loop {
            let connection = self.connection(&slot, to).await?;
            let number = connection.next.fetch_add(1, Ordering::Relaxed);
            let (reply, answer) = oneshot::channel();
            lock(&connection.waiting).insert(number, reply);
            // Whoever gives up waiting takes its place along.
            let _place = Place(&connection.waiting, number);
            let mut sent = true;
            for part in parts(number, &call) {
                sent &= connection.frames.send(part).await.is_ok();
            }
            // It was closed because nothing went over it, just now.
            if !sent && std::mem::take(&mut again) {
                continue;
            }
            let ended = |_| Unreached(format!("{to} closed the connection"));
            return answer.await.map_err(ended);
        }
    }

    async fn connection(&self, slot: &Slot, to: NodeId) -> Result<Connection, Unreached> {
        let mut slot = slot.lock().await;
        if let Some(connection) = &*slot
            && !connection.frames.is_closed()
        {
            return Ok(connection.clone());
        }
        *slot = None;
        let known = self.0.handle.ask(move |peer, _| peer.member(to)).await;
        let member = known.map_err(|stopped| Unreached(stopped.to_string()))?;
        let member = member.ok_or_else(|| Unreached(format!("{to} is not a member")))?;
        let connection = self.0.connect(to, member.address).await?;
        *slot = Some(connection.clone());
        Ok(connection)
    }
}

impl Shared {
    async fn connect(&self, to: NodeId, address: SocketAddr) -> Result<Connection, Unreached> {
        let source = self.bound.borrow().ip();
        let mut socket = connect(source, address)
            .await
            .map_err(|how| Unreached(format!("{to} at {address}: {how:?}")))?;
        let sealing = self.security.open(&mut socket, address).await;
        let sealing = sealing.map_err(|why| Unreached(format!("{to} at {address}: {why:?}")))?;
        let (frames, queue) = mpsc::channel(OPEN_MAX);
        let (events, mut received) = mpsc::channel(OPEN_MAX);
        let waiting = Waiting::default();
        // It cannot be full yet.
        let _ = frames.try_send(hello(&self.cluster, self.me, to));
        let asking = waiting.clone();
        tokio::spawn(async move {
            let carrying = carry(socket, sealing, queue, events);
            let hearing = async {
                let mut assembly = Assembly::default();
                loop {
                    let next = timeout(IDLE_MAX, received.recv()).await;
                    let frame = match next {
                        Ok(Some(StreamEvent::Frame(_, frame))) => frame,
                        // Somebody waits for an answer that takes long.
                        Err(_) if !lock(&asking).is_empty() => continue,
                        _ => break,
                    };
                    match assembly.take(&frame) {
                        Ok(Some((number, answer))) => {
                            let asked = lock(&asking).remove(&number);
                            // Whoever asked may have given up.
                            asked.map(|reply| reply.send(answer));
                        }
                        Ok(None) => {}
                        Err(_) => break,
                    }
                }
            };
            tokio::select! {
                () = carrying => {}
                () = hearing => {}
            }
            // Nobody waits for what cannot come any more.
            lock(&asking).clear();
        });
        Ok(Connection {
            frames,
            waiting,
            next: Arc::default(),
        })
    }
}

impl Wire for Calls {
    fn call(&self, to: NodeId, lane: Lane, call: Vec<u8>, limit: Duration) -> Calling {
        let calls = self.clone();
        Box::pin(async move {
            let asked = timeout(limit, calls.clone().ask(to, lane, call)).await;
            asked.unwrap_or_else(|_| {
                // It may lead to where nobody is any more: the next one is new.
                lock(&calls.0.slots).remove(&(to, lane));
                Err(Unreached(format!("no answer of {to} within {limit:?}")))
            })
        })
    }
}

/// Takes a question back that nobody waits for any more.
struct Place<'a>(&'a Waiting, u32);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(self.0).remove(&self.1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is complete before anything that could panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
