//! How far apart in event time two rows may be that a join's condition lets through.
//!
//! Each conjunct that compares the event time of one side, perhaps with an interval added or taken
//! away, with that of the other bounds the difference of the two; so does an equality. If it is
//! bounded on both sides, a row can be joined for a limited time only.

use arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, Join, Operator};

use super::closing::event_time;
use super::stage::{EventTimeColumn, Open};
use crate::postgres::functions::{INTERVAL_SIZE, sum_or_difference};
use crate::time::{DAY_NANOS, ticks_per_second};

/// The event times of both sides and how far apart they may be.
pub(super) struct TimeBounds {
    /// Which columns of the plans on top.
    pub(super) columns: [usize; 2],
    /// What is known of these.
    pub(super) times: [EventTimeColumn; 2],
    /// The right one's less the left one's is at least that, in ticks.
    pub(super) from: i64,
    /// At most.
    pub(super) to: i64,
}

/// Event times that may be far apart as yet.
struct Pair {
    columns: [usize; 2],
    times: [EventTimeColumn; 2],
    from: Option<i64>,
    to: Option<i64>,
}

/// The closest bounds on event times of both sides in a join's condition, if there are any.
pub(super) fn time_bounds(join: &Join, left: &Open, right: &Open) -> Option<TimeBounds> {
    let mut pairs: Vec<Pair> = Vec::new();
    for (a, b) in &join.on {
        for operator in [Operator::LtEq, Operator::GtEq] {
            compare([left, right], a, operator, b, &mut pairs);
        }
    }
    for conjunct in join.filter.iter().flat_map(|filter| split_conjunction(filter)) {
        bound([left, right], conjunct, &mut pairs);
    }
    let bounded = pairs.into_iter().filter_map(|pair| {
        let (from, to) = (pair.from?, pair.to?);
        Some(TimeBounds { columns: pair.columns, times: pair.times, from, to })
    });
    bounded.min_by_key(|bounds| {
        let behind = bounds.times.iter().map(|time| time.behind);
        behind.fold(bounds.to.saturating_sub(bounds.from), i64::saturating_add)
    })
}

fn bound(sides: [&Open; 2], conjunct: &Expr, pairs: &mut Vec<Pair>) {
    match conjunct {
        Expr::BinaryExpr(binary) if binary.op == Operator::Eq => {
            for operator in [Operator::LtEq, Operator::GtEq] {
                compare(sides, &binary.left, operator, &binary.right, pairs);
            }
        }
        Expr::BinaryExpr(binary) => {
            compare(sides, &binary.left, binary.op, &binary.right, pairs);
        }
        Expr::Between(between) if !between.negated => {
            compare(sides, &between.expr, Operator::GtEq, &between.low, pairs);
            compare(sides, &between.expr, Operator::LtEq, &between.high, pairs);
        }
        _ => {}
    }
}

/// Notes what `a operator b` says of the event times in it, or of how far they are apart.
fn compare(sides: [&Open; 2], a: &Expr, operator: Operator, b: &Expr, pairs: &mut Vec<Pair>) {
    if let (Some(a), Some(b)) = (Shifted::of(a), Shifted::of(b)) {
        note(sides, (a, b), operator, pairs);
    } else if let Some(times) = apart(a, b) {
        note(sides, times, operator, pairs);
    } else if let (Some(times), Some(operator)) = (apart(b, a), operator.swap()) {
        note(sides, times, operator, pairs);
    }
}

/// What is compared where the difference of two times is compared with an interval: the first with
/// the second and the interval.
fn apart<'a>(difference: &'a Expr, interval: &Expr) -> Option<(Shifted<'a>, Shifted<'a>)> {
    let Expr::ScalarFunction(call) = difference else { return None };
    let (true, [times], Expr::Literal(ScalarValue::Int64(Some(micros)), _)) =
        (call.func.name() == INTERVAL_SIZE, call.args.as_slice(), interval)
    else {
        return None;
    };
    let (first, Operator::Minus, second) = sum_or_difference(times)? else { return None };
    let (first, second) = (Shifted::of(first)?, Shifted::of(second)?);
    let nanos = second.nanos.checked_add(micros.checked_mul(1_000)?)?;
    Some((first, Shifted { nanos, is_rounded: true, ..second }))
}

fn note(
    sides: [&Open; 2],
    (a, b): (Shifted<'_>, Shifted<'_>),
    operator: Operator,
    pairs: &mut Vec<Pair>,
) {
    let (left, right, is_less) = match (operator, a.side(sides), b.side(sides)) {
        (Operator::Lt | Operator::LtEq, Some(0), Some(1)) => (a, b, true),
        (Operator::Lt | Operator::LtEq, Some(1), Some(0)) => (b, a, false),
        (Operator::Gt | Operator::GtEq, Some(0), Some(1)) => (a, b, false),
        (Operator::Gt | Operator::GtEq, Some(1), Some(0)) => (b, a, true),
        _ => return,
    };
    let (Some(left_time), Some(right_time)) = (left.time(sides[0]), right.time(sides[1])) else {
        return;
    };
    let (DataType::Timestamp(unit, zone), true) =
        (&left_time.kind, left_time.kind == right_time.kind)
    else {
        return;
    };
    // left + x <= right + y says right - left >= x - y.
    let least = i128::from(left.nanos) - i128::from(right.nanos);
    // A day of a zone may be an hour shorter or longer, or not be there at all.
    let has_days = zone.is_some() && (left.has_days || right.has_days);
    let mut slack = if has_days { i128::from(DAY_NANOS) } else { 0 };
    if *unit == TimeUnit::Nanosecond && (left.is_rounded || right.is_rounded) {
        slack += 1_000;
    }
    let strict = i64::from(matches!(operator, Operator::Lt | Operator::Gt));
    let tick = 1_000_000_000 / i128::from(ticks_per_second(*unit));
    let ticks = |nanos: i128| i64::try_from(nanos.div_euclid(tick)).ok();
    let known = pairs.iter().position(|pair| pair.columns == [left_time.column, right_time.column]);
    let at = known.unwrap_or(pairs.len());
    if known.is_none() {
        let columns = [left_time.column, right_time.column];
        let times = [left_time.known, right_time.known];
        pairs.push(Pair { columns, times, from: None, to: None });
    }
    let pair = &mut pairs[at];
    if is_less {
        let Some(from) = ticks(least - slack) else { return };
        let from = from.saturating_add(strict);
        pair.from = Some(pair.from.map_or(from, |known| known.max(from)));
    } else {
        // Less than that is at most the tick before.
        let Some(to) = ticks(least + slack - i128::from(strict)) else { return };
        pair.to = Some(pair.to.map_or(to, |known| known.min(to)));
    }
}

/// A column with an interval added.
struct Shifted<'a> {
    column: &'a Column,
    nanos: i64,
    /// Days are in it, which a zone may have of different lengths.
    has_days: bool,
    /// It is compared by whole microseconds.
    is_rounded: bool,
}

/// An event time of a side.
struct SideTime {
    /// Which column of the plan on top.
    column: usize,
    known: EventTimeColumn,
    kind: DataType,
}

impl Shifted<'_> {
    fn of(expr: &Expr) -> Option<Shifted<'_>> {
        match expr {
            Expr::Alias(alias) => Shifted::of(&alias.expr),
            Expr::Column(column) => {
                Some(Shifted { column, nanos: 0, has_days: false, is_rounded: false })
            }
            sum => {
                let (left, op, right) = sum_or_difference(sum)?;
                let (time, by, sign) = match (op, interval(left)) {
                    (Operator::Minus, _) => (left, interval(right)?, -1),
                    (_, Some(by)) => (right, by, 1),
                    (_, None) => (left, interval(right)?, 1),
                };
                let shifted = Shifted::of(time)?;
                let by_nanos = i64::from(by.days).checked_mul(DAY_NANOS)?;
                let by_nanos = by_nanos.checked_add(by.nanoseconds)?.checked_mul(sign)?;
                Some(Shifted {
                    nanos: shifted.nanos.checked_add(by_nanos)?,
                    has_days: shifted.has_days || by.days != 0,
                    ..shifted
                })
            }
        }
    }

    fn side(&self, sides: [&Open; 2]) -> Option<usize> {
        sides.iter().position(|side| side.plan.schema().has_column(self.column))
    }

    fn time(&self, side: &Open) -> Option<SideTime> {
        let schema = side.plan.schema();
        let known = event_time(side, &Expr::Column(self.column.clone()), &side.plan)?;
        let column = schema.maybe_index_of_column(self.column)?;
        Some(SideTime { column, known, kind: schema.field(column).data_type().clone() })
    }
}

/// A constant interval without months, which have no fixed length.
fn interval(expr: &Expr) -> Option<IntervalMonthDayNano> {
    match expr {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(by)), _) if by.months == 0 => {
            Some(*by)
        }
        _ => None,
    }
}
