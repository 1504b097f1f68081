//! `dui up`: a cluster on this machine, to see what dui does.
//!
//! Each node is a process of its own, so that it can be killed; all of them
//! leave when this one is asked to stop, and none outlives it. The view is
//! what one of the nodes answers, as any client would see it.

mod child;

use std::time::Duration;

use dui_client::{Client, Member, MemberState};
use tokio::sync::mpsc;

use crate::args::UpArgs;
use crate::ask::table;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::signals::{Asked, QUIT, Signals};
use crate::table::Paint;
use child::{Child, News};

/// Longest wait for children to leave: their own limit and a margin.
const LEAVE_MAX: Duration = Duration::from_secs(12);

/// Runs until it is told to stop, or no node is left.
pub(crate) async fn up(args: UpArgs) -> Result<u8, Failure> {
    let mut signals = Signals::install()
        .map_err(|error| Failure::failed(format!("cannot handle signals: {error}")))?;
    let cluster = match args.cluster {
        Some(name) => name.to_string(),
        None => own_cluster()?,
    };
    let (report, mut news) = mpsc::channel(64);
    let mut town = Town {
        cluster,
        children: Vec::new(),
        screen: Screen::stdout(),
        shown: None,
    };
    for index in 0..usize::from(args.nodes) {
        town.children
            .push(Child::spawn(index, &town.cluster, report.clone())?);
    }
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            Some(news) = news.recv() => town.hear(news),
            _ = tick.tick(), if town.screen.terminal => {}
            asked = signals.next() => match asked {
                Asked::Leave { .. } => break,
                Asked::Quit => return Ok(QUIT),
                Asked::Reload => continue,
            },
        }
        if town.children.iter().all(Child::gone) {
            return Err(Failure::failed(town.obituary()));
        }
        tokio::select! {
            shown = town.show() => shown?,
            // A node that is stopped answers late; nobody should wait for it to stop us.
            asked = signals.next() => match asked {
                Asked::Leave { .. } => break,
                Asked::Quit => return Ok(QUIT),
                Asked::Reload => {}
            },
        }
    }
    tokio::select! {
        code = town.leave(&mut news) => code,
        // Children die with us: see `Child::spawn`.
        code = signals.impatience(|| {}) => Ok(code),
    }
}

/// A name that no other cluster of this machine has.
fn own_cluster() -> Result<String, Failure> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::failed(format!("no randomness: {error}")))?;
    Ok(format!("up-{:08x}", u32::from_be_bytes(bytes)))
}

/// The nodes and the picture of them.
struct Town {
    cluster: String,
    children: Vec<Child>,
    screen: Screen,
    /// What was printed last where nothing is drawn in place.
    shown: Option<Sight>,
}

/// What makes a new picture worth printing: states, not ages.
#[derive(PartialEq, Eq)]
struct Sight {
    states: Vec<(String, MemberState)>,
    agreeing: usize,
}

impl Town {
    fn hear(&mut self, news: News) {
        match news {
            News::Changed => {}
            News::Ready { index, ready } => self.children[index].ready = Some(ready),
            News::Trouble { index, line } => self.children[index].trouble = Some(line),
            News::Gone { index, status } => self.children[index].status = Some(status),
        }
    }

    async fn show(&mut self) -> Result<(), Failure> {
        let alive = self.children.iter().filter(|child| !child.gone()).count();
        let mut agreeing = 0;
        let mut view: Option<Vec<Member>> = None;
        for child in self.children.iter().filter(|child| !child.gone()) {
            let Some(members) = child.members().await else {
                continue;
            };
            let seen = members
                .iter()
                .filter(|member| member.state == MemberState::Alive);
            agreeing += usize::from(seen.count() == alive);
            view.get_or_insert(members);
        }
        let Some(members) = view else {
            return Ok(());
        };
        let states = members
            .iter()
            .map(|member| (member.name.clone(), member.state));
        let sight = Sight {
            states: states.collect(),
            agreeing,
        };
        let first = self.shown.is_none();
        let worth_printing = self.shown.as_ref() != Some(&sight) && (!first || agreeing == alive);
        if self.screen.terminal || worth_printing {
            let picture = self.picture(&members, agreeing, alive);
            self.screen.draw(&picture)?;
            self.shown = Some(sight);
        }
        Ok(())
    }

    fn picture(&self, members: &[Member], agreeing: usize, alive: usize) -> String {
        let colour = self.screen.colour;
        let heading = format!("Cluster {}: ", self.cluster);
        let agreement = if agreeing == alive {
            Paint::Good.on(&format!("all {alive} running nodes see each other"), colour)
        } else {
            Paint::Doubtful.on(
                &format!("{agreeing} of {alive} running nodes see all of them"),
                colour,
            )
        };
        let mut picture = format!("{}{agreement}\n\n", Paint::Bold.on(&heading, colour));
        picture.push_str(&table(members, self.screen.columns(), colour));
        picture.push('\n');
        let mut running = self.children.iter().filter(|child| !child.gone());
        let (ask, kill) = (running.clone().next(), running.next_back());
        if let Some(ready) = ask.and_then(|child| child.ready.as_ref()) {
            picture.push_str(&format!("ask    dui members --addr {}\n", ready.client));
        }
        if let Some((child, ready)) = kill.and_then(|child| Some((child, child.ready.as_ref()?))) {
            picture.push_str(&format!("leave  dui leave --addr {}\n", ready.client));
            picture.push_str(&format!("crash  kill -9 {}  # {}\n", child.pid, ready.name));
        }
        picture.push_str(&match self.screen.terminal {
            true => "stop   Ctrl-C: all leave\n".into(),
            false => format!("stop   kill {}: all leave\n", std::process::id()),
        });
        picture
    }

    /// Makes every child leave and waits for that.
    async fn leave(&mut self, news: &mut mpsc::Receiver<News>) -> Result<u8, Failure> {
        let asked: Vec<usize> = (0..self.children.len())
            .filter(|index| !self.children[*index].gone())
            .collect();
        for index in &asked {
            self.children[*index].terminate();
        }
        let all_gone = async {
            while !self.children.iter().all(Child::gone) {
                match news.recv().await {
                    Some(news) => self.hear(news),
                    None => break,
                }
            }
        };
        let in_time = tokio::time::timeout(LEAVE_MAX, all_gone).await.is_ok();
        let clean = |index: &&usize| self.children[**index].status == Some(Some(0));
        let left = asked.iter().filter(clean).count();
        self.screen
            .print(&format!("{left} of {} nodes left\n", asked.len()))?;
        Ok(u8::from(!in_time || left < asked.len()))
    }

    fn obituary(&self) -> String {
        let last_words = self
            .children
            .iter()
            .find_map(|child| child.trouble.as_deref());
        match last_words {
            Some(words) => format!("every node has stopped; one said: {words}"),
            None => "every node has stopped".into(),
        }
    }
}

/// A client that gives up soon: the view must not wait for a stopped node.
fn quick_client(address: &str) -> Option<Client> {
    let client = Client::new(address).ok()?;
    Some(client.with_timeout(Duration::from_millis(500)))
}
