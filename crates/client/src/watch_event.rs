//! What a watch tells: changes, in the order in which the watched node saw them.

use crate::entry::SharedChange;
use crate::member::{Forgotten, Member, MemberList};
use crate::user_event::UserEvent;

/// One event of `GET /v1/watch`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WatchEvent {
    /// The present members; whatever was known before is void, entries
    /// included, which follow one by one. Comes first when members or entries
    /// are watched, and whenever the stream could not go on without a gap.
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
    /// A shared entry changed; or, between a reset and [`Self::Complete`], is
    /// there. What comes later is never older.
    SharedChanged(SharedChange),
    /// Everything that was watched before the last reset is known now.
    Complete,
    /// The watched node is leaving; nothing follows.
    Leaving,
}
