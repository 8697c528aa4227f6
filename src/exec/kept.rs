//! Rows that could not be counted, kept to be looked at: rejected records and rows, the newest of each stream.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

use crate::catalog::Relation;
use crate::connect::Rejected;
use crate::limits;

/// A rejected record.
#[derive(Debug, Clone)]
pub struct RejectedRow {
    /// Its stream's name.
    pub stream: String,
    /// Its number among the source's records.
    pub offset: u64,
    /// Its bytes.
    pub raw: Vec<u8>,
    /// What is wrong with it.
    pub error: String,
    /// When it was found, milliseconds since 1970.
    pub at_ms: i64,
}

/// The rejected records of all streams.
#[derive(Default)]
pub struct Kept {
    rejected: Mutex<BTreeMap<String, Stream>>,
}

#[derive(Default)]
struct Stream {
    /// Records with a smaller number have been seen: several queries read the same stream.
    next: u64,
    rows: VecDeque<RejectedRow>,
    count: u64,
}

impl Kept {
    /// Keeps what a query's reading of a source has rejected.
    pub fn reject(&self, source: &Relation, rejected: &[Rejected], at_ms: i64) {
        if rejected.is_empty() {
            return;
        }
        let mut streams = self.rejected.lock();
        let stream = streams.entry(source.name.clone()).or_default();
        for record in rejected {
            if record.offset < stream.next {
                continue;
            }
            stream.next = record.offset + 1;
            stream.count += 1;
            stream.rows.push_back(RejectedRow {
                stream: source.name.clone(),
                offset: record.offset,
                raw: record.raw.clone(),
                error: record.error.clone(),
                at_ms,
            });
        }
        while stream.rows.len() > limits::KEPT_ROWS {
            stream.rows.pop_front();
        }
    }

    /// All that is kept, by stream, oldest first.
    pub fn rejected(&self) -> Vec<RejectedRow> {
        self.rejected.lock().values().flat_map(|stream| stream.rows.iter().cloned()).collect()
    }

    /// How many records of a stream were rejected since the start.
    pub fn rejected_count(&self, stream: &str) -> u64 {
        self.rejected.lock().get(stream).map_or(0, |stream| stream.count)
    }

    /// Forgets a stream that was dropped.
    pub fn forget(&self, stream: &str) {
        self.rejected.lock().remove(stream);
    }
}
