//! What has changed between two versions of a table.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use super::chunk::{TableChunk, TableVersion};
use crate::error::Result;

/// Rows of the older version and of the newer one, which are different but for some that are in
/// both: merging writes rows anew that have not changed.
#[derive(Debug, Default)]
pub struct VersionChange {
    /// Of the older.
    pub gone: Vec<RecordBatch>,
    /// Of the newer.
    pub come: Vec<RecordBatch>,
}

impl TableVersion {
    /// What has changed since an older version, of these columns. Chunks that both have are not
    /// looked at but for their marks.
    pub fn changes_since(&self, old: &TableVersion, columns: &[usize]) -> Result<VersionChange> {
        let mut change = VersionChange::default();
        for at in 0..old.chunks.len().max(self.chunks.len()) {
            match (old.chunks.get(at), self.chunks.get(at)) {
                (Some(before), Some(now)) if is_same(before, now) => {
                    if before.live != now.live {
                        let newly = |row| Some(now.is_deleted(row) && !before.is_deleted(row));
                        let marked: BooleanArray = (0..now.batch.num_rows()).map(newly).collect();
                        let rows = before.batch.project(columns)?;
                        change.gone.push(filter_record_batch(&rows, &marked)?);
                    }
                }
                (before, now) => {
                    for (chunk, to) in [(before, &mut change.gone), (now, &mut change.come)] {
                        if let Some(chunk) = chunk.filter(|chunk| chunk.live > 0) {
                            to.push(chunk.rows()?.project(columns)?);
                        }
                    }
                }
            }
        }
        Ok(change)
    }
}

/// Whether two chunks are the same rows but for marks.
fn is_same(one: &TableChunk, other: &TableChunk) -> bool {
    let mut columns = one.batch.columns().iter().zip(other.batch.columns());
    one.batch.num_columns() > 0 && columns.all(|(a, b)| Arc::ptr_eq(a, b))
}
