//! Who writes faster than the views can read is held back: a commit to a stream waits while a view
//! over it is further behind than the stream allows (`WITH (max_lag = …)`).
//!
//! How far that is is told by the oldest commit that it has not read, and by how long a row that is
//! written now will wait (`view/throughput.rs`).
//!
//! Only a view that trails is behind. One that catches up over a history does not count, or CREATE
//! MATERIALIZED VIEW would stop the writers; neither does one that is paused, that has failed, or
//! that waits for room on the disk.

use std::time::Duration;

use super::registry::Engine;
use super::view::handle::{Phase, ViewHandle};
use crate::catalog::{Kind, Relation, RelationId};
use crate::limits;
use crate::log::StreamId;

/// How often a writer that is held back looks again.
const ROUND: Duration = Duration::from_millis(20);

impl Engine {
    /// Waits until what is written to these streams may be committed.
    pub async fn hold_back(&self, streams: &[RelationId]) {
        while self.is_held_back(streams) {
            self.clock().sleep(ROUND).await;
        }
    }

    fn is_held_back(&self, streams: &[RelationId]) -> bool {
        let trailing: Vec<_> =
            self.views.read().values().filter(|view| is_trailing(view)).cloned().collect();
        if trailing.is_empty() {
            return false;
        }
        let (names, now) = (self.catalog.names(), self.now_ms());
        let most = |stream: &RelationId| match names.by_id(*stream).map(|relation| &relation.kind) {
            Some(Kind::Stream(stream)) => stream.max_lag_ms.unwrap_or(limits::MAX_LAG_MS),
            _ => i64::MAX,
        };
        trailing.iter().any(|view| {
            let behind = self.behind_ms(view, now).max(self.wait_ms(view));
            streams
                .iter()
                .any(|stream| behind > most(stream) && self.is_over(&view.relation(), *stream))
        })
    }

    /// How old the oldest commit is that a view has not read, milliseconds.
    pub fn behind_ms(&self, view: &ViewHandle, now_ms: i64) -> i64 {
        if is_trailing(view) {
            let read_to = view.published().read_to.max(*view.reached().borrow());
            self.commit_times.lock().behind_ms(read_to, now_ms)
        } else {
            0
        }
    }

    /// How long a row that is written now waits until a view reads it, milliseconds.
    fn wait_ms(&self, view: &ViewHandle) -> i64 {
        let left = |(stream, offset): &(RelationId, u64)| {
            let stats = self.journal.stats(StreamId(stream.0)).ok()?;
            Some(stats.next_offset.saturating_sub(*offset))
        };
        let rows = view.places().unwrap_or_default().iter().filter_map(left).sum();
        view.throughput.lock().ms_for(rows)
    }

    /// Whether a relation reads this stream, through whatever is between.
    fn is_over(&self, relation: &Relation, stream: RelationId) -> bool {
        let names = self.catalog.names();
        let through = |used: &RelationId| {
            *used == stream || names.by_id(*used).is_some_and(|used| self.is_over(used, stream))
        };
        relation.depends_on.iter().any(through)
    }
}

fn is_trailing(view: &ViewHandle) -> bool {
    *view.phase().borrow() == Phase::Trailing
}
