//! The routes: which path leads where, and what is said to those that lead nowhere.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get};
use dui_client::Code;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::events::PAYLOAD_BYTES_MAX;
use crate::openapi::Always;
use crate::refusal::Refusal;
use crate::{
    App, doctor, events, guard, health, leader, managers, members, openapi, recover, shared, views,
    watch,
};

/// What drives the node: everything under `/v1`, and `/openapi.json`.
///
/// Serve it with [`serve`](crate::serve()): it has to know the peer's address,
/// and refuses every request without one unless the settings are open.
pub fn client_router(app: App) -> Router {
    let open = app.settings().open;
    let router = Router::from(client_routes()).with_state(app);
    with_fallbacks(router)
        .layer(DefaultBodyLimit::max(PAYLOAD_BYTES_MAX))
        .layer(from_fn_with_state(open, guard::guard))
}

/// What orchestrators ask: `/healthz`, `/startupz`, `/readyz`, `/metrics`.
/// Serves anybody.
pub fn health_router(app: App) -> Router {
    with_fallbacks(Router::from(health_routes()).with_state(app))
}

pub(crate) fn client_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(root))
        .routes(routes!(openapi::openapi))
        .routes(routes!(members::this))
        .routes(routes!(members::members))
        .routes(routes!(members::member))
        .routes(routes!(members::why))
        .routes(routes!(members::forget))
        .routes(routes!(members::leave))
        .routes(routes!(members::discovery))
        .routes(routes!(leader::leader, leader::hand_over))
        .routes(routes!(views::views))
        .routes(routes!(managers::managers))
        .routes(routes!(managers::promote))
        .routes(routes!(managers::demote))
        .routes(routes!(doctor::doctor))
        .routes(routes!(events::all))
        .routes(routes!(events::publish, events::named))
        .routes(routes!(watch::watch))
        .routes(routes!(recover::recover))
        .routes(routes!(recover::backup))
        .merge(restore_route())
        .merge(shared_routes())
}

/// A backup may be as large as nodes send it one another.
fn restore_route() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(recover::restore))
        .layer(DefaultBodyLimit::max(recover::BACKUP_BYTES_MAX))
}

/// Shared entries, whose bodies may be larger than any other's.
fn shared_routes() -> OpenApiRouter<App> {
    let values = OpenApiRouter::new()
        .routes(routes!(
            shared::list,
            shared::put_by_query,
            shared::delete_by_query
        ))
        // A key may hold slashes, which a path of OpenAPI cannot say; these
        // are described by hand. An empty one has its own refusal.
        .route("/v1/shared/{*key}", one_entry())
        .route("/v1/shared/", one_entry())
        .layer(DefaultBodyLimit::max(shared::VALUE_BYTES_MAX));
    let batches = OpenApiRouter::new()
        .routes(routes!(shared::batch::batch))
        .layer(DefaultBodyLimit::max(shared::batch::BATCH_BYTES_MAX));
    values.merge(batches)
}

fn one_entry() -> MethodRouter<App> {
    get(shared::read).put(shared::put).delete(shared::delete)
}

pub(crate) fn health_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(health::live))
        .routes(routes!(health::started))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
}

/// Where to read on.
#[utoipa::path(
    get, path = "/", tag = "meta",
    responses((status = 200, body = String, content_type = "text/plain", description = "A few words"), Always)
)]
async fn root() -> &'static str {
    "This is a dui node. /openapi.json describes its API, /v1/members lists its cluster.\n"
}

fn with_fallbacks(router: Router) -> Router {
    router
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
}

async fn unknown_path(uri: Uri) -> Refusal {
    let detail = format!(
        "there is nothing at {}: /openapi.json lists every path",
        shown(uri.path())
    );
    Refusal::new(Code::UnknownPath, detail)
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    let path = shown(uri.path());
    let detail = format!("{path} does not take {method}: the Allow header lists what it takes");
    Refusal::new(Code::WrongMethod, detail)
}

/// As much of a path as helps to recognize it.
fn shown(path: &str) -> String {
    path.chars().take(128).collect()
}
