//! Listeners: the client and the health port, here and wherever the node goes.
//!
//! Beyond loopback each port is open on 127.0.0.1, too: there `dui leave` and
//! a health check need no address, and nothing of it changes when the node's
//! own address does.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use dui_node::{Port, bind_tcp};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

/// How long until a port that is taken elsewhere is tried again.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// The listeners of one port.
pub(crate) struct Listeners {
    what: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) first: TcpListener,
    /// On this host's own loopback, where the first is somewhere else.
    pub(crate) home: Option<TcpListener>,
}

impl Listeners {
    /// Opens a port at `bind`.
    ///
    /// # Errors
    /// What is in the way, and what to do.
    pub(crate) fn open(what: &'static str, bind: IpAddr, port: Port) -> Result<Self, String> {
        let first = listen(bind, port)?;
        let address: SocketAddr = first.local_addr().map_err(|error| error.to_string())?;
        let apart = !bind.is_loopback() && !bind.is_unspecified();
        let home = apart.then(|| listen(Ipv4Addr::LOCALHOST.into(), same(address)));
        Ok(Self {
            what,
            address,
            first,
            home: home.transpose()?,
        })
    }
}

/// One port that goes where the node does.
pub(crate) struct Mover {
    what: &'static str,
    at: SocketAddr,
    moves: mpsc::Sender<TcpListener>,
}

impl Mover {
    /// Of these listeners; the new ones arrive at the receiver.
    pub(crate) fn of(listeners: &Listeners) -> (Self, mpsc::Receiver<TcpListener>) {
        let (moves, moved) = mpsc::channel(1);
        let mover = Self {
            what: listeners.what,
            at: listeners.address,
            moves,
        };
        (mover, moved)
    }

    /// Opens the port at `ip`. `false`: not yet.
    async fn go(&mut self, ip: IpAddr, told: &mut bool) -> bool {
        if ip == self.at.ip() {
            return true;
        }
        match listen(ip, same(self.at)) {
            Ok(listener) => {
                self.at.set_ip(ip);
                // Nobody serves it any more: the node is at its end.
                let _ = self.moves.send(listener).await;
                true
            }
            Err(reason) => {
                if !std::mem::replace(told, true) {
                    tracing::warn!(
                        target: "dui", event = "move_failed", port = self.what, address = %ip,
                        reason, remedy = "it is tried again every few seconds; on 127.0.0.1 the port goes on",
                    );
                }
                false
            }
        }
    }
}

/// Moves both ports after the node, for as long as it lives.
pub(crate) async fn follow(
    mut bound: watch::Receiver<SocketAddr>,
    mut client: Mover,
    mut health: Mover,
    moved: impl Fn(SocketAddr, SocketAddr),
) {
    while bound.changed().await.is_ok() {
        let (mut wait, mut told) = (RETRY_FIRST, [false; 2]);
        loop {
            let ip = bound.borrow_and_update().ip();
            let both = [
                client.go(ip, &mut told[0]).await,
                health.go(ip, &mut told[1]).await,
            ];
            moved(client.at, health.at);
            if both == [true; 2] {
                break;
            }
            // Elsewhere again meanwhile: then there at once.
            let again = tokio::select! {
                () = sleep(wait) => Ok(()),
                changed = bound.changed() => changed,
            };
            if again.is_err() {
                return;
            }
            wait = (wait * 2).min(RETRY_MAX);
        }
    }
}

fn listen(ip: IpAddr, port: Port) -> Result<TcpListener, String> {
    let listener = bind_tcp(ip, port).map_err(|error| error.to_string())?;
    TcpListener::from_std(listener).map_err(|error| error.to_string())
}

/// The same number: others know it.
fn same(address: SocketAddr) -> Port {
    Port {
        number: address.port(),
        asked: true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ANY: Port = Port {
        number: 0,
        asked: true,
    };

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 92, last])
    }

    #[tokio::test]
    async fn a_port_that_is_taken_at_the_new_address_is_moved_to_once_it_is_free() {
        let client = Listeners::open("client", ip(1), ANY).unwrap();
        let health = Listeners::open("health", ip(1), ANY).unwrap();
        let taken = listen(ip(2), same(client.address)).unwrap();
        let (client_mover, mut clients) = Mover::of(&client);
        let (health_mover, mut probes) = Mover::of(&health);
        let (node, bound) = watch::channel(SocketAddr::new(ip(1), 1));
        let (seen, mut places) = watch::channel((client.address, health.address));
        let follower = tokio::spawn(follow(bound, client_mover, health_mover, move |c, h| {
            seen.send_replace((c, h));
        }));
        node.send_replace(SocketAddr::new(ip(2), 1));
        let moved = probes.recv().await.unwrap().local_addr().unwrap();
        assert_eq!(moved, SocketAddr::new(ip(2), health.address.port()));
        let (at, _) = *places
            .wait_for(|(_, health)| health.ip() == ip(2))
            .await
            .unwrap();
        assert_eq!(at.ip(), ip(1), "the client port is where it was");
        drop(taken);
        let moved = clients.recv().await.unwrap().local_addr().unwrap();
        assert_eq!(moved, SocketAddr::new(ip(2), client.address.port()));
        drop(node);
        follower.await.unwrap();
    }
}
