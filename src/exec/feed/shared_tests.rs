//! The epoch loop reads a connector once, however many views there are over it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::super::tests::open;
use super::super::view::handle::Phase;
use crate::catalog::{Column, Connector, Emission, Kind, StreamDef};
use crate::connect::{Rejected, Source, SourceBatch, SourceOffset, SourceReader, Why};
use crate::error::Result;
use crate::store::MemoryStore;
use crate::types::SqlType;

/// Rows that come when the test says so, every tenth record wrong; counts what is decoded.
#[derive(Clone, Default)]
struct Growing {
    there: Arc<AtomicUsize>,
    decoded: Arc<AtomicUsize>,
}

struct GrowingReader {
    source: Growing,
    columns: Vec<usize>,
    next: usize,
}

impl Source for Growing {
    fn schema(&self) -> SchemaRef {
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        Arc::new(Schema::new(vec![field("price"), field("bidder")]))
    }

    fn reader(
        &self,
        from: SourceOffset,
        columns: Option<&[usize]>,
    ) -> Result<Box<dyn SourceReader>> {
        let next = from.to_string().parse().unwrap_or(0);
        let columns = columns.map_or(vec![0, 1], <[usize]>::to_vec);
        Ok(Box::new(GrowingReader { source: self.clone(), columns, next }))
    }
}

impl SourceReader for GrowingReader {
    fn read(&mut self, _: i64, max_rows: usize) -> Result<SourceBatch> {
        let end = self.source.there.load(Ordering::SeqCst).min(self.next + max_rows);
        let (wrong, good): (Vec<usize>, Vec<usize>) =
            (self.next..end).partition(|record| record % 10 == 0);
        self.source.decoded.fetch_add(end - self.next, Ordering::SeqCst);
        self.next = end;
        let schema = self.source.schema().project(&self.columns)?;
        let column = Int64Array::from_iter_values(good.iter().map(|record| *record as i64));
        let columns = self.columns.iter().map(|_| Arc::new(column.clone()) as ArrayRef).collect();
        let rows = RecordBatchOptions::new().with_row_count(Some(good.len()));
        let rejected = wrong.iter().map(|record| Rejected {
            offset: *record as u64,
            raw: Vec::new(),
            error: "wrong".to_owned(),
            why: Why::Malformed,
        });
        Ok(SourceBatch {
            batch: RecordBatch::try_new_with_options(Arc::new(schema), columns, &rows)?,
            rejected: rejected.collect(),
            ended: false,
        })
    }

    fn offset(&self) -> SourceOffset {
        SourceOffset::from_bytes(self.next.to_string().into_bytes())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_views_over_a_connector_decode_each_record_once() {
    let bench = open(Arc::new(MemoryStore::new())).await;
    let source = Growing::default();
    let column = |name: &str| Column::new(name, SqlType::BigInt);
    let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let options =
        vec![option("connector", "nexmark"), option("table", "bid"), option("events", "0")];
    let def = StreamDef { connector: Some(Connector { options }), ..StreamDef::default() };
    let columns = vec![column("price"), column("bidder")];
    let stream = bench.create("s", columns, Kind::Stream(def), Vec::new()).await;
    bench.engine.replace_source(stream.id, Arc::new(source.clone()));
    source.there.store(100, Ordering::SeqCst);
    for (name, query) in [
        ("a", "SELECT count(*) AS n FROM s"),
        ("b", "SELECT sum(price) AS t FROM s"),
        ("c", "SELECT bidder FROM s WHERE bidder > 1095"),
    ] {
        bench.view(name, query, Emission::OnChange).await;
    }
    // Each reads by itself what was there before it, and is in the common epochs only when it runs.
    for view in bench.engine.views() {
        view.phase().wait_for(|phase| *phase == Phase::Running).await.unwrap();
    }
    let before = source.decoded.load(Ordering::SeqCst);
    source.there.store(1_100, Ordering::SeqCst);
    bench.engine.sync(&bench.engine.views(), bench.engine.journal.last()).await.unwrap();
    assert_eq!(source.decoded.load(Ordering::SeqCst) - before, 1_000);
    assert_eq!(bench.snapshot("SELECT * FROM a").await, ["990"]);
    let total: usize = (0..1_100).filter(|record| record % 10 != 0).sum();
    assert_eq!(bench.snapshot("SELECT * FROM b").await, [total.to_string()]);
    assert_eq!(bench.snapshot("SELECT count(*) FROM c").await, ["4"]);
    assert_eq!(bench.engine.rejected.rejected_count(stream.id), 110);
}
