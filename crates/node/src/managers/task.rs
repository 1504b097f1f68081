//! Task: the loop of the managers, and what it decides by whom.
//!
//! Everything that has to be in order is done here, one after the other: the
//! founding record, starting and dropping groups. Everything that waits for
//! others is done beside it and reports back.

mod found;
mod operate;
mod recover;
mod rule;
mod tell;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dui_consensus::call::{Answer, Call};
use dui_consensus::course::{self, Course, FOUNDING_TICK, is_manager_here};
use dui_consensus::founding::{ClusterId, Decision, Founding};
use dui_consensus::group::{Beat, Group, Pulse};
use dui_consensus::machine::Agreed;
use dui_consensus::reign::{Reign, Round};
use dui_consensus::types::Kind;
use dui_core::{Event, ForgetReason, LeaderNews, Member, NodeId};
use futures_core::Stream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::founder::Founder;
use super::lead::{Departure, Report};
use super::record::{self, Written};
use super::{Front, Input, Setup, lock};
use tell::whole;

use crate::calls::Calls;
use crate::handle::{Handle, NodeEvent, Sequenced};
use crate::history::{EventStream, History};

/// Views that nobody gave are asked for again after this.
const VIEWS_AGAIN: Duration = Duration::from_secs(1);
/// After a failure of the disk or the library.
const RETRY: Duration = Duration::from_secs(10);
/// So long campaign follows campaign before one asks why.
const LEADERLESS_MAX: Duration = Duration::from_secs(3);
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
    course: Course,
    began: Instant,
    /// What was told last of why there is no leader.
    told: String,

    /// While this manager leads.
    reign: Option<Reign>,
    /// The leader is dead: when to campaign.
    campaign: Option<(NodeId, Instant)>,
    /// Since when the group knows of no leader.
    leaderless: Option<Instant>,
    /// The newest news that this node told, and that it logged.
    news_told: Option<LeaderNews>,
    news_logged: Option<LeaderNews>,
    asking_views: bool,
    departing: bool,
    /// When it was told last that the disk is slow.
    slow_told: Option<Instant>,
    /// Managers that are being asked how they stand.
    asked: BTreeSet<NodeId>,
    /// Groups that were in memory alone, and have stopped: what this id voted
    /// there is not known any more, so it never votes there again.
    spent: BTreeSet<ClusterId>,
    /// No group is started before.
    not_before: Option<Instant>,
    recovery: recover::Recovery,
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
        // Whoever belongs to a cluster shows it, however that was founded.
        let sits = setup.manager && setup.loopback;
        let course = Course::new(course::Setup {
            me: setup.me,
            manager: setup.manager,
            expect: setup.expect,
            loopback: setup.loopback,
            ephemeral: setup.dir.is_none(),
        });
        let now = Instant::now();
        Self {
            founding: Founding::new(setup.me, written.record),
            written: written.group,
            part: None,
            founder: sits.then(|| Founder::new(setup.cluster.clone())),
            course,
            began: now,
            told: String::new(),
            reign: None,
            campaign: None,
            leaderless: None,
            news_told: None,
            news_logged: None,
            asking_views: false,
            departing: false,
            slow_told: None,
            asked: BTreeSet::new(),
            spent: BTreeSet::new(),
            not_before: None,
            recovery: recover::Recovery::default(),
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
        self.put_aside_what_is_lost(None).await;
        self.resume().await;
        loop {
            match self.next().await {
                Wake::Over | Wake::Pulse(false) | Wake::Agreed(false) => {
                    if self.handle.is_stopped() {
                        break;
                    }
                    self.give_up_part().await;
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
        // In any order: whoever keeps one of them busy starves no other.
        tokio::select! {
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
            // Why its group does not start is told until it is tried again.
            if self.start_at().is_none() {
                self.explain("the managers of its cluster are electing a leader");
            }
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
        let undecided = self.founding.record().member.is_none();
        if !self.departing && (undecided || self.reign.is_none()) {
            self.look_around().await;
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
            Input::Standing(id, standing) => self.hear_standing(id, standing).await,
            Input::Views(cluster, views) => {
                self.asking_views = false;
                match views {
                    Some(views) => self.take_views(cluster, views),
                    None => self.look_soon(VIEWS_AGAIN),
                }
                // Others may have more, in a moment.
                self.look_soon(FOUNDING_TICK);
            }
            Input::Led(report) => self.hear_report(report).await,
            Input::Order(order) => self.take_order(order).await,
            Input::Depart(reply) => self.depart(reply).await,
        }
    }

    async fn take_call(&mut self, from: NodeId, call: Call, reply: oneshot::Sender<Answer>) {
        let answer = match call {
            Call::Word(proposal, word) => {
                let around = self.around().await;
                let heard = self.course.hears(&proposal, word, &around);
                if let Some(reachable) = heard.filter(|_| !self.departing) {
                    let outputs = self.founding.hear(from, &proposal, word, reachable);
                    self.carry_out(outputs).await;
                }
                Answer::Done
            }
            Call::Standing => {
                let around = self.around().await;
                let mut standing = self
                    .course
                    .standing(&self.founding, &around, self.departing);
                // It can take no part there any more.
                let spent = |cluster: &ClusterId| self.spent.contains(cluster);
                standing.member = standing.member.filter(|cluster| !spent(cluster));
                Answer::Standing(standing)
            }
            Call::Views(cluster, after) => self.tell_views(cluster, after),
            Call::Operate(cluster, operation) => {
                return self.operate(cluster, operation, reply).await;
            }
            Call::Backup(cluster) => return self.back_up(cluster, reply),
            Call::Origins(cluster) => self.tell_origins(cluster),
            Call::Raft(..) => Answer::Refused {
                code: "bad_call".into(),
                why: "taken elsewhere".into(),
            },
        };
        // Whoever asked may have gone.
        let _ = reply.send(answer);
    }

    async fn take_event(&mut self, event: Sequenced) {
        match event.event {
            NodeEvent::Core(Event::LeaderNews(news)) => self.hear_news(news).await,
            NodeEvent::Core(Event::MemberLeft(member)) => {
                self.course.hear_left(member.id);
                self.calls.forget(member.id);
                self.miss(&member).await;
                self.stir();
            }
            NodeEvent::Core(Event::MemberForgotten { member, reason }) => {
                if reason == ForgetReason::Superseded {
                    self.course.hear_superseded(member.id);
                }
                self.stir();
            }
            NodeEvent::Core(Event::MemberFailed(member)) => {
                self.calls.forget(member.id);
                self.miss(&member).await;
                self.stir();
            }
            NodeEvent::Core(Event::MemberAlive(_) | Event::MemberSuspect(_)) => self.stir(),
            NodeEvent::Reset => self.catch_up().await,
            _ => {}
        }
    }

    /// What this leader set out to do is done, or was not.
    async fn hear_report(&mut self, report: Report) {
        // Of an earlier reign it is of no interest.
        let reign = self.reign.as_mut();
        let Some(reign) = reign.filter(|reign| reign.term() == report.term) else {
            return;
        };
        let wait = reign.hear_done(report.round, report.worked);
        if report.round == Round::Claim && reign.is_claimed() {
            tracing::info!(target: "dui", event = "lead_taken", term = report.term);
        }
        if wait.is_zero() {
            self.rule().await;
        } else {
            self.look_soon(wait);
        }
    }

    /// Some events were missed: what they would have told is looked up.
    async fn catch_up(&mut self) {
        self.stir();
        if let Some(news) = self.news().await {
            let members = self.members().await;
            let leader = members.into_iter().find(|member| member.id == news.leader);
            self.hear_news(news).await;
            if let Some(leader) = leader.filter(|leader| !is_manager_here(leader)) {
                self.miss(&leader).await;
            }
        }
    }

    /// Somebody is gone. If it led, the voters campaign, one after the other.
    async fn miss(&mut self, member: &Member) {
        if self.founder.is_some() && self.reign.is_none() {
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
            self.give_up_part().await;
            return self.look_soon(RETRY);
        }
        if self.is_outpaced(&beat) {
            self.leaderless = None;
            self.drop_part().await;
            return self.look_soon(Duration::ZERO);
        }
        self.doubt(&beat);
        self.set_campaigning(&beat).await;
        if self
            .campaign
            .is_some_and(|(leader, _)| beat.leader != Some(leader))
        {
            self.campaign = None;
        }
        self.reign_or_not(&beat).await;
    }

    /// Whether campaigns follow one another because the disk takes longer than
    /// they last: the group measures it when it starts. Each has a new term, so
    /// each is felt.
    fn is_outpaced(&mut self, beat: &Beat) -> bool {
        let since = self.leaderless.unwrap_or_else(Instant::now);
        self.leaderless = beat.leader.is_none().then_some(since);
        let long = self.leaderless.is_some() && since.elapsed() >= LEADERLESS_MAX;
        let part = self.part.as_ref().filter(|_| long && !self.departing);
        part.is_some_and(|part| part.group.is_outpaced())
    }

    /// Whoever votes campaigns where it hears of no leader; but who was removed
    /// from the group, and may not have been told so by the log, must not.
    pub(super) async fn set_campaigning(&self, beat: &Beat) {
        let Some(part) = &self.part else {
            return;
        };
        let revision = part.agreed.borrow().state.revision();
        let may = self
            .course
            .may_campaign(part.group.cluster(), beat, revision);
        part.group.set_campaigning(may && !self.departing);
    }

    /// The group has stopped by itself.
    async fn give_up_part(&mut self) {
        if let Some(part) = &self.part
            && self.setup.dir.is_none()
        {
            self.spent.insert(part.group.cluster());
        }
        self.not_before = Some(Instant::now() + RETRY);
        self.drop_part().await;
    }

    async fn reign_or_not(&mut self, beat: &Beat) {
        if !beat.leads {
            if let Some(reign) = self.reign.take() {
                tracing::info!(target: "dui", event = "lead_lost", term = reign.term());
            }
        } else if self
            .reign
            .as_ref()
            .is_none_or(|reign| reign.term() != beat.term)
        {
            self.reign = Some(Reign::begin(beat.term, self.began.elapsed()));
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
        let kind = |id: NodeId| reign.map_or(Kind { ephemeral: true }, |reign| reign.kind_of(id));
        let others = members
            .iter()
            .filter(|member| is_manager_here(member) && member.id != self.setup.me)
            .map(|member| (member.id, kind(member.id)))
            .collect();
        let departure = Departure {
            group: part.group.clone(),
            calls: self.calls.clone(),
            me: self.setup.me,
            ephemeral: self.setup.dir.is_none() || self.recovery.given_up,
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
        let now = self.began.elapsed();
        if let Some(reign) = &mut self.reign {
            let wait = reign.stir(now);
            self.look_soon(wait);
        }
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
