//! Conversion: what the node says, in the words of the API.

use dui_client as api;
use dui_node::{Tags, core};

use crate::Settings;

pub(crate) fn member(member: &core::Member, tags: Tags) -> api::Member {
    api::Member {
        id: member.id.to_string(),
        name: member.name.to_string(),
        role: match member.role {
            core::Role::Manager => api::Role::Manager,
            core::Role::Worker => api::Role::Worker,
        },
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

pub(crate) fn this(this: &core::SelfInfo, tags: Tags, settings: &Settings) -> api::SelfInfo {
    api::SelfInfo {
        member: member(&this.member, tags),
        cluster: this.cluster.to_string(),
        run: this.member.run.to_string(),
        message_counter: this.member.messages.0,
        revision: 0,
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
