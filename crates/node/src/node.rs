//! Node: from options to a running driver, and the way to stop it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use dui_core::{Config, Entry, Fatal, Incarnation, NodeId, Now, Peer, Role, RunId, SharedConfig};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::calls::{Calls, Door};
use crate::clock;
use crate::discovery::Discovery;
use crate::doctor::Kit;
use crate::driver::Driver;
use crate::entries;
use crate::error::StartError;
use crate::handle::Handle;
use crate::history::History;
use crate::interfaces::Watch;
use crate::location::follow::Follower;
use crate::location::{Location, Rules};
use crate::managers::record::{self, Lost, Written};
use crate::managers::{self, Desk, Front};
use crate::moving::Home;
use crate::names;
use crate::options::Options;
use crate::shell::{DataDir, Shell};
use crate::storage::{State, StorageError, Store, Writer};
use crate::streams::{Security, Streams};
use crate::tags::{self, check_tags};

/// Questions of handles that wait for a busy driver; more wait at the handle.
const REQUESTS_MAX: usize = 64;

/// A started node. Dropping it stops it at once, without leaving, as
/// [`Node::stop`] does.
#[derive(Debug)]
pub struct Node {
    handle: Handle,
    bound: watch::Receiver<SocketAddr>,
    stop: oneshot::Sender<()>,
    driver: JoinHandle<Option<Fatal>>,
    /// Keeps the data directory until it has ended.
    managers: Option<JoinHandle<()>>,
    /// What the driver came to, once it has stopped.
    outcome: Option<Option<Fatal>>,
}

impl Node {
    /// Binds, loads the data directory, starts the driver task on the current
    /// tokio runtime (with time and I/O enabled). On return the node's sockets
    /// accept; it may not have found anybody yet.
    ///
    /// # Errors
    /// [`StartError`]: nothing runs then, and every text says what to do.
    pub async fn start(options: Options) -> Result<Node, StartError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(StartError::NoRuntime);
        }
        let location = options.locate().await?;
        Self::start_at(location, options).await
    }

    /// As [`Node::start`], where [`Options::locate`] has said it should be.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_at(location: Location, options: Options) -> Result<Node, StartError> {
        check_tags(&options.tags).map_err(StartError::Tags)?;
        let tags = options.tags.clone();
        let node = Self::launch(location, options, Peer::new, true).await?;
        tokio::spawn(tags::keep(node.handle(), tags));
        Ok(node)
    }

    /// Starts one that is no member and only examines: see [`Peer::examiner`].
    pub(crate) async fn examiner(options: Options) -> Result<Node, StartError> {
        let location = options.locate().await?;
        Self::launch(location, options, Peer::examiner, false).await
    }

    async fn launch(
        location: Location,
        options: Options,
        peer: fn(Config, Now, [u8; 32]) -> Peer,
        takes_part: bool,
    ) -> Result<Node, StartError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(StartError::NoRuntime);
        }
        let rules = Rules::of(&options);
        rules.check(&location)?;
        let manager = options.role == Role::Manager;
        if let Some(expect) = options.expect.filter(|expect| *expect > 1)
            && manager
            && options.data_dir.is_none()
            && !options.ephemeral
            && !location.bind().is_loopback()
        {
            return Err(StartError::NoDisk { expect });
        }
        let home = Home::open(location.clone(), options.peer_port)?;
        let bound = home.bound();
        let (state, store, written) = remember(options.data_dir.as_deref(), manager)?;
        let id = state.id;
        let lock = store.as_ref().map(Store::lock);
        let (data_dir, kept) = match store {
            Some(store) => {
                let (entries, kept) = load(&store).await?;
                let state = Writer::start(store, &state);
                (Some(DataDir { state, entries }), kept)
            }
            None => (None, Vec::new()),
        };

        let kit = Kit::of(&options);
        let security = Arc::new(Security::new(options.cluster.clone(), options.keys.clone()));
        let setup = managers::Setup {
            me: id,
            cluster: options.cluster.clone(),
            manager,
            expect: options.expect,
            loopback: location.bind().is_loopback(),
            dir: options.data_dir.clone(),
            rules: managers::Rules {
                voters_max: options.voters_max,
                ..managers::Rules::default()
            },
        };
        let config = Config {
            cluster: options.cluster,
            name: options.name.unwrap_or_else(|| names::of(id)),
            role: options.role,
            version: env!("CARGO_PKG_VERSION").into(),
            id,
            run: RunId(clock::fresh_u128().map_err(StartError::Entropy)?),
            incarnation: state.incarnation,
            address: home.advertised(),
            keys: options.keys,
            known: state.known.clone(),
            forgotten: state.forgotten,
            probe_interval: options.probe_interval,
            shared: SharedConfig {
                bytes_max: options.shared_bytes_max,
                tombstone_life: options.tombstone_life,
                ahead_max: options.clock_ahead_max,
                contacts: state.contacts,
            },
        };
        let seed = clock::entropy().map_err(StartError::Entropy)?;
        let mut peer = peer(config, clock::now(), seed);
        peer.load(clock::now(), kept);

        let interface = location.interface();
        let discovery_port = options.discovery_port.number;
        let discovery = Discovery::start(&options.discovery, interface, discovery_port);
        let board = discovery.board();
        let links = board.read();
        let links = links.iter().filter(|line| line.error.is_none());
        peer.set_links(&links.map(|line| line.name).collect::<Vec<_>>());
        let door = Arc::new(Door::new(setup.cluster.clone(), id));
        let (streams, stream_events) =
            Streams::new(location.bind(), security.clone(), door.clone());
        let history = Arc::new(History::default());
        let (asks, requests) = mpsc::channel(REQUESTS_MAX);
        let (stop, stopping) = oneshot::channel();
        let shell = Shell::new(
            peer,
            home.udp.clone(),
            streams,
            discovery,
            data_dir,
            history.clone(),
            options.leave_timeout,
        );
        shell.know(&state.known);
        let driver = Driver {
            // Nothing changes on loopback.
            follower: (!interface.is_loopback())
                .then(|| Follower::start(rules, location, watch_network(), shell.known())),
            shell,
            home,
            stream_events,
            requests,
            stop: stopping,
        };
        let waits = setup
            .expect
            .filter(|_| manager)
            .map(|expect| managers::Waits {
                me: id,
                expect,
                ephemeral: setup.dir.is_none(),
            });
        let (front, inputs) = Front::new(waits);
        let handle = Handle::new(
            asks,
            history.clone(),
            board,
            kit,
            front.clone(),
            options.leave_timeout,
        );
        let driver = tokio::spawn(driver.run());
        let mut managers = None;
        if takes_part {
            let cluster = setup.cluster.clone();
            let calls = Calls::new(cluster, id, handle.clone(), bound.clone(), security);
            // Nobody else has the handle yet.
            let _ = handle.calls.set(calls.clone());
            door.open(Arc::new(Desk(front.clone())));
            let task = managers::Task::new(
                setup,
                written,
                handle.clone(),
                calls,
                front,
                inputs,
                history,
            );
            managers = Some(tokio::spawn(async move {
                task.run().await;
                drop(lock);
            }));
        }
        Ok(Node {
            handle,
            bound,
            stop,
            driver,
            managers,
            outcome: None,
        })
    }

    /// A way to ask this node, as many as you like.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The bound peer address (UDP and TCP share the number).
    pub fn peer_address(&self) -> SocketAddr {
        *self.bound.borrow()
    }

    /// [`Node::peer_address`], now and after every move: a node that is bound
    /// to an interface, or by [`Place::Auto`](crate::Place::Auto), follows its
    /// address, and sockets beside its own may want to.
    pub fn bound(&self) -> watch::Receiver<SocketAddr> {
        self.bound.clone()
    }

    /// Resolves when the driver has stopped by itself: `Some(fatal)` when the
    /// core said the node cannot go on (exit 78). Cancel safe; says the same
    /// again when asked again.
    pub async fn stopped(&mut self) -> Option<Fatal> {
        if self.outcome.is_none() {
            let joined = (&mut self.driver).await;
            self.outcome = Some(joined.unwrap_or_else(|error| {
                tracing::error!(target: "dui", event = "driver_died", %error);
                None
            }));
        }
        self.outcome.clone().flatten()
    }

    /// Stops at once, without leaving, and lets the data directory go. Peers
    /// notice that the node has failed.
    pub async fn stop(self) {
        let Self {
            stop,
            driver,
            managers,
            outcome,
            ..
        } = self;
        drop(stop);
        if outcome.is_none() {
            // Whatever it came to, it is over.
            let _ = driver.await;
        }
        if let Some(managers) = managers {
            let _ = managers.await;
        }
    }
}

/// What the kernel tells of changes.
fn watch_network() -> Option<Watch> {
    let watch = Watch::new();
    if let Err(error) = &watch {
        tracing::warn!(
            target: "dui", event = "network_not_watched", %error,
            remedy = "a change of the network is noticed within a minute",
        );
    }
    watch.ok()
}

/// Who this node is, by its data directory if it has one: a higher
/// incarnation than ever before, written down before anybody is told.
fn remember(
    dir: Option<&Path>,
    manager: bool,
) -> Result<(State, Option<Store>, Written), StartError> {
    let (store, kept) = match dir {
        Some(dir) => {
            let (store, kept) = Store::open(dir)?;
            (Some(store), kept)
        }
        None => (None, None),
    };
    let last = kept.as_ref().map(|state| state.incarnation);
    let incarnation = Incarnation::at_start(clock::wall_ms(), last);
    let mut state = match kept {
        Some(kept) => State {
            incarnation,
            ..kept
        },
        None => State {
            id: fresh_id()?,
            incarnation,
            founding: false,
            known: Vec::new(),
            forgotten: Vec::new(),
            contacts: Vec::new(),
        },
    };
    let mut written = Written::default();
    if let Some(store) = &store {
        if manager {
            written = promises(store, &mut state)?;
        }
        store.save_at_start(&state)?;
        if manager {
            let dir = store.dir();
            record::begun_anew(dir).map_err(|source| StorageError::of(dir, source))?;
        }
    }
    Ok((state, store, written))
}

fn fresh_id() -> Result<NodeId, StartError> {
    Ok(NodeId(clock::fresh_u128().map_err(StartError::Entropy)?))
}

/// What this manager has promised in writing. If a part of the directory is
/// missing or another node's, nobody knows, and it becomes a new node.
fn promises(store: &Store, state: &mut State) -> Result<Written, StartError> {
    let dir = store.dir();
    let failed = |source| StorageError::of(dir, source);
    let lost = match record::read(dir, state.id).map_err(failed)? {
        _ if record::is_given_up(dir) => Lost::GivenUp,
        Ok(written) => return Ok(written),
        Err(lost) => lost,
    };
    if lost == Lost::GivenUp {
        let old = std::mem::replace(&mut state.id, fresh_id()?);
        tracing::warn!(
            target: "dui", event = "new_id", old = %old, id = %state.id,
            reason = "it was reset: it promised nothing, and is a new node",
        );
    } else if state.founding {
        let old = std::mem::replace(&mut state.id, fresh_id()?);
        tracing::warn!(
            target: "dui", event = "new_id", old = %old, id = %state.id, lost = ?lost,
            reason = "a part of the data directory is missing, damaged or another node's: what \
                      this manager promised is not known any more, so it starts as a new node",
        );
    }
    record::put_aside(dir, clock::wall_ms()).map_err(failed)?;
    let written = Written::default();
    // Before the state that says that it has to be there.
    record::write(dir, state.id, &written).map_err(failed)?;
    state.founding = true;
    Ok(written)
}

/// Entries of the data directory, and what adds to them.
async fn load(store: &Store) -> Result<(entries::Writer, Vec<Entry>), StartError> {
    let (dir, lock) = (store.dir().to_owned(), store.lock());
    let loaded = tokio::task::spawn_blocking(move || {
        let kept = entries::load(&dir)?;
        entries::Writer::start(kept, lock).map_err(|source| StorageError::of(&dir, source))
    });
    let loaded = loaded.await.map_err(|gone| {
        let source = std::io::Error::other(gone);
        StorageError::of(store.dir(), source)
    })?;
    Ok(loaded?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn an_id_lives_as_long_as_its_directory_and_its_incarnation_only_grows() {
        let dir = tempfile::tempdir().unwrap();
        let mut last = None;
        for _ in 0..3 {
            let (state, _store, _) = remember(Some(dir.path()), true).unwrap();
            let (id, incarnation) = *last.get_or_insert((state.id, Incarnation(0)));
            assert_eq!(state.id, id);
            assert!(state.incarnation > incarnation);
            last = Some((id, state.incarnation));
        }
    }

    #[test]
    fn outside_of_a_runtime_a_start_fails_without_a_panic() {
        let mut start = std::pin::pin!(Node::start(Options::default()));
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(started) = start.as_mut().poll(&mut context) else {
            panic!("nothing to wait for");
        };
        assert!(matches!(started, Err(StartError::NoRuntime)));
    }

    #[test]
    fn without_a_directory_every_start_is_a_new_node() {
        let (first, ..) = remember(None, true).unwrap();
        let (second, ..) = remember(None, true).unwrap();
        assert_ne!(first.id, second.id);
    }
}
