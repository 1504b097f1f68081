//! Shrink: the smallest case that still breaks the same rule.
//!
//! Faults are taken out in halves, then quarters, down to single ones (delta
//! debugging, Zeller and Hildebrandt, 2002); then nodes, as long as it fails.

use super::Case;
use crate::check::Violation;

/// Runs spent at most.
const TRIES_MAX: u32 = 400;

/// A smaller case that breaks the same rule, and how.
pub fn shrink(case: &Case, broken: Violation) -> (Case, Violation) {
    let mut search = Search {
        case: case.clone(),
        broken,
        tries: 0,
    };
    // With fewer nodes other faults may be left out, and the other way round.
    loop {
        let before = search.case.clone();
        search.drop_nodes();
        search.drop_faults();
        if search.case == before {
            return (search.case, search.broken);
        }
    }
}

struct Search {
    case: Case,
    broken: Violation,
    tries: u32,
}

impl Search {
    /// Whether a smaller case breaks the rule as well; then it is the case.
    fn accept(&mut self, smaller: Case) -> bool {
        self.tries += 1;
        match smaller.play() {
            Err(broken) if broken.rule == self.broken.rule => {
                self.case = smaller;
                self.broken = broken;
                true
            }
            _ => false,
        }
    }

    fn drop_faults(&mut self) {
        let numbers = |case: &Case| -> Vec<usize> {
            case.plan()
                .faults
                .iter()
                .map(|(number, ..)| *number)
                .collect()
        };
        let mut size = numbers(&self.case).len().div_ceil(2);
        while size > 0 {
            let mut from = 0;
            while from < numbers(&self.case).len() && self.tries < TRIES_MAX {
                let mut only = numbers(&self.case);
                only.drain(from..(from + size).min(only.len()));
                let smaller = Case {
                    only: Some(only),
                    ..self.case.clone()
                };
                if !self.accept(smaller) {
                    from += size;
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }

    fn drop_nodes(&mut self) {
        let mut step = self.case.plan().nodes / 2;
        while step > 0 && self.tries < TRIES_MAX {
            let nodes = self.case.plan().nodes;
            let smaller = Case {
                nodes: Some(nodes - step),
                ..self.case.clone()
            };
            if nodes - step < 2 || !self.accept(smaller) {
                step /= 2;
            }
        }
    }
}
