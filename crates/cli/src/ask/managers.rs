//! `dui managers`: who votes, and who may.

use dui_client::{Manager, ManagerList, Part};

use super::{client, json};
use crate::args::{ManagersArgs, ManagersCommand, SeatArgs};
use crate::failure::Failure;
use crate::screen::Screen;
use crate::table::{Cell, Paint, Table};

/// Lists the managers, or says who may vote.
pub(crate) async fn managers(args: ManagersArgs) -> Result<(), Failure> {
    match args.command {
        Some(ManagersCommand::Promote(args)) => {
            let manager = client(&args.ask)?.promote(&args.node).await?;
            return report(&args, &manager, "may vote");
        }
        Some(ManagersCommand::Demote(args)) => {
            let manager = client(&args.ask)?.demote(&args.node).await?;
            return report(&args, &manager, "is to stand by");
        }
        None => {}
    }
    let list = client(&args.ask)?.managers().await?;
    let screen = Screen::stdout();
    let text = if args.json {
        json(&list)?
    } else {
        table(&list, screen.columns(), screen.colour)
    };
    Ok(screen.print(&text)?)
}

fn report(args: &SeatArgs, manager: &Manager, what: &str) -> Result<(), Failure> {
    let text = if args.json {
        json(manager)?
    } else {
        format!("{} {what}; it is {} now\n", manager.name, manager.part)
    };
    Ok(Screen::stdout().print(&text)?)
}

fn table(list: &ManagerList, columns: usize, colour: bool) -> String {
    let mut table = Table::new(&["NAME", "ADDRESS", "STATE", "PART", "DISK", "MATCHED"]);
    for manager in &list.managers {
        let durable = match manager.durable {
            Some(true) => "yes",
            Some(false) => "no",
            None => "-",
        };
        let matched = manager.matched;
        table.row(vec![
            manager.name.as_str().into(),
            manager.address.as_str().into(),
            manager.state.as_str().into(),
            Cell::painted(manager.part.as_str(), paint(manager.part)),
            durable.into(),
            matched
                .map_or_else(|| "-".into(), |at| at.to_string())
                .into(),
        ]);
    }
    let mut text = table.render(columns, colour);
    if list.changing {
        text.push_str("\nthose who vote are changing\n");
    }
    text
}

fn paint(part: Part) -> Paint {
    match part {
        Part::Leader => Paint::Bold,
        Part::Voter => Paint::Good,
        Part::Learner => Paint::Doubtful,
        _ => Paint::Dim,
    }
}

#[cfg(test)]
mod tests {
    use dui_client::MemberState;

    use super::*;

    #[test]
    fn managers_fit_80_columns_and_what_is_not_known_is_a_dash() {
        let manager = |name: &str, part, durable, matched| Manager {
            id: "7f3a".repeat(8),
            name: name.into(),
            address: "127.0.0.1:7781".into(),
            state: MemberState::Alive,
            part,
            durable,
            matched,
        };
        let mut list = ManagerList {
            managers: vec![
                manager("ann", Part::Leader, Some(true), Some(40)),
                manager("bo", Part::Standby, None, None),
            ],
            cluster_id: None,
            changing: true,
        };
        assert_eq!(
            table(&list, 80, false),
            "NAME  ADDRESS         STATE  PART     DISK  MATCHED\n\
             ann   127.0.0.1:7781  alive  leader   yes   40\n\
             bo    127.0.0.1:7781  alive  standby  -     -\n\
             \n\
             those who vote are changing\n"
        );
        list.managers[0].name = "n".repeat(63);
        list.managers[0].address = "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535".into();
        for line in table(&list, 80, false).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
