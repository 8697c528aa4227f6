//! Where the rows of a relation are: versions of tables and views, logs, connectors.
//!
//! They are put together a batch at a time: what has deleted rows is copied without them, and LIMIT
//! 1 over a view of millions must not copy millions.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;

use super::registry::Engine;
use super::view::handle::ViewVersion;
use crate::catalog::Relation;
use crate::connect::{Source, SourceOffset};
use crate::error::{Error, Result};
use crate::limits;
use crate::log::table::TableVersion;
use crate::log::{CommitNo, Journal, LogReader, Position, StreamId};
use crate::plan::relations::{BatchIter, Contents, weighed};

fn projected(batch: RecordBatch, projection: Option<&[usize]>) -> Result<RecordBatch> {
    match projection {
        Some(columns) => Ok(batch.project(columns)?),
        None => Ok(batch),
    }
}

/// A version of a table.
#[derive(Debug)]
pub(super) struct TableContents(pub Arc<TableVersion>);

impl Contents for TableContents {
    fn batches(&self, projection: Option<&[usize]>) -> Result<BatchIter> {
        let (version, projection) = (Arc::clone(&self.0), projection.map(<[usize]>::to_vec));
        let parts = 0..version.parts();
        Ok(Box::new(
            parts.filter_map(move |at| version.part(at, projection.as_deref()).transpose()),
        ))
    }

    fn weight(&self) -> Option<usize> {
        Some(weighed(self.0.rows(), self.0.bytes()))
    }
}

/// A version of a table, with the rows that are no more.
#[derive(Debug)]
pub(super) struct VersionsContents(pub Arc<TableVersion>);

impl Contents for VersionsContents {
    fn batches(&self, projection: Option<&[usize]>) -> Result<BatchIter> {
        let (version, projection) = (Arc::clone(&self.0), projection.map(<[usize]>::to_vec));
        let parts = (0..version.version_parts()).filter_map(move |at| {
            let part = version.version_part(at).transpose()?;
            Some(part.and_then(|part| projected(part, projection.as_deref())))
        });
        Ok(Box::new(parts))
    }

    fn weight(&self) -> Option<usize> {
        Some(weighed(self.0.rows(), self.0.bytes()))
    }
}

/// A version of a view.
#[derive(Debug)]
pub(super) struct ViewContents(pub Arc<ViewVersion>);

impl Contents for ViewContents {
    fn batches(&self, projection: Option<&[usize]>) -> Result<BatchIter> {
        let (version, projection) = (Arc::clone(&self.0), projection.map(<[usize]>::to_vec));
        let parts = 0..version.rows.parts();
        Ok(Box::new(
            parts.filter_map(move |at| version.rows.part(at, projection.as_deref()).transpose()),
        ))
    }

    fn weight(&self) -> Option<usize> {
        Some(weighed(self.0.rows.rows(), self.0.rows.bytes()))
    }
}

/// The log of a stream, with the rows that the own transaction has appended.
pub(super) struct StreamContents {
    pub journal: Arc<Journal>,
    pub stream: StreamId,
    pub upto: CommitNo,
    pub own: Vec<RecordBatch>,
}

impl std::fmt::Debug for StreamContents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StreamContents({:?})", self.stream)
    }
}

impl Contents for StreamContents {
    fn batches(&self, projection: Option<&[usize]>) -> Result<BatchIter> {
        let own = self.own.clone();
        let projection = projection.map(<[usize]>::to_vec);
        let stored: BatchIter = match &projection {
            Some(columns) if columns.is_empty() => self.counted()?,
            Some(columns) => self.read(self.journal.reader_of(
                self.stream,
                Position::Earliest,
                columns.clone(),
            )?),
            None => self.read(self.journal.reader(self.stream, Position::Earliest)?),
        };
        let own = own.into_iter().map(move |batch| projected(batch, projection.as_deref()));
        Ok(Box::new(stored.chain(own)))
    }
}

impl StreamContents {
    fn read(&self, mut reader: LogReader) -> BatchIter {
        let upto = self.upto;
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
        Box::new(portions.flat_map(|portion| match portion {
            Ok(blocks) => blocks.into_iter().map(|block| Ok(block.batch)).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        }))
    }

    /// Rows without a column, for who only counts them: offsets say how many there are.
    fn counted(&self) -> Result<BatchIter> {
        let end = self.journal.reader(self.stream, Position::After(self.upto))?.position();
        let mut left = end.saturating_sub(self.journal.stats(self.stream)?.first_offset);
        let schema = Arc::new(Schema::empty());
        Ok(Box::new(std::iter::from_fn(move || {
            let rows = left.min(limits::BATCH_ROWS as u64);
            left -= rows;
            let options = RecordBatchOptions::new().with_row_count(Some(rows as usize));
            let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), vec![], &options);
            (rows > 0).then(|| batch.map_err(Error::from))
        })))
    }
}

/// A connector, read from its beginning.
pub(super) struct SourceContents {
    pub engine: Arc<Engine>,
    pub relation: Arc<Relation>,
    pub source: Arc<dyn Source>,
    pub now_ms: i64,
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
                        if let Err(error) =
                            engine.rejected.reject(&relation, &read.rejected, now, None)
                        {
                            is_done = true;
                            return Some(Err(error));
                        }
                        is_done =
                            read.ended || read.batch.num_rows() == 0 && read.rejected.is_empty();
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
