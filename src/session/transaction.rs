//! What a transaction has written and not yet committed.
//!
//! A statement that writes adds to a [`SessionTransaction`]: rows for streams are kept as batches,
//! changes of tables in a [`TableWriter`] that holds the table's lock. Reads of the same
//! transaction see both through [`SessionTransaction::overlay`]. COMMIT makes one commit of it all.
//! Dropping a transaction takes everything back and frees the locks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::execution::memory_pool::MemoryReservation;

use crate::catalog::{Names, Relation, RelationId};
use crate::error::{Error, Result, SqlState};
use crate::exec::Engine;
use crate::exec::moments::WritingMoment;
use crate::exec::snapshot::Scope;
use crate::exec::versions::Overlay;
use crate::limits;
use crate::log::table::Mark;
use crate::log::{self, Append, CommitNo, StreamId, TableWriter};
use crate::memory::{Accounts, MemoryPart};
use crate::pgtypes::values::TextStyle;
use crate::sql;
use crate::time::Watermark;
use crate::types::SqlType;

use super::shared_settings::SharedSettings;

/// See [`limits::LOCK_MS`].
pub const LOCK_WAIT: Duration = Duration::from_millis(limits::LOCK_MS);

/// The variable that says how long to wait for a table's lock.
pub(super) const LOCK_WAIT_SETTING: &str = "lock_timeout";

/// Who ends the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransactionMode {
    /// Each statement is one of its own.
    Idle,
    /// The end of the message (simple) or Sync (extended).
    Implicit,
    /// COMMIT or ROLLBACK.
    Block,
}

/// What has been written so far.
pub struct SessionTransaction {
    /// For streams, in order.
    pub appends: Vec<(RelationId, Append)>,
    /// The tables that it has locked, with its changes.
    pub writers: HashMap<RelationId, TableWriter>,
    /// How long it waits for a lock.
    pub lock_wait: Duration,
    /// Each table as it was when it was locked.
    starts: HashMap<RelationId, Mark>,
    savepoints: Vec<Savepoint>,
    bytes: usize,
    /// As many of `--memory-limit`.
    memory: MemoryReservation,
    /// That of the first statement of which rows are to come.
    moment: Option<WritingMoment>,
}

struct Savepoint {
    name: String,
    appends: usize,
    bytes: usize,
    marks: HashMap<RelationId, Mark>,
}

impl SessionTransaction {
    /// Nothing yet; it will wait so long for locks, and what it writes is counted in `accounts`.
    pub fn new(lock_wait: Duration, accounts: &Arc<Accounts>) -> SessionTransaction {
        SessionTransaction {
            appends: Vec::new(),
            writers: HashMap::new(),
            lock_wait,
            starts: HashMap::new(),
            savepoints: Vec::new(),
            bytes: 0,
            memory: accounts.reserve(MemoryPart::Writes),
            moment: None,
        }
    }

    /// The time of a statement that begins, milliseconds since 1970. No window over PROCTIME() closes
    /// behind it before its rows are there.
    pub fn begin_moment(&mut self, engine: &Engine) -> i64 {
        let moment = engine.moments.begin(engine.clock());
        self.moment.get_or_insert(moment).at_ms.max(engine.now_ms())
    }

    /// A statement has ended: without rows for streams nobody waits for the transaction.
    pub fn end_moment(&mut self) {
        if self.appends.is_empty() {
            self.moment = None;
        }
    }

    /// What its own statements see beside what is committed.
    pub fn overlay(&self) -> Overlay {
        let mut overlay = Overlay::default();
        for (relation, append) in &self.appends {
            if let Append::Rows(batch) = append {
                overlay.streams.entry(*relation).or_default().push(batch.clone());
            }
        }
        for (relation, writer) in &self.writers {
            if writer.has_changes() {
                overlay.tables.insert(*relation, Arc::new(writer.scan()));
            }
        }
        overlay
    }

    /// The writer of a table; locks it the first time.
    pub async fn writer(
        &mut self,
        engine: &Engine,
        relation: &Relation,
    ) -> Result<&mut TableWriter> {
        if !self.writers.contains_key(&relation.id) {
            let writer = engine.table(relation.id)?.lock(engine.clock(), self.lock_wait).await?;
            self.starts.insert(relation.id, writer.savepoint());
            self.writers.insert(relation.id, writer);
        }
        self.writers.get_mut(&relation.id).ok_or_else(|| Error::internal("a writer has gone"))
    }

    /// Rows for a stream, in its stored schema.
    pub fn append(&mut self, relation: &Relation, batch: RecordBatch) -> Result<()> {
        let bytes = self.bytes.saturating_add(batch.get_array_memory_size());
        if bytes > limits::WRITE_BYTES {
            return Err(Error::new(SqlState::ProgramLimit, "the transaction writes too much")
                .hint("Write in several smaller transactions."));
        }
        self.memory.try_resize(bytes).map_err(|_| no_memory("the transaction"))?;
        self.bytes = bytes;
        self.appends.push((relation.id, Append::Rows(batch)));
        Ok(())
    }

    /// Moves a stream's watermark.
    pub fn advance(&mut self, relation: &Relation, watermark: Watermark) {
        self.appends.push((relation.id, Append::Advance(watermark)));
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.appends.is_empty() && self.writers.values().all(|writer| !writer.has_changes())
    }

    /// Waits until views that are far behind the streams it writes to have come nearer.
    pub async fn wait_for_views(&self, engine: &Engine) {
        let mut streams: Vec<RelationId> = self.appends.iter().map(|(stream, _)| *stream).collect();
        streams.dedup();
        engine.hold_back(&streams).await;
    }

    /// Makes everything durable in one commit. When this returns an error, nothing was written.
    pub async fn commit(mut self, engine: &Engine) -> Result<CommitNo> {
        let mut transaction = log::Transaction::at(engine.now_ms());
        for (relation, append) in std::mem::take(&mut self.appends) {
            transaction.appends.push((StreamId(relation.0), append));
        }
        let mut writers: Vec<_> = std::mem::take(&mut self.writers).into_iter().collect();
        writers.sort_by_key(|(id, _)| *id);
        for (_, writer) in writers {
            writer.into_transaction(&mut transaction)?;
        }
        engine.journal.commit(transaction).await
    }

    /// SAVEPOINT.
    pub fn savepoint(&mut self, name: &str) {
        self.savepoints.push(Savepoint {
            name: name.to_owned(),
            appends: self.appends.len(),
            bytes: self.bytes,
            marks: self.writers.iter().map(|(id, writer)| (*id, writer.savepoint())).collect(),
        });
    }

    /// ROLLBACK TO: the savepoint stays, those after it go.
    pub fn rollback_to(&mut self, name: &str) -> Result<()> {
        let at = self.find(name)?;
        self.savepoints.truncate(at + 1);
        let savepoint = &self.savepoints[at];
        self.appends.truncate(savepoint.appends);
        self.bytes = savepoint.bytes;
        self.memory.resize(self.bytes);
        for (id, writer) in &mut self.writers {
            if let Some(mark) = savepoint.marks.get(id).or_else(|| self.starts.get(id)) {
                writer.rollback_to(mark);
            }
        }
        Ok(())
    }

    /// RELEASE: the savepoint and those after it go, what was written stays.
    pub fn release(&mut self, name: &str) -> Result<()> {
        let at = self.find(name)?;
        self.savepoints.truncate(at);
        Ok(())
    }

    fn find(&self, name: &str) -> Result<usize> {
        self.savepoints.iter().rposition(|savepoint| savepoint.name == name).ok_or_else(|| {
            Error::new(SqlState::NoSuchSavepoint, format!("savepoint \"{name}\" does not exist"))
        })
    }
}

/// 53200: what has been written and is not committed yet has no place.
pub fn no_memory(what: &str) -> Error {
    Error::new(SqlState::OutOfMemory, format!("out of memory for the rows that {what} writes"))
        .hint("Write in several smaller transactions, or start the server with a larger --memory-limit.")
}

/// What a statement that writes has to work with. Parameters and functions of the session
/// (`current_user`, …) have already been put into the statement as constants.
#[derive(Clone)]
pub struct WriteContext {
    /// Everything that is there.
    pub engine: Arc<Engine>,
    /// The names as of the statement's moment.
    pub names: Arc<Names>,
    /// Resolves names for planning; views are up to date, the transaction's own writes are visible.
    pub scope: Scope,
    /// What statements before it in WITH have returned, by their names.
    pub given: HashMap<String, Arc<dyn TableProvider>>,
    /// How this session writes and reads text (time zone, …).
    pub style: TextStyle,
    /// The statement as written, for positions in errors.
    pub text: Arc<str>,
    /// The wall clock at the statement's begin: what `now()` and PROCTIME() are in it.
    pub now_ms: i64,
}

/// What a statement has written.
#[derive(Debug, Default)]
pub struct WriteResult {
    /// How many rows were inserted, changed or deleted.
    pub rows: u64,
    /// RETURNING.
    pub returning: Option<(SchemaRef, Vec<RecordBatch>)>,
}

/// What is known of a writing statement before it runs.
#[derive(Debug, Clone, Default)]
pub struct Described {
    /// The types of `$1…` as far as the statement tells them (`VALUES ($1)`: the column's).
    pub params: Vec<Option<SqlType>>,
    /// The columns of RETURNING.
    pub returning: Option<SchemaRef>,
}

/// What the system's schemas (`pg_catalog`, `information_schema`, `tidemill`) may show of a
/// session.
#[derive(Clone)]
pub struct SystemContext {
    /// Everything that is there.
    pub engine: Arc<Engine>,
    /// Who asks.
    pub user: String,
    /// The connection's number.
    pub pid: i32,
    /// The session's settings.
    pub settings: SharedSettings,
}

impl SystemContext {
    /// The schemas in which names without one are looked for, in order; only those that there are.
    pub fn search_path(&self) -> Vec<String> {
        let path = self.settings.get("search_path").unwrap_or_default();
        let names = self.engine.catalog.names();
        let mut schemas = sql::schemas_of(&path, &self.user);
        schemas.retain(|schema| names.has_schema(schema));
        schemas
    }
}
