//! The leader: who leads, and an operator's word on who shall.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use dui_client::{Code, Leader, Problem};
use dui_node::consensus::call::Operation;
use dui_node::{Leadership, core};
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use utoipa::IntoParams;

use crate::App;
use crate::ask::ask;
use crate::convert;
use crate::extract::Query;
use crate::managers::{manager, operate};
use crate::openapi::{Always, Operated};
use crate::refusal::Refusal;

/// How long leadership may take to move: an election, and news of it.
const MOVE_MAX: Duration = Duration::from_secs(5);
/// Between two looks whether it has.
const MOVE_LOOK: Duration = Duration::from_millis(20);

/// Who leads, as this node knows.
///
/// Every node knows, workers too. `revision` is the fencing token: the
/// revision at which the latest leader was elected.
#[utoipa::path(
    get, path = "/v1/leader", tag = "leader",
    responses((status = 200, body = Leader, description = "The leader; without one `name` is `null`, and `why` says why"), Always)
)]
pub(crate) async fn leader(State(app): State<App>) -> Result<Json<Leader>, Refusal> {
    let leadership = ask(app.handle().leader()).await?;
    Ok(Json(convert::leader(&leadership)))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MoveQuery {
    /// Id or name of the manager that is to lead.
    to: String,
}

/// Have a manager that votes lead, and wait until it does, at most 5 s.
#[utoipa::path(
    post, path = "/v1/leader", tag = "leader", params(MoveQuery),
    responses(
        (status = 200, body = Leader, description = "The new leader"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "`bad_parameter`"),
        Operated,
    )
)]
pub(crate) async fn hand_over(
    State(app): State<App>,
    Query(query): Query<MoveQuery>,
) -> Result<Json<Leader>, Refusal> {
    let heir = manager(&app, &query.to).await?;
    let mut leadership = ask(app.handle().leader()).await?;
    if !leads(&leadership, heir.id) {
        operate(&app, Operation::Move(heir.id)).await?;
        let by = Instant::now() + MOVE_MAX;
        loop {
            leadership = ask(app.handle().leader()).await?;
            if leads(&leadership, heir.id) {
                break;
            }
            if Instant::now() >= by {
                return Err(not_moved(&heir, &leadership));
            }
            sleep(MOVE_LOOK).await;
        }
    }
    Ok(Json(convert::leader(&leadership)))
}

fn leads(leadership: &Leadership, id: core::NodeId) -> bool {
    leadership.leader.as_ref().is_some_and(|who| who.id == id)
}

fn not_moved(heir: &core::Member, leadership: &Leadership) -> Refusal {
    let now = match &leadership.leader {
        Some(leader) => format!("{} leads", leader.name),
        None => "nobody leads".into(),
    };
    let detail = format!(
        "{} was to lead, and {MOVE_MAX:?} later {now}: look at its log, and at GET /v1/leader",
        heir.name
    );
    Refusal::new(Code::NotMoved, detail)
}
