//! Lookup: peers behind names, asked for again and again.
//!
//! Orchestrators answer a name with the addresses of all tasks behind it
//! (`tasks.web`, a headless service), and tell a time to live that has nothing
//! to do with when that changes. So the time to live is our own: a second
//! while this node is alone, ten later. `/etc/resolv.conf` is read anew each
//! time, nothing is cached, and what was found stays when a later question
//! goes unanswered.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{LookupIpStrategy, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Resolver, TokioResolver};
use tokio::sync::watch;
use tokio::time::sleep;

use super::background::{Background, Findings};
use super::state::Line;
use super::unanswered;
use crate::options::{Host, PeerPlace};

pub(super) const DNS: &str = "dns";
pub(super) const STATIC: &str = "static";

/// How often names are asked for: alone, and with others.
const ALONE_INTERVAL: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(10);

/// One question to one server; two are asked.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;

/// Starts looking. Addresses need no lookup, and are found at once.
pub(super) fn start(
    provider: &'static str,
    places: Vec<PeerPlace>,
    ipv4: bool,
    alone: watch::Receiver<bool>,
    line: Line,
) -> Background {
    Background::start(provider, move |findings| {
        follow(places, ipv4, alone, line, findings)
    })
}

async fn follow(
    places: Vec<PeerPlace>,
    ipv4: bool,
    mut alone: watch::Receiver<bool>,
    line: Line,
    mut findings: Findings,
) {
    let mut known: Vec<Vec<SocketAddr>> = places.iter().map(literal).collect();
    let names = places
        .iter()
        .any(|place| matches!(place.host, Host::Name(_)));
    if !names {
        line.works();
    }
    if !findings.tell(known.concat()).await || !names {
        return;
    }
    let mut failures = 0;
    loop {
        let mut errors = Vec::new();
        for (place, known) in places.iter().zip(&mut known) {
            let Host::Name(name) = &place.host else {
                continue;
            };
            match look_up(name, ipv4).await {
                Ok(ips) => {
                    *known = ips
                        .into_iter()
                        .map(|ip| SocketAddr::new(ip, place.port))
                        .collect();
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            failures = 0;
            line.works();
        } else {
            failures += 1;
            line.fails(errors.join("; "));
        }
        if !findings.tell(known.concat()).await {
            return;
        }
        let wait = wait(*alone.borrow_and_update(), failures);
        tokio::select! {
            () = sleep(wait) => {}
            // Whoever is alone all of a sudden asks at once.
            changed = alone.changed() => if changed.is_err() {
                return;
            }
        }
    }
}

/// Until the next question: longer after failures in a row.
fn wait(alone: bool, failures: u32) -> Duration {
    let usual = if alone { ALONE_INTERVAL } else { INTERVAL };
    (usual * (1 << failures.saturating_sub(1).min(4))).min(INTERVAL)
}

fn literal(place: &PeerPlace) -> Vec<SocketAddr> {
    match place.host {
        Host::Address(ip) => vec![SocketAddr::new(ip, place.port)],
        Host::Name(_) => Vec::new(),
    }
}

/// The addresses behind a name, of one family.
///
/// # Errors
/// What keeps it from being looked up, with the name.
pub(crate) async fn look_up(name: &str, ipv4: bool) -> Result<Vec<IpAddr>, String> {
    let (config, options) =
        read_system_conf().map_err(|error| unanswered::servers(Some(&error)))?;
    let servers = config.name_servers().iter().map(|server| server.ip);
    let servers: Vec<IpAddr> = servers.collect();
    if servers.is_empty() {
        return Err(unanswered::servers(None));
    }
    let unanswered = |error: NetError| unanswered::lookup(name, ipv4, &servers, &error);
    let resolver = resolver(config, options, ipv4).map_err(unanswered)?;
    let found = resolver.lookup_ip(name).await.map_err(unanswered)?;
    Ok(found.iter().filter(|ip| ip.is_ipv4() == ipv4).collect())
}

fn resolver(
    config: ResolverConfig,
    system: ResolverOpts,
    ipv4: bool,
) -> Result<TokioResolver, NetError> {
    let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    *options = system;
    options.cache_size = 0;
    options.timeout = ANSWER_TIMEOUT;
    options.attempts = ATTEMPTS;
    options.try_tcp_on_error = true;
    options.ip_strategy = if ipv4 {
        LookupIpStrategy::Ipv4Only
    } else {
        LookupIpStrategy::Ipv6Only
    };
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_alone_asks_often_and_failures_slow_it_down() {
        let secs = |alone, failures| wait(alone, failures).as_secs();
        assert_eq!([secs(true, 0), secs(false, 0)], [1, 10]);
        let after = [1, 2, 3, 4, 5, 50].map(|failures| secs(true, failures));
        assert_eq!(after, [1, 2, 4, 8, 10, 10]);
        assert_eq!(secs(false, 50), 10);
    }
}
