//! Shared entries: reading, writing and listing them.

pub(crate) mod batch;
mod page;
mod target;
mod write;

use axum::Json;
use axum::extract::State;
use axum::http::header::{
    ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use dui_client::{Code, Entry, EntryList, Problem, Written};
use dui_node::core::EntryKey;
use dui_node::{SharedWrite, WriteFailure, WriteResult};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::ask::ask;
use crate::convert;
use crate::extract::{Body, Query};
use crate::openapi::{Always, WriteRefusals};
use crate::refusal::Refusal;

use page::Wanted;
use target::{MaybeTarget, Target};
use write::{Options, WriteQuery, write};

/// Largest value of an entry in bytes.
pub(crate) const VALUE_BYTES_MAX: usize = dui_node::core::entry::VALUE_BYTES_MAX;

const OCTETS: &str = "application/octet-stream";

type Answer = Result<Response, Refusal>;

/// The entry under a key.
///
/// With `Accept: application/octet-stream` the value itself, under the
/// content type that was stored with it. Keys may hold `/`; what a path
/// cannot hold (`.`, `..`, the empty segment at its end) `?key=` takes.
#[utoipa::path(
    get, path = "/v1/shared/{key}", tag = "shared",
    params(("key" = String, Path, description = "1 to 1,024 bytes of UTF-8, percent-encoded")),
    responses(
        (status = 200, description = "The entry, or its value",
            headers(("etag" = String, description = "The version in quotes")),
            content((Entry = "application/json"), (Vec<u8> = "application/octet-stream"))),
        (status = 304, description = "`If-None-Match` names this version"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "`bad_key`, `bad_parameter`"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`unknown_key`"),
        Always,
    )
)]
pub(crate) async fn read(
    State(app): State<App>,
    Target(key): Target,
    Query(ReadQuery {}): Query<ReadQuery>,
    headers: HeaderMap,
) -> Answer {
    read_one(&app, key, &headers).await
}

/// A read has no parameters, and a misspelt one is not ignored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadQuery {}

/// Give a key a value.
///
/// The body is the value, byte for byte, whatever its content type, which is
/// kept and given back. The last writer wins, on every node.
#[utoipa::path(
    put, path = "/v1/shared/{key}", tag = "shared",
    params(("key" = String, Path, description = "1 to 1,024 bytes of UTF-8, percent-encoded"), WriteQuery),
    request_body(content_type = "application/octet-stream", description = "The value, at most 1 MiB"),
    responses(
        (status = 200, body = Written, description = "It replaced a value"),
        (status = 201, body = Written, description = "There was no value before"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "`body_too_large`"),
        WriteRefusals,
        Always,
    )
)]
pub(crate) async fn put(
    State(app): State<App>,
    Target(key): Target,
    options: Options,
    headers: HeaderMap,
    Body(value): Body,
) -> Answer {
    let content_type = headers.get(CONTENT_TYPE);
    let put = SharedWrite::Put {
        key: key.clone(),
        value: value.into(),
        content_type: content_type.map(|value| value.as_bytes().to_vec()),
        ttl: options.ttl,
    };
    write_one(&app, put, key, options).await
}

/// Take a key's value away.
#[utoipa::path(
    delete, path = "/v1/shared/{key}", tag = "shared",
    params(("key" = String, Path, description = "1 to 1,024 bytes of UTF-8, percent-encoded"), WriteQuery),
    responses(
        (status = 200, body = Written, description = "It is deleted"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`unknown_key`"),
        WriteRefusals,
        Always,
    )
)]
pub(crate) async fn delete(
    State(app): State<App>,
    Target(key): Target,
    options: Options,
) -> Answer {
    if options.ttl.is_some() {
        let detail = "ttl: a delete has none, leave it out";
        return Err(Refusal::new(Code::BadParameter, detail));
    }
    let delete = SharedWrite::Delete { key: key.clone() };
    write_one(&app, delete, key, options).await
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only keys that begin with this.
    #[param(example = "config/")]
    prefix: Option<String>,
    /// At most so many entries, 1 to 1,000; 100 unless said. A page ends
    /// earlier when its values have more than 4 MiB.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// The `cursor` of the page before, with the same prefix.
    cursor: Option<String>,
    /// The entry of this key alone, as at `/v1/shared/{key}`.
    #[expect(dead_code, reason = "decoded by `target`, byte for byte")]
    key: Option<String>,
}

/// What a listing answers.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is the schema of two answers")]
enum PageOrEntry {
    /// Without `key`.
    Page(EntryList),
    /// With `key`.
    Entry(Entry),
}

/// Entries by key, a page at a time; or one of them, with `key`.
///
/// What is written meanwhile may be on a later page or not; what stays as it
/// is comes exactly once.
#[utoipa::path(
    get, path = "/v1/shared", tag = "shared", params(ListQuery),
    responses(
        (status = 200, description = "A page; with `key` the entry, or its value",
            headers(("etag" = String, description = "With `key`: the version in quotes")),
            content((PageOrEntry = "application/json"), (Vec<u8> = "application/octet-stream"))),
        (status = 304, description = "With `key`: `If-None-Match` names its version"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "`bad_parameter`, `bad_cursor`, `bad_key`"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`unknown_key`"),
        Always,
    )
)]
pub(crate) async fn list(
    State(app): State<App>,
    MaybeTarget(key): MaybeTarget,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    let ListQuery {
        prefix,
        limit,
        cursor,
        ..
    } = query;
    match key {
        None => {
            let wanted = Wanted {
                prefix: prefix.unwrap_or_default(),
                limit,
                cursor,
            };
            page::page(State(app), wanted).await
        }
        Some(key) if prefix.is_none() && limit.is_none() && cursor.is_none() => {
            read_one(&app, key, &headers).await
        }
        Some(_) => Err(Refusal::new(
            Code::BadParameter,
            "key names one entry: leave prefix, limit and cursor out, or key",
        )),
    }
}

/// Give a key a value, the key in the query.
#[utoipa::path(
    put, path = "/v1/shared", tag = "shared",
    params(("key" = String, Query, description = "1 to 1,024 bytes of UTF-8, percent-encoded"), WriteQuery),
    request_body(content_type = "application/octet-stream", description = "The value, at most 1 MiB"),
    responses(
        (status = 200, body = Written, description = "It replaced a value"),
        (status = 201, body = Written, description = "There was no value before"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "`body_too_large`"),
        WriteRefusals,
        Always,
    )
)]
pub(crate) async fn put_by_query(
    app: State<App>,
    target: Target,
    options: Options,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    put(app, target, options, headers, body).await
}

/// Take a key's value away, the key in the query.
#[utoipa::path(
    delete, path = "/v1/shared", tag = "shared",
    params(("key" = String, Query, description = "1 to 1,024 bytes of UTF-8, percent-encoded"), WriteQuery),
    responses(
        (status = 200, body = Written, description = "It is deleted"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`unknown_key`"),
        WriteRefusals,
        Always,
    )
)]
pub(crate) async fn delete_by_query(app: State<App>, target: Target, options: Options) -> Answer {
    delete(app, target, options).await
}

async fn read_one(app: &App, key: EntryKey, headers: &HeaderMap) -> Answer {
    let found = ask(app.handle().entry(key.as_str().to_owned())).await?;
    let found = found.ok_or_else(|| unknown(&key))?;
    let etag = etag(&convert::version(found.entry.version()));
    if headers
        .get(IF_NONE_MATCH)
        .is_some_and(|known| lists(known, &etag))
    {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response());
    }
    let raw = headers
        .get_all(ACCEPT)
        .iter()
        .any(|accepted| accepted.to_str().is_ok_and(|text| text.contains(OCTETS)));
    let mut response = if raw {
        let content_type = found.entry.content_type().map(HeaderValue::from_bytes);
        let octets = HeaderValue::from_static(OCTETS);
        let content_type = content_type.and_then(Result::ok).unwrap_or(octets);
        let mut response = found.entry.value().to_vec().into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, content_type);
        // Whatever somebody stored, it is no page of this node.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
        response
    } else {
        Json(convert::entry(&found.entry, found.at_ms)).into_response()
    };
    response.headers_mut().insert(ETAG, etag);
    Ok(response)
}

async fn write_one(app: &App, wish: SharedWrite, key: EntryKey, options: Options) -> Answer {
    let results = write(app, vec![wish], options).await?;
    let result = results.into_iter().next();
    let result = result.ok_or_else(|| Refusal::new(Code::Internal, "no result came back"))?;
    let (status, written) = outcome(&key, result)?;
    let etag = etag(&written.version);
    Ok((status, [(ETAG, etag)], Json(written)).into_response())
}

/// What a write is answered: 201 if there was nothing before.
fn outcome(key: &EntryKey, result: WriteResult) -> Result<(StatusCode, Written), Refusal> {
    match result {
        Ok(done) => {
            let status = if done.existed {
                StatusCode::OK
            } else {
                StatusCode::CREATED
            };
            Ok((status, convert::written(key, &done)))
        }
        Err(WriteFailure::Unknown) => Err(unknown(key)),
        Err(failure) => Err(failure.into()),
    }
}

fn unknown(key: &EntryKey) -> Refusal {
    let shown: String = key.as_str().chars().take(128).collect();
    let detail = format!("there is no shared entry '{shown}' here: GET /v1/shared lists them");
    Refusal::new(Code::UnknownKey, detail)
}

fn etag(version: &str) -> HeaderValue {
    let quoted = HeaderValue::from_str(&format!("\"{version}\""));
    // Hexadecimal digits and a dash.
    quoted.unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// Whether the header of a condition names this tag, or any.
fn lists(header: &HeaderValue, etag: &HeaderValue) -> bool {
    let (Ok(header), Ok(etag)) = (header.to_str(), etag.to_str()) else {
        return false;
    };
    let mut tags = header
        .split(',')
        .map(|tag| tag.trim().trim_start_matches("W/"));
    tags.any(|tag| tag == "*" || tag == etag)
}
