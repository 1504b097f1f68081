//! Server: answers those who call.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use dui_core::{ClusterName, NodeId, StreamId};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};

use super::{Assembly, CALLED_BYTES_MAX, MARK, OPEN_MAX, caller, parts};
use crate::streams::{Sealing, StreamEvent, carry};

const KIB: usize = 1_024;

/// Answers calls. An answer of `None` ends the connection.
pub(crate) trait Service: Send + Sync + 'static {
    /// `from` asks.
    fn answer(
        &self,
        from: NodeId,
        call: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>>;
}

/// Where calls come in.
pub(crate) struct Door {
    cluster: ClusterName,
    me: NodeId,
    /// Nobody is answered before there is one.
    service: OnceLock<Arc<dyn Service>>,
    /// A permit for each KiB of a call that is being answered.
    room: Arc<Semaphore>,
}

impl Door {
    pub(crate) fn new(cluster: ClusterName, me: NodeId) -> Self {
        Self {
            cluster,
            me,
            service: OnceLock::new(),
            room: Arc::new(Semaphore::new(CALLED_BYTES_MAX / KIB)),
        }
    }

    /// Answers from now on.
    pub(crate) fn open(&self, service: Arc<dyn Service>) {
        // Opened once, by the node that made it.
        let _ = self.service.set(service);
    }

    /// Answers what comes over a connection, until it ends. `hello`: its first
    /// frame.
    pub(crate) async fn serve(&self, socket: TcpStream, sealing: Sealing, hello: &[u8]) {
        let Some(from) = caller(hello, &self.cluster, self.me) else {
            return;
        };
        let Some(service) = self.service.get() else {
            return;
        };
        let (events, mut received) = mpsc::channel(OPEN_MAX);
        let (frames, queue) = mpsc::channel(OPEN_MAX);
        let carrying = carry(socket, sealing, queue, events);
        let answering = async {
            let mut assembly = Assembly::default();
            // Calls are bounded by the assembly and by this.
            let busy = Arc::new(Semaphore::new(OPEN_MAX));
            while let Some(StreamEvent::Frame(StreamId(_), frame)) = received.recv().await {
                let Ok(message) = assembly.take(&frame) else {
                    break;
                };
                let Some((number, call)) = message else {
                    continue;
                };
                let size = u32::try_from(call.len().div_ceil(KIB)).unwrap_or(u32::MAX);
                let (Ok(permit), Ok(room)) = (
                    busy.clone().acquire_owned().await,
                    self.room.clone().acquire_many_owned(size).await,
                ) else {
                    break;
                };
                let (answering, frames) = (service.answer(from, call), frames.clone());
                tokio::spawn(async move {
                    let answer = answering.await;
                    for part in answer.iter().flat_map(|answer| parts(number, answer)) {
                        if frames.send(part).await.is_err() {
                            break;
                        }
                    }
                    drop((permit, room));
                });
            }
        };
        tokio::select! {
            () = carrying => {}
            () = answering => {}
        }
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door")
            .field("me", &self.me)
            .finish_non_exhaustive()
    }
}

/// Whether a stream whose first frame this is carries calls.
pub(crate) fn is_hello(frame: &[u8]) -> bool {
    frame.first() == Some(&MARK)
}
