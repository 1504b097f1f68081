//! Journal: news of the core as log events, with the fields that tools rely on.
//!
//! Fields, not sentences: whoever shows them to people makes the sentence.

use dui_core::{Event, Member};

/// Logs one event of the core.
pub(crate) fn tell(event: &Event) {
    match event {
        Event::MemberAlive(member) => tell_member("member_alive", member),
        Event::MemberSuspect(member) => tell_member("member_suspect", member),
        Event::MemberFailed(member) => tell_member("member_failed", member),
        Event::MemberLeft(member) => tell_member("member_left", member),
        Event::MemberForgotten { member, reason } => tracing::info!(
            target: "dui", event = "member_forgotten", member = %member.name, id = %member.id,
            incarnation = member.incarnation.0, address = %member.address,
            reason = reason.as_str(),
        ),
        Event::User(event) => tracing::info!(
            target: "dui", event = "user_event", name = %event.name, origin = %event.origin,
            timestamp = event.timestamp.0, bytes = event.payload.len(),
        ),
        Event::SharedChanged { change, entry } => tracing::debug!(
            target: "dui", event = "shared_changed", change = change.as_str(), key = entry.key(),
            origin = %entry.version().origin, timestamp = entry.version().timestamp.0,
            bytes = entry.value().len(),
        ),
        Event::Left { acked, wanted } => {
            tracing::info!(target: "dui", event = "left", acked, wanted);
        }
        Event::Refused(refusal) => {
            tracing::warn!(target: "dui", event = "refused", reason = %refusal);
        }
        Event::PathChanged { member, udp: false } => tracing::warn!(
            target: "dui", event = "udp_blocked", member = %member.name, id = %member.id,
            address = %member.address,
            remedy = "streams are used instead; let UDP pass between the two, both ways",
        ),
        Event::PathChanged { member, udp: true } => tell_member("udp_restored", member),
        Event::SharedParted(member) => tracing::warn!(
            target: "dui", event = "shared_parted", member = %member.name, id = %member.id,
            remedy = "the last contact is longer ago than tombstones live: \"dui recover --shared keep\" here keeps the shared entries of both sides, \"dui recover --shared discard\" on every node of one side gives up that side's",
        ),
        Event::SharedFull { bytes, bytes_max } => tracing::warn!(
            target: "dui", event = "shared_full", bytes, bytes_max,
            remedy = "this node does not hold all shared entries: give it as much memory for them as the others",
        ),
        Event::AddressMismatch { advertised, seen } => tracing::warn!(
            target: "dui", event = "address_mismatch", %advertised, %seen,
            remedy = "pass --advertise with the address that peers see",
        ),
        // The managers' task tells when another one leads.
        Event::LeaderNews(news) => tracing::debug!(
            target: "dui", event = "leader_news", leader = %news.leader, term = news.term,
            revision = news.revision, view = news.view, voters = news.voters.len(),
        ),
        Event::Fatal(fatal) => tracing::error!(target: "dui", event = "fatal", reason = %fatal),
        other => tracing::info!(target: "dui", event = "other", detail = ?other),
    }
}

fn tell_member(event: &'static str, member: &Member) {
    tracing::info!(
        target: "dui", event, member = %member.name, id = %member.id,
        incarnation = member.incarnation.0, address = %member.address,
    );
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;
    use std::fmt;
    use std::sync::{Arc, Mutex};

    use dui_core::{
        ForgetReason, Incarnation, MemberState, MessageCounter, NodeId, Refusal, Role, RunId,
    };
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Level, Metadata, Subscriber};

    use super::*;

    /// One log event: its level and its fields as text.
    type Line = (Level, BTreeMap<&'static str, String>);

    /// Keeps what a program's log would show.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<Line>>>);

    struct Fields(BTreeMap<&'static str, String>);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            self.0.insert(field.name(), format!("{value:?}"));
        }

        fn record_str(&mut self, field: &Field, value: &str) {
            self.0.insert(field.name(), value.into());
        }
    }

    impl Subscriber for Log {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            let mut fields = Fields(BTreeMap::new());
            event.record(&mut fields);
            let line = (*event.metadata().level(), fields.0);
            self.0.lock().unwrap().push(line);
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    fn logged(event: &Event) -> Line {
        let log = Log::default();
        tracing::subscriber::with_default(log.clone(), || tell(event));
        log.0.lock().unwrap().pop().unwrap()
    }

    fn grace() -> Member {
        Member {
            id: NodeId(0x7f3a << 112),
            run: RunId(1),
            name: "grace-hopper-7f3a".parse().unwrap(),
            role: Role::Worker,
            address: "127.0.0.1:7782".parse().unwrap(),
            state: MemberState::Alive,
            incarnation: Incarnation(41),
            messages: MessageCounter(0),
            version: "0.1.0".into(),
            rtt: None,
            since_ms: 0,
        }
    }

    #[test]
    fn every_change_of_a_member_names_it_the_same_way() {
        let forgotten = Event::MemberForgotten {
            member: grace(),
            reason: ForgetReason::Superseded,
        };
        for (event, name) in [
            (Event::MemberAlive(grace()), "member_alive"),
            (Event::MemberSuspect(grace()), "member_suspect"),
            (Event::MemberFailed(grace()), "member_failed"),
            (Event::MemberLeft(grace()), "member_left"),
            (forgotten, "member_forgotten"),
        ] {
            let (level, mut fields) = logged(&event);
            assert_eq!(level, Level::INFO);
            let reason = fields.remove("reason");
            assert_eq!(reason.is_some(), name == "member_forgotten");
            let expected = [
                ("event", name),
                ("member", "grace-hopper-7f3a"),
                ("id", "7f3a0000000000000000000000000000"),
                ("incarnation", "41"),
                ("address", "127.0.0.1:7782"),
            ];
            assert_eq!(fields, expected.map(|(k, v)| (k, v.to_owned())).into());
        }
    }

    #[test]
    fn a_refusal_warns_with_its_reason() {
        let refusal = Refusal::OtherVersion {
            theirs: 9,
            ours: 1,
            from: "10.0.0.7:7781".parse().unwrap(),
        };
        let (level, fields) = logged(&Event::Refused(refusal.clone()));
        assert_eq!(level, Level::WARN);
        assert_eq!(fields["event"], "refused");
        assert_eq!(fields["reason"], refusal.to_string());
    }
}
