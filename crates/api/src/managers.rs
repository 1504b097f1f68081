//! Managers: who votes, and an operator's word on who may.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use dui_client::{Code, Manager, ManagerList};
use dui_node::consensus::call::Operation;
use dui_node::core;

use crate::App;
use crate::ask::ask;
use crate::convert;
use crate::extract::Segment;
use crate::members::find;
use crate::openapi::{Always, Operated};
use crate::refusal::Refusal;

/// The leader answers within 10 s, if it does; a little more is for the way.
const OPERATE_PATIENCE: Duration = Duration::from_secs(11);

/// Managers in every state, sorted by name, and what each does.
///
/// Any node answers; a node that is no part of the managers' group does not
/// know who learns and who has a disk, and only the leader knows how far each
/// has come.
#[utoipa::path(
    get, path = "/v1/managers", tag = "leader",
    responses((status = 200, body = ManagerList, description = "The managers"), Always)
)]
pub(crate) async fn managers(State(app): State<App>) -> Result<Json<ManagerList>, Refusal> {
    Ok(Json(list(&app).await?))
}

/// Let a manager vote that was demoted.
///
/// It votes once it has all records and a seat is free (`--voters-max`).
#[utoipa::path(
    post, path = "/v1/managers/{member}/promote", tag = "leader",
    params(("member" = String, Path, description = "Id or name")),
    responses((status = 200, body = Manager, description = "The manager as it is now"), Operated)
)]
pub(crate) async fn promote(
    State(app): State<App>,
    Segment(text): Segment,
) -> Result<Json<Manager>, Refusal> {
    change(&app, &text, Operation::Promote).await
}

/// Have a manager stand by.
///
/// It votes no more once another one has taken its seat, or it is not needed.
#[utoipa::path(
    post, path = "/v1/managers/{member}/demote", tag = "leader",
    params(("member" = String, Path, description = "Id or name")),
    responses((status = 200, body = Manager, description = "The manager as it is now"), Operated)
)]
pub(crate) async fn demote(
    State(app): State<App>,
    Segment(text): Segment,
) -> Result<Json<Manager>, Refusal> {
    change(&app, &text, Operation::Demote).await
}

async fn change(
    app: &App,
    text: &str,
    operation: fn(core::NodeId) -> Operation,
) -> Result<Json<Manager>, Refusal> {
    let member = manager(app, text).await?;
    operate(app, operation(member.id)).await?;
    let id = member.id.to_string();
    let mut managers = list(app).await?.managers;
    let place = managers.iter().position(|manager| manager.id == id);
    let gone = || {
        Refusal::new(
            Code::UnknownMember,
            format!("{text} has just been forgotten"),
        )
    };
    Ok(Json(managers.swap_remove(place.ok_or_else(gone)?)))
}

async fn list(app: &App) -> Result<ManagerList, Refusal> {
    let members = ask(app.handle().members()).await?;
    let leadership = ask(app.handle().leader()).await?;
    let this = ask(app.handle().this()).await?;
    let group = app.handle().group();
    Ok(convert::managers(
        &members,
        &leadership,
        group.as_ref(),
        this.member.id,
    ))
}

/// The manager with this id or name.
pub(crate) async fn manager(app: &App, text: &str) -> Result<core::Member, Refusal> {
    let member = find(app, text).await?;
    if member.role == core::Role::Manager {
        return Ok(member);
    }
    let detail = format!(
        "{} is a worker: only managers vote and lead; GET /v1/managers lists them",
        member.name
    );
    Err(Refusal::new(Code::NotAManager, detail))
}

/// Has the leader do it.
pub(crate) async fn operate(app: &App, operation: Operation) -> Result<(), Refusal> {
    let operated = app.handle().operate(operation);
    match tokio::time::timeout(OPERATE_PATIENCE, operated).await {
        Ok(done) => done.map_err(Refusal::from),
        Err(_) => Err(Refusal::new(
            Code::NoAnswer,
            format!(
                "the leader did not answer within {OPERATE_PATIENCE:?}, and may have done it all the same: look at GET /v1/leader and GET /v1/managers"
            ),
        )),
    }
}
