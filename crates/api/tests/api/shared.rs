//! Shared entries over HTTP: what is put is given back, byte for byte, and mistakes have codes.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::town::{Answer, Resident, answer, eventually};

async fn ask(
    node: &Resident,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "127.0.0.1:7777");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(node.router(), request.body(body.into()).unwrap()).await
}

async fn put(node: &Resident, path: &str, body: impl Into<Body>) -> Answer {
    ask(node, "PUT", path, &[], body).await
}

async fn get(node: &Resident, path: &str) -> Answer {
    ask(node, "GET", path, &[], Body::empty()).await
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn a_value_comes_back_byte_for_byte_under_any_content_type() {
    let ann = Resident::start("ann", &[]).await;
    let bytes: Vec<u8> = (0..=255).collect();
    let strange = [("content-type", "application/x-unheard-of; v=1")];
    let written = ask(&ann, "PUT", "/v1/shared/a/b", &strange, bytes.clone()).await;
    assert_eq!(written.status, 201, "{written:?}");
    let version = json_of(&written)["version"].as_str().unwrap().to_owned();
    assert_eq!(json_of(&written)["acked"], 1);

    let entry = json_of(&get(&ann, "/v1/shared/a%2Fb").await);
    assert_eq!(entry["key"], "a/b");
    assert_eq!(entry["version"], json!(version));
    assert_eq!(entry["content_type"], "application/x-unheard-of; v=1");
    assert!(entry["value_base64"].is_string() && entry["ttl_ms"].is_null());

    let raw = [("accept", "application/octet-stream")];
    let raw = ask(&ann, "GET", "/v1/shared/a/b", &raw, Body::empty()).await;
    assert_eq!(raw.body, bytes);
    assert_eq!(raw.content_type, "application/x-unheard-of; v=1");

    let again = put(&ann, "/v1/shared/a/b", "text").await;
    assert_eq!(again.status, 200);
    assert!(json_of(&again)["version"].as_str().unwrap() > version.as_str());
    assert_eq!(json_of(&get(&ann, "/v1/shared/a/b").await)["value"], "text");
}

#[tokio::test]
async fn an_etag_tells_what_one_has_already() {
    let ann = Resident::start("ann", &[]).await;
    let version = json_of(&put(&ann, "/v1/shared/a", "1").await)["version"].clone();
    let tag = format!("\"{}\"", version.as_str().unwrap());
    let known = [("if-none-match", tag.as_str())];
    let same = ask(&ann, "GET", "/v1/shared/a", &known, Body::empty()).await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    put(&ann, "/v1/shared/a", "2").await;
    let other = ask(&ann, "GET", "/v1/shared/a", &known, Body::empty()).await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn keys_that_a_path_cannot_hold_go_into_the_query() {
    let ann = Resident::start("ann", &[]).await;
    for key in ["..", ".", "a/", "/", "a//b", "%25", "%C3%BC", "%00"] {
        let path = format!("/v1/shared?key={key}");
        assert_eq!(put(&ann, &path, "x").await.status, 201, "{key}");
        assert_eq!(json_of(&get(&ann, &path).await)["value"], "x", "{key}");
        let deleted = ask(&ann, "DELETE", &path, &[], Body::empty()).await;
        assert_eq!(deleted.status, 200, "{key}");
        assert_eq!(
            get(&ann, &path).await.code().as_deref(),
            Some("unknown_key")
        );
    }
}

#[tokio::test]
async fn an_entry_with_a_time_to_live_is_gone_when_it_is_over() {
    let ann = Resident::start("ann", &[]).await;
    put(&ann, "/v1/shared/brief?ttl=300ms", "x").await;
    let left = json_of(&get(&ann, "/v1/shared/brief").await)["ttl_ms"]
        .as_u64()
        .unwrap();
    assert!((1..=300).contains(&left), "{left}");
    eventually("the entry expires", async || {
        get(&ann, "/v1/shared/brief").await.status == 404
    })
    .await;
}

#[tokio::test]
async fn a_list_gives_every_entry_once_page_by_page() {
    let ann = Resident::start("ann", &[]).await;
    for number in 0..25 {
        put(&ann, &format!("/v1/shared/list/{number:02}"), "x").await;
    }
    put(&ann, "/v1/shared/other", "x").await;
    let mut keys = Vec::new();
    let mut path = "/v1/shared?prefix=list/&limit=10".to_owned();
    loop {
        let page = json_of(&get(&ann, &path).await);
        let entries = page["entries"].as_array().unwrap();
        keys.extend(
            entries
                .iter()
                .map(|entry| entry["key"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["cursor"].as_str() else {
            break;
        };
        // What is written behind the cursor changes nothing before it.
        put(&ann, "/v1/shared/list/00", "y").await;
        path = format!("/v1/shared?prefix=list/&limit=10&cursor={cursor}");
    }
    let expected: Vec<_> = (0..25).map(|number| format!("list/{number:02}")).collect();
    assert_eq!(keys, expected);

    // Large values shorten a page and do not break it.
    for number in 0..6 {
        put(
            &ann,
            &format!("/v1/shared/large/{number}"),
            vec![b'x'; 1 << 20],
        )
        .await;
    }
    let page = json_of(&get(&ann, "/v1/shared?prefix=large/").await);
    assert_eq!(page["entries"].as_array().unwrap().len(), 3);
    assert!(page["cursor"].is_string());
}

#[tokio::test]
async fn a_batch_writes_first_then_reads_and_each_operation_has_its_own_result() {
    let ann = Resident::start("ann", &[]).await;
    put(&ann, "/v1/shared/old", "x").await;
    let batch = json!({"operations": [
        {"op": "get", "key": "new"},
        {"op": "put", "key": "new", "value": "1", "content_type": "text/plain", "ttl_ms": 60_000},
        {"op": "put", "key": "bytes", "value_base64": "/wA="},
        {"op": "delete", "key": "old"},
        {"op": "get", "key": "old"},
        {"op": "delete", "key": "never"},
        {"op": "put", "key": "", "value": "x"},
        {"op": "put", "key": "both", "value": "x", "value_base64": "eA=="},
        {"op": "get", "key": "bytes"},
    ]});
    let answer = ask(&ann, "POST", "/v1/batch", &[], batch.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let results = json_of(&answer);
    let results = results["results"].as_array().unwrap();
    let statuses: Vec<_> = results
        .iter()
        .map(|result| result["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [200, 201, 201, 200, 404, 404, 400, 400, 200]);
    assert_eq!(results[0]["entry"]["value"], "1");
    assert_eq!(results[0]["entry"]["content_type"], "text/plain");
    assert_eq!(results[6]["problem"]["code"], "bad_key");
    assert_eq!(results[8]["entry"]["value_base64"], "/wA=");
}

#[tokio::test]
async fn each_mistake_with_an_entry_has_its_code_and_changes_nothing() {
    let ann = Resident::start("ann", &[]).await;
    let large = "x".repeat((1 << 20) + 1);
    let many = json!({"operations": vec![json!({"op": "get", "key": "a"}); 1_001]}).to_string();
    let long = format!("/v1/shared/{}", "k".repeat(1_025));
    let none: &[(&str, &str)] = &[];
    let long_type = "x".repeat(255);
    for (method, path, headers, body, status, code) in [
        ("GET", "/v1/shared/nothing", none, "", 404, "unknown_key"),
        ("DELETE", "/v1/shared/nothing", none, "", 404, "unknown_key"),
        ("PUT", "/v1/shared/", none, "x", 400, "bad_key"),
        ("PUT", "/v1/shared", none, "x", 400, "bad_key"),
        ("PUT", "/v1/shared/%ff", none, "x", 400, "bad_key"),
        ("PUT", "/v1/shared/%zz", none, "x", 400, "bad_key"),
        ("PUT", &long, none, "x", 400, "bad_key"),
        ("GET", &long, none, "", 400, "bad_key"),
        ("PUT", "/v1/shared/a?key=b", none, "x", 400, "bad_parameter"),
        ("PUT", "/v1/shared/a", none, &large, 413, "body_too_large"),
        (
            "PUT",
            "/v1/shared/a",
            &[("content-type", &*long_type)],
            "x",
            400,
            "bad_content_type",
        ),
        ("PUT", "/v1/shared/a?ttl=8", none, "x", 400, "bad_parameter"),
        ("PUT", "/v1/shared/a?ack=0", none, "x", 400, "bad_parameter"),
        (
            "PUT",
            "/v1/shared/a?lease=1",
            none,
            "x",
            400,
            "bad_parameter",
        ),
        (
            "PUT",
            "/v1/shared/a?timeout=2h",
            none,
            "x",
            400,
            "bad_parameter",
        ),
        (
            "DELETE",
            "/v1/shared/a?ttl=1s",
            none,
            "",
            400,
            "bad_parameter",
        ),
        ("GET", "/v1/shared/a?stale", none, "", 400, "bad_parameter"),
        (
            "PUT",
            "/v1/shared/a",
            &[("if-match", "\"1\"")],
            "x",
            400,
            "conditional_write",
        ),
        (
            "PUT",
            "/v1/shared/a",
            &[("if-none-match", "*")],
            "x",
            400,
            "conditional_write",
        ),
        (
            "DELETE",
            "/v1/shared/a",
            &[("if-match", "*")],
            "",
            400,
            "conditional_write",
        ),
        ("POST", "/v1/shared/a", none, "x", 405, "wrong_method"),
        ("GET", "/v1/shared?limit=0", none, "", 400, "bad_parameter"),
        (
            "GET",
            "/v1/shared?limit=1001",
            none,
            "",
            400,
            "bad_parameter",
        ),
        ("GET", "/v1/shared?cursor=abc", none, "", 400, "bad_cursor"),
        (
            "GET",
            "/v1/shared?key=a&prefix=b",
            none,
            "",
            400,
            "bad_parameter",
        ),
        ("POST", "/v1/batch", none, "{", 400, "bad_request"),
        ("POST", "/v1/batch", none, "[]", 400, "bad_request"),
        (
            "POST",
            "/v1/batch",
            none,
            "{\"operations\":[]}",
            400,
            "bad_request",
        ),
        (
            "POST",
            "/v1/batch",
            none,
            "{\"operations\":[{\"op\":\"cas\",\"key\":\"a\"}]}",
            400,
            "bad_request",
        ),
        ("POST", "/v1/batch", none, &many, 400, "bad_request"),
        (
            "PUT",
            "/v1/shared/lonely?ack=2&timeout=50ms",
            none,
            "x",
            504,
            "ack_timeout",
        ),
    ] {
        let shown = &path[..path.len().min(60)];
        let answer = ask(&ann, method, path, headers, body.to_owned()).await;
        assert_eq!(
            answer.code().as_deref(),
            Some(code),
            "{method} {shown}: {answer:?}"
        );
        assert_eq!(answer.status, status, "{method} {shown}");
    }
    let all = json_of(&get(&ann, "/v1/shared").await);
    let entries = all["entries"].as_array().unwrap();
    // An ack_timeout is no refusal: the write stays.
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["key"], "lonely");
}

#[tokio::test]
async fn a_cursor_of_another_cluster_is_refused_by_name() {
    let ann = Resident::start("ann", &[]).await;
    let text = r#"{"cluster":"green","prefix":"","after":"a"}"#;
    let cursor = {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
    };
    let answer = get(&ann, &format!("/v1/shared?cursor={cursor}")).await;
    assert_eq!(answer.code().as_deref(), Some("bad_cursor"));
    assert!(answer.problem().unwrap().detail.contains("'green'"));
}

#[tokio::test]
async fn memory_has_a_bound_and_deletes_go_on_beyond_it() {
    let ann = Resident::start_with("ann", &[], |options| options.shared_bytes_max = 64 << 10).await;
    let mut refused = None;
    for number in 0..100 {
        let answer = put(&ann, &format!("/v1/shared/{number}"), vec![7; 1_000]).await;
        if answer.status != 201 {
            refused = Some((number, answer));
            break;
        }
    }
    let (number, answer) = refused.expect("a bound");
    assert!((30..64).contains(&number), "{number}");
    assert_eq!(
        (answer.status, answer.code().as_deref()),
        (507, Some("entries_full"))
    );
    // What is there stays, can be replaced by as much, and can be deleted.
    assert_eq!(put(&ann, "/v1/shared/0", vec![8; 1_000]).await.status, 200);
    for key in 0..3 {
        let path = format!("/v1/shared/{key}");
        assert_eq!(
            ask(&ann, "DELETE", &path, &[], Body::empty()).await.status,
            200
        );
    }
    assert_eq!(
        put(&ann, "/v1/shared/new", vec![9; 1_000]).await.status,
        201
    );
}
