//! Patterns for dates and times, in the spelling of Postgres (`YYYY-MM-DD HH24:MI:SS`) and of Flink
//! and Java (`yyyy-MM-dd HH:mm:ss`), both into the same fields, and those both ways: a moment to
//! text, and text to a moment.

use std::fmt::Write;

use chrono::{Datelike, NaiveDate, NaiveDateTime, Timelike};

/// One piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PatternPiece {
    Literal(String),
    Field(Field, Width),
}

/// Whether numbers have leading zeros and names are padded with blanks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    Full,
    Short,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Year,
    YearOfCentury,
    Month,
    MonthName(Case),
    MonthShort(Case),
    Day,
    DayOfYear,
    DayName(Case),
    DayShort(Case),
    DayOfWeek,
    IsoYear,
    IsoWeek,
    Quarter,
    Hour24,
    Hour12,
    Minute,
    Second,
    Millis,
    Micros,
    Tenths,
    HalfDay(Case),
    Zone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Upper,
    Title,
    Lower,
}

const MONTHS: [&str; 12] = [
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
const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// The fields of Postgres, longest first where one begins like another. Names of months and days
/// tell by their own case how to write them; the others may be in any case.
const POSTGRES: [(&str, Field); 40] = [
    ("YYYY", Field::Year),
    ("IYYY", Field::IsoYear),
    ("YY", Field::YearOfCentury),
    ("MONTH", Field::MonthName(Case::Upper)),
    ("Month", Field::MonthName(Case::Title)),
    ("month", Field::MonthName(Case::Lower)),
    ("MON", Field::MonthShort(Case::Upper)),
    ("Mon", Field::MonthShort(Case::Title)),
    ("mon", Field::MonthShort(Case::Lower)),
    ("MM", Field::Month),
    ("MI", Field::Minute),
    ("MS", Field::Millis),
    ("DDD", Field::DayOfYear),
    ("DD", Field::Day),
    ("DAY", Field::DayName(Case::Upper)),
    ("Day", Field::DayName(Case::Title)),
    ("day", Field::DayName(Case::Lower)),
    ("DY", Field::DayShort(Case::Upper)),
    ("Dy", Field::DayShort(Case::Title)),
    ("dy", Field::DayShort(Case::Lower)),
    ("ID", Field::DayOfWeek),
    ("IW", Field::IsoWeek),
    ("Q", Field::Quarter),
    ("HH24", Field::Hour24),
    ("HH12", Field::Hour12),
    ("HH", Field::Hour12),
    ("SS", Field::Second),
    ("US", Field::Micros),
    ("FF1", Field::Tenths),
    ("FF3", Field::Millis),
    ("FF6", Field::Micros),
    ("AM", Field::HalfDay(Case::Upper)),
    ("PM", Field::HalfDay(Case::Upper)),
    ("am", Field::HalfDay(Case::Lower)),
    ("pm", Field::HalfDay(Case::Lower)),
    ("TZH", Field::Zone),
    ("TZ", Field::Zone),
    ("OF", Field::Zone),
    ("Y", Field::YearOfCentury),
    ("D", Field::DayOfWeek),
];

/// A pattern of Postgres. `FM` before a field takes away what pads it; text in double quotes stands
/// for itself.
pub(crate) fn postgres(pattern: &str) -> Vec<PatternPiece> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    let mut width = Width::Full;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("FM").or_else(|| rest.strip_prefix("fm")) {
            (width, rest) = (Width::Short, after);
        } else if let Some(after) = rest.strip_prefix('"') {
            let end = after.find('"').unwrap_or(after.len());
            literal(&mut pieces, &after[..end]);
            rest = after.get(end + 1..).unwrap_or("");
        } else if let Some((name, field)) = field(rest) {
            pieces.push(PatternPiece::Field(field, width));
            (width, rest) = (Width::Full, &rest[name.len()..]);
        } else {
            literal(&mut pieces, &rest[..first.len_utf8()]);
            rest = &rest[first.len_utf8()..];
        }
    }
    pieces
}

fn field(rest: &str) -> Option<(&'static str, Field)> {
    let exact = POSTGRES.iter().find(|(name, _)| rest.starts_with(name));
    let any = || {
        POSTGRES
            .iter()
            .find(|(name, _)| rest.get(..name.len()).is_some_and(|s| s.eq_ignore_ascii_case(name)))
    };
    // A longer field in another case goes before a shorter one in this case: `ddd` is not `d` three
    // times.
    let found = match (exact, any()) {
        (Some(exact), Some(any)) if any.0.len() > exact.0.len() => any,
        (Some(exact), _) => exact,
        (None, any) => any?,
    };
    Some(*found)
}

fn literal(pieces: &mut Vec<PatternPiece>, text: &str) {
    match pieces.last_mut() {
        Some(PatternPiece::Literal(last)) => last.push_str(text),
        _ => pieces.push(PatternPiece::Literal(text.to_owned())),
    }
}

/// A pattern of Java's, as Flink's DATE_FORMAT takes it; the letter that is none of it, if there is
/// one.
pub(crate) fn java(pattern: &str) -> Result<Vec<PatternPiece>, char> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix('\'') {
            let end = after.find('\'').unwrap_or(after.len());
            literal(&mut pieces, if end == 0 { "'" } else { &after[..end] });
            rest = after.get(end + 1..).unwrap_or("");
            continue;
        }
        if !first.is_ascii_alphabetic() {
            literal(&mut pieces, &rest[..first.len_utf8()]);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let count = rest.chars().take_while(|c| *c == first).count();
        rest = &rest[count..];
        let width = if count == 1 { Width::Short } else { Width::Full };
        let field = match (first, count) {
            ('y' | 'u', 2) => Field::YearOfCentury,
            ('y' | 'u', _) => Field::Year,
            ('Y', _) => Field::IsoYear,
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
            ('S', 1) => Field::Tenths,
            ('S', 2 | 3) => Field::Millis,
            ('S', _) => Field::Micros,
            ('a', _) => Field::HalfDay(Case::Upper),
            (other, _) => return Err(other),
        };
        // Java does not pad names.
        let named = matches!(field, Field::MonthName(_) | Field::DayName(_));
        pieces.push(PatternPiece::Field(field, if named { Width::Short } else { width }));
    }
    Ok(pieces)
}

/// The moment as the pattern says; `zone` is what stands for the time zone.
pub(crate) fn format(pieces: &[PatternPiece], moment: NaiveDateTime, zone: &str, out: &mut String) {
    for piece in pieces {
        match piece {
            PatternPiece::Literal(text) => out.push_str(text),
            PatternPiece::Field(field, width) => put(*field, *width, moment, zone, out),
        }
    }
}

fn put(field: Field, width: Width, moment: NaiveDateTime, zone: &str, out: &mut String) {
    let mut number = |value: i64, digits: usize| {
        // Writing to a String cannot fail.
        let _ = match width {
            Width::Full => write!(out, "{value:0digits$}"),
            Width::Short => write!(out, "{value}"),
        };
    };
    let hour12 = |hour: u32| if hour.is_multiple_of(12) { 12 } else { hour % 12 };
    match field {
        Field::Year => number(moment.year().into(), 4),
        Field::YearOfCentury => number(moment.year().rem_euclid(100).into(), 2),
        Field::Month => number(moment.month().into(), 2),
        Field::Day => number(moment.day().into(), 2),
        Field::DayOfYear => number(moment.ordinal().into(), 3),
        Field::DayOfWeek => number(moment.weekday().number_from_sunday().into(), 1),
        Field::IsoYear => number(moment.iso_week().year().into(), 4),
        Field::IsoWeek => number(moment.iso_week().week().into(), 2),
        Field::Quarter => number(moment.month().div_ceil(3).into(), 1),
        Field::Hour24 => number(moment.hour().into(), 2),
        Field::Hour12 => number(hour12(moment.hour()).into(), 2),
        Field::Minute => number(moment.minute().into(), 2),
        Field::Second => number(moment.second().into(), 2),
        Field::Millis => number((moment.nanosecond() / 1_000_000).into(), 3),
        Field::Micros => number((moment.nanosecond() / 1_000).into(), 6),
        Field::Tenths => number((moment.nanosecond() / 100_000_000).into(), 1),
        Field::MonthName(case) => name(MONTHS[moment.month0() as usize], case, width, out),
        Field::MonthShort(case) => {
            name(&MONTHS[moment.month0() as usize][..3], case, Width::Short, out)
        }
        Field::DayName(case) => {
            name(DAYS[moment.weekday().num_days_from_monday() as usize], case, width, out)
        }
        Field::DayShort(case) => {
            name(
                &DAYS[moment.weekday().num_days_from_monday() as usize][..3],
                case,
                Width::Short,
                out,
            );
        }
        Field::HalfDay(case) => {
            name(if moment.hour() < 12 { "AM" } else { "PM" }, case, Width::Short, out)
        }
        Field::Zone => out.push_str(zone),
    }
}

fn name(name: &str, case: Case, width: Width, out: &mut String) {
    match case {
        Case::Upper => out.extend(name.chars().map(|c| c.to_ascii_uppercase())),
        Case::Lower => out.extend(name.chars().map(|c| c.to_ascii_lowercase())),
        Case::Title => out.push_str(name),
    }
    if width == Width::Full {
        // Postgres pads names to the length of the longest one.
        out.extend(std::iter::repeat_n(' ', 9 - name.len()));
    }
}

/// The moment that a text in that pattern says; `None` when it says none.
pub(crate) fn parse(pieces: &[PatternPiece], text: &str) -> Option<NaiveDateTime> {
    let mut rest = text.trim();
    let (mut year, mut month, mut day, mut ordinal) = (1, 1, 1, None);
    let (mut hour, mut minute, mut second, mut nanos, mut half) = (0, 0, 0, 0, None);
    for (index, piece) in pieces.iter().enumerate() {
        let field = match piece {
            PatternPiece::Literal(literal) => {
                // As in Postgres separators stand for each other.
                for expected in literal.chars() {
                    if expected.is_whitespace() {
                        rest = rest.trim_start();
                        continue;
                    }
                    let found = rest.chars().next()?;
                    if found != expected && (found.is_alphanumeric() || expected.is_alphanumeric())
                    {
                        return None;
                    }
                    rest = &rest[found.len_utf8()..];
                }
                continue;
            }
            PatternPiece::Field(field, _) => *field,
        };
        // A field may take more digits than usual unless the next field follows at once.
        let next_is_field = matches!(pieces.get(index + 1), Some(PatternPiece::Field(..)));
        let mut number =
            |usual: usize| take_number(&mut rest, if next_is_field { usual } else { usual.max(6) });
        match field {
            Field::Year | Field::IsoYear => year = number(4)? as i32,
            Field::YearOfCentury => {
                let two = number(2)? as i32;
                year = if two < 70 { 2000 + two } else { 1900 + two };
            }
            Field::Month => month = number(2)?,
            Field::Day => day = number(2)?,
            Field::DayOfYear => ordinal = Some(number(3)?),
            Field::Hour24 | Field::Hour12 => hour = number(2)?,
            Field::Minute => minute = number(2)?,
            Field::Second => second = number(2)?,
            Field::Millis | Field::Micros | Field::Tenths => nanos = take_fraction(&mut rest)?,
            Field::MonthName(_) | Field::MonthShort(_) => {
                month = take_name(&mut rest, &MONTHS)? as u32 + 1
            }
            Field::DayName(_) | Field::DayShort(_) => {
                take_name(&mut rest, &DAYS)?;
            }
            Field::HalfDay(_) => half = Some(take_name(&mut rest, &["AM", "PM"])? as u32),
            Field::DayOfWeek | Field::IsoWeek | Field::Quarter => {
                number(2)?;
            }
            Field::Zone => return None,
        }
    }
    if !rest.trim().is_empty() {
        return None;
    }
    if let Some(half) = half {
        hour = (1..=12).contains(&hour).then_some(hour % 12 + 12 * half)?;
    }
    let date = match ordinal {
        Some(ordinal) => NaiveDate::from_yo_opt(year, ordinal)?,
        None => NaiveDate::from_ymd_opt(year, month, day)?,
    };
    date.and_hms_nano_opt(hour, minute, second, nanos)
}

fn take_number(rest: &mut &str, most: usize) -> Option<u32> {
    *rest = rest.trim_start();
    let digits = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let number = rest[..digits].parse().ok()?;
    *rest = &rest[digits..];
    Some(number)
}

/// Digits after the point, as nanoseconds.
fn take_fraction(rest: &mut &str) -> Option<u32> {
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=9).contains(&digits) {
        return None;
    }
    let number: u32 = rest[..digits].parse().ok()?;
    *rest = &rest[digits..];
    Some(number * 10u32.pow(9 - digits as u32))
}

fn take_name(rest: &mut &str, names: &[&str]) -> Option<usize> {
    let fits = |length: usize, name: &str| {
        rest.get(..length).is_some_and(|found| found.eq_ignore_ascii_case(&name[..length]))
    };
    let whole = names
        .iter()
        .position(|name| fits(name.len(), name))
        .map(|index| (index, names[index].len()));
    let short =
        || names.iter().position(|name| name.len() > 3 && fits(3, name)).map(|index| (index, 3));
    let (index, length) = whole.or_else(short)?;
    *rest = &rest[length..];
    Some(index)
}
