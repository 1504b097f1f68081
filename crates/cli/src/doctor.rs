//! `dui doctor`: why nodes do not find each other, and what to do about it.
//!
//! A node that runs here is asked, since it alone sees what its sockets see.
//! Where none runs, this host is examined as `dui run` with the same settings
//! would find it: a node that cannot start needs a doctor most.

use std::io::Write;

use dui_client::{Check, CheckState, Client, Diagnosis, Error, Finding};
use dui_node::PeerPlace;

use crate::args::DoctorArgs;
use crate::ask;
use crate::failure::{FAILED, Failure};
use crate::screen::Screen;
use crate::settings::{Loaded, Settings, load_for};
use crate::table::{Cell, Paint, Table, wrap};
use crate::{plan, run};

/// Examines and tells; exit code 0: nothing is wrong.
pub(crate) async fn doctor(args: DoctorArgs) -> Result<u8, Failure> {
    let loaded = load_for(&args.flags, args.config.as_deref());
    let found = match asked(&args, &loaded).await? {
        Some(found) => found,
        None => examined(loaded).await,
    };
    let screen = Screen::stdout();
    if args.json {
        screen.print(&ask::json(&found)?)?;
    } else {
        screen.print(&picture(&found, screen.columns(), screen.colour))?;
    }
    Ok(if found.healthy { 0 } else { FAILED })
}

/// What the running node says; `None` where none answers.
async fn asked(
    args: &DoctorArgs,
    loaded: &Result<Loaded, Vec<String>>,
) -> Result<Option<Diagnosis>, Failure> {
    let settings = loaded.as_ref().ok().map(|loaded| &loaded.settings);
    let client = match (&args.ask.addr, settings) {
        (None, Some(settings)) if settings.client_port.asked() => {
            Client::new(&format!("127.0.0.1:{}", settings.client_port.value.0))?
        }
        _ => ask::client(&args.ask)?,
    };
    match client.this().await {
        Ok(_) => {}
        Err(error @ Error::Problem(_)) => return Err(error.into()),
        Err(error) => {
            // If stderr is gone, the findings still tell.
            let _ = writeln!(
                std::io::stderr(),
                "dui: {error}; examining this host instead"
            );
            return Ok(None);
        }
    }
    let join = settings.map(|settings| settings.join.value.as_slice());
    let join = join.unwrap_or_default().iter().map(PeerPlace::to_string);
    Ok(Some(client.doctor(&join.collect::<Vec<_>>()).await?))
}

/// What this process finds by itself.
async fn examined(loaded: Result<Loaded, Vec<String>>) -> Diagnosis {
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => return unusable(problems),
    };
    let keys = match run::keyring(&loaded) {
        Ok((keys, _)) => keys,
        Err(failure) => return unusable(vec![failure.text]),
    };
    let settings: &Settings = &loaded.settings;
    match run::planned(settings, keys) {
        Ok(options) => {
            let tcp = [
                ("client", plan::port(&settings.client_port)),
                ("health", plan::port(&settings.health_port)),
            ];
            dui_api::diagnosis(&dui_node::examine_here(options, &tcp).await)
        }
        Err(problem) => unusable(vec![problem]),
    }
}

/// With these settings there is no node to examine anything.
fn unusable(problems: Vec<String>) -> Diagnosis {
    let finding = |detail: String| Finding {
        code: "configuration".into(),
        subject: "the settings of this node".into(),
        detail,
        remedy: "set that right; `dui run --print-config` shows what is in force".into(),
    };
    Diagnosis {
        healthy: false,
        findings: problems.into_iter().map(finding).collect(),
        checks: vec![Check {
            name: "sockets".into(),
            subject: "this node".into(),
            state: CheckState::Wrong,
            detail: "nothing else can be tried before".into(),
        }],
    }
}

/// Checks as a table, then each finding with its remedy.
fn picture(found: &Diagnosis, columns: usize, colour: bool) -> String {
    let mut table = Table::new(&["CHECK", "RESULT", "ABOUT", "WITH"]);
    for check in &found.checks {
        let (word, paint) = match check.state {
            CheckState::Ok => ("ok", Paint::Good),
            CheckState::Wrong => ("wrong", Paint::Bad),
            CheckState::Skipped => ("not checked", Paint::Dim),
        };
        table.row(vec![
            check.name.as_str().into(),
            Cell::painted(word, paint),
            check.detail.as_str().into(),
            check.subject.as_str().into(),
        ]);
    }
    let mut text = table.render(columns, colour);
    if found.healthy {
        let nobody = found
            .checks
            .iter()
            .any(|check| check.name == "answers" && check.state == CheckState::Skipped);
        text.push_str(if nobody {
            "\nNothing is wrong here, and no other node was found to try the rest with.\n"
        } else {
            "\nNothing is wrong, as far as was checked.\n"
        });
        return text;
    }
    for finding in &found.findings {
        let head = format!("{}: {}", finding.code, finding.subject);
        // A name of somebody else must not move our cursor.
        let head: String = head.chars().filter(|c| !c.is_control()).collect();
        text.push('\n');
        for (place, line) in wrap(&head, columns).iter().enumerate() {
            let paint = if place == 0 {
                Paint::Bold
            } else {
                Paint::Plain
            };
            text.push_str(&format!("{}\n", paint.on(line, colour)));
        }
        for (mark, part) in [("  ", &finding.detail), ("  → ", &finding.remedy)] {
            let indent = mark.chars().count();
            let part: String = part.chars().filter(|c| !c.is_control()).collect();
            for (place, line) in wrap(&part, columns.saturating_sub(indent))
                .iter()
                .enumerate()
            {
                let lead = if place == 0 {
                    mark.to_owned()
                } else {
                    " ".repeat(indent)
                };
                text.push_str(&format!("{lead}{line}\n"));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_shown_whole_and_fit_80_columns() {
        let mut found = unusable(vec![format!(
            "the key file /etc/dui/{} is none",
            "x ".repeat(200)
        )]);
        found.findings[0].subject = "n02\x1b[2J (10.0.0.2:7781)".into();
        let text = picture(&found, 80, false);
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(text.contains("configuration: n02"), "{text}");
        assert!(text.contains("  → set that right"), "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }

    #[test]
    fn a_lone_node_is_told_that_there_was_nobody_to_try_with() {
        let check = Check {
            name: "answers".into(),
            subject: String::new(),
            state: CheckState::Skipped,
            detail: "no other node was found".into(),
        };
        let found = Diagnosis {
            healthy: true,
            findings: Vec::new(),
            checks: vec![check],
        };
        assert!(picture(&found, 80, false).contains("no other node was found to try"));
    }
}
