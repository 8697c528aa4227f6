//! What a statement sees: names, resolved against the versions that it reads.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use parking_lot::Mutex;

use super::contents::{
    SourceContents, StreamContents, TableContents, VersionsContents, ViewContents,
};
use super::registry::Engine;
use super::versions::{Overlay, ReadSnapshot};
use crate::catalog::{Kind, Names, Relation, RelationId};
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::log::StreamId;
use crate::plan::relations::{Contents, RelationLookup, RelationTable, ViewTable, renamed};
use crate::plan::view_versions;
use crate::postgres::routines::{Routines, body};
use crate::sql;

/// Resolves names for one statement.
#[derive(Clone)]
pub struct Scope {
    engine: Arc<Engine>,
    names: Arc<Names>,
    snapshot: Arc<ReadSnapshot>,
    overlay: Arc<Overlay>,
    /// Schemas that are not users' own: `tidemill`, `pg_catalog`.
    system: Option<Arc<dyn RelationLookup>>,
    /// Views being resolved, against views that name themselves.
    depth: usize,
    /// Materialized views are their queries, as others are.
    unfolds: bool,
    used: Arc<Mutex<Vec<RelationId>>>,
}

impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scope").field("commit", &self.snapshot.commit).finish_non_exhaustive()
    }
}

impl Scope {
    /// Names as of `snapshot`, with a transaction's own writes and the system's schemas.
    pub fn new(
        engine: Arc<Engine>,
        snapshot: ReadSnapshot,
        overlay: Overlay,
        system: Option<Arc<dyn RelationLookup>>,
    ) -> Self {
        let names = engine.catalog.names();
        Scope {
            engine,
            names,
            snapshot: Arc::new(snapshot),
            overlay: Arc::new(overlay),
            system,
            depth: 0,
            unfolds: false,
            used: Arc::default(),
        }
    }

    /// The relations and functions that were asked for so far (directly, not through views).
    pub fn used(&self) -> Vec<RelationId> {
        self.used.lock().clone()
    }

    /// The names that it resolves.
    pub fn all_names(&self) -> &Arc<Names> {
        &self.names
    }

    /// A stream, table or materialized view as it is at this moment.
    pub fn contents(&self, relation: &Arc<Relation>) -> Result<Arc<dyn TableProvider>> {
        let contents: Arc<dyn Contents> = match &relation.kind {
            Kind::View { .. } => return Err(Error::internal("a view has no contents of its own")),
            Kind::Sink(_) => return Err(unreadable(relation)),
            Kind::Table(_) => {
                let own = self.overlay.tables.get(&relation.id);
                let version = own.or_else(|| self.snapshot.tables.get(&relation.id)).cloned();
                let version = match version {
                    Some(version) => version,
                    None => self.engine.table(relation.id)?.version(),
                };
                Arc::new(TableContents(version))
            }
            Kind::MaterializedView(_) => {
                let version = match self.snapshot.views.get(&relation.query_id()) {
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
                    now_ms: self.snapshot.now_ms,
                }),
                None => Arc::new(StreamContents {
                    journal: Arc::clone(&self.engine.journal),
                    stream: StreamId(relation.id.0),
                    upto: self.snapshot.commit,
                    own: self.overlay.streams.get(&relation.id).cloned().unwrap_or_default(),
                }),
            },
        };
        Ok(Arc::new(RelationTable::new(Arc::clone(relation), contents)))
    }

    /// A table with the rows that are no more, as committed.
    ///
    /// # Errors
    /// 55000 for one that keeps none, 0A000 for what is no table.
    pub fn versions(&self, relation: &Arc<Relation>) -> Result<Arc<dyn TableProvider>> {
        let (name, kind) = (&relation.name, relation.kind_name());
        match &relation.kind {
            Kind::Table(table) if table.history_ms == Some(0) => Err(Error::new(
                SqlState::NotInState,
                format!("table \"{name}\" keeps no rows that are no more"),
            )
            .hint("It was made WITH (history = '0'); make it WITH (history = '7 days') for example.")),
            Kind::Table(_) => {
                let version = match self.snapshot.tables.get(&relation.id) {
                    Some(version) => Arc::clone(version),
                    None => self.engine.table(relation.id)?.version(),
                };
                let contents = Arc::new(VersionsContents(version));
                Ok(Arc::new(RelationTable::versions(Arc::clone(relation), contents)))
            }
            Kind::Sink(_) => Err(unreadable(relation)),
            Kind::Stream(_) | Kind::View { .. } | Kind::MaterializedView(_) => {
                Err(Error::unsupported(format!("\"{name}\" as of a time is not supported: it is a {kind}"))
                    .hint("FOR SYSTEM_TIME AS OF a time is for tables and views; PROCTIME() means what is there when the row comes. Streams are joined by their times: BETWEEN."))
            }
        }
    }

    /// What a view was at any time, by the event times of the rows that its query reads.
    async fn view_versions(
        &self,
        view: &Arc<Relation>,
        query: &str,
    ) -> Result<Arc<dyn TableProvider>> {
        let scope = Scope { unfolds: true, ..self.below()? };
        let plan = scope.planned(view, query).await?;
        let plan = view_versions::versions(&plan, &|table| self.versions(table))?;
        Ok(Arc::new(ViewTable::new(Arc::clone(view), plan)))
    }

    async fn provider(&self, relation: &Arc<Relation>) -> Result<Arc<dyn TableProvider>> {
        match &relation.kind {
            Kind::View { query } => self.view(relation, query).await,
            Kind::MaterializedView(view) if self.unfolds => self.view(relation, &view.query).await,
            Kind::Table(_) | Kind::MaterializedView(_) | Kind::Stream(_) | Kind::Sink(_) => {
                self.contents(relation)
            }
        }
    }

    async fn view(&self, relation: &Arc<Relation>, query: &str) -> Result<Arc<dyn TableProvider>> {
        let plan = self.below()?.planned(relation, query).await?;
        Ok(Arc::new(ViewTable::new(Arc::clone(relation), plan)))
    }

    /// What the query of a view sees.
    fn below(&self) -> Result<Scope> {
        if self.depth >= limits::VIEW_DEPTH {
            return Err(Error::new(SqlState::TooComplex, "views are nested too deep"));
        }
        Ok(Scope { depth: self.depth + 1, used: Arc::default(), ..self.clone() })
    }

    /// The query of a view, under the names of its columns.
    async fn planned(self, view: &Relation, query: &str) -> Result<LogicalPlan> {
        let engine = Arc::clone(&self.engine);
        let state = engine.planner.continuous_state(Arc::new(self));
        let parsed = sql::parse_query(query)?;
        let plan = engine.planner.logical(&state, &parsed.query).await?;
        renamed(plan, &view.columns)
    }
}

/// What is said to who wants to read a sink.
pub fn unreadable(sink: &Relation) -> Error {
    let what = format!("nothing can be read of the sink \"{}\"", sink.name);
    Error::new(SqlState::WrongObjectType, what)
        .hint("Make a materialized view of its query, and the sink FROM that.")
}

#[async_trait]
impl RelationLookup for Scope {
    async fn find(&self, schema: &str, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(schema) = sql::versions_of(schema) {
            let relation = self.names.get(schema, name)?;
            self.used.lock().push(relation.id);
            return match &relation.kind {
                Kind::View { query } => self.view_versions(relation, query).await.map(Some),
                Kind::MaterializedView(view) => {
                    self.view_versions(relation, &view.query).await.map(Some)
                }
                Kind::Table(_) | Kind::Stream(_) | Kind::Sink(_) => {
                    self.versions(relation).map(Some)
                }
            };
        }
        if let Some(relation) = self.names.find(schema, name) {
            self.used.lock().push(relation.id);
            return self.provider(relation).await.map(Some);
        }
        match &self.system {
            Some(system) => system.find(schema, name).await,
            None => Ok(None),
        }
    }

    fn names(&self, schema: &str) -> Vec<String> {
        match &self.system {
            Some(system) if !self.names.has_schema(schema) => system.names(schema),
            _ => self.names.in_schema(schema).map(|relation| relation.name.clone()).collect(),
        }
    }

    fn zone(&self) -> Option<String> {
        self.system.as_ref()?.zone()
    }

    fn routines(&self) -> Option<Routines> {
        Routines::new(Arc::clone(&self.names), Arc::clone(&self.used), body::plan).some()
    }

    fn prepare(&self, state: &mut SessionState, query: &mut sql::Query) -> Result<()> {
        match &self.system {
            Some(system) => system.prepare(state, query),
            None => Ok(()),
        }
    }

    fn schemas(&self) -> Vec<String> {
        let own = self.names.schemas().flat_map(|own| [own.to_owned(), sql::versions_in(own)]);
        let mut schemas: Vec<String> = own.collect();
        if let Some(system) = &self.system {
            schemas.extend(system.schemas());
        }
        schemas
    }
}
