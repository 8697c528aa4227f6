//! The engine without a session: relations made by hand, rows appended, views read back.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::util::pretty::pretty_format_batches;

use super::engine::{Engine, EngineOptions};
use crate::catalog::{Column, Emission, Kind, NameChange, Relation, RelationId, StreamDef, ViewDef, WatermarkSpec};
use crate::log::{StreamId, StreamSpec, Transaction};
use crate::sql;
use crate::store::{MemoryStore, Store};
use crate::time::Watermark;
use crate::types::SqlType;

const SECOND: i64 = 1_000_000;

pub(super) struct Bench {
    pub(super) engine: Arc<Engine>,
    store: Arc<dyn Store>,
}

pub(super) async fn open(store: Arc<dyn Store>) -> Bench {
    let options = EngineOptions { files: ".".into(), memory: 1 << 30, threads: 2, bounded: false };
    let engine = Engine::open(Arc::clone(&store), options, tokio::runtime::Handle::current()).await.unwrap();
    Bench { engine, store }
}

impl Bench {
    pub(super) async fn create(&self, name: &str, columns: Vec<Column>, kind: Kind, depends_on: Vec<RelationId>) -> Arc<Relation> {
        let relation = Arc::new(Relation {
            id: self.engine.catalog.names().next_id(),
            name: name.to_owned(),
            columns,
            kind,
            depends_on,
            sql: String::new(),
            created_ms: 0,
        });
        let mut transaction = Transaction::at(0);
        NameChange::Put(Arc::clone(&relation)).write(&mut transaction.puts).unwrap();
        if let Kind::Stream(def) = &relation.kind {
            transaction.create_stream(
                StreamId(relation.id.0),
                StreamSpec {
                    schema: relation.schema(),
                    watermark: def.watermark.as_ref().map(|w| (w.column, w.delay)),
                    retention_ms: None,
                    retention_bytes: None,
                },
            );
        }
        self.engine.journal.commit(transaction).await.unwrap();
        self.engine.catalog.publish(vec![NameChange::Put(Arc::clone(&relation))]);
        self.engine.opened(&relation).unwrap();
        relation
    }

    async fn stream(&self) -> Arc<Relation> {
        let column = |name: &str, sql_type| Column {
            name: name.to_owned(),
            sql_type,
            not_null: false,
            default: None,
            generated: None,
        };
        let columns = vec![
            column("k", SqlType::Text),
            column("v", SqlType::BigInt),
            column("ts", SqlType::Timestamp(6)),
        ];
        let def = StreamDef {
            watermark: Some(WatermarkSpec { column: 2, delay: 0, text: None }),
            connector: None,
            retention_ms: None,
            retention_bytes: None,
            max_future_ms: None,
        };
        self.create("s", columns, Kind::Stream(def), Vec::new()).await
    }

    async fn view(&self, name: &str, query: &str, emission: Emission) -> Arc<Relation> {
        let options = crate::plan::CutOptions { emission, lateness_ms: 0 };
        let parsed = sql::parse_query(query).unwrap();
        let (pipeline, _, used) =
            super::define::continuous_pipeline(&self.engine, &parsed.query, options).await.unwrap();
        let columns = super::define::columns_of(&pipeline.schema, &[]).unwrap();
        let def = ViewDef {
            query: query.to_owned(),
            emission,
            lateness_ms: 0,
            retention_ms: None,
            from_latest: false,
            paused: false,
        };
        self.create(name, columns, Kind::MaterializedView(def), used).await
    }

    async fn insert(&self, stream: &Relation, rows: &[(Option<&str>, i64, i64)]) {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|r| r.0).collect::<StringArray>()),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1))),
            Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.2 * SECOND))),
        ];
        let mut transaction = Transaction::at(0);
        transaction.append(StreamId(stream.id.0), RecordBatch::try_new(stream.schema(), columns).unwrap());
        self.engine.journal.commit(transaction).await.unwrap();
    }

    async fn finish(&self, stream: &Relation) {
        let mut transaction = Transaction::at(0);
        transaction.advance(StreamId(stream.id.0), Watermark::INFINITY);
        self.engine.journal.commit(transaction).await.unwrap();
    }

    async fn rows(&self, view: &Relation) -> Vec<String> {
        let handle = self.engine.view(view.id).unwrap();
        self.engine.sync(&[Arc::clone(&handle)]).await.unwrap();
        let batches = handle.version().rows.batches().unwrap();
        let table = pretty_format_batches(&batches).unwrap().to_string();
        let mut rows: Vec<String> = table
            .lines()
            .filter(|line| line.starts_with('|'))
            .skip(1)
            .map(|line| line.split('|').map(str::trim).filter(|c| !c.is_empty()).collect::<Vec<_>>().join(" "))
            .collect();
        rows.sort();
        rows
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_hold_what_their_queries_say_now_and_after_a_restart() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let bench = open(Arc::clone(&store)).await;
    let s = bench.stream().await;
    let tumble = bench
        .view(
            "t",
            "SELECT window_start, k, count(*) AS n, sum(v) AS total FROM TUMBLE(s, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end, k",
            Emission::OnClose,
        )
        .await;
    let hop = bench
        .view(
            "h",
            "SELECT window_end, max(v) AS top FROM HOP(s, ts, INTERVAL '5 seconds', INTERVAL '10 seconds') WHERE v > 0 GROUP BY window_start, window_end",
            Emission::OnChange,
        )
        .await;
    let running = bench.view("r", "SELECT k, count(*) AS n FROM s GROUP BY k HAVING count(*) > 1", Emission::OnChange).await;
    let plain = bench.view("p", "SELECT upper(k) AS k, v + 1 AS v FROM s WHERE v > 2", Emission::OnChange).await;
    bench.insert(&s, &[(Some("a"), 1, 1), (Some("b"), 2, 2), (None, 3, 12)]).await;
    bench.insert(&s, &[(Some("a"), 4, 13), (Some("a"), 9, 3)]).await;
    assert_eq!(bench.rows(&tumble).await, ["1970-01-01T00:00:00 a 1 1", "1970-01-01T00:00:00 b 1 2"]);
    assert_eq!(bench.rows(&running).await, ["a 3"]);
    assert_eq!(bench.rows(&plain).await, ["4", "A 10", "A 5"]);
    let before = bench.rows(&hop).await;
    assert!(before.contains(&"1970-01-01T00:00:15 4".to_owned()), "{before:?}");
    bench.engine.stop().await;
    let store = Arc::clone(&bench.store);
    drop(bench);

    let bench = open(store).await;
    assert_eq!(bench.rows(&hop).await, before);
    bench.insert(&s, &[(Some("a"), 7, 14)]).await;
    bench.finish(&s).await;
    assert_eq!(
        bench.rows(&tumble).await,
        [
            "1970-01-01T00:00:00 a 1 1",
            "1970-01-01T00:00:00 b 1 2",
            "1970-01-01T00:00:10 1 3",
            "1970-01-01T00:00:10 a 2 11"
        ]
    );
    assert_eq!(bench.rows(&running).await, ["a 4"]);
}

