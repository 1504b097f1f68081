//! Serving: connections with bounds, and an end that nobody has to wait for.
//!
//! Our own accept loop, because the bounds are the point: a peer that sends
//! half a request, never reads, or opens connections without end must not
//! keep others out, nor the process from ending.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Requests in flight and streams get this long once the end has come.
const GRACE: Duration = Duration::from_secs(2);

/// Most connections at once to one listener; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 512;

/// A client that takes longer for the head of a request, or sends no request
/// for this long, is cut off.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// Largest head of a request, and largest read at once. The least that hyper takes.
const BUFFER_BYTES_MAX: usize = 8 * 1024;

/// Tells the streams of one server that its end has come.
#[derive(Clone)]
pub(crate) struct Closing(watch::Receiver<bool>);

impl Closing {
    /// Resolves when the end has come.
    pub(crate) async fn wait(&mut self) {
        // An error: the server itself is gone. That is an end, too.
        let _ = self.0.wait_for(|closing| *closing).await;
    }
}

/// Serves `router` at `listener` until `shutdown` resolves.
///
/// Then event streams get a last event `leaving` and end, requests in flight
/// get 2 s to finish, and whatever is left is cut off. When this returns (or
/// is dropped), no task of the server is left.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    let (close, closing) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(stream, peer, router.clone(), Closing(closing.clone())));
                }
                Err(error) => {
                    // A connection that broke off before it was accepted, or
                    // no file left for it: trying again at once would spin.
                    tracing::debug!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    close.send_replace(true);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, finished).await.is_err() {
        tracing::debug!(left = connections.len(), "connections cut off");
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, mut closing: Closing) {
    // Only delays small answers; a connection without it works as well.
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let for_streams = closing.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let extensions = request.extensions_mut();
        extensions.insert(ConnectInfo(peer));
        extensions.insert(for_streams.clone());
        router.call(request)
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = closing.wait() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%peer, %error, "connection ended");
    }
}
