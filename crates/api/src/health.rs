//! Health: three questions of orchestrators, each with a yes or a reason.
//!
//! *Live*: the main loop turns; restart me if not. *Started*: my sockets are
//! bound. *Ready*: send me work. Mixing them up restarts nodes that only
//! wait for their first peer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use dui_client::{Code, Health, Problem};
use dui_node::core::{Member, MemberState};
use dui_node::{LeaderState, Leadership};

use crate::App;
use crate::ask::{ask, ask_within};
use crate::metrics;
use crate::refusal::Refusal;

/// A loop that takes longer than this to answer does not turn.
const LIVE_PATIENCE: Duration = Duration::from_secs(1);

type Answer = Result<Json<Health>, Refusal>;

fn ok() -> Json<Health> {
    Json(Health {
        status: "ok".into(),
    })
}

/// The main loop turns (health port).
#[utoipa::path(
    get, path = "/healthz", tag = "health",
    responses(
        (status = 200, body = Health, description = "Live"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "`stalled`, `stopped`"),
    )
)]
pub(crate) async fn live(State(app): State<App>) -> Answer {
    ask_within(LIVE_PATIENCE, app.handle().status()).await?;
    Ok(ok())
}

/// The node's sockets are bound (health port): that this answers is the proof.
#[utoipa::path(
    get, path = "/startupz", tag = "health",
    responses((status = 200, body = Health, description = "Started"))
)]
pub(crate) async fn started() -> Json<Health> {
    ok()
}

/// The node is not leaving, has seen a peer or a whole discovery window, and
/// knows a leader if it expects others to found with (health port).
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses(
        (status = 200, body = Health, description = "Ready"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "`not_ready` with the reason, `stalled`, `stopped`"),
    )
)]
pub(crate) async fn ready(State(app): State<App>) -> Answer {
    let status = ask_within(LIVE_PATIENCE, app.handle().status()).await?;
    let draining = app.0.draining.load(Ordering::Relaxed);
    if status.ready && !draining {
        return Ok(ok());
    }
    if status.leaving || draining {
        let reason = "the node is leaving: send work to another node";
        return Err(Refusal::new(Code::NotReady, reason));
    }
    let leadership = ask_within(LIVE_PATIENCE, app.handle().leader()).await?;
    let members = ask_within(LIVE_PATIENCE, app.handle().members()).await?;
    let alive = |member: &&Member| member.state == MemberState::Alive;
    let others = members.iter().filter(alive).count() > 1;
    Err(Refusal::new(Code::NotReady, lacking(&leadership, others)))
}

/// What a node waits for that is not ready and does not leave. One that sees
/// others has seen a peer.
fn lacking(leadership: &Leadership, others: bool) -> String {
    let no_peer = "the node has seen no peer and no whole discovery window yet";
    let why = leadership.why.as_deref().unwrap_or("nobody has told");
    match (leadership.state, others) {
        (LeaderState::Led, _) => format!("{no_peer}: wait a moment"),
        (_, true) => format!("the node knows no leader: {why}"),
        (_, false) => format!("{no_peer}, or waits for a leader: {why}"),
    }
}

/// Counters and gauges in Prometheus' text format (health port).
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "Metrics, text format 0.0.4"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "`stalled`, `stopped`"),
    )
)]
pub(crate) async fn metrics(State(app): State<App>) -> Result<impl IntoResponse, Refusal> {
    let handle = app.handle();
    let scraped = metrics::Scraped {
        counters: ask(handle.counters()).await?,
        members: ask(handle.members()).await?,
        this: ask(handle.this()).await?,
        shared: ask(handle.shared()).await?,
        leadership: ask(handle.leader()).await?,
        group: handle.group(),
        view: handle.views().views.last().map(|view| view.number),
        watchers: crate::WATCHERS_MAX - app.0.watchers.available_permits(),
    };
    let text = metrics::text(&scraped);
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_ready_says_what_it_waits_for() {
        let leadership = |state| Leadership {
            state,
            leader: None,
            news: None,
            why: (state != LeaderState::Led).then(|| "2 of 3 managers are here".into()),
        };
        let led = lacking(&leadership(LeaderState::Led), false);
        assert!(led.contains("no peer") && !led.contains("leader"), "{led}");
        let unformed = lacking(&leadership(LeaderState::Unformed), true);
        assert_eq!(
            unformed,
            "the node knows no leader: 2 of 3 managers are here"
        );
        let alone = lacking(&leadership(LeaderState::Unformed), false);
        assert!(
            alone.contains("no peer") && alone.contains("2 of 3"),
            "{alone}"
        );
    }
}
