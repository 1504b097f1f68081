//! The OpenAPI document: the contract that programs read.
//!
//! It is built from the handlers and types themselves, each time it is asked
//! for: it is asked for rarely, and a hundred nodes on a machine would
//! otherwise each keep a copy.

use std::collections::BTreeMap;

use axum::Json;
use dui_client::{Forgotten, Problem, SharedChange, View};
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, OpenApi, ToSchema};

use crate::refusal::PROBLEM_JSON;
use crate::{routes, shared};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "dui",
        description = "HTTP API of a dui node. Errors are problem details (RFC 9457) with a stable `code`, explained in docs/errors.md. Paths tagged `health` are served at the health port (default 8888), all others at the client port (default 7777).",
        license(name = "MIT", identifier = "MIT")
    ),
    servers((url = "http://127.0.0.1:7777")),
    paths(shared::read, shared::put, shared::delete),
    components(schemas(Problem, Forgotten, SharedChange, View)),
    tags(
        (name = "members", description = "Who is in the cluster, as this node sees it"),
        (name = "leader", description = "What the managers agree on: who leads, who votes, and numbered views of the members"),
        (name = "shared", description = "Entries that every node holds and anyone may write: the last writer wins"),
        (name = "events", description = "Small messages to every node"),
        (name = "watch", description = "What happens, as it happens"),
        (name = "health", description = "For orchestrators, at the health port"),
        (name = "meta", description = "About this API")
    )
)]
struct Base;

/// The document of both ports.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    let mut document = Base::openapi();
    document.merge(routes::client_routes().into_openapi());
    document.merge(routes::health_routes().into_openapi());
    document
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "meta",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json"), Always)
)]
pub(crate) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}

/// What every route of the client port may answer instead.
pub(crate) struct Always;

impl IntoResponses for Always {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let forbidden = "`forbidden_host`, `forbidden_origin`, `remote_forbidden`";
        let unavailable = "`stalled`, `stopped`, `leaving`, `too_many_watchers`; see Retry-After";
        [("403", forbidden), ("503", unavailable)]
            .map(|(status, codes)| (status.into(), problem(codes).into()))
            .into()
    }
}

/// What a write of shared entries may answer instead.
pub(crate) struct WriteRefusals;

impl IntoResponses for WriteRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let bad =
            "`bad_key`, `bad_parameter`, `bad_content_type`, `bad_request`, `conditional_write`";
        let unavailable =
            "`clock_ahead`, `too_many_writes`, `leaving`, `stalled`, `stopped`; see Retry-After";
        let late = "`ack_timeout`, with how many hold the write";
        [
            ("400", bad),
            ("503", unavailable),
            ("504", late),
            ("507", "`entries_full`, `not_stored`"),
        ]
        .map(|(status, codes)| (status.into(), problem(codes).into()))
        .into()
    }
}

/// What a route of one member may answer when there is not exactly one.
pub(crate) struct NotOneMember;

impl IntoResponses for NotOneMember {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let ambiguous = "`ambiguous_name`, with the ids that carry it";
        [("404", "`unknown_member`"), ("409", ambiguous)]
            .map(|(status, codes)| (status.into(), problem(codes).into()))
            .into()
    }
}

/// What a route may answer instead that has the leader do something about a
/// manager.
pub(crate) struct Operated;

impl IntoResponses for Operated {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let conflict = "`not_a_manager`, `not_a_voter`, `no_quorum`, `busy`; `ambiguous_name`, with the ids that carry it";
        let unavailable = "`no_leader`, `no_answer`, `not_leader`, `not_done`, `not_moved`, `other_cluster`, `log_stopped`, `stalled`, `stopped`; see Retry-After";
        [
            (
                "403",
                "`forbidden_host`, `forbidden_origin`, `remote_forbidden`",
            ),
            ("404", "`unknown_member`"),
            ("409", conflict),
            ("503", unavailable),
        ]
        .map(|(status, codes)| (status.into(), problem(codes).into()))
        .into()
    }
}

fn problem(codes: &str) -> Response {
    let content = Content::new(Some(Ref::from_schema_name(Problem::name())));
    ResponseBuilder::new()
        .description(codes)
        .content(PROBLEM_JSON, content)
        .build()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::Value;

    /// The contract, as users' programs rely on it.
    const ROUTES: &[(&str, &str)] = &[
        ("get", "/"),
        ("get", "/healthz"),
        ("get", "/metrics"),
        ("get", "/openapi.json"),
        ("get", "/readyz"),
        ("get", "/startupz"),
        ("get", "/v1/backup"),
        ("post", "/v1/batch"),
        ("get", "/v1/discovery"),
        ("post", "/v1/doctor"),
        ("get", "/v1/events"),
        ("get", "/v1/events/{name}"),
        ("post", "/v1/events/{name}"),
        ("get", "/v1/leader"),
        ("post", "/v1/leader"),
        ("post", "/v1/leave"),
        ("get", "/v1/managers"),
        ("post", "/v1/managers/{member}/demote"),
        ("post", "/v1/managers/{member}/promote"),
        ("get", "/v1/members"),
        ("get", "/v1/members/{member}"),
        ("post", "/v1/members/{member}/forget"),
        ("get", "/v1/members/{member}/why"),
        ("post", "/v1/recover"),
        ("put", "/v1/restore"),
        ("get", "/v1/self"),
        ("delete", "/v1/shared"),
        ("get", "/v1/shared"),
        ("put", "/v1/shared"),
        ("delete", "/v1/shared/{key}"),
        ("get", "/v1/shared/{key}"),
        ("put", "/v1/shared/{key}"),
        ("get", "/v1/views"),
        ("get", "/v1/watch"),
    ];

    fn json() -> Value {
        serde_json::to_value(document()).unwrap()
    }

    fn operations(document: &Value) -> Vec<(String, String, Value)> {
        let paths = document["paths"].as_object().unwrap();
        let mut operations = Vec::new();
        for (path, item) in paths {
            for (method, operation) in item.as_object().unwrap() {
                operations.push((method.clone(), path.clone(), operation.clone()));
            }
        }
        operations.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
        operations
    }

    #[test]
    fn every_route_of_the_contract_is_described_and_no_other() {
        let document = json();
        assert_eq!(document["openapi"], "3.1.0");
        let operations = operations(&document);
        let described: Vec<_> = operations.iter().map(|(m, p, _)| (&**m, &**p)).collect();
        assert_eq!(described, ROUTES);
    }

    #[test]
    fn every_operation_says_what_it_does_takes_and_answers() {
        for (method, path, operation) in operations(&json()) {
            let at = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{at}: summary");
            assert!(operation["tags"][0].is_string(), "{at}: tag");
            let responses = operation["responses"].as_object().unwrap();
            assert!(
                responses.keys().any(|status| status.starts_with('2')),
                "{at}: success"
            );
            for (status, response) in responses {
                assert!(response["description"].is_string(), "{at}: {status}");
                let refusal = status.starts_with(['4', '5']);
                let described = &response["content"][PROBLEM_JSON]["schema"]["$ref"];
                assert_eq!(
                    refusal,
                    described == "#/components/schemas/Problem",
                    "{at}: {status}"
                );
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(parameter["description"].is_string(), "{at}: {parameter}");
            }
            let variables = path.matches('{').count();
            let parameters = operation["parameters"].as_array();
            let in_path = parameters
                .into_iter()
                .flatten()
                .filter(|p| p["in"] == "path");
            assert_eq!(in_path.count(), variables, "{at}: path parameters");
        }
    }

    #[test]
    fn bytes_are_described_under_the_names_that_they_have() {
        let document = json();
        for (schema, names) in [
            ("Payload", ["payload", "payload_base64"]),
            ("EntryValue", ["value", "value_base64"]),
        ] {
            let schemas = &document["components"]["schemas"];
            let described = schemas[schema].to_string();
            for name in names {
                assert!(described.contains(&format!("\"{name}\"")), "{schemas}");
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_field_is_explained() {
        let document = json();
        let text = document.to_string();
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(
                document["components"]["schemas"][name].is_object(),
                "{name}"
            );
        }
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            assert!(schema["description"].is_string(), "{name}");
            let fields = schema["properties"].as_object().into_iter().flatten();
            for (field, of) in fields {
                let of_type = of["oneOf"].get(0).unwrap_or(of);
                let explained = of_type["description"].is_string() || of_type["$ref"].is_string();
                assert!(explained, "{name}.{field}: {of}");
            }
        }
    }
}
