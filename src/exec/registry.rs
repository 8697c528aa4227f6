//! What there is: the catalog, the commits, the storage of tables, connectors, views; and their
//! numbers. No behaviour.
//!
//! Everything that happens imports this file, and this file nothing of what happens.
//!
//! Two locks stand for "nothing is being published": `Engine::publishing_epoch` here and, in the
//! journal, the one of the commit thread. Who takes both (a statement that wants the versions of
//! everything) takes the epoch's first, then the commit's by [`Journal::at_rest`]; the commit
//! thread takes only its own, and the epoch loop takes none of the journal's while it holds the
//! epoch's. The lock of a map below is taken last and held for one look.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};

use super::commit_times::CommitTimes;
use super::messages::{Agreement, Command, TemporaryQuery};
use super::moments::WritingMoments;
use super::planning::Planning;
use super::rejected::RejectedRows;
use super::sink::SinkHandle;
use super::socket_states::SocketStates;
use super::view::handle::{Phase, ViewHandle};
use crate::catalog::{Catalog, Relation, RelationId};
use crate::clock::Clock;
use crate::connect::Source;
use crate::error::{Error, Result};
use crate::log::Journal;
use crate::log::table::TableHandle;
use crate::plan::Planner;
use crate::spawn::Spawn;
use crate::store::Store;

/// What the engine is told when it starts.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// File connectors reach only below this directory.
    pub files: PathBuf,
    /// Bytes that queries may use.
    pub memory: usize,
    /// How many partitions a snapshot is run in.
    pub threads: usize,
    /// Input is what is there: continuous queries over embedded streams end when they have read it
    /// (`tidemill run`).
    pub bounded: bool,
    /// How long the views of an epoch wait for each other: one that takes longer goes on by itself.
    pub common_epoch: Duration,
    /// So many bytes of changes of a view's state and answer are left in the store before they are
    /// folded; a simulation can fold what is little.
    pub fold_bytes: u64,
    /// How many bytes of changes are kept for a continuous SELECT whose client takes nothing.
    pub unread_bytes: usize,
}

/// Everything that is there.
pub struct Engine {
    /// The names.
    pub catalog: Catalog,
    /// The commits.
    pub journal: Arc<Journal>,
    /// Plans queries.
    pub planner: Planner,
    /// Where statements are planned.
    pub planning: Planning,
    /// As started.
    pub options: EngineOptions,
    /// Records of connectors that are kept to be looked at.
    pub rejected: RejectedRows,
    /// How the sockets of streams stand.
    pub sockets: SocketStates,
    pub(super) tables: RwLock<HashMap<RelationId, Arc<TableHandle>>>,
    pub(super) sources: RwLock<HashMap<RelationId, Arc<dyn Source>>>,
    /// By the ids of their queries.
    pub(super) views: RwLock<HashMap<RelationId, Arc<ViewHandle>>>,
    /// What the changes of sinks are published by.
    pub(super) sinks: RwLock<HashMap<RelationId, Arc<SinkHandle>>>,
    /// Read by who takes the versions of several views; written while an epoch is published.
    pub(super) publishing_epoch: RwLock<()>,
    pub(super) temporary: Mutex<HashMap<u64, Arc<TemporaryQuery>>>,
    pub(super) next_query: AtomicU64,
    /// The greatest number of an epoch that was given.
    pub(super) epoch: AtomicU64,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) spawn: Spawn,
    /// What statements want views at and have not got yet.
    pub(super) agreements: Mutex<Vec<Arc<Agreement>>>,
    pub(super) commit_times: Mutex<CommitTimes>,
    /// What statements that write have as the time.
    pub moments: Arc<WritingMoments>,
    /// What queries wait for may have changed: watermarks that follow the clock are looked at.
    pub(super) closing: Arc<Notify>,
    /// Who goes on by itself computes with one of these.
    pub(super) lanes: Arc<tokio::sync::Semaphore>,
    /// CREATE, DROP and ALTER one at a time.
    pub(super) ddl: Arc<tokio::sync::Mutex<()>>,
}

/// Whoever holds it is the only one who defines, alters or drops.
pub type Alone = tokio::sync::OwnedMutexGuard<()>;

impl Engine {
    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        self.journal.store()
    }

    /// Where computing is done.
    pub fn cpu(&self) -> &Handle {
        self.spawn.handle()
    }

    /// What tells the time.
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// The same, for who keeps it.
    pub fn clock_handle(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Milliseconds since 1970, as this engine has the time.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Waits until then, milliseconds since 1970; without a time for ever.
    pub(super) async fn until(&self, at_ms: Option<i64>) {
        match at_ms {
            Some(at) => {
                let left = u64::try_from(at.saturating_sub(self.now_ms())).unwrap_or(0);
                self.clock.sleep(Duration::from_millis(left)).await;
            }
            None => std::future::pending().await,
        }
    }

    /// One CREATE, DROP or ALTER at a time holds this.
    pub async fn ddl(&self) -> Alone {
        Arc::clone(&self.ddl).lock_owned().await
    }

    /// A table's storage.
    pub fn table(&self, id: RelationId) -> Result<Arc<TableHandle>> {
        self.tables
            .read()
            .get(&id)
            .cloned()
            .ok_or_else(|| Error::internal(format!("table {} is not open", id.0)))
    }

    /// The storage of all tables, oldest first.
    pub fn tables(&self) -> Vec<Arc<TableHandle>> {
        let mut tables: Vec<_> = self.tables.read().values().cloned().collect();
        tables.sort_by_key(|table| table.id());
        tables
    }

    /// Reads a stream from something that a test has made.
    #[cfg(test)]
    pub(super) fn replace_source(&self, id: RelationId, source: Arc<dyn Source>) {
        self.sources.write().insert(id, source);
    }

    /// The query that a materialized view is the answer of.
    pub fn view(&self, id: RelationId) -> Result<Arc<ViewHandle>> {
        let query = self.catalog.names().query_of(id);
        self.views
            .read()
            .get(&query)
            .cloned()
            .ok_or_else(|| Error::internal(format!("view {} is not open", id.0)))
    }

    /// All materialized views and sinks, oldest first, each with its query: that may be the one of
    /// several.
    pub fn answers(&self) -> Vec<(Arc<Relation>, Arc<ViewHandle>)> {
        let names = self.catalog.names();
        let views = self.views.read();
        let query = |relation: &Arc<Relation>| {
            let runs = relation.running().is_some();
            let query = views.get(&relation.query_id()).filter(|_| runs)?;
            Some((Arc::clone(relation), Arc::clone(query)))
        };
        let mut answers: Vec<_> = names.all().filter_map(query).collect();
        answers.sort_by_key(|(relation, _)| relation.id);
        answers
    }

    /// All queries of materialized views, oldest first.
    pub fn views(&self) -> Vec<Arc<ViewHandle>> {
        let mut views: Vec<_> = self.views.read().values().cloned().collect();
        views.sort_by_key(|view| view.relation().id);
        views
    }

    /// The number of the last epoch.
    pub fn last_epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// After a materialized view has got another name.
    pub fn redefined(&self, view: &Relation) -> Result<()> {
        let query = self.view(view.id)?;
        let names = self.catalog.names();
        let first = names.answers_of(view.query_id()).next();
        if first.is_some_and(|first| first.id == view.id) {
            query.redefine(Arc::new(view.as_query()));
        }
        Ok(())
    }

    /// After a relation is gone, and with it the query of a view if no other is its answer.
    pub fn closed(&self, gone: &Relation) {
        self.tables.write().remove(&gone.id);
        self.sources.write().remove(&gone.id);
        self.sinks.write().remove(&gone.id);
        self.sockets.forget(gone.id);
        let names = self.catalog.names();
        let query = gone.query_id();
        let left = names.answers_of(query).next();
        let mut views = self.views.write();
        match left {
            Some(left) => {
                let Some(view) = views.get(&query) else { return };
                view.redefine(Arc::new(left.as_query()));
                view.leave(gone);
            }
            None => {
                if let Some(view) = views.remove(&query) {
                    view.enter(Phase::Dropped);
                }
            }
        }
    }

    /// The number of the next epoch.
    pub(super) fn next_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The continuous SELECTs that run now, oldest first.
    pub fn temporary_queries(&self) -> Vec<Arc<TemporaryQuery>> {
        let mut queries: Vec<_> = self.temporary.lock().values().cloned().collect();
        queries.sort_by_key(|query| query.id);
        queries
    }
}
