//! The times of a certificate, as Go takes them: with an offset from UTC too, and a UTCTime without seconds.

use jiff::Timestamp;

use super::der::{Der, GENERALIZED_TIME, UTC_TIME};

/// The next value, a UTCTime or a GeneralizedTime.
///
/// The end of the year 9999, which stands for "never", is a little past what a [`Timestamp`] can hold, and becomes its
/// largest.
pub(super) fn read(der: &mut Der<'_>) -> Option<Timestamp> {
    if der.is_next(UTC_TIME) {
        let text = der.read(UTC_TIME)?.bytes();
        let (year, rest) = number(text, 2)?;
        // Two digits are 1950 to 2049.
        let year = if year >= 50 { 1900 + year } else { 2000 + year };
        within_year(year, rest, true)
    } else {
        let text = der.read(GENERALIZED_TIME)?.bytes();
        let (year, rest) = number(text, 4)?;
        within_year(year, rest, false)
    }
}

/// `MMDDhhmm[ss]`, then `Z` or `+hhmm` or `-hhmm`.
fn within_year(year: i64, text: &[u8], may_lack_seconds: bool) -> Option<Timestamp> {
    let (month, text) = number(text, 2)?;
    let (day, text) = number(text, 2)?;
    let (hour, text) = number(text, 2)?;
    let (minute, text) = number(text, 2)?;
    let (second, zone) = match number(text, 2) {
        Some(with_seconds) => with_seconds,
        None if may_lack_seconds => (0, text),
        None => return None,
    };
    let is_valid = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !is_valid {
        return None;
    }
    let seconds = ((days_before(year, month) + day - 1) * 24 + hour) * 3600 + minute * 60 + second - offset(zone)?;
    let limits = Timestamp::MIN.as_second()..=Timestamp::MAX.as_second();
    Timestamp::from_second(seconds.clamp(*limits.start(), *limits.end())).ok()
}

/// Seconds to the east. An offset of nothing has to be `Z`; a whole day, and 59 minutes more, is the most.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, digits) = match zone {
        b"Z" => return Some(0),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let (hours, digits) = number(digits, 2)?;
    let (minutes, rest) = number(digits, 2)?;
    let is_valid = rest.is_empty() && hours <= 24 && minutes < 60 && hours + minutes > 0;
    is_valid.then_some(sign * (hours * 3600 + minutes * 60))
}

fn number(text: &[u8], digits: usize) -> Option<(i64, &[u8])> {
    let (digits, rest) = text.split_at_checked(digits)?;
    let number = digits
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))?;
    Some((number, rest))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// From the first of January 1970 to the first of this month; the year is 0 or more.
fn days_before(year: i64, month: i64) -> i64 {
    const BEFORE_1970: i64 = 719_528;
    let leap_days = if year == 0 { 0 } else { (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 + 1 };
    let before_month: i64 = (1..month).map(|month| days_in(year, month)).sum();
    year * 365 + leap_days + before_month - BEFORE_1970
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(tag: u8, text: &str) -> Option<String> {
        let der = [&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        read(&mut Der::new(&der)).map(|time| time.to_string())
    }

    #[test]
    fn t3_times_are_read_as_go_reads_them() {
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", Some("1970-01-01T00:00:00Z")),
            (UTC_TIME, "491231235959Z", Some("2049-12-31T23:59:59Z")),
            (UTC_TIME, "500101000000Z", Some("1950-01-01T00:00:00Z")),
            (UTC_TIME, "2401010000Z", Some("2024-01-01T00:00:00Z")),
            (UTC_TIME, "240229120000+0130", Some("2024-02-29T10:30:00Z")),
            (UTC_TIME, "2402291200-2459", Some("2024-03-01T12:59:00Z")),
            (UTC_TIME, "230229120000Z", None),
            (UTC_TIME, "240101000000+0000", None),
            (UTC_TIME, "240101000000+0060", None),
            (UTC_TIME, "240101000000+2500", None),
            (UTC_TIME, "240101000000", None),
            (UTC_TIME, "240101000000.5Z", None),
            (UTC_TIME, "240101000060Z", None),
            (UTC_TIME, "240101240000Z", None),
            (UTC_TIME, "241301000000Z", None),
            (GENERALIZED_TIME, "20240101000000Z", Some("2024-01-01T00:00:00Z")),
            (GENERALIZED_TIME, "00000229000000Z", Some("0000-02-29T00:00:00Z")),
            (GENERALIZED_TIME, "99991231235959Z", Some("9999-12-30T22:00:00Z")),
            (GENERALIZED_TIME, "21000229000000Z", None),
            (GENERALIZED_TIME, "202401010000Z", None),
            (0x16, "240101000000Z", None),
        ] {
            assert_eq!(time(tag, text).as_deref(), expected, "{text}");
        }
    }
}
