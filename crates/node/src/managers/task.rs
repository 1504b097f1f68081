//! Task: the loop of the managers, and what it decides by whom.
//!
//! Everything that has to be in order is done here, one after the other: the
//! founding record, starting and dropping groups. Everything that waits for
//! others is done beside it and reports back.

mod found;
mod rule;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dui_consensus::call::{Answer, Call, Standing};
use dui_consensus::founding::sight::Sight;
use dui_consensus::founding::{ClusterId, Decision, Founding, Word};
use dui_consensus::group::{Beat, Group, Lane, Pulse, Wire};
use dui_consensus::machine::Agreed;
use dui_core::{Event, LeaderNews, Member, MemberState, NodeId, Role};
use futures_core::Stream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::founder::Founder;
use super::lead::{Departure, Done, Report};
use super::record::{self, Written};
use super::{Front, Input, Setup, lock};
use crate::calls::Calls;
use crate::handle::{Handle, NodeEvent, Sequenced};
use crate::history::{EventStream, History};

/// Between two looks of a manager that founds.
const FOUNDING_TICK: Duration = Duration::from_millis(100);
/// Between two looks of a leader that waits for somebody.
const LEADER_TICK: Duration = Duration::from_secs(1);
/// After a failure of the disk or the library.
const RETRY: Duration = Duration::from_secs(10);
/// How long a call may take that others wait for.
const ASK_MAX: Duration = Duration::from_secs(1);
/// Voters campaign one after the other when the leader has died.
const CAMPAIGN_STEP: Duration = Duration::from_millis(80);

/// The loop, and what it holds.
pub(crate) struct Task {
    setup: Setup,
    handle: Handle,
    calls: Calls,
    front: Arc<Front>,
    inputs: mpsc::Receiver<Input>,
    sender: mpsc::Sender<Input>,
    history: Arc<History>,
    events: EventStream,

    founding: Founding,
    /// The group whose data is on disk, or was in memory.
    written: Option<ClusterId>,
    part: Option<Part>,
    founder: Option<Founder>,
    sight: Option<Sight>,
    /// How other managers say they stand; `None` while they are asked.
    answers: BTreeMap<NodeId, Option<Standing>>,
    began: Instant,
    /// When holders ask each other next how their proposal stands.
    ask_at: Instant,
    proposed_at: Option<Instant>,
    /// What was told last of why there is no leader.
    told: String,

    /// While this manager leads.
    reign: Option<Reign>,
    /// The leader is dead: when to campaign.
    campaign: Option<(NodeId, Instant)>,
    /// The newest news that this node told, and that it logged.
    news_told: Option<LeaderNews>,
    news_logged: Option<LeaderNews>,
    asking_views: bool,
    departing: bool,
    /// When to look again without a reason.
    look_at: Option<Instant>,
}

/// This manager's part in a group.
struct Part {
    group: Group,
    pulse: Pulse,
    /// The last one that made a difference.
    felt: Option<Beat>,
    agreed: watch::Receiver<Agreed>,
}

/// What a leader keeps in mind.
struct Reign {
    term: u64,
    since: Instant,
    claiming: bool,
    /// This process has claimed it: one that comes back to its old term has
    /// not, and gets a new token.
    claimed: bool,
    stepping: bool,
    viewing: bool,
    /// Since when the members are others than the newest view's, and since
    /// when nothing has changed.
    stirred: Option<(Instant, Instant)>,
    /// Since when somebody is gone, as this leader has seen it.
    gone: BTreeMap<NodeId, Instant>,
    standings: BTreeMap<NodeId, Option<Standing>>,
}

enum Wake {
    Input(Input),
    Event(Sequenced),
    Pulse(bool),
    Agreed(bool),
    Time,
    Over,
}

impl Task {
    /// With what this node has written so far.
    pub(crate) fn new(
        setup: Setup,
        written: Written,
        handle: Handle,
        calls: Calls,
        front: Arc<Front>,
        inputs: mpsc::Receiver<Input>,
        history: Arc<History>,
    ) -> Self {
        let founds_alone = setup.manager && setup.expect.is_none() && setup.loopback;
        let expect = setup.expect.filter(|_| setup.manager);
        let now = Instant::now();
        Self {
            founding: Founding::new(setup.me, written.record),
            written: written.group,
            part: None,
            founder: founds_alone.then(|| Founder::new(setup.cluster.clone())),
            sight: expect.map(|expect| Sight::new(setup.me, expect)),
            answers: BTreeMap::new(),
            began: now,
            ask_at: now,
            proposed_at: None,
            told: String::new(),
            reign: None,
            campaign: None,
            news_told: None,
            news_logged: None,
            asking_views: false,
            departing: false,
            look_at: Some(now),
            sender: front.inputs.clone(),
            events: history.subscribe(None),
            setup,
            handle,
            calls,
            front,
            inputs,
            history,
        }
    }

    /// Until the node stops.
    pub(crate) async fn run(mut self) {
        self.resume().await;
        loop {
            match self.next().await {
                Wake::Over | Wake::Pulse(false) | Wake::Agreed(false) => {
                    if self.handle.is_stopped() {
                        break;
                    }
                    self.drop_part().await;
                    self.look_soon(RETRY);
                }
                Wake::Input(input) => self.take_input(input).await,
                Wake::Event(event) => self.take_event(event).await,
                Wake::Pulse(true) => self.feel_pulse().await,
                Wake::Agreed(true) => self.follow_agreed().await,
                Wake::Time => self.look().await,
            }
        }
        if let Some(part) = self.part.take() {
            part.group.stop().await;
        }
    }

    async fn next(&mut self) -> Wake {
        let campaign_at = self.campaign.map(|(_, at)| at);
        let at = self.look_at.into_iter().chain(campaign_at).min();
        let (pulse, agreed) = match &mut self.part {
            Some(part) => (Some(&mut part.pulse), Some(&mut part.agreed)),
            None => (None, None),
        };
        tokio::select! {
            biased;
            () = self.handle.stopped() => Wake::Over,
            Some(input) = self.inputs.recv() => Wake::Input(input),
            changed = changed_pulse(pulse) => Wake::Pulse(changed),
            changed = changed_agreed(agreed) => Wake::Agreed(changed),
            event = next_event(&mut self.events) => Wake::Event(event),
            () = sleep_until(at.unwrap_or_else(Instant::now)), if at.is_some() => Wake::Time,
        }
    }

    /// Goes on where the last process stopped.
    async fn resume(&mut self) {
        let record = self.founding.record().clone();
        if !self.setup.manager {
            self.explain("this node is a worker, and has heard of no formed cluster");
            return;
        }
        if let Some(slot) = &record.slot
            && record.member.is_none()
        {
            let (cluster, voters) = (slot.id(), slot.voters().to_vec());
            self.take_part(cluster, Some(voters)).await;
        } else if let Some(cluster) = record.member {
            self.sit();
            self.explain("the managers of its cluster are electing a leader");
            if self.written == Some(cluster) {
                self.take_part(cluster, None).await;
            }
        }
    }

    /// What is due.
    async fn look(&mut self) {
        self.look_at = None;
        if let Some((leader, at)) = self.campaign
            && at <= Instant::now()
        {
            self.campaign = None;
            if let Some(part) = &self.part {
                // It would have told so itself.
                let _ = part.group.leader_died(leader).await;
            }
        }
        if self.setup.manager && !self.departing {
            if self.founding.record().member.is_none() {
                self.look_for_a_cluster().await;
            } else if self.part.is_none() {
                self.stand_by().await;
            }
        }
        if self.reign.is_some() {
            self.rule().await;
        }
        self.ask_views().await;
    }

    fn look_soon(&mut self, wait: Duration) {
        let at = Instant::now() + wait;
        self.look_at = Some(self.look_at.map_or(at, |set| set.min(at)));
    }

    // --- what happens ---

    async fn take_input(&mut self, input: Input) {
        match input {
            Input::Call { from, call, reply } => self.take_call(from, call, reply).await,
            Input::Group(cluster, reply) => {
                if self.founding.record().member == Some(cluster) && self.part.is_none() {
                    self.take_part(cluster, None).await;
                }
                let part = self.part.as_ref().map(|part| part.group.clone());
                // Whoever asked may have gone.
                let _ = reply.send(part.filter(|group| group.cluster() == cluster));
            }
            Input::Standing(id, standing) => {
                if let Some(reign) = &mut self.reign {
                    reign.standings.insert(id, standing.clone());
                    self.look_soon(Duration::ZERO);
                }
                if self.founding.is_fresh() {
                    self.answers.insert(id, standing);
                    self.look_soon(Duration::ZERO);
                }
            }
            Input::Views(cluster, views) => {
                self.asking_views = false;
                match views {
                    Some(views) => self.take_views(cluster, views),
                    None => self.look_soon(LEADER_TICK),
                }
                self.ask_views().await;
            }
            Input::Led(report) => self.hear_report(report).await,
            Input::Depart(reply) => self.depart(reply).await,
        }
    }

    async fn take_call(&mut self, from: NodeId, call: Call, reply: oneshot::Sender<Answer>) {
        let answer = match call {
            Call::Word(proposal, word) => {
                let members = self.members().await;
                let proposer = proposal.proposer();
                let alive = members
                    .iter()
                    .any(|member| member.id == proposer && member.state == MemberState::Alive);
                // What it would not accept it vetoes when it is asked.
                let expected = self.setup.expect == u32::try_from(proposal.voters().len()).ok();
                let reachable = (alive || proposer == self.setup.me) && expected;
                let heard = expected || word != Word::Propose;
                if self.setup.manager && heard && !self.departing {
                    let outputs = self.founding.hear(from, &proposal, word, reachable);
                    self.carry_out(outputs).await;
                }
                Answer::Done
            }
            Call::Standing => Answer::Standing(self.standing().await),
            Call::Views(cluster, after) => self.tell_views(cluster, after),
            Call::Operate(cluster, operation) => {
                return self.operate(cluster, operation, reply).await;
            }
            Call::Raft(..) => Answer::Refused {
                code: "bad_call".into(),
                why: "taken elsewhere".into(),
            },
        };
        // Whoever asked may have gone.
        let _ = reply.send(answer);
    }

    async fn standing(&self) -> Standing {
        let members = self.members().await;
        let alive = members.iter().filter(|member| is_manager_here(member));
        Standing {
            expect: self
                .setup
                .expect
                .filter(|_| self.setup.manager)
                .unwrap_or(0),
            fresh: self.founding.is_fresh() && !self.departing,
            member: self.founding.record().member,
            ephemeral: self.setup.dir.is_none(),
            sees: alive.map(|member| member.id).take(64).collect(),
        }
    }

    async fn take_event(&mut self, event: Sequenced) {
        match event.event {
            NodeEvent::Core(Event::LeaderNews(news)) => self.hear_news(news).await,
            NodeEvent::Core(Event::MemberFailed(member) | Event::MemberLeft(member)) => {
                self.calls.forget(member.id);
                self.miss(&member).await;
                self.stir();
            }
            NodeEvent::Core(
                Event::MemberAlive(_) | Event::MemberForgotten { .. } | Event::MemberSuspect(_),
            )
            | NodeEvent::Reset => self.stir(),
            _ => {}
        }
    }

    /// What this leader set out to do is done, or was not.
    async fn hear_report(&mut self, report: Report) {
        // Of an earlier reign it is of no interest.
        let reign = self.reign.as_mut();
        let Some(reign) = reign.filter(|reign| reign.term == report.term) else {
            return;
        };
        match report.done {
            Done::Claim => {
                if reign.claimed && report.worked {
                    tracing::info!(target: "dui", event = "lead_taken", term = reign.term);
                }
                reign.claiming = false;
                reign.claimed &= report.worked;
            }
            Done::Step => reign.stepping = false,
            Done::View => reign.viewing = false,
        }
        if report.worked {
            self.rule().await;
        } else {
            self.look_soon(rule::TRY_AGAIN);
        }
    }

    /// Somebody is gone. If it led, the voters campaign, one after the other.
    async fn miss(&mut self, member: &Member) {
        if self.founder.is_some() && self.part.is_none() {
            self.look_soon(Duration::ZERO);
        }
        let Some(part) = &mut self.part else {
            return;
        };
        let beat = part.pulse.beat();
        if beat.leader != Some(member.id) || !beat.voters.contains(&self.setup.me) {
            return;
        }
        let members = self.members().await;
        let alive: BTreeSet<NodeId> = members
            .iter()
            .filter(|member| is_manager_here(member) && beat.voters.contains(&member.id))
            .map(|member| member.id)
            .collect();
        let before = alive.iter().take_while(|id| **id != self.setup.me).count();
        let wait = CAMPAIGN_STEP * u32::try_from(before).unwrap_or(u32::MAX);
        self.campaign = Some((member.id, Instant::now() + wait));
    }

    /// The library noticed something.
    async fn feel_pulse(&mut self) {
        let Some(part) = &mut self.part else {
            return;
        };
        let beat = part.pulse.beat();
        if beat.is_like(&part.felt) {
            return;
        }
        part.felt = Some(beat.clone());
        if let Some(why) = &beat.stopped {
            tracing::error!(
                target: "dui", event = "group_stopped", reason = %why,
                remedy = "free some space, or look at the disk: it is opened again in 10 s",
            );
            self.drop_part().await;
            return self.look_soon(RETRY);
        }
        self.front
            .doubt
            .store(beat.leader.is_none(), Ordering::Relaxed);
        if self
            .campaign
            .is_some_and(|(leader, _)| beat.leader != Some(leader))
        {
            self.campaign = None;
        }
        self.reign_or_not(&beat).await;
    }

    async fn reign_or_not(&mut self, beat: &Beat) {
        if !beat.leads {
            if let Some(reign) = self.reign.take() {
                tracing::info!(target: "dui", event = "lead_lost", term = reign.term);
            }
        } else if self
            .reign
            .as_ref()
            .is_none_or(|reign| reign.term != beat.term)
        {
            let now = Instant::now();
            self.reign = Some(Reign {
                term: beat.term,
                since: now,
                claiming: false,
                claimed: false,
                stepping: false,
                viewing: false,
                stirred: Some((now, now)),
                gone: BTreeMap::new(),
                standings: BTreeMap::new(),
            });
        }
        if self.reign.is_some() {
            self.rule().await;
        }
    }

    /// The group has agreed on something.
    async fn follow_agreed(&mut self) {
        let Some(part) = &mut self.part else {
            return;
        };
        let cluster = part.group.cluster();
        let agreed = part.agreed.borrow_and_update().clone();
        if let Some(decision) = agreed.state.decision() {
            let outputs = self.founding.decided(decision);
            self.carry_out(outputs).await;
            if decision == Decision::Abandoned {
                return;
            }
        }
        let after = self.seen_until(cluster);
        let views = match agreed.state.views_after(after) {
            Some(views) => dui_consensus::call::Views::Next(views),
            None => whole(&agreed),
        };
        self.take_views(cluster, views);
        self.tell_news(&agreed).await;
        if self.reign.is_some() {
            self.rule().await;
        }
    }

    // --- views and news ---

    fn seen_until(&self, cluster: ClusterId) -> u64 {
        let outlook = lock(&self.front.outlook);
        match outlook.cluster() {
            Some(seen) if seen == cluster => outlook.number(),
            _ => 0,
        }
    }

    fn take_views(&mut self, cluster: ClusterId, views: dui_consensus::call::Views) {
        let new = lock(&self.front.outlook).take(cluster, views);
        for view in new {
            tracing::info!(
                target: "dui", event = "view_changed", number = view.number,
                revision = view.revision, joined = view.joined.len(), gone = view.gone.len(),
            );
            self.history.add_view(view);
        }
    }

    fn tell_views(&self, cluster: ClusterId, after: u64) -> Answer {
        let agreed = self.part.as_ref().map(|part| part.agreed.borrow().clone());
        match agreed {
            Some(agreed) if self.is_of(cluster) => {
                let next = agreed.state.views_after(after).filter(|_| after > 0);
                Answer::Views(match next {
                    Some(views) => dui_consensus::call::Views::Next(views),
                    None => whole(&agreed),
                })
            }
            _ => Answer::Refused {
                code: "other_cluster".into(),
                why: format!("this node has no views of cluster {cluster}"),
            },
        }
    }

    fn is_of(&self, cluster: ClusterId) -> bool {
        let part = self.part.as_ref();
        part.is_some_and(|part| part.group.cluster() == cluster)
    }

    /// Asks a voter for the views that this node lacks.
    async fn ask_views(&mut self) {
        let Some(news) = self.news().await else {
            return;
        };
        let cluster = ClusterId(news.cluster_id);
        let after = self.seen_until(cluster);
        // Who votes has them in its log; who stood down may have an old one.
        let votes = self.is_of(cluster) && news.voters.contains(&self.setup.me);
        if self.asking_views || after >= news.view || votes {
            return;
        }
        let voters = news.voters.iter().filter(|id| **id != self.setup.me);
        let voters: Vec<NodeId> = voters.copied().collect();
        // Who asks whom is spread by the asker's id.
        let place = (self.setup.me.0 % (voters.len().max(1) as u128)) as usize;
        let turned = voters.iter().cycle().skip(place).take(voters.len());
        let turned: Vec<NodeId> = turned.copied().collect();
        if turned.is_empty() {
            return;
        }
        self.asking_views = true;
        let (calls, sender) = (self.calls.clone(), self.sender.clone());
        tokio::spawn(async move {
            let call = Call::Views(cluster, after).encode();
            let mut found = None;
            for voter in turned {
                let bytes = calls.call(voter, Lane::Log, call.clone(), ASK_MAX).await;
                if let Ok(bytes) = bytes
                    && let Ok(Answer::Views(views)) = Answer::decode(&bytes)
                {
                    found = Some(views);
                    break;
                }
            }
            // No task any more, nobody to tell.
            let _ = sender.send(Input::Views(cluster, found)).await;
        });
    }

    /// A leader tells everybody what was agreed on.
    async fn tell_news(&mut self, agreed: &Agreed) {
        let Some(part) = &self.part else {
            return;
        };
        // Not before this process has claimed it.
        let reign = self.reign.as_ref();
        let reign = reign.filter(|reign| reign.claimed && !reign.claiming);
        let leads =
            |leader, term| leader == self.setup.me && reign.is_some_and(|reign| reign.term == term);
        let Some(election) = agreed.state.election() else {
            return;
        };
        if !leads(election.leader, election.term) {
            return;
        }
        let news = LeaderNews {
            cluster_id: part.group.cluster().0,
            revision: agreed.state.revision(),
            leader: election.leader,
            term: election.term,
            elected_at: election.revision,
            view: agreed.state.view(),
            voters: agreed.voters(),
            ephemeral: agreed.is_ephemeral(),
        };
        if self.news_told.as_ref() == Some(&news) {
            return;
        }
        self.news_told = Some(news.clone());
        // A node that has stopped tells nobody.
        let _ = self
            .handle
            .ask(move |peer, now| peer.tell_leader(now, news))
            .await;
    }

    async fn hear_news(&mut self, news: LeaderNews) {
        let same = |last: &LeaderNews| {
            (last.cluster_id, last.leader, last.elected_at)
                == (news.cluster_id, news.leader, news.elected_at)
        };
        if !self.news_logged.as_ref().is_some_and(same) {
            let member = self.members().await;
            let member = member.iter().find(|member| member.id == news.leader);
            tracing::info!(
                target: "dui", event = "leader_changed",
                member = member.map_or_else(String::new, |member| member.name.to_string()),
                id = %news.leader, term = news.term, revision = news.elected_at,
                cluster_id = %ClusterId(news.cluster_id),
            );
        }
        self.news_logged = Some(news.clone());
        if self.setup.manager && !self.departing {
            self.meet(ClusterId(news.cluster_id)).await;
        }
        if let Some(part) = &self.part
            && part.group.cluster() == ClusterId(news.cluster_id)
        {
            // Who votes no more may not have been told so by the log.
            let votes = news.voters.contains(&self.setup.me);
            let ahead = part.agreed.borrow().state.revision() > news.revision;
            part.group.set_campaigning(votes || ahead);
        }
        if self.reign.is_some() {
            self.rule().await;
        }
        self.ask_views().await;
    }

    // --- leaving ---

    async fn depart(&mut self, reply: oneshot::Sender<()>) {
        self.departing = true;
        self.founding.abort();
        let members = self.members().await;
        let Some(part) = &self.part else {
            let _ = reply.send(());
            return;
        };
        // It may stay up for a while after it has left, and is not to lead then.
        part.group.set_campaigning(false);
        let reign = self.reign.as_ref();
        let kind = |id: &NodeId| {
            let standing = reign.and_then(|reign| reign.standings.get(id)?.clone());
            dui_consensus::types::Kind {
                ephemeral: standing.is_none_or(|standing| standing.ephemeral),
            }
        };
        let others = members
            .iter()
            .filter(|member| is_manager_here(member) && member.id != self.setup.me)
            .map(|member| (member.id, kind(&member.id)))
            .collect();
        let departure = Departure {
            group: part.group.clone(),
            calls: self.calls.clone(),
            me: self.setup.me,
            ephemeral: self.setup.dir.is_none(),
            others,
        };
        tokio::spawn(async move {
            departure.go().await;
            // Whoever waited may have given up.
            let _ = reply.send(());
        });
    }

    // --- helpers ---

    async fn members(&self) -> Vec<Member> {
        // A node that has stopped knows nobody.
        self.handle.members().await.unwrap_or_default()
    }

    async fn news(&self) -> Option<LeaderNews> {
        let news = self.handle.ask(|peer, _| peer.leader_news().cloned()).await;
        news.ok().flatten()
    }

    /// Says why there is no leader, once for each reason.
    fn explain(&mut self, why: &str) {
        if self.told != why {
            self.told = why.into();
            *lock(&self.front.why) = why.into();
            tracing::info!(target: "dui", event = "no_leader_yet", reason = why);
        }
    }

    fn stir(&mut self) {
        if let Some(reign) = &mut self.reign {
            let now = Instant::now();
            let first = reign.stirred.map_or(now, |(first, _)| first);
            reign.stirred = Some((first, now));
            self.look_soon(rule::QUIET);
        }
    }
}

/// Whether this is a manager that is here.
fn is_manager_here(member: &Member) -> bool {
    member.role == Role::Manager
        && matches!(member.state, MemberState::Alive | MemberState::Suspect)
}

fn whole(agreed: &Agreed) -> dui_consensus::call::Views {
    let newest = agreed.state.views().last();
    dui_consensus::call::Views::Whole {
        number: agreed.state.view(),
        revision: newest.map_or(0, |view| view.revision),
        members: agreed.state.members().values().cloned().collect(),
    }
}

async fn changed_pulse(pulse: Option<&mut Pulse>) -> bool {
    match pulse {
        Some(pulse) => pulse.changed().await,
        None => std::future::pending().await,
    }
}

async fn changed_agreed(agreed: Option<&mut watch::Receiver<Agreed>>) -> bool {
    match agreed {
        Some(agreed) => agreed.changed().await.is_ok(),
        None => std::future::pending().await,
    }
}

/// None come any more once the node leaves.
async fn next_event(events: &mut EventStream) -> Sequenced {
    let next = std::future::poll_fn(|context| std::pin::Pin::new(&mut *events).poll_next(context));
    match next.await {
        Some(event) => event,
        None => std::future::pending().await,
    }
}
