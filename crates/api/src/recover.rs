//! Recover: an operator's decisions after what no node may decide by itself.

use axum::Json;
use axum::extract::State;
use dui_client::{Code, Problem, Recovered, SharedChoice};
use dui_node::core;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::App;
use crate::ask::ask;
use crate::extract::Query;
use crate::openapi::Always;
use crate::refusal::Refusal;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RecoverQuery {
    /// `keep`: both sides' entries stay; said on one node. `discard`: the node
    /// gives up what it holds; said on every node of one side.
    #[param(value_type = SharedChoice)]
    shared: String,
}

/// Decide which shared entries stay.
///
/// Two sides that were out of contact for longer than tombstones live (30
/// days) exchange no shared entries, because what one has deleted would come
/// back from the other: until this is said.
#[utoipa::path(
    post, path = "/v1/recover", tag = "shared", params(RecoverQuery),
    responses(
        (status = 200, body = Recovered, description = "What became of the entries that the node held"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "`bad_parameter`"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`not_parted`"),
        Always,
    )
)]
pub(crate) async fn recover(
    State(app): State<App>,
    Query(query): Query<RecoverQuery>,
) -> Result<Json<Recovered>, Refusal> {
    let choice: SharedChoice = query
        .shared
        .parse()
        .map_err(|why| Refusal::new(Code::BadParameter, format!("shared: {why}")))?;
    let told = match choice {
        SharedChoice::Keep => core::SharedChoice::Keep,
        SharedChoice::Discard => core::SharedChoice::Discard,
    };
    let entries = ask(app.handle().recover_shared(told)).await?;
    Ok(Json(Recovered {
        shared: choice,
        entries: entries as u64,
    }))
}
