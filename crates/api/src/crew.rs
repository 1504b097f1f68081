//! Crew: further threads for connections, once there are many.
//!
//! A node at rest is one thread, and a few clients are served by it best.
//! Under load most of the work is reading and writing HTTP, which needs
//! nothing of the node: from some connections on, new ones go to threads that
//! are started then, in turn, and the node's own loop has its thread for
//! itself.

use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// So many connections the node's own thread serves.
const ALONE: usize = 8;
/// Most further threads: the node's loop, which serves them all, is one.
const THREADS_MAX: usize = 3;

/// Threads that serve connections.
#[derive(Debug, Default)]
pub(crate) struct Crew {
    hands: Vec<Hand>,
    turn: usize,
}

#[derive(Debug)]
struct Hand {
    runtime: Handle,
    /// Dropped with the crew: the thread ends then.
    _stay: oneshot::Sender<()>,
}

impl Crew {
    /// Where the next connection is served; `None`: here.
    pub(crate) fn next(&mut self, open: usize) -> Option<&Handle> {
        if open < ALONE {
            return None;
        }
        if self.hands.is_empty() {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            let wanted = (cores - 1).clamp(1, THREADS_MAX);
            self.hands.extend((0..wanted).map_while(|_| Hand::start()));
        }
        self.turn = self.turn.wrapping_add(1);
        let hand = self.hands.get(self.turn % self.hands.len().max(1))?;
        Some(&hand.runtime)
    }
}

impl Hand {
    /// `None` where the system gives no thread: the node's own goes on then.
    fn start() -> Option<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().ok()?;
        let handle = runtime.handle().clone();
        let (stay, end) = oneshot::channel();
        let work = move || {
            // What is left of its connections goes with the runtime.
            let _ = runtime.block_on(end);
        };
        let named = thread::Builder::new().name("dui-http".into());
        named.spawn(work).ok()?;
        Some(Self {
            runtime: handle,
            _stay: stay,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_few_connections_need_no_further_thread() {
        let mut crew = Crew::default();
        assert!((0..ALONE).all(|open| crew.next(open).is_none()));
        assert!(crew.hands.is_empty());
    }

    #[tokio::test]
    async fn many_connections_are_served_elsewhere() {
        let mut crew = Crew::default();
        let here = thread::current().id();
        let served = crew
            .next(ALONE)
            .unwrap()
            .spawn(async { thread::current().id() });
        assert_ne!(served.await.unwrap(), here);
    }
}
