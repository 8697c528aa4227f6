//! The stage that the queries are planned on: the streams of the auction site and the side table,
//! without an engine around.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::logical_expr::LogicalPlan;

use super::input;
use crate::catalog::SCHEMA;
use crate::catalog::{Column, Kind, Relation, RelationId, StreamDef, TableDef, WatermarkSpec};
use crate::clock::{Clock, WallClock};
use crate::connect;
use crate::error::{Error, Result};
use crate::exec::map::Tables;
use crate::log::TableVersion;
use crate::plan::Pipeline;
use crate::plan::relations::{BatchIter, Contents, RelationLookup, RelationTable};

/// Keys of the side table of q13.
const SIDE_KEYS: i64 = 10_000;

/// How far rows may be out of order, microseconds.
const DELAY: i64 = 1_000_000;

/// The relations that there are.
#[derive(Debug)]
pub(super) struct BenchRelations {
    streams: Vec<Arc<Relation>>,
    side_input: Arc<Relation>,
    side_rows: RecordBatch,
}

impl BenchRelations {
    /// Sets it.
    pub(super) fn set() -> Result<BenchRelations> {
        let numbered = input::STREAMS.iter().zip(2..);
        let streams = numbered.map(|((name, _), id)| Ok(Arc::new(stream(id, name)?)));
        let streams = streams.collect::<Result<_>>()?;
        let side_rows = side_rows()?;
        let table = Kind::Table(TableDef {
            primary_key: vec![0],
            history_ms: None,
            uniques: Vec::new(),
            checks: Vec::new(),
        });
        let side_input = relation(1, "side_input", columns(&side_rows.schema()), table);
        Ok(BenchRelations { streams, side_input: Arc::new(side_input), side_rows })
    }

    /// The columns of a stream.
    pub(super) fn schema(&self, stream: &str) -> Result<SchemaRef> {
        let known = self.streams.iter().find(|known| known.name == stream);
        known
            .map(|known| known.schema())
            .ok_or_else(|| Error::internal(format!("there is no stream {stream}")))
    }

    /// The side table's rows.
    pub(super) fn side_rows(&self) -> &RecordBatch {
        &self.side_rows
    }
}

fn stream(id: u64, name: &str) -> Result<Relation> {
    let fields = connect::implied_columns(&input::nexmark_options(name, 1))
        .ok_or_else(|| Error::internal("the nexmark source tells no columns"))?;
    let schema = Schema::new(fields);
    let time = schema.index_of("date_time")?;
    let stream = StreamDef {
        watermark: Some(WatermarkSpec { column: time, delay: DELAY, text: None }),
        ..StreamDef::default()
    };
    Ok(relation(id, name, columns(&schema), Kind::Stream(stream)))
}

fn relation(id: u64, name: &str, columns: Vec<Column>, kind: Kind) -> Relation {
    let id = RelationId(id);
    Relation {
        id,
        schema: SCHEMA.to_owned(),
        name: name.to_owned(),
        columns,
        kind,
        depends_on: Vec::new(),
        sql: String::new(),
        created_ms: 0,
        comments: BTreeMap::new(),
    }
}

fn columns(schema: &Schema) -> Vec<Column> {
    schema.fields().iter().map(|field| Column::of(field)).collect()
}

fn side_rows() -> Result<RecordBatch> {
    let keys = Int64Array::from_iter_values(0..SIDE_KEYS);
    let values = StringArray::from_iter_values((0..SIDE_KEYS).map(|key| format!("value of {key}")));
    Ok(RecordBatch::try_from_iter([
        ("key", Arc::new(keys) as _),
        ("value", Arc::new(values) as _),
    ])?)
}

#[async_trait]
impl RelationLookup for BenchRelations {
    async fn find(&self, schema: &str, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let known = self.streams.iter().find(|stream| stream.name == name);
        let (relation, rows) = match known {
            _ if schema != SCHEMA => return Ok(None),
            // The streams' rows are fed to the pipeline; the plan is only told their columns.
            Some(stream) => (stream, RecordBatch::new_empty(stream.schema())),
            None if name == self.side_input.name => (&self.side_input, self.side_rows.clone()),
            None => return Ok(None),
        };
        Ok(Some(Arc::new(RelationTable::new(Arc::clone(relation), Arc::new(OneBatch(rows))))))
    }

    fn names(&self, schema: &str) -> Vec<String> {
        let all = self.streams.iter().chain([&self.side_input]);
        if schema == SCHEMA { all.map(|known| known.name.clone()).collect() } else { Vec::new() }
    }

    fn schemas(&self) -> Vec<String> {
        vec![SCHEMA.to_owned()]
    }
}

/// One batch as a table's contents.
#[derive(Debug)]
struct OneBatch(RecordBatch);

impl Contents for OneBatch {
    fn batches(&self, projection: Option<&[usize]>) -> Result<BatchIter> {
        let batch = match projection {
            Some(columns) => self.0.project(columns)?,
            None => self.0.clone(),
        };
        Ok(Box::new(std::iter::once(Ok(batch))))
    }
}

/// The side table never changes.
impl Tables for BenchRelations {
    fn resolve(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        Ok(plan.clone())
    }

    fn version(&self, _: &Pipeline) -> Result<u64> {
        Ok(0)
    }

    fn table(&self, relation: &Relation) -> Result<Arc<TableVersion>> {
        Err(Error::internal(format!("{} has no versions", relation.name)))
    }

    fn now_ms(&self) -> i64 {
        WallClock.now_ms()
    }
}
