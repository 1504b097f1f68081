//! Text: what people read of a finding.

/// `a`, `a and b`, `a, b and 3 more`.
pub(super) fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [one, other] => format!("{one} and {other}"),
        [one, other, third] => format!("{one}, {other} and {third}"),
        [one, other, rest @ ..] => format!("{one}, {other} and {} more", rest.len()),
    }
}

/// `a`, `2 peers`.
pub(super) fn crowd(items: &[String]) -> String {
    match items {
        [] | [_] => items.concat(),
        _ => format!("{} peers", items.len()),
    }
}

/// `10 min 2 s`, `61 s`, `3 h 20 min`.
pub(super) fn span(ms: u64) -> String {
    let s = (ms + 500) / 1_000;
    let (big, unit, small, small_unit) = match s {
        0..120 => return format!("{s} s"),
        120..7_200 => (s / 60, "min", s % 60, "s"),
        7_200..172_800 => (s / 3_600, "h", s % 3_600 / 60, "min"),
        _ => (s / 86_400, "days", s % 86_400 / 3_600, "h"),
    };
    match small {
        0 => format!("{big} {unit}"),
        _ => format!("{big} {unit} {small} {small_unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_many_is_short() {
        let names = |n: usize| (0..n).map(|i| format!("n{i}")).collect::<Vec<_>>();
        let texts = [1, 2, 3, 9].map(|n| list(&names(n)));
        let expected = ["n0", "n0 and n1", "n0, n1 and n2", "n0, n1 and 7 more"];
        assert_eq!(texts, expected);
    }

    #[test]
    fn a_span_has_two_units_at_most() {
        let texts = [61_000, 600_000, 602_400, 12_000_000, 200_000_000].map(span);
        let expected = ["61 s", "10 min", "10 min 2 s", "3 h 20 min", "2 days 7 h"];
        assert_eq!(texts, expected);
    }
}
