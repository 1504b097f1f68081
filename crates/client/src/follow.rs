//! Follow: a watch that goes on, on another node when the watched one is gone.
//!
//! It comes back with the id of the last event that it saw. The same process
//! goes on from there, without a gap; any other begins with a reset.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::client::Client;
use crate::error::Error;
use crate::retry;
use crate::watch::{Watch, WatchFilter, Watched};
use crate::watch_event::WatchEvent;

type Connecting = Pin<Box<dyn Future<Output = Result<Watch, Error>> + Send>>;

/// Events of whichever node can be watched, in the order of each. Never ends;
/// dropping it ends the watch.
///
/// An error tells that no node could be watched; whoever asks again lets it
/// try again, a little later each time.
pub struct Follow {
    client: Client,
    filter: WatchFilter,
    last_id: Option<String>,
    failed: usize,
    state: State,
}

enum State {
    Connecting(Connecting),
    Watching(Watch),
}

impl std::fmt::Debug for Follow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follow")
            .field("filter", &self.filter)
            .field("last_id", &self.last_id)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// What happens from now on, for as long as somebody reads it.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), dui_client::Error> {
    /// use dui_client::{Client, WatchEvent, WatchFilter};
    ///
    /// let client = Client::of(&["127.0.0.1:7777", "127.0.0.1:7778"])?;
    /// let mut changes = client.follow(WatchFilter::shared("config/"));
    /// loop {
    ///     match changes.next().await?.event {
    ///         WatchEvent::Reset(_) => println!("what I knew is void"),
    ///         WatchEvent::SharedChanged(now) => println!("{:?} {}", now.change, now.entry.key),
    ///         WatchEvent::Complete => println!("now I know all"),
    ///         _ => {}
    ///     }
    /// }
    /// # }
    /// ```
    pub fn follow(&self, filter: WatchFilter) -> Follow {
        let connecting = connect(self.clone(), filter.clone(), None, 0);
        Follow {
            client: self.clone(),
            filter,
            last_id: None,
            failed: 0,
            state: State::Connecting(connecting),
        }
    }
}

impl Follow {
    /// The next event.
    ///
    /// # Errors
    /// Why no node could be watched, in the end. Asking again tries again.
    pub async fn next(&mut self) -> Result<Watched, Error> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Watched, Error>> {
        loop {
            match &mut self.state {
                State::Connecting(connecting) => {
                    match std::task::ready!(connecting.as_mut().poll(cx)) {
                        Ok(watch) => self.state = State::Watching(watch),
                        Err(error) => {
                            self.reconnect();
                            return Poll::Ready(Err(error));
                        }
                    }
                }
                State::Watching(watch) => {
                    match std::task::ready!(Pin::new(&mut *watch).poll_next(cx)) {
                        Some(Ok(watched)) => {
                            self.failed = 0;
                            if watched.event != WatchEvent::Leaving {
                                self.last_id.clone_from(&watched.id);
                            }
                            return Poll::Ready(Ok(watched));
                        }
                        // Broken off, or over: somebody else goes on.
                        Some(Err(_)) | None => {
                            self.client.turn_from(watch.address());
                            self.reconnect();
                        }
                    }
                }
            }
        }
    }

    fn reconnect(&mut self) {
        self.failed += 1;
        let (client, filter) = (self.client.clone(), self.filter.clone());
        let connecting = connect(client, filter, self.last_id.clone(), self.failed);
        self.state = State::Connecting(connecting);
    }
}

fn connect(
    client: Client,
    filter: WatchFilter,
    last_id: Option<String>,
    failed: usize,
) -> Connecting {
    Box::pin(async move {
        if failed > 0 {
            tokio::time::sleep(retry::wait(failed)).await;
        }
        client.watch(&filter, last_id.as_deref()).await
    })
}

impl Stream for Follow {
    type Item = Result<Watched, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx).map(Some)
    }
}
