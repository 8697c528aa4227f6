//! What the sources and operators of a query have done: `tidemill.operators`.

use std::sync::Arc;

use crate::clock::Stopwatch;
use crate::limits;

/// What a source or an operator has done since its query began to run here.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeWork {
    rows_in: u64,
    rows_out: u64,
    /// In the running epoch, milliseconds.
    epoch_ms: f64,
}

impl NodeWork {
    pub(super) fn begin_epoch(&mut self) {
        self.epoch_ms = 0.0;
    }

    pub(super) fn took(&mut self, rows: usize) {
        self.rows_in += rows as u64;
    }

    pub(super) fn gave(&mut self, rows: usize) {
        self.rows_out += rows as u64;
    }

    /// To be given to [`Self::spent`] after work on so many rows.
    pub(super) fn watch(rows: usize) -> Option<Stopwatch> {
        (rows >= limits::MEASURED_ROWS).then(Stopwatch::start)
    }

    pub(super) fn spent(&mut self, watch: Option<Stopwatch>) {
        self.epoch_ms += watch.map_or(0.0, |watch| watch.ms());
    }
}

/// A source or an operator, as it is shown.
#[derive(Debug, Clone)]
pub struct NodeFigures {
    /// What it is, as EXPLAIN says it.
    pub name: Arc<str>,
    /// Rows that have come to it, those that go included.
    pub rows_in: u64,
    /// Rows that what is on top of it has given out.
    pub rows_out: u64,
    /// Rows of its state.
    pub state_rows: usize,
    /// Bytes of its state.
    pub state_bytes: usize,
    /// How far what comes to it is complete, microseconds since 1970.
    pub watermark: Option<i64>,
    /// What it took of the last epoch, milliseconds; work on a few rows is left out.
    pub epoch_ms: f64,
}

impl NodeFigures {
    /// `size`: bytes and rows of its state.
    pub(super) fn new(
        name: Arc<str>,
        work: &NodeWork,
        size: (usize, usize),
        watermark: Option<i64>,
    ) -> NodeFigures {
        NodeFigures {
            name,
            rows_in: work.rows_in,
            rows_out: work.rows_out,
            state_rows: size.1,
            state_bytes: size.0,
            watermark,
            epoch_ms: work.epoch_ms,
        }
    }
}
