//! Checker: every order of events, within bounds, that managers who found a
//! cluster can meet.
//!
//! Breadth first over the states of [`Founding`] itself: what was said arrives
//! in any order, twice, or never; managers crash and come back with what they
//! had in writing, or lose it and come back under a fresh id; each may see any
//! set of the others. A proposal's Raft group is one step: a majority that
//! holds the proposal decides once. In no state may there be two clusters, or
//! a manager in two; and from each one there must be a way, without a further
//! crash, to where no manager is bound to what is undecided.
//!
//! Queries are one step with their answer, which may be lost: answers that
//! matter later are final, so it makes no difference when they arrive.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::*;

/// A rule that is taken out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Without {
    Nothing,
    /// Of the machine.
    Rule(Mistake),
    /// A holder lets go after a while, by itself.
    Holding,
    /// What is written is durable some time later.
    Syncing,
}

/// How far to look.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Managers that a cluster is founded by.
    n: usize,
    /// Managers at the begin, and ids there can be at all.
    alive: usize,
    ids: usize,
    /// Proposals ever made.
    proposals: usize,
    /// Crashes with the directory kept, and with it lost.
    crashes: usize,
    losses: usize,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Manager {
    founding: Founding,
    /// What a crash leaves.
    durable: Record,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    /// By id; `None`: not born yet, or gone.
    managers: Vec<Option<Manager>>,
    born: usize,
    /// Every message that may still arrive, again and again: from whom to whom, about which proposal.
    said: BTreeSet<(usize, usize, usize, Word)>,
    proposals: Vec<Proposal>,
    /// By proposal.
    decided: BTreeMap<usize, Decision>,
    crashes: usize,
    losses: usize,
}

/// What happens next: for the trace.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    Propose(usize, Vec<usize>),
    Abort(usize),
    Hear {
        from: usize,
        to: usize,
        proposal: usize,
        word: Word,
    },
    Ask {
        from: usize,
        of: usize,
        reachable: bool,
        lost: bool,
    },
    Decide(usize, Decision),
    Apply(usize),
    Join(usize, usize),
    LetGo(usize),
    Sync(usize),
    Crash(usize),
    Lose(usize),
}

impl Step {
    /// Nature's evil: not needed on any way out.
    fn is_mishap(&self) -> bool {
        matches!(self, Step::Crash(_) | Step::Lose(_) | Step::Propose(..))
    }
}

/// What was found.
#[derive(Debug)]
struct Report {
    states: usize,
    /// In how many a cluster is created, and given up.
    created: usize,
    abandoned: usize,
    /// What is wrong, and how it came about.
    wrong: Option<String>,
}

impl State {
    fn begin(bounds: Bounds, without: Without) -> Self {
        let mut managers = vec![None; bounds.ids];
        for (id, manager) in managers.iter_mut().enumerate().take(bounds.alive) {
            *manager = Some(Manager::start(id, Record::default(), without));
        }
        Self {
            managers,
            born: bounds.alive,
            said: BTreeSet::new(),
            proposals: Vec::new(),
            decided: BTreeMap::new(),
            crashes: bounds.crashes,
            losses: bounds.losses,
        }
    }

    fn alive(&self) -> impl Iterator<Item = (usize, &Manager)> {
        let all = self.managers.iter().enumerate();
        all.filter_map(|(id, manager)| Some((id, manager.as_ref()?)))
    }

    fn holders<'a>(&'a self, proposal: &'a Proposal) -> impl Iterator<Item = &'a Manager> {
        let held = move |manager: &&Manager| manager.founding.holds(proposal);
        self.alive().map(|(_, manager)| manager).filter(held)
    }

    /// Everything that can happen now.
    fn steps(&self, bounds: Bounds, without: Without) -> Vec<Step> {
        let mut steps = Vec::new();
        for (id, manager) in self.alive() {
            let founding = &manager.founding;
            if founding.current.is_some() {
                steps.push(Step::Abort(id));
            } else if founding.is_fresh() && self.proposals.len() < bounds.proposals {
                // Whoever was ever there may be in its sight.
                let others: Vec<usize> = (id + 1..self.born).collect();
                let sets = subsets(&others, bounds.n - 1).into_iter();
                steps.extend(sets.map(|set| Step::Propose(id, set)));
            }
            if let Some(proposal) = &founding.record.slot {
                if self.decided.contains_key(&self.number(proposal))
                    && founding.record.member.is_none()
                {
                    steps.push(Step::Apply(id));
                }
                if founding.record.member.is_none() {
                    steps.extend(self.questions(id, proposal));
                }
                if without == Without::Holding && proposal.proposer() != node(id) {
                    steps.push(Step::LetGo(id));
                }
            }
            if founding.record.member.is_none() {
                let formed = self
                    .alive()
                    .filter_map(|(_, other)| other.founding.record.member);
                let formed: BTreeSet<ClusterId> = formed.collect();
                let numbers = formed.into_iter().map(|cluster| self.number_of(cluster));
                steps.extend(numbers.map(|proposal| Step::Join(id, proposal)));
            }
            if manager.durable != founding.record {
                steps.push(Step::Sync(id));
            }
            if self.crashes > 0 {
                steps.push(Step::Crash(id));
            }
            if self.losses > 0 && self.born < bounds.ids {
                steps.push(Step::Lose(id));
            }
        }
        for (from, to, proposal, word) in &self.said {
            if self.managers[*to].is_some() {
                steps.push(Step::Hear {
                    from: *from,
                    to: *to,
                    proposal: *proposal,
                    word: *word,
                });
            }
        }
        for (number, proposal) in self.proposals.iter().enumerate() {
            let most = self.holders(proposal).count() > bounds.n / 2;
            if most && !self.decided.contains_key(&number) {
                let leaders = self.holders(proposal);
                let wishes = leaders.filter_map(|leader| leader.founding.wish(true));
                let wishes: BTreeSet<Decision> = wishes.collect();
                steps.extend(wishes.into_iter().map(|wish| Step::Decide(number, wish)));
            }
        }
        steps
    }

    fn questions(&self, from: usize, proposal: &Proposal) -> Vec<Step> {
        let up = self.managers[index(proposal.proposer())].is_some();
        let others = proposal.voters.iter().map(|id| index(*id));
        let others = others.filter(|of| *of != from && self.managers[*of].is_some());
        others
            .flat_map(|of| {
                [
                    (of, false, false),
                    (of, false, true),
                    (of, true, false),
                    (of, true, true),
                ]
            })
            .filter(|(_, reachable, _)| up || !reachable)
            .map(|(of, reachable, lost)| Step::Ask {
                from,
                of,
                reachable,
                lost,
            })
            .collect()
    }

    /// The state after a step.
    fn after(&self, step: &Step, without: Without) -> Self {
        let mut next = self.clone();
        match step {
            Step::Propose(id, others) => {
                let voters = others.iter().chain([id]).map(|id| node(*id)).collect();
                let nonce = self.proposals.len() as u128;
                let proposal = Proposal::new("town", voters, nonce).expect("somebody proposes");
                next.proposals.push(proposal.clone());
                next.with(*id, without, |founding| founding.propose(proposal));
            }
            Step::Abort(id) => next.with(*id, without, |founding| {
                founding.abort();
                Vec::new()
            }),
            Step::Hear {
                from,
                to,
                proposal,
                word,
            } => {
                let proposal = &self.proposals[*proposal];
                next.with(*to, without, |founding| {
                    founding.hear(node(*from), proposal, *word, true)
                });
            }
            Step::Ask {
                from,
                of,
                reachable,
                lost,
            } => next.ask(*from, *of, *reachable, *lost, without),
            Step::Decide(proposal, decision) => {
                next.decided.insert(*proposal, *decision);
            }
            Step::Apply(id) => {
                let slot = self
                    .record(*id)
                    .slot
                    .as_ref()
                    .expect("it holds what was decided");
                let decision = self.decided[&self.number(slot)];
                next.with(*id, without, |founding| founding.decided(decision));
            }
            Step::Join(id, proposal) => {
                let cluster = self.proposals[*proposal].id;
                next.with(*id, without, |founding| founding.join(cluster));
            }
            Step::LetGo(id) => {
                let manager = next.managers[*id].as_mut().expect("it lives");
                manager.founding.record.slot = None;
                manager.durable = manager.founding.record.clone();
            }
            Step::Sync(id) => {
                let manager = next.managers[*id].as_mut().expect("it lives");
                manager.durable = manager.founding.record.clone();
            }
            Step::Crash(id) => {
                next.crashes -= 1;
                let manager = next.managers[*id].as_mut().expect("it lives");
                *manager = Manager::start(*id, manager.durable.clone(), without);
            }
            Step::Lose(id) => {
                next.losses -= 1;
                next.managers[*id] = None;
                let fresh = Manager::start(next.born, Record::default(), without);
                next.managers[next.born] = Some(fresh);
                next.born += 1;
            }
        }
        next
    }

    /// A manager does something, and what it says is on its way.
    fn with(
        &mut self,
        id: usize,
        without: Without,
        act: impl FnOnce(&mut Founding) -> Vec<Output>,
    ) {
        let manager = self.managers[id].as_mut().expect("who acts is alive");
        for output in act(&mut manager.founding) {
            match output {
                Output::Write if without == Without::Syncing => {}
                Output::Write => manager.durable = manager.founding.record.clone(),
                Output::Send {
                    to,
                    proposal,
                    // Answers to queries arrive at once, or never.
                    word: word @ (Word::Propose | Word::Accepted),
                } => {
                    let made = self.proposals.iter().position(|made| *made == proposal);
                    let number = made.expect("what is talked about was proposed");
                    self.said.insert((id, index(to), number, word));
                }
                Output::Send { .. }
                | Output::StartGroup(_)
                | Output::DropGroup(_)
                | Output::Serve(_) => {}
            }
        }
    }

    fn ask(&mut self, from: usize, of: usize, reachable: bool, lost: bool, without: Without) {
        let proposal = self.record(from).slot.clone().expect("it asks about that");
        let mut answer = None;
        self.with(of, without, |founding| {
            let mut outputs = founding.hear(node(from), &proposal, Word::Query, reachable);
            if let Some(Output::Send { word, .. }) = outputs.pop() {
                answer = Some(word);
            }
            outputs
        });
        if let Some(word) = answer.filter(|_| !lost) {
            self.with(from, without, |founding| {
                founding.hear(node(of), &proposal, word, reachable)
            });
        }
    }

    fn number(&self, proposal: &Proposal) -> usize {
        self.number_of(proposal.id)
    }

    fn number_of(&self, cluster: ClusterId) -> usize {
        let made = self.proposals.iter();
        let mut made = made.enumerate().filter(|(_, made)| made.id == cluster);
        made.next().expect("every cluster was proposed").0
    }

    fn record(&self, id: usize) -> &Record {
        let manager = self.managers[id].as_ref();
        &manager.expect("it lives").founding.record
    }

    // --- what must hold ---

    fn wrong(&self) -> Option<String> {
        let created = |number: usize| self.decided.get(&number) == Some(&Decision::Created);
        if (0..self.proposals.len())
            .filter(|number| created(*number))
            .count()
            > 1
        {
            return Some("two clusters were created".into());
        }
        for (id, manager) in self.alive() {
            let Record { slot, member, .. } = &manager.founding.record;
            let slot = slot.as_ref().map(Proposal::id);
            if member.is_some() && slot.is_some() && slot != *member {
                return Some(format!("{} is in a cluster and bound to another", name(id)));
            }
            if member.is_some_and(|cluster| !created(self.number_of(cluster))) {
                return Some(format!("{} is in a cluster that was not created", name(id)));
            }
        }
        None
    }

    /// Nobody waits for what is undecided.
    fn is_settled(&self) -> bool {
        let waits = |manager: &Manager| {
            manager.founding.record.slot.is_some() && manager.founding.record.member.is_none()
        };
        !self.alive().any(|(_, manager)| waits(manager))
    }

    /// A majority of a proposal that somebody is bound to is gone for good:
    /// only an operator can help.
    fn is_beyond_help(&self, bounds: Bounds) -> bool {
        self.alive().any(|(_, manager)| {
            let slot = manager.founding.record.slot.as_ref();
            slot.is_some_and(|proposal| {
                let there = |id: &&NodeId| self.managers[index(**id)].is_some();
                proposal.voters.iter().filter(there).count() <= bounds.n / 2
            })
        })
    }
}

impl Manager {
    fn start(id: usize, durable: Record, without: Without) -> Self {
        let mut founding = Founding::new(node(id), durable.clone());
        if let Without::Rule(mistake) = without {
            founding.mistake = Some(mistake);
        }
        Self { founding, durable }
    }
}

/// Looks at every state within the bounds, after these `first` steps.
fn explore(bounds: Bounds, without: Without, first: &[Step]) -> Report {
    let begin = State::begin(bounds, without);
    let begin = first
        .iter()
        .fold(begin, |state, step| state.after(step, without));
    let mut numbers: HashMap<u128, usize> = HashMap::from([(print(&begin), 0)]);
    // By number: how it came about, whether it is fine, and who leads to it.
    let mut origins: Vec<Option<(usize, Step)>> = vec![None];
    let mut fine = vec![begin.is_settled()];
    let mut leads: Vec<Vec<usize>> = vec![Vec::new()];
    let mut queue = VecDeque::from([(0, begin)]);
    let (mut created, mut abandoned) = (0, 0);
    while let Some((number, state)) = queue.pop_front() {
        let so = |decision| state.decided.values().any(|was| *was == decision);
        created += usize::from(so(Decision::Created));
        abandoned += usize::from(so(Decision::Abandoned));
        for step in state.steps(bounds, without) {
            let next = state.after(&step, without);
            let known = numbers.len();
            let at = *numbers.entry(print(&next)).or_insert(known);
            if at == known {
                origins.push(Some((number, step.clone())));
                fine.push(next.is_settled() || next.is_beyond_help(bounds));
                leads.push(Vec::new());
                if let Some(what) = next.wrong() {
                    let wrong = Some(format!("{what}\n{}", trace(&origins, at)));
                    let states = numbers.len();
                    return Report {
                        states,
                        created,
                        abandoned,
                        wrong,
                    };
                }
                queue.push_back((at, next));
            }
            if !step.is_mishap() && at != number {
                leads[at].push(number);
            }
        }
    }
    // Backwards from where all is well: what is not reached is stuck.
    let mut queue: VecDeque<usize> = (0..fine.len()).filter(|number| fine[*number]).collect();
    while let Some(number) = queue.pop_front() {
        for before in std::mem::take(&mut leads[number]) {
            if !fine[before] {
                fine[before] = true;
                queue.push_back(before);
            }
        }
    }
    let stuck = fine.iter().position(|fine| !fine);
    let wrong = stuck.map(|at| format!("stuck for ever\n{}", trace(&origins, at)));
    Report {
        states: numbers.len(),
        created,
        abandoned,
        wrong,
    }
}

fn trace(origins: &[Option<(usize, Step)>], mut at: usize) -> String {
    let mut steps = Vec::new();
    while let Some((before, step)) = &origins[at] {
        steps.push(step);
        at = *before;
    }
    let mut text = String::new();
    for step in steps.into_iter().rev() {
        let _ = writeln!(text, "  {step:?}");
    }
    text
}

fn print(state: &State) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, state).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

fn subsets(of: &[usize], size: usize) -> Vec<Vec<usize>> {
    match (size, of) {
        (0, _) => vec![Vec::new()],
        (_, []) => Vec::new(),
        (_, [first, rest @ ..]) => {
            let with = subsets(rest, size - 1).into_iter();
            let with = with.map(|set| [&[*first][..], &set[..]].concat());
            with.chain(subsets(rest, size)).collect()
        }
    }
}

fn node(id: usize) -> NodeId {
    NodeId(id as u128)
}

fn index(NodeId(id): NodeId) -> usize {
    id as usize
}

fn name(id: usize) -> char {
    char::from(b'A' + id as u8)
}

impl Bounds {
    /// Of `alive` managers, and no mishaps.
    const fn of(n: usize, alive: usize, proposals: usize) -> Self {
        Self {
            n,
            alive,
            ids: alive,
            proposals,
            crashes: 0,
            losses: 0,
        }
    }

    const fn crashes(self, crashes: usize) -> Self {
        Self { crashes, ..self }
    }

    const fn losses(self, losses: usize) -> Self {
        let ids = self.alive + losses;
        Self {
            losses,
            ids,
            ..self
        }
    }
}

/// Played with every change. Fewer than 2n ids: with more there may well be
/// two clusters, of managers that never saw each other.
const SMALL: [Bounds; 5] = [
    Bounds::of(1, 1, 2).crashes(2),
    Bounds::of(2, 3, 2).crashes(1),
    Bounds::of(2, 2, 2).crashes(1).losses(1),
    Bounds::of(3, 3, 1).crashes(1).losses(1),
    Bounds::of(3, 4, 2),
];
/// Played on demand, some minutes: `DUI_FOUNDING=large`.
const LARGE: [Bounds; 5] = [
    Bounds::of(2, 3, 3).crashes(2),
    Bounds::of(2, 2, 3).crashes(2).losses(1),
    Bounds::of(3, 3, 2).crashes(1).losses(1),
    Bounds::of(3, 4, 2).crashes(1),
    Bounds::of(3, 5, 2),
];

fn shown(bounds: Bounds, without: Without, first: &[Step]) -> Report {
    let began = std::time::Instant::now();
    let report = explore(bounds, without, first);
    println!(
        "{bounds:?}, without {without:?}, {first:?} first: {} states, created in {}, abandoned in {}, {:.1} s",
        report.states,
        report.created,
        report.abandoned,
        began.elapsed().as_secs_f64()
    );
    if let Some(wrong) = &report.wrong {
        println!("{wrong}");
    }
    report
}

#[test]
fn there_is_never_a_second_cluster_and_nobody_waits_for_ever() {
    let large = std::env::var("DUI_FOUNDING").is_ok_and(|how| how == "large");
    let more = if large { &LARGE[..] } else { &[] };
    for bounds in SMALL.iter().chain(more) {
        let report = shown(*bounds, Without::Nothing, &[]);
        assert_eq!(report.wrong, None, "{bounds:?}");
        assert!(report.created > 0, "{bounds:?}: a cluster can be founded");
    }
}

fn goes_wrong(bounds: Bounds, without: Without, first: &[Step], how: &str) {
    let wrong = shown(bounds, without, first).wrong;
    let wrong = wrong.unwrap_or_else(|| panic!("without {without:?} nothing goes wrong"));
    assert!(wrong.starts_with(how), "{wrong}");
}

#[test]
fn without_a_veto_who_accepted_waits_for_ever() {
    let without = Without::Rule(Mistake::NobodyVetoes);
    goes_wrong(Bounds::of(3, 4, 2), without, &[], "stuck for ever");
}

#[test]
fn who_lets_go_by_itself_founds_a_second_cluster() {
    let first = [Step::Propose(0, vec![1, 4]), Step::Propose(2, vec![3, 4])];
    let bounds = Bounds::of(3, 5, 2);
    goes_wrong(bounds, Without::Holding, &first, "two clusters");
}

#[test]
fn where_most_are_enough_two_clusters_are_founded() {
    let without = Without::Rule(Mistake::MajorityFounds);
    goes_wrong(Bounds::of(3, 4, 2), without, &[], "two clusters");
}

#[test]
fn what_was_accepted_and_not_synced_is_forgotten_and_a_second_cluster_founded() {
    let bounds = Bounds::of(2, 3, 2).crashes(1);
    goes_wrong(bounds, Without::Syncing, &[], "two clusters");
}

#[test]
fn who_joins_while_bound_to_a_proposal_is_in_two_clusters() {
    let without = Without::Rule(Mistake::JoinsWhileHolding);
    goes_wrong(Bounds::of(2, 3, 2), without, &[], "C is in a cluster");
}
