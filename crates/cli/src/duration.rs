//! Durations: how people write and read lengths of time.

use std::time::Duration;

pub(crate) use dui_client::parse_duration as parse;

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
    fn ages_stay_short() {
        assert_eq!(short(Duration::from_millis(59_900)), "59s");
        assert_eq!(short(Duration::from_secs(61)), "1m");
        assert_eq!(short(Duration::from_secs(47 * 3_600)), "47h");
        assert_eq!(short(Duration::from_secs(48 * 3_600)), "2d");
    }
}
