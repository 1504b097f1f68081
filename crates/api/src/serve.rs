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
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Requests in flight and streams get this long once the end has come.
const GRACE: Duration = Duration::from_secs(2);

/// Most connections at once to one listener; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 512;

/// A client that takes longer for the head of a request, or sends no request
/// for this long, is cut off.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// Largest head of a request, and largest read at once. A browser may send
/// kilobytes of cookies of other programs on this host.
const BUFFER_BYTES_MAX: usize = 32 * 1024;

/// A client that takes nothing for this long, gone or stuck, is cut off: it
/// must not keep a stream's slot for ever. Streams send something every 15 s.
const UNREAD_PATIENCE: Duration = Duration::from_secs(120);

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
    let (_stays, moves) = mpsc::channel(1);
    serve_moving(listener, moves, router, shutdown).await;
}

/// As [`serve`], at every listener that `moves` brings instead of the one
/// before: for a node that follows its address. Connections and requests that
/// came by an earlier one go on.
pub async fn serve_moving(
    mut listener: TcpListener,
    mut moves: mpsc::Receiver<TcpListener>,
    router: Router,
    shutdown: impl Future<Output = ()>,
) {
    let (close, closing) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            Some(next) = moves.recv() => listener = next,
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
    // A connection without these works as well, only later or longer.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD_PATIENCE));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio::time::Instant;

    use super::*;

    /// A server of one route that answers when told to, and a request it is busy with.
    struct Busy {
        server: tokio::task::JoinHandle<()>,
        stop: Arc<Notify>,
        answer: Arc<Notify>,
        client: TcpStream,
    }

    async fn busy() -> Busy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let [stop, answer, arrived] = [(); 3].map(|()| Arc::new(Notify::new()));
        let router = Router::new().route("/", {
            let (answer, arrived) = (answer.clone(), arrived.clone());
            get(move || async move {
                arrived.notify_one();
                answer.notified().await;
                "done"
            })
        });
        let stopping = stop.clone();
        let server = tokio::spawn(serve(listener, router, async move {
            stopping.notified().await;
        }));
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
        client.write_all(request).await.unwrap();
        arrived.notified().await;
        Busy {
            server,
            stop,
            answer,
            client,
        }
    }

    #[tokio::test]
    async fn a_request_in_flight_finishes_after_the_end_has_come() {
        let mut busy = busy().await;
        busy.stop.notify_one();
        busy.answer.notify_one();
        let mut answer = String::new();
        busy.client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("done"), "{answer}");
        busy.server.await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_moves_serves_at_its_new_place_and_finishes_what_it_began() {
        let [old, new] = [
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        ];
        let at = [old.local_addr().unwrap(), new.local_addr().unwrap()];
        let answer = Arc::new(Notify::new());
        let arrived = Arc::new(Notify::new());
        let route = {
            let (answer, arrived) = (answer.clone(), arrived.clone());
            get(move || async move {
                arrived.notify_one();
                answer.notified().await;
                "done"
            })
        };
        let router = Router::new()
            .route("/slow", route)
            .route("/", get(|| async { "here" }));
        let (moves, moved) = mpsc::channel(1);
        let server = tokio::spawn(serve_moving(old, moved, router, std::future::pending()));
        let ask = async |address, path: &str| {
            let mut client = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            client
        };
        let mut slow = ask(at[0], "/slow").await;
        arrived.notified().await;
        moves.send(new).await.unwrap();
        let mut answers = [String::new(), String::new()];
        let mut quick = ask(at[1], "/").await;
        quick.read_to_string(&mut answers[0]).await.unwrap();
        assert!(
            TcpStream::connect(at[0]).await.is_err(),
            "the old place is closed"
        );
        answer.notify_one();
        slow.read_to_string(&mut answers[1]).await.unwrap();
        assert!(
            answers[0].ends_with("here") && answers[1].ends_with("done"),
            "{answers:?}"
        );
        server.abort();
    }

    #[tokio::test]
    async fn a_request_that_never_finishes_is_cut_off_after_the_grace() {
        let mut busy = busy().await;
        let end = Instant::now();
        busy.stop.notify_one();
        busy.server.await.unwrap();
        let took = end.elapsed();
        assert!(took >= GRACE && took < GRACE * 2, "{took:?}");
        let mut answer = Vec::new();
        let cut = busy.client.read_to_end(&mut answer).await;
        assert!(cut.is_err() || answer.is_empty());
    }
}
