//! Batches: many reads and writes for the price of one request.

use axum::Json;
use axum::extract::State;
use dui_client::{Batch, BatchResult, BatchResults, Code, Operation, OperationKind, Problem};
use dui_node::SharedWrite;
use dui_node::core::EntryKey;
use std::time::Duration;

use super::target::key;
use super::write::{Options, TTL_MAX, WriteQuery, write};
use super::{VALUE_BYTES_MAX, outcome, unknown};
use crate::App;
use crate::ask::ask;
use crate::convert;
use crate::extract::Body;
use crate::openapi::{Always, WriteRefusals};
use crate::refusal::Refusal;

/// Largest body of a batch.
pub(crate) const BATCH_BYTES_MAX: usize = 8 << 20;
/// Most operations of one.
const OPERATIONS_MAX: usize = 1_000;
/// Values of more bytes are not read at once.
const READ_BYTES_MAX: usize = 16 << 20;

/// Many reads and writes in one request.
///
/// Writes are made first, in their order, and become durable together; reads
/// see what is there afterwards. Each operation succeeds or fails for itself:
/// look at the `status` of its result.
#[utoipa::path(
    post, path = "/v1/batch", tag = "shared", params(WriteQuery),
    request_body(content = Batch, description = "At most 8 MiB"),
    responses(
        (status = 200, body = BatchResults, description = "A result for each operation"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "`body_too_large`"),
        WriteRefusals,
        Always,
    )
)]
pub(crate) async fn batch(
    State(app): State<App>,
    options: Options,
    Body(body): Body,
) -> Result<Json<BatchResults>, Refusal> {
    let bad = |detail: String| Refusal::new(Code::BadRequest, detail);
    let batch: Batch =
        serde_json::from_slice(&body).map_err(|why| bad(format!("the body is no batch: {why}")))?;
    if options.ttl.is_some() {
        let detail = "ttl: each put of a batch has its own ttl_ms";
        return Err(Refusal::new(Code::BadParameter, detail));
    }
    let count = batch.operations.len();
    if !(1..=OPERATIONS_MAX).contains(&count) {
        let detail = format!("a batch has 1 to {OPERATIONS_MAX} operations, this one has {count}");
        return Err(bad(detail));
    }

    let mut results: Vec<BatchResult> = Vec::with_capacity(count);
    results.resize_with(count, BatchResult::default);
    let (mut writes, mut written) = (Vec::new(), Vec::new());
    let (mut keys, mut read) = (Vec::new(), Vec::new());
    for (index, operation) in batch.operations.into_iter().enumerate() {
        match plan(operation) {
            Ok(Plan::Write(key, wish)) => {
                writes.push(wish);
                written.push((index, key));
            }
            Ok(Plan::Read(key)) => {
                keys.push(key.as_str().to_owned());
                read.push((index, key));
            }
            Err(refusal) => results[index] = failed(refusal),
        }
    }
    if !writes.is_empty() {
        let done = write(&app, writes, options).await?;
        for ((index, key), result) in written.into_iter().zip(done) {
            results[index] = match outcome(&key, result) {
                Ok((status, written)) => BatchResult {
                    status: status.as_u16(),
                    written: Some(written),
                    ..BatchResult::default()
                },
                Err(refusal) => failed(refusal),
            };
        }
    }
    if !keys.is_empty() {
        let found = ask(app.handle().entries(keys)).await?;
        let mut bytes = 0;
        for ((index, key), found) in read.into_iter().zip(found) {
            results[index] = match found {
                None => failed(unknown(&key)),
                Some(found) => {
                    bytes += found.entry.value().len();
                    if bytes > READ_BYTES_MAX {
                        failed(Refusal::new(
                            Code::BodyTooLarge,
                            format!(
                                "the values before this one have more than {READ_BYTES_MAX} bytes: read fewer at once"
                            ),
                        ))
                    } else {
                        BatchResult {
                            status: 200,
                            entry: Some(convert::entry(&found.entry, found.at_ms)),
                            ..BatchResult::default()
                        }
                    }
                }
            };
        }
    }
    Ok(Json(BatchResults { results }))
}

enum Plan {
    Write(EntryKey, SharedWrite),
    Read(EntryKey),
}

fn plan(operation: Operation) -> Result<Plan, Refusal> {
    let bad = |detail: &str| Err(Refusal::new(Code::BadRequest, detail));
    let key = key(operation.key.as_bytes())?;
    let Operation {
        op,
        value,
        value_base64,
        content_type,
        ttl_ms,
        ..
    } = operation;
    if op == OperationKind::Put {
        let value = match (value, value_base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(bytes)) => bytes.0,
            _ => return bad("a put has either value or value_base64"),
        };
        if value.len() > VALUE_BYTES_MAX {
            let detail = format!("a value has at most {VALUE_BYTES_MAX} bytes");
            return Err(Refusal::new(Code::BodyTooLarge, detail));
        }
        let ttl = ttl_ms.map(Duration::from_millis);
        if ttl.is_some_and(|ttl| ttl.is_zero() || ttl > TTL_MAX) {
            return bad("ttl_ms is at least 1, and at most 100 years");
        }
        let put = SharedWrite::Put {
            key: key.clone(),
            value,
            content_type: content_type.map(String::into_bytes),
            ttl,
        };
        return Ok(Plan::Write(key, put));
    }
    if value.is_some() || value_base64.is_some() || content_type.is_some() || ttl_ms.is_some() {
        return bad("only a put has value, content_type and ttl_ms");
    }
    Ok(match op {
        OperationKind::Delete => Plan::Write(key.clone(), SharedWrite::Delete { key }),
        _ => Plan::Read(key),
    })
}

fn failed(refusal: Refusal) -> BatchResult {
    let problem = refusal.into_problem();
    BatchResult {
        status: problem.status,
        problem: Some(problem),
        ..BatchResult::default()
    }
}
