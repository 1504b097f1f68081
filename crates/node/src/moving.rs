//! Moving: the peer sockets go where the node has to be.
//!
//! New sockets first, then the old ones are read to their end and closed, then
//! the core is told, which tells the others. What is sent while the old
//! address is gone and the new one not there yet gets lost as any packet may.
//! Where the port is taken at the new address, the node stays where it is and
//! tries again: a node that gives up its sockets is of use to nobody.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dui_core::Input;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::error::StartError;
use crate::location::Location;
use crate::options::Port;
use crate::ports;
use crate::shell::Shell;
use crate::streams::Listener;
use crate::udp::PeerSocket;

/// How long until a move that failed is tried again, at first and at last.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Packets read from a socket before it is closed, at most.
const LAST_PACKETS_MAX: usize = 1_024;

/// Where a node lives: its address and the sockets at it.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) udp: Arc<PeerSocket>,
    pub(crate) listener: Listener,
    location: Location,
    /// What the sockets are bound to, for whoever follows the node.
    bound: watch::Sender<SocketAddr>,
}

impl Home {
    /// Opens the sockets.
    ///
    /// # Errors
    /// As [`bind_tcp`](crate::bind_tcp).
    pub(crate) fn open(location: Location, port: Port) -> Result<Self, StartError> {
        let (udp, listener, bound) = sockets(&location, port)?;
        Ok(Self {
            udp: Arc::new(udp),
            listener,
            location,
            bound: watch::Sender::new(bound),
        })
    }

    /// What the sockets are bound to, now and later.
    pub(crate) fn bound(&self) -> watch::Receiver<SocketAddr> {
        self.bound.subscribe()
    }

    /// What others are told.
    pub(crate) fn advertised(&self) -> SocketAddr {
        let port = self.bound.borrow().port();
        SocketAddr::new(self.location.advertise(), port)
    }

    async fn move_to(
        &mut self,
        to: &Location,
        shell: &mut Shell,
        buffer: &mut [u8],
    ) -> Result<(), StartError> {
        let from = self.advertised();
        if to.bind() != self.location.bind() {
            // Others know the number: it does not change.
            let port = Port {
                number: from.port(),
                asked: true,
            };
            let (udp, listener, bound) = sockets(to, port)?;
            for _ in 0..LAST_PACKETS_MAX {
                let Some((length, from)) = self.udp.receive(buffer) else {
                    break;
                };
                let bytes = &buffer[..length];
                shell.tell(Input::Datagram { from, bytes }).await;
            }
            self.udp = Arc::new(udp);
            self.listener = listener;
            self.bound.send_replace(bound);
            shell.use_socket(self.udp.clone(), to.bind());
        }
        self.location = to.clone();
        shell.discovery.moved(to.interface());
        let address = self.advertised();
        tracing::info!(
            target: "dui", event = "address_changed", %from, %address, reason = to.reason(),
        );
        shell.tell(Input::Readdressed { address }).await;
        Ok(())
    }
}

fn sockets(at: &Location, port: Port) -> Result<(PeerSocket, Listener, SocketAddr), StartError> {
    let (udp, listener) = ports::bind_peer(at.bind(), port)?;
    let failed = |source| StartError::Socket {
        address: SocketAddr::new(at.bind(), port.number),
        source,
    };
    let bound = udp.local_addr().map_err(failed)?;
    let udp = PeerSocket::new(udp).map_err(failed)?;
    let listener = Listener::new(listener).map_err(failed)?;
    Ok((udp, listener, bound))
}

/// A move that is still to be made.
#[derive(Debug, Default)]
pub(crate) struct Moving {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    to: Location,
    due: Instant,
    wait: Duration,
    /// Why it failed, as it was told last.
    told: Option<String>,
}

impl Moving {
    /// The node has to be there.
    pub(crate) fn want(&mut self, to: Location) {
        self.open = Some(Open {
            to,
            due: Instant::now(),
            wait: RETRY_FIRST,
            told: None,
        });
    }

    /// Resolves when there is something to do. Cancel safe.
    pub(crate) async fn due(&self) {
        match &self.open {
            Some(open) => sleep_until(open.due).await,
            None => pending().await,
        }
    }

    /// Moves, if that is due. Whether the node is elsewhere now.
    pub(crate) async fn go(
        &mut self,
        home: &mut Home,
        shell: &mut Shell,
        buffer: &mut [u8],
    ) -> bool {
        let now = Instant::now();
        let Some(mut open) = self.open.take_if(|open| open.due <= now) else {
            return false;
        };
        if open.to.is(&home.location) {
            // It went and came back before it could be followed.
            return false;
        }
        let Err(error) = home.move_to(&open.to, shell, buffer).await else {
            return true;
        };
        let reason = error.to_string();
        if open.told.as_ref() != Some(&reason) {
            tracing::warn!(
                target: "dui", event = "move_failed", address = %open.to.bind(), reason,
                remedy = "the node stays where it was and tries again every few seconds",
            );
            open.told = Some(reason);
        }
        open.due = now + open.wait;
        open.wait = (open.wait * 2).min(RETRY_MAX);
        self.open = Some(open);
        false
    }
}
