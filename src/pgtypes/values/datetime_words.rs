//! Dates and times in words: the reader of fields behind `datetime_in`, for every spelling but the
//! common one.
//!
//! A text is cut into words at spaces and punctuation; each word is a date, a time of day, a zone,
//! a month's name, an era or a filler, and what is left over when all are read must be the day and
//! the year of a month's name.

use super::datetime_in::{DateTimeFault, Fields, fraction_nanos};
use crate::time::DAY_NANOS;
use crate::types::calendar::{days_in_month, days_of};
use crate::types::zone::Zone;

/// Reads a text that has been lowered; `text` has the case that names of zones are shown in.
/// `time_only` is how a TIME is read: four or six digits are a time of day there, and not a date.
pub(crate) fn read(text: &str, lower: &str, time_only: bool) -> Result<Fields, DateTimeFault> {
    DateTimeReader { time_only, ..DateTimeReader::default() }.run(text, lower)
}

/// The Julian day of 1970-01-01.
const JULIAN_1970: i64 = 2_440_588;

#[derive(Default)]
struct DateTimeReader {
    /// Year, month, day; the year as written, before the era is known.
    date: Option<(i64, u32, u32)>,
    month_name: Option<u32>,
    loose: Vec<String>,
    nanos: Option<i64>,
    afternoon: Option<bool>,
    zone: Option<Zone>,
    before_christ: bool,
    /// The year was written with two digits.
    short_year: bool,
    /// The date as a count of days since 1970, of a Julian day or a day of the year.
    counted: Option<i64>,
    time_only: bool,
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] =
    ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

fn month_of(word: &str) -> Option<u32> {
    let full = |m: &&str| word.len() >= 3 && (m.starts_with(word) && word.len() == 3 || *m == word);
    MONTHS.iter().position(full).map(|i| i as u32 + 1).or((word == "sept").then_some(9))
}

impl DateTimeReader {
    fn run(mut self, text: &str, lower: &str) -> Result<Fields, DateTimeFault> {
        let mut at = 0;
        while at < lower.len() {
            let rest = &lower[at..];
            let first = rest.as_bytes()[0];
            if first.is_ascii_whitespace() || first == b',' {
                at += 1;
                continue;
            }
            let is_part: fn(u8) -> bool = match first {
                b'0'..=b'9' => {
                    |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'/' | b'.' | b':' | b'+')
                }
                b'+' | b'-' => |b| b.is_ascii_digit() || matches!(b, b':' | b'+' | b'-'),
                b'a'..=b'z' => {
                    |b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-' | b'+' | b':')
                }
                _ => return Err(DateTimeFault::Syntax),
            };
            let len = rest.bytes().position(|b| !is_part(b)).unwrap_or(rest.len());
            let (word, written) = (&rest[..len], &text[at..at + len]);
            at += len;
            match first {
                b'0'..=b'9' => self.number(word, written)?,
                b'+' | b'-' => self.set_zone(written)?,
                _ => self.word(word, written)?,
            }
        }
        self.finish()
    }

    fn set_zone(&mut self, text: &str) -> Result<(), DateTimeFault> {
        if self.zone.is_some() {
            return Err(DateTimeFault::Syntax);
        }
        self.zone = Some(Zone::of_suffix(text).ok_or_else(|| match text.as_bytes() {
            [b'+' | b'-', rest @ ..] => {
                let number =
                    !rest.is_empty() && rest.iter().all(|b| b.is_ascii_digit() || *b == b':');
                if number { DateTimeFault::Zone } else { DateTimeFault::Syntax }
            }
            name if name.contains(&b'/') => DateTimeFault::UnknownZone(text.to_ascii_lowercase()),
            _ => DateTimeFault::Syntax,
        })?);
        Ok(())
    }

    fn word(&mut self, word: &str, written: &str) -> Result<(), DateTimeFault> {
        match word {
            "bc" => self.before_christ = true,
            "ad" | "at" | "on" | "t" => {}
            "am" => self.afternoon = Some(false),
            "pm" => self.afternoon = Some(true),
            "allballs" => (self.nanos, self.zone) = (Some(0), Some(Zone::Utc)),
            _ => {
                if let Some(month) = month_of(word) {
                    self.month_name = Some(month);
                } else if let Some(day) =
                    word.strip_prefix('j').filter(|r| r.starts_with(|c: char| c.is_ascii_digit()))
                {
                    return self.julian(day);
                } else if let Some(rest) =
                    word.strip_prefix('t').filter(|r| r.starts_with(|c: char| c.is_ascii_digit()))
                {
                    let digits = rest.bytes().all(|b| b.is_ascii_digit() || b == b'.');
                    if digits && rest.split('.').next().is_some_and(|r| r.len() > 3) {
                        return self.set_compact_time(rest);
                    }
                    return self.number(rest, &written[1..]);
                } else if let Some((month, rest)) =
                    word.split_once('-').and_then(|(m, r)| Some((month_of(m)?, r)))
                {
                    // Jan-08-1999
                    self.month_name = Some(month);
                    self.loose.extend(rest.split('-').map(str::to_owned));
                } else if !WEEKDAYS.iter().any(|d| word.len() >= 3 && d.starts_with(word)) {
                    self.set_zone(written)?;
                }
            }
        }
        Ok(())
    }

    /// A word that begins with a digit: a date, a time, both glued together, with or without a zone
    /// behind.
    fn number(&mut self, word: &str, written: &str) -> Result<(), DateTimeFault> {
        if let Some(colon) = word.find(':') {
            // In `1999-01-08t04:05:06` the date stands before the T.
            if let Some(t) = word.find('t').filter(|t| *t < colon) {
                self.number(&word[..t], &written[..t])?;
                return self.number(&word[t + 1..], &written[t + 1..]);
            }
            let end = word
                .bytes()
                .position(|b| !(b.is_ascii_digit() || b == b':' || b == b'.'))
                .unwrap_or(word.len());
            self.set_time(&word[..end])?;
            return self.after_time(&word[end..], &written[end..]);
        }
        if let Some(t) =
            word.find('t').filter(|t| word[t + 1..].starts_with(|c: char| c.is_ascii_digit()))
        {
            let time = &word[t + 1..];
            self.number(&word[..t], &written[..t])?;
            let end =
                time.bytes().position(|b| !(b.is_ascii_digit() || b == b'.')).unwrap_or(time.len());
            self.set_compact_time(&time[..end])?;
            return self.after_time(&time[end..], &written[t + 1 + end..]);
        }
        // A zone may stand right behind a date.
        if let Some(plus) = word.find('+') {
            self.number(&word[..plus], &written[..plus])?;
            return self.set_zone(&written[plus..]);
        }
        if let Some(date) = word.strip_suffix('z').filter(|d| d.contains('-')) {
            self.number(date, &written[..date.len()])?;
            return self.set_zone("z");
        }
        if let Some((year, day)) = day_of_year(word) {
            return self.set_day_of_year(year, day);
        }
        if let Some(separator) = word.bytes().find(|b| matches!(b, b'-' | b'/')) {
            return self.set_date(word, char::from(separator));
        }
        let digits = word.bytes().take_while(|b| b.is_ascii_digit()).count();
        match &word[digits..] {
            "" => {}
            "am" | "pm" | "bc" | "ad" => {
                self.number(&word[..digits], &written[..digits])?;
                return self.word(&word[digits..], &written[digits..]);
            }
            rest if rest.starts_with('.') && (self.has_date() || self.time_only && digits == 6) => {
                return self.set_compact_time(word);
            }
            rest if rest.starts_with('.') => return self.set_date(word, '.'),
            _ => return Err(DateTimeFault::Syntax),
        }
        self.digits(word)
    }

    /// Digits and nothing else: a time, a date, or what is told later.
    fn digits(&mut self, word: &str) -> Result<(), DateTimeFault> {
        match word.len() {
            4 | 6 if self.time_only && !self.has_date() && self.nanos.is_none() => {
                self.set_compact_time(word)?;
            }
            8 if !self.has_date() => {
                let n = |r: std::ops::Range<usize>| {
                    word[r].parse::<u32>().map_err(|_| DateTimeFault::Syntax)
                };
                self.date = Some((i64::from(n(0..4)?), n(4..6)?, n(6..8)?));
            }
            6 if self.has_date()
                || self.nanos.is_none() && self.loose.is_empty() && self.month_name.is_none() =>
            {
                if self.has_date() {
                    self.set_compact_time(word)?
                } else {
                    self.set_short_date(word)?
                }
            }
            _ => self.loose.push(word.to_owned()),
        }
        Ok(())
    }

    fn has_date(&self) -> bool {
        self.date.is_some() || self.counted.is_some()
    }

    /// Days since the beginning of 4714 BC, with a fraction that is the time of day.
    fn julian(&mut self, text: &str) -> Result<(), DateTimeFault> {
        let (day, fraction) = text.split_once('.').unwrap_or((text, ""));
        if self.has_date() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return Err(DateTimeFault::Syntax);
        }
        self.counted =
            Some(i64::from(day.parse::<u32>().map_err(|_| DateTimeFault::Syntax)?) - JULIAN_1970);
        if text.contains('.') {
            self.nanos = Some(fraction_nanos(fraction.as_bytes()) * (DAY_NANOS / 1_000_000_000));
        }
        Ok(())
    }

    fn set_day_of_year(&mut self, year: i64, day: i64) -> Result<(), DateTimeFault> {
        if self.has_date() {
            return Err(DateTimeFault::Syntax);
        }
        let first = days_of(year, 1, 1);
        if year == 0 || !(1..=days_of(year + 1, 1, 1) - first).contains(&day) {
            return Err(DateTimeFault::Range);
        }
        self.counted = Some(first + day - 1);
        Ok(())
    }

    fn set_short_date(&mut self, word: &str) -> Result<(), DateTimeFault> {
        let n =
            |r: std::ops::Range<usize>| word[r].parse::<u32>().map_err(|_| DateTimeFault::Syntax);
        self.date = Some((i64::from(n(0..2)?), n(2..4)?, n(4..6)?));
        self.short_year = true;
        Ok(())
    }

    fn after_time(&mut self, rest: &str, written: &str) -> Result<(), DateTimeFault> {
        match rest {
            "" => Ok(()),
            "am" | "pm" => self.word(rest, written),
            _ => self.set_zone(written),
        }
    }

    fn set_date(&mut self, word: &str, separator: char) -> Result<(), DateTimeFault> {
        let parts: Vec<&str> = word.split(separator).collect();
        let [a, b, c] = parts[..] else {
            return Err(DateTimeFault::Syntax);
        };
        if self.has_date() {
            return Err(DateTimeFault::Syntax);
        }
        if let Some(month) = month_of(b) {
            self.month_name = Some(month);
            self.loose.extend([a.to_owned(), c.to_owned()]);
            return Ok(());
        }
        let n = |s: &str| s.parse::<u32>().map_err(|_| DateTimeFault::Syntax);
        let (year, month, day) = if a.len() > 2 { (a, b, c) } else { (c, a, b) };
        self.short_year = year.len() <= 2;
        self.date = Some((i64::from(n(year)?), n(month)?, n(day)?));
        Ok(())
    }

    fn set_time(&mut self, word: &str) -> Result<(), DateTimeFault> {
        let (clock, fraction) = word.split_once('.').unwrap_or((word, ""));
        let parts: Vec<&str> = clock.split(':').collect();
        let (h, m, s) = match parts[..] {
            [h, m] => (h, m, "0"),
            [h, m, s] => (h, m, s),
            _ => return Err(DateTimeFault::Syntax),
        };
        self.clock(h, m, s, fraction)
    }

    fn set_compact_time(&mut self, word: &str) -> Result<(), DateTimeFault> {
        let (clock, fraction) = word.split_once('.').unwrap_or((word, ""));
        match clock.len() {
            2 => self.clock(clock, "0", "0", fraction),
            4 => self.clock(&clock[..2], &clock[2..], "0", fraction),
            6 => self.clock(&clock[..2], &clock[2..4], &clock[4..], fraction),
            _ => Err(DateTimeFault::Syntax),
        }
    }

    fn clock(&mut self, h: &str, m: &str, s: &str, fraction: &str) -> Result<(), DateTimeFault> {
        let n = |text: &str| text.parse::<i64>().map_err(|_| DateTimeFault::Syntax);
        if self.nanos.is_some() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return Err(DateTimeFault::Syntax);
        }
        let (h, m, s) = (n(h)?, n(m)?, n(s)?);
        let fraction = fraction_nanos(fraction.as_bytes());
        let nanos = ((h * 60 + m) * 60 + s) * 1_000_000_000 + fraction;
        if m > 59 || s > 60 || h > 24 || nanos > DAY_NANOS {
            return Err(DateTimeFault::Range);
        }
        self.nanos = Some(nanos);
        Ok(())
    }

    fn finish(mut self) -> Result<Fields, DateTimeFault> {
        if let Some(month) = self.month_name {
            let (day, year) = match (self.date, &self.loose[..]) {
                (None, [a, b]) if a.len() > 2 => (b, a),
                (None, [a, b]) => (a, b),
                _ => return Err(DateTimeFault::Syntax),
            };
            self.short_year = year.len() <= 2;
            let year_value: i64 = year.parse().map_err(|_| DateTimeFault::Syntax)?;
            self.date = Some((year_value, month, day.parse().map_err(|_| DateTimeFault::Syntax)?));
        } else if !self.loose.is_empty() {
            match (&self.loose[..], self.nanos, self.afternoon) {
                ([hour], None, Some(_)) => {
                    let hour = hour.clone();
                    self.clock(&hour, "0", "0", "")?;
                }
                _ => return Err(DateTimeFault::Syntax),
            }
        }
        if let Some(afternoon) = self.afternoon {
            let nanos = self.nanos.ok_or(DateTimeFault::Syntax)?;
            let hour = nanos / 3_600_000_000_000;
            if hour > 12 {
                return Err(DateTimeFault::Range);
            }
            let shift = hour % 12 - hour + if afternoon { 12 } else { 0 };
            self.nanos = Some(nanos + shift * 3_600_000_000_000);
        }
        // Two digits mean 1970 to 2069, unless they are a year before Christ.
        let short = self.short_year && !self.before_christ;
        let full = |year: i64| {
            if !short || year > 99 {
                year
            } else if year < 70 {
                year + 2000
            } else {
                year + 1900
            }
        };
        let days = self
            .date
            .map(|(y, m, d)| checked_days((full(y), m, d), self.before_christ))
            .transpose()?;
        let days = days.or(self.counted);
        Ok(Fields { days, nanos: self.nanos, zone: self.zone })
    }
}

/// `1999.008` and `1999-008`.
fn day_of_year(word: &str) -> Option<(i64, i64)> {
    let (year, day) = word.split_at_checked(4)?;
    let day = day.strip_prefix(['-', '.'])?;
    let number = |s: &str| s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse().ok())?;
    if day.len() == 3 { Some((number(year)?, number(day)?)) } else { None }
}

fn checked_days(
    (year, month, day): (i64, u32, u32),
    before_christ: bool,
) -> Result<i64, DateTimeFault> {
    if year == 0 || year > 999_999_999 {
        return Err(DateTimeFault::Range);
    }
    let year = if before_christ { 1 - year } else { year };
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return Err(DateTimeFault::Range);
    }
    Ok(days_of(year, month, day))
}
