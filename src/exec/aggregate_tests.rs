//! Every aggregate function there is, run by the operators, against DataFusion's own answer over
//! the same rows.
//!
//! One query with all of them is planned as it would be for a view; then windows, splits of the
//! input, watermarks and restarts are thrown as dice. The reference is one batch query over the
//! rows of each window.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::map::Fragment;
use super::tests::{Bench, open};
use crate::catalog::{Column, Emission, Kind, StreamDef, WatermarkSpec};
use crate::operators::{AggregateSpec, Closing, Delta, Partial, RunningAggregate, WindowAggregate};
use crate::plan::{CutOptions, Stateful};
use crate::state::StateTable;
use crate::state::fixture::{Dice, restored};
use crate::store::MemoryStore;
use crate::time::{EventTime, SliceSpec, Watermark, Window, WindowKind, WindowSpec};
use crate::types::SqlType;

/// What is computed; `~` marks results that are estimates, and depend on how rows are grouped on
/// the way.
const CALLS: &[&str] = &[
    "count(*)",
    "count(v)",
    "count(v) FILTER (WHERE b)",
    "count(DISTINCT v)",
    "count(DISTINCT t)",
    "count(DISTINCT f) FILTER (WHERE b)",
    "sum(v)",
    "sum(v) FILTER (WHERE b)",
    "sum(DISTINCT v)",
    "sum(f)",
    "sum(d)",
    "avg(v)",
    "avg(f)",
    "avg(d)",
    "avg(DISTINCT v)",
    "min(v)",
    "max(v) FILTER (WHERE b)",
    "min(f)",
    "max(d)",
    "min(t)",
    "max(t)",
    "min(b)",
    "max(ts)",
    "median(v)",
    "median(f)",
    "median(DISTINCT v)",
    "percentile_cont(f, 0.25)",
    "bool_and(b)",
    "bool_or(b)",
    "bit_and(v)",
    "bit_or(v)",
    "bit_xor(v)",
    "bit_and(DISTINCT v)",
    "stddev(f)",
    "stddev_pop(f)",
    "var_samp(f)",
    "var_pop(f) FILTER (WHERE b)",
    "covar_samp(f, v)",
    "covar_pop(f, v)",
    "corr(f, v)",
    "regr_slope(f, v)",
    "regr_intercept(f, v)",
    "regr_count(f, v)",
    "regr_r2(f, v)",
    "regr_avgx(f, v)",
    "regr_avgy(f, v)",
    "regr_sxx(f, v)",
    "regr_syy(f, v)",
    "regr_sxy(f, v)",
    "approx_distinct(v)",
    "~approx_median(f)",
    "~approx_percentile_cont(f, 0.9)",
    "~approx_percentile_cont_with_weight(f, 1, 0.5)",
    "array_agg(v)",
    "array_agg(t) FILTER (WHERE b)",
    "array_agg(DISTINCT v)",
    "array_agg(v ORDER BY n DESC)",
    "array_agg(t ORDER BY v, n)",
    "string_agg(t, ', ')",
    "string_agg(DISTINCT t, '/')",
    "string_agg(t, '; ' ORDER BY n DESC)",
    "first_value(v)",
    "last_value(v)",
    "first_value(v ORDER BY n)",
    "last_value(t ORDER BY n)",
    "nth_value(v, 2 ORDER BY n)",
    "any_value(v)",
];

/// How the reference says it, where that differs: DISTINCT without an order is sorted, as in
/// Postgres.
fn reference(call: &str) -> String {
    match call {
        "array_agg(DISTINCT v)" => "array_agg(DISTINCT v ORDER BY v)".to_owned(),
        "string_agg(DISTINCT t, '/')" => "string_agg(DISTINCT t, '/' ORDER BY t)".to_owned(),
        other => other.trim_start_matches('~').to_owned(),
    }
}

fn columns() -> Vec<Column> {
    let types = [
        ("ts", SqlType::Timestamp(6)),
        ("n", SqlType::BigInt),
        ("k", SqlType::BigInt),
        ("t", SqlType::Text),
        ("v", SqlType::BigInt),
        ("f", SqlType::Double),
        ("d", SqlType::Decimal(Some((10, 2)))),
        ("b", SqlType::Boolean),
    ];
    types.into_iter().map(|(name, sql_type)| Column::new(name, sql_type)).collect()
}

/// Rows around `base`; `n` numbers all rows of a run.
fn batch(
    schema: &arrow::datatypes::SchemaRef,
    dice: &mut Dice,
    rows: u64,
    base: i64,
    first: i64,
) -> RecordBatch {
    let n = || 0..rows;
    let mut maybe = |sides: u64| (dice.roll(8) > 0).then(|| dice.roll(sides) as i64);
    let ts: Vec<_> = n().map(|_| maybe(60).map(|t| t + base)).collect();
    let k: Vec<_> = n().map(|_| maybe(3)).collect();
    let t: Vec<_> = n()
        .map(|_| maybe(3).map(|t| ["x", "yy", "a text longer than a view"][t as usize]))
        .collect();
    let v: Vec<_> = n().map(|_| maybe(20).map(|v| v - 10)).collect();
    let f: Vec<_> = n().map(|_| maybe(16).map(|v| v as f64 - 4.0)).collect();
    let d: Vec<_> = n().map(|_| maybe(999).map(|v| i128::from(v) - 300)).collect();
    let b: Vec<_> = n().map(|_| maybe(2).map(|b| b == 1)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from(ts)),
        Arc::new(Int64Array::from_iter_values(first..first + rows as i64)),
        Arc::new(Int64Array::from(k)),
        Arc::new(StringArray::from(t)),
        Arc::new(Int64Array::from(v)),
        Arc::new(Float64Array::from(f)),
        Arc::new(Decimal128Array::from(d).with_precision_and_scale(10, 2).unwrap()),
        Arc::new(BooleanArray::from(b)),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

/// A planned query: what is below the operator, and the operator.
struct Planned {
    below: Fragment,
    columns: Vec<usize>,
    spec: AggregateSpec,
    schema: arrow::datatypes::SchemaRef,
}

async fn plan(bench: &Bench, keys: &str, windowed: bool, emission: Emission) -> Planned {
    let names: Vec<String> = CALLS
        .iter()
        .enumerate()
        .map(|(i, c)| format!("{} AS c{i}", c.trim_start_matches('~')))
        .collect();
    let calls = names.join(", ");
    let text = if windowed {
        format!(
            "SELECT window_start, window_end{keys}, {calls} FROM TUMBLE(s, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end{keys}"
        )
    } else if keys.is_empty() {
        format!("SELECT {calls} FROM s")
    } else {
        format!("SELECT {}, {calls} FROM s GROUP BY {}", &keys[1..], &keys[1..])
    };
    let parsed = crate::sql::parse_query(&text).unwrap();
    let options =
        CutOptions { emission, lateness_ms: 0, limit_ends: true, state: Default::default() };
    let (mut pipeline, state, _) =
        super::define::continuous_pipeline(&bench.engine, &parsed.query, options).await.unwrap();
    let source = pipeline.sources.remove(0);
    let below = Fragment::new(&source.below, source.below.plan.clone(), state).await.unwrap();
    let Stateful::Aggregate { spec, .. } = pipeline.steps[0].operator.clone() else {
        panic!("not an aggregate")
    };
    let schema = source.scan.relation.schema();
    Planned { below, columns: source.scan.columns, spec, schema }
}

fn text(array: &ArrayRef, row: usize) -> String {
    let format = FormatOptions::new().with_null("NULL");
    ArrayFormatter::try_new(array, &format).unwrap().value(row).to_string()
}

fn lines(batch: &RecordBatch) -> Vec<Vec<String>> {
    (0..batch.num_rows())
        .map(|row| batch.columns().iter().map(|c| text(c, row)).collect())
        .collect()
}

/// The reference's answer; every row stands with its window.
async fn expected(rows: &[(Window, RecordBatch)], keys: &str, windowed: bool) -> Vec<Vec<String>> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    crate::postgres::functions::register(&context).unwrap();
    let Some((_, first)) = rows.first() else { return Vec::new() };
    let all = concat_batches(first.schema_ref(), rows.iter().map(|(_, b)| b)).unwrap();
    let border = |of: fn(&Window) -> EventTime| -> ArrayRef {
        let ticks = rows.iter().flat_map(|(w, b)| std::iter::repeat_n(of(w).0, b.num_rows()));
        Arc::new(TimestampMicrosecondArray::from_iter_values(ticks))
    };
    let mut named = vec![
        ("ws".to_owned(), border(|w| w.start), true),
        ("we".to_owned(), border(|w| w.end), true),
    ];
    for (field, column) in all.schema().fields().iter().zip(all.columns()) {
        named.push((field.name().clone(), Arc::clone(column), true));
    }
    context.register_batch("r", RecordBatch::try_from_iter_with_nullable(named).unwrap()).unwrap();
    // A batch plan sorts its input once for all its aggregates: those with an order are asked one
    // by one.
    let (ordered, plain): (Vec<usize>, Vec<usize>) =
        (0..CALLS.len()).partition(|&i| reference(CALLS[i]).contains("ORDER BY"));
    let mut groups: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    for calls in std::iter::once(plain).chain(ordered.into_iter().map(|i| vec![i])) {
        let names: Vec<String> =
            calls.iter().map(|&i| format!("{} AS c{i}", reference(CALLS[i]))).collect();
        let names = names.join(", ");
        let sql = match (windowed, keys.is_empty()) {
            (true, _) => format!("SELECT ws, we{keys}, {names} FROM r GROUP BY ws, we{keys}"),
            (false, true) => format!("SELECT {names} FROM r"),
            (false, false) => {
                format!("SELECT {}, {names} FROM r GROUP BY {}", &keys[1..], &keys[1..])
            }
        };
        let batches = context.sql(&sql).await.unwrap().collect().await.unwrap();
        for line in batches.iter().flat_map(lines) {
            let (key, results) = line.split_at(line.len() - calls.len());
            let all =
                groups.entry(key.to_vec()).or_insert_with(|| vec![String::new(); CALLS.len()]);
            calls.iter().zip(results).for_each(|(&i, result)| all[i] = result.clone());
        }
    }
    groups.into_iter().map(|(key, results)| [key, results].concat()).collect()
}

/// All differences, named by the call.
fn compare(mut got: Vec<Vec<String>>, mut expect: Vec<Vec<String>>, keys: usize, context: &str) {
    got.sort_by(|a, b| a[..keys].cmp(&b[..keys]));
    expect.sort_by(|a, b| a[..keys].cmp(&b[..keys]));
    let groups =
        |rows: &[Vec<String>]| rows.iter().map(|r| r[..keys].join("|")).collect::<Vec<_>>();
    let (left, right) = (groups(&got), groups(&expect));
    let odd = |a: &[String], b: &[String]| {
        a.iter().filter(|g| !b.contains(g)).cloned().collect::<Vec<_>>()
    };
    let extra = odd(&left, &right);
    assert!(
        left == right,
        "{context}: too many groups {extra:?}, too few {:?}",
        odd(&right, &left)
    );
    let mut wrong = BTreeMap::new();
    for (got, expect) in got.iter().zip(&expect) {
        for (i, call) in CALLS.iter().enumerate() {
            let (a, b) = (&got[keys + i], &expect[keys + i]);
            let close = match (a.parse::<f64>(), b.parse::<f64>()) {
                // Estimates are checked for being among the values at all.
                (Ok(a), Ok(_)) if call.starts_with('~') => (-4.0..=12.0).contains(&a),
                (Ok(a), Ok(b)) => {
                    (a - b).abs() <= 1e-9 * (1.0 + b.abs()) || (a.is_nan() && b.is_nan())
                }
                _ => false,
            };
            if a != b && !close {
                wrong
                    .entry(*call)
                    .or_insert_with(|| format!("{} got {a}, expected {b}", got[..keys].join("|")));
            }
        }
    }
    assert!(wrong.is_empty(), "{context}: {wrong:#?}");
}

fn window(dice: &mut Dice) -> WindowSpec {
    let kind = match dice.roll(3) {
        0 => WindowKind::Tumble { size: 1 + dice.roll(30) as i64 },
        _ => {
            let slide = 1 + dice.roll(20) as i64;
            WindowKind::Hop { slide, size: slide + dice.roll(50) as i64 }
        }
    };
    WindowSpec { kind, offset: dice.roll(20) as i64 - 10 }
}

/// Keeps a view's rows by weights; a row that goes must be there.
fn apply(delta: &Delta, contents: &mut BTreeMap<Vec<String>, i64>, context: &str) {
    for (row, line) in lines(&delta.batch).into_iter().enumerate() {
        let count = contents.entry(line.clone()).or_default();
        *count += delta.weight(row);
        assert!(*count >= 0, "{context}: a row goes that was not there: {line:?}");
    }
    contents.retain(|_, count| *count != 0);
}

async fn pushed(planned: &mut Planned, dice: &mut Dice, rows: &RecordBatch) -> Vec<RecordBatch> {
    let (mut from, mut out) = (0, Vec::new());
    while from < rows.num_rows() {
        let len = (1 + dice.roll(25) as usize).min(rows.num_rows() - from);
        let piece = rows.slice(from, len).project(&planned.columns).unwrap();
        out.extend(planned.below.run(vec![piece]).await.unwrap());
        from += len;
    }
    out
}

/// The rows with each of their windows that are open.
fn open_rows(
    rows: &RecordBatch,
    spec: &WindowSpec,
    passed: Watermark,
    into: &mut Vec<(Window, RecordBatch)>,
) {
    let times = rows.column(0).as_any().downcast_ref::<TimestampMicrosecondArray>().unwrap();
    for row in (0..rows.num_rows()).filter(|&row| times.is_valid(row)) {
        for window in spec.windows(EventTime(times.value(row))).filter(|w| !passed.closes(w.end)) {
            into.push((window, rows.slice(row, 1)));
        }
    }
}

/// Rows in the order in which a closed window has them: slices by time, in each slice as they came.
fn in_order_of_slices(rows: &mut [(Window, RecordBatch)], spec: &WindowSpec) {
    let slices = SliceSpec::of(spec);
    rows.sort_by_key(|(_, row)| {
        let times = row.column(0).as_any().downcast_ref::<TimestampMicrosecondArray>().unwrap();
        slices.slice(EventTime(times.value(0))).start
    });
}

async fn bench() -> Bench {
    let bench = open(Arc::new(MemoryStore::new())).await;
    let def = StreamDef {
        watermark: Some(WatermarkSpec { column: 0, delay: 0, text: None }),
        ..StreamDef::default()
    };
    bench.create("s", columns(), Kind::Stream(def), Vec::new()).await;
    bench
}

const KEYS: [(&str, usize); 3] = [("", 0), (", k", 1), (", k, t", 2)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_aggregate_of_a_closed_window_is_what_a_batch_query_says() {
    let bench = bench().await;
    for (keys, columns) in KEYS {
        let mut planned = plan(&bench, keys, true, Emission::OnClose).await;
        for seed in 0..6 {
            let mut dice = Dice(seed);
            let mut spec = planned.spec.clone();
            let windowing = spec.window.as_mut().unwrap();
            (windowing.spec, windowing.lateness) = (window(&mut dice), dice.roll(2) as i64 * 7);
            let (windows, lateness) = (windowing.spec, windowing.lateness);
            let context = format!("keys {keys} seed {seed} {windows:?}");
            let mut operator = WindowAggregate::new(spec.clone()).unwrap();
            let (mut rows, mut got, mut partials) = (Vec::new(), Vec::new(), Vec::<Partial>::new());
            let (mut base, mut watermark, mut passed) = (-80, Watermark::NONE, Watermark::NONE);
            for step in 0..8 {
                let new = batch(&planned.schema, &mut dice, 30, base, step * 30);
                open_rows(&new, &windows, passed, &mut rows);
                for piece in pushed(&mut planned, &mut dice, &new).await {
                    operator.push(&piece).unwrap();
                }
                base += dice.roll(40) as i64;
                watermark = match step {
                    7 => Watermark::INFINITY,
                    _ => watermark.after(EventTime(base + 20), dice.roll(20) as i64).max(watermark),
                };
                passed = watermark.less(lateness).max(passed);
                let mut out = Vec::new();
                while operator.close(watermark, &mut out).unwrap() == Closing::More {}
                got.extend(out.iter().flat_map(|d| lines(&d.batch)));
                partials.extend(operator.take_changed().unwrap());
                if dice.roll(3) == 0 {
                    let empty = WindowAggregate::at(spec.clone(), watermark).unwrap();
                    operator = restored(empty, partials.drain(..));
                    partials = vec![operator.whole().unwrap()];
                }
            }
            in_order_of_slices(&mut rows, &windows);
            compare(got, expected(&rows, keys, true).await, 2 + columns, &context);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_aggregate_that_emits_changes_adds_up_to_what_a_batch_query_says() {
    let bench = bench().await;
    for (keys, columns) in KEYS {
        let mut planned = plan(&bench, keys, true, Emission::OnChange).await;
        for seed in 100..104 {
            let mut dice = Dice(seed);
            let mut spec = planned.spec.clone();
            let windowing = spec.window.as_mut().unwrap();
            (windowing.spec, windowing.lateness) = (window(&mut dice), dice.roll(2) as i64 * 7);
            let (windows, lateness) = (windowing.spec, windowing.lateness);
            let context = format!("keys {keys} seed {seed} {windows:?}");
            let mut operator = WindowAggregate::new(spec.clone()).unwrap();
            let (mut rows, mut contents, mut partials) =
                (Vec::new(), BTreeMap::new(), Vec::<Partial>::new());
            let (mut base, mut watermark) = (-80, Watermark::NONE);
            for step in 0..5 {
                let new = batch(&planned.schema, &mut dice, 30, base, step * 30);
                open_rows(&new, &windows, watermark.less(lateness), &mut rows);
                for piece in pushed(&mut planned, &mut dice, &new).await {
                    operator.push(&piece).unwrap();
                }
                base += dice.roll(40) as i64;
                apply(&operator.changes().unwrap(), &mut contents, &context);
                watermark = watermark.after(EventTime(base), dice.roll(20) as i64).max(watermark);
                while operator.close(watermark, &mut Vec::new()).unwrap() == Closing::More {}
                partials.extend(operator.take_changed().unwrap());
                if dice.roll(2) == 0 {
                    let empty = WindowAggregate::at(spec.clone(), watermark).unwrap();
                    operator = restored(empty, partials.drain(..));
                    partials = vec![operator.whole().unwrap()];
                }
            }
            let got = contents.into_keys().collect();
            compare(got, expected(&rows, keys, true).await, 2 + columns, &context);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_running_aggregate_is_what_a_batch_query_says() {
    let bench = bench().await;
    for (keys, columns) in KEYS {
        let mut planned = plan(&bench, keys, false, Emission::OnChange).await;
        for seed in 200..203 {
            let mut dice = Dice(seed);
            let spec = planned.spec.clone();
            let context = format!("keys {keys} seed {seed}");
            let mut operator = RunningAggregate::new(spec.clone()).unwrap();
            let (mut rows, mut contents, mut partials) =
                (Vec::new(), BTreeMap::new(), Vec::<Partial>::new());
            let always = Window { start: EventTime(0), end: EventTime(1) };
            for step in 0..5 {
                let new = batch(&planned.schema, &mut dice, 30, 0, step * 30);
                rows.extend((0..30).map(|row| (always, new.slice(row, 1))));
                for piece in pushed(&mut planned, &mut dice, &new).await {
                    operator.push(&piece, None).unwrap();
                }
                apply(&operator.changes().unwrap(), &mut contents, &context);
                partials.extend(operator.take_changed().unwrap());
                if dice.roll(2) == 0 {
                    let empty = RunningAggregate::new(spec.clone()).unwrap();
                    operator = restored(empty, partials.drain(..));
                    partials = vec![operator.whole().unwrap()];
                }
            }
            let got = contents.into_keys().collect();
            compare(got, expected(&rows, keys, false).await, columns, &context);
        }
    }
}
