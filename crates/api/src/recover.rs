//! Recover: an operator's decisions after what no node may decide by itself.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::IntoResponse;
use dui_client::{Abandoned, Code, GivenUp, Problem, Recovered, Refounded, SharedChoice};
use dui_node::{NotDone, core};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::ask::ask;
use crate::extract::{Body, Query, switch};
use crate::openapi::Always;
use crate::refusal::Refusal;

/// As much as one answer among nodes may have.
pub(crate) const BACKUP_BYTES_MAX: usize = 64 << 20;

/// The node itself gives up sooner.
const PATIENCE: Duration = Duration::from_secs(18);

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RecoverQuery {
    /// `keep`: both sides' entries stay; said on one node. `discard`: the node
    /// gives up what it holds; said on every node of one side.
    #[param(value_type = Option<SharedChoice>)]
    shared: Option<String>,
    /// `true`: most of the managers that vote are lost for good; this one,
    /// which has a copy of what was agreed, founds a new cluster alone.
    #[param(value_type = Option<bool>)]
    quorum: Option<String>,
    /// With `quorum`: although a majority is alive.
    #[param(value_type = Option<bool>)]
    force: Option<String>,
    /// `true`: the node gives up what it promised as a manager, and is a new
    /// one once it is started again.
    #[param(value_type = Option<bool>)]
    reset: Option<String>,
    /// `true`: the node gives up the proposal to found that it holds.
    #[param(value_type = Option<bool>)]
    abandon_founding: Option<String>,
}

/// What came of it, by what was asked for.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Outcome {
    /// Of `shared`.
    Shared(Recovered),
    /// Of `quorum`.
    Quorum(Refounded),
    /// Of `reset`.
    Reset(GivenUp),
    /// Of `abandon_founding`.
    Founding(Abandoned),
}

/// Decide what no node may decide by itself.
///
/// Exactly one of `shared`, `quorum`, `reset` and `abandon_founding`.
///
/// `shared`: two sides that were out of contact for longer than tombstones
/// live (30 days) exchange no shared entries, because what one has deleted
/// would come back from the other: until this is said. `quorum`: two halves of
/// the managers that do not see each other would both be right, so none goes
/// on without a majority: until this is said. The others concern this manager
/// alone.
#[utoipa::path(
    post, path = "/v1/recover", tag = "leader", params(RecoverQuery),
    responses(
        (status = 200, body = Outcome, description = "What became of it"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "`bad_parameter`"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`not_parted`; `has_quorum`, `no_copy`, `no_data_dir`, `not_a_manager`, `not_founding`, `no_quorum`"),
        Always,
    )
)]
pub(crate) async fn recover(
    State(app): State<App>,
    Query(query): Query<RecoverQuery>,
) -> Result<Json<Outcome>, Refusal> {
    let quorum = switch("quorum", query.quorum.as_deref())?;
    let force = switch("force", query.force.as_deref())?;
    let reset = switch("reset", query.reset.as_deref())?;
    let abandon = switch("abandon_founding", query.abandon_founding.as_deref())?;
    let bad = |detail: &str| Refusal::new(Code::BadParameter, detail);
    let asked = [query.shared.is_some(), quorum, reset, abandon];
    if asked.into_iter().filter(|asked| *asked).count() != 1 {
        return Err(bad(
            "say one of shared=keep|discard, quorum=true, reset=true and abandon_founding=true",
        ));
    }
    if force && !quorum {
        return Err(bad("force goes with quorum alone"));
    }
    let handle = app.handle();
    Ok(Json(match query.shared {
        Some(choice) => Outcome::Shared(shared(&app, &choice).await?),
        None if quorum => {
            let refounded = in_time(handle.recover_quorum(force)).await?;
            Outcome::Quorum(told(&refounded))
        }
        None if reset => {
            let id = ask(handle.this()).await?.member.id.to_string();
            in_time(handle.reset()).await?;
            Outcome::Reset(GivenUp { id, restart: true })
        }
        None => {
            in_time(handle.abandon_founding()).await?;
            Outcome::Founding(Abandoned { abandoned: true })
        }
    }))
}

async fn shared(app: &App, choice: &str) -> Result<Recovered, Refusal> {
    let choice: SharedChoice = choice
        .parse()
        .map_err(|why| Refusal::new(Code::BadParameter, format!("shared: {why}")))?;
    let said = match choice {
        SharedChoice::Keep => core::SharedChoice::Keep,
        SharedChoice::Discard => core::SharedChoice::Discard,
    };
    let entries = ask(app.handle().recover_shared(said)).await?;
    Ok(Recovered {
        shared: choice,
        entries: entries as u64,
    })
}

/// A copy of everything that the managers agreed on.
///
/// Any node gives it; a majority of the managers has confirmed that it is not
/// old. For `PUT /v1/restore` of a manager that belongs to no cluster. Shared
/// entries are no part of it: every node holds them.
#[utoipa::path(
    get, path = "/v1/backup", tag = "leader",
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream", description = "The copy"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "`no_leader`, `no_answer`, `not_leader`, `not_done`, `other_cluster`, `stopped`; see Retry-After"),
    )
)]
pub(crate) async fn backup(State(app): State<App>) -> Result<impl IntoResponse, Refusal> {
    let bytes = in_time(app.handle().backup()).await?;
    let headers = [
        (CONTENT_TYPE, "application/octet-stream"),
        (CONTENT_DISPOSITION, "attachment; filename=\"dui.backup\""),
    ];
    Ok((headers, bytes))
}

/// Found a cluster with what is in a backup.
///
/// The node has to be a manager that belongs to no cluster. It founds alone;
/// others join it as they join any. Revisions begin 2^40 above the backup's,
/// so no fencing token goes back.
#[utoipa::path(
    put, path = "/v1/restore", tag = "leader",
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "What `GET /v1/backup` gave"),
    responses(
        (status = 200, body = Refounded, description = "The new cluster"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "`bad_backup`, `bad_request`"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`has_cluster`, `has_quorum`, `not_a_manager`"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "`body_too_large`"),
        Always,
    )
)]
pub(crate) async fn restore(
    State(app): State<App>,
    Body(bytes): Body,
) -> Result<Json<Refounded>, Refusal> {
    let refounded = in_time(app.handle().restore(&bytes)).await?;
    Ok(Json(told(&refounded)))
}

fn told(refounded: &dui_node::Refounded) -> Refounded {
    Refounded {
        cluster_id: refounded.cluster.to_string(),
        recovered_from: refounded.origin.to_string(),
        revision_before: refounded.revision_before,
        revision: refounded.revision,
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, NotDone>>) -> Result<T, Refusal> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done.map_err(Refusal::from),
        Err(_) => Err(Refusal::new(
            Code::NoAnswer,
            format!(
                "it is not done after {PATIENCE:?}, and may be done yet: look at GET /v1/leader"
            ),
        )),
    }
}
