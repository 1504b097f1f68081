//! The guard: who may drive the node as long as there are no tokens.
//!
//! Two doors. *Where from*: another host only when the node was started to
//! allow it. *On whose behalf*: a web page in a browser on this very host
//! reaches loopback too. It cannot hide where it comes from, but it can
//! resolve a name of its own to our address (DNS rebinding) and then look
//! like a page of ours; so requests by name are refused, and so are those
//! that carry the Origin of another page.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dui_client::Code;

use crate::refusal::Refusal;

/// Lets a request pass or refuses it. `open`: other hosts are served too.
pub(crate) async fn guard(State(open): State<bool>, request: Request, next: Next) -> Response {
    match check(open, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn check(open: bool, request: &Request) -> Result<(), Refusal> {
    // Without a peer address nobody has vouched that the request is local.
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let local = peer.is_some_and(|peer| peer.0.ip().to_canonical().is_loopback());
    if !open && !local {
        return Err(Refusal::new(
            Code::RemoteForbidden,
            "this node serves clients on its own host only: use 127.0.0.1 on that host, or start it with --insecure where everybody on the network may drive it",
        ));
    }
    let host = check_host(request)?;
    check_origin(request.headers(), host)
}

/// The Host header, if it is the only one and names an address or `localhost`.
fn check_host(request: &Request) -> Result<&str, Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    let of_target = request.uri().authority();
    match host {
        Some(host)
            if hosts.next().is_none()
                && is_address(host)
                && of_target.is_none_or(|target| is_address(target.as_str())) =>
        {
            Ok(host)
        }
        _ => Err(Refusal::new(
            Code::ForbiddenHost,
            "the Host header must be an IP address or localhost, so that no web page can drive this node through a name of its own: address the node by IP, for example http://127.0.0.1:7777",
        )),
    }
}

/// `IP`, `IP:PORT`, `[IPv6]`, `[IPv6]:PORT`, `localhost` or `localhost:PORT`.
fn is_address(host: &str) -> bool {
    let bare = match host.rsplit_once(':') {
        Some((bare, port)) if !host.ends_with(']') => {
            if port.parse::<u16>().is_err() {
                return false;
            }
            bare
        }
        _ => host,
    };
    match bare
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => {
            bare.eq_ignore_ascii_case("localhost")
                || matches!(bare.parse::<IpAddr>(), Ok(IpAddr::V4(_)))
        }
    }
}

/// No page's request, or a page's that this very node has served.
fn check_origin(headers: &HeaderMap, host: &str) -> Result<(), Refusal> {
    for origin in headers.get_all(ORIGIN) {
        let page = origin
            .to_str()
            .ok()
            .and_then(|text| text.strip_prefix("http://"));
        if page.is_none_or(|page| !page.eq_ignore_ascii_case(host)) {
            return Err(Refusal::new(
                Code::ForbiddenOrigin,
                "a web page of another origin must not drive this node: call the API from a program, or from a page that the node serves",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use axum::body::Body;

    const LOCAL: &str = "127.0.0.1:50000";

    fn verdict(open: bool, peer: &str, headers: &[(&str, &str)]) -> Option<String> {
        let mut request = Request::get("/v1/self");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        let peer: SocketAddr = peer.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        let refused = check(open, &request).err();
        refused.map(|refusal| refusal.problem().code.clone())
    }

    #[test]
    fn an_address_or_localhost_passes_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:7777",
            "10.0.0.7:7777",
            "[::1]",
            "[::1]:7777",
            "localhost",
            "LocalHost:7777",
        ] {
            assert_eq!(verdict(false, LOCAL, &[("host", host)]), None, "{host}");
        }
    }

    #[test]
    fn a_name_that_somebody_else_may_control_does_not() {
        for host in [
            "evil.example",
            "evil.example:7777",
            "127.0.0.1.evil.example",
            "localhost.evil.example:7777",
            "evil.example@127.0.0.1",
            "::1",
            "[::1",
            "[127.0.0.1]",
            "127.0.0.1:port",
            "127.0.0.1:99999",
            "",
        ] {
            let code = verdict(false, LOCAL, &[("host", host)]);
            assert_eq!(code.as_deref(), Some("forbidden_host"), "{host}");
        }
        assert_eq!(
            verdict(false, LOCAL, &[]).as_deref(),
            Some("forbidden_host")
        );
        let twice = [("host", "127.0.0.1"), ("host", "evil.example")];
        assert_eq!(
            verdict(false, LOCAL, &twice).as_deref(),
            Some("forbidden_host")
        );
    }

    #[test]
    fn a_page_of_the_node_may_call_it_and_no_other_page() {
        let with = |origin| {
            let headers = [("host", "127.0.0.1:7777"), ("origin", origin)];
            verdict(false, LOCAL, &headers)
        };
        assert_eq!(with("http://127.0.0.1:7777"), None);
        for foreign in [
            "http://evil.example",
            "https://127.0.0.1:7777",
            "http://127.0.0.1:3000",
            "http://localhost:7777",
            "null",
        ] {
            assert_eq!(
                with(foreign).as_deref(),
                Some("forbidden_origin"),
                "{foreign}"
            );
        }
    }

    #[test]
    fn another_host_is_served_only_by_an_open_node() {
        let host = [("host", "10.0.0.7:7777")];
        let remote = verdict(false, "10.0.0.9:50000", &host);
        assert_eq!(remote.as_deref(), Some("remote_forbidden"));
        assert_eq!(verdict(true, "10.0.0.9:50000", &host), None);
        assert_eq!(verdict(false, "[::1]:50000", &host), None);
        assert_eq!(verdict(false, "[::ffff:127.0.0.1]:50000", &host), None);
    }

    #[test]
    fn an_open_node_is_still_not_driven_by_web_pages() {
        let named = verdict(true, "10.0.0.9:50000", &[("host", "evil.example")]);
        assert_eq!(named.as_deref(), Some("forbidden_host"));
    }
}
