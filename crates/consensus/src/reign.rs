//! Reign: what a leader does while it leads.
//!
//! It claims its leadership with a record, whose revision is its fencing
//! token; keeps the right managers voting; and turns the fast, local picture
//! of the members into numbered views, once nothing has changed for 300 ms
//! and nobody is suspect, at the latest 5 s after the first change.
//!
//! Pure: each look gives the [`Act`]s to take. Whatever takes a round of the
//! group is one act of its kind at a time, and is reported when it is done.
//! Whatever failed is looked at anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dui_core::{Member, MemberState, NodeId, Role};

use crate::call::Standing;
use crate::course::{Around, Course};
use crate::founding::{ClusterId, Decision, Founding};
use crate::group::Beat;
use crate::machine::State;
use crate::record::{Command, Gone, Seen, VIEW_CHANGES_MAX};
use crate::seats::{self, Candidate, Rules, Situation, Step};
use crate::types::Kind;

/// Nothing has changed for so long: a view.
const QUIET: Duration = Duration::from_millis(300);
/// It has been changing for so long: a view all the same.
const STIRRED_MAX: Duration = Duration::from_secs(5);
/// Between two looks while a view is due and something is in its way.
const VIEW_TICK: Duration = Duration::from_millis(10);
/// A group whose proposer is not known to have accepted is given up then.
const PROOF_MAX: Duration = Duration::from_secs(5);
/// What failed is tried again after this.
const TRY_AGAIN: Duration = Duration::from_millis(50);
/// Between two looks while somebody is to vote.
const SEATS_TICK: Duration = Duration::from_millis(100);
/// Between two looks of a leader that waits for somebody.
const LEADER_TICK: Duration = Duration::from_secs(1);

/// Rounds of the group, one of each kind at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// A decision, or an election of this term.
    Claim,
    /// Voters, learners.
    Step,
    /// A view.
    View,
}

/// What to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Looks again after this, without a reason.
    LookIn(Duration),
    /// Writes a record, and reports.
    Write(Round, Command),
    /// Takes a step toward the right voters, and reports.
    Take(Step),
    /// Tells everybody what was agreed on.
    Tell,
    /// Asks these managers how they stand.
    Ask(Vec<NodeId>),
    /// Lets this one lead.
    HandOver(NodeId),
}

/// What a leader sees, beside what is [`Around`].
#[derive(Clone, Copy, Debug)]
pub struct Realm<'a> {
    /// The leader.
    pub me: NodeId,
    /// Of which cluster.
    pub cluster: ClusterId,
    /// Its group.
    pub beat: &'a Beat,
    /// What is agreed.
    pub state: &'a State,
    /// What holds for all clusters.
    pub rules: &'a Rules,
    /// It has no disk.
    pub ephemeral: bool,
    /// Milliseconds since 1970, as far as this machine knows.
    pub wall_ms: u64,
    /// It is leaving.
    pub departing: bool,
    /// An operator wants the proposal of its slot given up.
    pub abandons: bool,
}

/// What a leader keeps in mind, for one term.
#[derive(Debug)]
pub struct Reign {
    term: u64,
    since: Duration,
    claiming: bool,
    /// This process has claimed it: one that comes back to its old term has
    /// not, and gets a new token.
    claimed: bool,
    stepping: bool,
    viewing: bool,
    /// Since when the members are others than the newest view's, and since
    /// when nothing has changed.
    stirred: Option<(Duration, Duration)>,
    /// Since when somebody is gone, as this leader has seen it.
    gone: BTreeMap<NodeId, Duration>,
    standings: BTreeMap<NodeId, Option<Standing>>,
    /// Those who gave their seats up to leave: they get none again.
    removed: BTreeSet<NodeId>,
}

impl Reign {
    /// Of who has just been elected.
    pub fn begin(term: u64, now: Duration) -> Self {
        Self {
            term,
            since: now,
            claiming: false,
            claimed: false,
            stepping: false,
            viewing: false,
            stirred: Some((now, now)),
            gone: BTreeMap::new(),
            standings: BTreeMap::new(),
            removed: BTreeSet::new(),
        }
    }

    // --- getters ---

    /// Its term.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Whether this process has claimed it.
    pub fn is_claimed(&self) -> bool {
        self.claimed && !self.claiming
    }

    /// Whether the voters are being changed.
    pub fn is_stepping(&self) -> bool {
        self.stepping
    }

    /// Whether a manager has a disk; who has not said so has none.
    pub fn kind_of(&self, id: NodeId) -> Kind {
        let standing = self.standings.get(&id).and_then(Option::as_ref);
        Kind {
            ephemeral: standing.is_none_or(|standing| standing.ephemeral),
        }
    }

    // --- what happens ---

    /// A member came, changed or went. Tells when to look again.
    pub fn stir(&mut self, now: Duration) -> Duration {
        let first = self.stirred.map_or(now, |(first, _)| first);
        self.stirred = Some((first, now));
        QUIET
    }

    /// A manager has said how it stands, or has not.
    pub fn hear_standing(&mut self, id: NodeId, standing: Option<Standing>) {
        self.standings.insert(id, standing);
    }

    /// It gave its seat up to leave, and gets none again.
    pub fn hear_removed(&mut self, id: NodeId) {
        self.removed.insert(id);
    }

    /// A round is over. Tells when to look again.
    pub fn hear_done(&mut self, round: Round, worked: bool) -> Duration {
        match round {
            Round::Claim => {
                self.claiming = false;
                self.claimed &= worked;
            }
            Round::Step => self.stepping = false,
            Round::View => self.viewing = false,
        }
        if worked { Duration::ZERO } else { TRY_AGAIN }
    }

    /// Everything that is due.
    pub fn look(
        &mut self,
        realm: &Realm<'_>,
        founding: &Founding,
        course: &Course,
        around: &Around,
    ) -> Vec<Act> {
        let mut acts = Vec::new();
        if realm.beat.voters.len() > 1 {
            // A majority that falls silent is no event, nor is a slow disk.
            acts.push(Act::LookIn(LEADER_TICK));
        }
        match realm.state.decision() {
            None => acts.push(self.decide(realm, founding, around)),
            Some(Decision::Abandoned) => {}
            Some(Decision::Created) if !self.claims(realm, course, around, &mut acts) => {
                acts.push(Act::Tell);
                acts.extend(self.keep_view(realm, around));
                acts.extend(self.keep_seats(realm, around));
            }
            Some(Decision::Created) => {}
        }
        acts
    }

    // --- helpers ---

    /// The first leader of a proposal's group says what becomes of it.
    fn decide(&mut self, realm: &Realm<'_>, founding: &Founding, around: &Around) -> Act {
        let waited = around.now.saturating_sub(self.since);
        let late = waited >= PROOF_MAX || realm.abandons;
        let Some(decision) = founding.wish(late).filter(|_| !self.claiming) else {
            return Act::LookIn(SEATS_TICK);
        };
        self.claiming = true;
        let heard = around.news.as_ref().map_or(0, |news| news.revision);
        // One that was in memory alone may have been, and nobody is left to
        // tell of it: no token of it is as high as the clock.
        let unheard = if realm.ephemeral { realm.wall_ms } else { 0 };
        let base = heard.max(unheard);
        Act::Write(Round::Claim, Command::Decide { decision, base })
    }

    /// Whether the lead is still to be claimed, or is being claimed.
    fn claims(
        &mut self,
        realm: &Realm<'_>,
        course: &Course,
        around: &Around,
        acts: &mut Vec<Act>,
    ) -> bool {
        let election = realm.state.election();
        let elected = election
            .is_some_and(|election| election.leader == realm.me && election.term == self.term);
        // A cluster that is no more may have come further than this one.
        let above = course.revision_of_the_dead(realm.cluster, around);
        let due = !elected || !self.claimed || above > realm.state.revision();
        if due && !self.claiming {
            self.claiming = true;
            self.claimed = true;
            let command = Command::Elected {
                leader: realm.me,
                term: self.term,
                above,
            };
            acts.push(Act::Write(Round::Claim, command));
        }
        due
    }

    fn keep_view(&mut self, realm: &Realm<'_>, around: &Around) -> Option<Act> {
        let (first, last) = self.stirred.filter(|_| !self.viewing)?;
        let suspects = around
            .members
            .iter()
            .any(|member| member.state == MemberState::Suspect);
        let quiet = around.now.saturating_sub(last);
        let late = around.now.saturating_sub(first) >= STIRRED_MAX;
        // The first view is what there is, and comes at once.
        let begins = realm.state.view() == 0;
        if !begins && !late && (suspects || quiet < QUIET) {
            let wait = if suspects { QUIET } else { QUIET - quiet };
            return Some(Act::LookIn(wait.max(VIEW_TICK)));
        }
        let Some(command) = changes(realm.state.members(), &around.members) else {
            self.stirred = None;
            return None;
        };
        self.viewing = true;
        Some(Act::Write(Round::View, command))
    }

    fn keep_seats(&mut self, realm: &Realm<'_>, around: &Around) -> Vec<Act> {
        let beat = realm.beat;
        if self.stepping {
            return Vec::new();
        }
        if beat.changing {
            return vec![Act::LookIn(SEATS_TICK)];
        }
        if realm.state.demoted().contains(&realm.me) {
            return self.resign(realm, around);
        }
        let managers = self.candidates(realm, around);
        let situation = Situation {
            me: realm.me,
            voters: &beat.voters,
            learners: &beat.learners,
            last: beat.last,
            matched: &beat.matched,
            managers: &managers,
        };
        let step = seats::next_step(realm.rules, &situation);
        if step != Step::Rest && !realm.departing {
            self.stepping = true;
            return vec![Act::Take(step)];
        }
        // Who may be needed is asked, until enough have said that they are ready.
        let max = realm.rules.voters_max;
        let unknown: Vec<NodeId> = managers
            .iter()
            .filter(|(id, manager)| {
                manager.gone.is_none() && !manager.willing && !beat.voters.contains(id)
            })
            .map(|(id, _)| *id)
            .take(max)
            .collect();
        let wanting = beat.voters.len() < max && !unknown.is_empty();
        let gone = managers.values().any(|manager| manager.gone.is_some());
        let tick = if wanting || !beat.learners.is_empty() {
            SEATS_TICK
        } else if gone {
            LEADER_TICK
        } else {
            return Vec::new();
        };
        let asked = if wanting || gone { unknown } else { Vec::new() };
        vec![Act::Ask(asked), Act::LookIn(tick)]
    }

    /// What this leader knows of every manager that is a member, votes or learns.
    fn candidates(&mut self, realm: &Realm<'_>, around: &Around) -> BTreeMap<NodeId, Candidate> {
        let beat = realm.beat;
        let here: BTreeSet<NodeId> = around.managers().collect();
        self.gone.retain(|id, _| !here.contains(id));
        let known = beat.voters.union(&beat.learners);
        let everybody: BTreeSet<NodeId> = known.chain(&here).copied().collect();
        let mut managers = BTreeMap::new();
        for id in everybody {
            let gone = (!here.contains(&id)).then(|| {
                let since = *self.gone.entry(id).or_insert(around.now);
                // An operator said that it does not come back.
                let lost = around.forgotten.contains(&id);
                if lost {
                    Duration::MAX
                } else {
                    around.now.saturating_sub(since)
                }
            });
            let known = beat.voters.contains(&id) || beat.learners.contains(&id);
            let standing = self.standings.get(&id).and_then(Option::as_ref);
            let ephemeral = if known {
                beat.ephemeral.contains(&id)
            } else {
                standing.is_some_and(|standing| standing.ephemeral)
            };
            let belongs = standing.is_some_and(|standing| standing.member == Some(realm.cluster));
            let candidate = Candidate {
                kind: Kind { ephemeral },
                gone,
                willing: known || belongs,
                demoted: self.removed.contains(&id) || realm.state.demoted().contains(&id),
            };
            managers.insert(id, candidate);
        }
        managers
    }

    /// A leader that is not to vote any more lets another one lead, which then
    /// takes its seat away.
    fn resign(&self, realm: &Realm<'_>, around: &Around) -> Vec<Act> {
        let beat = realm.beat;
        let heirs = around
            .managers()
            .filter(|id| *id != realm.me && beat.voters.contains(id));
        let heir = heirs.max_by_key(|id| beat.matched.get(id).copied());
        let handed = heir.map(Act::HandOver);
        handed
            .into_iter()
            .chain([Act::LookIn(LEADER_TICK)])
            .collect()
    }
}

/// The changes that make the newest view what this node sees, at most as many
/// as one record takes.
fn changes(seen: &BTreeMap<NodeId, Seen>, members: &[Member]) -> Option<Command> {
    let here = |member: &&Member| matches!(member.state, MemberState::Alive | MemberState::Suspect);
    let present: BTreeMap<NodeId, Seen> = members
        .iter()
        .filter(here)
        .map(|member| {
            let seen = Seen {
                id: member.id,
                name: member.name.to_string(),
                address: member.address.to_string(),
                manager: member.role == Role::Manager,
            };
            (member.id, seen)
        })
        .collect();
    let joined: Vec<Seen> = present
        .values()
        .filter(|new| seen.get(&new.id) != Some(new))
        .take(VIEW_CHANGES_MAX)
        .cloned()
        .collect();
    let left: BTreeSet<NodeId> = members
        .iter()
        .filter(|member| member.state == MemberState::Left)
        .map(|member| member.id)
        .collect();
    let gone: Vec<Gone> = seen
        .keys()
        .filter(|id| !present.contains_key(id))
        .take(VIEW_CHANGES_MAX)
        .map(|id| Gone {
            id: *id,
            left: left.contains(id),
        })
        .collect();
    let changed = !joined.is_empty() || !gone.is_empty();
    changed.then_some(Command::View { joined, gone })
}

#[cfg(test)]
mod tests;
