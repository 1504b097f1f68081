//! Members: reading the view of this node, leaving it, forgetting others.

use axum::Json;
use axum::extract::State;
use dui_client::{Code, Discovery, LeaveOutcome, Member, MemberList, MemberState, Problem};
use dui_client::{SelfInfo, Why};
use dui_node::{Tags, core};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::App;
use crate::ask::ask;
use crate::convert;
use crate::extract::{Query, Segment, switch};
use crate::openapi::{Always, NotOneMember};
use crate::refusal::Refusal;

type Answer<T> = Result<Json<T>, Refusal>;

/// This node about itself.
#[utoipa::path(
    get, path = "/v1/self", tag = "members",
    responses((status = 200, body = SelfInfo, description = "This node"), Always)
)]
pub(crate) async fn this(State(app): State<App>) -> Answer<SelfInfo> {
    let this = ask(app.handle().this()).await?;
    let tags = tags(&app, this.member.id).await?;
    let news = ask(app.handle().leader()).await?.news;
    let revision = news.map_or(0, |news| news.revision);
    Ok(Json(convert::this(&this, tags, revision, &app.settings())))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MembersQuery {
    /// Only members in this state, or in one of several separated by commas:
    /// `alive`, `suspect`, `failed`, `left`.
    #[param(example = "alive,suspect")]
    state: Option<String>,
}

/// Every member in every state, this node included, sorted by name.
#[utoipa::path(
    get, path = "/v1/members", tag = "members", params(MembersQuery),
    responses(
        (status = 200, body = MemberList, description = "The members"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "`bad_parameter`"),
        Always,
    )
)]
pub(crate) async fn members(
    State(app): State<App>,
    Query(query): Query<MembersQuery>,
) -> Answer<MemberList> {
    let wanted = query.state.as_deref().map(states).transpose()?;
    let mut members = ask(app.handle().members()).await?;
    if let Some(wanted) = wanted {
        members.retain(|member| wanted.contains(&convert::state(member.state)));
    }
    Ok(Json(list(&app, &members).await?))
}

/// One member.
#[utoipa::path(
    get, path = "/v1/members/{member}", tag = "members",
    params(("member" = String, Path, description = "Id or name")),
    responses((status = 200, body = Member, description = "The member"), NotOneMember, Always)
)]
pub(crate) async fn member(State(app): State<App>, Segment(text): Segment) -> Answer<Member> {
    let member = find(&app, &text).await?;
    let tags = tags(&app, member.id).await?;
    Ok(Json(convert::member(&member, tags)))
}

/// Why a member is in its state, as this node knows it.
#[utoipa::path(
    get, path = "/v1/members/{member}/why", tag = "members",
    params(("member" = String, Path, description = "Id or name")),
    responses((status = 200, body = Why, description = "The member and its story"), NotOneMember, Always)
)]
pub(crate) async fn why(State(app): State<App>, Segment(text): Segment) -> Answer<Why> {
    let member = find(&app, &text).await?;
    let why = ask(app.handle().why(member.id)).await?;
    let why = why.ok_or_else(|| unknown(&text))?;
    let tags = tags(&app, member.id).await?;
    Ok(Json(convert::why(&why, tags)))
}

/// Which discovery provider found whom, and whom this node has lost.
#[utoipa::path(
    get, path = "/v1/discovery", tag = "members",
    responses((status = 200, body = Discovery, description = "What discovery knows"), Always)
)]
pub(crate) async fn discovery(State(app): State<App>) -> Answer<Discovery> {
    let found = ask(app.handle().discovery()).await?;
    Ok(Json(convert::discovery(&app.handle().providers(), &found)))
}

/// Leave the cluster and wait until that is done or the node's leave timeout is over.
///
/// Idempotent. The node stays up in state `left` until it is stopped.
#[utoipa::path(
    post, path = "/v1/leave", tag = "members",
    responses((status = 200, body = LeaveOutcome, description = "This node has left"), Always)
)]
pub(crate) async fn leave(State(app): State<App>) -> Answer<LeaveOutcome> {
    // The node bounds this itself, by its leave timeout.
    let outcome = app.handle().leave().await.map_err(Refusal::from)?;
    Ok(Json(LeaveOutcome {
        state: MemberState::Left,
        acked: outcome.acked as u64,
        wanted: outcome.wanted as u64,
    }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ForgetQuery {
    /// Forget the member even if it is alive or only suspected: it learns
    /// that, says so and stops.
    #[param(value_type = Option<bool>)]
    force: Option<String>,
}

/// Remove a member for good: its id is refused from then on, everywhere.
#[utoipa::path(
    post, path = "/v1/members/{member}/forget", tag = "members",
    params(("member" = String, Path, description = "Id or name"), ForgetQuery),
    responses(
        (status = 200, body = Member, description = "The member as it was last seen"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "`bad_parameter`"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`unknown_member`"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`member_alive` without force, `ambiguous_name` with the ids that carry it, `forget_self`"),
        Always,
    )
)]
pub(crate) async fn forget(
    State(app): State<App>,
    Segment(text): Segment,
    Query(query): Query<ForgetQuery>,
) -> Answer<Member> {
    let force = switch("force", query.force.as_deref())?;
    let member = find(&app, &text).await?;
    let forgotten = ask(app.handle().forget(member.id, force)).await?;
    let tags = tags(&app, member.id).await?;
    Ok(Json(convert::member(&forgotten, tags)))
}

/// Members with their tags.
pub(crate) async fn list(app: &App, members: &[core::Member]) -> Result<MemberList, Refusal> {
    let ids: Vec<core::NodeId> = members.iter().map(|member| member.id).collect();
    let tags = ask(app.handle().tags(&ids)).await?;
    Ok(convert::members(members, tags))
}

/// The tags of one member.
pub(crate) async fn tags(app: &App, id: core::NodeId) -> Result<Tags, Refusal> {
    let tags = ask(app.handle().tags(&[id])).await?;
    Ok(tags.into_iter().next().unwrap_or_default())
}

fn states(list: &str) -> Result<Vec<MemberState>, Refusal> {
    let state = |word: &str| word.trim().parse::<MemberState>();
    let parsed: Result<_, _> = list.split(',').map(state).collect();
    parsed.map_err(|why| Refusal::new(Code::BadParameter, why.to_string()))
}

/// The member with this id or name.
pub(crate) async fn find(app: &App, text: &str) -> Result<core::Member, Refusal> {
    pick(ask(app.handle().members()).await?, text)
}

/// The member with this id, or else the only one with this name: a name in
/// the form of another member's id must not hide that member.
fn pick(mut members: Vec<core::Member>, text: &str) -> Result<core::Member, Refusal> {
    if let Ok(id) = text.parse::<core::NodeId>()
        && let Some(index) = members.iter().position(|member| member.id == id)
    {
        return Ok(members.swap_remove(index));
    }
    members.retain(|member| member.name.as_str() == text);
    match members.len() {
        0 => Err(unknown(text)),
        1 => Ok(members.swap_remove(0)),
        _ => {
            let ids = members.iter().map(|member| member.id.to_string());
            Err(Refusal::ambiguous(text, ids.collect()))
        }
    }
}

fn unknown(text: &str) -> Refusal {
    let shown: String = text.chars().take(64).collect();
    let detail = format!("no member has the id or name '{shown}': GET /v1/members lists them all");
    Refusal::new(Code::UnknownMember, detail)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn member(id: u128, name: &str) -> core::Member {
        core::Member {
            id: core::NodeId(id),
            run: core::RunId(1),
            name: name.parse().unwrap(),
            role: core::Role::Manager,
            address: "127.0.0.1:7781".parse().unwrap(),
            state: core::MemberState::Alive,
            incarnation: core::Incarnation(1),
            messages: core::MessageCounter(0),
            version: "0.1.0".into(),
            rtt: None,
            since_ms: 0,
        }
    }

    #[test]
    fn a_member_is_found_by_id_and_by_name() {
        let town = || vec![member(1, "ann"), member(2, "bo")];
        let id = core::NodeId(2).to_string();
        assert_eq!(pick(town(), &id).unwrap().name.as_str(), "bo");
        assert_eq!(pick(town(), "ann").unwrap().id, core::NodeId(1));
        assert!(
            pick(town(), "cy")
                .unwrap_err()
                .problem()
                .is(Code::UnknownMember)
        );
    }

    #[test]
    fn a_name_that_two_carry_is_answered_with_their_ids() {
        let refusal = pick(vec![member(1, "ann"), member(2, "ann")], "ann").unwrap_err();
        assert!(refusal.problem().is(Code::AmbiguousName));
        let ids = [1, 2].map(|id| core::NodeId(id).to_string());
        assert_eq!(refusal.problem().ids, ids);
    }

    #[test]
    fn a_name_that_looks_like_an_id_does_not_hide_the_member_with_that_id() {
        let id = core::NodeId(1).to_string();
        let town = vec![member(1, "ann"), member(2, &id)];
        assert_eq!(pick(town, &id).unwrap().name.as_str(), "ann");
    }

    #[test]
    fn states_are_filtered_by_a_list_and_a_wrong_word_is_named() {
        let wanted = states("alive, left").unwrap();
        assert_eq!(wanted, [MemberState::Alive, MemberState::Left]);
        let refusal = states("alive,dead").unwrap_err();
        assert!(refusal.problem().detail.contains("'dead'"));
    }
}
