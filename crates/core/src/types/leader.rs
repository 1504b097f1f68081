//! Leader news: the one latest fact about the managers' agreement.
//!
//! Managers agree by votes, among themselves; what came out of it is told to
//! everybody as one small fact that replaces the one before. Nothing is ever
//! taken out of it or merged into it, so all that its receivers need is an
//! order: whoever has heard the same facts, in whatever order, holds the same.

use crate::id::NodeId;

/// Most voters that leader news name.
pub const VOTERS_MAX: usize = 16;

/// What the managers have agreed on, as every node is told: the newest stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderNews {
    /// Names the formed cluster.
    pub cluster_id: u128,
    /// Of the newest fact in here. Orders news, then the cluster id does.
    pub revision: u64,
    /// Who leads.
    pub leader: NodeId,
    /// In which term.
    pub term: u64,
    /// The revision at which it was elected: the fencing token.
    pub elected_at: u64,
    /// The number of the newest view.
    pub view: u64,
    /// Who votes, at most 16, ascending.
    pub voters: Vec<NodeId>,
    /// None of those who vote has a disk: once all are gone, so is the cluster.
    pub ephemeral: bool,
}

impl LeaderNews {
    /// Whether these replace the others: by revision, then by cluster id.
    ///
    /// One revision of one cluster is one fact. Should two managers ever tell
    /// it differently, the rest decides, lest two halves of the nodes hold
    /// their own for good, and compare without end.
    pub fn is_newer_than(&self, other: &LeaderNews) -> bool {
        self.rank() > other.rank()
    }

    /// 64 bits that depend on all of it. Part of the wire format: nodes
    /// compare sums of it.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = blake3::Hasher::new_derive_key("dui v1 leader news");
        hasher.update(&self.cluster_id.to_be_bytes());
        for number in [self.revision, self.term, self.elected_at, self.view] {
            hasher.update(&number.to_be_bytes());
        }
        hasher.update(&self.leader.to_bytes());
        for voter in &self.voters {
            hasher.update(&voter.to_bytes());
        }
        hasher.update(&[self.ephemeral.into()]);
        let mut print = [0; 8];
        hasher.finalize_xof().fill(&mut print);
        u64::from_be_bytes(print)
    }

    fn rank(&self) -> impl Ord + '_ {
        let told_as = (self.term, self.elected_at, self.view, self.leader);
        let voters = (&self.voters, self.ephemeral);
        (self.revision, self.cluster_id, told_as, voters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(revision: u64, cluster_id: u128) -> LeaderNews {
        LeaderNews {
            cluster_id,
            revision,
            leader: NodeId(1),
            term: 3,
            elected_at: 4,
            view: 5,
            voters: vec![NodeId(1), NodeId(2)],
            ephemeral: false,
        }
    }

    #[test]
    fn a_higher_revision_is_newer_then_a_higher_cluster_id_and_nothing_than_itself() {
        assert!(news(8, 1).is_newer_than(&news(7, 2)));
        assert!(!news(7, 2).is_newer_than(&news(8, 1)));
        assert!(news(7, 2).is_newer_than(&news(7, 1)));
        assert!(!news(7, 1).is_newer_than(&news(7, 1)));
    }

    #[test]
    fn of_one_revision_told_in_two_ways_all_choose_the_same() {
        let (one, mut other) = (news(7, 1), news(7, 1));
        other.voters.push(NodeId(3));
        assert!(other.is_newer_than(&one) && !one.is_newer_than(&other));
    }

    #[test]
    fn the_fingerprint_depends_on_all_of_it_and_stays_what_it_is() {
        let one = news(7, 1);
        assert_eq!(one.fingerprint(), FINGERPRINT);
        let changes: [fn(&mut LeaderNews); 8] = [
            |news| news.cluster_id += 1,
            |news| news.revision += 1,
            |news| news.leader = NodeId(2),
            |news| news.term += 1,
            |news| news.elected_at += 1,
            |news| news.view += 1,
            |news| news.voters = vec![NodeId(1)],
            |news| news.ephemeral = true,
        ];
        for change in changes {
            let mut other = one.clone();
            change(&mut other);
            assert_ne!(other.fingerprint(), one.fingerprint(), "{other:?}");
        }
    }

    const FINGERPRINT: u64 = 17_657_858_894_746_806_271;
}
