//! Shell: the core, and the hands that carry out its decisions in their order.
//!
//! The order is the contract: what is to be remembered urgently is durable
//! before anything that the core decided after it leaves the node.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use dui_core::{
    EndOfStream, Event, Fatal, Input, Known, MemberState, Mono, Output, Peer, StreamId,
};

use crate::clock;
use crate::discovery::Discovery;
use crate::entries::{self, Outcome};
use crate::handle::{LeaveOutcome, Request};
use crate::history::History;
use crate::journal;
use crate::leave::Leave;
use crate::shared::{Copying, Writes};
use crate::storage::Writer;
use crate::streams::Streams;
use crate::udp::PeerSocket;

/// Known peers that show the way to an address.
const KNOWN_MAX: usize = 8;

/// What is written to the data directory.
#[derive(Debug)]
pub(crate) struct DataDir {
    /// Who this node is and whom it knows.
    pub(crate) state: Writer,
    /// What all nodes hold.
    pub(crate) entries: entries::Writer,
}

/// The core and everything that it decides about.
#[derive(Debug)]
pub(crate) struct Shell {
    peer: Peer,
    udp: Arc<PeerSocket>,
    pub(crate) streams: Streams,
    pub(crate) discovery: Discovery,
    /// `None`: nothing outlives the process.
    pub(crate) data_dir: Option<DataDir>,
    copying: Option<Copying>,
    writes: Writes,
    history: Arc<History>,
    /// Where peers were last, latest first: shows the way when the node moves.
    known: watch::Sender<Vec<SocketAddr>>,
    leave_timeout: Duration,
    leave: Leave,
    /// When the core wants to be called; `None` once it was.
    wake_at: Option<Mono>,
    /// Why the node cannot go on.
    pub(crate) fatal: Option<Fatal>,
    /// Streams that ended while an output was carried out: told afterwards.
    ended: Vec<(StreamId, EndOfStream)>,
    /// The last batch of entries that is as durable as it gets, to be told.
    stored: Option<u64>,
    /// Addresses that a packet was not let out to: told afterwards.
    denied: Vec<SocketAddr>,
}

impl Shell {
    pub(crate) fn new(
        peer: Peer,
        udp: Arc<PeerSocket>,
        streams: Streams,
        discovery: Discovery,
        data_dir: Option<DataDir>,
        history: Arc<History>,
        leave_timeout: Duration,
    ) -> Self {
        Self {
            peer,
            udp,
            streams,
            discovery,
            data_dir,
            copying: None,
            writes: Writes::default(),
            history,
            known: watch::Sender::default(),
            leave_timeout,
            leave: Leave::default(),
            wake_at: None,
            fatal: None,
            ended: Vec::new(),
            stored: None,
            denied: Vec::new(),
        }
    }

    /// Where peers were last, latest first.
    pub(crate) fn known(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.known.subscribe()
    }

    /// These are where peers were last.
    pub(crate) fn know(&self, peers: &[Known]) {
        let latest = peers.iter().take(KNOWN_MAX);
        self.known
            .send_replace(latest.map(|peer| peer.address).collect());
    }

    /// Speaks from another socket and another address from now on.
    pub(crate) fn use_socket(&mut self, udp: Arc<PeerSocket>, source: IpAddr) {
        self.udp = udp;
        self.streams.moved(source);
    }

    /// The earlier of the core's timer and our own.
    pub(crate) fn next_timer(&self) -> Option<Mono> {
        let give_up_at = self.leave.give_up_at();
        let sweep_at = self.writes.sweep_at();
        let all = self.wake_at.into_iter().chain(give_up_at).chain(sweep_at);
        all.min()
    }

    /// Hands one input to the core and carries out what follows.
    pub(crate) async fn tell(&mut self, input: Input<'_>) {
        if self.wake_up() {
            self.peer.handle(clock::now(), input);
            self.carry_out().await;
        }
    }

    /// Does what a handle asks.
    pub(crate) async fn serve(&mut self, request: Request) {
        if !self.wake_up() {
            return;
        }
        let now = clock::now();
        match request {
            Request::Ask(question) => question(&mut self.peer, now),
            Request::Write(requests) => self.writes.begin(&mut self.peer, now, requests),
            Request::Leave(reply) => {
                if self.leave.ask(reply, now.mono + self.leave_timeout) {
                    self.history.leaving();
                    self.peer.leave(now);
                }
            }
        }
        self.carry_out().await;
    }

    /// Calls the core if its time has come, and gives a leave up if its has.
    pub(crate) async fn take_due_timers(&mut self) {
        let now = clock::mono();
        if self.wake_at.is_some_and(|at| at <= now) {
            self.wake_at = None;
            self.tell(Input::Timeout).await;
        }
        if self.writes.sweep_at().is_some_and(|at| at <= now) {
            self.writes.sweep(&mut self.peer, now);
        }
        if self.leave.give_up_at().is_some_and(|at| at <= now) {
            let wanted = self.others_alive();
            tracing::warn!(
                target: "dui", event = "leave_timeout", wanted,
                remedy = "peers find out by themselves; raise --leave-timeout for a slow network",
            );
            self.leave.finish(LeaveOutcome { acked: 0, wanted });
        }
    }

    /// Carries out everything that the core has decided.
    pub(crate) async fn carry_out(&mut self) {
        loop {
            while let Some(output) = self.peer.poll_output() {
                self.carry_out_one(output).await;
            }
            let ended = self.ended.pop();
            let ended = ended.map(|(stream, how)| Input::StreamEnded { stream, how });
            let stored = || self.stored.take().map(|batch| Input::Stored { batch });
            let denied = || self.denied.pop().map(|to| Input::SendDenied { to });
            let Some(input) = ended.or_else(stored).or_else(denied) else {
                return;
            };
            self.peer.handle(clock::now(), input);
        }
    }

    /// Tells the core what the disk has done, and gives the disk what it asks for.
    pub(crate) async fn take_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Stored { batch } => self.tell(Input::Stored { batch }).await,
            Outcome::Failed { batch, reason } => {
                self.tell(Input::StoreFailed { batch, reason }).await;
            }
            Outcome::Checkpoint => {
                self.copying = Some(Copying::default());
                self.copy();
            }
            Outcome::Copied => self.copy(),
        }
    }

    /// The next part of a checkpoint.
    fn copy(&mut self) {
        if let (Some(dir), Some(copying)) = (&self.data_dir, &mut self.copying) {
            let (part, last) = copying.part(&self.peer);
            dir.entries.copy(part, last);
            if last {
                self.copying = None;
            }
        }
    }

    /// Writes down what is left. Why the node could not go on, if so.
    pub(crate) async fn finish(mut self) -> Option<Fatal> {
        if let Some(dir) = self.data_dir.take() {
            dir.entries.finish().await;
            dir.state.finish().await;
        }
        self.fatal.take()
    }

    /// Lets the core know first when the process was suspended. `false` when
    /// the system has no entropy to go on with: a node that might repeat a
    /// nonce must not speak, so it stays deaf until there is some.
    fn wake_up(&mut self) -> bool {
        let now = clock::now();
        if !self.peer.slept(now) {
            return true;
        }
        match clock::entropy() {
            Ok(seed) => {
                self.peer.handle(now, Input::Thawed { seed });
                true
            }
            Err(error) => {
                tracing::error!(target: "dui", event = "no_entropy", %error);
                false
            }
        }
    }

    async fn carry_out_one(&mut self, output: Output) {
        match output {
            Output::Send { to, bytes } => {
                if !self.udp.send(to, &bytes) {
                    self.denied.push(to);
                }
            }
            Output::Beacon { bytes } => self.discovery.announce(&bytes),
            Output::StreamOpen { stream, to } => {
                self.streams.open(stream, to);
            }
            Output::StreamSend { stream, bytes } => {
                let sent = self.streams.send(stream, &bytes);
                self.note_end(stream, sent);
            }
            Output::StreamClose { stream } => self.streams.close(stream),
            Output::Persist(record) => {
                self.know(&record.known);
                if let Some(dir) = &mut self.data_dir {
                    dir.state.write(record).await;
                }
            }
            Output::Store {
                batch,
                entries,
                removed,
            } => match &self.data_dir {
                Some(dir) => dir.entries.store(batch, entries, removed),
                None => self.stored = Some(batch),
            },
            Output::Written { ticket, result } => self.writes.done(ticket, result),
            Output::Event(event) => self.take_event(event),
            Output::WakeAt { at, why } => {
                tracing::trace!(target: "dui", event = "wake_at", ?at, ?why);
                self.wake_at = Some(at);
            }
        }
    }

    fn note_end(&mut self, stream: StreamId, result: Result<(), EndOfStream>) {
        if let Err(how) = result {
            self.ended.push((stream, how));
        }
    }

    fn take_event(&mut self, event: Event) {
        journal::tell(&event);
        match &event {
            Event::Left { acked, wanted } => self.leave.finish(LeaveOutcome {
                acked: *acked,
                wanted: *wanted,
            }),
            Event::Fatal(fatal) => self.fatal = Some(fatal.clone()),
            _ => {}
        }
        self.history.add(event);
        self.discovery.set_alone(self.peer.alone());
    }

    fn others_alive(&self) -> usize {
        let own = self.peer.this().member.id;
        let members = self.peer.members();
        let alive = |state| matches!(state, MemberState::Alive | MemberState::Suspect);
        members
            .iter()
            .filter(|member| member.id != own && alive(member.state))
            .count()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // However the driver ended, by a bug or with its runtime: nobody waits
        // for events that cannot come.
        self.history.close();
    }
}
