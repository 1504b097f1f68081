//! Moment: the time stamps of answers, read back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long ago an RFC 3339 time in UTC was by this machine's clock: zero in
/// the future, `None` if the text is no such time.
pub(crate) fn age(stamp: &str) -> Option<Duration> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(now.saturating_sub(since_epoch(stamp)?))
}

/// The hour, minute and second of an RFC 3339 time.
pub(crate) fn clock(stamp: &str) -> &str {
    stamp.get(11..19).unwrap_or(stamp)
}

/// `2026-11-23T02:16:26.123Z` as time since the Unix epoch.
fn since_epoch(stamp: &str) -> Option<Duration> {
    let number = |range: std::ops::Range<usize>| stamp.get(range)?.parse::<u64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let fraction = stamp.get(19..)?.strip_suffix('Z')?;
    let fraction: f64 = match fraction {
        "" => 0.0,
        digits => format!("0{digits}").parse().ok()?,
    };
    let days = days_since_epoch(year, month, day)?;
    let whole = Duration::from_secs(((days * 24 + hour) * 60 + minute) * 60 + second);
    Some(whole + Duration::try_from_secs_f64(fraction).ok()?)
}

/// The year is counted from March, so that the leap day is its last; months
/// before one then have (153 m + 2) / 5 days together.
fn days_since_epoch(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let leap_days = year / 4 - year / 100 + year / 400;
    (year * 365 + leap_days + day_of_year).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_wrote_is_read_back() {
        for ms in [0, 951_782_400_000, 1_795_400_186_123, 4_107_542_400_000] {
            let read = since_epoch(&dui_client::rfc3339(ms));
            assert_eq!(read.map(|time| time.as_millis()), Some(u128::from(ms)));
        }
        assert!(since_epoch("2026-11-23T02:16:26Z").is_some());
        for bad in [
            "",
            "yesterday",
            "2026-13-01T00:00:00Z",
            "2026-11-23T02:16:26.1",
        ] {
            assert_eq!(since_epoch(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_time_in_the_future_is_no_age() {
        assert_eq!(age("9999-01-01T00:00:00.000Z"), Some(Duration::ZERO));
        assert_eq!(clock("2026-11-23T02:16:26.123Z"), "02:16:26");
    }
}
