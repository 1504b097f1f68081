//! `dui leader`: who leads, and who shall.

use dui_client::{Client, Leader, LeaderState, WatchEvent, WatchFilter};

use super::{client, json};
use crate::args::{LeaderArgs, LeaderCommand, MoveArgs};
use crate::failure::Failure;
use crate::screen::Screen;
use crate::table::{Cell, Paint, Table, wrap};

/// Tells who leads, once or again at every change; exit code 1 when nobody does.
pub(crate) async fn leader(args: LeaderArgs) -> Result<u8, Failure> {
    if let Some(LeaderCommand::Move(args)) = args.command {
        return hand_over(args).await;
    }
    let client = client(&args.ask)?;
    let mut screen = Screen::stdout();
    if args.watch {
        return follow(&client, args.json, &mut screen).await;
    }
    let leader = client.leader().await?;
    show(&leader, args.json, &mut screen)?;
    Ok(u8::from(!leader.is_led()))
}

async fn follow(client: &Client, as_json: bool, screen: &mut Screen) -> Result<u8, Failure> {
    let filter = WatchFilter {
        leader: true,
        ..WatchFilter::default()
    };
    let mut watch = client.watch(&filter, None).await?;
    while let Some(watched) = watch.next().await {
        if let WatchEvent::LeaderChanged(leader) = watched?.event {
            show(&leader, as_json, screen)?;
        }
    }
    Ok(0)
}

async fn hand_over(args: MoveArgs) -> Result<u8, Failure> {
    let leader = client(&args.ask)?.move_leader(&args.node).await?;
    show(&leader, args.json, &mut Screen::stdout())?;
    Ok(0)
}

fn show(leader: &Leader, as_json: bool, screen: &mut Screen) -> Result<(), Failure> {
    if as_json {
        return Ok(screen.print(&json(leader)?)?);
    }
    let picture = picture(leader, screen.columns(), screen.colour);
    Ok(screen.draw(&picture)?)
}

fn picture(leader: &Leader, columns: usize, colour: bool) -> String {
    let text = |text: &Option<String>| Cell::from(text.as_deref().unwrap_or("-"));
    let number =
        |number: Option<u64>| Cell::from(number.map_or_else(|| "-".into(), |it| it.to_string()));
    let mut table = Table::new(&["NAME", "ID", "ADDRESS", "TERM", "REVISION", "STATE"]);
    table.row(vec![
        text(&leader.name),
        text(&leader.id),
        text(&leader.address),
        number(leader.term),
        number(leader.revision),
        Cell::painted(leader.state.as_str(), paint(leader.state)),
    ]);
    let mut picture = table.render(columns, colour);
    if let Some(why) = &leader.why {
        picture.push('\n');
        for line in wrap(why, columns) {
            picture.push_str(&line);
            picture.push('\n');
        }
    }
    picture
}

fn paint(state: LeaderState) -> Paint {
    match state {
        LeaderState::Led => Paint::Good,
        LeaderState::Electing => Paint::Doubtful,
        _ => Paint::Bad,
    }
}

/// The change on one line.
pub(super) fn line(leader: &Leader) -> String {
    let number = |number: Option<u64>| number.map_or_else(|| "-".into(), |it| it.to_string());
    let place = format!(
        "term {}, revision {}",
        number(leader.term),
        number(leader.revision)
    );
    match (&leader.name, &leader.address) {
        (Some(name), Some(address)) => format!("leader     {name}  {address}  ({place})"),
        _ => {
            let why = leader.why.as_deref().unwrap_or_default();
            format!("leader     nobody ({}): {why}", leader.state)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led() -> Leader {
        Leader {
            id: Some("7f3a".repeat(8)),
            name: Some("ann".into()),
            address: Some("127.0.0.1:7781".into()),
            term: Some(3),
            cluster_id: Some("c1".repeat(16)),
            revision: Some(9),
            state: LeaderState::Led,
            why: None,
        }
    }

    fn unled() -> Leader {
        Leader {
            id: None,
            name: None,
            address: None,
            state: LeaderState::Electing,
            why: Some("too few of those who vote are alive: start them again".into()),
            ..led()
        }
    }

    #[test]
    fn a_leader_is_a_line_of_a_table() {
        let text = picture(&led(), 100, false);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains(&"7f3a".repeat(8)), "{text}");
        let v6 = Leader {
            name: Some("n".repeat(63)),
            address: Some("[2001:db8:1234:5678:9abc:def0:1234:5678]:65535".into()),
            term: Some(1 << 40),
            revision: Some(1 << 43),
            ..led()
        };
        for line in picture(&v6, 80, false).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn without_one_the_reason_follows_to_its_end() {
        let text = picture(&unled(), 40, false);
        assert!(
            text.ends_with(
                "electing\n\ntoo few of those who vote are alive:\n\
                 start them again\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_change_is_one_line() {
        assert_eq!(
            line(&led()),
            "leader     ann  127.0.0.1:7781  (term 3, revision 9)"
        );
        assert_eq!(
            line(&unled()),
            "leader     nobody (electing): too few of those who vote are alive: start them again"
        );
    }
}
