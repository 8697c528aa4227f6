//! What a sink has to publish goes out: beside the epochs, in their order, as fast as the other side
//! takes it.
//!
//! ```text
//!  query ─▶ epoch's commit ─▶ outbox ─▶ write down what is taken ─▶ publish ─▶ write down that it is out
//!    ▲                          │                                      │
//!    └───── stands still ◀── is full                             fails: again later
//! ```
//! A sink whose other side is down holds up only its own query, which stands still (as one that waits
//! for room on the disk) when [`limits::OUTBOX_BYTES`] of its changes wait. Nothing is lost meanwhile:
//! what it has not read stays in the streams and views that it reads.

use std::sync::{Arc, Weak};
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::outbox::{self, OutboxRecord};
use super::registry::Engine;
use super::sink::SinkHandle;
use super::view::handle::{Phase, ViewHandle};
use crate::catalog::{Connector, Kind, Relation, RelationId, SinkDef, SinkForm, StreamDef};
use crate::connect::{self, Publication, Sink, SinkIdentity};
use crate::error::{Error, Result, SqlState, contained};
use crate::limits;
use crate::log::{StreamId, Transaction};
use crate::state::Delta;
use crate::store::Space;
use crate::time::Watermark;

/// What the publishing has done when it was asked to go on.
enum Round {
    /// Nothing waits.
    Nothing,
    /// Something has gone out.
    Published,
}

/// How long it is waited before the next try, at first; twice as long each time.
const FIRST_RETRY: Duration = Duration::from_millis(100);

/// So many times in succession a full disk may be found by the way before readers are told.
const PATIENT_TRIES: u64 = 2;

impl Engine {
    /// A sink.
    pub fn sink(&self, id: RelationId) -> Result<Arc<SinkHandle>> {
        let known = self.sinks.read().get(&id).cloned();
        known.ok_or_else(|| Error::internal(format!("sink {} is not open", id.0)))
    }

    /// Opens the other side of a sink.
    pub fn open_outside(&self, relation: &Relation, sink: &SinkDef) -> Result<Arc<dyn Sink>> {
        self.open_connector(relation, &sink.connector, sink.form)
    }

    /// Opens what takes the rows of a relation, or their changes.
    pub fn open_connector(
        &self,
        relation: &Relation,
        connector: &Connector,
        form: SinkForm,
    ) -> Result<Arc<dyn Sink>> {
        let (id, created_ms) = (relation.id.0, relation.created_ms);
        connect::open_sink(
            &connector.options,
            &published_schema(relation, form),
            &self.options.files,
            SinkIdentity { id, created_ms },
        )
    }

    /// Begins to publish what a sink's query gives.
    pub(super) fn start_sink(self: &Arc<Self>, relation: &Relation, view: &Arc<ViewHandle>) {
        let sink = SinkHandle::new(relation.id);
        self.sinks.write().insert(relation.id, Arc::clone(&sink));
        if let Ok(record) = OutboxRecord::read(self.store().as_ref(), relation.id) {
            sink.published(&record, 0);
        }
        let (engine, view) = (Arc::downgrade(self), Arc::clone(view));
        self.cpu().spawn(publish_all(engine, sink, view));
    }

    /// Before a sink is removed, and before the server ends: nothing of it is on its way out
    /// afterwards.
    pub async fn stop_sink(&self, id: RelationId) {
        let known = self.sinks.read().get(&id).cloned();
        if let Some(sink) = known {
            sink.stop.cancel();
            drop(sink.alone.lock().await);
        }
    }

    /// What waits of a sink is counted anew: what was computed last may not have been stored.
    pub(super) fn recount_sink(&self, id: RelationId) -> Result<()> {
        match self.sink(id) {
            Ok(sink) => {
                sink.count(outbox::waiting_bytes(self.store().as_ref(), id)?);
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    /// Waits until what a query has given so far has gone out; not for one that stands still, or a sink
    /// whose other side takes nothing.
    pub(super) async fn until_published(&self, view: &ViewHandle) -> Result<()> {
        let relation = view.relation();
        let sink = self.sink(relation.id)?;
        let published = view.published();
        let (epoch, complete_to) = (published.version.epoch, published.complete_to);
        let mut phase = view.phase();
        let is_log = matches!(relation.kind, Kind::Stream(_));
        loop {
            let taken = sink.taken.notified();
            let runs = matches!(
                *phase.borrow_and_update(),
                Phase::CatchingUp | Phase::Running | Phase::Trailing
            );
            let figures = sink.figures();
            match figures.error {
                // Rather an error than fewer rows than there are: as a view says it.
                Some(error)
                    if is_log
                        && error.state() == SqlState::DiskFull
                        && figures.in_succession > PATIENT_TRIES =>
                {
                    return Err(error);
                }
                Some(_) if !is_log => return Ok(()),
                _ if !runs => return Ok(()),
                _ => {}
            }
            let advances = self.advance_of(&sink, &relation, complete_to).is_some();
            if figures.epoch >= epoch && !advances {
                return Ok(());
            }
            let most = limits::PUBLICATION_BYTES;
            let store = self.store().as_ref();
            let waiting = outbox::read(store, relation.id, figures.epoch, None, most)?;
            if waiting.changes.is_empty() && !advances {
                return Ok(());
            }
            tokio::select! {
                () = taken => {}
                _ = phase.changed() => {}
                () = sink.stop.cancelled() => return Ok(()),
            }
        }
    }

    /// The query of a sink stands still until enough has gone out.
    pub(super) fn stand_still(self: &Arc<Self>, view: Arc<ViewHandle>, sink: Arc<SinkHandle>) {
        let why = "the other side of the sink does not take what it is given";
        tracing::warn!("sink {} waits: {why}", view.relation().name);
        view.enter(Phase::Stalled(why.to_owned()));
        let engine = Arc::downgrade(self);
        self.cpu().spawn(async move {
            loop {
                let taken = sink.taken.notified();
                if sink.waiting_bytes() < limits::OUTBOX_BYTES / 2 {
                    break;
                }
                tokio::select! {
                    () = taken => {}
                    () = sink.stop.cancelled() => return,
                }
            }
            let Some(engine) = engine.upgrade() else { return };
            let is_waiting = matches!(&*view.phase().borrow(), Phase::Stalled(_));
            if is_waiting {
                engine.start_view(view);
            }
        });
    }

    /// Something of what waits goes out.
    async fn publish_some(self: &Arc<Self>, sink: &SinkHandle, view: &ViewHandle) -> Result<Round> {
        let _alone = sink.alone.lock().await;
        let relation = view.relation();
        if sink.stop.is_cancelled() {
            return Ok(Round::Nothing);
        }
        let mut record = OutboxRecord::read(self.store().as_ref(), relation.id)?;
        // Before what waits is read: then all that goes before it is among that.
        let complete_to = view.published().complete_to;
        let upto = (record.taken > record.published).then_some(record.taken);
        let most = limits::PUBLICATION_BYTES;
        let store = self.store().as_ref();
        let waiting = outbox::read(store, relation.id, record.published, upto, most)?;
        let mut transaction = Transaction::at(self.now_ms());
        let advance = self.advance_of(sink, &relation, complete_to).filter(|_| !waiting.is_cut);
        let Some(last) = waiting.changes.last().map(|(epoch, _)| *epoch) else {
            if let Some(advance) = advance {
                transaction.advance(StreamId(relation.id.0), advance);
                self.journal.commit(transaction).await?;
                sink.advanced(advance);
            }
            return Ok(Round::Nothing);
        };
        let rows = match &relation.kind {
            Kind::Sink(def) => {
                let outside = self.outside(sink, &relation, def)?;
                let publication = publication(&relation, def.form, &waiting.changes)?;
                let rows = publication.rows();
                if upto.is_none() {
                    record.taken = last;
                    let mut begins = Transaction::at(self.now_ms());
                    record.write(relation.id, &mut begins.puts)?;
                    self.journal.commit(begins).await?;
                }
                let published = self.spawn.blocking(move || outside.publish(&publication)).await;
                published
                    .ok_or_else(|| Error::internal("the connector of a sink has panicked"))??;
                rows
            }
            // A log takes them in the commit that says so.
            _ => {
                let publication = publication(&relation, SinkForm::Rows, &waiting.changes)?;
                let rows = publication.rows();
                for batch in publication.batches {
                    transaction.append(StreamId(relation.id.0), batch);
                }
                if let Some(advance) = advance {
                    transaction.advance(StreamId(relation.id.0), advance);
                }
                rows
            }
        };
        record = OutboxRecord { published: last, taken: last, rows: record.rows + rows as u64 };
        waiting.keys.into_iter().for_each(|key| transaction.puts.delete(Space::Views, key));
        record.write(relation.id, &mut transaction.puts)?;
        self.journal.commit(transaction).await?;
        sink.published(&record, waiting.bytes);
        if let Some(advance) = advance {
            sink.advanced(advance);
        }
        Ok(Round::Published)
    }

    /// To what the watermark of a stream that a query writes moves on, though no row of it has come so
    /// far.
    fn advance_of(
        &self,
        sink: &SinkHandle,
        relation: &Relation,
        complete_to: Watermark,
    ) -> Option<Watermark> {
        let Kind::Stream(StreamDef { watermark: Some(_), .. }) = &relation.kind else {
            return None;
        };
        let known = sink.figures().watermark;
        Some(complete_to)
            .filter(|to| *to != Watermark::NONE && known.is_none_or(|known| *to > known))
    }

    fn outside(
        &self,
        sink: &SinkHandle,
        relation: &Relation,
        def: &SinkDef,
    ) -> Result<Arc<dyn Sink>> {
        let mut outside = sink.outside.lock();
        match &*outside {
            Some(open) => Ok(Arc::clone(open)),
            None => {
                let open = self.open_outside(relation, def)?;
                Ok(Arc::clone(outside.insert(open)))
            }
        }
    }
}

/// Publishes until the sink is gone.
async fn publish_all(engine: Weak<Engine>, sink: Arc<SinkHandle>, view: Arc<ViewHandle>) {
    let (mut answered, mut phase) = (view.answered(), view.phase());
    let mut retry = FIRST_RETRY;
    loop {
        answered.mark_unchanged();
        let is_paused = match &*phase.borrow_and_update() {
            Phase::Dropped => return,
            phase => *phase == Phase::Paused,
        };
        let Some(running) = engine.upgrade() else { return };
        let clock = Arc::clone(running.clock_handle());
        let done = if is_paused {
            Ok(Round::Nothing)
        } else {
            contained("the publishing of a sink", running.publish_some(&sink, &view)).await
        };
        let is_bounded = running.options.bounded;
        drop(running);
        let pause = match done {
            Ok(Round::Nothing) => None,
            Ok(Round::Published) => {
                retry = FIRST_RETRY;
                let gathers = sink.outside.lock().as_ref().map_or(0, |sink| sink.gathers_ms());
                Some(Duration::from_millis(if is_bounded { 0 } else { gathers }))
            }
            Err(error) => {
                tracing::warn!("sink {}: {error}", view.relation().name);
                sink.failed(&error);
                let pause = retry;
                retry = (retry * 2).min(Duration::from_millis(limits::SINK_RETRY_MS));
                Some(pause)
            }
        };
        let more = async {
            match pause {
                Some(pause) => {
                    clock.sleep(pause).await;
                    true
                }
                None => tokio::select! {
                    biased;
                    more = answered.changed() => more.is_ok(),
                    more = phase.changed() => more.is_ok(),
                },
            }
        };
        let goes_on = tokio::select! {
            biased;
            () = sink.stop.cancelled() => false,
            more = more => more,
        };
        if !goes_on {
            return;
        }
    }
}

/// The columns that go out.
pub fn published_schema(relation: &Relation, form: SinkForm) -> SchemaRef {
    let own = relation.schema();
    match form {
        SinkForm::Rows => own,
        SinkForm::Changes => {
            let change = ["epoch", "diff"].map(|name| Field::new(name, DataType::Int64, false));
            let all = change.into_iter().map(Arc::new).chain(own.fields().iter().cloned());
            Arc::new(Schema::new(all.collect::<Vec<_>>()))
        }
    }
}

fn publication(
    relation: &Relation,
    form: SinkForm,
    changes: &[(u64, Delta)],
) -> Result<Publication> {
    let schema = published_schema(relation, form);
    let mut batches = Vec::with_capacity(changes.len());
    for (epoch, delta) in changes {
        let (rows, signs) = delta.spread()?;
        if form == SinkForm::Rows && signs.values().iter().any(|sign| *sign < 0) {
            let what = "the query of a sink of rows has taken a row back";
            return Err(Error::new(SqlState::Internal, what));
        }
        let mut columns = rows.columns().to_vec();
        if form == SinkForm::Changes {
            let epoch = i64::try_from(*epoch).unwrap_or(i64::MAX);
            let epochs = Int64Array::from_value(epoch, rows.num_rows());
            columns.splice(0..0, [Arc::new(epochs) as _, Arc::new(signs) as _]);
        }
        batches.push(RecordBatch::try_new(Arc::clone(&schema), columns)?);
    }
    let epochs = changes.iter().map(|(epoch, _)| *epoch);
    let (first, last) = (epochs.clone().min().unwrap_or(0), epochs.max().unwrap_or(0));
    Ok(Publication { first, last, batches })
}
