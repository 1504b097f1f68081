//! Background: providers that look addresses up in a task of their own.
//!
//! Names and files take time to read. A task does it and hands over whole
//! lists; only the latest one matters, since it replaces those before it.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::{Find, Provider};

/// Lists that wait for a busy driver.
const LISTS_MAX: usize = 4;

/// Most addresses taken from one provider.
pub(super) const ADDRESSES_MAX: usize = 1_024;

/// A provider whose work is done in a task.
#[derive(Debug)]
pub(super) struct Background {
    finds: mpsc::Receiver<Find>,
    task: AbortHandle,
}

/// The task's end of it.
#[derive(Debug)]
pub(super) struct Findings {
    provider: &'static str,
    finds: mpsc::Sender<Find>,
    last: Option<Vec<SocketAddr>>,
}

impl Background {
    /// Starts the task that `work` makes.
    pub(super) fn start<Work>(provider: &'static str, work: impl FnOnce(Findings) -> Work) -> Self
    where
        Work: Future<Output = ()> + Send + 'static,
    {
        let (sender, finds) = mpsc::channel(LISTS_MAX);
        let work = work(Findings {
            provider,
            finds: sender,
            last: None,
        });
        Self {
            finds,
            task: tokio::spawn(work).abort_handle(),
        }
    }
}

impl Findings {
    /// These are all the addresses there are now. Says the same once only;
    /// `false` when nobody listens any more.
    pub(super) async fn tell(&mut self, mut addresses: Vec<SocketAddr>) -> bool {
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(ADDRESSES_MAX);
        if self.last.as_ref() == Some(&addresses) {
            return true;
        }
        self.last = Some(addresses.clone());
        let find = Find::Candidates {
            provider: self.provider,
            addresses,
        };
        self.finds.send(find).await.is_ok()
    }
}

impl Provider for Background {
    fn announce(&mut self, _beacon: &[u8]) {}

    fn network_changed(&mut self) {}

    fn poll_find(&mut self, context: &mut Context<'_>, _buffer: &mut [u8]) -> Poll<Find> {
        match self.finds.poll_recv(context) {
            Poll::Ready(Some(find)) => Poll::Ready(find),
            // A task that has ended has said all it had to say.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.task.abort();
    }
}
