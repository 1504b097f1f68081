//! HTTP API of a dui node: JSON, server-sent events, OpenAPI, health, metrics.
//!
//! Two routers, because two kinds of callers: [`client_router`] drives the
//! node and guards against those who must not, [`health_router`] answers
//! orchestrators and has nothing to hide. Both ask the node through its
//! [`Handle`] and keep no state of their own.
//!
//! ```no_run
//! # async fn example(handle: dui_node::Handle) -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:7777").await?;
//! let app = dui_api::App::new(handle, dui_api::Settings {
//!     open: false,
//!     client_address: listener.local_addr()?,
//!     health_address: "127.0.0.1:8888".parse().expect("an address"),
//! });
//! let stop = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
//! dui_api::serve(listener, dui_api::client_router(app), stop).await;
//! # Ok(())
//! # }
//! ```

mod ask;
mod convert;
mod crew;
mod doctor;
mod events;
mod extract;
mod guard;
mod health;
mod leader;
mod managers;
mod members;
mod metrics;
mod openapi;
mod recover;
mod refusal;
mod routes;
mod serve;
mod shared;
mod views;
mod watch;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dui_node::Handle;
use tokio::sync::Semaphore;

pub use doctor::diagnosis;
pub use routes::{client_router, health_router};
pub use serve::{serve, serve_moving};

/// Most streams open at once on one node. Each costs a connection and a few
/// kilobytes; a dashboard needs one.
pub const WATCHERS_MAX: usize = 256;

/// What the API needs to know beside the node itself.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Serves clients of other hosts too. Everybody who reaches the port can
    /// then drive the node: only for `--insecure`. Clients on the same host
    /// are always served.
    pub open: bool,
    /// Where the client port listens: shown in `/v1/self`.
    pub client_address: SocketAddr,
    /// Where the health port listens: shown in `/v1/self`.
    pub health_address: SocketAddr,
}

/// One node as both routers see it. Cloning is cheap and shares the bounds.
#[derive(Clone, Debug)]
pub struct App(Arc<Shared>);

/// What all clones of an [`App`] share. Each request clones some.
#[derive(Debug)]
struct Shared {
    handle: Handle,
    settings: Mutex<Settings>,
    /// One permit for each stream that may still be opened.
    watchers: Arc<Semaphore>,
    /// Set once work should go elsewhere, before the node itself leaves.
    draining: AtomicBool,
}

impl App {
    /// The node behind this handle.
    pub fn new(handle: Handle, settings: Settings) -> Self {
        Self(Arc::new(Shared {
            handle,
            settings: Mutex::new(settings),
            watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
            draining: AtomicBool::default(),
        }))
    }

    /// The ports listen elsewhere from now on: shown in `/v1/self`.
    pub fn moved(&self, client_address: SocketAddr, health_address: SocketAddr) {
        let mut settings = self.locked();
        settings.client_address = client_address;
        settings.health_address = health_address;
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.0.handle
    }

    pub(crate) fn settings(&self) -> Settings {
        *self.locked()
    }

    fn locked(&self) -> MutexGuard<'_, Settings> {
        let settings = &self.0.settings;
        settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is no longer ready from now on, and goes on serving: load balancers
    /// need a moment to look elsewhere before the node leaves.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }
}
