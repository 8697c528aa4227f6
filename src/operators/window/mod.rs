//! GROUP BY a window of TUMBLE, HOP or CUMULATE.
//!
//! Overlapping windows that are given out on close share their slices ([`Hops`]). Every other case
//! keeps one table per window: TUMBLE, where the slice is the window, and windows that emit
//! changes, each of which has a result to be kept up to date. There a batch is aggregated once per
//! slice and its groups are merged into the windows, unless an aggregate would show the order (sums
//! of floats, array_agg, …): then rows go into each window in their own order.
//!
//! In which order array_agg, string_agg and first_value without ORDER BY see the rows of a window:
//! as they came, for TUMBLE and wherever changes are emitted; in a HOP given out on close slice by
//! slice in event time, and as they came within a slice. Both depend on the log only.

mod stored;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::split::{Rows, split, ticks, time_column, timed, times};
use super::{AggregateSpec, Closing, Delta, Partial, Trigger, Windowing, time_type};
use crate::error::{Error, Result};
use crate::limits::BATCH_ROWS;
use crate::state::{Hops, Shape, Table, Which, partial};
use crate::time::{EventTime, Slice, SliceSpec, Watermark, Window, WindowKind, WindowSpec};

/// An aggregate over windows.
pub struct WindowAggregate {
    shape: Shape,
    windowing: Windowing,
    output: SchemaRef,
    time_type: DataType,
    slices: SliceSpec,
    /// The watermark less the lateness: windows that end here or before have been given out and are
    /// gone.
    passed: Watermark,
    /// The end of the last window given out.
    closed: Option<EventTime>,
    rejected: u64,
    mode: Mode,
    track: bool,
    /// Bytes and groups of the tables per window: counted as they change.
    bytes: usize,
    groups: usize,
}

enum Mode {
    /// One table per window.
    Tables(BTreeMap<Window, Table>),
    /// Slices shared by overlapping windows.
    Hops(Box<Hops>),
}

/// The last window that holds a slice, if there is one within the range of time.
fn last_window(spec: &WindowSpec, slice: &Slice) -> Option<Window> {
    spec.last_window(slice.start)
}

impl WindowAggregate {
    /// An operator without state.
    pub fn new(spec: AggregateSpec) -> Result<Self> {
        let output = spec.output()?;
        let Some(windowing) = spec.window else {
            return Err(Error::internal("a window aggregate without windows"));
        };
        let shape = Shape::new(&spec.input, &spec.keys, &spec.aggregates)?;
        let mode = match (windowing.spec.kind, windowing.trigger) {
            (WindowKind::Hop { .. }, Trigger::OnClose) => {
                Mode::Hops(Box::new(Hops::new(&shape, windowing.spec)?))
            }
            (WindowKind::Tumble { .. } | WindowKind::Cumulate { .. }, _)
            | (WindowKind::Hop { .. }, Trigger::OnChange) => Mode::Tables(BTreeMap::new()),
        };
        Ok(WindowAggregate {
            time_type: time_type(&spec.input, windowing.time)?,
            slices: SliceSpec::of(&windowing.spec),
            shape,
            windowing,
            output,
            passed: Watermark::NONE,
            closed: None,
            rejected: 0,
            mode,
            track: false,
            bytes: 0,
            groups: 0,
        })
    }

    /// The columns of the output.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.output)
    }

    /// Takes in rows. Those without a time, and those whose windows have all closed, change
    /// nothing.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let (batch, rejected) = timed(batch, self.windowing.time)?;
        self.rejected += rejected;
        let data = times(batch.column(self.windowing.time))?;
        let mut parts = split(ticks(&data), &self.slices);
        let (spec, passed) = (self.windowing.spec, self.passed);
        parts.retain(|slice, _| last_window(&spec, slice).is_some_and(|w| !passed.closes(w.end)));
        let all = batch.num_rows();
        match &mut self.mode {
            Mode::Hops(hops) => {
                for (slice, rows) in parts {
                    let columns = rows.of(batch.columns())?;
                    hops.push(&self.shape, slice, &columns, rows.len(all), self.track)?;
                }
                Ok(())
            }
            Mode::Tables(_) => match (spec.kind, self.shape.exact()) {
                (WindowKind::Tumble { .. }, _) => self.push_tumbling(&batch, parts),
                (WindowKind::Hop { .. } | WindowKind::Cumulate { .. }, true) => {
                    self.push_slices(&batch, parts)
                }
                (WindowKind::Hop { .. } | WindowKind::Cumulate { .. }, false) => {
                    self.push_windows(&batch, ticks(&data), parts)
                }
            },
        }
    }

    fn push_tumbling(&mut self, batch: &RecordBatch, parts: BTreeMap<Slice, Rows>) -> Result<()> {
        for (slice, rows) in parts {
            let window = Window { start: slice.start, end: slice.end };
            let columns = rows.of(batch.columns())?;
            let len = rows.len(batch.num_rows());
            self.change(window, |table, shape, track| table.push(shape, &columns, len, track))?;
        }
        Ok(())
    }

    /// Aggregates each slice of the batch once and merges its groups into the open windows.
    fn push_slices(&mut self, batch: &RecordBatch, parts: BTreeMap<Slice, Rows>) -> Result<()> {
        for (slice, rows) in parts {
            let mut part = Table::new(&self.shape, Trigger::OnClose)?;
            part.push(&self.shape, &rows.of(batch.columns())?, rows.len(batch.num_rows()), false)?;
            for window in self.open(&slice) {
                self.change(window, |table, _, track| table.merge(&part, track))?;
            }
        }
        Ok(())
    }

    /// Gives each open window its rows in order of arrival.
    fn push_windows(
        &mut self,
        batch: &RecordBatch,
        ticks: &[i64],
        parts: BTreeMap<Slice, Rows>,
    ) -> Result<()> {
        let mut windows: Vec<Window> = parts.keys().flat_map(|slice| self.open(slice)).collect();
        windows.sort_unstable();
        windows.dedup();
        for window in windows {
            let inside = |t: i64| window.start.0 <= t && t < window.end.0;
            let rows = (0..ticks.len()).filter(|&i| inside(ticks[i])).map(|i| i as u32);
            let rows = Rows::List(rows.collect());
            let columns = rows.of(batch.columns())?;
            let len = rows.len(0);
            self.change(window, |table, shape, track| table.push(shape, &columns, len, track))?;
        }
        Ok(())
    }

    /// The windows of a slice that have not closed.
    fn open(&self, slice: &Slice) -> Vec<Window> {
        let passed = self.passed;
        self.windowing.spec.windows(slice.start).filter(|w| !passed.closes(w.end)).collect()
    }

    /// Changes the table of a window, and counts what it takes then.
    fn change(
        &mut self,
        window: Window,
        change: impl FnOnce(&mut Table, &Shape, bool) -> Result<()>,
    ) -> Result<()> {
        let Mode::Tables(tables) = &mut self.mode else {
            return Err(Error::internal("a table per window was asked for where slices are kept"));
        };
        let table = match tables.entry(window) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let table = entry.insert(Table::new(&self.shape, self.windowing.trigger)?);
                self.bytes += table.size();
                table
            }
        };
        let (bytes, groups) = (table.size(), table.len());
        let done = change(table, &self.shape, self.track);
        self.bytes = self.bytes + table.size() - bytes;
        self.groups = self.groups + table.len() - groups;
        done
    }

    /// Where the window ends that closes next.
    fn next_end(&self) -> Option<EventTime> {
        match &self.mode {
            Mode::Tables(tables) => tables.keys().next().map(|window| window.end),
            Mode::Hops(hops) => {
                let at = NextHop { spec: self.windowing.spec, passed: self.passed };
                at.next(hops, self.closed).map(|window| window.end)
            }
        }
    }

    fn drop_passed(&mut self, passed: Watermark) {
        // In order of their end.
        let Mode::Tables(tables) = &mut self.mode else { return };
        while let Some(entry) = tables.first_entry().filter(|entry| passed.closes(entry.key().end))
        {
            let table = entry.remove();
            self.bytes -= table.size();
            self.groups -= table.len();
        }
    }

    /// The watermark has come to here: on close, each window it has passed is given out, in order
    /// of its end, its rows in order of keys, a portion a call; on change, what has changed. Passed
    /// windows are then forgotten.
    pub fn close(&mut self, watermark: Watermark, out: &mut Vec<Delta>) -> Result<Closing> {
        let passed = watermark.less(self.windowing.lateness).max(self.passed);
        let (mut batches, mut count) = (Vec::new(), 0);
        let mut closing = Closing::Done;
        match (&mut self.mode, self.windowing.trigger) {
            (Mode::Tables(_), Trigger::OnChange) => {
                let changes = self.changes()?;
                if !changes.is_empty() {
                    out.push(changes);
                }
                self.drop_passed(passed);
            }
            (Mode::Tables(tables), Trigger::OnClose) => {
                while let Some(entry) = tables.first_entry().filter(|e| passed.closes(e.key().end))
                {
                    if count >= BATCH_ROWS {
                        closing = Closing::More;
                        break;
                    }
                    let (window, table) = entry.remove_entry();
                    self.bytes -= table.size();
                    self.groups -= table.len();
                    let batch = rows(&self.output, &self.time_type, &window, table.results()?)?;
                    count += batch.num_rows();
                    batches.push(batch);
                }
            }
            (Mode::Hops(hops), _) => {
                let at = NextHop { spec: self.windowing.spec, passed: self.passed };
                while let Some(window) = at.next(hops, self.closed).filter(|w| passed.closes(w.end))
                {
                    if count >= BATCH_ROWS {
                        closing = Closing::More;
                        break;
                    }
                    let batch = rows(&self.output, &self.time_type, &window, hops.close(&window)?)?;
                    count += batch.num_rows();
                    batches.push(batch);
                    self.closed = Some(window.end);
                    hops.evict(EventTime(
                        window.start.0.saturating_add(self.windowing.spec.slide()),
                    ))?;
                }
            }
        }
        // Until all have been given out, the windows that are left are not passed: the next call
        // finds them.
        if closing == Closing::Done {
            self.passed = passed;
        }
        join(&self.output, batches, out)?;
        Ok(closing)
    }

    /// What has changed in the open windows since the last call: the old version of each row with
    /// −1, the new one with +1, windows in order of their end, rows in order of keys. Nothing if
    /// results are given out on close.
    pub fn changes(&mut self) -> Result<Delta> {
        let (mut batches, mut weights) = (Vec::new(), Vec::<i64>::new());
        if let (Mode::Tables(tables), Trigger::OnChange) = (&mut self.mode, self.windowing.trigger)
        {
            for (window, table) in tables.iter_mut().filter(|(_, table)| table.is_pending()) {
                let before = table.size();
                let (columns, weight) = table.changes()?;
                self.bytes = self.bytes + table.size() - before;
                weights.extend(weight.values());
                let count = weight.len();
                batches.push(counted_rows(&self.output, &self.time_type, window, columns, count)?);
            }
        }
        Ok(Delta::new(concat_batches(&self.output, &batches)?, Int64Array::from(weights)))
    }

    /// All state, as one partial.
    pub fn whole(&mut self) -> Result<Partial> {
        self.settled()?;
        let mut parts = Vec::new();
        match &mut self.mode {
            Mode::Tables(tables) => {
                for (window, table) in tables {
                    let (rows, columns) = table.whole()?;
                    parts.push(stamped(window.start, window.end, rows, columns)?);
                }
            }
            Mode::Hops(hops) => {
                for (slice, rows, columns) in hops.written(Which::All)? {
                    parts.push(stamped(slice.start, slice.end, rows, columns)?);
                }
            }
        }
        if parts.is_empty() {
            let (rows, columns) = Table::new(&self.shape, Trigger::OnClose)?.whole()?;
            parts.push(stamped(EventTime(0), EventTime(0), rows, columns)?);
        }
        Ok(concat_batches(&parts[0].schema(), &parts)?)
    }

    fn settled(&self) -> Result<()> {
        match &self.mode {
            Mode::Tables(tables) if tables.values().any(|t| t.is_pending()) => {
                Err(Error::internal(
                    "a checkpoint was taken before the changes of its epoch were given out",
                ))
            }
            Mode::Tables(_) | Mode::Hops(_) => Ok(()),
        }
    }

    /// An operator without state that has come to this watermark.
    pub fn at(spec: AggregateSpec, watermark: Watermark) -> Result<Self> {
        let mut operator = WindowAggregate::new(spec)?;
        operator.passed = watermark.less(operator.windowing.lateness);
        Ok(operator)
    }

    /// Puts stored states in the place of those that are there.
    fn load(&mut self, partial: &Partial) -> Result<()> {
        let stamps = partial
            .columns()
            .get(..2)
            .map(|c| [0, 1].map(|i| c[i].as_primitive_opt::<Int64Type>()));
        let Some([Some(starts), Some(ends)]) = stamps else {
            return Err(Error::internal("a partial without its slices"));
        };
        let mut from = 0;
        while from < partial.num_rows() {
            let (start, end) = (starts.value(from), ends.value(from));
            let same = |i: &usize| starts.value(*i) == start && ends.value(*i) == end;
            let rows = (from..partial.num_rows()).take_while(same).count();
            let columns: Vec<ArrayRef> =
                partial.columns()[2..].iter().map(|c| c.slice(from, rows)).collect();
            self.load_part(EventTime(start), EventTime(end), &columns, rows)?;
            from += rows;
        }
        Ok(())
    }

    fn load_part(
        &mut self,
        start: EventTime,
        end: EventTime,
        columns: &[ArrayRef],
        rows: usize,
    ) -> Result<()> {
        let passed = self.passed;
        if let Mode::Hops(hops) = &mut self.mode {
            let slice = Slice { start, end };
            if last_window(&self.windowing.spec, &slice).is_none_or(|w| passed.closes(w.end)) {
                return Ok(());
            }
            let (keys, states) = self.shape.cut(columns)?;
            return hops.load(slice, keys, &states, rows);
        }
        if passed.closes(end) {
            return Ok(());
        }
        self.change(Window { start, end }, |table, shape, _| {
            let (keys, states) = shape.cut(columns)?;
            table.load(keys, &states, rows)
        })
    }
}

/// Which window of HOP closes next.
struct NextHop {
    spec: WindowSpec,
    passed: Watermark,
}

impl NextHop {
    /// The first window after the last one given out that holds a slice.
    fn next(&self, hops: &Hops, closed: Option<EventTime>) -> Option<Window> {
        let oldest = hops.oldest()?;
        if let Some(end) = closed.and_then(|c| c.0.checked_add(self.spec.slide())) {
            let window = Window {
                start: EventTime(end.saturating_sub(self.spec.size())),
                end: EventTime(end),
            };
            // A window without rows may have been passed before a late row came that lies in it.
            if oldest.is_in(&window) && !self.passed.closes(window.end) {
                return Some(window);
            }
        }
        let new =
            |w: &Window| !self.passed.closes(w.end) && closed.is_none_or(|closed| w.end > closed);
        self.spec.windows(oldest.start).find(new)
    }
}

/// The rows of a window: its borders before the columns.
fn rows(
    output: &SchemaRef,
    time_type: &DataType,
    window: &Window,
    columns: Vec<ArrayRef>,
) -> Result<RecordBatch> {
    // A query without keys and aggregates still has one row per window.
    let rows = columns.first().map_or(1, |c| c.len());
    counted_rows(output, time_type, window, columns, rows)
}

fn counted_rows(
    output: &SchemaRef,
    time_type: &DataType,
    window: &Window,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    let mut all = vec![
        time_column(vec![window.start.0; rows], time_type)?,
        time_column(vec![window.end.0; rows], time_type)?,
    ];
    all.extend(columns);
    Ok(RecordBatch::try_new(Arc::clone(output), all)?)
}

/// A part of a partial: the borders of a slice or window before keys and states.
fn stamped(
    start: EventTime,
    end: EventTime,
    rows: usize,
    columns: Vec<ArrayRef>,
) -> Result<RecordBatch> {
    let stamp = |at: EventTime| -> ArrayRef { Arc::new(Int64Array::from_value(at.0, rows)) };
    let mut all = vec![stamp(start), stamp(end)];
    all.extend(columns);
    partial(all)
}

/// Joins small batches, so that many windows of few rows do not cost a batch each.
fn join(schema: &SchemaRef, batches: Vec<RecordBatch>, out: &mut Vec<Delta>) -> Result<()> {
    let (mut waiting, mut count) = (Vec::new(), 0);
    for batch in batches.into_iter().filter(|b| b.num_rows() > 0) {
        if count > 0 && count + batch.num_rows() > BATCH_ROWS {
            out.push(Delta::insert(concat_batches(schema, &waiting)?));
            (waiting, count) = (Vec::new(), 0);
        }
        count += batch.num_rows();
        waiting.push(batch);
    }
    match waiting.len() {
        0 => {}
        1 => out.extend(waiting.pop().map(Delta::insert)),
        _ => out.push(Delta::insert(concat_batches(schema, &waiting)?)),
    }
    Ok(())
}
