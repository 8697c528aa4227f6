//! SUBSCRIBE: the present rows of a view or query, then every change of them.
//!
//! A row is `epoch, diff` and the query's columns. A view's changes come from the engine's epochs,
//! which the view and all its subscribers share; a query of its own has epochs of its own.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::ObjectName;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::continuous::{self, Reading, spread};
use super::query::on_cpu;
use super::rows::Batches;
use crate::catalog::{Kind, Relation, RelationId};
use crate::error::{Error, Result, SqlState};
use crate::exec::Engine;
use crate::exec::continuous::Emitted;
use crate::exec::snapshot::unreadable;
use crate::exec::stored::{Since, changes_since};
use crate::exec::view::{Subscription, Update, ViewHandle};
use crate::log::CommitNo;
use crate::postgres::syntax::naming::shown_schema;
use crate::sql::{self, ContinuousQuery, Subscribe, SubscribeTo};
use crate::state::Delta;

/// `epoch`, `diff`, with PROGRESS `progressed`, then the query's columns.
fn subscribe_schema(columns: &Schema, progress: bool) -> SchemaRef {
    let mut fields = vec![
        Arc::new(Field::new("epoch", DataType::Int64, true)),
        Arc::new(Field::new("diff", DataType::Int64, true)),
    ];
    if progress {
        fields.push(Arc::new(Field::new("progressed", DataType::Boolean, true)));
    }
    fields.extend(columns.fields().iter().cloned());
    Arc::new(Schema::new(fields))
}

/// Makes the rows of a subscription.
#[derive(Clone)]
struct SubscriptionRows {
    columns: SchemaRef,
    schema: SchemaRef,
    progress: bool,
}

impl SubscriptionRows {
    fn new(columns: SchemaRef, progress: bool) -> SubscriptionRows {
        SubscriptionRows { schema: subscribe_schema(&columns, progress), columns, progress }
    }

    /// The rows of one epoch: its changes, or the word that there were none.
    fn epoch(&self, epoch: u64, deltas: &[Delta]) -> Vec<Result<RecordBatch>> {
        let mut batches: Vec<Result<RecordBatch>> = deltas
            .iter()
            .map(|delta| self.delta(epoch, delta))
            .filter(|batch| !matches!(batch, Ok(batch) if batch.num_rows() == 0))
            .collect();
        if batches.is_empty() && self.progress {
            batches.push(self.progressed(epoch));
        }
        batches
    }

    fn delta(&self, epoch: u64, delta: &Delta) -> Result<RecordBatch> {
        let (rows, signs) = spread(delta, &self.columns)?;
        let count = rows.num_rows();
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![signed(epoch); count])), Arc::new(signs)];
        if self.progress {
            columns.push(Arc::new(BooleanArray::from(vec![false; count])));
        }
        columns.extend(rows.columns().iter().cloned());
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn progressed(&self, epoch: u64) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![signed(epoch)])),
            new_null_array(&DataType::Int64, 1),
            Arc::new(BooleanArray::from(vec![true])),
        ];
        columns
            .extend(self.columns.fields().iter().map(|field| new_null_array(field.data_type(), 1)));
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

fn signed(epoch: u64) -> i64 {
    i64::try_from(epoch).unwrap_or(i64::MAX)
}

/// What a SUBSCRIBE is on.
enum SubscriptionTarget {
    View(RelationId, Arc<ViewHandle>),
    Query(ContinuousQuery),
}

fn target(engine: &Engine, what: &SubscribeTo) -> Result<SubscriptionTarget> {
    match what {
        SubscribeTo::Query(query) => Ok(SubscriptionTarget::Query(query.clone())),
        SubscribeTo::Relation(name) => {
            let relation = relation(engine, name)?;
            match &relation.kind {
                Kind::MaterializedView(_) => {
                    Ok(SubscriptionTarget::View(relation.id, engine.view(relation.id)?))
                }
                Kind::Stream(_) | Kind::View { .. } => {
                    sql::parse_query(&format!("SELECT * FROM {}", relation.quoted_name()))
                        .map(SubscriptionTarget::Query)
                }
                Kind::Sink(_) => Err(unreadable(&relation)),
                Kind::Table(_) => Err(Error::unsupported("SUBSCRIBE to a table is not supported")
                    .hint("Subscribe to a stream, a materialized view or a query over a stream.")),
            }
        }
    }
}

fn relation(engine: &Engine, name: &ObjectName) -> Result<Arc<Relation>> {
    let name = sql::relation_name(name)?;
    let names = engine.catalog.names();
    if name.is_of_system() {
        return Err(Error::unsupported("SUBSCRIBE to a system relation is not supported")
            .hint("Read it with SELECT."));
    }
    name.get(&names).cloned()
}

/// The columns that a SUBSCRIBE gives.
pub async fn schema(
    engine: &Arc<Engine>,
    subscribe: &Subscribe,
    reading: &Reading,
) -> Result<SchemaRef> {
    let columns = match target(engine, &subscribe.what)? {
        SubscriptionTarget::View(_, view) => shown_schema(&view.relation().schema()),
        SubscriptionTarget::Query(query) => {
            continuous::plan(engine, &query, reading, continuous::AtLimit::Keeps).await?.schema
        }
    };
    Ok(subscribe_schema(&columns, subscribe.progress))
}

/// Starts a SUBSCRIBE; gives the notices of its query too.
pub async fn start(
    engine: &Arc<Engine>,
    subscribe: &Subscribe,
    reading: &Reading,
) -> Result<(SchemaRef, Batches, Vec<String>)> {
    match target(engine, &subscribe.what)? {
        SubscriptionTarget::View(of, view) => {
            let (schema, batches) = to_view(engine, of, &view, subscribe, reading.own).await?;
            Ok((schema, batches, Vec::new()))
        }
        SubscriptionTarget::Query(query) => to_query(engine, &query, subscribe, reading).await,
    }
}

async fn to_query(
    engine: &Arc<Engine>,
    query: &ContinuousQuery,
    subscribe: &Subscribe,
    reading: &Reading,
) -> Result<(SchemaRef, Batches, Vec<String>)> {
    if subscribe.as_of.is_some() {
        return Err(Error::unsupported(
            "AS OF EPOCH on a query is not supported: its epochs are its own",
        )
        .hint("Create a materialized view of the query and subscribe to that."));
    }
    let ready = continuous::plan(engine, query, reading, continuous::AtLimit::Keeps).await?;
    let notices = ready.pipeline.notices.clone();
    let shape = SubscriptionRows::new(Arc::clone(&ready.schema), subscribe.progress);
    let schema = Arc::clone(&shape.schema);
    // What is there already is one epoch: its rows are the net answer.
    let emitted = ready.start(engine, reading, subscribe.progress, true);
    let snapshot = subscribe.snapshot;
    let told = move |emitted: &Result<Emitted>| {
        snapshot || !matches!(emitted, Ok(Emitted { epoch: 1, .. }))
    };
    let batches = emitted.filter(move |emitted| std::future::ready(told(emitted)));
    let batches = batches.flat_map(move |emitted| {
        stream::iter(match emitted {
            Ok(Emitted { epoch, deltas }) => shape.epoch(epoch, &deltas),
            Err(error) => vec![Err(error)],
        })
    });
    Ok((schema, batches.boxed(), notices))
}

async fn to_view(
    engine: &Arc<Engine>,
    of: RelationId,
    view: &Arc<ViewHandle>,
    subscribe: &Subscribe,
    own: CommitNo,
) -> Result<(SchemaRef, Batches)> {
    engine.sync(std::slice::from_ref(view), own).await?;
    let shape = SubscriptionRows::new(shown_schema(&view.relation().schema()), subscribe.progress);
    let (version, subscription) = view.subscribe(of);
    let schema = Arc::clone(&shape.schema);
    let first: BoxStream<'static, Result<RecordBatch>> = match subscribe.as_of {
        Some(after) => {
            let upto = version.epoch;
            let missed = missed(engine, view, after, upto).await?;
            let shape = shape.clone();
            stream::iter(missed)
                .flat_map(move |(epoch, delta)| stream::iter(shape.epoch(epoch, &[delta])))
                .boxed()
        }
        None if subscribe.snapshot => {
            let rows = version.rows.batches()?;
            let (epoch, shape) = (version.epoch, shape.clone());
            // One batch at a time, as the client takes them.
            let rows = rows.into_iter().map(move |batch| shape.delta(epoch, &Delta::insert(batch)));
            stream::iter(rows).boxed()
        }
        None => stream::empty().boxed(),
    };
    let later = updates(subscription, shape, subscribe.as_of.unwrap_or(0));
    Ok((schema, first.chain(later).boxed()))
}

/// The stored changes of a view after one epoch, up to another.
async fn missed(
    engine: &Arc<Engine>,
    view: &Arc<ViewHandle>,
    after: u64,
    upto: u64,
) -> Result<Vec<(u64, Delta)>> {
    if after > engine.last_epoch() {
        return Err(Error::new(SqlState::BadArgument, format!("epoch {after} is not over yet"))
            .hint(format!("The last epoch is {}.", engine.last_epoch())));
    }
    let (owned, id) = (Arc::clone(engine), view.relation().id);
    on_cpu(engine, async move {
        let store = owned.store().as_ref();
        match changes_since(store, id, after)? {
            Since::Changes(changes) => Ok(changes.into_iter().filter(|(epoch, _)| *epoch <= upto).collect()),
            Since::Gone { oldest } => {
                let what = format!("changes after epoch {after} are not retained any more");
                Err(Error::new(SqlState::NotInState, what).hint(format!(
                    "The oldest epoch to resume after is {oldest}; subscribe without AS OF EPOCH for the present rows."
                )))
            }
        }
    })
    .await
}

/// What is published from now on.
fn updates(subscription: Subscription, shape: SubscriptionRows, after: u64) -> Batches {
    let steps = stream::unfold(Some(subscription), move |subscription| {
        let shape = shape.clone();
        async move {
            let mut subscription = subscription?;
            match subscription.next().await? {
                Update::Epoch(epoch, deltas) => {
                    let batches =
                        if epoch > after { shape.epoch(epoch, &deltas) } else { Vec::new() };
                    Some((batches, Some(subscription)))
                }
                Update::Overrun(epoch) => {
                    let error = Error::new(
                        SqlState::LimitExceeded,
                        "the subscriber has fallen too far behind",
                    )
                    .detail(format!("The last epoch it was sent is {epoch}."))
                    .hint(format!("Read faster; resume with AS OF EPOCH {epoch}."));
                    Some((vec![Err(error)], None))
                }
                Update::Ended(error) => Some((vec![Err(error)], None)),
            }
        }
    });
    steps.flat_map(stream::iter).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_weight_two_appears_twice() {
        let columns = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let batch = RecordBatch::try_new(
            Arc::clone(&columns),
            vec![Arc::new(Int64Array::from(vec![7, 8]))],
        )
        .unwrap();
        let shape = SubscriptionRows::new(columns, true);
        let rows = shape.delta(3, &Delta::new(batch, Int64Array::from(vec![2, -1]))).unwrap();
        assert_eq!(rows.column(1).as_ref(), &Int64Array::from(vec![1, 1, -1]));
        assert_eq!(rows.column(3).as_ref(), &Int64Array::from(vec![7, 7, 8]));
        assert_eq!(shape.epoch(4, &[]).len(), 1);
    }
}
