//! Whatever is wrong with a request, the answer is a problem with a stable code.

use axum::body::Body;
use axum::http::Request;
use axum::http::request::Builder;
use serde_json::Value;

use crate::town::{Resident, answer, answer_to};

fn to(method: &str, path: &str) -> Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "127.0.0.1:7777")
}

fn empty(method: &str, path: &str) -> Request<Body> {
    to(method, path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn each_mistake_has_its_code() {
    let ann = Resident::start("ann", &[]).await;
    for (method, path, status, code) in [
        ("GET", "/nowhere", 404, "unknown_path"),
        ("GET", "/v1/members/", 404, "unknown_path"),
        ("DELETE", "/v1/self", 405, "wrong_method"),
        ("PUT", "/v1/events/deploy", 405, "wrong_method"),
        ("GET", "/v1/members?state=dead", 400, "bad_parameter"),
        ("GET", "/v1/members?status=alive", 400, "bad_parameter"),
        (
            "GET",
            "/v1/members?state=alive&state=left",
            400,
            "bad_parameter",
        ),
        ("GET", "/v1/watch?leader=maybe", 400, "bad_parameter"),
        ("GET", "/v1/views?after=x", 400, "bad_parameter"),
        (
            "GET",
            "/v1/views?after=9223372036854775808",
            400,
            "bad_parameter",
        ),
        ("POST", "/v1/leader", 400, "bad_parameter"),
        ("POST", "/v1/leader?to=nobody", 404, "unknown_member"),
        ("POST", "/v1/managers/nobody/promote", 404, "unknown_member"),
        ("DELETE", "/v1/leader", 405, "wrong_method"),
        ("GET", "/v1/watch?members=maybe", 400, "bad_parameter"),
        ("GET", "/v1/members/nobody", 404, "unknown_member"),
        ("GET", "/v1/members/nobody/why", 404, "unknown_member"),
        ("GET", "/v1/members/%ff", 400, "bad_request"),
        ("POST", "/v1/members/nobody/forget", 404, "unknown_member"),
        (
            "POST",
            "/v1/members/ann/forget?force=yes",
            400,
            "bad_parameter",
        ),
        ("POST", "/v1/members/ann/forget?force", 409, "forget_self"),
        ("POST", "/v1/events/a%0Ab", 400, "bad_event_name"),
    ] {
        let answer = answer(ann.router(), empty(method, path)).await;
        assert_eq!(
            answer.code().as_deref(),
            Some(code),
            "{method} {path}: {answer:?}"
        );
        assert_eq!(answer.status, status, "{method} {path}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_answered_with_the_right_ones() {
    let ann = Resident::start("ann", &[]).await;
    let answer = answer(ann.router(), empty("DELETE", "/v1/events/deploy")).await;
    let mut allowed: Vec<_> = answer.allow.as_deref().unwrap().split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
}

#[tokio::test]
async fn a_payload_may_have_8_kib_and_no_byte_more() {
    let ann = Resident::start("ann", &[]).await;
    let publish = |bytes: usize| {
        let request = to("POST", "/v1/events/deploy")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(vec![b'x'; bytes]));
        answer(ann.router(), request.unwrap())
    };
    assert_eq!(publish(8 * 1024).await.status, 201);
    let refused = publish(8 * 1024 + 1).await;
    assert_eq!(
        (refused.status, refused.code().as_deref()),
        (413, Some("body_too_large"))
    );
}

#[tokio::test]
async fn a_web_page_cannot_drive_the_node_and_another_host_neither() {
    let ann = Resident::start("ann", &[]).await;
    let rebound = Request::get("/v1/self").header("host", "evil.example:7777");
    let rebound = answer(ann.router(), rebound.body(Body::empty()).unwrap()).await;
    assert_eq!(rebound.code().as_deref(), Some("forbidden_host"));

    let foreign = to("POST", "/v1/leave").header("origin", "http://evil.example");
    let foreign = answer(ann.router(), foreign.body(Body::empty()).unwrap()).await;
    assert_eq!(foreign.code().as_deref(), Some("forbidden_origin"));

    let elsewhere = "10.0.0.9:50000".parse().unwrap();
    for path in ["/v1/self", "/openapi.json", "/nowhere"] {
        let remote = answer_to(ann.router(), empty("GET", path), elsewhere).await;
        assert_eq!(remote.code().as_deref(), Some("remote_forbidden"), "{path}");
    }

    let health = dui_api::health_router(ann.app.clone());
    let request = Request::get("/healthz").header("host", "dui.default.svc");
    let probe = answer_to(health, request.body(Body::empty()).unwrap(), elsewhere).await;
    assert_eq!(probe.status, 200, "the health port serves anybody");
}

#[tokio::test]
async fn the_router_takes_exactly_what_the_document_says() {
    let ann = Resident::start("ann", &[]).await;
    let document = answer(ann.router(), empty("GET", "/openapi.json")).await;
    assert_eq!(document.content_type, "application/json");
    let document: Value = serde_json::from_slice(&document.body).unwrap();
    for (template, item) in document["paths"].as_object().unwrap() {
        let path = template
            .replace("{member}", "ann")
            .replace("{name}", "deploy");
        for method in ["get", "post", "put", "patch", "delete", "options"] {
            let operation = &item[method];
            let on_health_port = item["get"]["tags"][0] == "health";
            let router = if on_health_port {
                dui_api::health_router(ann.app.clone())
            } else {
                ann.router()
            };
            let answer = answer(router, empty(&method.to_uppercase(), &path)).await;
            let described = operation.is_object();
            assert_eq!(
                described,
                answer.status != 405,
                "{method} {path}: {answer:?}"
            );
            if described {
                let status = answer.status.to_string();
                let status = &operation["responses"][status];
                assert!(
                    status.is_object(),
                    "{method} {path} answers {}",
                    answer.status
                );
            }
        }
    }
}
