//! Time zones: the one a session shows TIMESTAMPTZ in, and the one written behind a timestamp.
//!
//! The two are spelled differently in Postgres: `SET timezone = '+02:00'` is POSIX and means west
//! of Greenwich, while `12:00+02:00` means east. Hence two constructors.

use chrono::{DateTime, NaiveDateTime, Offset, TimeZone};
use chrono_tz::{OffsetName, Tz};

use super::calendar::{date_of, days_of};
use super::zone_abbreviations;
use crate::error::{Error, Result, SqlState};

/// A time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// No offset.
    Utc,
    /// Seconds east of Greenwich, all year.
    Fixed(i32),
    /// Of the IANA database.
    Named(Tz),
}

impl Zone {
    /// The zone that `SET timezone` means: a name of the IANA database, `UTC`, a number of hours
    /// (east), or a POSIX form like `+02:00` or `<+02>-02` (positive is west). An abbreviation like
    /// `PST` is none, as in Postgres.
    pub fn of_setting(setting: &str) -> Result<Zone> {
        let text = setting.trim();
        if text == "UTC" {
            return Ok(Zone::Utc);
        }
        let zone = match text.parse::<f64>() {
            Ok(hours) => (hours.abs() <= 168.0).then(|| Zone::fixed((hours * 3600.0) as i32)),
            Err(_) => named(text).or_else(|| posix(text)),
        };
        zone.ok_or_else(|| {
            Error::new(
                SqlState::BadArgument,
                format!("invalid value for parameter \"TimeZone\": \"{setting}\""),
            )
            .hint("Use a name such as 'UTC' or 'Europe/Berlin', or a number of hours east of UTC.")
        })
    }

    /// The zone written behind a timestamp: `Z`, `+02`, `+02:30`, `-0230`, `CET`, `Europe/Berlin`.
    pub fn of_suffix(text: &str) -> Option<Zone> {
        match text.as_bytes().first()? {
            b'+' => offset(&text[1..]).map(Zone::fixed),
            b'-' => offset(&text[1..]).map(|seconds| Zone::fixed(-seconds)),
            _ => Zone::of_name(text),
        }
    }

    /// The zone that AT TIME ZONE means: `CET`, `Europe/Berlin`, or a POSIX form like `+02:00`
    /// (positive is west).
    pub fn of_name(text: &str) -> Option<Zone> {
        abbreviated(text).or_else(|| named(text)).or_else(|| posix(text))
    }

    fn fixed(seconds: i32) -> Zone {
        if seconds == 0 { Zone::Utc } else { Zone::Fixed(seconds) }
    }

    /// Seconds east of Greenwich at a moment (seconds since 1970 in UTC).
    pub fn offset_at(&self, utc_seconds: i64) -> i32 {
        match self {
            Zone::Utc => 0,
            Zone::Fixed(seconds) => *seconds,
            Zone::Named(tz) => {
                tz.offset_from_utc_datetime(&naive(utc_seconds)).fix().local_minus_utc()
            }
        }
    }

    /// Seconds east of Greenwich when the zone's clocks show a time (seconds since 1970 as if in
    /// UTC). Of an hour that comes twice the second one is meant, and in an hour that is skipped
    /// the offset before it holds, as in Postgres.
    pub fn offset_of_local(&self, local_seconds: i64) -> i32 {
        let Zone::Named(tz) = self else {
            return self.offset_at(0);
        };
        let at = |local: i64| tz.offset_from_local_datetime(&naive(local));
        match at(local_seconds) {
            chrono::LocalResult::Single(offset) | chrono::LocalResult::Ambiguous(_, offset) => {
                offset.fix().local_minus_utc()
            }
            // A day earlier in UTC is before the change, however far east the zone and however long
            // the gap.
            chrono::LocalResult::None => self.offset_at(local_seconds - 86_400),
        }
    }

    /// What its time is called at a moment: `CET`, or its distance from Greenwich where that has no name.
    pub fn abbreviation_at(&self, utc_seconds: i64) -> String {
        match self {
            Zone::Utc => "UTC".to_owned(),
            Zone::Fixed(_) => {
                let name = self.name();
                name[1..name.find('>').unwrap_or(name.len())].to_owned()
            }
            Zone::Named(tz) => {
                let offset = tz.offset_from_utc_datetime(&naive(utc_seconds));
                let ahead = offset.fix().local_minus_utc();
                let (sign, minutes) = (if ahead < 0 { '-' } else { '+' }, ahead.abs() / 60);
                offset.abbreviation().map(str::to_owned).unwrap_or_else(|| match minutes % 60 {
                    0 => format!("{sign}{:02}", minutes / 60),
                    rest => format!("{sign}{:02}{rest:02}", minutes / 60),
                })
            }
        }
    }

    /// The name to show for it.
    pub fn name(&self) -> String {
        match self {
            Zone::Utc => "UTC".to_owned(),
            Zone::Fixed(seconds) => {
                let (sign, west) = if *seconds < 0 { ('-', '+') } else { ('+', '-') };
                let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() / 60 % 60);
                if minutes == 0 {
                    format!("<{sign}{hours:02}>{west}{hours:02}")
                } else {
                    format!("<{sign}{hours:02}:{minutes:02}>{west}{hours:02}:{minutes:02}")
                }
            }
            Zone::Named(tz) => tz.name().to_owned(),
        }
    }
}

/// A moment at which zones are known to do what they do at this one. The database ends in the
/// 2090s; later years are looked up as the year from 2038 to 2065 that has the same days of the
/// week, and before the calendar of chrono nothing changes any more.
fn naive(seconds: i64) -> NaiveDateTime {
    const LAST: i64 = 3_786_912_000;
    const FIRST: i64 = -8_000_000_000_000;
    let seconds = if seconds < LAST {
        seconds.max(FIRST)
    } else {
        let (year, _, _) = date_of(seconds.div_euclid(86_400));
        let (first, next) = (days_of(year, 1, 1), days_of(year + 1, 1, 1));
        let alike = (2038..2066)
            .map(|y| (days_of(y, 1, 1), days_of(y + 1, 1, 1)))
            .find(|(f, n)| n - f == next - first && (first - f).rem_euclid(7) == 0);
        seconds - alike.map_or(0, |(f, _)| first - f) * 86_400
    };
    DateTime::from_timestamp(seconds, 0).unwrap_or_default().naive_utc()
}

fn abbreviated(text: &str) -> Option<Zone> {
    zone_abbreviations::minutes_of(text).map(|minutes| Zone::fixed(minutes * 60))
}

fn named(text: &str) -> Option<Zone> {
    if text.len() > 64 {
        return None;
    }
    if ["utc", "etc/utc", "uct", "zulu"].iter().any(|name| name.eq_ignore_ascii_case(text)) {
        return Some(Zone::Utc);
    }
    if let Ok(tz) = text.parse::<Tz>() {
        return Some(Zone::Named(tz));
    }
    chrono_tz::TZ_VARIANTS
        .iter()
        .find(|tz| tz.name().eq_ignore_ascii_case(text))
        .map(|tz| Zone::Named(*tz))
}

/// `[name or <name>]±hh[:mm[:ss]]`, positive is west; without rules for summer time.
fn posix(text: &str) -> Option<Zone> {
    let rest = match text.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>')?.1,
        None => text.trim_start_matches(|c: char| c.is_ascii_alphabetic()),
    };
    let (west, digits) = match rest.as_bytes().first()? {
        b'+' => (1, &rest[1..]),
        b'-' => (-1, &rest[1..]),
        b'0'..=b'9' => (1, rest),
        _ => return None,
    };
    offset(digits).map(|seconds| Zone::fixed(-west * seconds))
}

/// `h`, `hh`, `hhmm`, `hh:mm`, `hh:mm:ss` as seconds; at most 15:59:59 as in Postgres.
fn offset(text: &str) -> Option<i32> {
    let number = |s: &str| {
        (!s.is_empty() && s.len() <= 2 && s.bytes().all(|b| b.is_ascii_digit()))
            .then(|| s.parse::<i32>().ok())?
    };
    if !text.is_ascii() {
        return None;
    }
    let (hours, minutes, seconds) = if text.contains(':') {
        let mut parts = text.split(':');
        let hours = number(parts.next()?)?;
        let minutes = number(parts.next()?)?;
        let seconds = parts.next().map_or(Some(0), number)?;
        if parts.next().is_some() {
            return None;
        }
        (hours, minutes, seconds)
    } else if text.len() <= 2 {
        (number(text)?, 0, 0)
    } else if text.len() <= 4 {
        let split = text.len() - 2;
        (number(&text[..split])?, number(&text[split..])?, 0)
    } else {
        return None;
    };
    (hours <= 15 && minutes < 60 && seconds < 60).then_some(hours * 3600 + minutes * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_counts_west_and_a_suffix_counts_east() {
        assert_eq!(Zone::of_setting("+05:30").unwrap(), Zone::Fixed(-19_800));
        assert_eq!(Zone::of_setting("5.5").unwrap(), Zone::Fixed(19_800));
        assert_eq!(Zone::of_setting("<-02>+02").unwrap(), Zone::Fixed(-7_200));
        assert_eq!(Zone::of_setting("GMT-05:30").unwrap(), Zone::Fixed(19_800));
        assert_eq!(Zone::of_suffix("+05:30"), Some(Zone::Fixed(19_800)));
        assert_eq!(Zone::of_suffix("-0800"), Some(Zone::Fixed(-28_800)));
        assert_eq!(Zone::of_suffix("z"), Some(Zone::Utc));
        assert_eq!(Zone::of_setting("europe/berlin").unwrap().name(), "Europe/Berlin");
        for none in ["Mars/Base", "PST", "IST", "200"] {
            assert!(Zone::of_setting(none).is_err(), "{none}");
        }
        assert_eq!(Zone::of_setting("CET").unwrap().offset_at(1_719_792_000), 7_200);
        assert_eq!(Zone::of_setting("Mars/Base").unwrap_err().state(), SqlState::BadArgument);
    }

    #[test]
    fn a_doubled_hour_means_the_second_and_a_skipped_one_the_offset_before() {
        let berlin = Zone::of_setting("Europe/Berlin").unwrap();
        let local = |days: i64, h: i64, m: i64| days * 86_400 + h * 3600 + m * 60;
        let spring = crate::types::calendar::days_of(2024, 3, 31);
        let autumn = crate::types::calendar::days_of(2024, 10, 27);
        assert_eq!(berlin.offset_of_local(local(spring, 2, 30)), 3600);
        assert_eq!(berlin.offset_of_local(local(autumn, 2, 30)), 3600);
        assert_eq!(berlin.offset_of_local(local(spring, 12, 0)), 7200);
    }
}
