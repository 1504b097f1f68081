//! Town: a few nodes in this process, on a discovery port of their own.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use dui_node::core::{ClusterName, Event, Member, MemberState};
use dui_node::{EventStream, Handle, Node, NodeEvent, Options, Port, Provider};
use tokio::time::timeout;
use tokio_stream::StreamExt;

/// Longer than anything here takes on the slowest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the nodes of one test have in common.
pub(crate) struct Town {
    cluster: ClusterName,
    discovery_port: Port,
}

impl Town {
    pub(crate) fn new() -> Self {
        // The kernel's free port: no other test hears our beacons, nor founds
        // our cluster.
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr();
        let port = free.unwrap().port();
        Self {
            cluster: format!("town-{port}").parse().unwrap(),
            discovery_port: asked(port),
        }
    }

    /// How a node of this name would be started.
    pub(crate) fn options(&self, name: &str) -> Options {
        Options {
            cluster: self.cluster.clone(),
            name: Some(name.parse().unwrap()),
            peer_port: asked(0),
            discovery_port: self.discovery_port,
            ..Options::default()
        }
    }

    pub(crate) fn options_with_dir(&self, name: &str, dir: &Path) -> Options {
        Options {
            data_dir: Some(dir.to_owned()),
            ..self.options(name)
        }
    }

    pub(crate) async fn start(&self, name: &str) -> Node {
        Node::start(self.options(name)).await.unwrap()
    }

    /// Nodes of these names that see one another alive.
    pub(crate) async fn of<const N: usize>(&self, names: [&str; N]) -> [Node; N] {
        let mut nodes = Vec::new();
        for name in names {
            nodes.push(self.start(name).await);
        }
        for node in &nodes {
            for name in names {
                sees(&node.handle(), name, MemberState::Alive).await;
            }
        }
        nodes.try_into().unwrap()
    }
}

pub(crate) fn asked(number: u16) -> Port {
    Port {
        number,
        asked: true,
    }
}

/// `options` with these peers and no other way to find any.
pub(crate) fn joining(options: Options, peers: &[SocketAddr]) -> Options {
    Options {
        discovery: vec![Provider::Static(
            peers.iter().copied().map(Into::into).collect(),
        )],
        ..options
    }
}

/// Waits until `node` lists a member of this name in this state.
pub(crate) async fn sees(node: &Handle, name: &str, state: MemberState) -> Member {
    let description = format!("{name} is {}", state.as_str());
    settles(node, &description, |members| {
        let wanted = |m: &&Member| m.name.as_str() == name && m.state == state;
        members.iter().find(wanted).cloned()
    })
    .await
}

/// Waits until the member list of `node` gives an answer; looks again at each
/// event.
pub(crate) async fn settles<T>(
    node: &Handle,
    description: &str,
    answer: impl Fn(&[Member]) -> Option<T>,
) -> T {
    let mut news = node.subscribe(None).await.unwrap();
    let wait = async {
        loop {
            let members = node.members().await.unwrap();
            if let Some(answer) = answer(&members) {
                return answer;
            }
            // Not every change is an event: look again now and then anyway.
            let _ = timeout(Duration::from_millis(50), news.next()).await;
        }
    };
    match timeout(PATIENCE, wait).await {
        Ok(answer) => answer,
        Err(_) => panic!(
            "{description}: not within {PATIENCE:?}; listed: {:#?}",
            node.members().await
        ),
    }
}

/// Waits for the first event that gives an answer.
pub(crate) async fn hears<T>(news: &mut EventStream, answer: impl Fn(&Event) -> Option<T>) -> T {
    let wait = async {
        while let Some(item) = news.next().await {
            if let NodeEvent::Core(event) = &item.event
                && let Some(answer) = answer(event)
            {
                return answer;
            }
        }
        panic!("the stream of events ended");
    };
    timeout(PATIENCE, wait)
        .await
        .expect("the event within 20 s")
}
