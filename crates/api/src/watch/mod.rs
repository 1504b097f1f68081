//! The watch: a node's events as a stream that can be resumed.
//!
//! An id is `RUN-SEQUENCE`, with `-LEADER` where the leader is watched: which
//! one was told of last. The order of events is this run's own, so a
//! client that comes back to the same run goes on exactly where it was; to
//! any other run, or when too much has happened since, the only honest
//! answer is the present state: `reset`.

mod present;
mod told;

use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use dui_client::{Code, Forgotten, Problem, SharedChange};
use dui_node::core::{Event, Member, RunId};
use dui_node::{EventStream, NodeEvent, Sequenced, Tags};
use futures_util::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::IntoParams;

use crate::App;
use crate::ask::ask;
use crate::convert;
use crate::extract::{Query, switch};
use crate::members::{list, tags};
use crate::openapi::Always;
use crate::refusal::Refusal;
use crate::serve::Closing;
use present::Present;
use told::Told;

/// A comment goes out after this much silence, so that both sides notice a
/// connection that is gone, and no proxy takes it for idle.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WatchQuery {
    /// Changes of members. Without any parameter members, the leader and user
    /// events are watched.
    #[param(value_type = Option<bool>)]
    members: Option<String>,
    /// Who leads, and the numbered views.
    #[param(value_type = Option<bool>)]
    leader: Option<String>,
    /// Changes of shared entries: those whose keys begin with this, or all
    /// when it has no value.
    #[param(example = "config/")]
    shared: Option<String>,
    /// User events: those of this name, or all when it has no value.
    #[param(example = "deploy")]
    events: Option<String>,
}

/// What happens, as server-sent events.
///
/// `member_alive`, `member_suspect`, `member_failed`, `member_left` carry the
/// member, `member_forgotten` the member and a `reason`, `user_event` the
/// event. `reset` carries the present members, as `GET /v1/members`: whatever
/// was known before is void. It comes first when members or the leader are
/// watched, and whenever the stream cannot go on without a gap. `leaving` is the last
/// event before the node ends the stream. Kinds that a client does not know
/// are to be skipped.
///
/// `leader_changed` carries the leader, as `GET /v1/leader`, and comes when
/// another one leads, nobody does, or the term or the cluster is another; after
/// `reset` the present one is told. `view_changed` carries a view, in the order
/// of their numbers; after `reset` or a gap `GET /v1/views?after=N` has those
/// that are missing.
///
/// `shared_changed` carries what happened to a shared entry, and the entry.
/// With `shared`, `reset` comes first, too, then the present entries as if
/// each were put now, changes among them where they belong, and `complete`:
/// whoever has applied all since `reset` holds what the node holds.
///
/// Each change has an id. A client that sends the last one in
/// `Last-Event-ID` gets what followed it, exactly, if the same process still
/// keeps that; otherwise `reset` and then changes.
#[utoipa::path(
    get, path = "/v1/watch", tag = "watch",
    params(WatchQuery, ("Last-Event-ID" = Option<String>, Header, description = "Id of the last event that was seen")),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "The stream"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "`bad_parameter`"),
        Always,
    )
)]
pub(crate) async fn watch(
    State(app): State<App>,
    Query(query): Query<WatchQuery>,
    closing: Option<Extension<Closing>>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Message, Infallible>>>, Refusal> {
    let filter = Filter::new(query)?;
    let slot = app.0.watchers.clone().try_acquire_owned();
    let slot = slot.map_err(|_| too_many_watchers())?;
    let this = ask(app.handle().this()).await?;
    if this.leaving {
        return Err(Refusal::new(
            Code::Leaving,
            "this node is leaving: watch another node",
        ));
    }
    let run = this.member.run;
    let start = Start::new(&headers, run);
    let events = ask(app.handle().subscribe(start.after(&filter))).await?;
    let told = match start {
        Start::After { told, .. } => Told::resumed(told),
        Start::Fresh | Start::Elsewhere => Told::fresh(),
    };
    let feed = Feed {
        app,
        run,
        events,
        present: None,
        told: filter.leader.then_some(told),
        closing: closing.map(|Extension(closing)| closing),
        filter,
        over: false,
        _slot: slot,
    };
    let messages = stream::unfold(feed, async |mut feed| {
        let message = feed.next().await?;
        Some((Ok(message), feed))
    });
    Ok(Sse::new(messages).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn too_many_watchers() -> Refusal {
    let detail = format!(
        "{} streams are open on this node already: close some, or watch another node",
        crate::WATCHERS_MAX
    );
    Refusal::new(Code::TooManyWatchers, detail)
}

/// Which events are wanted.
#[derive(Debug, PartialEq, Eq)]
struct Filter {
    members: bool,
    /// The leader, and views.
    leader: bool,
    events: bool,
    /// Only user events of this name.
    name: Option<String>,
    /// Shared entries whose keys begin so.
    shared: Option<String>,
}

impl Filter {
    fn new(query: WatchQuery) -> Result<Self, Refusal> {
        let everything = query.members.is_none()
            && query.leader.is_none()
            && query.events.is_none()
            && query.shared.is_none();
        Ok(Self {
            leader: switch("leader", query.leader.as_deref())? || everything,
            members: switch("members", query.members.as_deref())? || everything,
            events: query.events.is_some() || everything,
            name: query.events.filter(|name| !name.is_empty()),
            shared: query.shared,
        })
    }

    fn wants_user_event(&self, name: &str) -> bool {
        self.events && self.name.as_deref().is_none_or(|wanted| wanted == name)
    }
}

/// Where a stream starts.
#[derive(Debug, PartialEq, Eq)]
enum Start {
    /// The client has seen nothing yet.
    Fresh,
    /// It has seen this event of this run and all before it.
    After {
        sequence: u64,
        /// Which leader it was told of, if any.
        told: Option<u64>,
    },
    /// It comes from another run, or from another node.
    Elsewhere,
}

impl Start {
    fn new(headers: &HeaderMap, run: RunId) -> Self {
        let Some(last) = headers.get("last-event-id") else {
            return Self::Fresh;
        };
        let place = last.to_str().ok().and_then(|id| Self::place(id, run));
        place.unwrap_or(Self::Elsewhere)
    }

    fn place(id: &str, run: RunId) -> Option<Self> {
        let (of, place) = id.split_once('-')?;
        if of.parse() != Ok(run) {
            return None;
        }
        let (sequence, told) = match place.split_once('-') {
            Some((sequence, told)) => (sequence, Some(u64::from_str_radix(told, 16).ok()?)),
            None => (place, None),
        };
        let sequence = sequence.parse().ok()?;
        Some(Self::After { sequence, told })
    }

    /// Where to subscribe. At a place that is never kept the node begins with
    /// a reset: for who needs the present state first, and for who resumes in
    /// vain and has to be told so, even without interest in members.
    fn after(&self, filter: &Filter) -> Option<u64> {
        const NEVER_KEPT: u64 = u64::MAX;
        match self {
            Self::Fresh if !filter.members && !filter.leader && filter.shared.is_none() => None,
            Self::Fresh | Self::Elsewhere => Some(NEVER_KEPT),
            Self::After { sequence, .. } => Some(*sequence),
        }
    }
}

/// One client's stream.
struct Feed {
    app: App,
    run: RunId,
    events: EventStream,
    /// The entries that are yet to be told after a reset.
    present: Option<Present>,
    /// Where the leader is watched.
    told: Option<Told>,
    closing: Option<Closing>,
    filter: Filter,
    over: bool,
    _slot: OwnedSemaphorePermit,
}

impl Feed {
    /// The next message; `None` at the end.
    async fn next(&mut self) -> Option<Message> {
        while !self.over {
            if let Some(message) = self.next_leader().await? {
                return Some(message);
            }
            if let Some(message) = self.next_present().await? {
                return Some(message);
            }
            let event = tokio::select! {
                event = self.events.next() => event,
                () = end_of_server(&mut self.closing) => None,
                () = time_to_look(&mut self.told) => continue,
            };
            let Some(Sequenced {
                sequence,
                at_ms,
                event,
            }) = event
            else {
                return Some(self.goodbye());
            };
            match event {
                NodeEvent::Core(event) => {
                    if let Some(told) = &mut self.told {
                        told.due |= may_change_the_leader(&event);
                    }
                    let tags = self.tags_of(&event).await?;
                    if let Some(message) = render(&self.filter, event, tags, at_ms) {
                        return Some(self.placed(message, sequence));
                    }
                }
                NodeEvent::View(cluster, view) if self.filter.leader => {
                    let message = message("view_changed", &convert::view(cluster, &view))?;
                    return Some(self.placed(message, sequence));
                }
                NodeEvent::Reset => {
                    let reset = self.reset().await?;
                    self.present = self.filter.shared.is_some().then(Present::default);
                    if let Some(told) = &mut self.told {
                        told.reset();
                    }
                    let all = self.present.is_none() && self.told.is_none();
                    return Some(if all {
                        self.placed(reset, sequence)
                    } else {
                        // Who breaks off before all is told has to begin anew.
                        reset.id(format!("{}-present", self.run))
                    });
                }
                NodeEvent::Leaving => return Some(self.goodbye()),
                // Of no interest to clients of this version.
                _ => {}
            }
        }
        None
    }

    /// The leader, if it is another one than was told; otherwise as
    /// [`Self::next_present`].
    async fn next_leader(&mut self) -> Option<Option<Message>> {
        let Some(told) = &mut self.told else {
            return Some(None);
        };
        let Some(leader) = told.look(&self.app).await? else {
            return Some(None);
        };
        let message = message("leader_changed", &leader)?;
        Some(Some(self.placed(message, self.events.position())))
    }

    /// The next message of the present; `Some(None)`: an event comes first, or
    /// there is nothing to tell. `None`: the node does not answer, the stream
    /// breaks off, and the client comes again.
    async fn next_present(&mut self) -> Option<Option<Message>> {
        let (Some(present), Some(prefix)) = (&mut self.present, &self.filter.shared) else {
            return Some(None);
        };
        if present.is_exhausted() {
            tokio::select! {
                read = present.read(&self.app, prefix) => read?,
                () = end_of_server(&mut self.closing) => return Some(Some(self.goodbye())),
            }
        }
        if self.events.position() < present.sequence {
            return Some(None);
        }
        if let Some(change) = present.next() {
            return Some(message("shared_changed", &change));
        }
        self.present = None;
        let complete = Message::default().event("complete").data("{}");
        Some(Some(self.placed(complete, self.events.position())))
    }

    /// The message with its place, from which a client can go on; without one
    /// as long as it does not know all that came before.
    fn placed(&self, message: Message, sequence: u64) -> Message {
        if self.present.is_some() {
            return message;
        }
        let place = format!("{}-{sequence}", self.run);
        match self.told.as_ref().and_then(|told| told.print) {
            Some(print) => message.id(format!("{place}-{print:x}")),
            None => message.id(place),
        }
    }

    /// The present state, which may be newer than the place in the order that
    /// it is sent for: what follows then says once more what it shows already.
    /// Without a state the stream breaks off, and the client comes again.
    async fn reset(&self) -> Option<Message> {
        let members = ask(self.app.handle().members()).await.ok()?;
        message("reset", &list(&self.app, &members).await.ok()?)
    }

    /// The tags of the member that an event is about.
    async fn tags_of(&self, event: &Event) -> Option<Tags> {
        match member_of(event).filter(|_| self.filter.members) {
            Some(member) => tags(&self.app, member.id).await.ok(),
            None => Some(Tags::new()),
        }
    }

    fn goodbye(&mut self) -> Message {
        self.over = true;
        Message::default().event("leaving").data("{}")
    }
}

async fn end_of_server(closing: &mut Option<Closing>) {
    match closing {
        Some(closing) => closing.wait().await,
        None => std::future::pending().await,
    }
}

async fn time_to_look(told: &mut Option<Told>) {
    match told {
        Some(told) => told.wait().await,
        None => std::future::pending().await,
    }
}

/// Whoever leads may be among those who come and go.
fn may_change_the_leader(event: &Event) -> bool {
    matches!(event, Event::LeaderNews(_)) || member_of(event).is_some()
}

/// The event as a message; `None` when nobody asked for it.
fn render(filter: &Filter, event: Event, tags: Tags, at_ms: u64) -> Option<Message> {
    let kind = match &event {
        Event::SharedChanged { change, entry } => {
            let prefix = filter.shared.as_deref()?;
            let wanted = entry.key().starts_with(prefix);
            let change = wanted.then(|| SharedChange {
                change: convert::change(*change),
                entry: convert::entry(entry, at_ms),
            });
            return message("shared_changed", &change?);
        }
        Event::User(event) => {
            let wanted = filter.wants_user_event(&event.name);
            return message(
                "user_event",
                &wanted.then(|| convert::user_event(event.clone()))?,
            );
        }
        Event::MemberForgotten { member, reason } if filter.members => {
            let forgotten = Forgotten {
                member: convert::member(member, tags),
                reason: reason.as_str().into(),
            };
            return message("member_forgotten", &forgotten);
        }
        Event::MemberAlive(_) => "member_alive",
        Event::MemberSuspect(_) => "member_suspect",
        Event::MemberFailed(_) => "member_failed",
        Event::MemberLeft(_) => "member_left",
        // What this node has to say about itself is in its log.
        _ => return None,
    };
    let member = member_of(&event).filter(|_| filter.members)?;
    message(kind, &convert::member(member, tags))
}

/// Whom an event is about, if it is news of a member.
fn member_of(event: &Event) -> Option<&Member> {
    match event {
        Event::MemberAlive(member)
        | Event::MemberSuspect(member)
        | Event::MemberFailed(member)
        | Event::MemberLeft(member)
        | Event::MemberForgotten { member, .. } => Some(member),
        _ => None,
    }
}

/// `None` never happens: our types hold nothing that JSON cannot.
fn message(kind: &str, data: &impl Serialize) -> Option<Message> {
    Message::default().event(kind).json_data(data).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use dui_node::core::{NodeId, Timestamp, UserEvent};

    fn filter(members: Option<&str>, events: Option<&str>) -> Filter {
        let query = WatchQuery {
            members: members.map(Into::into),
            leader: None,
            events: events.map(Into::into),
            shared: None,
        };
        Filter::new(query).unwrap()
    }

    fn after(sequence: u64, told: Option<u64>) -> Start {
        Start::After { sequence, told }
    }

    fn start(last: &str) -> Start {
        let mut headers = HeaderMap::new();
        headers.insert("last-event-id", last.parse().unwrap());
        Start::new(&headers, RunId(7))
    }

    #[test]
    fn without_a_filter_everything_is_watched() {
        let all = filter(None, None);
        assert!(all.members && all.leader && all.wants_user_event("deploy"));
        let members = filter(Some(""), None);
        assert!(members.members && !members.leader && !members.wants_user_event("deploy"));
        let deploys = filter(None, Some("deploy"));
        assert!(!deploys.members && deploys.wants_user_event("deploy"));
        assert!(!deploys.wants_user_event("other"));
        assert!(filter(None, Some("")).wants_user_event("other"));
    }

    #[test]
    fn a_client_resumes_only_on_the_run_it_comes_from() {
        let run = RunId(7).to_string();
        assert_eq!(start(&format!("{run}-42")), after(42, None));
        assert_eq!(start(&format!("{run}-42-ff")), after(42, Some(255)));
        assert_eq!(start(&format!("{run}-present")), Start::Elsewhere);
        assert_eq!(start(&format!("{run}-42-x")), Start::Elsewhere);
        assert_eq!(start(&format!("{}-42", RunId(8))), Start::Elsewhere);
        assert_eq!(start(&format!("{run}-x")), Start::Elsewhere);
        assert_eq!(start("garbage"), Start::Elsewhere);
        assert_eq!(Start::new(&HeaderMap::new(), RunId(7)), Start::Fresh);
    }

    #[test]
    fn the_present_comes_first_unless_the_past_goes_on_or_nobody_needs_it() {
        let (all, events_only) = (filter(None, None), filter(None, Some("")));
        assert_eq!(after(42, None).after(&all), Some(42));
        assert_eq!(Start::Fresh.after(&events_only), None);
        for start in [Start::Fresh, Start::Elsewhere] {
            assert_eq!(start.after(&all), Some(u64::MAX));
        }
        assert_eq!(Start::Elsewhere.after(&events_only), Some(u64::MAX));
    }

    #[test]
    fn an_event_that_nobody_asked_for_is_not_sent() {
        let event = || {
            Event::User(UserEvent {
                timestamp: Timestamp(1),
                origin: NodeId(1),
                name: "deploy".into(),
                payload: Vec::new(),
            })
        };
        assert!(render(&filter(None, Some("deploy")), event(), Tags::new(), 0).is_some());
        assert!(render(&filter(None, Some("other")), event(), Tags::new(), 0).is_none());
        assert!(render(&filter(Some(""), None), event(), Tags::new(), 0).is_none());
    }
}
