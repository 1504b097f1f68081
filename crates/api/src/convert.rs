//! Conversion: what the node says, in the words of the API.

use dui_client as api;
use dui_node::consensus::founding::ClusterId;
use dui_node::consensus::machine;
use dui_node::consensus::record::Seen;
use dui_node::{GroupInfo, LeaderState, Leadership, Tags, Views, core};

use crate::Settings;

pub(crate) fn member(member: &core::Member, tags: Tags) -> api::Member {
    api::Member {
        id: member.id.to_string(),
        name: member.name.to_string(),
        role: role(member.role == core::Role::Manager),
        address: member.address.to_string(),
        state: state(member.state),
        incarnation: member.incarnation.0,
        messages: member.messages.0,
        version: member.version.to_string(),
        tags,
        rtt_ms: member
            .rtt
            .map(|rtt| (rtt.as_secs_f64() * 1e6).round() / 1e3),
        since: api::rfc3339(member.since_ms),
    }
}

fn role(manager: bool) -> api::Role {
    if manager {
        api::Role::Manager
    } else {
        api::Role::Worker
    }
}

/// Members with the tags of each.
pub(crate) fn members(members: &[core::Member], tags: Vec<Tags>) -> api::MemberList {
    let both = members.iter().zip(tags);
    api::MemberList {
        members: both.map(|(one, tags)| member(one, tags)).collect(),
    }
}

pub(crate) fn state(state: core::MemberState) -> api::MemberState {
    match state {
        core::MemberState::Alive => api::MemberState::Alive,
        core::MemberState::Suspect => api::MemberState::Suspect,
        core::MemberState::Failed => api::MemberState::Failed,
        core::MemberState::Left => api::MemberState::Left,
    }
}

pub(crate) fn this(
    this: &core::SelfInfo,
    tags: Tags,
    revision: u64,
    settings: &Settings,
) -> api::SelfInfo {
    api::SelfInfo {
        member: member(&this.member, tags),
        cluster: this.cluster.to_string(),
        run: this.member.run.to_string(),
        message_counter: this.member.messages.0,
        revision,
        key: this.key.map(|key| key.to_string()),
        awareness: this.awareness,
        view: format!("{:016x}", this.view),
        leaving: this.leaving,
        client_address: settings.client_address.to_string(),
        health_address: settings.health_address.to_string(),
    }
}

pub(crate) fn why(why: &core::Why, tags: Tags) -> api::Why {
    let line = |entry: &core::WhyEntry| api::WhyEntry {
        at: api::rfc3339(entry.at_ms),
        what: entry.what.into(),
        by: entry.by.map(|id| id.to_string()),
        detail: entry.detail.clone(),
    };
    api::Why {
        member: member(&why.member, tags),
        awareness: why.awareness,
        story: why.story.iter().map(line).collect(),
    }
}

pub(crate) fn discovery(
    providers: &[dui_node::ProviderState],
    found: &core::DiscoveryInfo,
) -> api::Discovery {
    let line = |provider: &dui_node::ProviderState| {
        let caught = found.providers.iter().find(|it| it.name == provider.name);
        let (found, heard) = caught.map_or((0, 0), |it| (it.found as u64, it.heard));
        api::ProviderInfo {
            name: provider.name.into(),
            detail: provider.detail.clone(),
            state: match &provider.error {
                Some(_) => api::ProviderState::Failing,
                None if found > 0 => api::ProviderState::Working,
                None => api::ProviderState::Waiting,
            },
            error: provider.error.clone(),
            found,
            heard,
            last: caught.and_then(|it| it.last_ms).map(api::rfc3339),
        }
    };
    api::Discovery {
        providers: providers.iter().map(line).collect(),
        lost: found.lost.iter().map(ToString::to_string).collect(),
    }
}

pub(crate) fn leader(leadership: &Leadership) -> api::Leader {
    let leader = leadership.leader.as_ref();
    let news = leadership.news.as_ref();
    api::Leader {
        id: leader.map(|leader| leader.id.to_string()),
        name: leader.map(|leader| leader.name.to_string()),
        address: leader.map(|leader| leader.address.to_string()),
        term: news.map(|news| news.term),
        cluster_id: news.map(|news| ClusterId(news.cluster_id).to_string()),
        revision: news.map(|news| news.elected_at),
        state: match leadership.state {
            LeaderState::Led => api::LeaderState::Led,
            LeaderState::Electing => api::LeaderState::Electing,
            LeaderState::Unformed => api::LeaderState::Unformed,
        },
        why: leadership.why.clone(),
    }
}

pub(crate) fn view(cluster: ClusterId, view: &machine::View) -> api::View {
    let gone = |left| {
        let these = view.gone.iter().filter(move |gone| gone.left == left);
        these.map(|gone| gone.id.to_string()).collect()
    };
    api::View {
        cluster_id: cluster.to_string(),
        number: view.number,
        revision: view.revision,
        joined: view.joined.iter().map(seen).collect(),
        left: gone(true),
        failed: gone(false),
    }
}

fn seen(seen: &Seen) -> api::ViewMember {
    api::ViewMember {
        id: seen.id.to_string(),
        name: seen.name.clone(),
        address: seen.address.clone(),
        role: role(seen.manager),
    }
}

/// Views with a higher number than `after`.
pub(crate) fn views(views: &Views, after: Option<u64>) -> api::ViewList {
    let later = views.views.iter();
    let later = later.filter(|view| after.is_none_or(|after| view.number > after));
    // There are no views without a cluster.
    let later = views
        .cluster
        .map(|cluster| later.map(|one| view(cluster, one)).collect());
    api::ViewList {
        cluster_id: views.cluster.map(|cluster| cluster.to_string()),
        views: later.unwrap_or_default(),
        members: views.members.iter().map(seen).collect(),
    }
}

/// What this node, `me`, knows of the managers among the members, in their
/// order.
pub(crate) fn managers(
    members: &[core::Member],
    leadership: &Leadership,
    group: Option<&GroupInfo>,
    me: core::NodeId,
) -> api::ManagerList {
    let news = leadership.news.as_ref();
    // A group that is being founded, or was left, is not what is told about.
    let group = group.filter(|group| news.is_some_and(|news| news.cluster_id == group.cluster.0));
    let beat = group.map(|group| &group.beat);
    let managers = members.iter().filter(|it| it.role == core::Role::Manager);
    let line = |member: &core::Member| {
        let id = member.id;
        let leads = leadership.leader.as_ref().is_some_and(|it| it.id == id);
        let votes = news.is_some_and(|news| news.voters.contains(&id));
        let learns = beat.is_some_and(|beat| beat.learners.contains(&id));
        let kind = beat.filter(|beat| beat.voters.contains(&id) || beat.learners.contains(&id));
        let kind = kind.map(|beat| !beat.ephemeral.contains(&id));
        let leading = beat.filter(|beat| beat.leads);
        let all = leading.filter(|_| id == me).map(|beat| beat.last);
        api::Manager {
            id: id.to_string(),
            name: member.name.to_string(),
            address: member.address.to_string(),
            state: state(member.state),
            part: match (leads, votes, learns) {
                (true, ..) => api::Part::Leader,
                (_, true, _) => api::Part::Voter,
                (_, _, true) => api::Part::Learner,
                _ => api::Part::Standby,
            },
            // Of voters without any disk everybody is told.
            durable: kind.or_else(|| news.filter(|it| votes && it.ephemeral).map(|_| false)),
            matched: all.or_else(|| leading.and_then(|beat| beat.matched.get(&id).copied())),
        }
    };
    api::ManagerList {
        managers: managers.map(line).collect(),
        cluster_id: news.map(|news| ClusterId(news.cluster_id).to_string()),
        changing: beat.is_some_and(|beat| beat.changing),
    }
}

pub(crate) fn user_event(event: core::UserEvent) -> api::UserEvent {
    api::UserEvent {
        timestamp: event.timestamp.0,
        at: api::rfc3339(event.timestamp.ms()),
        origin: event.origin.to_string(),
        name: event.name,
        payload: event.payload.into(),
    }
}

/// As text: sixteen digits of the timestamp, so that its order is theirs.
pub(crate) fn version(version: core::Version) -> String {
    format!("{:016x}-{}", version.timestamp.0, version.origin)
}

pub(crate) fn entry(entry: &core::Entry, at_ms: u64) -> api::Entry {
    let version = entry.version();
    let content_type = entry.content_type();
    api::Entry {
        key: entry.key().into(),
        value: entry.value().to_vec().into(),
        content_type: content_type.map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
        version: self::version(version),
        timestamp: version.timestamp.0,
        at: api::rfc3339(version.timestamp.ms()),
        updated_by: version.origin.to_string(),
        ttl_ms: entry
            .expires_ms()
            .map(|end_ms| end_ms.saturating_sub(at_ms)),
    }
}

pub(crate) fn written(key: &core::EntryKey, written: &core::Written) -> api::Written {
    let version = written.version;
    api::Written {
        key: key.to_string(),
        version: self::version(version),
        timestamp: version.timestamp.0,
        at: api::rfc3339(version.timestamp.ms()),
        updated_by: version.origin.to_string(),
        acked: written.acked as u64,
    }
}

pub(crate) fn change(change: core::Change) -> api::ChangeKind {
    match change {
        core::Change::Put => api::ChangeKind::Put,
        core::Change::Deleted => api::ChangeKind::Deleted,
        core::Change::Expired => api::ChangeKind::Expired,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    use dui_node::consensus::group::Beat;
    use dui_node::consensus::record::Gone;
    use dui_node::consensus::store::StoreMetrics;
    use dui_node::core::{LeaderNews, NodeId};

    use super::*;

    fn manager(id: u128, name: &str) -> core::Member {
        core::Member {
            id: NodeId(id),
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

    fn news() -> LeaderNews {
        LeaderNews {
            cluster_id: 0xc1,
            revision: 12,
            leader: NodeId(1),
            term: 3,
            elected_at: 9,
            view: 2,
            voters: vec![NodeId(1), NodeId(2)],
            ephemeral: false,
        }
    }

    fn led() -> Leadership {
        Leadership {
            state: LeaderState::Led,
            leader: Some(manager(1, "ann")),
            news: Some(news()),
            why: None,
        }
    }

    #[test]
    fn a_leader_is_told_with_its_token_which_outlives_it() {
        let told = leader(&led());
        assert_eq!(told.name.as_deref(), Some("ann"));
        assert_eq!((told.term, told.revision), (Some(3), Some(9)));
        let gone = leader(&Leadership {
            state: LeaderState::Electing,
            leader: None,
            news: Some(news()),
            why: Some("ann is gone".into()),
        });
        assert_eq!((gone.id, gone.name, gone.address), (None, None, None));
        assert_eq!(gone.cluster_id, Some(format!("{:032x}", 0xc1)));
        assert_eq!((gone.term, gone.revision), (Some(3), Some(9)));
        assert_eq!(gone.why.as_deref(), Some("ann is gone"));
    }

    #[test]
    fn a_view_tells_who_left_from_who_failed() {
        let one = |number| machine::View {
            number,
            revision: 10 + number,
            joined: vec![Seen {
                id: NodeId(1),
                name: "ann".into(),
                address: "127.0.0.1:7781".into(),
                manager: false,
            }],
            gone: vec![
                Gone {
                    id: NodeId(2),
                    left: true,
                },
                Gone {
                    id: NodeId(3),
                    left: false,
                },
            ],
        };
        let list = Views {
            cluster: Some(ClusterId(0xc1)),
            views: vec![one(1), one(2)],
            members: one(2).joined,
        };
        let told = views(&list, Some(1));
        assert_eq!(told.views.len(), 1);
        let view = &told.views[0];
        assert_eq!((view.number, view.revision), (2, 12));
        assert_eq!(view.left, [NodeId(2).to_string()]);
        assert_eq!(view.failed, [NodeId(3).to_string()]);
        assert_eq!(view.joined[0].role, api::Role::Worker);
        assert_eq!(views(&list, None).views.len(), 2);
    }

    fn group() -> GroupInfo {
        let ids = |ids: &[u128]| -> BTreeSet<NodeId> { ids.iter().copied().map(NodeId).collect() };
        GroupInfo {
            cluster: ClusterId(0xc1),
            beat: Beat {
                leader: Some(NodeId(1)),
                leads: true,
                term: 3,
                voters: ids(&[1, 2]),
                changing: true,
                learners: ids(&[3]),
                ephemeral: ids(&[2]),
                last: 40,
                committed: 39,
                applied: 38,
                matched: BTreeMap::from([(NodeId(2), 37)]),
                quorum_heard: Some(Duration::ZERO),
                stopped: None,
            },
            store: StoreMetrics::default(),
        }
    }

    #[test]
    fn a_manager_of_the_group_knows_more_than_others() {
        let mut worker = manager(5, "eve");
        worker.role = core::Role::Worker;
        let town = [
            manager(1, "ann"),
            manager(2, "bo"),
            manager(3, "cy"),
            manager(4, "di"),
            worker,
        ];
        let known = managers(&town, &led(), Some(&group()), NodeId(1));
        let parts = |list: &api::ManagerList| -> Vec<api::Part> {
            list.managers.iter().map(|manager| manager.part).collect()
        };
        use api::Part::{Leader, Learner, Standby, Voter};
        assert_eq!(parts(&known), [Leader, Voter, Learner, Standby]);
        let lines = known.managers.iter();
        let rest: Vec<_> = lines.map(|line| (line.durable, line.matched)).collect();
        assert_eq!(
            rest,
            [
                (Some(true), Some(40)),
                (Some(false), Some(37)),
                (Some(true), None),
                (None, None)
            ]
        );
        assert!(known.changing);

        let told = managers(&town, &led(), None, NodeId(5));
        assert_eq!(parts(&told), [Leader, Voter, Standby, Standby]);
        assert!(!told.changing && told.managers.iter().all(|it| it.matched.is_none()));
        let mut other = group();
        other.cluster = ClusterId(0xc2);
        assert_eq!(managers(&town, &led(), Some(&other), NodeId(1)), told);
    }
}
