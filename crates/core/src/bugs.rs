//! Bugs: mistakes made on purpose, to show that the simulator finds them.
//!
//! Each stands beside the line that has it right. Without the feature `bugs`,
//! which nothing but the simulator's tests turns on, [`Bugs::has`] is `false`
//! at compile time and no trace of them is left.

/// A mistake, named after what goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "bugs"), allow(unreachable_pub))]
pub enum Bug {
    /// A suspect refutes without raising its incarnation.
    FlatRefutation,
    /// The duplicate window is keyed without the run.
    RunlessWindow,
    /// A suspicion runs out although its member refuted meanwhile.
    StaleSuspicion,
    /// Members that left are adopted again from a reconciliation.
    AdoptedLeaver,
    /// An ack counts whoever at the address sent it.
    StrangersAck,
    /// News of an older incarnation are believed.
    OlderWins,
    /// Who left may still be failed.
    LeaverFails,
    /// Old rumors are never dropped.
    Hoard,
    /// Packets of another cluster are acted on.
    ClusterBlind,
    /// A node that slept goes on as if it had not.
    HastyWaking,
    /// What a reconciliation brings is told again.
    ToldTwice,
    /// Different digests start nothing.
    DeafDigest,
    /// Leader news replace newer ones, too.
    ForgetfulLeader,
}

impl Bug {
    /// All of them.
    #[cfg(feature = "bugs")]
    pub const ALL: [Bug; 13] = [
        Bug::FlatRefutation,
        Bug::RunlessWindow,
        Bug::StaleSuspicion,
        Bug::AdoptedLeaver,
        Bug::StrangersAck,
        Bug::OlderWins,
        Bug::LeaverFails,
        Bug::Hoard,
        Bug::ClusterBlind,
        Bug::HastyWaking,
        Bug::ToldTwice,
        Bug::DeafDigest,
        Bug::ForgetfulLeader,
    ];

    /// For people: `flat-refutation`, …
    #[cfg(feature = "bugs")]
    pub fn as_str(self) -> &'static str {
        match self {
            Bug::FlatRefutation => "flat-refutation",
            Bug::RunlessWindow => "runless-window",
            Bug::StaleSuspicion => "stale-suspicion",
            Bug::AdoptedLeaver => "adopted-leaver",
            Bug::StrangersAck => "strangers-ack",
            Bug::OlderWins => "older-wins",
            Bug::LeaverFails => "leaver-fails",
            Bug::Hoard => "hoard",
            Bug::ClusterBlind => "cluster-blind",
            Bug::HastyWaking => "hasty-waking",
            Bug::ToldTwice => "told-twice",
            Bug::DeafDigest => "deaf-digest",
            Bug::ForgetfulLeader => "forgetful-leader",
        }
    }
}

/// Which mistake a node makes, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bugs(#[cfg(feature = "bugs")] pub(crate) Option<Bug>);

impl Bugs {
    /// Whether it makes this one.
    #[cfg_attr(
        not(feature = "bugs"),
        expect(clippy::unused_self, reason = "with the feature")
    )]
    pub(crate) const fn has(self, bug: Bug) -> bool {
        #[cfg(feature = "bugs")]
        return matches!(self.0, Some(made) if made as u8 == bug as u8);
        #[cfg(not(feature = "bugs"))]
        {
            let _ = bug;
            false
        }
    }
}
