//! What a statement sees: the versions of everything at one moment, and names resolved against them.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::execution::context::SessionState;
use parking_lot::Mutex;

use super::engine::Engine;
use super::view::ViewVersion;
use crate::catalog::SCHEMA;
use crate::catalog::{Kind, Names, Relation, RelationId};
use crate::connect::{Source, SourceOffset};
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::log::table::TableVersion;
use crate::log::{CommitNo, Journal, Position, StreamId};
use crate::plan::relations::{BatchIter, Contents, Lookup, RelationTable, ViewTable};
use crate::sql;

/// Versions of everything, taken together.
#[derive(Debug, Clone)]
pub struct Moment {
    /// Streams are read up to here.
    pub commit: CommitNo,
    /// Tables.
    pub tables: HashMap<RelationId, Arc<TableVersion>>,
    /// Materialized views.
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

/// Resolves names for one statement.
#[derive(Clone)]
pub struct Scope {
    engine: Arc<Engine>,
    names: Arc<Names>,
    moment: Arc<Moment>,
    overlay: Arc<Overlay>,
    /// Schemas that are not users' own: `tidemill`, `pg_catalog`.
    system: Option<Arc<dyn Lookup>>,
    /// Views being resolved, against views that name themselves.
    depth: usize,
    used: Arc<Mutex<Vec<RelationId>>>,
}

impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scope").field("commit", &self.moment.commit).finish_non_exhaustive()
    }
}

/// Views may be nested so deep.
const VIEW_DEPTH: usize = 32;

impl Scope {
    /// Names as of `moment`, with a transaction's own writes and the system's schemas.
    pub fn new(
        engine: Arc<Engine>,
        moment: Moment,
        overlay: Overlay,
        system: Option<Arc<dyn Lookup>>,
    ) -> Self {
        let names = engine.catalog.names();
        Scope {
            engine,
            names,
            moment: Arc::new(moment),
            overlay: Arc::new(overlay),
            system,
            depth: 0,
            used: Arc::default(),
        }
    }

    /// The relations that were asked for so far (directly, not through views).
    pub fn used(&self) -> Vec<RelationId> {
        self.used.lock().clone()
    }

    async fn provider(&self, relation: &Arc<Relation>) -> Result<Arc<dyn TableProvider>> {
        let contents: Arc<dyn Contents> = match &relation.kind {
            Kind::View { query } => return self.view(relation, query).await,
            Kind::Table(_) => {
                let own = self.overlay.tables.get(&relation.id);
                let version = own.or_else(|| self.moment.tables.get(&relation.id)).cloned();
                let version = match version {
                    Some(version) => version,
                    None => self.engine.table(relation.id)?.version(),
                };
                Arc::new(TableContents(version))
            }
            Kind::MaterializedView(_) => {
                let version = match self.moment.views.get(&relation.id) {
                    Some(version) => Arc::clone(version),
                    None => self.engine.view(relation.id)?.version(),
                };
                Arc::new(ViewContents(version))
            }
            Kind::Stream(_) => match self.engine.source(relation)? {
                Some(source) => Arc::new(SourceContents {
                    engine: Arc::clone(&self.engine),
                    relation: Arc::clone(relation),
                    source,
                    now_ms: self.moment.now_ms,
                }),
                None => Arc::new(StreamContents {
                    journal: Arc::clone(&self.engine.journal),
                    stream: StreamId(relation.id.0),
                    upto: self.moment.commit,
                    own: self.overlay.streams.get(&relation.id).cloned().unwrap_or_default(),
                }),
            },
        };
        Ok(Arc::new(RelationTable::new(Arc::clone(relation), contents)))
    }

    async fn view(&self, relation: &Arc<Relation>, query: &str) -> Result<Arc<dyn TableProvider>> {
        if self.depth >= VIEW_DEPTH {
            return Err(Error::new(SqlState::TooComplex, "views are nested too deep"));
        }
        let inner = Scope { depth: self.depth + 1, used: Arc::default(), ..self.clone() };
        let state = self.engine.planner.continuous_state(Arc::new(inner));
        let parsed = sql::parse_query(query)?;
        let plan = self.engine.planner.logical(&state, &parsed.query).await?;
        let plan = super::define::renamed(plan, &relation.columns)?;
        Ok(Arc::new(ViewTable::new(Arc::clone(relation), plan)))
    }
}

#[async_trait]
impl Lookup for Scope {
    async fn find(&self, schema: &str, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if schema == SCHEMA
            && let Some(relation) = self.names.find(name)
        {
            self.used.lock().push(relation.id);
            return self.provider(relation).await.map(Some);
        }
        match &self.system {
            Some(system) => system.find(schema, name).await,
            None => Ok(None),
        }
    }

    fn names(&self, schema: &str) -> Vec<String> {
        match (schema == SCHEMA, &self.system) {
            (true, _) => self.names.all().map(|relation| relation.name.clone()).collect(),
            (false, Some(system)) => system.names(schema),
            (false, None) => Vec::new(),
        }
    }

    fn prepare(&self, state: &mut SessionState, query: &mut sql::Query) -> Result<()> {
        match &self.system {
            Some(system) => system.prepare(state, query),
            None => Ok(()),
        }
    }

    fn schemas(&self) -> Vec<String> {
        let mut schemas = vec![SCHEMA.to_owned()];
        if let Some(system) = &self.system {
            schemas.extend(system.schemas());
        }
        schemas
    }
}

fn projected(batch: RecordBatch, projection: Option<&[usize]>) -> Result<RecordBatch> {
    match projection {
        Some(columns) => Ok(batch.project(columns)?),
        None => Ok(batch),
    }
}

/// A table's version as something to read.
pub fn table_contents(version: Arc<TableVersion>) -> Arc<dyn Contents> {
    Arc::new(TableContents(version))
}

#[derive(Debug)]
struct TableContents(Arc<TableVersion>);

impl Contents for TableContents {
    fn batches(&self, projection: Option<&[usize]>) -> Result<BatchIter> {
        let batches = self.0.batches()?;
        let projection = projection.map(<[usize]>::to_vec);
        Ok(Box::new(batches.into_iter().map(move |batch| projected(batch, projection.as_deref()))))
    }
}

#[derive(Debug)]
struct ViewContents(Arc<ViewVersion>);

impl Contents for ViewContents {
    fn batches(&self, projection: Option<&[usize]>) -> Result<BatchIter> {
        let batches = self.0.rows.batches()?;
        let projection = projection.map(<[usize]>::to_vec);
        Ok(Box::new(batches.into_iter().map(move |batch| projected(batch, projection.as_deref()))))
    }
}

struct StreamContents {
    journal: Arc<Journal>,
    stream: StreamId,
    upto: CommitNo,
    own: Vec<RecordBatch>,
}

impl std::fmt::Debug for StreamContents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StreamContents({:?})", self.stream)
    }
}

impl Contents for StreamContents {
    fn batches(&self, projection: Option<&[usize]>) -> Result<BatchIter> {
        let mut reader = self.journal.reader(self.stream, Position::Earliest)?;
        let (upto, own) = (self.upto, self.own.clone());
        let mut is_done = false;
        let portions = std::iter::from_fn(move || {
            if is_done {
                return None;
            }
            match reader.read(upto, limits::BATCH_ROWS * 4) {
                Ok(blocks) if blocks.is_empty() => None,
                Ok(blocks) => Some(Ok(blocks)),
                Err(error) => {
                    is_done = true;
                    Some(Err(error))
                }
            }
        });
        let projection = projection.map(<[usize]>::to_vec);
        let stored = portions.flat_map(|portion| match portion {
            Ok(blocks) => blocks.into_iter().map(|block| Ok(block.batch)).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        });
        let all = stored.chain(own.into_iter().map(Ok));
        Ok(Box::new(all.map(move |batch| projected(batch?, projection.as_deref()))))
    }
}

struct SourceContents {
    engine: Arc<Engine>,
    relation: Arc<Relation>,
    source: Arc<dyn Source>,
    now_ms: i64,
}

impl std::fmt::Debug for SourceContents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SourceContents")
    }
}

impl Contents for SourceContents {
    fn batches(&self, projection: Option<&[usize]>) -> Result<BatchIter> {
        let mut reader = self.source.reader(SourceOffset::default(), projection)?;
        let now = self.now_ms;
        let (engine, relation) = (Arc::clone(&self.engine), Arc::clone(&self.relation));
        let mut is_done = false;
        Ok(Box::new(std::iter::from_fn(move || {
            while !is_done {
                match reader.read(now, limits::BATCH_ROWS) {
                    Ok(read) => {
                        if let Err(error) = engine.kept.reject(&relation, &read.rejected, now, None) {
                            is_done = true;
                            return Some(Err(error));
                        }
                        is_done = read.ended || read.batch.num_rows() == 0 && read.rejected.is_empty();
                        if read.batch.num_rows() > 0 {
                            return Some(Ok(read.batch));
                        }
                    }
                    Err(error) => {
                        is_done = true;
                        return Some(Err(error));
                    }
                }
            }
            None
        })))
    }
}
