//! dui-sim: chaos and trials from the command line.
//!
//! stdout is data: a line for each thousand seeds and one at the end, or what
//! was broken, with the command that repeats it. Progress goes to stderr, if
//! that is a terminal. Exit code 1: a rule was broken. 2: usage.

use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dui_sim::Trace;
use dui_sim::chaos::{Case, Stage, Tally, shrink};
use dui_sim::trials::{Minute, Outcome, Trial};

/// As the node's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
usage: dui-sim chaos --seeds A..B [--nodes N] [--faults I,J,…] [--bug NAME] [--plan] [--trace] [--whole]

  --seeds A..B    play these, A included, B not
  --nodes N       with so many nodes instead of the seed's
  --faults I,…    with these of the seed's faults only, by number
  --bug NAME      with nodes that make this mistake (built with --features bugs)
  --plan          print each seed's plan first
  --trace         print everything that happens, and its fingerprint
  --hash          print the fingerprint of everything that happens
  --whole         do not look for a smaller case when a rule is broken

       dui-sim partition|one-way|loss [--nodes N] [--minutes M] [--seed S]

  lets it befall a cluster for so long, and tells what its nodes told meanwhile
  and when they agreed afterwards";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let trial = args.first().and_then(|name| Trial::named(name));
    let done = match trial {
        Some(trial) => try_out(trial, &args[1..]),
        None => Asked::parse(&args).map(Asked::play),
    };
    match done {
        Ok(code) => code,
        Err(what) => {
            eprintln!("dui-sim: {what}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// What the command line asks for.
struct Asked {
    seeds: Range<u64>,
    case: Case,
    plan: bool,
    trace: bool,
    hash: bool,
    whole: bool,
}

impl Asked {
    fn parse(args: &[String]) -> Result<Self, String> {
        let mut args = args.iter().map(String::as_str);
        match args.next() {
            Some("chaos") => {}
            other => return Err(format!("no such command: {}", other.unwrap_or("none"))),
        }
        let mut asked = Self {
            seeds: 0..0,
            case: Case::default(),
            plan: false,
            trace: false,
            hash: false,
            whole: false,
        };
        while let Some(flag) = args.next() {
            let mut value = || args.next().ok_or(format!("{flag} wants a value"));
            match flag {
                "--seeds" => asked.seeds = range(value()?)?,
                "--nodes" => asked.case.nodes = Some(number(value()?)?),
                "--faults" => {
                    let numbers = value()?.split(',').filter(|part| !part.is_empty());
                    asked.case.only = Some(numbers.map(number).collect::<Result<_, _>>()?);
                }
                "--bug" => asked.set_bug(value()?)?,
                "--plan" => asked.plan = true,
                "--trace" => asked.trace = true,
                "--hash" => asked.hash = true,
                "--whole" => asked.whole = true,
                other => return Err(format!("no such flag: {other}")),
            }
        }
        if asked.seeds.is_empty() {
            return Err("--seeds A..B is needed, with A below B".into());
        }
        Ok(asked)
    }

    #[cfg(feature = "bugs")]
    fn set_bug(&mut self, name: &str) -> Result<(), String> {
        let bug = dui_core::Bug::ALL
            .into_iter()
            .find(|bug| bug.as_str() == name);
        self.case.bug = Some(bug.ok_or_else(|| {
            let all: Vec<_> = dui_core::Bug::ALL.iter().map(|bug| bug.as_str()).collect();
            format!("no such bug: {name}; there are {}", all.join(", "))
        })?);
        Ok(())
    }

    #[cfg(not(feature = "bugs"))]
    fn set_bug(&mut self, _: &str) -> Result<(), String> {
        Err("--bug needs a binary that was built with --features bugs".into())
    }

    fn play(self) -> ExitCode {
        let began = Instant::now();
        let mut tally = Tally::default();
        let mut progress = Progress::new(&self.seeds);
        for seed in self.seeds.clone() {
            let case = Case {
                seed,
                ..self.case.clone()
            };
            progress.show(&tally, began);
            if self.plan {
                println!("{:#?}", case.plan());
            }
            let mut stage = Stage::new(&case);
            if self.trace {
                stage.world.trace = Trace::text(|line| println!("{line}"));
            } else if self.hash {
                stage.world.trace = Trace::hashed();
            }
            match stage.play_through() {
                Ok(played) => {
                    if let Some(fingerprint) = &played.fingerprint {
                        println!("seed {seed}: {fingerprint}");
                    }
                    tally.add(seed, &played);
                }
                Err(broken) => {
                    progress.clear();
                    println!("seed {seed}: {broken}");
                    let case = if self.whole {
                        case
                    } else {
                        let (smaller, broken) = shrink(&case, broken);
                        let plan = smaller.plan();
                        println!(
                            "smaller: {} nodes, {} faults: {broken}",
                            plan.nodes,
                            plan.faults.len()
                        );
                        smaller
                    };
                    println!("repeat: dui-sim {case}");
                    println!("{}", summary(&tally, began));
                    return ExitCode::FAILURE;
                }
            }
            if tally.seeds % 1_000 == 0 {
                progress.clear();
                println!("{}", summary(&tally, began));
            }
        }
        progress.clear();
        println!("{}", summary(&tally, began));
        ExitCode::SUCCESS
    }
}

/// One line that is written over, twice a second.
struct Progress {
    seeds: u64,
    shown: Option<Instant>,
    on: bool,
}

impl Progress {
    fn new(seeds: &Range<u64>) -> Self {
        Self {
            seeds: seeds.end - seeds.start,
            shown: None,
            on: std::io::stderr().is_terminal(),
        }
    }

    fn show(&mut self, tally: &Tally, began: Instant) {
        const EVERY: Duration = Duration::from_millis(500);
        if !self.on || self.shown.is_some_and(|shown| shown.elapsed() < EVERY) {
            return;
        }
        self.shown = Some(Instant::now());
        let (done, all) = (tally.seeds, self.seeds);
        let took = began.elapsed().as_secs_f64();
        let left = match done {
            0 => String::new(),
            _ => format!(", {:.0} s left", took / done as f64 * (all - done) as f64),
        };
        let hours = tally.virtual_time.as_secs_f64() / 3_600.0;
        // Who watches a terminal that is gone watches nothing.
        let _ = write!(
            std::io::stderr(),
            "\r\x1b[K{done} of {all} seeds, {hours:.1} virtual hours{left}"
        );
    }

    fn clear(&self) {
        if self.shown.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn summary(tally: &Tally, began: Instant) -> String {
    format!(
        "{} seeds, {} nodes, {} faults, {:.1} virtual hours, {} inputs, {:.1} s; agreed after {:.1} s at most (seed {})",
        tally.seeds,
        tally.nodes,
        tally.faults,
        tally.virtual_time.as_secs_f64() / 3_600.0,
        tally.inputs,
        began.elapsed().as_secs_f64(),
        tally.agreed_after_max.as_secs_f64(),
        tally.slowest_seed,
    )
}

/// One line for each minute in which something was told, then the outcome.
fn try_out(trial: Trial, args: &[String]) -> Result<ExitCode, String> {
    let (mut nodes, mut minutes, mut seed) = (100, 30, 1);
    let mut args = args.iter().map(String::as_str);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or(format!("{flag} wants a value"))?;
        match flag {
            "--nodes" => nodes = number(value)?,
            "--minutes" => minutes = number(value)?,
            "--seed" => seed = number(value)?,
            other => return Err(format!("no such flag: {other}")),
        }
    }
    let began = Instant::now();
    let span = Duration::from_secs(60 * minutes as u64);
    let Some(outcome) = trial.run(nodes, span, seed as u64) else {
        println!("they do not find each other");
        return Ok(ExitCode::FAILURE);
    };
    let Outcome {
        joined_after,
        settled_after,
        minutes: told,
        alive,
        agreed_after,
    } = outcome;
    let secs = |after: Duration| format!("{:.2} s", after.as_secs_f64());
    println!("joined after {}", secs(joined_after));
    for (minute, told) in told.iter().enumerate() {
        if told != &Minute::default() {
            println!(
                "minute {minute}: {} suspected, {} failed, {} wronged, {} alive",
                told.suspected, told.failed, told.wronged, told.alive
            );
        }
    }
    println!(
        "settled after {}",
        settled_after.map_or("0.00 s".into(), secs)
    );
    for (members, holders) in alive {
        println!("{holders} nodes hold {members} alive");
    }
    println!("agreed after {}", agreed_after.map_or("never".into(), secs));
    eprintln!("{:.1} s", began.elapsed().as_secs_f64());
    Ok(match agreed_after {
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    })
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let bad = || format!("'{text}' is not a range: write A..B");
    let (from, to) = text.split_once("..").ok_or_else(bad)?;
    Ok(from.parse().map_err(|_| bad())?..to.parse().map_err(|_| bad())?)
}

fn number(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| format!("'{text}' is not a number"))
}
