//! dui-sim: chaos from the command line.
//!
//! stdout is data: a line for each thousand seeds and one at the end, or what
//! was broken, with the command that repeats it. Exit code 1: a rule was
//! broken. 2: usage.

use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use dui_sim::Trace;
use dui_sim::chaos::{Case, Stage, Tally, shrink};

const USAGE: &str = "\
usage: dui-sim chaos --seeds A..B [--nodes N] [--faults I,J,…] [--bug NAME] [--plan] [--trace] [--whole]

  --seeds A..B    play these, A included, B not
  --nodes N       with so many nodes instead of the seed's
  --faults I,…    with these of the seed's faults only, by number
  --bug NAME      with nodes that make this mistake (built with --features bugs)
  --plan          print each seed's plan first
  --trace         print everything that happens, and its fingerprint
  --hash          print the fingerprint of everything that happens
  --whole         do not look for a smaller case when a rule is broken";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match Asked::parse(&args) {
        Ok(asked) => asked.play(),
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
        for seed in self.seeds.clone() {
            let case = Case {
                seed,
                ..self.case.clone()
            };
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
                println!("{}", summary(&tally, began));
            }
        }
        println!("{}", summary(&tally, began));
        ExitCode::SUCCESS
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

fn range(text: &str) -> Result<Range<u64>, String> {
    let bad = || format!("'{text}' is not a range: write A..B");
    let (from, to) = text.split_once("..").ok_or_else(bad)?;
    Ok(from.parse().map_err(|_| bad())?..to.parse().map_err(|_| bad())?)
}

fn number(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| format!("'{text}' is not a number"))
}
