//! Brings a pipeline its source's rows, from a place that can be stored and come back to.
//!
//! | file | idea |
//! |---|---|
//! | `log` | an embedded log: reading ends where commits end, so that a write is never taken half |
//! | `view` | a materialized view: what it publishes, and what it computes in the running epoch |
//! | `table` | a static table: what has changed in it |
//! | `source` | a connector, by itself or with the views that stand at the same place |
//! | [`shared`] | what the views of an epoch read together of connectors |
//! | `several` | the feeds of a query: one for each of its sources |

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::FutureExt;
use futures::future::BoxFuture;

use self::log::LogFeed;
pub use self::several::Feeds;
use self::shared::{SharedReads, Wish};
use self::source::SourceFeed;
use self::table::TableFeed;
pub use self::view::Fresh;
use self::view::ViewFeed;
use super::map::Tables;
use super::position::{FeedBatch, FeedPosition, SourceProgress, Start};
use super::view::handle::ViewHandle;
use crate::announced::Listener;
use crate::catalog::RelationId;
use crate::connect::Source;
use crate::error::Result;
use crate::log::table::TableHandle;
use crate::log::{CommitNo, Journal};
use crate::operators::lateness::Input;
use crate::plan::SourceScan;
use crate::store::Store;

mod log;
mod several;
pub mod shared;
#[cfg(test)]
mod shared_tests;
mod source;
mod table;
mod view;

/// Reads a source for one pipeline.
pub struct Feed {
    source: RelationId,
    kind: FeedKind,
    columns: Vec<usize>,
}

enum FeedKind {
    Log(LogFeed),
    Source(Box<SourceFeed>),
    View(Box<ViewFeed>),
    Table(Box<TableFeed>),
}

impl Feed {
    /// Opens a view at a position; None: with its present rows.
    pub fn of_view(
        scan: &SourceScan,
        store: &Arc<dyn Store>,
        view: &Arc<ViewHandle>,
        from: Option<&FeedPosition>,
        from_latest: bool,
    ) -> Result<Feed> {
        let feed = ViewFeed::open(scan, store, view, from, from_latest)?;
        Ok(Feed {
            source: scan.relation.id,
            kind: FeedKind::View(Box::new(feed)),
            columns: scan.columns.clone(),
        })
    }

    /// Opens a static table at a position; None: with its present rows.
    pub fn of_table(
        scan: &SourceScan,
        table: &Arc<TableHandle>,
        from: Option<&FeedPosition>,
    ) -> Result<Feed> {
        let feed = TableFeed::open(scan, table, from)?;
        Ok(Feed {
            source: scan.relation.id,
            kind: FeedKind::Table(Box::new(feed)),
            columns: scan.columns.clone(),
        })
    }

    /// The rows that had been read of a table up to its position.
    pub fn had(&mut self, rows: Vec<RecordBatch>) {
        if let FeedKind::Table(table) = &mut self.kind {
            table.had(rows);
        }
    }

    /// Opens a stream at a position; None: where `start` says.
    pub fn open(
        scan: &SourceScan,
        journal: &Journal,
        source: Option<&Arc<dyn Source>>,
        from: Option<&FeedPosition>,
        start: Start,
    ) -> Result<Feed> {
        let kind = match source {
            None => FeedKind::Log(LogFeed::open(scan, journal, from, start)?),
            Some(source) => {
                let mut feed = SourceFeed::open(scan, source, from)?;
                if let (None, Start::Latest { now_ms, .. }) = (from, start) {
                    feed.skip_to_latest(now_ms)?;
                }
                FeedKind::Source(Box::new(feed))
            }
        };
        Ok(Feed { source: scan.relation.id, kind, columns: scan.columns.clone() })
    }

    /// Gives a view's feed what its view has computed in the epoch that is being made.
    pub fn take_fresh(&mut self, fresh: Fresh<'_>) -> Result<Vec<Input>> {
        match &mut self.kind {
            FeedKind::View(view) => view.take_fresh(fresh, &self.columns),
            FeedKind::Log(_) | FeedKind::Source(_) | FeedKind::Table(_) => Ok(Vec::new()),
        }
    }

    /// The epoch in which [`Self::take_fresh`] brought something has been given its number.
    pub fn reached_epoch(&mut self, epoch: u64) {
        if let FeedKind::View(view) = &mut self.kind {
            view.reached_epoch(epoch);
        }
    }

    /// Waits until there may be more to read: a commit, or of a view a change that has been
    /// published, which is later. False: there will be no more, the server is going down.
    pub async fn changed(&mut self, commits: &mut Listener<CommitNo>) -> bool {
        match &mut self.kind {
            FeedKind::View(view) => view.changed().await,
            FeedKind::Log(_) | FeedKind::Source(_) | FeedKind::Table(_) => {
                commits.changed().await.is_ok()
            }
        }
    }

    /// Waits, if it follows a view, until that has published a change; see [`Self::changed`].
    fn published(&mut self) -> Option<BoxFuture<'_, bool>> {
        match &mut self.kind {
            FeedKind::View(view) => Some(view.changed().boxed()),
            FeedKind::Log(_) | FeedKind::Source(_) | FeedKind::Table(_) => None,
        }
    }

    /// What it reads; of a view the query whose answer that is.
    pub fn source(&self) -> RelationId {
        match &self.kind {
            FeedKind::View(view) => view.query(),
            FeedKind::Log(_) | FeedKind::Source(_) | FeedKind::Table(_) => self.source,
        }
    }

    /// Whether it follows a view.
    pub fn is_view(&self) -> bool {
        matches!(self.kind, FeedKind::View(_))
    }

    /// What there is up to the cut, about `max_rows` at the most (to the end of a commit); of a
    /// connector together with the others of an epoch.
    pub fn read(
        &mut self,
        upto: CommitNo,
        now_ms: i64,
        max_rows: usize,
        shared: Option<&mut SharedReads>,
        tables: &dyn Tables,
    ) -> Result<FeedBatch> {
        match &mut self.kind {
            FeedKind::Table(table) => table.read(tables),
            FeedKind::Log(log) => log.read(upto, max_rows),
            FeedKind::Source(source) => source.read(now_ms, max_rows, shared),
            FeedKind::View(view) => view.read(&self.columns),
        }
    }

    /// Whether it would read nothing. A connector has to be asked.
    pub fn is_idle(&self) -> bool {
        match &self.kind {
            FeedKind::Log(log) => log.is_idle(),
            FeedKind::View(view) => view.is_idle(),
            FeedKind::Table(table) => table.is_idle(),
            FeedKind::Source(_) => false,
        }
    }

    /// The watermark that a view which is read has come to, microseconds since 1970; the rows of
    /// others bring theirs.
    pub fn watermark(&self) -> Option<i64> {
        match &self.kind {
            FeedKind::View(view) => view.watermark(),
            FeedKind::Log(_) | FeedKind::Source(_) | FeedKind::Table(_) => None,
        }
    }

    /// How many rows of a stream retention has taken away before they were read; none that a view
    /// has still to read.
    pub fn forgotten(&self) -> u64 {
        match &self.kind {
            FeedKind::Log(log) => log.forgotten(),
            FeedKind::Source(_) | FeedKind::View(_) | FeedKind::Table(_) => 0,
        }
    }

    /// The last commit of which everything has been read since the feed was opened; 0: not known.
    pub fn read_to(&self) -> CommitNo {
        match &self.kind {
            FeedKind::Log(log) => log.read_to(),
            FeedKind::Table(table) => table.read_to(),
            FeedKind::Source(_) | FeedKind::View(_) => CommitNo(0),
        }
    }

    /// Where it stands.
    pub fn position(&self) -> FeedPosition {
        match &self.kind {
            FeedKind::Log(log) => log.position(),
            FeedKind::Source(source) => source.position(),
            FeedKind::View(view) => view.position(),
            FeedKind::Table(table) => table.position(),
        }
    }

    /// What it would read next, if that is of a connector.
    pub fn wish(&self) -> Option<Wish> {
        match &self.kind {
            FeedKind::Source(source) => source.wish(),
            FeedKind::Log(_) | FeedKind::View(_) | FeedKind::Table(_) => None,
        }
    }

    /// How far it has come in a connector.
    pub fn source_progress(&self) -> Option<SourceProgress> {
        match &self.kind {
            FeedKind::Source(source) => Some(source.progress()),
            FeedKind::Log(_) | FeedKind::View(_) | FeedKind::Table(_) => None,
        }
    }

    /// Whether new rows announce themselves by a commit; a connector has to be asked. (A view
    /// announces itself by the commit of its epoch.)
    pub fn is_log(&self) -> bool {
        matches!(self.kind, FeedKind::Log(_) | FeedKind::View(_) | FeedKind::Table(_))
    }
}
