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
        Event::Left { acked, wanted } => {
            tracing::info!(target: "dui", event = "left", acked, wanted);
        }
        Event::Refused(refusal) => {
            tracing::warn!(target: "dui", event = "refused", reason = %refusal);
        }
        Event::AddressMismatch { advertised, seen } => tracing::warn!(
            target: "dui", event = "address_mismatch", %advertised, %seen,
            remedy = "pass --advertise with the address that peers see",
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
