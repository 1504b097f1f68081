//! The client: the HTTP API of a node as async methods.
//!
//! Connections are kept alive and shared by clones. Names are not resolved:
//! a node serves only requests that address it by IP or as `localhost`
//! (a web page must not drive it through a name of its own), so an address is
//! an IP literal or `localhost`, which means 127.0.0.1.

use std::fmt::Display;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName};
use hyper::http::uri::{Authority, Scheme, Uri};
use hyper::{Method, Request, Response};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::path::{percent_encode, query};
use crate::retry::Nodes;
use crate::watch::{Watch, WatchFilter};
use crate::{
    Diagnosis, Discovery, EventList, Leader, LeaveOutcome, Manager, ManagerList, Member,
    MemberList, MemberState, Problem, SelfInfo, UserEvent, ViewList, Why,
};

/// Wait for one answer unless told otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// Wait for a leave: the node itself bounds it by its `--leave-timeout`.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(120);

/// Wait for an examination: three seconds, more where names are looked up or
/// other clusters have to be examined, too.
const DOCTOR_TIMEOUT: Duration = Duration::from_secs(60);

/// Wait for what the leader has to do: the node itself bounds it, and shows
/// what has come of it.
pub(crate) const OPERATE_TIMEOUT: Duration = Duration::from_secs(20);

/// Largest answer read. 1,024 events of 8 KiB, each byte escaped by JSON, fit.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A client of one node, or of several that stand in for one another. Cloning
/// is cheap and shares connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    nodes: Arc<Nodes>,
    pub(crate) timeout: Duration,
}

/// One of the questions that the health port answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `/healthz`: the main loop turns.
    Live,
    /// `/startupz`: the sockets are bound.
    Started,
    /// `/readyz`: not leaving, a peer or a discovery window was seen, and a
    /// leader is known where others were expected to found with.
    Ready,
}

impl Client {
    /// A client of the node at `address`: `http://IP:PORT`, `http://localhost:PORT`
    /// or the same without `http://`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::BadAddress`] when it is anything else.
    pub fn new(address: &str) -> Result<Self, Error> {
        Self::of(&[address])
    }

    /// A client of the nodes at these addresses, each as in [`Client::new`].
    /// It talks to one of them, and goes on with another when that one is
    /// gone, leaves or is out of order, for some rounds of all of them with
    /// growing waits. A request that may have been carried out is sent again
    /// only if doing it twice is doing it once: everything but
    /// [`publish`](Self::publish), [`leave`](Self::leave),
    /// [`forget`](Self::forget), the `recover_…` methods and
    /// [`restore`](Self::restore).
    ///
    /// # Errors
    /// [`Error::BadAddress`] when one is anything else, or there is none.
    pub fn of(addresses: &[impl AsRef<str>]) -> Result<Self, Error> {
        let bases = addresses.iter().map(|address| base_url(address.as_ref()));
        let nodes = Nodes::new(bases.collect::<Result<_, _>>()?)?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(TIMEOUT));
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .build(connector);
        Ok(Self {
            http,
            nodes: Arc::new(nodes),
            timeout: TIMEOUT,
        })
    }

    /// Waits this long for each answer instead of [`TIMEOUT`] (5 s).
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The base URL of the node that is asked now: `http://IP:PORT`.
    pub fn address(&self) -> &str {
        self.nodes.current()
    }

    /// The node about itself.
    ///
    /// # Errors
    /// See [`Error`]; so for every method below.
    pub async fn this(&self) -> Result<SelfInfo, Error> {
        self.get("/v1/self").await
    }

    /// Members in these states, sorted by name; in every state when there are none.
    pub async fn members(&self, states: &[MemberState]) -> Result<Vec<Member>, Error> {
        let words: Vec<_> = states.iter().map(|state| state.as_str()).collect();
        let state = (!words.is_empty()).then(|| words.join(","));
        let path = query("/v1/members", &[("state", state.as_deref())]);
        Ok(self.get::<MemberList>(&path).await?.members)
    }

    /// One member, by id or by name.
    pub async fn member(&self, id_or_name: &str) -> Result<Member, Error> {
        self.get(&member_path(id_or_name, "")).await
    }

    /// Why a member is in its state, as the node knows it.
    pub async fn why(&self, id_or_name: &str) -> Result<Why, Error> {
        self.get(&member_path(id_or_name, "/why")).await
    }

    /// Which provider found whom.
    pub async fn discovery(&self) -> Result<Discovery, Error> {
        self.get("/v1/discovery").await
    }

    /// Why nodes do not find each other: the node examines the peers that it
    /// knows of, and those at these places (`HOST[:PORT]`). Takes seconds.
    pub async fn doctor(&self, join: &[String]) -> Result<Diagnosis, Error> {
        let join = (!join.is_empty()).then(|| join.join(","));
        let path = query("/v1/doctor", &[("join", join.as_deref())]);
        self.json(Call::new(Method::POST, path), DOCTOR_TIMEOUT)
            .await
    }

    /// Who leads, as the node knows it.
    pub async fn leader(&self) -> Result<Leader, Error> {
        self.get("/v1/leader").await
    }

    /// The numbered views that are still kept, oldest first; with a number
    /// only those after it.
    pub async fn views(&self, after: Option<u64>) -> Result<ViewList, Error> {
        let after = after.map(|number| number.to_string());
        self.get(&query("/v1/views", &[("after", after.as_deref())]))
            .await
    }

    /// Who votes, who may, and how far each has come.
    pub async fn managers(&self) -> Result<ManagerList, Error> {
        self.get("/v1/managers").await
    }

    /// Lets a manager vote again that was demoted, and gives it as it is now:
    /// it votes once it has all records and a seat is free.
    pub async fn promote(&self, id_or_name: &str) -> Result<Manager, Error> {
        self.operate(manager_path(id_or_name, "/promote")).await
    }

    /// Has a manager stand by, and gives it as it is now: it votes no more
    /// once another one has taken its seat, or it is not needed.
    pub async fn demote(&self, id_or_name: &str) -> Result<Manager, Error> {
        self.operate(manager_path(id_or_name, "/demote")).await
    }

    /// Has a manager that votes lead, and waits until it does.
    pub async fn move_leader(&self, to: &str) -> Result<Leader, Error> {
        self.operate(query("/v1/leader", &[("to", Some(to))])).await
    }

    /// Publishes an event to every node: a name of 1 to 128 bytes without
    /// control characters, a payload of at most 8 KiB. Never sent twice: where
    /// it is unknown whether it went out, the error says so.
    pub async fn publish(&self, name: &str, payload: Vec<u8>) -> Result<UserEvent, Error> {
        let call = Call::new(Method::POST, event_path(name))
            .with(CONTENT_TYPE, "application/octet-stream")
            .body(payload);
        self.json(call, self.timeout).await
    }

    /// Events that are still kept, oldest first; with a name only those.
    pub async fn events(&self, name: Option<&str>) -> Result<Vec<UserEvent>, Error> {
        let path = name.map_or_else(|| "/v1/events".into(), event_path);
        Ok(self.get::<EventList>(&path).await?.events)
    }

    /// What happens from now on, or from just after `last_event_id` (the `id`
    /// of an earlier event) when the same process still knows what followed.
    pub async fn watch(
        &self,
        filter: &WatchFilter,
        last_event_id: Option<&str>,
    ) -> Result<Watch, Error> {
        const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
        let mut call = Call::get(filter.path());
        if let Some(id) = last_event_id {
            call = call.with(LAST_EVENT_ID, id);
        }
        let (response, address) = self.answer(&call, self.timeout).await?;
        Ok(Watch::new(response.into_body(), address))
    }

    /// Makes the node leave its cluster and waits until it has. Idempotent:
    /// the node stays up in state `left` until it is stopped.
    pub async fn leave(&self) -> Result<LeaveOutcome, Error> {
        let call = Call::new(Method::POST, "/v1/leave");
        self.json(call, LEAVE_TIMEOUT).await
    }

    /// Removes a member for good and gives it as it was last seen. A member
    /// that is alive or suspected only with `force`.
    pub async fn forget(&self, id_or_name: &str, force: bool) -> Result<Member, Error> {
        let path = member_path(id_or_name, "/forget");
        let path = query(&path, &[("force", force.then_some("true"))]);
        self.json(Call::new(Method::POST, path), self.timeout).await
    }

    /// Asks the health port; the client's address has to be that port's.
    ///
    /// # Errors
    /// [`Error::Problem`] with the reason when the answer is no.
    pub async fn probe(&self, probe: Probe) -> Result<(), Error> {
        let path = match probe {
            Probe::Live => "/healthz",
            Probe::Started => "/startupz",
            Probe::Ready => "/readyz",
        };
        self.get::<crate::Health>(path).await.map(|_| ())
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Asks another node from now on.
    pub(crate) fn turn_from(&self, address: &str) {
        self.nodes.turn_from(address);
    }

    /// What an operator says twice is said once.
    async fn operate<T: DeserializeOwned>(&self, path: String) -> Result<T, Error> {
        let call = Call::new(Method::POST, path).repeatable();
        self.json(call, OPERATE_TIMEOUT).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.json(Call::get(path), self.timeout).await
    }

    /// The answer to a call, from whichever node gives one.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        call: Call,
        timeout: Duration,
    ) -> Result<T, Error> {
        let parse = |body: Bytes, address: &str| {
            serde_json::from_slice(&body).map_err(|why| not_understood(address, why))
        };
        self.parsed(call, timeout, parse).await
    }

    /// The answer to a call as it is, from whichever node gives one.
    pub(crate) async fn bytes(&self, call: Call, timeout: Duration) -> Result<Bytes, Error> {
        self.parsed(call, timeout, |body, _| Ok(body)).await
    }

    async fn parsed<T>(
        &self,
        call: Call,
        timeout: Duration,
        parse: impl Fn(Bytes, &str) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut tries = self.nodes.tries();
        loop {
            let address = self.nodes.current().to_owned();
            let answer = async {
                let response = self.send(&call, &address).await?;
                body(response, &address).await
            };
            let answer = match within(timeout, &address, answer).await {
                Ok(body) => parse(body, &address),
                Err(error) => Err(error),
            };
            match answer {
                Err(error) if tries.go_on(&address, &error, call.repeatable).await => {}
                answer => return answer,
            }
        }
    }

    /// The beginning of an answer that goes on, and who gives it.
    async fn answer(
        &self,
        call: &Call,
        timeout: Duration,
    ) -> Result<(Response<Incoming>, String), Error> {
        let mut tries = self.nodes.tries();
        loop {
            let address = self.nodes.current().to_owned();
            match within(timeout, &address, self.send(call, &address)).await {
                Err(error) if tries.go_on(&address, &error, true).await => {}
                response => return Ok((response?, address)),
            }
        }
    }

    /// The response if it tells of success, otherwise the problem it describes.
    async fn send(&self, call: &Call, address: &str) -> Result<Response<Incoming>, Error> {
        let response = self.http.request(call.request(address)?).await;
        let response = response.map_err(|error| {
            let (address, why) = (address.to_owned(), root_cause(&error));
            if error.is_connect() {
                Error::Unreachable { address, why }
            } else {
                Error::Broken { address, why }
            }
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = body(response, address).await?;
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Error::Problem(Box::new(problem)),
            Err(_) => not_understood(address, format_args!("status {status}")),
        })
    }
}

/// A request as any node could be asked it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
    /// Doing it twice is doing it once.
    repeatable: bool,
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            // RFC 9110, section 9.2.2.
            repeatable: method.is_idempotent(),
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn once(mut self) -> Self {
        self.repeatable = false;
        self
    }

    pub(crate) fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    fn request(&self, address: &str) -> Result<Request<Full<Bytes>>, Error> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(format!("{address}{}", self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::from(self.body.clone()));
        request.map_err(|why| Error::BadAddress {
            given: why.to_string(),
            why: "a part of the request cannot be sent",
        })
    }
}

async fn within<T>(
    timeout: Duration,
    address: &str,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let late = |_| Error::Timeout {
        address: address.into(),
        after: timeout,
    };
    tokio::time::timeout(timeout, answer).await.map_err(late)?
}

async fn body(response: Response<Incoming>, address: &str) -> Result<Bytes, Error> {
    let limited = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let collected = limited.collect().await.map_err(|why| Error::Broken {
        address: address.into(),
        why: why.to_string(),
    })?;
    Ok(collected.to_bytes())
}

fn not_understood(address: &str, why: impl Display) -> Error {
    Error::NotUnderstood {
        address: address.into(),
        why: why.to_string(),
    }
}

fn member_path(id_or_name: &str, rest: &str) -> String {
    format!("/v1/members/{}{rest}", percent_encode(id_or_name))
}

fn manager_path(id_or_name: &str, rest: &str) -> String {
    format!("/v1/managers/{}{rest}", percent_encode(id_or_name))
}

fn event_path(name: &str) -> String {
    format!("/v1/events/{}", percent_encode(name))
}

/// What the system said in the end; the layers above only say that it did.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// `http://IP:PORT` of whatever form was given.
fn base_url(given: &str) -> Result<String, Error> {
    let bad = |why| Error::BadAddress {
        given: given.into(),
        why,
    };
    let text = given.trim_end_matches('/');
    let uri = text.parse::<Uri>();
    let uri = uri.map_err(|_| bad("give IP:PORT or http://IP:PORT"))?;
    if uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP) {
        return Err(bad("only http:// is spoken so far"));
    }
    if uri
        .path_and_query()
        .is_some_and(|path| path.as_str() != "/")
    {
        return Err(bad("give it without a path"));
    }
    let authority = uri.authority();
    let authority = authority.ok_or_else(|| bad("give IP:PORT or http://IP:PORT"))?;
    let host = host(authority).ok_or_else(|| bad("address the node by IP or as localhost"))?;
    match authority.port_u16() {
        Some(port) => Ok(format!("http://{host}:{port}")),
        None => Err(bad("give it with a port")),
    }
}

fn host(authority: &Authority) -> Option<String> {
    let host = authority.host();
    if authority.as_str().contains('@') {
        return None;
    }
    if host.eq_ignore_ascii_case("localhost") {
        return Some(Ipv4Addr::LOCALHOST.to_string());
    }
    let v6 = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let is_ip = match v6 {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok(),
    };
    is_ip.then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_may_be_written_as_people_write_it() {
        for (given, base) in [
            ("http://127.0.0.1:7777", "http://127.0.0.1:7777"),
            ("http://127.0.0.1:7777/", "http://127.0.0.1:7777"),
            ("127.0.0.1:7777", "http://127.0.0.1:7777"),
            ("localhost:7777", "http://127.0.0.1:7777"),
            ("http://[::1]:7777", "http://[::1]:7777"),
        ] {
            assert_eq!(base_url(given).unwrap(), base);
        }
    }

    #[test]
    fn an_address_that_cannot_work_is_refused_with_one_that_does() {
        for given in [
            "",
            "127.0.0.1",
            "https://127.0.0.1:7777",
            "http://example.org:7777",
            "http://ann@127.0.0.1:7777",
            "http://127.0.0.1:7777/v1",
            "http://127.0.0.1:70000",
            "not an address",
        ] {
            let error = base_url(given).unwrap_err().to_string();
            assert!(error.contains("http://127.0.0.1:7777"), "{given}: {error}");
        }
    }

    #[tokio::test]
    async fn nobody_home_says_where_and_how_to_start_a_node() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let client = Client::new(&address.to_string()).unwrap();
        let error = client.this().await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains(&address.to_string()) && text.contains("dui run"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_node_that_never_answers_is_given_up() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = Client::new(&address.to_string()).unwrap();
        let client = client.with_timeout(Duration::from_millis(50));
        let error = client.this().await.unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    }
}
