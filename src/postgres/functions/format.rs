//! Patterns for dates and times, in the spelling of Postgres (`YYYY-MM-DD HH24:MI:SS`; manual, 9.8)
//! and of Flink and Java (`yyyy-MM-dd HH:mm:ss`), both into the same fields, and a time written as
//! they say. Reading is in `format_in`.

use std::fmt::Write;

use super::calendar_time::{CalendarTime, JULIAN_1970, TimeKind, iso_year_and_day, weekday};
use super::digit_pattern::quoted;
use super::digits::ordinal_ending;
use crate::error::{Error, Result, SqlState};

/// One piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PatternPiece {
    Literal(char),
    /// A sign that stands for itself and, where it is read, for any other one.
    Separator(char),
    Field {
        field: Field,
        /// As Postgres calls it.
        name: &'static str,
        /// Numbers without leading zeros, names without blanks behind them.
        is_short: bool,
        /// With the ending of an ordinal.
        ordinal: Option<Case>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// Its last digits, so many.
    Year(u8),
    IsoYear(u8),
    YearWithComma,
    Century,
    Era(Case, Dots),
    Month,
    MonthName(Case),
    MonthShort(Case),
    MonthRoman(Case),
    Day,
    DayOfYear,
    IsoDayOfYear,
    DayName(Case),
    DayShort(Case),
    DayOfWeek,
    IsoDayOfWeek,
    WeekOfMonth,
    WeekOfYear,
    IsoWeek,
    Julian,
    Quarter,
    Hour24,
    Hour12,
    Minute,
    Second,
    SecondOfDay,
    /// Milliseconds and microseconds as numbers of their own.
    Millis,
    Micros,
    /// Digits behind the point of the seconds.
    Fraction(u8),
    HalfDay(Case, Dots),
    Zone(Case),
    ZoneHours,
    ZoneMinutes,
    ZoneOffset,
    /// Blanks and signs count one by one when a text is read.
    Exact,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Upper,
    Title,
    Lower,
}

/// Whether an abbreviation has points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dots {
    With,
    Without,
}

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
pub(super) const ROMAN: [&str; 12] =
    ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// The fields of Postgres that are numbers, in capitals or in small letters.
const NUMBERS: [(&str, Field); 46] = [
    ("Y,YYY", Field::YearWithComma),
    ("YYYY", Field::Year(4)),
    ("YYY", Field::Year(3)),
    ("YY", Field::Year(2)),
    ("Y", Field::Year(1)),
    ("IYYY", Field::IsoYear(4)),
    ("IYY", Field::IsoYear(3)),
    ("IY", Field::IsoYear(2)),
    ("I", Field::IsoYear(1)),
    ("CC", Field::Century),
    ("MM", Field::Month),
    ("MI", Field::Minute),
    ("MS", Field::Millis),
    ("DDD", Field::DayOfYear),
    ("DD", Field::Day),
    ("D", Field::DayOfWeek),
    ("IDDD", Field::IsoDayOfYear),
    ("ID", Field::IsoDayOfWeek),
    ("IW", Field::IsoWeek),
    ("WW", Field::WeekOfYear),
    ("W", Field::WeekOfMonth),
    ("J", Field::Julian),
    ("Q", Field::Quarter),
    ("HH24", Field::Hour24),
    ("HH12", Field::Hour12),
    ("HH", Field::Hour12),
    ("SSSSS", Field::SecondOfDay),
    ("SSSS", Field::SecondOfDay),
    ("SS", Field::Second),
    ("US", Field::Micros),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("FX", Field::Exact),
    ("TZH", Field::ZoneHours),
    ("TZM", Field::ZoneMinutes),
    ("OF", Field::ZoneOffset),
    ("AM", Field::HalfDay(Case::Upper, Dots::Without)),
    ("PM", Field::HalfDay(Case::Upper, Dots::Without)),
    ("A.M.", Field::HalfDay(Case::Upper, Dots::With)),
    ("P.M.", Field::HalfDay(Case::Upper, Dots::With)),
    ("AD", Field::Era(Case::Upper, Dots::Without)),
    ("BC", Field::Era(Case::Upper, Dots::Without)),
];

/// The fields of Postgres that are names: their own case tells how to write them.
const NAMES: [(&str, Field); 17] = [
    ("A.D.", Field::Era(Case::Upper, Dots::With)),
    ("B.C.", Field::Era(Case::Upper, Dots::With)),
    ("MONTH", Field::MonthName(Case::Upper)),
    ("Month", Field::MonthName(Case::Title)),
    ("month", Field::MonthName(Case::Lower)),
    ("MON", Field::MonthShort(Case::Upper)),
    ("Mon", Field::MonthShort(Case::Title)),
    ("mon", Field::MonthShort(Case::Lower)),
    ("DAY", Field::DayName(Case::Upper)),
    ("Day", Field::DayName(Case::Title)),
    ("day", Field::DayName(Case::Lower)),
    ("DY", Field::DayShort(Case::Upper)),
    ("Dy", Field::DayShort(Case::Title)),
    ("dy", Field::DayShort(Case::Lower)),
    ("RM", Field::MonthRoman(Case::Upper)),
    ("TZ", Field::Zone(Case::Upper)),
    ("tz", Field::Zone(Case::Lower)),
];

/// A pattern of Postgres. `FM` before a field takes away what pads it, `TH` behind it adds the ending
/// of an ordinal; text in double quotes stands for itself.
pub(crate) fn postgres(pattern: &str) -> Vec<PatternPiece> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while !rest.is_empty() {
        let prefix = ["FM", "fm", "TM", "tm"].iter().find_map(|prefix| rest.strip_prefix(prefix));
        let is_short = prefix.is_some();
        rest = prefix.unwrap_or(rest);
        let Some(first) = rest.chars().next() else { break };
        if let Some((name, field)) = field(rest) {
            rest = &rest[name.len()..];
            let ending = [("TH", Case::Upper), ("th", Case::Lower)]
                .into_iter()
                .find(|(ending, _)| rest.starts_with(ending));
            rest = &rest[ending.map_or(0, |_| 2)..];
            let ordinal = ending.map(|(_, case)| case);
            pieces.push(PatternPiece::Field { field, name, is_short, ordinal });
        } else if first == '"' {
            let (inner, behind) = quoted(&rest[1..]);
            pieces.extend(inner.chars().map(PatternPiece::Literal));
            rest = behind;
        } else {
            let first = if rest.starts_with("\\\"") { '"' } else { first };
            rest = &rest[if rest.starts_with("\\\"") { 2 } else { first.len_utf8() }..];
            pieces.push(match first {
                first if is_separator(first) || first.is_ascii_whitespace() => {
                    PatternPiece::Separator(first)
                }
                first => PatternPiece::Literal(first),
            });
        }
    }
    pieces
}

pub(super) fn is_separator(c: char) -> bool {
    c.is_ascii_punctuation()
}

/// The longest field that a text begins with.
fn field(rest: &str) -> Option<(&'static str, Field)> {
    let lower = |name: &str| rest.starts_with(&name.to_ascii_lowercase());
    let numbers = NUMBERS
        .iter()
        .chain(NAMES.iter().filter(|(name, _)| matches!(*name, "A.D." | "B.C." | "RM")));
    let small = numbers.filter(|(name, _)| lower(name)).map(|(name, field)| {
        (
            *name,
            match *field {
                Field::HalfDay(_, dots) => Field::HalfDay(Case::Lower, dots),
                Field::Era(_, dots) => Field::Era(Case::Lower, dots),
                Field::MonthRoman(_) => Field::MonthRoman(Case::Lower),
                other => other,
            },
        )
    });
    let as_is = NUMBERS.iter().chain(&NAMES).filter(|(name, _)| rest.starts_with(name)).copied();
    as_is.chain(small).max_by_key(|(name, _)| name.len())
}

/// A pattern of Java's, as Flink's DATE_FORMAT takes it; the letter that is none of it, if there is
/// one.
pub(crate) fn java(pattern: &str) -> Result<Vec<PatternPiece>, char> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix('\'') {
            let end = after.find('\'').unwrap_or(after.len());
            let inner = if end == 0 { "'" } else { &after[..end] };
            pieces.extend(inner.chars().map(PatternPiece::Literal));
            rest = after.get(end + 1..).unwrap_or("");
            continue;
        }
        if !first.is_ascii_alphabetic() {
            pieces.push(PatternPiece::Literal(first));
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let count = rest.chars().take_while(|c| *c == first).count();
        rest = &rest[count..];
        let field = match (first, count) {
            ('y' | 'u', 2) => Field::Year(2),
            ('y' | 'u', _) => Field::Year(4),
            ('Y', _) => Field::IsoYear(4),
            ('M' | 'L', 1 | 2) => Field::Month,
            ('M' | 'L', 3) => Field::MonthShort(Case::Title),
            ('M' | 'L', _) => Field::MonthName(Case::Title),
            ('d', _) => Field::Day,
            ('D', _) => Field::DayOfYear,
            ('E', 1..=3) => Field::DayShort(Case::Title),
            ('E', _) => Field::DayName(Case::Title),
            ('w', _) => Field::IsoWeek,
            ('q' | 'Q', _) => Field::Quarter,
            ('H', _) => Field::Hour24,
            ('h', _) => Field::Hour12,
            ('m', _) => Field::Minute,
            ('s', _) => Field::Second,
            ('S', 1) => Field::Fraction(1),
            ('S', 2 | 3) => Field::Millis,
            ('S', _) => Field::Micros,
            ('a', _) => Field::HalfDay(Case::Upper, Dots::Without),
            (other, _) => return Err(other),
        };
        // Java does not pad names.
        let is_name = matches!(field, Field::MonthName(_) | Field::DayName(_));
        let is_short = count == 1 || is_name;
        pieces.push(PatternPiece::Field { field, name: "", is_short, ordinal: None });
    }
    Ok(pieces)
}

/// The time as the pattern says.
///
/// # Errors
/// 22007 where an interval has no such field.
pub(crate) fn format(pieces: &[PatternPiece], time: &CalendarTime, out: &mut String) -> Result<()> {
    for piece in pieces {
        match piece {
            PatternPiece::Literal(c) | PatternPiece::Separator(c) => out.push(*c),
            PatternPiece::Field { field, is_short, ordinal, .. } => {
                let begin = out.len();
                put(*field, *is_short, time, out)?;
                if let Some(case) = ordinal
                    && out.ends_with(|c: char| c.is_ascii_digit())
                {
                    let ending = ordinal_ending(&out[begin..]);
                    name(ending, *case, ending.len(), out);
                }
            }
        }
    }
    Ok(())
}

fn put(field: Field, is_short: bool, time: &CalendarTime, out: &mut String) -> Result<()> {
    let is_interval = time.kind == TimeKind::Interval;
    if is_interval && is_of_dates(field) {
        let what = "invalid format specification for an interval value";
        return Err(Error::new(SqlState::BadDatetime, what)
            .hint("Intervals are not tied to specific calendar dates."));
    }
    let year = |year: i64| if year <= 0 && !is_interval { 1 - year } else { year };
    let padded = |length: usize| if is_short { 0 } else { length };
    let month = usize::try_from(time.month - 1).unwrap_or(0);
    let day = weekday(time.days) as usize;
    match field {
        Field::MonthName(case) => name(MONTHS[month], case, padded(9), out),
        Field::MonthShort(case) => name(&MONTHS[month][..3], case, 0, out),
        Field::MonthRoman(_) if time.month == 0 && time.year == 0 => {}
        Field::MonthRoman(case) => {
            let at = match time.month {
                0 if time.year >= 0 => 11,
                0 => 0,
                month => (month - 1).rem_euclid(12),
            };
            let at = if time.month < 0 { (12 + time.month) as usize } else { at as usize };
            name(ROMAN[at], case, padded(4), out);
        }
        Field::DayName(case) => name(DAYS[day], case, padded(9), out),
        Field::DayShort(case) => name(&DAYS[day][..3], case, 0, out),
        Field::HalfDay(case, dots) => {
            let is_first = time.hour % 24 < 12;
            dotted(if is_first { ["AM", "A.M."] } else { ["PM", "P.M."] }, dots, case, out);
        }
        Field::Era(case, dots) => {
            dotted(if time.year <= 0 { ["BC", "B.C."] } else { ["AD", "A.D."] }, dots, case, out);
        }
        Field::Exact => {}
        Field::Zone(_) | Field::ZoneHours | Field::ZoneMinutes | Field::ZoneOffset => {
            zone(field, is_short, time, out);
        }
        Field::YearWithComma => {
            let year = year(time.year);
            let _ = write!(out, "{},{:03}", year / 1_000, year % 1_000);
        }
        Field::Quarter if time.month == 0 => {}
        Field::Year(digits) => years(year(time.year), digits, is_short, out),
        Field::IsoYear(digits) => {
            years(year(iso_year_and_day(time.date()).0), digits, is_short, out);
        }
        _ => {
            let (number, width) = number(field, time);
            // Days and weeks have no place for a sign.
            let has_sign =
                number < 0 && !matches!(field, Field::Day | Field::WeekOfYear | Field::IsoWeek);
            let width = padded(width + usize::from(has_sign && width == 2));
            // Fractions have all their digits in any case.
            let width = match field {
                Field::Millis => 3,
                Field::Micros => 6,
                Field::Fraction(digits) => digits.into(),
                _ => width,
            };
            padded_number(number, width, out);
        }
    }
    Ok(())
}

/// A field of the zone: `CET`, `+01`, `00`.
fn zone(field: Field, is_short: bool, time: &CalendarTime, out: &mut String) {
    let (abbreviation, ahead) = time.zone();
    let sign = if ahead < 0 { '-' } else { '+' };
    let (hours, minutes) = (i64::from(ahead.abs() / 3_600), i64::from(ahead.abs() / 60 % 60));
    match field {
        Field::Zone(case) => name(&abbreviation, case, 0, out),
        Field::ZoneMinutes => padded_number(minutes, 2, out),
        _ => {
            out.push(sign);
            let is_one = is_short && field == Field::ZoneOffset;
            padded_number(hours, if is_one { 1 } else { 2 }, out);
            if field == Field::ZoneOffset && minutes != 0 {
                out.push(':');
                padded_number(minutes, 2, out);
            }
        }
    }
}

/// A field that is a number, and how many digits it has at the least.
fn number(field: Field, time: &CalendarTime) -> (i64, usize) {
    match field {
        Field::Century => {
            let century = match time.kind {
                TimeKind::Interval => time.year / 100,
                _ if time.year > 0 => (time.year - 1) / 100 + 1,
                _ => time.year / 100 - 1,
            };
            (century, if century.abs() <= 99 { 2 } else { 0 })
        }
        Field::Month => (time.month, 2),
        Field::Day => (time.day, 2),
        Field::DayOfYear => (time.day_of_year(), 3),
        Field::IsoDayOfYear => (iso_year_and_day(time.date()).1, 3),
        Field::DayOfWeek => (weekday(time.days) + 1, 0),
        Field::IsoDayOfWeek => ((weekday(time.days) + 6) % 7 + 1, 0),
        Field::WeekOfMonth => ((time.day - 1) / 7 + 1, 0),
        Field::WeekOfYear => ((time.day_of_year() - 1) / 7 + 1, 2),
        Field::IsoWeek => ((iso_year_and_day(time.date()).1 - 1) / 7 + 1, 2),
        Field::Julian => (time.date() + JULIAN_1970, 0),
        Field::Quarter => ((time.month - 1) / 3 + 1, 0),
        Field::Hour24 => (time.hour, 2),
        Field::Hour12 if time.hour % 12 == 0 => (12, 2),
        Field::Hour12 => (time.hour % 12, 2),
        Field::Minute => (time.minute, 2),
        Field::Second => (time.second, 2),
        Field::SecondOfDay => (time.hour * 3_600 + time.minute * 60 + time.second, 0),
        Field::Millis => (time.micros / 1_000, 0),
        Field::Micros => (time.micros, 0),
        Field::Fraction(digits) => (time.micros / 10i64.pow(6 - u32::from(digits.min(6))), 0),
        _ => (0, 0),
    }
}

/// The last digits of a year.
fn years(year: i64, digits: u8, is_short: bool, out: &mut String) {
    let shown = if digits >= 4 { year } else { year % 10i64.pow(digits.into()) };
    let width = if is_short { 0 } else { usize::from(digits) + usize::from(shown < 0) };
    padded_number(shown, width, out);
}

/// A number with zeros before it, which is what `{number:0width$}` writes, in a third of the time:
/// a date has three to seven of them.
fn padded_number(number: i64, width: usize, out: &mut String) {
    let mut written = [0; 20];
    let (mut at, mut rest) = (written.len(), number.unsigned_abs());
    while at == written.len() || rest > 0 {
        at -= 1;
        written[at] = (rest % 10) as u8;
        rest /= 10;
    }
    out.extend((number < 0).then_some('-'));
    let length = written.len() - at + usize::from(number < 0);
    out.extend(std::iter::repeat_n('0', width.saturating_sub(length)));
    out.extend(written[at..].iter().map(|digit| char::from(b'0' + digit)));
}

/// What only a date has.
fn is_of_dates(field: Field) -> bool {
    matches!(
        field,
        Field::Era(..)
            | Field::MonthName(_)
            | Field::MonthShort(_)
            | Field::DayName(_)
            | Field::DayShort(_)
            | Field::DayOfWeek
            | Field::IsoDayOfWeek
            | Field::Zone(_)
            | Field::ZoneHours
            | Field::ZoneMinutes
            | Field::ZoneOffset
    )
}

fn dotted(both: [&str; 2], dots: Dots, case: Case, out: &mut String) {
    name(both[usize::from(dots == Dots::With)], case, 0, out);
}

fn name(name: &str, case: Case, width: usize, out: &mut String) {
    match case {
        Case::Upper => out.extend(name.chars().map(|c| c.to_ascii_uppercase())),
        Case::Lower => out.extend(name.chars().map(|c| c.to_ascii_lowercase())),
        Case::Title => out.push_str(name),
    }
    out.extend(std::iter::repeat_n(' ', width.saturating_sub(name.len())));
}
