//! Views: the members as the managers have agreed on them.

use axum::Json;
use axum::extract::State;
use dui_client::{Code, Problem, ViewList};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::App;
use crate::convert;
use crate::extract::Query;
use crate::openapi::Always;
use crate::refusal::Refusal;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ViewsQuery {
    /// Only views with a higher number.
    #[param(example = 7)]
    after: Option<u64>,
}

/// The numbered views of the members, as the managers have agreed on them.
///
/// The same in the same order on every node. What is kept are the last 1,024
/// that this node has seen; a node that came late has its first one whole.
#[utoipa::path(
    get, path = "/v1/views", tag = "leader", params(ViewsQuery),
    responses(
        (status = 200, body = ViewList, description = "The views, oldest first, and the members of the newest"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "`bad_parameter`"),
        Always,
    )
)]
pub(crate) async fn views(
    State(app): State<App>,
    Query(query): Query<ViewsQuery>,
) -> Result<Json<ViewList>, Refusal> {
    // As OpenAPI says of an int64.
    if query
        .after
        .is_some_and(|after| i64::try_from(after).is_err())
    {
        let detail = format!("after: no view has a number above {}", i64::MAX);
        return Err(Refusal::new(Code::BadParameter, detail));
    }
    Ok(Json(convert::views(&app.handle().views(), query.after)))
}
