//! Days and dates of the proleptic Gregorian calendar, for any year a 64-bit count can reach.
//!
//! chrono stops at year 262,143 and Postgres at 294,276, so the two conversions everything else
//! rests on are here. Method: years counted from March in 400-year cycles of 146,097 days (H.
//! Hinnant, "chrono-compatible low-level date algorithms").

use crate::time::DAY_MICROS;

/// The first day of dates and of timestamps, since 1970.
pub(crate) const FIRST_DAY: i64 = -2_440_588;
/// The first day after the last date.
pub(crate) const END_OF_DATES: i64 = 2_145_042_906;
/// The first day of which not all is a timestamp: these end where 64 bits do.
pub(crate) const END_OF_TIMESTAMPS: i64 = 106_751_991;

/// Whether a timestamp is none of the two ends of time.
pub(crate) fn is_finite(micros: i64) -> bool {
    micros != i64::MIN && micros != i64::MAX
}

/// The midnight at which a day begins; None where that is no timestamp.
pub(crate) fn midnight(days: i32) -> Option<i64> {
    match days {
        i32::MIN => Some(i64::MIN),
        i32::MAX => Some(i64::MAX),
        days => Some(i64::from(days))
            .filter(|days| *days < END_OF_TIMESTAMPS)
            .map(|days| days * DAY_MICROS),
    }
}

/// Days since 1970-01-01 of a date; year 0 is 1 BC.
pub(crate) fn days_of(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let cycle = year.div_euclid(400);
    let year_of_cycle = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_cycle = year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year;
    cycle * 146_097 + day_of_cycle - 719_468
}

/// The date of a day since 1970-01-01: year (0 is 1 BC), month, day.
pub(crate) fn date_of(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let cycle = days.div_euclid(146_097);
    let day_of_cycle = days.rem_euclid(146_097);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524
        - day_of_cycle / 146_096)
        / 365;
    let day_of_year =
        day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month =
        if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u32;
    (year_of_cycle + cycle * 400 + i64::from(month <= 2), month, day)
}

/// How many days a month has.
pub(crate) fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse_over_eight_centuries_and_beyond() {
        assert_eq!(days_of(1970, 1, 1), 0);
        assert_eq!(days_of(2000, 1, 1), 10_957);
        for day in (-300_000..300_000).chain([-100_000_000, 100_000_000]) {
            let (y, m, d) = date_of(day);
            assert_eq!(days_of(y, m, d), day);
            assert!((1..=days_in_month(y, m)).contains(&d));
        }
    }
}
