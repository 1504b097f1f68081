//! A town of real nodes on loopback, each with its API served on ports of the kernel's choice.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use dui_api::{App, Settings, client_router, health_router, serve};
use dui_client::{Client, Problem, Watch, Watched};
use dui_node::core::ClusterName;
use dui_node::{Node, Options, Port, Provider};
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::ServiceExt;

/// Longer than anything here may take, on a machine that is busy with other things.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

const ANY_PORT: Port = Port {
    number: 0,
    asked: true,
};

/// A node and its API.
pub(crate) struct Resident {
    pub(crate) node: Node,
    pub(crate) app: App,
    /// Of the client port.
    pub(crate) client: Client,
    /// Of the health port.
    pub(crate) health: Client,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Resident {
    /// A node of this name that knows only these addresses.
    pub(crate) async fn start(name: &str, join: &[SocketAddr]) -> Self {
        Self::start_with(name, join, |_| {}).await
    }

    /// The same, with other options.
    pub(crate) async fn start_with(
        name: &str,
        join: &[SocketAddr],
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let mut options = Options {
            cluster: cluster(),
            name: Some(name.parse().unwrap()),
            peer_port: ANY_PORT,
            discovery: vec![Provider::Static(
                join.iter().copied().map(Into::into).collect(),
            )],
            probe_interval: Duration::from_millis(200),
            ..Options::default()
        };
        change(&mut options);
        let node = Node::start(options).await.unwrap();
        let client_port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let health_port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = Settings {
            open: false,
            client_address: client_port.local_addr().unwrap(),
            health_address: health_port.local_addr().unwrap(),
        };
        let app = App::new(node.handle(), settings);
        let (stop, stopping) = oneshot::channel();
        let stopping = async {
            let _ = stopping.await;
        };
        let server = tokio::spawn(serve(client_port, client_router(app.clone()), stopping));
        let forever = std::future::pending();
        tokio::spawn(serve(health_port, health_router(app.clone()), forever));
        Self {
            node,
            app,
            client: Client::new(&settings.client_address.to_string()).unwrap(),
            health: Client::new(&settings.health_address.to_string()).unwrap(),
            stop,
            server,
        }
    }

    /// Several nodes, each of which knows the first, once all see all.
    pub(crate) async fn town<const N: usize>(names: [&str; N]) -> [Self; N] {
        let mut town: Vec<Self> = Vec::new();
        for name in names {
            let seed = town.first().map(|seed: &Self| seed.node.peer_address());
            town.push(Self::start(name, seed.as_slice()).await);
        }
        for resident in &town {
            eventually("all see all", async || {
                resident.alive().await.len() == names.len()
            })
            .await;
        }
        town.try_into()
            .unwrap_or_else(|_| unreachable!("one resident per name"))
    }

    /// Names of those it sees alive.
    pub(crate) async fn alive(&self) -> Vec<String> {
        let alive = self.client.members(&[dui_client::MemberState::Alive]).await;
        alive
            .unwrap()
            .into_iter()
            .map(|member| member.name)
            .collect()
    }

    pub(crate) fn router(&self) -> Router {
        client_router(self.app.clone())
    }

    /// Ends its client port as a shutdown does.
    pub(crate) async fn stop_serving(self) {
        self.stop.send(()).unwrap();
        self.server.await.unwrap();
    }
}

/// The cluster of this story: of one name only one is founded on a host. The
/// test harness names the thread after the story.
pub(crate) fn cluster() -> ClusterName {
    let mut hasher = DefaultHasher::new();
    std::thread::current().name().hash(&mut hasher);
    let name = format!("api-{}-{:016x}", std::process::id(), hasher.finish());
    name.parse().unwrap()
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(
            start.elapsed() < DEADLINE,
            "{what}: not within {DEADLINE:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The next event of a watch.
pub(crate) async fn next(watch: &mut Watch) -> Watched {
    let next = tokio::time::timeout(DEADLINE, watch.next()).await;
    next.expect("an event in time")
        .expect("no end yet")
        .unwrap()
}

/// What a router says to a request from this host, without a socket between.
pub(crate) async fn answer(router: Router, request: Request<Body>) -> Answer {
    let local = "127.0.0.1:50000".parse().unwrap();
    answer_to(router, request, local).await
}

/// What a router says to a request from this address.
pub(crate) async fn answer_to(
    router: Router,
    mut request: Request<Body>,
    peer: SocketAddr,
) -> Answer {
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = router.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let header = |name: &str| {
        let value = response.headers().get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    let (content_type, allow) = (header("content-type"), header("allow"));
    let endless = content_type.as_deref() == Some("text/event-stream");
    let body = if endless {
        Vec::new()
    } else {
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .into()
    };
    Answer {
        status,
        content_type: content_type.unwrap_or_default(),
        allow,
        body,
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) allow: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The problem it describes; `None` when it is not in that form.
    pub(crate) fn problem(&self) -> Option<Problem> {
        let problem: Problem = serde_json::from_slice(&self.body).ok()?;
        let consistent = self.content_type == "application/problem+json";
        (consistent && problem.status == self.status).then_some(problem)
    }

    pub(crate) fn code(&self) -> Option<String> {
        self.problem().map(|problem| problem.code)
    }
}
