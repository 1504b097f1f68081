//! Town: managers that come, die, leave and are cut off, in any order, each
//! with its own course, founding and reign.
//!
//! Two towns. On loopback nobody has a disk or was told how many are expected,
//! the kernel names the founder, and whoever is gone is gone for good. Of
//! three each has a disk, which one of them may lose, and the network between
//! them loses, delays and is cut. A Raft group is one thing here, which its
//! majority moves; all else is what a node would run.
//!
//! In no moment may two formed clusters have voters, nor may a token go back.
//! And once nothing more happens to them, all belong to one cluster, and it is
//! led.

mod groups;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dui_core::{LeaderNews, MemberState, NodeId};

use super::super::*;
use super::member;
use crate::founding::{Output, Record};
use crate::reign::Reign;
use groups::Group;

/// A moment in a town.
const TICK: Duration = Duration::from_millis(20);
/// Moments in which anything happens, and then at most until all is well.
const WILD: usize = 1_500;
const CALM: usize = 5_000;
/// Nodes alive at once.
const ALIVE_MAX: usize = 5;
const WALL_MS: u64 = 1_700_000_000_000;

/// How a life ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// All belong to one cluster, which is led and has told so.
    Led,
    /// Most of its voters are lost, and not all, as far as those who are left
    /// can know: it waits for an operator.
    Lost,
}

pub(super) struct Town {
    seed: u64,
    random: u64,
    now: Duration,
    loopback: bool,
    mistake: Option<Mistake>,
    nodes: BTreeMap<NodeId, Node>,
    /// Those that are gone, how, and what their disks have.
    gone: BTreeMap<NodeId, (MemberState, Option<Record>)>,
    born: u128,
    /// Disks that may still be lost.
    losses: usize,
    cuts: BTreeSet<(NodeId, NodeId)>,
    groups: BTreeMap<ClusterId, Group>,
    mail: Vec<Envelope>,
    /// Who holds the kernel's name of the founder.
    founder: Option<NodeId>,
    /// The last token given.
    token: u64,
    story: Vec<String>,
    /// The first thing that went wrong.
    wrong: Option<String>,
}

struct Node {
    course: Course,
    founding: Founding,
    began: Duration,
    knows: BTreeMap<NodeId, MemberState>,
    news: Option<LeaderNews>,
    part: Option<ClusterId>,
    /// The group, as its own log has it.
    beat: Beat,
    /// Groups in memory that it has left: it votes there no more.
    spent: BTreeSet<ClusterId>,
    sits: bool,
    look_at: Option<Duration>,
    reign: Option<Reign>,
}

enum Mail {
    Ask,
    Standing(Option<Standing>),
    Word(Proposal, Word),
}

struct Envelope {
    from: NodeId,
    to: NodeId,
    mail: Mail,
}

/// A group in which nothing has happened.
pub(super) fn beat(voters: &BTreeSet<NodeId>) -> Beat {
    Beat {
        leader: None,
        leads: false,
        term: 0,
        voters: voters.clone(),
        changing: false,
        learners: BTreeSet::new(),
        ephemeral: BTreeSet::new(),
        last: 0,
        committed: 0,
        applied: 0,
        matched: BTreeMap::new(),
        quorum_heard: None,
        stopped: None,
    }
}

impl Town {
    pub(super) fn on_loopback(seed: u64, mistake: Option<Mistake>) -> Self {
        Self::of(seed, true, mistake)
    }

    pub(super) fn of_three(seed: u64, mistake: Option<Mistake>) -> Self {
        Self::of(seed, false, mistake)
    }

    fn of(seed: u64, loopback: bool, mistake: Option<Mistake>) -> Self {
        Self {
            seed,
            random: seed,
            now: Duration::ZERO,
            loopback,
            mistake,
            nodes: BTreeMap::new(),
            gone: BTreeMap::new(),
            born: 0,
            losses: 1,
            cuts: BTreeSet::new(),
            groups: BTreeMap::new(),
            mail: Vec::new(),
            founder: None,
            token: 0,
            story: Vec::new(),
            wrong: None,
        }
    }

    /// A life: wild at first, then calm. How it ends, or what went wrong, and
    /// how it came about.
    pub(super) fn live(mut self) -> Result<End, String> {
        for _ in 0..3 {
            self.start();
        }
        for _ in 0..WILD {
            self.happen();
            self.moment(false);
        }
        self.calm_down();
        for _ in 0..CALM {
            self.moment(true);
            if self.wrong.is_some() || self.rest().is_some() {
                break;
            }
        }
        let end = self.rest();
        if end.is_none() {
            self.complain("it does not come to rest");
        }
        self.wrong.map_or(Ok(end.unwrap_or(End::Lost)), Err)
    }

    // --- what happens to them ---

    fn happen(&mut self) {
        match self.chance(400) {
            0..=5 => self.start(),
            6..=8 => self.kill(),
            9..=11 if self.loopback => self.leave(),
            12..=13 if !self.loopback => self.cut(),
            14..=18 => self.cuts.clear(),
            19..=22 => self.depose(),
            _ => {}
        }
    }

    /// A new node, or one that comes back with its disk.
    fn start(&mut self) {
        let with_disk = self.gone.iter().filter(|(_, (_, disk))| disk.is_some());
        let disks: Vec<NodeId> = with_disk.map(|(id, _)| *id).collect();
        let most = if self.loopback { ALIVE_MAX } else { 3 };
        let (id, record) = if let Some(id) = self.pick(&disks) {
            let (_, record) = self.gone.remove(&id).unwrap();
            (id, record.unwrap())
        } else if self.nodes.len() < most {
            self.born += 1;
            // Who came first need not be the lowest.
            let high = self.chance(1_000) as u128 * 1_000;
            (NodeId(high + self.born), Record::default())
        } else {
            return;
        };
        self.tell(format!("{} starts", id.0));
        let mut course = Course::new(Setup {
            me: id,
            manager: true,
            expect: (!self.loopback).then_some(3),
            loopback: self.loopback,
            ephemeral: self.loopback,
        });
        course.mistake = self.mistake;
        let node = Node {
            course,
            sits: record.member.is_some(),
            founding: Founding::new(id, record),
            began: self.now,
            knows: BTreeMap::from([(id, MemberState::Alive)]),
            news: None,
            part: None,
            beat: beat(&BTreeSet::new()),
            spent: BTreeSet::new(),
            look_at: Some(self.now),
            reign: None,
        };
        self.nodes.insert(id, node);
        self.resume(id);
    }

    fn kill(&mut self) {
        let Some(id) = self.somebody() else {
            return;
        };
        let lost = !self.loopback && self.losses > 0 && self.chance(8) == 0;
        self.losses -= usize::from(lost);
        self.end(id, MemberState::Failed, !self.loopback && !lost);
    }

    /// Gives its seat up, as far as that is possible; the only voter teaches
    /// another one first.
    fn leave(&mut self) {
        let Some(id) = self.somebody() else {
            return;
        };
        if let Some(cluster) = self.nodes[&id].part
            && self.works(cluster)
        {
            let belongs = |node: &Node| node.founding.record().member == Some(cluster);
            let others = self.nodes.iter().filter(|(other, _)| **other != id);
            let heirs: Vec<NodeId> = others
                .filter(|(_, node)| belongs(node))
                .map(|(other, _)| *other)
                .collect();
            let heir = self.pick(&heirs);
            let group = self.groups.get_mut(&cluster).unwrap();
            if let Some(heir) = heir.filter(|_| group.voters.len() == 1) {
                group.voters.insert(heir);
                let node = self.nodes.get_mut(&heir).unwrap();
                (node.part, node.beat) = (Some(cluster), group.beat());
            }
            if group.voters.len() > 1 {
                group.voters.remove(&id);
                group.state.reseat();
            }
        }
        self.end(id, MemberState::Left, false);
    }

    fn end(&mut self, id: NodeId, how: MemberState, keeps_disk: bool) {
        self.tell(format!("{} is gone: {how:?}, disk {keeps_disk}", id.0));
        let node = self.nodes.remove(&id).unwrap();
        let disk = keeps_disk.then(|| node.founding.record().clone());
        self.gone.insert(id, (how, disk));
        self.founder = self.founder.filter(|founder| *founder != id);
    }

    fn cut(&mut self) {
        if let (Some(a), Some(b)) = (self.somebody(), self.somebody())
            && a != b
        {
            self.cuts.extend([(a, b), (b, a)]);
        }
    }

    /// Others are elected.
    fn depose(&mut self) {
        for group in self.groups.values_mut() {
            group.leader = None;
        }
    }

    fn calm_down(&mut self) {
        self.tell("nothing more happens".into());
        self.cuts.clear();
        while self.gone.values().any(|(_, disk)| disk.is_some()) || self.nodes.len() < 3 {
            self.start();
        }
    }

    // --- a moment ---

    fn moment(&mut self, calm: bool) {
        self.now += TICK;
        for id in self.ids() {
            self.see(id, calm);
            self.chat(id, calm);
            let due = self.nodes[&id].look_at.is_some_and(|at| at <= self.now);
            if due && (calm || self.chance(3) > 0) {
                self.look(id);
            }
        }
        for _ in 0..self.mail.len() {
            let at = self.chance(self.mail.len());
            let letter = self.mail.swap_remove(at);
            if !calm && self.chance(4) == 0 {
                self.mail.push(letter);
            } else {
                self.deliver(letter);
            }
        }
        for cluster in self.groups.keys().copied().collect::<Vec<_>>() {
            self.elect(cluster);
            self.apply(cluster);
        }
        self.check_that_there_is_one();
    }

    /// Learns about somebody. On loopback everybody is known after a second.
    fn see(&mut self, id: NodeId, calm: bool) {
        let age = self.now.saturating_sub(self.nodes[&id].began);
        let all = calm || (self.loopback && age >= Duration::from_millis(900));
        for other in self.ids() {
            let known = self.nodes[&id].knows.contains_key(&other);
            if self.chance(8) == 0 || (all && !known) {
                let blurred = !calm && self.chance(4) == 0 && other != id;
                let state = if self.cuts.contains(&(id, other)) {
                    MemberState::Failed
                } else if blurred {
                    MemberState::Suspect
                } else {
                    MemberState::Alive
                };
                self.learn(id, other, state);
            }
        }
        let gone = self.gone.iter().map(|(id, (how, _))| (*id, *how));
        for (other, how) in gone.collect::<Vec<_>>() {
            let known = self.nodes[&id].knows.contains_key(&other);
            if known && (calm || self.chance(8) == 0) {
                self.learn(id, other, how);
            }
        }
    }

    fn learn(&mut self, id: NodeId, other: NodeId, state: MemberState) {
        let node = self.nodes.get_mut(&id).unwrap();
        if node.knows.insert(other, state) == Some(state) {
            return;
        }
        if state == MemberState::Left {
            node.course.hear_left(other);
        }
        if let Some(reign) = &mut node.reign {
            reign.stir(self.now - node.began);
        }
        node.look_at = Some(self.now);
    }

    /// News travel.
    fn chat(&mut self, id: NodeId, calm: bool) {
        let other = self.somebody().unwrap_or(id);
        if self.cuts.contains(&(id, other)) || (!calm && self.chance(4) > 0) {
            return;
        }
        let Some(told) = self.nodes[&other].news.clone() else {
            return;
        };
        let node = self.nodes.get_mut(&id).unwrap();
        let newer = |news: &LeaderNews| told.is_newer_than(news);
        if node.news.as_ref().is_none_or(newer) {
            node.news = Some(told.clone());
            let around = node.around(self.now);
            let part = Part {
                runs: node.part.map(|_| &node.beat),
                written: node.part,
            };
            let turns = node.course.hear_news(&node.founding, &told, part, &around);
            self.follow(id, turns);
        }
    }

    fn look(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        let around = node.around(self.now);
        node.look_at = None;
        let part = Part {
            runs: node.part.map(|_| &node.beat),
            written: node.part,
        };
        if node.founding.record().member.is_none() || node.reign.is_none() {
            let turns = node.course.look(&node.founding, part, &around);
            self.follow(id, turns);
        }
        self.rule(id);
    }

    fn follow(&mut self, id: NodeId, turns: Vec<Turn>) {
        for turn in turns {
            let node = self.nodes.get_mut(&id).unwrap();
            match turn {
                Turn::LookIn(wait) => self.look_in(id, wait),
                Turn::Resume => self.resume(id),
                Turn::AskHolders => {
                    let outputs = node.founding.ask();
                    self.carry_out(id, outputs);
                }
                Turn::Ask(ids) => self.ask(id, ids),
                Turn::Propose(voters) => self.propose(id, voters),
                Turn::Abort => node.founding.abort(),
                Turn::FoundIfFirst => {
                    let founder = *self.founder.get_or_insert(id);
                    let taken = self.nodes.values().any(|node| node.sits);
                    let free = !taken || self.mistake == Some(Mistake::SeatsAreFree);
                    if founder == id && free {
                        self.propose(id, BTreeSet::from([id]));
                    }
                    self.look_in(id, FOUNDING_TICK);
                }
                Turn::Join(cluster) => {
                    let outputs = node.founding.join(cluster);
                    self.carry_out(id, outputs);
                    let node = self.nodes.get_mut(&id).unwrap();
                    node.course.note(&node.founding, node.news.as_ref());
                    self.look_in(id, Duration::ZERO);
                }
                Turn::BeginAnew => {
                    node.spent.extend(node.part);
                    node.founding = Founding::new(id, Record::default());
                    (node.part, node.reign, node.sits) = (None, None, false);
                    self.tell(format!("{} begins anew", id.0));
                }
                Turn::AskOrigins(_) | Turn::Strangers { .. } | Turn::Explain(_) | Turn::Crowd => {}
            }
        }
    }

    fn ask(&mut self, from: NodeId, ids: Vec<NodeId>) {
        let letters = ids.into_iter().map(|to| Envelope {
            from,
            to,
            mail: Mail::Ask,
        });
        self.mail.extend(letters);
    }

    fn look_in(&mut self, id: NodeId, wait: Duration) {
        let at = self.now + wait;
        let node = self.nodes.get_mut(&id).unwrap();
        node.look_at = Some(node.look_at.map_or(at, |set| set.min(at)));
    }

    fn propose(&mut self, id: NodeId, voters: BTreeSet<NodeId>) {
        let nonce = self.chance(usize::MAX) as u128;
        let proposal = Proposal::new("town", voters, nonce).unwrap();
        self.tell(format!("{} proposes {}", id.0, proposal.id()));
        let node = self.nodes.get_mut(&id).unwrap();
        let outputs = node.founding.propose(proposal);
        self.carry_out(id, outputs);
        self.look_in(id, FOUNDING_TICK);
    }

    fn carry_out(&mut self, id: NodeId, outputs: Vec<Output>) {
        for output in outputs {
            let node = self.nodes.get_mut(&id).unwrap();
            match output {
                Output::Write => {}
                Output::Send { to, proposal, word } => self.mail.push(Envelope {
                    from: id,
                    to,
                    mail: Mail::Word(proposal, word),
                }),
                Output::StartGroup(proposal) => {
                    node.course.hear_started(self.now - node.began);
                    node.part = Some(proposal.id());
                    node.beat = beat(&proposal.voters().iter().copied().collect());
                    let group = self.groups.entry(proposal.id());
                    group.or_insert_with(|| Group {
                        voters: proposal.voters().iter().copied().collect(),
                        ..Group::default()
                    });
                    self.look_in(id, FOUNDING_TICK);
                }
                Output::DropGroup(_) => {
                    (node.part, node.reign) = (None, None);
                    self.look_in(id, FOUNDING_TICK);
                }
                Output::Serve(cluster) => {
                    node.sits = true;
                    self.tell(format!("{} belongs to {cluster}", id.0));
                }
            }
        }
    }

    /// What is on its disk goes on.
    fn resume(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        let record = node.founding.record();
        let held = record.slot.as_ref().map(Proposal::id);
        let cluster = record.member.or(held);
        let group = cluster.and_then(|cluster| self.groups.get(&cluster));
        let group = group.filter(|group| group.takes(id));
        node.part = cluster.filter(|_| group.is_some());
        if let Some(group) = group {
            node.beat = group.beat();
        }
    }

    fn deliver(&mut self, letter: Envelope) {
        let Envelope { from, to, mail } = letter;
        let cut = self.cuts.contains(&(from, to));
        let back = |standing| Envelope {
            from: to,
            to: from,
            mail: Mail::Standing(standing),
        };
        let Some(node) = self.nodes.get_mut(&to).filter(|_| !cut) else {
            // The caller gives up in the end.
            if matches!(mail, Mail::Ask) {
                self.mail.push(back(None));
            } else if let Mail::Standing(Some(_)) = mail {
                self.mail.push(Envelope {
                    from,
                    to,
                    mail: Mail::Standing(None),
                });
            }
            return;
        };
        let around = node.around(self.now);
        match mail {
            Mail::Ask => {
                let standing = node.course.standing(&node.founding, &around, false);
                self.mail.push(back(Some(standing)));
            }
            Mail::Standing(standing) => {
                if let Some(reign) = &mut node.reign {
                    reign.hear_standing(from, standing.clone());
                    node.look_at = Some(self.now);
                }
                let turns = node
                    .course
                    .hear_standing(&node.founding, from, standing, &around);
                self.follow(to, turns);
            }
            Mail::Word(proposal, word) => {
                if let Some(reachable) = node.course.hears(&proposal, word, &around) {
                    let outputs = node.founding.hear(from, &proposal, word, reachable);
                    self.carry_out(to, outputs);
                }
            }
        }
    }

    // --- checks ---

    /// Nobody votes in a second cluster.
    fn check_that_there_is_one(&mut self) {
        let votes = |(id, node): (&NodeId, &Node)| {
            let member = node.founding.record().member;
            member.filter(|cluster| self.groups[cluster].voters.contains(id))
        };
        let clusters: BTreeSet<ClusterId> = self.nodes.iter().filter_map(votes).collect();
        if clusters.len() > 1 {
            self.complain("there are two clusters");
        }
    }

    fn rest(&self) -> Option<End> {
        let mut records = self.nodes.values().map(|node| node.founding.record());
        let cluster = records.clone().find_map(|record| record.member)?;
        let group = &self.groups[&cluster];
        let alive = group.voters.iter().filter(|id| self.nodes.contains_key(id));
        let lost = alive.count() <= group.voters.len() / 2;
        // News that it votes no more may have died with those who had them.
        let votes = |(id, node): (&NodeId, &Node)| {
            let news = node.course.own_news();
            let news = news.filter(|news| news.cluster_id == cluster.0);
            group.voters.contains(id) || news.is_some_and(|news| news.voters.contains(id))
        };
        let stuck = lost && self.nodes.iter().any(votes);
        let led = group.leader.is_some_and(|leader| {
            let told = |node: &Node| node.news.as_ref().is_some_and(|news| news.leader == leader);
            self.works(cluster) && self.nodes.values().all(told)
        });
        let one = records.all(|record| record.member == Some(cluster));
        match led && one {
            true => Some(End::Led),
            false => stuck.then_some(End::Lost),
        }
    }

    fn complain(&mut self, what: &str) {
        let place = if self.loopback {
            "on loopback"
        } else {
            "of three"
        };
        let story = self.story[self.story.len().saturating_sub(60)..].join("\n  ");
        let wrong = format!("seed {} {place}: {what}\n  {story}", self.seed);
        self.wrong.get_or_insert(wrong);
    }

    fn tell(&mut self, what: String) {
        let at = self.now.as_millis();
        self.story.push(format!("{at} ms: {what}"));
    }

    fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    // --- chance ---

    /// SplitMix64 (Steele et al., OOPSLA 2014).
    fn chance(&mut self, of: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % of.max(1)
    }

    fn pick(&mut self, of: &[NodeId]) -> Option<NodeId> {
        let at = self.chance(of.len());
        of.get(at).copied()
    }

    fn somebody(&mut self) -> Option<NodeId> {
        self.pick(&self.ids())
    }
}

impl Node {
    fn around(&self, now: Duration) -> Around {
        let knows = self.knows.iter();
        Around {
            now: now - self.began,
            members: knows.map(|(id, state)| member(*id, *state)).collect(),
            forgotten: BTreeSet::new(),
            news: self.news.clone(),
        }
    }
}
