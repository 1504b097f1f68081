//! Follow: where the node has to be now that the network has changed.
//!
//! A task of its own, since names take time and the driver has none. The
//! kernel's word is acted on at once, with what is known of names; the names
//! are asked meanwhile, and may correct it. Several words come for one change
//! (an address goes, another comes, a route follows), so whatever arrives
//! within a few milliseconds after the first is looked at together.

use std::collections::BTreeSet;
use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Answers, Location, Rules, View, ask, candidates, source_toward};
use crate::error::StartError;
use crate::interfaces::Watch;

/// How long words of the kernel are gathered after one was acted on.
const GATHER: Duration = Duration::from_millis(20);

/// How often everything is looked at although nobody said anything.
const INTERVAL: Duration = Duration::from_secs(30);

/// News that wait for a busy driver.
const NEWS_MAX: usize = 8;

/// Something about the network has changed, or may have.
#[derive(Debug)]
pub(crate) struct News {
    /// Where the node has to be; `None`: where it is, as far as there is
    /// anywhere to be.
    pub(crate) location: Option<Location>,
    /// The kernel said so.
    pub(crate) network: bool,
}

/// News of the network, as long as this lives.
#[derive(Debug)]
pub(crate) struct Follower {
    news: mpsc::Receiver<News>,
    task: AbortHandle,
}

impl Follower {
    /// Follows `rules` from `location` on. `known`: where peers were last.
    pub(crate) fn start(
        rules: Rules,
        location: Location,
        watch: Option<Watch>,
        known: watch::Receiver<Vec<SocketAddr>>,
    ) -> Self {
        let (sender, news) = mpsc::channel(NEWS_MAX);
        let follow = Follow {
            rules,
            location,
            known,
            answers: Answers::new(),
            lost: false,
            news: sender,
        };
        Self {
            news,
            task: tokio::spawn(follow.run(watch)).abort_handle(),
        }
    }

    /// The next news. Cancel safe.
    pub(crate) async fn next(&mut self) -> News {
        match self.news.recv().await {
            Some(news) => news,
            // A bug of its own has ended it, and was told: the node stays.
            None => pending().await,
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Follow {
    rules: Rules,
    /// Where the node is, or was told to be.
    location: Location,
    known: watch::Receiver<Vec<SocketAddr>>,
    answers: Answers,
    /// There is nowhere to be.
    lost: bool,
    news: mpsc::Sender<News>,
}

/// What a follower waits for.
enum Wake {
    Kernel,
    Time,
    Answers(Answers),
}

impl Follow {
    async fn run(mut self, watch: Option<Watch>) {
        let mut asking: Option<JoinHandle<Answers>> = None;
        let mut look_at = Instant::now() + INTERVAL;
        loop {
            let wake = tokio::select! {
                () = changed(&watch) => Wake::Kernel,
                answers = answered(&mut asking) => Wake::Answers(answers),
                () = sleep_until(look_at) => Wake::Time,
            };
            let kernel = matches!(wake, Wake::Kernel);
            if let Wake::Answers(answers) = wake {
                asking = None;
                // A name that nobody answers for now leads where it led.
                self.answers.extend(answers);
            } else {
                look_at = Instant::now() + INTERVAL;
                let names = self.names();
                if !names.is_empty() && asking.is_none() {
                    let ipv4 = Some(self.location.bind.is_ipv4());
                    asking = Some(tokio::spawn(ask(names, ipv4)));
                }
            }
            let location = self.look();
            if kernel || location.is_some() {
                let network = kernel;
                if self.news.send(News { location, network }).await.is_err() {
                    return;
                }
            }
            if kernel {
                sleep(GATHER).await;
            }
        }
    }

    fn names(&self) -> BTreeSet<String> {
        let here = candidates().unwrap_or_default();
        self.rules.names(&self.view(&here, &[]))
    }

    fn view<'a>(&'a self, here: &'a [super::Candidate], known: &'a [SocketAddr]) -> View<'a> {
        View {
            here,
            answers: &self.answers,
            known,
            source: &source_toward,
            current: Some(&self.location),
        }
    }

    /// Where to move; `None`: nowhere. Tells when there is nowhere to be.
    fn look(&mut self) -> Option<Location> {
        // A system that does not tell now may tell the next time.
        let here = candidates().ok()?;
        let known = self.known.borrow().clone();
        let view = self.view(&here, &known);
        let found = self.rules.choose(&view);
        let found = found.and_then(|found| self.rules.check(&found).map(|()| found));
        let found = match found {
            Ok(found) if found.bind.is_unspecified() || view.has(found.bind) => Ok(found),
            Ok(found) => Err(format!("no interface has {}", found.bind)),
            Err(StartError::AddressUnsettled { why, .. }) => Err(why),
            Err(error) => Err(error.to_string()),
        };
        match found {
            Ok(found) => {
                let moves = !found.is(&self.location);
                if std::mem::take(&mut self.lost) && !moves {
                    tracing::info!(
                        target: "dui", event = "address_back", address = %found.interface(),
                    );
                }
                self.location = found.clone();
                moves.then_some(found)
            }
            Err(reason) => {
                if !std::mem::replace(&mut self.lost, true) {
                    let remedy = if self.rules.movable() {
                        "the node waits for an address and goes on there"
                    } else {
                        "the node goes on when it comes back; start it with --bind INTERFACE or --bind auto to follow an address that changes"
                    };
                    tracing::warn!(
                        target: "dui", event = "address_lost",
                        address = %self.location.interface(), reason, remedy,
                    );
                }
                None
            }
        }
    }
}

/// The next word of the kernel; never where it says none.
async fn changed(watch: &Option<Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => pending().await,
    }
}

/// What the names lead to; never while nobody asks.
async fn answered(asking: &mut Option<JoinHandle<Answers>>) -> Answers {
    match asking {
        // A lookup that broke off has found nothing.
        Some(task) => task.await.unwrap_or_default(),
        None => pending().await,
    }
}
