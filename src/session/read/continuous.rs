//! A SELECT … EMIT: new versions of rows as they come, until the client cancels, the LIMIT is
//! reached or the input ends.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::context::SessionState;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::rows::{Batches, conform};
use crate::catalog::{Emission, RelationId, StateOptions};
use crate::error::Result;
use crate::exec::Engine;
use crate::exec::continuous::{ContinuousOptions, Emitted, run};
use crate::exec::define::{continuous_pipeline, emission};
use crate::log::CommitNo;
use crate::plan::{CutOptions, Pipeline};
use crate::postgres::syntax::naming::shown_schema;
use crate::sql::ContinuousQuery;
use crate::state::Delta;

/// What the session says of a continuous query.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The statement as written.
    pub text: Arc<str>,
    /// `allowed_lateness`.
    pub lateness_ms: i64,
    /// `scan_startup = 'latest'`.
    pub from_latest: bool,
    /// The last commit of the session.
    pub own: CommitNo,
    /// What a view says of its state.
    pub state: StateOptions,
}

/// A continuous query that has been planned.
pub struct ContinuousPlan {
    /// What is to be run.
    pub pipeline: Pipeline,
    /// What its fragments run in.
    pub state: Arc<SessionState>,
    /// Its columns as the client sees them.
    pub schema: SchemaRef,
    /// The relations it names.
    pub used: Vec<RelationId>,
}

/// What LIMIT means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtLimit {
    /// So many rows, then the query is over (without ORDER BY).
    Ends,
    /// The answer has so many rows, whichever they are at the moment.
    Keeps,
}

/// Plans a continuous query; EMIT CHANGES where it says nothing.
pub async fn plan(
    engine: &Arc<Engine>,
    query: &ContinuousQuery,
    reading: &Reading,
    limit: AtLimit,
) -> Result<ContinuousPlan> {
    let options = CutOptions {
        emission: emission(query.emit, Emission::OnChange),
        lateness_ms: reading.lateness_ms,
        limit_ends: limit == AtLimit::Ends,
        state: reading.state,
    };
    let (owned, query) = (Arc::clone(engine), query.query.clone());
    let ready = async move {
        let (pipeline, state, used) = continuous_pipeline(&owned, &query, options).await?;
        let schema = shown_schema(&pipeline.schema);
        Ok(ContinuousPlan { pipeline, state, schema, used })
    };
    engine.planning.plan_once(ready).await
}

impl ContinuousPlan {
    /// Starts it.
    pub fn start(
        self,
        engine: &Arc<Engine>,
        reading: &Reading,
        progress: bool,
        at_once: bool,
    ) -> BoxStream<'static, Result<Emitted>> {
        let options = ContinuousOptions {
            sql: reading.text.to_string(),
            from_latest: reading.from_latest,
            progress,
            history_at_once: at_once,
        };
        run(engine, self.pipeline, self.state, options)
    }

    /// Starts it as a SELECT: only rows that appear, up to the LIMIT.
    pub fn select(self, engine: &Arc<Engine>, reading: &Reading) -> (SchemaRef, Batches) {
        let schema = Arc::clone(&self.schema);
        let limit = self.pipeline.limit;
        if limit == Some(0) {
            return (schema, stream::empty().boxed());
        }
        let shown = Arc::clone(&schema);
        let emitted = self.start(engine, reading, false, false);
        let batches = emitted.flat_map(move |emitted| {
            let batches: Vec<Result<RecordBatch>> = match emitted {
                Ok(emitted) => {
                    emitted.deltas.iter().map(|delta| appearing(delta, &shown)).collect()
                }
                Err(error) => vec![Err(error)],
            };
            stream::iter(batches)
        });
        let batches = batches.filter(|batch| {
            let keep = !matches!(batch, Ok(batch) if batch.num_rows() == 0);
            std::future::ready(keep)
        });
        match limit {
            Some(limit) => (schema, limited(batches.boxed(), limit)),
            None => (schema, batches.boxed()),
        }
    }
}

/// The first rows of a stream; it is let go as soon as they are there.
fn limited(batches: Batches, limit: usize) -> Batches {
    stream::unfold((Some(batches), limit), |(batches, left)| async move {
        let mut batches = batches?;
        match batches.next().await? {
            Ok(batch) if batch.num_rows() < left => {
                let left = left - batch.num_rows();
                Some((Ok(batch), (Some(batches), left)))
            }
            Ok(batch) => Some((Ok(batch.slice(0, left)), (None, 0))),
            Err(error) => Some((Err(error), (None, 0))),
        }
    })
    .boxed()
}

/// The rows of a delta that appear, each as often as it does.
fn appearing(delta: &Delta, schema: &SchemaRef) -> Result<RecordBatch> {
    let rows = match &delta.weights {
        None => delta.batch.clone(),
        Some(weights) => {
            let positions: UInt64Array = (0..weights.len() as u64)
                .flat_map(|row| {
                    let times = weights.value(row as usize).max(0) as usize;
                    std::iter::repeat_n(row, times)
                })
                .collect::<Vec<_>>()
                .into();
            take_record_batch(&delta.batch, &positions)?
        }
    };
    conform(&rows, schema)
}

/// The rows of a delta as [`Delta::spread`] has them, as the client sees them.
pub fn spread(delta: &Delta, schema: &SchemaRef) -> Result<(RecordBatch, Int64Array)> {
    let (rows, signs) = delta.spread()?;
    Ok((conform(&rows, schema)?, signs))
}
