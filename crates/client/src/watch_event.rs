//! What a watch tells: changes, in the order in which the watched node saw them.

use crate::member::{Forgotten, Member, MemberList};
use crate::user_event::UserEvent;

/// One event of `GET /v1/watch`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WatchEvent {
    /// The present state; whatever was known before is void. Comes first when
    /// members are watched, and whenever the stream could not go on without a gap.
    Reset(MemberList),
    /// A member appeared, came back or refuted.
    MemberAlive(Member),
    /// A member is doubted.
    MemberSuspect(Member),
    /// A member was observed dead.
    MemberFailed(Member),
    /// A member said goodbye.
    MemberLeft(Member),
    /// A member is no longer listed.
    MemberForgotten(Forgotten),
    /// A user event.
    UserEvent(UserEvent),
    /// The watched node is leaving; nothing follows.
    Leaving,
}
