//! Durations: how people write and read lengths of time.

use std::time::Duration;

const UNITS: [(&str, f64); 4] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3_600.0)];

/// `500ms`, `8s`, `1.5s`, `2m`, `1h`. A bare number has no unit, so it is
/// refused: nobody should have to remember ours.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(digits);
    let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

/// How long ago in at most 4 characters: `12s`, `3m`, `7h`, `12d`.
pub(crate) fn short(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_with_its_unit() {
        assert_eq!(parse("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse("8s"), Some(Duration::from_secs(8)));
        assert_eq!(parse("1.5s"), Some(Duration::from_millis(1_500)));
        assert_eq!(parse("2m"), Some(Duration::from_secs(120)));
        for bad in ["", "8", "s", "-1s", "1d", "1 s", "1.2.3s", "9e9s"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse(&format!("{}h", "9".repeat(400))), None);
    }

    #[test]
    fn ages_stay_short() {
        assert_eq!(short(Duration::from_millis(59_900)), "59s");
        assert_eq!(short(Duration::from_secs(61)), "1m");
        assert_eq!(short(Duration::from_secs(47 * 3_600)), "47h");
        assert_eq!(short(Duration::from_secs(48 * 3_600)), "2d");
    }
}
