//! Static tables: what their storage is told, and their present versions for the fragments that join them.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlan;

use super::contents::TableContents;
use super::map::Tables;
use super::registry::Engine;
use crate::catalog::{Kind, Relation};
use crate::error::Result;
use crate::log::table::TableSpec;
use crate::plan::Pipeline;
use crate::plan::relations::{RelationTable, scanned};

/// Tables as they are when asked.
pub struct PresentTables(pub Arc<Engine>);

impl Tables for PresentTables {
    fn resolve(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        let resolved = plan.clone().transform(|node| {
            let LogicalPlan::TableScan(mut scan) = node else {
                return Ok(Transformed::no(node));
            };
            match scanned(&scan) {
                Some(relation) if matches!(relation.kind, Kind::Table(_)) => {
                    let version = self.0.table(relation.id)?.version();
                    let provider = RelationTable::new(relation, Arc::new(TableContents(version)));
                    scan.source = provider_as_source(Arc::new(provider));
                    Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
                }
                _ => Ok(Transformed::no(LogicalPlan::TableScan(scan))),
            }
        })?;
        Ok(resolved.data)
    }

    fn now_ms(&self) -> i64 {
        self.0.now_ms()
    }

    fn version(&self, pipeline: &Pipeline) -> u64 {
        // Of a commit that changes several tables either all are seen or none: else the greatest would hide that one is behind.
        self.0.journal.at_rest(|_| {
            let versions = pipeline.tables.iter().map(|relation| match self.0.table(relation.id) {
                Ok(table) => table.version().commit.0,
                // It has been dropped; the pipeline goes on with what it had.
                Err(_) => 0,
            });
            versions.max().unwrap_or(0)
        })
    }
}

/// What a table's storage is told.
pub fn table_spec(relation: &Relation) -> TableSpec {
    let primary_key = match &relation.kind {
        Kind::Table(table) => table.primary_key.clone(),
        Kind::Stream(_) | Kind::View { .. } | Kind::MaterializedView(_) => Vec::new(),
    };
    TableSpec { name: relation.name.clone(), schema: relation.schema(), primary_key }
}
