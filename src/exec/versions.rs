//! The versions of everything that a statement reads, and what its own transaction has written over
//! them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::registry::Engine;
use super::view::handle::{Phase, ViewHandle, ViewVersion};
use crate::catalog::RelationId;
use crate::log::CommitNo;
use crate::log::table::TableVersion;

/// Versions of everything, taken together.
#[derive(Debug, Clone)]
pub struct ReadSnapshot {
    /// Streams are read up to here.
    pub commit: CommitNo,
    /// Tables.
    pub tables: HashMap<RelationId, Arc<TableVersion>>,
    /// Materialized views, by the ids of their queries.
    pub views: HashMap<RelationId, Arc<ViewVersion>>,
    /// The wall clock.
    pub now_ms: i64,
}

/// What a transaction has written and not yet committed; its own statements see it.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    /// Rows appended to streams.
    pub streams: HashMap<RelationId, Vec<RecordBatch>>,
    /// Tables that it has changed.
    pub tables: HashMap<RelationId, Arc<TableVersion>>,
}

impl Engine {
    /// The versions of everything as they are now.
    pub fn snapshot(&self) -> ReadSnapshot {
        self.snapshot_behind(&[])
    }

    /// The versions of everything as they are now; streams are read as far as these views have
    /// come, so that a statement over a stream and a view of it sees the same rows in both. Call
    /// [`Engine::sync`] first.
    pub fn snapshot_behind(&self, views: &[Arc<ViewHandle>]) -> ReadSnapshot {
        let _guard = self.publishing_epoch.read();
        let reached = views
            .iter()
            .filter(|view| matches!(*view.phase().borrow(), Phase::Running | Phase::Trailing))
            .map(|view| view.version().commit)
            .min();
        self.journal.at_rest(|commit| ReadSnapshot {
            commit: reached.unwrap_or(commit),
            tables: self.tables.read().iter().map(|(id, table)| (*id, table.version())).collect(),
            views: self.views.read().iter().map(|(id, view)| (*id, view.version())).collect(),
            now_ms: self.now_ms(),
        })
    }
}
