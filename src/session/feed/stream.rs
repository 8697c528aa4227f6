//! A stream that is fed: how its records are read, and what a row must be.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::write::{FedRules, FedWrite};
use crate::catalog::{Kind, Relation, RelationId, StreamDef};
use crate::connect::EventTimes;
use crate::connect::feeder::{FedColumn, Feeder};
use crate::error::{Error, Result, SqlState};
use crate::exec::Engine;
use crate::log::{CommitNo, StreamId, Transaction};

/// How a stream is fed, by its definition.
pub(in crate::session) fn feeder(relation: &Relation) -> Result<Feeder> {
    let Kind::Stream(StreamDef { feeder: Some(connector), watermark, max_future_ms, .. }) =
        &relation.kind
    else {
        return Err(Error::internal("a stream that nothing feeds"));
    };
    let given = relation.columns.iter().filter(|column| column.generated.is_none());
    let columns = given
        .map(|column| FedColumn { field: column.field(), has_default: column.default.is_some() });
    let times = watermark.as_ref().map(|watermark| watermark.column);
    let times = times.filter(|time| relation.columns[*time].generated.is_none()).map(|time| {
        let before = relation.columns[..time].iter().filter(|c| c.generated.is_none()).count();
        EventTimes { column: before, max_future_ms: *max_future_ms }
    });
    Feeder::open(&connector.options, columns.collect(), times)
}

/// A stream that is fed, made ready once for as long as its definition stays as it is.
pub(super) struct FedStream {
    pub(super) relation: Arc<Relation>,
    pub(super) feeder: Feeder,
    pub(super) rules: FedRules,
}

/// All of them that have been used.
#[derive(Default)]
pub(super) struct FedStreams(Mutex<HashMap<RelationId, Arc<FedStream>>>);

impl FedStreams {
    /// The stream, made ready.
    pub(super) fn get(&self, engine: &Engine, relation: &Arc<Relation>) -> Result<Arc<FedStream>> {
        let is_current = |stream: &FedStream| Arc::ptr_eq(&stream.relation, relation);
        if let Some(known) = self.0.lock().get(&relation.id)
            && is_current(known)
        {
            return Ok(Arc::clone(known));
        }
        let stream = Arc::new(FedStream::open(engine, relation)?);
        let names = engine.catalog.names();
        let mut streams = self.0.lock();
        streams.retain(|id, _| names.by_id(*id).is_some());
        streams.insert(relation.id, Arc::clone(&stream));
        Ok(stream)
    }
}

impl FedStream {
    /// Makes it ready.
    pub(super) fn open(engine: &Engine, relation: &Arc<Relation>) -> Result<FedStream> {
        let (feeder, rules) = (feeder(relation)?, FedRules::new(engine, relation)?);
        Ok(FedStream { relation: Arc::clone(relation), feeder, rules })
    }

    /// Makes rows, and the records that are none, durable: one write. `more` is committed with them.
    pub(super) async fn write(
        &self,
        engine: &Engine,
        write: FedWrite,
        now_ms: i64,
        more: impl FnOnce(&mut Transaction) -> Result<()>,
    ) -> Result<CommitNo> {
        let mut transaction = Transaction::at(now_ms);
        let stream = self.relation.id;
        write.rows.into_iter().for_each(|rows| transaction.append(StreamId(stream.0), rows));
        more(&mut transaction)?;
        let (rejected, puts) = (Vec::from(write.rejected), &mut transaction.puts);
        let counted = write.rejected_count - rejected.len() as u64;
        engine.rejected.reject_new(stream, counted, &rejected, now_ms, puts)?;
        engine.journal.commit(transaction).await.map_err(|error| match error.state() {
            // It was dropped meanwhile.
            SqlState::UndefinedTable => {
                engine.catalog.names().missing(&self.relation.schema, &self.relation.name)
            }
            _ => error,
        })
    }
}
