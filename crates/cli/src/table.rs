//! Table: rows for people, in as few columns as the terminal has.

/// How a cell looks on a terminal with colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Paint {
    #[default]
    Plain,
    Bold,
    Dim,
    Good,
    Doubtful,
    Bad,
}

impl Paint {
    /// SGR parameters.
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Doubtful => "33",
            Self::Bad => "31",
        }
    }

    /// The text in this paint, or as it is without colour.
    pub(crate) fn on(self, text: &str, colour: bool) -> String {
        match self.code() {
            code if colour && !code.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.into(),
        }
    }
}

/// Text and its paint.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    paint: Paint,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::painted(text, Paint::Plain)
    }
}

impl Cell {
    pub(crate) fn painted(text: impl Into<String>, paint: Paint) -> Self {
        // A name or payload of somebody else must not move our cursor.
        let harmless = |c: char| if c.is_control() { ' ' } else { c };
        let text: String = text.into();
        Self {
            text: text.chars().map(harmless).collect(),
            paint,
        }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// Rows under a heading.
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
}

/// Columns between two columns.
pub(crate) const GAP: usize = 2;
/// No column shrinks below this: less tells nothing.
const COLUMN_MIN: usize = 8;

impl Table {
    /// A table with this heading.
    pub(crate) fn new(heading: &[&str]) -> Self {
        let heading = heading.iter().map(|text| Cell::painted(*text, Paint::Bold));
        Self {
            rows: vec![heading.collect()],
        }
    }

    /// Adds a row with as many cells as the heading.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        assert_eq!(
            cells.len(),
            self.rows[0].len(),
            "a row has a cell for every column"
        );
        self.rows.push(cells);
    }

    /// The table in at most `columns` columns: the widest ones are cut with
    /// `…` until all fit, because the narrow ones hold what is compared.
    pub(crate) fn render(&self, columns: usize, colour: bool) -> String {
        let widths = self.widths(columns);
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            let mut pending = 0;
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&" ".repeat(pending));
                let shown = cut(&cell.text, *width);
                pending = width - shown.chars().count() + GAP;
                line.push_str(&cell.paint.on(&shown, colour));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn widths(&self, columns: usize) -> Vec<usize> {
        let mut widths = vec![0; self.rows[0].len()];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.width().max(*width);
            }
        }
        let gaps = GAP * (widths.len() - 1);
        while widths.iter().sum::<usize>() + gaps > columns {
            match widths.iter_mut().max() {
                Some(widest) if *widest > COLUMN_MIN => *widest -= 1,
                _ => break,
            }
        }
        widths
    }
}

/// The text in lines of at most `width` characters, broken between words; a
/// longer word stays whole. At least one line, which may be empty.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.into();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_nothing_trails() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(vec!["ann".into(), "alive".into()]);
        table.row(vec!["grace".into(), "".into()]);
        assert_eq!(
            table.render(80, false),
            "NAME   STATE\nann    alive\ngrace\n"
        );
    }

    #[test]
    fn the_widest_columns_give_way_first() {
        let mut table = Table::new(&["A", "B"]);
        table.row(vec!["x".repeat(63).into(), "short".into()]);
        let text = table.render(20, false);
        let line = text.lines().nth(1).unwrap_or_default();
        assert_eq!(line, format!("{}…  short", "x".repeat(12)));
    }

    #[test]
    fn a_text_is_broken_between_words() {
        assert_eq!(
            wrap("refused by every witness", 12),
            ["refused by", "every", "witness"]
        );
        assert_eq!(wrap("", 12), [""]);
        assert_eq!(
            wrap("incarnation 1795404869324", 6),
            ["incarnation", "1795404869324"]
        );
    }

    #[test]
    fn colour_does_not_count_as_width_and_control_characters_never_get_out() {
        let mut table = Table::new(&["S", "T"]);
        table.row(vec![Cell::painted("ok", Paint::Good), "a\x1b[2Jb".into()]);
        assert_eq!(
            table.render(80, true),
            "\x1b[1mS\x1b[0m   \x1b[1mT\x1b[0m\n\x1b[32mok\x1b[0m  a [2Jb\n"
        );
    }
}
