//! `EXTRACT(field FROM x)` and `date_part(field, x)` with the types of Postgres (manual, 9.9.1):
//! numeric and double precision.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, PrimitiveArray, StringArray,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Field, FieldRef, IntervalMonthDayNanoType,
    IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::super::routines::resolve::GivenArgument;
use super::calendar_time::{CalendarTime, JULIAN_1970, TimeKind, iso_year_and_day, weekday};
use super::cast::time_cast;
use super::intervals::as_intervals;
use super::recent::Recent;
use super::scalar::{over_columns, strings, text};
use super::time_units::{Century, Day, Decade, Dow, Doy, Epoch, Hour, Isodow, Isoyear, Julian};
use super::time_units::{Microsecond, Millennium, Millisecond, Minute, Month, Quarter, Second};
use super::time_units::{TimePart, Timezone, TimezoneHour, TimezoneMinute, Week, Year};
use super::time_units::{part_named, unrecognized, unsupported};
use crate::error::{Error, SqlState, missing_function};
use crate::time::{DAY_MICROS, HOUR_MICROS, MINUTE_MICROS};
use crate::types::calendar::date_of;

pub(crate) fn all() -> Vec<ScalarUDF> {
    let part = |name, is_numeric| {
        let signature = Signature::any(2, Volatility::Immutable);
        ScalarUDF::from(DatePart { name, is_numeric, signature })
    };
    vec![part("extract", true), part("date_part", false)]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DatePart {
    name: &'static str,
    is_numeric: bool,
    signature: Signature,
}

/// What a part is taken of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PartOf {
    Date,
    Time,
    Timestamp,
    Moment,
    Interval,
}

impl PartOf {
    fn of(data_type: &DataType) -> Option<PartOf> {
        Some(match data_type {
            DataType::Date32 | DataType::Date64 => PartOf::Date,
            DataType::Time32(_) | DataType::Time64(_) => PartOf::Time,
            DataType::Timestamp(_, None) => PartOf::Timestamp,
            DataType::Timestamp(_, Some(_)) => PartOf::Moment,
            DataType::Interval(_) | DataType::Duration(_) => PartOf::Interval,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            PartOf::Date => "date",
            PartOf::Time => "time without time zone",
            PartOf::Timestamp => "timestamp without time zone",
            PartOf::Moment => "timestamp with time zone",
            PartOf::Interval => "interval",
        }
    }

    fn has(self, part: TimePart) -> bool {
        let is_of_time = matches!(part, Microsecond | Millisecond | Second | Minute | Hour);
        let is_zone = matches!(part, Timezone | TimezoneHour | TimezoneMinute);
        let is_of_calendar = matches!(part, Week | Dow | Isodow | Doy | Isoyear | Julian);
        match self {
            PartOf::Date => !is_of_time && !is_zone,
            PartOf::Time => is_of_time || part == Epoch,
            PartOf::Timestamp => !is_zone,
            PartOf::Moment => true,
            PartOf::Interval => !is_zone && !is_of_calendar,
        }
    }

    /// The part, which there must be.
    fn part(self, name: &str) -> Result<TimePart, Error> {
        let part = part_named(name).ok_or_else(|| unrecognized(name, self.name()))?;
        if self.has(part) { Ok(part) } else { Err(unsupported(name, self.name())) }
    }

    /// Digits behind the point.
    fn scale(self, part: TimePart) -> u8 {
        match part {
            Second => 6,
            Millisecond => 3,
            Epoch if self != PartOf::Date => 6,
            Julian if self != PartOf::Date => 20,
            _ => 0,
        }
    }
}

/// Whether a part grows as time does, without end.
fn is_endless(part: TimePart) -> bool {
    matches!(part, Year | Decade | Century | Millennium | Epoch | Julian | Isoyear)
}

/// A century counts from year 1, and there is no year 0.
fn in_units(year: i64, years: i64) -> i64 {
    match years {
        1 => year - i64::from(year <= 0),
        10 => year.div_euclid(10),
        _ if year > 0 => (year + years - 1) / years,
        _ => -((years - year) / years),
    }
}

/// The part in units of its last digit; `micros`: since 1970, or of the day.
fn part_of(part: TimePart, of: PartOf, time: &CalendarTime, micros: i64) -> i128 {
    let years = |years| match of {
        PartOf::Interval => time.year / years,
        _ => in_units(time.year, years),
    };
    let second = time.second * 1_000_000 + time.micros;
    let whole = match part {
        Microsecond | Millisecond | Second => second,
        Minute => time.minute,
        Hour => time.hour,
        Day => time.day,
        Month => time.month,
        Quarter if of == PartOf::Interval => time.month / 3 + 1,
        Quarter => (time.month - 1) / 3 + 1,
        Year => years(1),
        Decade => years(10),
        Century => years(100),
        Millennium => years(1_000),
        Week => (iso_year_and_day(time.days).1 - 1) / 7 + 1,
        Isoyear => in_units(iso_year_and_day(time.days).0, 1),
        Dow => weekday(time.days),
        Isodow => (weekday(time.days) + 6) % 7 + 1,
        Doy => time.day_of_year(),
        Julian if of == PartOf::Date => time.days + JULIAN_1970,
        Julian => {
            let days = i128::from(time.days + JULIAN_1970) * 10i128.pow(20);
            let rest = i128::from(micros.rem_euclid(DAY_MICROS)) * 10i128.pow(20);
            let day = i128::from(DAY_MICROS);
            return days + (rest + day / 2) / day;
        }
        Epoch if of == PartOf::Date => time.days * 86_400,
        Epoch if of == PartOf::Interval => {
            // A year has 365.25 days here, and a month 30.
            let quarters = time.year * 1_461 + (time.month * 30 + time.day) * 4;
            return i128::from(quarters) * 21_600_000_000 + i128::from(micros);
        }
        Epoch => micros,
        Timezone | TimezoneHour | TimezoneMinute => 0,
    };
    whole.into()
}

/// The part of a timestamp where that takes little of the calendar, in units of its last digit.
fn part_of_micros(part: TimePart) -> Option<fn(i64) -> i64> {
    Some(match part {
        Microsecond | Millisecond | Second => |micros| micros.rem_euclid(MINUTE_MICROS),
        Minute => |micros| micros.rem_euclid(HOUR_MICROS) / MINUTE_MICROS,
        Hour => |micros| micros.rem_euclid(DAY_MICROS) / HOUR_MICROS,
        Dow => |micros| weekday(micros.div_euclid(DAY_MICROS)),
        Isodow => |micros| (weekday(micros.div_euclid(DAY_MICROS)) + 6) % 7 + 1,
        Epoch => |micros| micros,
        Day => |micros| i64::from(date_of(micros.div_euclid(DAY_MICROS)).2),
        Month => |micros| i64::from(date_of(micros.div_euclid(DAY_MICROS)).1),
        Quarter => |micros| (i64::from(date_of(micros.div_euclid(DAY_MICROS)).1) - 1) / 3 + 1,
        Year => |micros| in_units(date_of(micros.div_euclid(DAY_MICROS)).0, 1),
        _ => return None,
    })
}

/// A time with what it is made of, None at an end of time.
type PartedTime = Option<(CalendarTime, i64)>;

/// The times of a column.
struct PartedTimes {
    of: PartOf,
    times: Vec<Option<PartedTime>>,
    /// Whether the time at the end is the last one.
    is_last: Vec<bool>,
}

impl PartedTimes {
    fn new(array: &ArrayRef, of: PartOf) -> Result<PartedTimes> {
        let micros = |zone| DataType::Timestamp(TimeUnit::Microsecond, zone);
        let (kind, wanted) = match (of, array.data_type()) {
            (PartOf::Date, _) => (TimeKind::Local, DataType::Date32),
            (PartOf::Time, _) => (TimeKind::Local, DataType::Time64(TimeUnit::Microsecond)),
            (PartOf::Interval, _) => {
                (TimeKind::Interval, DataType::Interval(IntervalUnit::MonthDayNano))
            }
            (_, DataType::Timestamp(_, zone)) => (TimeKind::Local, micros(zone.clone())),
            _ => (TimeKind::Local, micros(None)),
        };
        let array = match of {
            PartOf::Interval => as_intervals(array)?,
            _ => time_cast(array, &wanted)?,
        };
        let ends = |micros: i64| micros == i64::MIN || micros == i64::MAX;
        let at = |micros| (!ends(micros)).then(|| (CalendarTime::of_micros(micros, kind), micros));
        let is_last = match &wanted {
            DataType::Timestamp(..) => each::<TimestampMicrosecondType, _>(&array, |n| n > 0),
            DataType::Date32 => each::<Date32Type, _>(&array, |n| n > 0),
            _ => Vec::new(),
        };
        let times = match &wanted {
            DataType::Date32 => each::<Date32Type, _>(&array, |days| match days {
                i32::MIN | i32::MAX => None,
                days => at(i64::from(days).saturating_mul(DAY_MICROS)),
            }),
            DataType::Time64(_) => each::<Time64MicrosecondType, _>(&array, at),
            DataType::Interval(_) => each::<IntervalMonthDayNanoType, _>(&array, |interval| {
                Some((CalendarTime::of_interval(interval), interval.nanoseconds / 1_000))
            }),
            _ => each::<TimestampMicrosecondType, _>(&array, at),
        };
        let is_last = is_last.into_iter().map(|is_last| is_last == Some(true)).collect();
        Ok(PartedTimes { of, times, is_last })
    }
}

fn each<T: ArrowPrimitiveType, V>(array: &ArrayRef, of: impl Fn(T::Native) -> V) -> Vec<Option<V>> {
    let values: &PrimitiveArray<T> = array.as_primitive();
    values.iter().map(|value| value.map(&of)).collect()
}

impl DatePart {
    /// `date_part` takes a date for a timestamp.
    fn of(&self, data_type: &DataType) -> Option<PartOf> {
        PartOf::of(data_type).map(|of| match of {
            PartOf::Date if !self.is_numeric => PartOf::Timestamp,
            of => of,
        })
    }

    fn numbers(&self, times: &PartedTimes, part: TimePart, wanted: &DataType) -> Result<ArrayRef> {
        let values = times.times.iter().map(|time| {
            time.as_ref()?.as_ref().map(|(time, micros)| part_of(part, times.of, time, *micros))
        });
        let array = values.collect::<Decimal128Array>();
        let DataType::Decimal128(precision, scale) = wanted else {
            return Err(Error::internal("a part is a numeric").into());
        };
        Ok(Arc::new(array.with_precision_and_scale(*precision, *scale)?))
    }

    /// The parts of a column of timestamps, where each is reckoned by itself.
    fn quick(&self, args: &ScalarFunctionArgs) -> Result<Option<ArrayRef>> {
        let (ColumnarValue::Scalar(name), ColumnarValue::Array(times)) =
            (&args.args[0], &args.args[1])
        else {
            return Ok(None);
        };
        let of = self.of(times.data_type());
        let (Some(name), Some(of @ (PartOf::Timestamp | PartOf::Moment)), Some(times)) =
            (name.try_as_str().flatten(), of, times.as_primitive_opt::<TimestampMicrosecondType>())
        else {
            return Ok(None);
        };
        let part = of.part(name)?;
        let Some(part_of) = part_of_micros(part) else { return Ok(None) };
        let is_end = |micros: &i64| *micros == i64::MIN || *micros == i64::MAX;
        if times.values().iter().any(is_end) {
            return Ok(None);
        }
        Ok(Some(match args.return_field.data_type() {
            DataType::Decimal128(precision, scale) => {
                let numbers: Decimal128Array = times.unary(|micros| i128::from(part_of(micros)));
                Arc::new(numbers.with_precision_and_scale(*precision, *scale)?)
            }
            _ => {
                let one = 10f64.powi(of.scale(part).into());
                let numbers: Float64Array = times.unary(|micros| part_of(micros) as f64 / one);
                Arc::new(numbers)
            }
        }))
    }

    fn double(times: &PartedTimes, row: usize, part: TimePart) -> Option<f64> {
        Some(match times.times.get(row)?.as_ref()? {
            Some((time, micros)) => {
                let number = part_of(part, times.of, time, *micros) as f64;
                number / 10f64.powi(times.of.scale(part).into())
            }
            None if !is_endless(part) => return None,
            None if times.is_last.get(row) == Some(&true) => f64::INFINITY,
            None => f64::NEG_INFINITY,
        })
    }

    fn doubles(names: &StringArray, times: &PartedTimes, rows: usize) -> Result<ArrayRef> {
        let (mut values, mut parts) = (Vec::with_capacity(rows), Recent::default());
        for row in 0..rows {
            let Some(name) = text(names, row) else {
                values.push(None);
                continue;
            };
            let part = *parts.of(name, |name| times.of.part(name))?;
            values.push(Self::double(times, row, part));
        }
        Ok(Arc::new(Float64Array::from(values)))
    }
}

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Err(Error::internal("the type of a part follows from the field's name").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let name = args.scalar_arguments.first().copied().flatten();
        let name = name.and_then(ScalarValue::try_as_str).flatten();
        let of = args.arg_fields.last().map_or(&DataType::Null, |field| field.data_type());
        let out = match (self.is_numeric, name, self.of(of)) {
            (_, _, None) if !of.is_null() => {
                let is_constant = args.scalar_arguments.get(1).copied().flatten().is_some();
                if !is_constant || !of.is_string() {
                    let types = args.arg_fields.iter().zip(args.scalar_arguments);
                    let types = types.map(|(field, constant)| {
                        GivenArgument::planned(field, *constant).sql_type.to_string()
                    });
                    let types = types.collect::<Vec<_>>().join(", ");
                    return Err(missing_function(self.name, Some(&types)).into());
                }
                let message = format!("function {}(unknown, unknown) is not unique", self.name);
                return Err(Error::new(SqlState::AmbiguousFunction, message)
                    .hint("It takes a date, time, timestamp or interval; write a cast.")
                    .into());
            }
            (_, Some(name), Some(of)) => {
                let scale = of.scale(of.part(name)?);
                DataType::Decimal128(if scale == 20 { 38 } else { 20 }, scale as i8)
            }
            (true, None, Some(_)) => {
                return Err(Error::unsupported("the field of extract must be a constant").into());
            }
            _ => DataType::Decimal128(20, 0),
        };
        let out = if self.is_numeric { out } else { DataType::Float64 };
        Ok(Arc::new(Field::new(self.name, out, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(parts) = self.quick(&args)? {
            return Ok(ColumnarValue::Array(parts));
        }
        let wanted = args.return_field.data_type().clone();
        over_columns(&args.args, args.number_rows, |columns, rows| {
            let names = strings(&columns[0])?;
            let of = self.of(columns[1].data_type()).unwrap_or(PartOf::Timestamp);
            let times = PartedTimes::new(&columns[1], of)?;
            match text(&names, 0) {
                Some(name) if self.is_numeric => self.numbers(&times, of.part(name)?, &wanted),
                _ if self.is_numeric => Ok(arrow::array::new_null_array(&wanted, rows)),
                _ => Self::doubles(&names, &times, rows),
            }
        })
    }
}
