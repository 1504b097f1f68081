//! User events: publishing one, listing those that are kept.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use dui_client::{EventList, Problem, UserEvent};

use crate::App;
use crate::ask::ask;
use crate::convert;
use crate::extract::{Body, Segment};
use crate::openapi::Always;
use crate::refusal::Refusal;

/// Largest payload of an event in bytes.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 8 * 1024;

/// Publish an event to every node.
///
/// The body is the payload, byte for byte, whatever its content type.
#[utoipa::path(
    post, path = "/v1/events/{name}", tag = "events",
    params(("name" = String, Path, description = "1 to 128 bytes without control characters")),
    request_body(content_type = "application/octet-stream", description = "The payload, at most 8 KiB"),
    responses(
        (status = 201, body = UserEvent, description = "The event as every node will list it"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "`bad_event_name`, `bad_request`"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "`body_too_large`"),
        Always,
    )
)]
pub(crate) async fn publish(
    State(app): State<App>,
    Segment(name): Segment,
    Body(payload): Body,
) -> Result<(StatusCode, Json<UserEvent>), Refusal> {
    let event = ask(app.handle().publish(name, payload.into())).await?;
    Ok((StatusCode::CREATED, Json(convert::user_event(event))))
}

/// Events that are still kept (the last 1,024), oldest first.
#[utoipa::path(
    get, path = "/v1/events", tag = "events",
    responses((status = 200, body = EventList, description = "The events"), Always)
)]
pub(crate) async fn all(State(app): State<App>) -> Result<Json<EventList>, Refusal> {
    kept(&app, |_| true).await
}

/// Events of this name that are still kept, oldest first.
#[utoipa::path(
    get, path = "/v1/events/{name}", tag = "events",
    params(("name" = String, Path, description = "The name of the events")),
    responses(
        (status = 200, body = EventList, description = "The events; none is no error"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "`bad_request`"),
        Always,
    )
)]
pub(crate) async fn named(
    State(app): State<App>,
    Segment(name): Segment,
) -> Result<Json<EventList>, Refusal> {
    kept(&app, |event_name| event_name == name).await
}

async fn kept(app: &App, wanted: impl Fn(&str) -> bool) -> Result<Json<EventList>, Refusal> {
    let events = ask(app.handle().events()).await?;
    let wanted = events.into_iter().filter(|event| wanted(&event.name));
    Ok(Json(EventList {
        events: wanted.map(convert::user_event).collect(),
    }))
}
