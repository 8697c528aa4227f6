//! Follows a static table: what has changed in it since it was last looked at.
//!
//! A table keeps no history of its changes. While the server runs the version that was read last is
//! held, which shares all with the present one that has not changed. For a restart a view keeps the
//! rows that it has read of a table as a part of its state, and what has changed meanwhile is found
//! by comparing.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;

use super::super::map::Tables;
use super::super::position::{FeedBatch, FeedPosition};
use crate::catalog::Relation;
use crate::error::{Error, Result};
use crate::log::CommitNo;
use crate::log::table::{TableHandle, TableVersion, VersionChange};
use crate::operators::lateness::{Input, Writes};
use crate::plan::SourceScan;
use crate::state::change;
use crate::time::Watermark;

/// A place in a table's history.
pub(super) struct TableFeed {
    relation: Arc<Relation>,
    columns: Vec<usize>,
    schema: SchemaRef,
    table: Arc<TableHandle>,
    taken: TakenRows,
    /// The commit of the version that was taken.
    commit: CommitNo,
}

/// What has been taken of a table.
enum TakenRows {
    Nothing,
    /// These, before a restart.
    Rows(Vec<RecordBatch>),
    /// All of this version.
    Version(Arc<TableVersion>),
}

impl TableFeed {
    /// Opens a table at a position; None: with its present rows.
    pub(super) fn open(
        scan: &SourceScan,
        table: &Arc<TableHandle>,
        from: Option<&FeedPosition>,
    ) -> Result<TableFeed> {
        let (taken, commit) = match from {
            None => (TakenRows::Nothing, CommitNo(0)),
            Some(FeedPosition::Table { commit }) => {
                (TakenRows::Rows(Vec::new()), CommitNo(*commit))
            }
            Some(_) => return Err(Error::internal("a table at another source's position")),
        };
        Ok(TableFeed {
            relation: Arc::clone(&scan.relation),
            columns: scan.columns.clone(),
            schema: Arc::new(scan.relation.schema().project(&scan.columns)?),
            table: Arc::clone(table),
            taken,
            commit,
        })
    }

    /// The rows that had been read up to the position, if it was opened at one.
    pub(super) fn had(&mut self, rows: Vec<RecordBatch>) {
        if let TakenRows::Rows(had) = &mut self.taken {
            *had = rows;
        }
    }

    /// What has changed.
    pub(super) fn read(&mut self, tables: &dyn Tables) -> Result<FeedBatch> {
        let version = tables.table(&self.relation)?;
        let all = |version: &TableVersion| -> Result<Vec<RecordBatch>> {
            let project = |batch: RecordBatch| Ok(batch.project(&self.columns)?);
            version.batches()?.into_iter().map(project).collect()
        };
        let inputs = match &self.taken {
            TakenRows::Version(old) if old.commit == version.commit => Vec::new(),
            TakenRows::Nothing => {
                all(&version)?.into_iter().map(|rows| input(rows, None)).collect()
            }
            TakenRows::Version(old) => {
                self.net(version.changes_since(old, &self.columns)?)?.into_iter().collect()
            }
            TakenRows::Rows(old) => {
                let change = VersionChange { gone: old.clone(), come: all(&version)? };
                self.net(change)?.into_iter().collect()
            }
        };
        self.commit = version.commit;
        self.taken = TakenRows::Version(version);
        Ok(FeedBatch { inputs, drained: true, ..FeedBatch::default() })
    }

    /// Without the rows that are in both.
    fn net(&self, changed: VersionChange) -> Result<Option<Input>> {
        let whole = |batches: Vec<RecordBatch>| -> Result<RecordBatch> {
            let batches = batches.into_iter().map(|batch| {
                RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec())
            });
            Ok(concat_batches(&self.schema, &batches.collect::<Result<Vec<_>, _>>()?)?)
        };
        let (old, new) = (whole(changed.gone)?, whole(changed.come)?);
        let (delta, _) = change(&old, &new)?;
        Ok((!delta.is_empty()).then(|| input(delta.batch, delta.weights)))
    }

    /// Whether nothing has changed.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.taken, TakenRows::Version(_)) && self.table.version().commit == self.commit
    }

    /// The commit of the version that was taken.
    pub(super) fn read_to(&self) -> CommitNo {
        self.commit
    }

    /// Where it stands.
    pub(super) fn position(&self) -> FeedPosition {
        FeedPosition::Table { commit: self.commit.0 }
    }
}

fn input(batch: RecordBatch, weights: Option<Int64Array>) -> Input {
    Input { batch, writes: Writes::Runs(Vec::new()), after: Watermark::NONE, weights }
}
