//! Sim: a cluster of thousands in virtual time: `dui sim`.
//!
//! What is printed depends on the arguments alone: the machine decides only
//! how long it takes, which stderr tells.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::str::FromStr;
use std::time::{Duration, Instant};

use dui_sim::Latency;
use dui_sim::scale::{self, Figures, Progress, Scale, Times};
use serde_json::{Value, json};

use crate::args::SimArgs;
use crate::duration;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::table::Table;

/// Simulates, prints the figures, draws the plot.
pub(crate) fn sim(args: &SimArgs) -> Result<(), Failure> {
    let scale = args.scale();
    let started = Instant::now();
    let mut bar = Bar::new();
    let figures = match args.scheme {
        Scheme::Dui => scale::run(&scale, &mut |progress| bar.show(progress)),
        Scheme::Memberlist => scale::memberlist(&scale),
    };
    bar.clear();
    let wall = started.elapsed().as_secs_f64();
    let simulated = figures.virtual_time.as_secs_f64();
    // If stderr is gone, nobody wants to know.
    let _ = writeln!(
        io::stderr(),
        "dui: {simulated:.1} s of {} nodes simulated in {wall:.1} s",
        figures.nodes
    );
    if let Some(path) = &args.out {
        std::fs::write(path, scale::plot(&figures)).map_err(|error| {
            Failure::failed(format!("cannot write {}: {error}", path.display()))
        })?;
    }
    let screen = Screen::stdout();
    let text = if args.json {
        format!("{}\n", json(&figures))
    } else {
        table(&figures, &screen)
    };
    Ok(screen.print(&text)?)
}

impl SimArgs {
    fn scale(&self) -> Scale {
        let mut scale = Scale {
            nodes: self.nodes as usize,
            acquainted: self.acquainted,
            seed: self.seed,
            latency: self.latency.0,
            loss_ppm: self.loss.ppm,
            events: self.events as usize,
            idle: self.idle,
            stalled: self.stalled as usize,
            kill: self.kill as usize,
            leave: self.leave as usize,
            join: self.join as usize,
            evidence: !self.no_evidence,
            sealed: !self.insecure,
            ..Scale::default()
        };
        for constant in &self.set {
            // It was tried when it was read.
            let _ = (constant.set)(&mut scale, &constant.value);
        }
        scale
    }
}

fn json(figures: &Figures) -> Value {
    let times = |sorted: &[Duration]| {
        Times::of(sorted)
            .map(|times| json!({"p50": times.p50_ms, "p99": times.p99_ms, "last": times.last_ms}))
    };
    let rounded = |value: f64| (value * 1_000.0).round() / 1_000.0;
    json!({
        "nodes": figures.nodes,
        "seed": figures.seed,
        "virtual_s": rounded(figures.virtual_time.as_secs_f64()),
        "join_ms": times(&figures.join),
        "newcomers_ms": times(&figures.newcomers),
        "spread_ms": times(&figures.spread),
        "spread_last_ms": times(&figures.spread_last),
        "detect_ms": times(&figures.detect),
        "leave_ms": times(&figures.leave),
        "false_failed": figures.false_failed,
        "stalled_failed": figures.stalled_failed,
        "false_suspected": figures.false_suspected,
        "stalled_suspected": figures.stalled_suspected,
        "sends_per_node": rounded(figures.sends.mean()),
        "sends_max": figures.sends.max,
        "ids_per_node": rounded(figures.ids.mean()),
        "ids_max": figures.ids.max,
        "bytes_per_node_s": rounded(figures.bytes_per_node_s),
        "trace_hash": figures.trace_hash,
    })
}

fn table(figures: &Figures, screen: &Screen) -> String {
    let mut table = Table::new(&["WHAT", "HALF", "99 %", "LAST", "UNIT"]);
    let rows = [
        ("all start, until one sees all", &figures.join),
        ("a newcomer, until it sees all", &figures.newcomers),
        ("an event, until one has it", &figures.spread),
        ("an event, until the last has it", &figures.spread_last),
        ("a death, until one knows", &figures.detect),
        ("a leave, until one knows", &figures.leave),
    ];
    for (what, times) in rows {
        if let Some(times) = Times::of(times) {
            let cell = |ms: f64| format!("{ms:.1}").into();
            let times = [times.p50_ms, times.p99_ms, times.last_ms].map(cell);
            let [half, most, last] = times;
            table.row(vec![what.into(), half, most, last, "ms".into()]);
        }
    }
    let mut text = table.render(screen.columns(), screen.colour);
    text.push_str(&format!(
        "\ncalled failed, and lived     {} ({} more were overloaded)\n\
         full sends of an event       {:.1} a node, {} at most\n\
         ids of an event sent         {:.1} a node, {} at most\n\
         sent while nothing happens   {:.0} bytes a node and second\n\
         seed {}, trace {}\n",
        figures.false_failed,
        figures.stalled_failed,
        figures.sends.mean(),
        figures.sends.max,
        figures.ids.mean(),
        figures.ids.max,
        figures.bytes_per_node_s,
        figures.seed,
        figures.trace_hash.get(..16).unwrap_or_default(),
    ));
    text
}

/// How far it is, on one line of a terminal.
struct Bar {
    terminal: bool,
    shown: Option<Instant>,
}

const SHOW_EVERY: Duration = Duration::from_millis(200);
const BAR_COLUMNS: usize = 30;

impl Bar {
    fn new() -> Self {
        let terminal = io::stderr().is_terminal();
        let shown = None;
        Self { terminal, shown }
    }

    fn show(&mut self, progress: Progress) {
        let fresh = self.shown.is_some_and(|at| at.elapsed() < SHOW_EVERY);
        if !self.terminal || fresh {
            return;
        }
        self.shown = Some(Instant::now());
        let full = (progress.done.clamp(0.0, 1.0) * BAR_COLUMNS as f64) as usize;
        let bar = "━".repeat(full) + &" ".repeat(BAR_COLUMNS - full);
        let _ = write!(
            io::stderr(),
            "\r\x1b[K{:<7}{bar} {:.1} s",
            progress.stage,
            progress.now.as_secs_f64()
        );
    }

    fn clear(&self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// Whose protocol is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scheme {
    /// The nodes' own code.
    Dui,
    /// A model of memberlist.
    Memberlist,
}

/// `5`, `0.1`: of a hundred.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Percent {
    ppm: u32,
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number: f64 = text
            .parse()
            .map_err(|_| format!("'{text}' is not a number"))?;
        if !(0.0..=100.0).contains(&number) {
            return Err("a percentage is between 0 and 100".into());
        }
        let ppm = (number * 10_000.0).round() as u32;
        Ok(Self { ppm })
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.ppm) / 10_000.0)
    }
}

/// `1ms`, or `1ms..20ms`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delay(Latency);

impl FromStr for Delay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((min, max)) = text.split_once("..") else {
            return Ok(Self(Latency::Constant(time(text)?)));
        };
        let (min, max) = (time(min)?, time(max)?);
        if min > max {
            return Err(format!("{min:?} is more than {max:?}"));
        }
        Ok(Self(Latency::Uniform { min, max }))
    }
}

/// A length of time.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    duration::parse(text).ok_or_else(|| format!("'{text}' is no time: write 500ms, 8s, 2m, 1h"))
}

/// A constant of the protocol, and what it is to be.
#[derive(Clone, Debug)]
pub(crate) struct Constant {
    set: Set,
    value: String,
}

type Set = fn(&mut Scale, &str) -> Result<(), String>;

fn whole<T: FromStr>(place: &mut T, value: &str) -> Result<(), String> {
    *place = value
        .parse()
        .map_err(|_| format!("'{value}' is not a whole number in range"))?;
    Ok(())
}

fn span(place: &mut Duration, value: &str) -> Result<(), String> {
    *place = time(value)?;
    Ok(())
}

const CONSTANTS: &[(&str, Set)] = &[
    ("probe-interval", |to, value| {
        span(&mut to.probe_interval, value)
    }),
    ("probe-unit", |to, value| {
        span(&mut to.tuning.probe_unit, value)
    }),
    ("relays", |to, value| whole(&mut to.tuning.relays, value)),
    ("suspicion-min", |to, value| {
        span(&mut to.tuning.suspicion_min, value)
    }),
    ("suspicion-max-times", |to, value| {
        whole(&mut to.tuning.suspicion_max_times, value)
    }),
    ("accusers", |to, value| {
        whole(&mut to.tuning.accusers, value)
    }),
    ("awareness-max", |to, value| {
        whole(&mut to.tuning.awareness_max, value)
    }),
    ("witnesses", |to, value| {
        whole(&mut to.tuning.witnesses, value)
    }),
    ("full-rings", |to, value| {
        whole(&mut to.tuning.full_rings, value)
    }),
    ("repair-rings", |to, value| {
        whole(&mut to.tuning.repair_rings, value)
    }),
    ("repair-first", |to, value| {
        span(&mut to.tuning.repair_first, value)
    }),
    ("storm-batch", |to, value| {
        span(&mut to.tuning.storm_batch, value)
    }),
    ("input-cost", |to, value| span(&mut to.input_cost, value)),
    ("merge-cost", |to, value| span(&mut to.merge_cost, value)),
];

/// `suspicion-min=2s`.
pub(crate) fn constant(text: &str) -> Result<Constant, String> {
    let names = || {
        CONSTANTS
            .iter()
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("write CONSTANT=VALUE; constants are {}", names()))?;
    let (_, set) = CONSTANTS
        .iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| format!("no constant is called '{name}'; there are {}", names()))?;
    set(&mut Scale::default(), value)?;
    Ok(Constant {
        set: *set,
        value: value.into(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn constants_are_set_by_name_and_wrong_ones_are_refused_with_the_right_names() {
        let mut scale = Scale::default();
        let two = constant("suspicion-min=2s").unwrap();
        (two.set)(&mut scale, &two.value).unwrap();
        assert_eq!(scale.tuning.suspicion_min, Duration::from_secs(2));
        for bad in ["suspicion-min=2", "suspicion-min", "relays=-1"] {
            assert!(constant(bad).is_err(), "{bad}");
        }
        assert!(constant("fanout=3").unwrap_err().contains("full-rings"));
    }

    #[test]
    fn percentages_and_delays_read_as_people_write_them() {
        assert_eq!("5".parse(), Ok(Percent { ppm: 50_000 }));
        assert_eq!("0.1".parse::<Percent>().unwrap().to_string(), "0.1");
        assert!("101".parse::<Percent>().is_err() && "NaN".parse::<Percent>().is_err());
        assert!("20ms..1ms".parse::<Delay>().is_err() && "1".parse::<Delay>().is_err());
        let Delay(delay) = "1ms..20ms".parse().unwrap();
        assert_eq!(delay.median(), Duration::from_micros(10_500));
    }
}
