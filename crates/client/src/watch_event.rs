//! What a watch tells: changes, in the order in which the watched node saw them.

use crate::entry::SharedChange;
use crate::leader::Leader;
use crate::member::{Forgotten, Member, MemberList};
use crate::user_event::UserEvent;
use crate::view::View;

/// One event of `GET /v1/watch`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WatchEvent {
    /// The present members; whatever was known before is void, entries
    /// included, which follow one by one. Comes first when members, the leader
    /// or entries are watched, and whenever the stream could not go on without a gap.
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
    /// Another one leads, or nobody; or, after a reset, who does. Boxed: rare,
    /// and large.
    LeaderChanged(Box<Leader>),
    /// The managers have agreed on another view of the members.
    ViewChanged(View),
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
