//! Rows in time against the condition asked anew at each time: rows that come and go in any order,
//! times that pass, and restarts.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit, TimestampMicrosecondType};
use datafusion::logical_expr::Operator as Op;
use datafusion::physical_expr::expressions::{binary, cast, col};
use proptest::prelude::*;

use super::{Closing, Delta, Operator, TemporalFilter, TemporalSpec, TimedCondition};

/// When it arrives and leaves, and a value.
type Row = (Option<i64>, Option<i64>, i64);

fn schema() -> Schema {
    let time =
        |name: &str| Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, None), true);
    Schema::new(vec![time("a"), time("b"), Field::new("v", DataType::Int64, true)])
}

fn delta(rows: &[(Row, i64)]) -> Delta {
    let times = |of: fn(&Row) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(|(row, _)| of(row)).collect::<TimestampMicrosecondArray>())
    };
    let values = Int64Array::from_iter_values(rows.iter().map(|(row, _)| row.2));
    let columns = vec![times(|row| row.0), times(|row| row.1), Arc::new(values)];
    let batch = RecordBatch::try_new(Arc::new(schema()), columns).unwrap();
    Delta::new(batch, Int64Array::from_iter_values(rows.iter().map(|(_, weight)| *weight)))
}

/// `a <= now`, `now < b`, asked or computed.
fn spec(arrives: bool, leaves: bool, is_asked: bool) -> TemporalSpec {
    if !is_asked {
        let of = |name: &str| -> Vec<TimedCondition> {
            let time = col(name, &schema()).unwrap();
            let micros = cast(time, &schema(), DataType::Int64).unwrap();
            vec![TimedCondition::Behind(micros, 0)]
        };
        return TemporalSpec {
            arriving: if arrives { of("a") } else { Vec::new() },
            leaving: if leaves { of("b") } else { Vec::new() },
        };
    }
    let mut fields = schema().fields().to_vec();
    fields.push(Arc::new(Field::new(
        "__moment",
        DataType::Timestamp(TimeUnit::Microsecond, None),
        false,
    )));
    let asked = Schema::new(fields);
    let condition = |left: &str, op: Op, right: &str| {
        TimedCondition::Asked(
            binary(col(left, &asked).unwrap(), op, col(right, &asked).unwrap(), &asked).unwrap(),
        )
    };
    TemporalSpec {
        arriving: arrives.then(|| condition("a", Op::LtEq, "__moment")).into_iter().collect(),
        leaving: leaves.then(|| condition("__moment", Op::Lt, "b")).into_iter().collect(),
    }
}

fn is_there(row: &Row, spec: &TemporalSpec, now: i64) -> bool {
    let has_come = spec.arriving.is_empty() || row.0.is_some_and(|from| from <= now);
    let has_not_gone = spec.leaving.is_empty() || row.1.is_some_and(|until| now < until);
    has_come && has_not_gone
}

fn take_in(view: &mut BTreeMap<Row, i64>, delta: &Delta) {
    let times =
        |at: usize| delta.batch.column(at).as_primitive::<TimestampMicrosecondType>().iter();
    let values = delta.batch.column(2).as_primitive::<Int64Type>().values();
    for (row, ((a, b), v)) in times(0).zip(times(1)).zip(values).enumerate() {
        *view.entry((a, b, *v)).or_default() += delta.weight(row);
    }
    assert!(view.values().all(|count| *count >= 0), "taken back before it came: {view:?}");
    view.retain(|_, count| *count != 0);
}

fn tick(operator: &mut TemporalFilter, now: i64, view: &mut BTreeMap<Row, i64>) {
    loop {
        let mut out = Vec::new();
        let ticking = operator.tick(now, &mut out).unwrap();
        out.iter().for_each(|delta| take_in(view, delta));
        if ticking == Closing::Done {
            return;
        }
    }
}

/// The operator as it is after a restart.
fn restarted(
    operator: &mut TemporalFilter,
    spec: &TemporalSpec,
    stored: &mut Vec<RecordBatch>,
) -> TemporalFilter {
    stored.extend(operator.tables()[0].take_changed().unwrap());
    let mut new = TemporalFilter::new(&schema(), spec.clone()).unwrap();
    stored.iter().for_each(|rows| new.tables()[0].restore_rows(rows).unwrap());
    new.tables()[0].restored().unwrap();
    new.state_restored().unwrap();
    new
}

#[derive(Debug, Clone)]
enum Step {
    Insert(Vec<Row>),
    /// Of those that are there, the one at this place, counted around.
    Delete(usize),
    Pass(i64),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let time = || prop::option::weighted(0.9, 0..100_i64);
    let rows = prop::collection::vec((time(), time(), 0..3_i64), 1..6);
    let step = prop_oneof![
        3 => rows.prop_map(Step::Insert),
        2 => any::<usize>().prop_map(Step::Delete),
        2 => (0..30_i64).prop_map(Step::Pass),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..30)
}

proptest! {
    #[test]
    fn rows_are_there_while_their_condition_holds(
        steps in steps(), arrives: bool, leaves: bool, is_asked: bool,
    ) {
        let spec = spec(arrives, leaves || !arrives, is_asked);
        let mut operator = TemporalFilter::new(&schema(), spec.clone()).unwrap();
        let (mut all, mut view, mut now) = (Vec::<Row>::new(), BTreeMap::new(), 10);
        let mut stored = Vec::new();
        tick(&mut operator, now, &mut view);
        for step in steps {
            let rows: Vec<(Row, i64)> = match step {
                Step::Insert(rows) => rows.into_iter().map(|row| (row, 1)).collect(),
                Step::Delete(_) if all.is_empty() => continue,
                Step::Delete(at) => vec![(all[at % all.len()], -1)],
                Step::Pass(time) => {
                    now += time;
                    Vec::new()
                }
                Step::Restart => {
                    operator = restarted(&mut operator, &spec, &mut stored);
                    Vec::new()
                }
            };
            prop_assert!(operator.wakes().is_none_or(|at| at > now - 30));
            tick(&mut operator, now, &mut view);
            for passed in operator.push(0, &delta(&rows)).unwrap() {
                take_in(&mut view, &passed.unwrap());
            }
            for (row, weight) in rows {
                match all.iter().position(|other| weight < 0 && *other == row) {
                    Some(at) => drop(all.swap_remove(at)),
                    None => all.push(row),
                }
            }
            let mut expected = BTreeMap::new();
            for row in all.iter().filter(|row| is_there(row, &spec, now)) {
                *expected.entry(*row).or_default() += 1;
            }
            prop_assert_eq!(&view, &expected);
            prop_assert!(operator.wakes().is_none_or(|at| at > now));
        }
        tick(&mut operator, 1_000, &mut view);
        let left = all.iter().filter(|row| is_there(row, &spec, 1_000)).count() as i64;
        prop_assert_eq!(view.values().sum::<i64>(), left);
        prop_assert_eq!(operator.state_size().1, 0);
    }
}
