//! A time or an interval in years, months, days and so on, and the weeks of a year.

use arrow::datatypes::IntervalMonthDayNano;

use crate::time::{DAY_MICROS, SECOND_MICROS};
use crate::types::Zone;
use crate::types::calendar::{date_of, days_of};

/// A time or an interval in its parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CalendarTime {
    /// 0 is 1 BC.
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    pub(super) micros: i64,
    /// Since 1970; of an interval about how many it is long.
    pub(super) days: i64,
    pub(super) kind: TimeKind,
}

/// What a time is, which says what can be written of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeKind {
    /// Without a zone.
    Local,
    /// A moment, in a zone whose time is so many seconds ahead of UTC then.
    Moment(Zone, i32),
    Interval,
}

impl CalendarTime {
    pub(crate) fn of_micros(micros: i64, kind: TimeKind) -> CalendarTime {
        let (days, rest) = (micros.div_euclid(DAY_MICROS), micros.rem_euclid(DAY_MICROS));
        let (year, month, day) = date_of(days);
        let time = CalendarTime {
            year,
            month: month.into(),
            day: day.into(),
            hour: 0,
            minute: 0,
            second: 0,
            micros: 0,
            days,
            kind,
        };
        time.at(rest)
    }

    /// A moment as the clocks of a zone show it.
    pub(crate) fn of_moment(micros: i64, zone: Zone) -> CalendarTime {
        let ahead = zone.offset_at(micros.div_euclid(SECOND_MICROS));
        let local = micros.saturating_add(i64::from(ahead) * SECOND_MICROS);
        CalendarTime::of_micros(local, TimeKind::Moment(zone, ahead))
    }

    pub(crate) fn of_interval(interval: IntervalMonthDayNano) -> CalendarTime {
        let (months, day) = (i64::from(interval.months), i64::from(interval.days));
        let time = CalendarTime {
            year: months / 12,
            month: months % 12,
            day,
            hour: 0,
            minute: 0,
            second: 0,
            micros: 0,
            days: months * 30 + day,
            kind: TimeKind::Interval,
        };
        time.at(interval.nanoseconds / 1_000)
    }

    fn at(self, micros: i64) -> CalendarTime {
        let seconds = micros / 1_000_000;
        CalendarTime {
            hour: seconds / 3_600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            micros: micros % 1_000_000,
            ..self
        }
    }

    pub(super) fn day_of_year(self) -> i64 {
        match self.kind {
            TimeKind::Interval => self.days,
            _ => self.days - days_of(self.year, 1, 1) + 1,
        }
    }

    /// What the time of its zone is called, and how many seconds that is ahead of UTC; nothing of what has
    /// no zone.
    pub(super) fn zone(self) -> (String, i32) {
        let TimeKind::Moment(zone, ahead) = self.kind else { return (String::new(), 0) };
        let seconds = self.hour * 3_600 + self.minute * 60 + self.second;
        let at = self.days * (DAY_MICROS / SECOND_MICROS) + seconds - i64::from(ahead);
        (zone.abbreviation_at(at), ahead)
    }

    /// The day of its date; an interval is taken for one.
    pub(super) fn date(self) -> i64 {
        match self.kind {
            TimeKind::Interval => {
                days_of(self.year, self.month.max(1) as u32, 1) + self.day
                    - 1
                    - if self.month < 1 { 31 } else { 0 }
            }
            _ => self.days,
        }
    }
}

/// 0 is Sunday.
pub(super) fn weekday(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

/// The first day, a Monday, of the weeks of a year.
pub(super) fn iso_begin(year: i64) -> i64 {
    let fourth = days_of(year, 1, 4);
    fourth - (weekday(fourth) + 6).rem_euclid(7)
}

/// The year whose week a day is in, and the number of the day in it.
pub(super) fn iso_year_and_day(days: i64) -> (i64, i64) {
    let thursday = days - (weekday(days) + 6).rem_euclid(7) + 3;
    let (year, ..) = date_of(thursday);
    (year, days - iso_begin(year) + 1)
}

/// The number of the day 1970-01-01, counted from 4714 BC.
pub(super) const JULIAN_1970: i64 = 2_440_588;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_where_their_year_does() {
        for year in 1900..2100 {
            assert_eq!(iso_year_and_day(iso_begin(year)), (year, 1));
        }
    }
}
