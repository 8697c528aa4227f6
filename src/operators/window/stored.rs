//! What a window aggregate is to the executor, and how its state is written and read back.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat_batches;

use super::super::operator::{Operator, PassedOn, kept, rows_that_stay, size_of_tables};
use super::super::{Closing, Delta, Partial, time_unit};
use super::{Mode, WindowAggregate, stamped};
use crate::error::Result;
use crate::limits::STATE_PIECE_BYTES;
use crate::state::{PieceCursor, StateTable, Table, Which, in_parts};
use crate::time::{EventTime, Watermark, Window};

impl Operator for WindowAggregate {
    fn push(&mut self, _: usize, delta: &Delta) -> Result<PassedOn> {
        self.push(rows_that_stay(delta)?)?;
        Ok(kept())
    }

    fn close(&mut self, watermark: Watermark, out: &mut Vec<Delta>) -> Result<Closing> {
        self.close(watermark, out)
    }

    fn closes_next(&self) -> Option<Watermark> {
        self.windowing.closing(self.next_end()?)
    }

    fn frontier(&self, watermark: Watermark) -> Watermark {
        self.windowing.frontier(time_unit(&self.time_type), watermark)
    }

    fn settle(&mut self, _: &[Watermark], out: &mut Vec<Delta>) -> Result<Closing> {
        out.push(self.changes()?);
        Ok(Closing::Done)
    }

    fn rejected(&self) -> u64 {
        self.rejected
    }

    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        vec![self]
    }

    fn state_size(&self) -> (usize, usize) {
        size_of_tables([self as &dyn StateTable])
    }
}

impl StateTable for WindowAggregate {
    fn name(&self) -> &'static str {
        "groups of windows"
    }

    /// To be called at the end of an epoch, after [`close`](Self::close) and
    /// [`changes`](Self::changes).
    fn take_changed(&mut self) -> Result<Vec<Partial>> {
        if !std::mem::replace(&mut self.track, true) {
            return Ok(in_parts(&self.whole()?));
        }
        self.settled()?;
        let mut parts = Vec::new();
        match &mut self.mode {
            Mode::Tables(tables) => {
                for (window, table) in tables.iter_mut().filter(|(_, t)| t.is_dirty()) {
                    let (rows, columns) = table.take_dirty()?;
                    parts.push(stamped(window.start, window.end, rows, columns)?);
                }
            }
            Mode::Hops(hops) => {
                for (slice, rows, columns) in hops.written(Which::Dirty)? {
                    parts.push(stamped(slice.start, slice.end, rows, columns)?);
                }
            }
        }
        match parts.first().map(|p| p.schema()) {
            Some(schema) => Ok(in_parts(&concat_batches(&schema, &parts)?)),
            None => Ok(Vec::new()),
        }
    }

    fn piece(&mut self, cursor: &mut PieceCursor, wanted: usize) -> Result<Option<Partial>> {
        self.settled()?;
        let (mut parts, mut count, mut bytes) = (Vec::new(), 0, 0);
        // Windows may be many and small. A group of which there is a portion ends the piece: no
        // piece has a group twice.
        while count < wanted
            && bytes < STATE_PIECE_BYTES
            && (parts.is_empty() || cursor.within.is_empty())
        {
            let (start, end, rows, columns) = match &self.mode {
                Mode::Tables(tables) => match table_piece(tables, cursor, wanted - count)? {
                    Some((window, rows, columns)) => (window.start, window.end, rows, columns),
                    None => break,
                },
                Mode::Hops(hops) => match hops.piece(cursor, wanted - count)? {
                    Some((slice, rows, columns)) => (slice.start, slice.end, rows, columns),
                    None => break,
                },
            };
            count += rows;
            bytes += columns.iter().map(|column| column.get_array_memory_size()).sum::<usize>();
            parts.push(stamped(start, end, rows, columns)?);
        }
        match parts.first().map(|p| p.schema()) {
            Some(schema) => Ok(Some(concat_batches(&schema, &parts)?)),
            None => Ok(None),
        }
    }

    fn restore_rows(&mut self, rows: &Partial) -> Result<()> {
        self.track = false;
        self.load(rows)
    }

    fn restored(&mut self) -> Result<()> {
        self.track = true;
        Ok(())
    }

    fn size(&self) -> usize {
        match &self.mode {
            Mode::Tables(_) => self.bytes,
            Mode::Hops(hops) => hops.size(),
        }
    }

    fn rows(&self) -> usize {
        match &self.mode {
            Mode::Tables(_) => self.groups,
            Mode::Hops(hops) => hops.rows(),
        }
    }

    #[cfg(test)]
    fn walked(&self) -> (usize, usize) {
        match &self.mode {
            Mode::Tables(tables) => {
                (tables.values().map(Table::walked).sum(), tables.values().map(Table::len).sum())
            }
            Mode::Hops(hops) => hops.walked(),
        }
    }
}

/// Groups of the tables per window from the cursor on: the window, and keys and states.
fn table_piece(
    tables: &BTreeMap<Window, Table>,
    cursor: &mut PieceCursor,
    wanted: usize,
) -> Result<Option<(Window, usize, Vec<ArrayRef>)>> {
    loop {
        let (start, end) = cursor.span.unwrap_or((i64::MIN, i64::MIN));
        let from = Window { start: EventTime(start), end: EventTime(end) };
        let Some((&window, table)) = tables.range(from..).next() else { return Ok(None) };
        if window != from {
            *cursor = PieceCursor::of(Some((window.start.0, window.end.0)));
        }
        let (rows, columns) = table.piece(cursor, wanted)?;
        if rows > 0 {
            return Ok(Some((window, rows, columns)));
        }
        // Windows are in order of their end, then their start.
        *cursor = PieceCursor::of(Some((window.start.0.saturating_add(1), window.end.0)));
    }
}
