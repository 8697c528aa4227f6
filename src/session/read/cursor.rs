//! Cursors: a query that is taken a few rows at a time, also one without an end.
//!
//! What FETCH has pulled stays with the cursor until FETCH has what it was asked for, so a FETCH
//! that is cancelled loses nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::rows::Batches;
use crate::clock::before;
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::sql::FetchCount;

/// A cursor of a session.
#[derive(Clone)]
pub struct Cursor {
    /// Its columns.
    pub schema: SchemaRef,
    /// WITH HOLD.
    pub hold: bool,
    /// Declared in the transaction that is open.
    pub is_new: bool,
    body: Arc<Mutex<CursorRows>>,
}

struct CursorRows {
    /// None: at its end.
    stream: Option<Batches>,
    /// Pulled and not yet given.
    left: VecDeque<RecordBatch>,
    rows: usize,
}

impl Cursor {
    /// Over a query that has been started.
    pub fn new(schema: SchemaRef, stream: Batches, hold: bool) -> Cursor {
        let body = CursorRows { stream: Some(stream), left: VecDeque::new(), rows: 0 };
        Cursor { schema, hold, is_new: true, body: Arc::new(Mutex::new(body)) }
    }

    /// FETCH; it gives what it has when `end` is done.
    pub async fn fetch(
        &self,
        count: FetchCount,
        end: Option<BoxFuture<'static, ()>>,
    ) -> Result<Batches> {
        let mut body = Arc::clone(&self.body).try_lock_owned().map_err(|_| {
            Error::new(SqlState::InvalidCursorState, "the cursor is being fetched from")
        })?;
        match (count, end) {
            (FetchCount::All, None) => Ok(rest(body)),
            (FetchCount::All, end) => {
                body.fill(usize::MAX, end).await?;
                Ok(stream::iter(body.take(usize::MAX).into_iter().map(Ok)).boxed())
            }
            (FetchCount::Rows(count), end) => {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                body.fill(count, end).await?;
                Ok(stream::iter(body.take(count).into_iter().map(Ok)).boxed())
            }
        }
    }

    /// MOVE: how many rows were passed over.
    pub async fn skip(&self, count: FetchCount) -> Result<u64> {
        let mut batches = self.fetch(count, None).await?;
        let mut rows = 0;
        while let Some(batch) = batches.next().await {
            rows += batch?.num_rows() as u64;
        }
        Ok(rows)
    }

    /// Reads to the end, so that it can outlive its transaction.
    pub async fn keep(&self) -> Result<()> {
        let mut body = self.body.lock().await;
        body.fill(usize::MAX, None).await
    }
}

impl CursorRows {
    /// Pulls until there are so many rows, the time is over, or the end.
    async fn fill(&mut self, count: usize, mut end: Option<BoxFuture<'static, ()>>) -> Result<()> {
        let mut bytes: usize = self.left.iter().map(RecordBatch::get_array_memory_size).sum();
        while self.rows < count {
            let Some(stream) = &mut self.stream else {
                return Ok(());
            };
            let next = match &mut end {
                None => stream.next().await,
                Some(end) => match before(end, stream.next()).await {
                    Some(next) => next,
                    None => return Ok(()),
                },
            };
            match next {
                Some(Ok(batch)) => {
                    bytes = bytes.saturating_add(batch.get_array_memory_size());
                    self.rows += batch.num_rows();
                    self.left.push_back(batch);
                    if bytes > limits::WRITE_BYTES {
                        return Err(Error::new(
                            SqlState::ProgramLimit,
                            "too many rows for one FETCH",
                        )
                        .hint("Fetch fewer rows at a time."));
                    }
                }
                Some(Err(error)) => {
                    self.stream = None;
                    return Err(error);
                }
                None => self.stream = None,
            }
        }
        Ok(())
    }

    fn take(&mut self, mut count: usize) -> Vec<RecordBatch> {
        let mut taken = Vec::new();
        while count > 0
            && let Some(batch) = self.left.pop_front()
        {
            let rows = batch.num_rows();
            if rows > count {
                taken.push(batch.slice(0, count));
                self.left.push_front(batch.slice(count, rows - count));
                self.rows -= count;
                return taken;
            }
            count -= rows;
            self.rows -= rows;
            taken.push(batch);
        }
        taken
    }
}

/// Everything that is left, as it comes.
fn rest(body: OwnedMutexGuard<CursorRows>) -> Batches {
    stream::unfold(body, |mut body| async move {
        if let Some(batch) = body.left.pop_front() {
            body.rows -= batch.num_rows();
            return Some((Ok(batch), body));
        }
        let next = body.stream.as_mut()?.next().await;
        match next {
            Some(Ok(batch)) => Some((Ok(batch), body)),
            Some(Err(error)) => {
                body.stream = None;
                Some((Err(error), body))
            }
            None => {
                body.stream = None;
                None
            }
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::{Clock, WallClock};
    use crate::session::read::rows::{text_batch, text_schema};

    fn batch(rows: usize) -> RecordBatch {
        let rows: Vec<_> = (0..rows).map(|row| vec![Some(row.to_string())]).collect();
        text_batch(&text_schema(&["a"]), &rows).unwrap()
    }

    async fn count(batches: Batches) -> usize {
        batches
            .map(|batch| batch.unwrap().num_rows())
            .fold(0, |sum, rows| async move { sum + rows })
            .await
    }

    #[tokio::test]
    async fn a_fetch_that_runs_out_of_time_keeps_what_it_has_for_the_next() {
        let endless = stream::iter([Ok(batch(3)), Ok(batch(4))]).chain(stream::pending()).boxed();
        let cursor = Cursor::new(text_schema(&["a"]), endless, false);
        assert_eq!(count(cursor.fetch(FetchCount::Rows(2), None).await.unwrap()).await, 2);
        let cancelled = tokio::time::timeout(
            Duration::from_millis(10),
            cursor.fetch(FetchCount::Rows(50), None),
        );
        assert!(cancelled.await.is_err());
        let timeout = Some(WallClock.sleep(Duration::from_millis(5)));
        assert_eq!(count(cursor.fetch(FetchCount::Rows(50), timeout).await.unwrap()).await, 5);
    }
}
