//! Doctor: has the node find out what gets through between it and its peers.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use dui_client::{Check, CheckState, Code, Diagnosis, Finding, Problem};
use dui_node::PeerPlace;
use dui_node::core::diagnosis;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::App;
use crate::ask::ask_within;
use crate::extract::Query;
use crate::openapi::Always;
use crate::refusal::Refusal;

/// Longest examination: others may have to be waited for first.
const PATIENCE: Duration = Duration::from_secs(50);
/// Places that one request may name.
const PLACES_MAX: usize = 64;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DoctorQuery {
    /// Examine these places, too: `HOST[:PORT]`, separated by commas, 64 at most.
    #[param(example = "10.0.0.8,seed.example:7781")]
    join: Option<String>,
}

/// Find out why nodes do not find each other.
///
/// The node examines every peer that it knows of, 64 at most: packets of
/// several lengths, streams and beacons, each both ways. That takes about
/// three seconds when something is wrong; examinations of one node take turns.
#[utoipa::path(
    post, path = "/v1/doctor", tag = "members", params(DoctorQuery),
    responses(
        (status = 200, body = Diagnosis, description = "What was found, with its remedies; and what was tried"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "`bad_parameter`"),
        Always,
    )
)]
pub(crate) async fn doctor(
    State(app): State<App>,
    Query(query): Query<DoctorQuery>,
) -> Result<Json<Diagnosis>, Refusal> {
    let places = places(query.join.as_deref().unwrap_or_default())?;
    let found = ask_within(PATIENCE, app.handle().examine(&places)).await?;
    Ok(Json(diagnosis(&found)))
}

fn places(list: &str) -> Result<Vec<PeerPlace>, Refusal> {
    let bad = |why: String| Refusal::new(Code::BadParameter, why);
    let named = list.split(',').map(str::trim).filter(|it| !it.is_empty());
    let places: Result<Vec<PeerPlace>, _> = named.map(str::parse).collect();
    let places = places.map_err(|error: dui_node::PlaceError| bad(error.to_string()))?;
    if places.len() > PLACES_MAX {
        return Err(bad(format!(
            "at most {PLACES_MAX} places are examined at once"
        )));
    }
    Ok(places)
}

/// A diagnosis in the words of the API.
pub fn diagnosis(found: &diagnosis::Diagnosis) -> Diagnosis {
    let finding = |it: &diagnosis::Finding| Finding {
        code: it.code.as_str().into(),
        subject: it.subject.clone(),
        detail: it.detail.clone(),
        remedy: it.remedy.clone(),
    };
    let check = |it: &diagnosis::Check| Check {
        name: it.name.into(),
        subject: it.subject.clone(),
        state: match it.state {
            diagnosis::CheckState::Ok => CheckState::Ok,
            diagnosis::CheckState::Wrong => CheckState::Wrong,
            diagnosis::CheckState::Skipped => CheckState::Skipped,
        },
        detail: it.detail.clone(),
    };
    Diagnosis {
        healthy: found.findings.is_empty(),
        findings: found.findings.iter().map(finding).collect(),
        checks: found.checks.iter().map(check).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_are_checked_and_bounded() {
        assert_eq!(places("").unwrap(), []);
        let two = places("10.0.0.8, seed.example:99").unwrap();
        assert_eq!(two[1].to_string(), "seed.example:99");
        let refused = places("10.0.0.8:x").unwrap_err();
        assert!(refused.problem().is(Code::BadParameter));
        let many = vec!["10.0.0.8"; 65].join(",");
        assert!(places(&many).unwrap_err().problem().detail.contains("64"));
    }
}
