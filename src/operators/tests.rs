//! The operators against a naive recomputation: random rows, splits, watermarks, and restarts.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray,
    TimestampMillisecondArray, UInt32Array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::functions_aggregate as f;
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::Column;

use super::*;
use crate::state::fixture::{Dice, restored};
use crate::state::{PieceCursor, StateTable};
use crate::time::{EventTime, Watermark, Window, WindowKind};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("k", DataType::Int64, true),
        Field::new("t", DataType::Utf8, true),
        Field::new("v", DataType::Int64, true),
        Field::new("f", DataType::Float64, true),
        Field::new("b", DataType::Boolean, true),
    ]))
}

fn batch(dice: &mut Dice, rows: u64, base: i64) -> RecordBatch {
    let n = || 0..rows;
    let mut maybe = |sides: u64| (dice.roll(8) > 0).then(|| dice.roll(sides) as i64);
    let ts: Vec<_> = n().map(|_| maybe(60).map(|t| t + base)).collect();
    let k: Vec<_> = n().map(|_| maybe(5).map(|k| k - 2)).collect();
    let t: Vec<_> = n()
        .map(|_| maybe(3).map(|t| ["", "a", "long text, longer than a view"][t as usize]))
        .collect();
    let v: Vec<_> = n().map(|_| maybe(20).map(|v| v - 10)).collect();
    let f: Vec<_> = n().map(|_| maybe(16).map(|v| v as f64)).collect();
    let b: Vec<_> = n().map(|_| maybe(2).map(|b| b == 1)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMillisecondArray::from(ts)),
        Arc::new(Int64Array::from(k)),
        Arc::new(StringArray::from(t)),
        Arc::new(Int64Array::from(v)),
        Arc::new(Float64Array::from(f)),
        Arc::new(BooleanArray::from(b)),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn call(
    udaf: Arc<AggregateUDF>,
    args: &[usize],
    filter: Option<usize>,
    distinct: bool,
) -> AggregateCall {
    let schema = schema();
    let shown = if args.is_empty() { &[3][..] } else { args };
    let exprs: Vec<Arc<dyn PhysicalExpr>> =
        shown.iter().map(|&i| Arc::new(Column::new(schema.field(i).name(), i)) as _).collect();
    let name = format!("{}_{args:?}", udaf.name());
    let builder = AggregateExprBuilder::new(udaf, exprs).schema(schema).alias(name);
    let expr = Arc::new(builder.with_distinct(distinct).build().unwrap());
    AggregateCall { expr, args: args.to_vec(), filter, distinct, retracts: false }
}

/// Sets of aggregates: only invertible ones; exact ones; everything.
fn calls(which: u64) -> Vec<AggregateCall> {
    let mut calls = vec![
        call(f::count::count_udaf(), &[], None, false),
        call(f::sum::sum_udaf(), &[3], Some(5), false),
    ];
    if which > 0 {
        calls.push(call(f::min_max::max_udaf(), &[3], None, false));
        calls.push(call(f::min_max::min_udaf(), &[0], Some(5), false));
    }
    if which > 1 {
        calls.push(call(f::average::avg_udaf(), &[4], None, false));
        calls.push(call(f::count::count_udaf(), &[3], None, true));
        calls.push(call(f::min_max::max_udaf(), &[2], Some(5), false));
        calls.push(call(f::median::median_udaf(), &[3], None, false));
    }
    calls
}

fn spec(dice: &mut Dice, trigger: Trigger) -> AggregateSpec {
    let kind = match dice.roll(4) {
        0 => WindowKind::Tumble { size: 1 + dice.roll(30) as i64 },
        1 => {
            let step = 1 + dice.roll(10) as i64;
            WindowKind::Cumulate { step, size: step * (1 + dice.roll(4) as i64) }
        }
        _ => {
            let slide = 1 + dice.roll(20) as i64;
            WindowKind::Hop { slide, size: slide + dice.roll(60) as i64 }
        }
    };
    let keys = [vec![], vec![1], vec![2], vec![1, 2], vec![4]][dice.roll(5) as usize].clone();
    let windowing = Windowing {
        spec: WindowSpec { kind, offset: dice.roll(20) as i64 - 10 },
        time: 0,
        trigger,
        lateness: dice.roll(2) as i64 * 7,
    };
    AggregateSpec {
        standing: vec![],
        input: schema(),
        keys,
        aggregates: calls(dice.roll(3)),
        window: Some(windowing),
    }
}

fn text(array: &ArrayRef, row: usize) -> String {
    let format = FormatOptions::new().with_null("NULL");
    ArrayFormatter::try_new(array, &format).unwrap().value(row).to_string()
}

fn lines(batch: &RecordBatch) -> Vec<String> {
    let line = |row| batch.columns().iter().map(|c| text(c, row)).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(line).collect()
}

/// All rows ever counted, by window and key; results from DataFusion's plain accumulators.
#[derive(Default)]
struct Naive {
    windows: BTreeMap<Window, BTreeMap<Vec<String>, Vec<RecordBatch>>>,
}

impl Naive {
    fn push(&mut self, spec: &AggregateSpec, batch: &RecordBatch, passed: Watermark) {
        let times = batch.column(0).as_any().downcast_ref::<TimestampMillisecondArray>().unwrap();
        for row in (0..batch.num_rows()).filter(|&row| times.is_valid(row)) {
            let key: Vec<String> = spec.keys.iter().map(|&k| text(batch.column(k), row)).collect();
            let windows = spec.window.as_ref().unwrap().spec.windows(EventTime(times.value(row)));
            for window in windows.filter(|w| !passed.closes(w.end)) {
                let groups = self.windows.entry(window).or_default();
                groups.entry(key.clone()).or_default().push(batch.slice(row, 1));
            }
        }
    }

    fn results(spec: &AggregateSpec, rows: &[RecordBatch]) -> Vec<String> {
        let all = arrow::compute::concat_batches(&schema(), rows).unwrap();
        let result = |call: &AggregateCall| {
            let mut rows = all.clone();
            if let Some(filter) = call.filter {
                let filter = all.column(filter).as_any().downcast_ref::<BooleanArray>().unwrap();
                rows = arrow::compute::filter_record_batch(&all, filter).unwrap();
            }
            if call.args.is_empty() {
                return rows.num_rows().to_string();
            }
            let args: Vec<ArrayRef> = call.args.iter().map(|&a| rows.column(a).clone()).collect();
            let mut accumulator = call.expr.create_accumulator().unwrap();
            accumulator.update_batch(&args).unwrap();
            text(&accumulator.evaluate().unwrap().to_array().unwrap(), 0)
        };
        spec.aggregates.iter().map(result).collect()
    }

    fn rows(&self, spec: &AggregateSpec, window: &Window) -> Vec<String> {
        let border = |t: EventTime| {
            text(&(Arc::new(TimestampMillisecondArray::from(vec![t.0])) as ArrayRef), 0)
        };
        let groups = self.windows[window].iter().map(|(key, rows)| {
            let mut line = vec![border(window.start), border(window.end)];
            line.extend(key.iter().cloned());
            line.extend(Self::results(spec, rows));
            line.join("|")
        });
        let mut lines: Vec<String> = groups.collect();
        lines.sort();
        lines
    }
}

/// A batch in pieces.
fn pieces(dice: &mut Dice, batch: &RecordBatch) -> Vec<RecordBatch> {
    let (mut from, mut parts) = (0, Vec::new());
    while from < batch.num_rows() {
        let rows = (1 + dice.roll(20) as usize).min(batch.num_rows() - from);
        parts.push(batch.slice(from, rows));
        from += rows;
    }
    parts
}

#[test]
fn closed_windows_are_what_a_recomputation_gives_however_batches_are_cut_and_after_restarts() {
    for seed in 0..150 {
        let mut dice = Dice(seed);
        let spec = spec(&mut dice, Trigger::OnClose);
        let lateness = spec.window.as_ref().unwrap().lateness;
        let (mut naive, mut passed) = (Naive::default(), Watermark::NONE);
        let mut one = WindowAggregate::new(spec.clone()).unwrap();
        let mut other = WindowAggregate::new(spec.clone()).unwrap();
        let mut stored = Stored::default();
        let (mut base, mut watermark) = (-100, Watermark::NONE);
        for step in 0..14 {
            let rows = batch(&mut dice, 40, base);
            base += dice.roll(40) as i64;
            naive.push(&spec, &rows, passed);
            one.push(&rows).unwrap();
            pieces(&mut dice, &rows).iter().for_each(|p| other.push(p).unwrap());
            watermark = match (step, dice.roll(3)) {
                (13, _) => Watermark::INFINITY,
                (_, 0) => watermark,
                (_, _) => {
                    watermark.after(EventTime(base + 20), dice.roll(20) as i64).max(watermark)
                }
            };
            passed = watermark.less(lateness).max(passed);
            let mut expect = Vec::new();
            while let Some(entry) =
                naive.windows.first_key_value().filter(|e| passed.closes(e.0.end))
            {
                let window = *entry.0;
                expect.extend(naive.rows(&spec, &window));
                naive.windows.remove(&window);
            }
            let mut outputs = Vec::new();
            for operator in [&mut one, &mut other] {
                let mut out = Vec::new();
                while operator.close(watermark, &mut out).unwrap() == Closing::More {}
                outputs.push(out.iter().flat_map(|d| lines(&d.batch)).collect::<Vec<_>>());
            }
            assert_eq!(outputs[0], outputs[1], "seed {seed} step {step} {spec:?}");
            let mut got = outputs.swap_remove(0);
            let ends = |lines: &[String]| -> Vec<String> {
                lines.iter().map(|l| l.split('|').take(2).collect::<Vec<_>>().join("|")).collect()
            };
            assert_eq!(ends(&got), ends(&expect), "seed {seed} step {step}: windows in order");
            got.sort();
            expect.sort();
            assert_eq!(got, expect, "seed {seed} step {step} {:?}", spec.window);
            stored.write(&mut other, &mut dice);
            if dice.roll(3) == 0 {
                other =
                    restored(WindowAggregate::at(spec.clone(), watermark).unwrap(), stored.read());
            }
        }
        assert_eq!((one.rows(), other.rows()), (0, 0), "state of closed windows is freed");
    }
}

/// What is stored of an operator: changes, and pieces of a sweep that goes on with each of them;
/// what was written before a sweep goes when it is through.
#[derive(Default)]
struct Stored {
    written: Vec<Partial>,
    sweep: Option<(usize, PieceCursor)>,
}

/// A table says how large it is without looking at all of itself, which is as large as it is.
fn assert_counted(table: &dyn StateTable) {
    assert_eq!((table.size(), table.rows()), table.walked(), "{}", table.name());
}

impl Stored {
    fn write(&mut self, table: &mut dyn StateTable, dice: &mut Dice) {
        assert_counted(table);
        self.written.extend(table.take_changed().unwrap());
        assert_counted(table);
        for _ in 0..dice.roll(4) {
            let (_, cursor) =
                self.sweep.get_or_insert((self.written.len(), PieceCursor::default()));
            match table.piece(cursor, 1 + dice.roll(3) as usize).unwrap() {
                Some(piece) => self.written.push(piece),
                None => {
                    let begun = self.sweep.take().map_or(0, |sweep| sweep.0);
                    self.written.drain(..begun);
                }
            }
        }
    }

    /// After a restart a sweep begins anew.
    fn read(&mut self) -> Vec<Partial> {
        self.sweep = None;
        self.written.clone()
    }
}

fn apply(delta: &Delta, contents: &mut BTreeMap<String, i64>) {
    for (row, line) in lines(&delta.batch).into_iter().enumerate() {
        let count = contents.entry(line.clone()).or_default();
        *count += delta.weight(row);
        assert!(*count >= 0, "a row goes that was not there: {line}");
        contents.retain(|_, count| *count != 0);
    }
}

#[test]
fn changes_add_up_to_the_present_contents_of_the_open_windows() {
    for seed in 0..100 {
        let mut dice = Dice(seed + 1_000);
        let spec = spec(&mut dice, Trigger::OnChange);
        let lateness = spec.window.as_ref().unwrap().lateness;
        let (mut naive, mut passed) = (Naive::default(), Watermark::NONE);
        let mut operator = WindowAggregate::new(spec.clone()).unwrap();
        let mut stored = Stored::default();
        let mut contents = BTreeMap::new();
        let (mut base, mut watermark) = (-100, Watermark::NONE);
        for step in 0..10 {
            let rows = batch(&mut dice, 30, base);
            base += dice.roll(40) as i64;
            naive.push(&spec, &rows, passed);
            pieces(&mut dice, &rows).iter().for_each(|p| operator.push(p).unwrap());
            assert_counted(&operator);
            apply(&operator.changes().unwrap(), &mut contents);
            let expect: Vec<_> = naive.windows.keys().flat_map(|w| naive.rows(&spec, w)).collect();
            let mut got: Vec<_> = contents.keys().cloned().collect();
            let mut expect = expect;
            got.sort();
            expect.sort();
            assert_eq!(got, expect, "seed {seed} step {step} {:?}", spec.window);
            watermark = watermark.after(EventTime(base), dice.roll(20) as i64);
            passed = watermark.less(lateness).max(passed);
            let mut out = Vec::new();
            while operator.close(watermark, &mut out).unwrap() == Closing::More {}
            assert!(out.is_empty(), "nothing changes by closing");
            stored.write(&mut operator, &mut dice);
            if dice.roll(3) == 0 {
                operator =
                    restored(WindowAggregate::at(spec.clone(), watermark).unwrap(), stored.read());
            }
        }
    }
}

#[test]
fn a_running_aggregate_follows_rows_that_come_and_go_and_survives_restarts() {
    for seed in 0..100 {
        let mut dice = Dice(seed + 2_000);
        let mut spec = spec(&mut dice, Trigger::OnChange);
        spec.window = None;
        let retracting = dice.roll(2) == 0;
        spec.aggregates = calls(if retracting { 0 } else { dice.roll(3) });
        let mut operator = RunningAggregate::new(spec.clone()).unwrap();
        let mut rows: Vec<RecordBatch> = Vec::new();
        let (mut contents, mut stored) = (BTreeMap::new(), Stored::default());
        for step in 0..10 {
            let new = batch(&mut dice, 20, 0);
            rows.extend((0..20).map(|i| new.slice(i, 1)));
            pieces(&mut dice, &new).iter().for_each(|p| operator.push(p, None).unwrap());
            let mut gone = Vec::new();
            while retracting && !rows.is_empty() && dice.roll(25) > 0 {
                gone.push(rows.swap_remove(dice.roll(rows.len() as u64) as usize));
            }
            if !gone.is_empty() {
                let gone = arrow::compute::concat_batches(&schema(), &gone).unwrap();
                operator.push(&gone, Some(&Int64Array::from_value(-1, gone.num_rows()))).unwrap();
            }
            assert_counted(&operator);
            apply(&operator.changes().unwrap(), &mut contents);
            let mut groups: BTreeMap<Vec<String>, Vec<RecordBatch>> = BTreeMap::new();
            if spec.keys.is_empty() {
                groups.insert(Vec::new(), Vec::new());
            }
            for row in &rows {
                let key = spec.keys.iter().map(|&k| text(row.column(k), 0)).collect();
                groups.entry(key).or_default().push(row.clone());
            }
            let mut expect: Vec<String> = groups
                .iter()
                .map(|(key, rows)| {
                    let mut line = key.clone();
                    line.extend(Naive::results(&spec, rows));
                    line.join("|")
                })
                .collect();
            let mut got: Vec<_> = contents.keys().cloned().collect();
            got.sort();
            expect.sort();
            assert_eq!(got, expect, "seed {seed} step {step} {:?}", spec.keys);
            stored.write(&mut operator, &mut dice);
            if dice.roll(3) == 0 {
                operator = restored(RunningAggregate::new(spec.clone()).unwrap(), stored.read());
            }
        }
    }
}

#[test]
fn a_window_buffer_gives_out_every_row_in_order_of_arrival_and_survives_restarts() {
    for seed in 0..50 {
        let mut dice = Dice(seed + 4_000);
        let windowing = spec(&mut dice, Trigger::OnClose).window.unwrap();
        let mut buffer = WindowBuffer::new(schema(), windowing.clone()).unwrap();
        let mut naive: BTreeMap<Window, Vec<String>> = BTreeMap::new();
        let (mut base, mut watermark, mut passed) = (-60, Watermark::NONE, Watermark::NONE);
        let mut stored = Stored::default();
        for step in 0..8 {
            let rows = batch(&mut dice, 20, base);
            base += dice.roll(40) as i64;
            let times =
                rows.column(0).as_any().downcast_ref::<TimestampMillisecondArray>().unwrap();
            for (i, line) in
                lines(&rows).into_iter().enumerate().filter(|(i, _)| times.is_valid(*i))
            {
                let windows = windowing.spec.windows(EventTime(times.value(i)));
                for window in windows.filter(|w| !passed.closes(w.end)) {
                    naive.entry(window).or_default().push(line.clone());
                }
            }
            pieces(&mut dice, &rows).iter().for_each(|p| buffer.push(p).unwrap());
            watermark =
                if step == 7 { Watermark::INFINITY } else { watermark.after(EventTime(base), 0) };
            passed = watermark.less(windowing.lateness).max(passed);
            let mut out = Vec::new();
            while buffer.close(watermark, &mut out).unwrap() == Closing::More {}
            let got: Vec<String> = out.iter().flat_map(|d| lines(&d.batch)).collect();
            let mut expect = Vec::new();
            while let Some(entry) = naive.first_entry().filter(|e| passed.closes(e.key().end)) {
                expect.extend(entry.remove());
            }
            let got: Vec<&str> = got.iter().map(|l| l.rsplitn(3, '|').last().unwrap()).collect();
            assert_eq!(got, expect, "seed {seed} step {step} {windowing:?}");
            stored.write(&mut buffer, &mut dice);
            if dice.roll(3) == 0 {
                let empty = WindowBuffer::at(schema(), windowing.clone(), watermark).unwrap();
                buffer = restored(empty, stored.read());
            }
        }
        assert_eq!((buffer.rows(), buffer.size()), (0, 0));
    }
}

#[test]
fn rows_that_come_one_by_one_take_a_window_buffer_little_more_than_those_that_come_together() {
    let windowing = Windowing {
        spec: WindowSpec { kind: WindowKind::Tumble { size: 1_000 }, offset: 0 },
        time: 0,
        trigger: Trigger::OnClose,
        lateness: 0,
    };
    let rows = batch(&mut Dice(5_000), 5_000, 0);
    let mut together = WindowBuffer::new(schema(), windowing.clone()).unwrap();
    together.push(&rows).unwrap();
    let mut single = WindowBuffer::new(schema(), windowing).unwrap();
    for row in 0..rows.num_rows() as u32 {
        // With memory of its own, as a write brings it.
        single.push(&take_record_batch(&rows, &UInt32Array::from(vec![row])).unwrap()).unwrap();
    }
    assert_eq!(single.rows(), together.rows());
    let sizes = [single.size(), together.size()];
    // And what is counted is what is held, not what is shown of it.
    let least = single.whole().unwrap().get_array_memory_size() / 2;
    assert!(sizes[0] < 2 * sizes[1] && sizes.iter().all(|size| *size > least), "{sizes:?}");
    let closed = [single, together].map(|mut buffer| {
        let mut out = Vec::new();
        while buffer.close(Watermark::INFINITY, &mut out).unwrap() == Closing::More {}
        out.iter().flat_map(|delta| lines(&delta.batch)).collect::<Vec<_>>()
    });
    assert!(!closed[0].is_empty());
    assert_eq!(closed[0], closed[1]);
}
