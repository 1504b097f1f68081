//! Course: which cluster a manager seeks, and when it gives one up.
//!
//! [`founding`](crate::founding) says who may create a cluster. This says when
//! a manager tries to, whom it asks how they stand, which cluster it joins, and
//! when the one it belongs to is over. It rests on one rule: whoever is only
//! not seen may be cut off and alive. So a cluster is over when each of its
//! voters is gone for good, and nobody joins one by hearsay: old news travel
//! on after all who knew better are dead.
//!
//! Pure: each look gives the [`Turn`]s to take, in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dui_core::{LeaderNews, Member, MemberState, NodeId, Role};

use crate::call::Standing;
use crate::founding::sight::{Advice, Sight};
use crate::founding::{ClusterId, Founding, Proposal, Word};
use crate::group::Beat;

/// Between two looks of a manager that founds.
pub const FOUNDING_TICK: Duration = Duration::from_millis(100);
/// Holders ask each other how their proposal stands this often.
const QUERY_EVERY: Duration = Duration::from_secs(1);
/// Between two looks of who waits for others to come or go.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Who is alive on loopback has been heard of by then.
const SETTLED: Duration = Duration::from_secs(1);
/// The first proposal that is not complete by then is dropped, for a new one.
const PROPOSAL_MIN: Duration = Duration::from_secs(2);
/// Each further one may take twice as long: a disk may be slow. Up to this.
const PROPOSAL_MAX: Duration = Duration::from_secs(64);
/// Who learns may have been given a vote that it has not heard of. Whoever has
/// heard of it is elected by then.
const ELECTED: Duration = Duration::from_secs(5);
/// A leader whom no majority has answered for so long does not say that it leads.
const SILENT_MAX: Duration = Duration::from_secs(2);
/// Ids that are remembered of those that are gone.
const REMEMBERED_MAX: usize = 1_024;

/// What sort of node it is, for as long as its process runs.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Its id.
    pub me: NodeId,
    /// A worker founds and joins nothing.
    pub manager: bool,
    /// How many managers found.
    pub expect: Option<u32>,
    /// It is bound to loopback, where nothing can be cut.
    pub loopback: bool,
    /// Without a disk an id ends with its process.
    pub ephemeral: bool,
}

/// What a manager sees around it.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Since it began.
    pub now: Duration,
    /// Of the cluster, of every state.
    pub members: Vec<Member>,
    /// Of those that it asked about: who was removed for good by an operator.
    pub forgotten: BTreeSet<NodeId>,
    /// The newest news of a leader.
    pub news: Option<LeaderNews>,
}

impl Around {
    /// Managers that are here, ascending.
    pub fn managers(&self) -> impl Iterator<Item = NodeId> {
        let mut here: Vec<NodeId> = self
            .members
            .iter()
            .filter(|member| is_manager_here(member))
            .map(|member| member.id)
            .collect();
        here.sort_unstable();
        here.into_iter()
    }

    /// Whether this is a manager that is here.
    pub fn is_here(&self, id: NodeId) -> bool {
        let mut members = self.members.iter();
        members.any(|member| member.id == id && is_manager_here(member))
    }

    fn state(&self, id: NodeId) -> Option<MemberState> {
        let member = self.members.iter().find(|member| member.id == id);
        member.map(|member| member.state)
    }
}

/// Whether this is a manager that is here.
pub fn is_manager_here(member: &Member) -> bool {
    member.role == Role::Manager
        && matches!(member.state, MemberState::Alive | MemberState::Suspect)
}

/// What this manager has a part in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part<'a> {
    /// The group that it runs, as its own log has it.
    pub runs: Option<&'a Beat>,
    /// The group whose data it has.
    pub written: Option<ClusterId>,
}

/// What to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Looks again after this, without a reason.
    LookIn(Duration),
    /// Says why there is no leader, for people.
    Explain(String),
    /// Takes part in the group that it has the data of, or holds a proposal for.
    Resume,
    /// Asks the others of its slot's proposal how that stands.
    AskHolders,
    /// Asks these managers how they stand.
    Ask(Vec<NodeId>),
    /// Proposes to found with these.
    Propose(BTreeSet<NodeId>),
    /// Gives up what it proposes.
    Abort,
    /// Founds alone, if the kernel says that it is the first.
    FoundIfFirst,
    /// Joins this cluster.
    Join(ClusterId),
    /// Its cluster is no more: it belongs to none, and begins as a fresh one.
    BeginAnew,
    /// Asks whether the other cluster goes on for its own.
    AskOrigins(ClusterId),
    /// Two clusters have met.
    Strangers {
        /// Its own.
        own: ClusterId,
        /// The other one.
        other: ClusterId,
    },
    /// Twice as many are here as are expected.
    Crowd,
}

/// One manager's way. See the [module](self).
#[derive(Debug)]
pub struct Course {
    setup: Setup,
    sight: Option<Sight>,
    /// How other managers say they stand; `None` while they are asked.
    answers: BTreeMap<NodeId, Option<Standing>>,
    /// The latest news of its own cluster.
    own_news: Option<LeaderNews>,
    /// Ids that were seen to leave, and those that another node replaced at
    /// their address.
    departed: BTreeSet<NodeId>,
    superseded: BTreeSet<NodeId>,
    /// When holders ask each other next how their proposal stands.
    ask_at: Duration,
    /// When it proposed last and whom, if that is not over.
    proposed: Option<(Duration, BTreeSet<NodeId>)>,
    /// How long the next proposal may take.
    patience: Duration,
    crowd_told: bool,
    /// Since when all who vote in its cluster are gone.
    forsaken_at: Option<Duration>,
    #[cfg(test)]
    mistake: Option<Mistake>,
}

/// A rule that the town of the tests takes out, to find what goes wrong without it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mistake {
    /// Who stands by for nobody goes on.
    NeverForsakes,
    /// News say all of who votes.
    TrustsNews,
    /// The kernel lets a founder found beside those who belong to a cluster.
    #[cfg(test)]
    SeatsAreFree,
    /// Where there are no disks, the first revision is no clock.
    #[cfg(test)]
    NoClock,
}

impl Course {
    /// Of a node that has just begun.
    pub fn new(setup: Setup) -> Self {
        let expect = setup.expect.filter(|_| setup.manager);
        Self {
            setup,
            sight: expect.map(|expect| Sight::new(setup.me, expect)),
            answers: BTreeMap::new(),
            own_news: None,
            departed: BTreeSet::new(),
            superseded: BTreeSet::new(),
            ask_at: Duration::ZERO,
            proposed: None,
            patience: PROPOSAL_MIN,
            crowd_told: false,
            forsaken_at: None,
            #[cfg(test)]
            mistake: None,
        }
    }

    // --- getters ---

    /// The latest news of its own cluster.
    pub fn own_news(&self) -> Option<&LeaderNews> {
        self.own_news.as_ref()
    }

    /// What others are told when they ask.
    pub fn standing(&self, founding: &Founding, around: &Around, departing: bool) -> Standing {
        Standing {
            expect: self
                .setup
                .expect
                .filter(|_| self.setup.manager)
                .unwrap_or(0),
            fresh: founding.is_fresh() && !departing,
            // Who leaves takes no seat.
            member: founding.record().member.filter(|_| !departing),
            ephemeral: self.setup.ephemeral,
            // The lowest found.
            sees: around.managers().take(64).collect(),
        }
    }

    /// Whether all who vote are gone for good. Whoever is only not seen may be
    /// cut off and alive; a disk comes back. Without one an id ends with its
    /// process: when it has left, and on loopback, where nothing can be cut,
    /// when it has failed.
    pub fn is_over(&self, news: &LeaderNews, around: &Around) -> bool {
        let gone = |id| self.is_gone(id, news.ephemeral, around);
        news.voters.iter().copied().all(gone)
    }

    fn is_gone(&self, id: NodeId, ephemeral: bool, around: &Around) -> bool {
        if around.forgotten.contains(&id) || self.superseded.contains(&id) {
            return true;
        }
        let settled = around.now >= SETTLED;
        ephemeral
            && match around.state(id) {
                Some(MemberState::Alive | MemberState::Suspect) => false,
                Some(MemberState::Left) => true,
                Some(MemberState::Failed) => self.setup.loopback,
                None => self.departed.contains(&id) || (self.setup.loopback && settled),
            }
    }

    /// Up to which revision a cluster has come that is no more, if the news are
    /// of one other than `own`: no token of a later one may be below.
    pub fn revision_of_the_dead(&self, own: ClusterId, around: &Around) -> u64 {
        let news = around.news.as_ref();
        let dead = news.filter(|news| news.cluster_id != own.0 && self.is_over(news, around));
        dead.map_or(0, |news| news.revision)
    }

    /// Whether this manager, which votes, knows better than the news: nobody
    /// leads, or it leads itself and hears no majority.
    pub fn doubts(&self, beat: &Beat) -> bool {
        let me = self.setup.me;
        let news = self.own_news.as_ref();
        let votes = beat.voters.contains(&me) && news.is_none_or(|news| news.voters.contains(&me));
        let alone = beat.leads
            && beat.voters.len() > 1
            && beat.quorum_heard.is_none_or(|ago| ago > SILENT_MAX);
        votes && (beat.leader.is_none() || alone)
    }

    /// Whether it campaigns where it hears of no leader. Who was removed from
    /// the group, and may not have been told so by the log, which has come to
    /// `revision`, must not.
    pub fn may_campaign(&self, cluster: ClusterId, beat: &Beat, revision: u64) -> bool {
        let me = self.setup.me;
        let news = self.own_news.as_ref();
        let news = news.filter(|news| news.cluster_id == cluster.0);
        let told = news.is_none_or(|news| revision >= news.revision || news.voters.contains(&me));
        beat.voters.contains(&me) && told
    }

    /// Whether to hear what another manager says of a proposal, and then
    /// whether its proposer can be reached: what it would not accept it vetoes
    /// when it is asked.
    pub fn hears(&self, proposal: &Proposal, word: Word, around: &Around) -> Option<bool> {
        let proposer = proposal.proposer();
        let alive = around.state(proposer) == Some(MemberState::Alive);
        let count = u32::try_from(proposal.voters().len()).ok();
        let expected = self.setup.expect == count;
        let heard = self.setup.manager && (expected || word != Word::Propose);
        heard.then_some((alive || proposer == self.setup.me) && expected)
    }

    // --- what happens ---

    /// What is due.
    pub fn look(&mut self, founding: &Founding, part: Part<'_>, around: &Around) -> Vec<Turn> {
        self.note(founding, around.news.as_ref());
        if !self.setup.manager {
            return Vec::new();
        }
        let record = founding.record();
        match (record.member, &record.slot) {
            (Some(own), _) => self.stand_by(own, part, around),
            (None, Some(_)) => self.wait_for_decision(part, around),
            (None, None) => self.seek(around),
        }
    }

    /// There are news of a leader.
    pub fn hear_news(
        &mut self,
        founding: &Founding,
        news: &LeaderNews,
        part: Part<'_>,
        around: &Around,
    ) -> Vec<Turn> {
        self.note(founding, Some(news));
        if !self.setup.manager {
            return Vec::new();
        }
        let record = founding.record();
        match (record.member, &record.slot) {
            (Some(own), _) if own.0 == news.cluster_id => Vec::new(),
            (Some(own), _) => self.meet_stranger(own, news, part, around),
            // Its own proposal has to be decided first.
            (None, Some(_)) => Vec::new(),
            (None, None) if self.is_over(news, around) => vec![Turn::LookIn(Duration::ZERO)],
            (None, None) => self.approach(news, around),
        }
    }

    /// A manager has said how it stands, or has not. Where it belongs to a
    /// cluster, a fresh one joins that.
    pub fn hear_standing(
        &mut self,
        founding: &Founding,
        id: NodeId,
        standing: Option<Standing>,
        around: &Around,
    ) -> Vec<Turn> {
        if !founding.is_fresh() || !self.setup.manager {
            return Vec::new();
        }
        if let Some(cluster) = standing.as_ref().and_then(|standing| standing.member) {
            let news = around.news.as_ref();
            let news = news.filter(|news| news.cluster_id == cluster.0);
            if !news.is_some_and(|news| self.is_over(news, around)) {
                return vec![Turn::Join(cluster)];
            }
            // It will notice, too: it is asked again.
            self.answers.insert(id, None);
            return Vec::new();
        }
        let told = standing.is_some();
        self.answers.insert(id, standing);
        if told {
            vec![Turn::LookIn(Duration::ZERO)]
        } else {
            Vec::new()
        }
    }

    /// Somebody has left.
    pub fn hear_left(&mut self, id: NodeId) {
        remember(&mut self.departed, id);
    }

    /// Another node took somebody's address, who is no more.
    pub fn hear_superseded(&mut self, id: NodeId) {
        remember(&mut self.superseded, id);
    }

    /// The group of a proposal has started: it is out of this one's hands.
    pub fn hear_started(&mut self, now: Duration) {
        self.proposed = None;
        self.patience = PROPOSAL_MIN;
        self.ask_at = now + QUERY_EVERY;
    }

    /// An operator has given up what it proposed.
    pub fn hear_abandoned(&mut self) {
        self.proposed = None;
    }

    /// News of its own cluster are kept.
    pub fn note(&mut self, founding: &Founding, news: Option<&LeaderNews>) {
        let own = founding.record().member;
        if let Some(news) = news.filter(|news| own == Some(ClusterId(news.cluster_id))) {
            self.own_news = Some(news.clone());
        }
    }

    // --- helpers ---

    /// Whether the tests have taken this rule out.
    fn errs(&self, mistake: Mistake) -> bool {
        #[cfg(test)]
        return self.mistake == Some(mistake);
        #[cfg(not(test))]
        {
            let _ = mistake;
            false
        }
    }

    /// It holds a proposal.
    fn wait_for_decision(&mut self, part: Part<'_>, around: &Around) -> Vec<Turn> {
        if part.runs.is_none() {
            return vec![Turn::Resume];
        }
        let mut turns = Vec::new();
        if self.ask_at <= around.now {
            self.ask_at = around.now + QUERY_EVERY;
            turns.push(Turn::AskHolders);
        }
        let why = "its proposal to found a cluster is being decided";
        turns.extend([Turn::Explain(why.into()), Turn::LookIn(FOUNDING_TICK)]);
        turns
    }

    /// It belongs to no cluster and holds no proposal.
    fn seek(&mut self, around: &Around) -> Vec<Turn> {
        if let Some(news) = &around.news
            && !self.is_over(news, around)
        {
            return self.approach(news, around);
        }
        if self.sight.is_some() {
            let mut turns = self.look_around(around);
            turns.push(Turn::LookIn(FOUNDING_TICK));
            return turns;
        }
        if self.setup.loopback {
            return vec![Turn::FoundIfFirst];
        }
        let why = "no cluster of managers is formed: start every manager with --expect N, the \
                   number of managers to found with (3 is usual, 1 for a single one)";
        vec![Turn::Explain(why.into())]
    }

    /// With `--expect`: proposes when all are here.
    fn look_around(&mut self, around: &Around) -> Vec<Turn> {
        let Some(sight) = &mut self.sight else {
            return Vec::new();
        };
        let asked = sight.to_ask(&around.managers().collect());
        self.answers.retain(|id, _| asked.contains(id));
        for id in &asked {
            self.answers.entry(*id).or_insert(None);
        }
        let mut turns = vec![Turn::Ask(asked)];
        let advice = sight.advise(around.now, &self.answers);
        if sight.is_crowded(&self.answers) && !self.crowd_told {
            self.crowd_told = true;
            turns.push(Turn::Crowd);
        }
        if let Some((at, voters)) = &self.proposed {
            // Whoever is gone accepts nothing, and may be gone for good.
            let lost = voters.iter().any(|id| !around.is_here(*id));
            let late = around.now.saturating_sub(*at) >= self.patience;
            if !lost && !late {
                return turns;
            }
            if late {
                self.patience = PROPOSAL_MAX.min(self.patience * 2);
            }
            self.proposed = None;
            turns.push(Turn::Abort);
        }
        turns.push(match advice {
            Advice::Wait(why) => Turn::Explain(why),
            Advice::Join(cluster) => Turn::Join(cluster),
            Advice::Propose(voters) => {
                self.proposed = Some((around.now, voters.clone()));
                Turn::Propose(voters)
            }
        });
        turns
    }

    /// Others say that they are of this cluster. Who has heard of one founds
    /// none; it joins once one of those who vote there says that it belongs to
    /// it, for what others remember may be long gone.
    fn approach(&self, news: &LeaderNews, around: &Around) -> Vec<Turn> {
        let others = news.voters.iter().filter(|id| **id != self.setup.me);
        let here: Vec<NodeId> = others.copied().filter(|id| around.is_here(*id)).collect();
        let next = if here.is_empty() {
            let cluster = ClusterId(news.cluster_id);
            Turn::Explain(format!(
                "cluster {cluster} was formed before, and none of those who vote there is \
                 here: start them; where they are lost for good, \"dui forget\" each of them, \
                 or start the nodes anew that still tell of it, and another one is founded"
            ))
        } else {
            Turn::Ask(here)
        };
        vec![Turn::LookIn(LOOK_AGAIN), next]
    }

    /// It belongs to one cluster and hears of another.
    fn meet_stranger(
        &mut self,
        own: ClusterId,
        news: &LeaderNews,
        part: Part<'_>,
        around: &Around,
    ) -> Vec<Turn> {
        // Of one that is no more the leader takes the revision, no more.
        if self.is_over(news, around) {
            return Vec::new();
        }
        if self.is_forsaken(own, part, around) {
            return vec![Turn::BeginAnew, Turn::LookIn(Duration::ZERO)];
        }
        let other = ClusterId(news.cluster_id);
        let mut turns = vec![Turn::AskOrigins(other), Turn::Strangers { own, other }];
        if self.forsaken_at.is_some() {
            turns.push(Turn::LookIn(LOOK_AGAIN));
        }
        turns
    }

    /// It belongs to a cluster. One that stands by there notices when nobody is
    /// left to stand by for.
    fn stand_by(&mut self, own: ClusterId, part: Part<'_>, around: &Around) -> Vec<Turn> {
        if part.runs.is_none() && part.written == Some(own) {
            return vec![Turn::Resume];
        }
        let other = around.news.as_ref();
        match other.filter(|news| news.cluster_id != own.0 && !self.is_over(news, around)) {
            Some(other) if self.forsaken_at.is_some() => {
                self.meet_stranger(own, other, part, around)
            }
            _ if !self.setup.loopback || !self.setup.ephemeral => Vec::new(),
            _ if self.is_forsaken(own, part, around) => {
                vec![Turn::BeginAnew, Turn::LookIn(Duration::ZERO)]
            }
            _ => vec![Turn::LookIn(LOOK_AGAIN)],
        }
    }

    /// Whether all who vote in its cluster are gone for good, it is not one of
    /// them, and it has promised nothing that outlives it.
    ///
    /// News may be late, and its own log as well. Were it to begin anew though
    /// it votes by now, a majority would count on what it has forgotten.
    fn is_forsaken(&mut self, own: ClusterId, part: Part<'_>, around: &Around) -> bool {
        let me = self.setup.me;
        let beat = part.runs.filter(|_| !self.errs(Mistake::TrustsNews));
        let news = self.own_news.as_ref();
        let news = news.filter(|news| own == ClusterId(news.cluster_id));
        let gone = news.is_some_and(|news| {
            let mut voters = beat.into_iter().flat_map(|beat| &beat.voters);
            !news.voters.contains(&me)
                && self.is_over(news, around)
                && voters.all(|id| *id != me && self.is_gone(*id, true, around))
        });
        if !gone || !self.setup.ephemeral || self.errs(Mistake::NeverForsakes) {
            self.forsaken_at = None;
            return false;
        }
        let since = *self.forsaken_at.get_or_insert(around.now);
        let forsaken = beat.is_none() || around.now.saturating_sub(since) >= ELECTED;
        if forsaken {
            self.forsaken_at = None;
        }
        forsaken
    }
}

/// Adds an id; of a thousand, one goes.
fn remember(ids: &mut BTreeSet<NodeId>, id: NodeId) {
    if ids.len() >= REMEMBERED_MAX {
        ids.pop_first();
    }
    ids.insert(id);
}

#[cfg(test)]
pub(crate) mod tests;
