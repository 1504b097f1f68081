//! `dui views`: the members as the managers have agreed on them, by number.

use std::collections::BTreeMap;

use dui_client::{Member, View, ViewList, WatchEvent, WatchFilter};

use super::{client, json};
use crate::args::ViewsArgs;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::table::Table;

/// Lists the views that are kept, and with `--watch` goes on with new ones.
pub(crate) async fn views(args: ViewsArgs) -> Result<(), Failure> {
    let client = client(&args.ask)?;
    let screen = Screen::stdout();
    if !args.watch {
        let list = client.views(None).await?;
        let text = if args.json {
            json(&list)?
        } else {
            table(&list, screen.columns(), screen.colour)
        };
        return Ok(screen.print(&text)?);
    }
    let filter = WatchFilter {
        leader: true,
        ..WatchFilter::default()
    };
    let mut watch = client.watch(&filter, None).await?;
    let (mut shown, mut names) = (Shown::default(), Names::default());
    let mut begun = false;
    while let Some(watched) = watch.next().await {
        // Either may stand for views that were not told one by one.
        if !matches!(
            watched?.event,
            WatchEvent::Reset(_) | WatchEvent::ViewChanged(_)
        ) {
            continue;
        }
        let mut list = client.views(None).await?;
        names.learn(&list);
        shown.keep_new(&mut list);
        if args.json {
            for view in &list.views {
                screen.print(&json(view)?)?;
            }
        } else if begun {
            for view in &list.views {
                screen.print(&line(view, &names))?;
            }
        } else {
            screen.print(&table(&list, screen.columns(), screen.colour))?;
        }
        begun = true;
    }
    Ok(())
}

/// The newest view that was shown. Another cluster begins to count anew.
#[derive(Default)]
struct Shown(Option<(String, u64)>);

impl Shown {
    fn keep_new(&mut self, list: &mut ViewList) {
        let shown = self.0.take();
        let is_new = |view: &View| {
            let last = shown.as_ref();
            last.is_none_or(|(cluster, number)| {
                *cluster != view.cluster_id || *number < view.number
            })
        };
        let newest = list.views.last();
        let newest = newest.map(|view| (view.cluster_id.clone(), view.number));
        list.views.retain(is_new);
        self.0 = newest.or(shown);
    }
}

/// What those are called whose ids a view has.
#[derive(Default)]
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    fn learn(&mut self, list: &ViewList) {
        for view in &list.views {
            self.learn_view(view);
        }
    }

    pub(super) fn learn_view(&mut self, view: &View) {
        let joined = view.joined.iter();
        self.0
            .extend(joined.map(|it| (it.id.clone(), it.name.clone())));
    }

    pub(super) fn learn_member(&mut self, member: &Member) {
        self.0.insert(member.id.clone(), member.name.clone());
    }

    /// The name, or as many digits of the id as a default name shows.
    fn of<'a>(&'a self, id: &'a str) -> &'a str {
        let name = self.0.get(id).map(String::as_str);
        name.unwrap_or_else(|| id.get(..8).unwrap_or(id))
    }
}

fn table(list: &ViewList, columns: usize, colour: bool) -> String {
    let mut names = Names::default();
    names.learn(list);
    let mut table = Table::new(&["NUMBER", "REVISION", "CHANGE"]);
    for view in &list.views {
        table.row(vec![
            view.number.to_string().into(),
            view.revision.to_string().into(),
            change(view, &names).into(),
        ]);
    }
    table.render(columns, colour)
}

fn line(view: &View, names: &Names) -> String {
    let change = change(view, names);
    // As wide as the heading of the table before it.
    format!("{:<6}  {:<8}  {change}\n", view.number, view.revision)
}

/// `+ann -bo(failed)`.
pub(super) fn change(view: &View, names: &Names) -> String {
    let joined = view.joined.iter().map(|it| format!("+{}", it.name));
    let left = view
        .left
        .iter()
        .map(|id| format!("-{}(left)", names.of(id)));
    let failed = view.failed.iter();
    let failed = failed.map(|id| format!("-{}(failed)", names.of(id)));
    let all: Vec<String> = joined.chain(left).chain(failed).collect();
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use dui_client::{Role, ViewMember};

    use super::*;

    fn view(number: u64, joined: &[&str], left: &[&str], failed: &[&str]) -> View {
        let id = |name: &&str| name.repeat(16);
        let seen = |name: &&str| ViewMember {
            id: id(name),
            name: (*name).into(),
            address: "127.0.0.1:7781".into(),
            role: Role::Manager,
        };
        View {
            cluster_id: "c1".into(),
            number,
            revision: 2 * number,
            joined: joined.iter().map(seen).collect(),
            left: left.iter().map(id).collect(),
            failed: failed.iter().map(id).collect(),
        }
    }

    fn list(views: Vec<View>) -> ViewList {
        ViewList {
            cluster_id: Some("c1".into()),
            views,
            members: Vec::new(),
        }
    }

    #[test]
    fn a_view_tells_who_came_and_how_others_went() {
        let list = list(vec![
            view(7, &["bo", "cy"], &[], &[]),
            view(8, &["di"], &["cy"], &["bo", "eve"]),
        ]);
        assert_eq!(
            table(&list, 80, false),
            "NUMBER  REVISION  CHANGE\n\
             7       14        +bo +cy\n\
             8       16        +di -cy(left) -bo(failed) -eveeveev(failed)\n"
        );
        let names = Names::default();
        let next = line(&view(9, &["bo"], &[], &[]), &names);
        assert_eq!(next, "9       18        +bo\n");
    }

    #[test]
    fn each_view_is_shown_once_and_those_of_another_cluster_anew() {
        let mut shown = Shown::default();
        let mut new = |views: Vec<View>| -> Vec<u64> {
            let mut list = list(views);
            shown.keep_new(&mut list);
            list.views.iter().map(|view| view.number).collect()
        };
        let of = |number| view(number, &["bo"], &[], &[]);
        assert_eq!(new(vec![of(1), of(2)]), [1, 2]);
        assert_eq!(new(vec![]), [0; 0]);
        assert_eq!(new(vec![of(1), of(2), of(3)]), [3]);
        let other = View {
            cluster_id: "c2".into(),
            ..of(1)
        };
        assert_eq!(new(vec![other]), [1]);
    }
}
