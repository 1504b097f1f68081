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

/// The node is not leaving and has seen a peer or a whole discovery window (health port).
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
    let reason = if status.leaving || draining {
        "the node is leaving: send work to another node"
    } else {
        "the node has seen no peer and no whole discovery window yet: wait a moment"
    };
    Err(Refusal::new(Code::NotReady, reason))
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
    let counters = ask(app.handle().counters()).await?;
    let members = ask(app.handle().members()).await?;
    let this = ask(app.handle().this()).await?;
    let shared = ask(app.handle().shared()).await?;
    let watchers = crate::WATCHERS_MAX - app.0.watchers.available_permits();
    let text = metrics::text(&counters, &members, &this, &shared, watchers);
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text))
}
