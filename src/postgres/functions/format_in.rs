//! Dates and times read from text by a pattern: `to_timestamp('05 Dec 2000', 'DD Mon YYYY')`.
//!
//! Fields are read one after the other, with what blanks and signs stand between them, and put
//! together at the end; what comes behind the last one does not matter.

use super::calendar_time::{JULIAN_1970, iso_begin};
use super::format::{DAYS, Dots, Field, MONTHS, PatternPiece, ROMAN, is_separator};
use crate::error::{Error, Result, SqlState};
use crate::types::Zone;
use crate::types::calendar::{date_of, days_in_month, days_of};

/// What a text says.
pub(crate) struct ReadTime {
    /// Microseconds since 1970 by the clock on the wall.
    pub(crate) local: i64,
    /// How many seconds that clock is ahead of UTC, if the text says it.
    pub(crate) ahead: Option<i64>,
}

impl ReadTime {
    /// The microseconds since 1970 in UTC, where the clock is that of a zone.
    ///
    /// # Errors
    /// 22008 at the end of time.
    pub(crate) fn moment_in(&self, zone: Zone) -> Result<i64> {
        let of_zone = || zone.offset_of_local(self.local.div_euclid(1_000_000)).into();
        let ahead = self.ahead.unwrap_or_else(of_zone);
        self.local.checked_sub(ahead * 1_000_000).ok_or_else(too_late)
    }
}

fn too_late() -> Error {
    Error::new(SqlState::DatetimeOverflow, "timestamp out of range")
}

/// The time that a text in that pattern says.
///
/// # Errors
/// 22007 and 22008, as `to_timestamp` has them in Postgres.
pub(crate) fn read(pieces: &[PatternPiece], text: &str) -> Result<ReadTime> {
    let mut reader = FieldReader {
        rest: text,
        is_exact: false,
        extra: 0,
        is_behind_minus: false,
        fields: ReadFields::default(),
    };
    for (at, piece) in pieces.iter().enumerate() {
        if reader.rest.is_empty() {
            break;
        }
        reader.piece(piece, &pieces[at + 1..], at == 0)?;
    }
    let fields = &reader.fields;
    let ahead = fields.zone_sign * (fields.zone_hours * 3_600 + fields.zone_minutes * 60);
    Ok(ReadTime { local: fields.micros(text)?, ahead: (fields.zone_sign != 0).then_some(ahead) })
}

fn bad(what: String) -> Error {
    Error::new(SqlState::BadDatetime, what)
}

/// The weeks that days and years are counted by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DateConvention {
    Gregorian,
    IsoWeek,
}

/// What has been read; 0 is nothing.
#[derive(Default)]
struct ReadFields {
    convention: Option<DateConvention>,
    /// Digits of the year.
    year_digits: u8,
    year: i64,
    century: i64,
    era: i64,
    month: i64,
    day: i64,
    day_of_year: i64,
    /// 1 is Sunday.
    day_of_week: i64,
    week: i64,
    week_of_month: i64,
    julian: i64,
    hour: i64,
    minute: i64,
    second: i64,
    second_of_day: i64,
    millis: i64,
    micros: i64,
    half: i64,
    has_half: bool,
    zone_sign: i64,
    zone_hours: i64,
    zone_minutes: i64,
}

struct FieldReader<'t> {
    rest: &'t str,
    is_exact: bool,
    /// Blanks that have been skipped and the pattern does not have.
    extra: i64,
    is_behind_minus: bool,
    fields: ReadFields,
}

fn is_digits(field: Field) -> bool {
    !matches!(
        field,
        Field::MonthName(_)
            | Field::MonthShort(_)
            | Field::MonthRoman(_)
            | Field::DayName(_)
            | Field::DayShort(_)
            | Field::HalfDay(..)
            | Field::Era(..)
            | Field::Zone(_)
            | Field::ZoneHours
            | Field::ZoneOffset
            | Field::Exact
    )
}

fn convention(field: Field) -> Option<DateConvention> {
    match field {
        Field::IsoYear(_) | Field::IsoWeek | Field::IsoDayOfWeek | Field::IsoDayOfYear => {
            Some(DateConvention::IsoWeek)
        }
        Field::Year(_)
        | Field::YearWithComma
        | Field::Month
        | Field::MonthName(_)
        | Field::MonthShort(_)
        | Field::MonthRoman(_)
        | Field::Day
        | Field::DayOfYear
        | Field::DayOfWeek
        | Field::WeekOfYear
        | Field::WeekOfMonth => Some(DateConvention::Gregorian),
        _ => None,
    }
}

impl FieldReader<'_> {
    fn skip(&mut self) {
        let mut chars = self.rest.chars();
        self.is_behind_minus = chars.next() == Some('-');
        self.rest = chars.as_str();
    }

    fn skip_blanks(&mut self) {
        while self.rest.starts_with(|c: char| c.is_ascii_whitespace()) {
            self.skip();
            self.extra += 1;
        }
    }

    fn piece(
        &mut self,
        piece: &PatternPiece,
        behind: &[PatternPiece],
        is_first: bool,
    ) -> Result<()> {
        let is_field = matches!(piece, PatternPiece::Field { .. });
        let begins_exact = matches!(piece, PatternPiece::Field { field: Field::Exact, .. });
        if !self.is_exact && !begins_exact && (is_field || is_first) {
            self.skip_blanks();
        }
        match piece {
            PatternPiece::Separator(_) if !self.is_exact => {
                self.extra -= 1;
                if self.rest.starts_with(|c: char| c.is_ascii_whitespace() || is_separator(c)) {
                    self.skip();
                    self.extra += 1;
                }
            }
            PatternPiece::Literal(_) if !self.is_exact && self.extra > 0 => self.extra -= 1,
            PatternPiece::Separator(_) | PatternPiece::Literal(_) => self.skip(),
            PatternPiece::Field { field, name, is_short, ordinal } => {
                if let Some(convention) = convention(*field) {
                    if self.fields.convention.is_some_and(|known| known != convention) {
                        let what = "invalid combination of date conventions".to_owned();
                        return Err(bad(what).hint("Do not mix Gregorian and ISO week date conventions in a formatting template."));
                    }
                    self.fields.convention = Some(convention);
                }
                let is_last_digit = match behind.first() {
                    _ if ordinal.is_some() || *is_short => true,
                    None => true,
                    Some(PatternPiece::Field { field, .. }) => !is_digits(*field),
                    Some(PatternPiece::Literal(c)) => !c.is_ascii_digit(),
                    Some(PatternPiece::Separator(_)) => true,
                };
                self.field(*field, name, is_last_digit)?;
                if ordinal.is_some() {
                    self.rest = self.rest.get(2..).unwrap_or("");
                }
                if !self.is_exact {
                    self.extra = 0;
                    self.skip_blanks();
                }
            }
        }
        Ok(())
    }

    fn field(&mut self, field: Field, name: &str, is_free: bool) -> Result<()> {
        let int = |reader: &mut Self, digits: usize| reader.number(name, digits, is_free);
        match field {
            Field::Exact => self.is_exact = true,
            Field::HalfDay(_, dots) => {
                self.fields.half = self.one_of(name, &dotted(["am", "pm"], dots))?;
                self.fields.has_half = true;
            }
            Field::Era(_, dots) => {
                self.fields.era = self.one_of(name, &dotted(["ad", "bc"], dots))?
            }
            Field::MonthName(_)
            | Field::MonthShort(_)
            | Field::MonthRoman(_)
            | Field::DayName(_)
            | Field::DayShort(_) => return self.named(field, name),
            Field::Zone(_) | Field::ZoneOffset => {
                return Err(Error::unsupported(format!(
                    "formatting field \"{name}\" is only supported in to_char"
                )));
            }
            Field::ZoneHours => {
                self.fields.zone_sign = match self.rest.chars().next() {
                    Some('-') => -1,
                    Some('+' | ' ') => 1,
                    // The minus has been taken for a sign between two fields.
                    _ if self.extra > 0 && self.is_behind_minus => -1,
                    _ => 1,
                };
                if self.rest.starts_with(['+', '-', ' ']) {
                    self.skip();
                }
                self.fields.zone_hours = int(self, 2)?.0;
            }
            Field::YearWithComma => return self.year_with_comma(name),
            Field::Year(digits) | Field::IsoYear(digits) => {
                let (year, length) = int(self, digits.into())?;
                self.fields.year_digits = digits;
                let is_whole = digits == 4 || length >= 4;
                let year = if is_whole { year } else { nearest_year(year) };
                return set(&mut self.fields.year, year, name);
            }
            Field::Millis => {
                let (millis, length) = int(self, 3)?;
                self.fields.millis = millis * 10i64.pow(3u32.saturating_sub(length as u32));
            }
            Field::Micros => self.fraction(name, 6, is_free)?,
            Field::Fraction(digits) => self.fraction(name, digits.into(), is_free)?,
            Field::IsoDayOfWeek => {
                let day = int(self, 1)?.0 % 7 + 1;
                return set(&mut self.fields.day_of_week, day, name);
            }
            _ => {
                let number = int(self, digits_of(field, name))?.0;
                if let Some(place) = self.place(field) {
                    return set(place, number, name);
                }
            }
        }
        Ok(())
    }

    /// A month or a day of the week.
    fn named(&mut self, field: Field, name: &str) -> Result<()> {
        let number = match field {
            Field::MonthName(_) => self.one_of(name, &MONTHS)? + 1,
            Field::MonthShort(_) => self.one_of(name, &MONTHS.map(|month| &month[..3]))? + 1,
            Field::DayName(_) => self.one_of(name, &DAYS)? + 1,
            Field::DayShort(_) => self.one_of(name, &DAYS.map(|day| &day[..3]))? + 1,
            // VIII before VII before VI.
            _ => {
                let mut longest = ROMAN;
                longest.reverse();
                12 - self.one_of(name, &longest)?
            }
        };
        match field {
            Field::DayName(_) | Field::DayShort(_) => {
                set(&mut self.fields.day_of_week, number, name)
            }
            _ => set(&mut self.fields.month, number, name),
        }
    }

    fn year_with_comma(&mut self, name: &str) -> Result<()> {
        let (thousands, rest) = self.rest.split_once(',').unwrap_or((self.rest, ""));
        let length = rest.bytes().take(3).take_while(u8::is_ascii_digit).count();
        let (Ok(thousands), Ok(years)) = (thousands.parse::<i64>(), rest[..length].parse::<i64>())
        else {
            return Err(bad("invalid input string for \"Y,YYY\"".to_owned()));
        };
        self.rest = &rest[length..];
        self.fields.year_digits = 4;
        set(&mut self.fields.year, thousands.saturating_mul(1_000) + years, name)
    }

    fn place(&mut self, field: Field) -> Option<&mut i64> {
        let fields = &mut self.fields;
        fields.has_half |= field == Field::Hour12;
        fields.zone_sign = match field {
            Field::ZoneMinutes if fields.zone_sign == 0 => 1,
            _ => fields.zone_sign,
        };
        Some(match field {
            Field::Century => &mut fields.century,
            Field::Month => &mut fields.month,
            Field::Day => &mut fields.day,
            Field::DayOfYear | Field::IsoDayOfYear => &mut fields.day_of_year,
            Field::DayOfWeek => &mut fields.day_of_week,
            Field::WeekOfYear | Field::IsoWeek => &mut fields.week,
            Field::WeekOfMonth => &mut fields.week_of_month,
            Field::Julian => &mut fields.julian,
            Field::Hour24 | Field::Hour12 => &mut fields.hour,
            Field::Minute => &mut fields.minute,
            Field::Second => &mut fields.second,
            Field::SecondOfDay => &mut fields.second_of_day,
            Field::ZoneMinutes => &mut fields.zone_minutes,
            // A quarter is read and says nothing.
            _ => return None,
        })
    }

    fn fraction(&mut self, name: &str, digits: usize, is_free: bool) -> Result<()> {
        let (fraction, length) = self.number(name, digits, is_free)?;
        self.fields.micros = fraction * 10i64.pow(6u32.saturating_sub(length as u32));
        Ok(())
    }

    /// A number and how many characters it has: `digits`, or as many as there are if what follows in
    /// the pattern ends it.
    fn number(&mut self, name: &str, digits: usize, is_free: bool) -> Result<(i64, usize)> {
        let before = self.rest.len();
        self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
        let copy: String = self.rest.chars().take(digits).collect();
        let sign = usize::from(self.rest.starts_with(['+', '-']));
        let most = if is_free { usize::MAX } else { digits.saturating_sub(sign) };
        let length = self.rest[sign..].bytes().take(most).take_while(u8::is_ascii_digit).count();
        let used = if length == 0 { 0 } else { sign + length };
        let detail = if !is_free && self.rest.len() < digits {
            let what = format!("source string too short for \"{name}\" formatting field");
            let left = self.rest.len();
            let detail = format!("Field requires {digits} characters, but only {left} remain.");
            let hint = "If your source string is not fixed-width, try using the \"FM\" modifier.";
            return Err(bad(what).detail(detail).hint(hint));
        } else if used == 0 {
            Some("Value must be an integer.".to_owned())
        } else if !is_free && used < digits {
            Some(format!("Field requires {digits} characters, but only {used} could be parsed."))
        } else {
            None
        };
        if let Some(detail) = detail {
            return Err(bad(format!("invalid value \"{copy}\" for \"{name}\"")).detail(detail));
        }
        let number = self.rest[..used].parse::<i64>().ok();
        let number = number.filter(|number| i32::try_from(*number).is_ok()).ok_or_else(|| {
            let what = format!("value for \"{name}\" in source string is out of range");
            let detail = "Value must be in the range -2147483648 to 2147483647.";
            Error::new(SqlState::DatetimeOverflow, what).detail(detail)
        })?;
        self.rest = &self.rest[used..];
        Ok((number, before - self.rest.len()))
    }

    /// Which of these names stands there.
    fn one_of(&mut self, field: &str, names: &[&str]) -> Result<i64> {
        let begins = |name: &&str| {
            self.rest.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name))
        };
        let Some(at) = names.iter().position(begins) else {
            let word = self.rest.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or("");
            let detail = "The given value did not match any of the allowed values for this field.";
            return Err(bad(format!("invalid value \"{word}\" for \"{field}\"")).detail(detail));
        };
        self.rest = &self.rest[names[at].len()..];
        Ok(at as i64)
    }
}

fn dotted(names: [&'static str; 2], dots: Dots) -> [&'static str; 2] {
    match (dots, names) {
        (Dots::With, ["am", _]) => ["a.m.", "p.m."],
        (Dots::With, _) => ["a.d.", "b.c."],
        (Dots::Without, names) => names,
    }
}

/// How many characters a number has if more could follow.
fn digits_of(field: Field, name: &str) -> usize {
    match field {
        Field::Hour24 | Field::Hour12 | Field::ZoneMinutes => 2,
        _ => name.len(),
    }
}

fn set(place: &mut i64, value: i64, name: &str) -> Result<()> {
    if *place != 0 && *place != value {
        let what = format!("conflicting values for \"{name}\" field in formatting string");
        let detail = "This value contradicts a previous setting for the same field type.";
        return Err(bad(what).detail(detail));
    }
    *place = value;
    Ok(())
}

/// The year nearest to 2020 that ends like this.
fn nearest_year(year: i64) -> i64 {
    match year {
        ..70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        year => year,
    }
}

impl ReadFields {
    fn year(&self) -> i64 {
        let century = if self.era == 1 { -self.century } else { self.century };
        if self.year != 0 && self.century != 0 && self.year_digits <= 2 {
            return match self.year % 100 {
                0 => century * 100 + i64::from(century < 0),
                year if century >= 0 => year + (century - 1) * 100,
                year => (century + 1) * 100 - year + 1,
            };
        }
        if self.year != 0 {
            let year = if self.era == 1 { -self.year } else { self.year };
            return year + i64::from(year < 0);
        }
        match century {
            0 => 0,
            century if century > 0 => (century - 1) * 100 + 1,
            century => century * 100 + 1,
        }
    }

    /// The day since 1970; None: there is no such day.
    fn date(&self) -> Result<Option<i64>> {
        let (mut year, mut month, mut day) = (self.year(), 1, 1);
        let mut put = |days: i64| {
            let (y, m, d) = date_of(days);
            (year, month, day) = (y, i64::from(m), i64::from(d));
        };
        if self.julian != 0 {
            put(self.julian - JULIAN_1970);
        }
        let is_iso = self.convention == Some(DateConvention::IsoWeek);
        let mut day_of_year = self.day_of_year;
        if self.week != 0 && is_iso {
            let monday = iso_begin(self.year()) + (self.week - 1) * 7;
            put(monday + if self.day_of_week == 0 { 0 } else { (self.day_of_week + 5) % 7 });
        } else if self.week != 0 {
            day_of_year = (self.week - 1) * 7 + 1;
        }
        if self.week_of_month != 0 {
            day = (self.week_of_month - 1) * 7 + 1;
        }
        day = if self.day != 0 { self.day } else { day };
        month = if self.month != 0 { self.month } else { month };
        if day_of_year != 0 && (month <= 1 || day <= 1) {
            if year == 0 && self.era == 0 {
                let what = "cannot calculate day of year without year information";
                return Err(bad(what.to_owned()));
            }
            let days = if is_iso { iso_begin(year) } else { days_of(year, 1, 1) } + day_of_year - 1;
            let (y, m, d) = date_of(days);
            if !is_iso && y != year {
                return Ok(None);
            }
            (year, month, day) = (y, i64::from(m), i64::from(d));
        }
        let is_day = |month: u32| (1..=i64::from(days_in_month(year, month))).contains(&day);
        Ok(match u32::try_from(month) {
            Ok(month @ 1..=12) if is_day(month) => Some(days_of(year, month, day as u32)),
            _ => None,
        })
    }

    fn micros(&self, text: &str) -> Result<i64> {
        let part = |field: i64, of_day: i64| if field != 0 { field } else { of_day };
        let seconds = self.second_of_day;
        let mut hour = part(self.hour, seconds / 3_600);
        let minute = part(self.minute, seconds / 60 % 60);
        let second = part(self.second, seconds % 60);
        if self.has_half {
            if !(1..=12).contains(&hour) {
                let what = format!("hour \"{hour}\" is invalid for the 12-hour clock");
                let hint = "Use the 24-hour clock, or give an hour between 1 and 12.";
                return Err(bad(what).hint(hint));
            }
            hour = hour % 12 + 12 * self.half;
        }
        let micros = self.millis * 1_000 + self.micros;
        let is_time = (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..60).contains(&second)
            && (0..1_000_000).contains(&micros)
            && (0..=15).contains(&self.zone_hours)
            && (0..60).contains(&self.zone_minutes);
        let days = self.date()?.filter(|_| is_time).ok_or_else(|| {
            let what = format!("date/time field value out of range: \"{text}\"");
            Error::new(SqlState::DatetimeOverflow, what)
        })?;
        let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
        // From 4714 BC to where 64 bits end.
        if !(-210_866_803_200..9_223_372_036_000).contains(&seconds) {
            return Err(too_late());
        }
        Ok(seconds * 1_000_000 + micros)
    }
}
