//! `AT TIME ZONE`, which is the function `timezone(zone, time)`: a moment becomes the time of day
//! on a wall there, and a time on a wall there becomes a moment (Postgres manual, 9.9.4).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::cast::time_cast;
use super::scalar::{Scalar, strings, text};
use crate::error::{Error, Result, SqlState};
use crate::types::Zone;

/// Ticks.
const SECOND: i64 = 1_000_000;

/// `timezone(zone, time)`.
pub(crate) fn timezone() -> ScalarUDF {
    ScalarUDF::from(Timezone { signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Timezone {
    signature: Signature,
}

impl ScalarUDFImpl for Timezone {
    fn name(&self) -> &str {
        "timezone"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(out(&types[1]))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let scalar = Scalar {
            name: "timezone",
            aliases: vec![],
            signature: self.signature.clone(),
            out: args.return_type().clone(),
            call: at_zone,
        };
        scalar.invoke_with_args(args)
    }
}

/// A time without a zone becomes a moment; everything else is one, and becomes a time without a
/// zone.
fn out(time: &DataType) -> DataType {
    match time {
        DataType::Timestamp(_, None) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        _ => DataType::Timestamp(TimeUnit::Microsecond, None),
    }
}

fn at_zone(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let out = out(args[1].data_type());
    let becomes_moment = matches!(out, DataType::Timestamp(_, Some(_)));
    let wanted = DataType::Timestamp(
        TimeUnit::Microsecond,
        if becomes_moment { None } else { Some("UTC".into()) },
    );
    let times = time_cast(&args[1], &wanted)?;
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let zones = Zones::new(&args[0])?;
    let mut last: Option<(usize, Zone)> = None;
    let mut values = TimestampMicrosecondArray::builder(rows);
    for row in 0..rows {
        if times.is_null(row) || zones.is_null(row) {
            values.append_null();
            continue;
        }
        if last.as_ref().is_none_or(|(at, _)| !zones.are_equal(*at, row)) {
            last = Some((row, zones.at(row)?));
        }
        let micros = times.value(row);
        let value = match &last {
            // Infinity is everywhere.
            _ if micros == i64::MIN || micros == i64::MAX => micros,
            Some((_, zone)) => {
                let seconds = micros.div_euclid(SECOND);
                let ahead = if becomes_moment {
                    -zone.offset_of_local(seconds)
                } else {
                    zone.offset_at(seconds)
                };
                micros.saturating_add(SECOND * i64::from(ahead))
            }
            None => micros,
        };
        values.append_value(value);
    }
    // A cast would make NULL of infinity.
    Ok(Arc::new(values.finish().with_data_type(out)))
}

/// The zones of the rows.
enum Zones {
    Names(arrow::array::StringArray),
    Distances(ArrayRef),
}

impl Zones {
    fn new(array: &ArrayRef) -> Result<Zones> {
        Ok(match array.data_type() {
            DataType::Interval(_) => {
                Zones::Distances(cast(array, &DataType::Interval(IntervalUnit::MonthDayNano))?)
            }
            _ => Zones::Names(strings(array)?),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Zones::Names(names) => names.is_null(row),
            Zones::Distances(all) => all.is_null(row),
        }
    }

    fn are_equal(&self, one: usize, other: usize) -> bool {
        match self {
            Zones::Names(names) => text(names, one) == text(names, other),
            Zones::Distances(all) => {
                let all = all.as_primitive::<IntervalMonthDayNanoType>();
                all.value(one) == all.value(other)
            }
        }
    }

    fn at(&self, row: usize) -> Result<Zone> {
        match self {
            Zones::Names(names) => {
                let name = names.value(row);
                Zone::of_name(name).ok_or_else(|| {
                    Error::new(SqlState::BadArgument, format!("time zone \"{name}\" not recognized")).hint(
                        "Name a place, such as 'Europe/Vienna', or give the distance from UTC: INTERVAL '2 hours'.",
                    )
                })
            }
            Zones::Distances(all) => {
                let distance = all.as_primitive::<IntervalMonthDayNanoType>().value(row);
                match (distance.months, distance.days) {
                    (0, 0) => Ok(Zone::Fixed((distance.nanoseconds / 1_000_000_000) as i32)),
                    _ => Err(Error::new(
                        SqlState::BadArgument,
                        "interval time zone must not include months or days",
                    )),
                }
            }
        }
    }
}
