//! Static tables: what their storage is told, and their versions at one moment for the fragments
//! that join them.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlan;

use super::contents::{TableContents, VersionsContents};
use super::map::Tables;
use super::registry::Engine;
use crate::catalog::{Kind, Relation, RelationId, RelationKey};
use crate::error::{Error, Result, SqlState};
use crate::log::table::{TableSpec, TableVersion, UniqueKey};
use crate::plan::Pipeline;
use crate::plan::relations::{RelationTable, has_versions, scanned};

/// All tables as they are at one moment: when one of them is first asked for. Made anew for each
/// epoch, so that everything in it, below an aggregate and above it, in one view and the next, sees
/// of a commit to several tables either all or nothing.
pub struct PresentTables {
    engine: Arc<Engine>,
    taken: OnceLock<HashMap<RelationId, Arc<TableVersion>>>,
}

impl PresentTables {
    /// Tables of which none has been asked for yet.
    pub fn new(engine: &Arc<Engine>) -> PresentTables {
        PresentTables { engine: Arc::clone(engine), taken: OnceLock::new() }
    }

    fn version_of(&self, relation: &Relation) -> Result<&Arc<TableVersion>> {
        let taken = self.taken.get_or_init(|| {
            let engine = &self.engine;
            engine.journal.at_rest(|_| {
                engine.tables.read().iter().map(|(id, table)| (*id, table.version())).collect()
            })
        });
        taken.get(&relation.id).ok_or_else(|| dropped(relation))
    }
}

impl Tables for PresentTables {
    fn resolve(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        let resolved = plan.clone().transform(|node| {
            let LogicalPlan::TableScan(mut scan) = node else {
                return Ok(Transformed::no(node));
            };
            match scanned(&scan) {
                Some(relation) if matches!(relation.kind, Kind::Table(_)) => {
                    let version = Arc::clone(self.version_of(&relation)?);
                    let provider = if has_versions(&scan) {
                        RelationTable::versions(relation, Arc::new(VersionsContents(version)))
                    } else {
                        RelationTable::new(relation, Arc::new(TableContents(version)))
                    };
                    scan.source = provider_as_source(Arc::new(provider));
                    Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
                }
                _ => Ok(Transformed::no(LogicalPlan::TableScan(scan))),
            }
        })?;
        Ok(resolved.data)
    }

    fn table(&self, relation: &Relation) -> Result<Arc<TableVersion>> {
        self.version_of(relation).cloned()
    }

    fn now_ms(&self) -> i64 {
        self.engine.now_ms()
    }

    fn version(&self, pipeline: &Pipeline) -> Result<u64> {
        let mut greatest = 0;
        for relation in &pipeline.tables {
            greatest = self.version_of(relation)?.commit.0.max(greatest);
        }
        Ok(greatest)
    }
}

/// What a query is told of a relation that it reads and that is no more.
pub(super) fn dropped(relation: &Relation) -> Error {
    let what = format!("{} \"{}\" was dropped", relation.kind_name(), relation.name);
    Error::new(SqlState::UndefinedTable, what)
}

/// What a table's storage is told.
pub fn table_spec(relation: &Relation) -> TableSpec {
    let (keys, history_ms) = match &relation.kind {
        Kind::Table(table) => (relation.keys(), table.history_ms),
        Kind::Stream(_) | Kind::View { .. } | Kind::MaterializedView(_) | Kind::Sink(_) => {
            (Vec::new(), Some(0))
        }
    };
    let key = |key: RelationKey| UniqueKey { constraint: key.constraint, columns: key.columns };
    let keys = keys.into_iter().map(key).collect();
    TableSpec { name: relation.name.clone(), schema: relation.schema(), keys, history_ms }
}
