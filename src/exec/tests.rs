//! The engine without a session: relations made by hand, rows appended, views read back.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Int64Type;
use arrow::util::pretty::pretty_format_batches;

use super::env::Env;
use super::messages::TemporaryQuery;
use super::registry::{Engine, EngineOptions};
use super::snapshot::Scope;
use super::stored::{Since, changes_since};
use super::versions::Overlay;
use super::view::handle::Phase;
use crate::catalog::{
    Column, Emission, Kind, NameChange, Relation, RelationId, StreamDef, ViewDef, WatermarkSpec,
};
use crate::error::SqlState;
use crate::limits;
use crate::log::{StreamId, StreamSpec, Transaction};
use crate::sql;
use crate::store::faulty::{Fault, FaultyStore};
use crate::store::{MemoryStore, Store};
use crate::time::Watermark;
use crate::types::SqlType;

const SECOND: i64 = 1_000_000;

pub(super) struct Bench {
    pub(super) engine: Arc<Engine>,
    store: Arc<dyn Store>,
}

pub(super) async fn open(store: Arc<dyn Store>) -> Bench {
    open_with(store, |_| ()).await
}

async fn open_within(store: Arc<dyn Store>, memory: usize) -> Bench {
    open_with(store, |options| options.memory = memory).await
}

pub(super) async fn open_with(
    store: Arc<dyn Store>,
    change: impl FnOnce(&mut EngineOptions),
) -> Bench {
    // However busy the machine is: what these tests look at is what views do together.
    let common_epoch = std::time::Duration::from_secs(60);
    let mut options = EngineOptions {
        files: ".".into(),
        memory: 1 << 30,
        threads: 2,
        bounded: false,
        common_epoch,
        fold_bytes: limits::FOLD_BYTES,
        unread_bytes: limits::UNREAD_BYTES,
    };
    change(&mut options);
    let engine = Engine::open(
        Env::of_server(Arc::clone(&store), tokio::runtime::Handle::current()),
        options,
    )
    .await
    .unwrap();
    Bench { engine, store }
}

impl Bench {
    pub(super) async fn create(
        &self,
        name: &str,
        columns: Vec<Column>,
        kind: Kind,
        depends_on: Vec<RelationId>,
    ) -> Arc<Relation> {
        let relation = Arc::new(Relation {
            id: self.engine.catalog.names().next_id(),
            schema: "public".to_owned(),
            name: name.to_owned(),
            columns,
            kind,
            depends_on,
            sql: String::new(),
            created_ms: 0,
            comments: BTreeMap::new(),
        });
        let mut transaction = Transaction::at(0);
        let change = NameChange::Put(Arc::clone(&relation));
        self.engine.catalog.write(&[change], &mut transaction.puts).unwrap();
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

    pub(super) async fn stream(&self) -> Arc<Relation> {
        let columns = vec![
            Column::new("k", SqlType::Text),
            Column::new("v", SqlType::BigInt),
            Column::new("ts", SqlType::Timestamp(6)),
        ];
        let def = StreamDef {
            watermark: Some(WatermarkSpec { column: 2, delay: 0, text: None }),
            ..StreamDef::default()
        };
        self.create("s", columns, Kind::Stream(def), Vec::new()).await
    }

    pub(super) async fn view(&self, name: &str, query: &str, emission: Emission) -> Arc<Relation> {
        self.try_view(name, query, emission)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    async fn try_view(
        &self,
        name: &str,
        query: &str,
        emission: Emission,
    ) -> crate::error::Result<Arc<Relation>> {
        let options = crate::plan::CutOptions {
            emission,
            lateness_ms: 0,
            limit_ends: true,
            state: Default::default(),
        };
        let parsed = sql::parse_query(query).unwrap();
        let (pipeline, _, used) =
            super::define::continuous_pipeline(&self.engine, &parsed.query, options).await?;
        let columns = super::define::columns_of(&pipeline.schema, &[])?;
        let def = ViewDef {
            query: query.to_owned(),
            emission,
            lateness_ms: 0,
            retention_ms: None,
            from_latest: false,
            paused: false,
            answers: None,
            state: Default::default(),
            append_only: pipeline.is_append_only(),
        };
        Ok(self.create(name, columns, Kind::MaterializedView(def), used).await)
    }

    pub(super) async fn insert(&self, stream: &Relation, rows: &[(Option<&str>, i64, i64)]) {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|r| r.0).collect::<StringArray>()),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1))),
            Arc::new(TimestampMicrosecondArray::from_iter_values(
                rows.iter().map(|r| r.2 * SECOND),
            )),
        ];
        let mut transaction = Transaction::at(0);
        transaction
            .append(StreamId(stream.id.0), RecordBatch::try_new(stream.schema(), columns).unwrap());
        self.engine.journal.commit(transaction).await.unwrap();
    }

    async fn finish(&self, stream: &Relation) {
        let mut transaction = Transaction::at(0);
        transaction.advance(StreamId(stream.id.0), Watermark::INFINITY);
        self.engine.journal.commit(transaction).await.unwrap();
    }

    pub(super) async fn table(&self) -> Arc<Relation> {
        let columns = vec![Column::new("k", SqlType::Text), Column::new("title", SqlType::Text)];
        self.create(
            "names",
            columns,
            Kind::Table(crate::catalog::TableDef {
                primary_key: vec![0],
                history_ms: None,
                uniques: Vec::new(),
                checks: Vec::new(),
            }),
            Vec::new(),
        )
        .await
    }

    pub(super) async fn fill(&self, table: &Relation, rows: &[(&str, &str)]) {
        let mut transaction = Transaction::at(0);
        self.put(&mut transaction, table, rows).await;
        self.engine.journal.commit(transaction).await.unwrap();
    }

    /// Adds rows of a table to a transaction.
    pub(super) async fn put(
        &self,
        transaction: &mut Transaction,
        table: &Relation,
        rows: &[(&str, &str)],
    ) {
        let handle = self.engine.table(table.id).unwrap();
        let mut writer =
            handle.lock(&crate::clock::WallClock, std::time::Duration::from_secs(5)).await.unwrap();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.0))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.1))),
        ];
        writer.append(RecordBatch::try_new(table.schema(), columns).unwrap()).unwrap();
        writer.into_transaction(transaction).unwrap();
    }

    pub(super) async fn snapshot(&self, query: &str) -> Vec<String> {
        let scope =
            Scope::new(Arc::clone(&self.engine), self.engine.snapshot(), Overlay::default(), None);
        let state = self.engine.planner.snapshot_state(Arc::new(scope));
        let parsed = sql::parse_query(query).unwrap();
        let plan = self.engine.planner.logical(&state, &parsed.query).await.unwrap();
        let physical = state.create_physical_plan(&plan).await.unwrap();
        let batches = datafusion::physical_plan::collect(physical, state.task_ctx()).await.unwrap();
        sorted_rows(&batches)
    }

    pub(super) async fn rows(&self, view: &Relation) -> Vec<String> {
        let handle = self.engine.view(view.id).unwrap();
        self.engine.sync(&[Arc::clone(&handle)], self.engine.journal.last()).await.unwrap();
        let batches = handle.version().rows.batches().unwrap();
        sorted_rows(&batches)
    }
}

pub(super) fn sorted_rows(batches: &[RecordBatch]) -> Vec<String> {
    let table = pretty_format_batches(batches).unwrap().to_string();
    let mut rows: Vec<String> = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(1)
        .map(|line| {
            line.split('|').map(str::trim).filter(|c| !c.is_empty()).collect::<Vec<_>>().join(" ")
        })
        .collect();
    rows.sort();
    rows
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
    let running = bench
        .view(
            "r",
            "SELECT k, count(*) AS n FROM s GROUP BY k HAVING count(*) > 1",
            Emission::OnChange,
        )
        .await;
    let plain = bench
        .view("p", "SELECT upper(k) AS k, v + 1 AS v FROM s WHERE v > 2", Emission::OnChange)
        .await;
    bench.insert(&s, &[(Some("a"), 1, 1), (Some("b"), 2, 2), (None, 3, 12)]).await;
    bench.insert(&s, &[(Some("a"), 4, 13), (Some("a"), 9, 3)]).await;
    assert_eq!(
        bench.rows(&tumble).await,
        ["1970-01-01T00:00:00 a 1 1", "1970-01-01T00:00:00 b 1 2"]
    );
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

/// Queries whose view must equal the snapshot once every window has closed and no row was late.
const QUERIES: [&str; 23] = [
    "SELECT window_start, window_end, k, count(*) AS n FROM TUMBLE(s, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end, k",
    "SELECT k, window_end, sum(v) AS t, avg(v) AS a, min(v) AS lo, max(v) AS hi FROM HOP(s, ts, INTERVAL '3 seconds', INTERVAL '10 seconds') GROUP BY k, window_start, window_end",
    "SELECT window_start AS w, count(DISTINCT k) AS n FROM HOP(s, ts, INTERVAL '5 seconds', INTERVAL '10 seconds') GROUP BY window_start, window_end",
    "SELECT window_start AS w, sum(v) FILTER (WHERE v > 3) AS n FROM TUMBLE(s, ts, INTERVAL '10 seconds', INTERVAL '3 seconds') GROUP BY window_start, window_end",
    "SELECT w, n * 2 AS n FROM (SELECT window_start AS w, count(*) AS n FROM TUMBLE(s, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end HAVING count(*) > 2) x",
    "SELECT upper(k) AS k, window_start AS w, count(*) AS n FROM TUMBLE((SELECT * FROM s WHERE v % 2 = 0), ts, INTERVAL '10 seconds') GROUP BY upper(k), window_start, window_end",
    "SELECT w.k, n.title, w.window_start, sum(w.v) AS t FROM TUMBLE(s, ts, INTERVAL '10 seconds') w JOIN names n ON w.k = n.k GROUP BY w.k, n.title, w.window_start, w.window_end",
    "SELECT x.k, n.title, x.c FROM (SELECT k, window_start, count(*) AS c FROM TUMBLE(s, ts, INTERVAL '10 seconds') GROUP BY k, window_start, window_end) x LEFT JOIN names n ON x.k = n.k",
    "SELECT n.title, x.window_end, x.c FROM names n JOIN (SELECT k, window_end, count(*) AS c FROM HOP(s, ts, INTERVAL '5 seconds', INTERVAL '15 seconds') GROUP BY k, window_start, window_end) x ON x.k = n.k",
    "SELECT window_start, stddev(v) AS d, median(v) AS m, bool_and(v > 0) AS b FROM TUMBLE(s, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end",
    "SELECT window_start, string_agg(k, ',' ORDER BY k) AS ks FROM TUMBLE(s, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end",
    "SELECT k, window_start, count(*) AS n FROM TUMBLE(s, ts, INTERVAL '10 seconds') WHERE window_start >= TIMESTAMP '1970-01-01 00:00:10' GROUP BY k, window_start, window_end",
    "SELECT k, window_start, window_end - window_start > INTERVAL '1 second' AS long, count(*) AS n FROM HOP(s, ts, INTERVAL '5 seconds', INTERVAL '10 seconds') WHERE window_end <= TIMESTAMP '1970-01-01 00:00:30' GROUP BY k, window_start, window_end",
    "SELECT date_trunc('minute', window_start) AS m, window_start, count(*) AS n FROM TUMBLE(s, ts, INTERVAL '10 seconds') GROUP BY date_trunc('minute', window_start), window_start, window_end",
    "SELECT k, v, window_start, window_end FROM HOP(s, ts, INTERVAL '5 seconds', INTERVAL '10 seconds') WHERE v > 1",
    "SELECT k, v * 2 AS d FROM s WHERE k IS NOT NULL",
    "SELECT s.v, n.title FROM s LEFT JOIN names n ON s.k = n.k",
    "SELECT word, window_start, count(*) AS n FROM TUMBLE((SELECT unnest(string_to_array(k || ' x', ' ')) AS word, ts FROM s), ts, INTERVAL '10 seconds') GROUP BY word, window_start, window_end",
    "SELECT k, count(*) AS n, sum(v) AS t, min(v) AS lo FROM s GROUP BY k",
    "SELECT count(*) AS n, max(ts) AS last FROM s",
    "SELECT DISTINCT k FROM s",
    "SELECT k, count(*) AS n FROM s WHERE k IN (SELECT k FROM names) GROUP BY k",
    "WITH big AS (SELECT * FROM s WHERE v > 1) SELECT window_start, max(v) - min(v) AS spread FROM TUMBLE(big, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_view_equals_its_query() {
    let bench = open(Arc::new(MemoryStore::new())).await;
    let s = bench.stream().await;
    let names = bench.table().await;
    bench.fill(&names, &[("a", "Anna"), ("b", "Bert"), ("z", "Zoe")]).await;
    let mut views = Vec::new();
    let mut failures = Vec::new();
    for (i, query) in QUERIES.iter().enumerate() {
        for emission in [Emission::OnChange, Emission::OnClose] {
            let windowed = ["TUMBLE", "HOP"].iter().any(|w| query.contains(w));
            let running = !windowed && (query.contains("count") || query.contains("DISTINCT"));
            if running && emission == Emission::OnClose {
                continue;
            }
            match bench.try_view(&format!("v{i}_{emission:?}"), query, emission).await {
                Ok(view) => views.push((*query, view)),
                Err(error) => failures.push(format!("{emission:?} {query}\n  {error}")),
            }
        }
    }
    let keys = [Some("a"), Some("b"), None, Some("c d")];
    for write in 0..6 {
        let rows: Vec<_> = (0..7)
            .map(|i| {
                (
                    keys[(write * 3 + i * 5) % 4],
                    ((write * 7 + i * 3) % 11) as i64 - 2,
                    (write * 6 + i) as i64,
                )
            })
            .collect();
        bench.insert(&s, &rows).await;
    }
    bench.finish(&s).await;
    for (query, view) in &views {
        let handle = bench.engine.view(view.id).unwrap();
        if let Err(error) = bench.engine.sync(&[handle], bench.engine.journal.last()).await {
            failures.push(format!("{} {query}\n  {error}", view.name));
            continue;
        }
        let (got, expect) = (bench.rows(view).await, bench.snapshot(query).await);
        if got != expect {
            failures
                .push(format!("{} {query}\n  view     {got:?}\n  snapshot {expect:?}", view.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Views that catch up take numbers of epochs between those of the loop.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_view_made_over_a_view_that_changes_misses_nothing_and_takes_nothing_twice() {
    let bench = open(Arc::new(MemoryStore::new())).await;
    let s = bench.stream().await;
    bench.view("low", "SELECT k, v FROM s WHERE v >= 0", Emission::OnChange).await;
    let mut views = Vec::new();
    for round in 0..40 {
        let name = format!("high_{round}");
        bench.insert(&s, &[(Some("a"), round, round), (Some("b"), 1, round)]).await;
        views.push(
            bench
                .view(&name, "SELECT count(*) AS n, sum(v) AS t FROM low", Emission::OnChange)
                .await,
        );
        bench.insert(&s, &[(Some("c"), round, round)]).await;
    }
    let expected = bench.snapshot("SELECT count(*) AS n, sum(v) AS t FROM s").await;
    for view in &views {
        assert_eq!(bench.rows(view).await, expected, "{}", view.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_on_a_view_follows_it_through_changes_and_restarts() {
    let bench = open(Arc::new(MemoryStore::new())).await;
    let s = bench.stream().await;
    bench.insert(&s, &[(Some("a"), 1, 1), (Some("b"), 2, 2), (Some("a"), 3, 3)]).await;
    bench.view("per_key", "SELECT k, count(*) AS n FROM s GROUP BY k", Emission::OnChange).await;
    let query = "SELECT n, count(*) AS keys FROM per_key GROUP BY n";
    let on = bench.view("per_count", query, Emission::OnChange).await;
    let plain = bench.view("large", "SELECT k FROM per_key WHERE n >= 2", Emission::OnChange).await;
    assert_eq!(bench.rows(&on).await, ["1 1", "2 1"]);
    bench.insert(&s, &[(Some("b"), 1, 4), (Some("c"), 2, 5)]).await;
    assert_eq!(bench.rows(&on).await, ["1 1", "2 2"]);
    assert_eq!(bench.rows(&plain).await, ["a", "b"]);
    bench.engine.stop().await;
    let bench = open(Arc::clone(&bench.store)).await;
    bench.insert(&s, &[(Some("c"), 2, 6), (Some("c"), 2, 7)]).await;
    assert_eq!(bench.rows(&on).await, bench.snapshot(query).await);
    assert_eq!(bench.rows(&plain).await, ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_the_store_refuses_fails_only_the_view_that_wrote_it() {
    let inner: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let most = 16 << 10;
    let bench =
        open(Arc::new(FaultyStore::new(Arc::clone(&inner), [Fault::RefuseValue(most)]))).await;
    let s = bench.stream().await;
    let large = "SELECT v, max(repeat(k, 10)) AS m FROM s GROUP BY v";
    let before = bench.view("a", "SELECT count(*) AS n FROM s", Emission::OnChange).await;
    let large = bench.view("b", large, Emission::OnChange).await;
    let after =
        bench.view("c", "SELECT v, count(*) AS n FROM s GROUP BY v", Emission::OnChange).await;
    bench.insert(&s, &[(Some("x"), 1, 1)]).await;
    assert_eq!(bench.rows(&large).await, ["1 xxxxxxxxxx"]);
    let long = "y".repeat(most / 4);
    bench.insert(&s, &[(Some(&long), 2, 2)]).await;
    assert_eq!(bench.rows(&before).await, ["2"]);
    assert_eq!(bench.rows(&after).await, ["1 1", "2 1"]);
    let handle = bench.engine.view(large.id).unwrap();
    let failed = bench.engine.sync(&[handle], bench.engine.journal.last()).await.unwrap_err();
    assert!(failed.message().contains("too large to be stored"), "{failed}");
    bench.engine.stop().await;
    drop(bench);

    let bench = open(inner).await;
    bench.insert(&s, &[(Some("z"), 3, 3)]).await;
    assert_eq!(bench.rows(&before).await, ["3"]);
    assert_eq!(bench.rows(&after).await, ["1 1", "2 1", "3 1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_fails_while_its_epoch_is_put_together_leaves_nothing_of_it() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), []));
    let bench = open_with(Arc::clone(&store) as _, |options| options.fold_bytes = 1 << 10).await;
    let s = bench.stream().await;
    let by_value = "SELECT v, count(*) AS n FROM s GROUP BY v";
    let fails = bench.view("fails", by_value, Emission::OnChange).await;
    let goes_on = bench.view("goes_on", by_value, Emission::OnChange).await;
    bench.rows(&goes_on).await;
    let view = bench.engine.view(fails.id).unwrap();
    for round in 1..50 {
        // What folding makes superfluous is looked for when the changes have been put already.
        store.arm(Fault::FailScanOf(fails.id.0.to_be_bytes()));
        bench.insert(&s, &(0..100).map(|v| (None, v, 0)).collect::<Vec<_>>()).await;
        let synced = bench.engine.sync(&[Arc::clone(&view)], bench.engine.journal.last()).await;
        store.disarm();
        let rows = bench.rows(&goes_on).await;
        assert_eq!((rows.len(), &rows[0]), (100, &format!("0 {round}")));
        if let Err(error) = synced {
            assert!(error.message().contains("the read failed"), "{error}");
            assert!(!store.written_since_unread(), "of a failed epoch something has been stored");
            return;
        }
    }
    panic!("folding never looked for what it may delete");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_view_over_a_plain_view_misses_no_change_of_the_view_below() {
    let bench = open(Arc::new(MemoryStore::new())).await;
    let s = bench.stream().await;
    let low =
        bench.view("low", "SELECT v, count(*) AS n FROM s GROUP BY v", Emission::OnChange).await;
    let plain = Kind::View { query: "SELECT * FROM low".to_owned() };
    bench.create("plain", low.columns.clone(), plain, vec![low.id]).await;
    let query = "SELECT count(*) AS g, sum(n) AS n FROM plain";
    let high = bench.view("high", query, Emission::OnChange).await;
    bench.rows(&high).await;
    bench.engine.pause_view(high.id).await.unwrap();
    let rows: Vec<_> = (0..30_000).map(|v| (None, v, 0)).collect();
    for _ in 0..12 {
        bench.insert(&s, &rows).await;
        bench
            .engine
            .sync(&[bench.engine.view(low.id).unwrap()], bench.engine.journal.last())
            .await
            .unwrap();
    }
    bench.engine.resume_view(high.id).unwrap();
    assert_eq!(bench.rows(&high).await, ["30000 360000"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_whose_base_lacks_memory_at_one_start_comes_back_with_it() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let bench = open(Arc::clone(&store)).await;
    let s = bench.stream().await;
    let low = "SELECT v, count(*) AS n FROM s GROUP BY v";
    bench.view("low", low, Emission::OnChange).await;
    let high = "SELECT count(*) AS g, sum(n) AS n FROM low";
    let high = bench.view("high", high, Emission::OnChange).await;
    bench.insert(&s, &(0..200_000).map(|v| (None, v, 0)).collect::<Vec<_>>()).await;
    assert_eq!(bench.rows(&high).await, ["200000 200000"]);
    bench.engine.stop().await;
    drop(bench);

    let bench = open_within(Arc::clone(&store), 4 << 20).await;
    let mut phase = bench.engine.view(high.id).unwrap().phase();
    phase.wait_for(|phase| matches!(phase, Phase::Failed(_))).await.unwrap();
    bench.engine.stop().await;
    drop(bench);

    let bench = open(store).await;
    assert_eq!(bench.rows(&high).await, ["200000 200000"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_has_written_reads_no_less_of_a_view_that_waits_for_room() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), []));
    let bench = open(Arc::clone(&store) as _).await;
    let s = bench.stream().await;
    let count = bench.view("v", "SELECT count(*) AS n FROM s", Emission::OnChange).await;
    bench.insert(&s, &[(None, 1, 1)]).await;
    assert_eq!(bench.rows(&count).await, ["1"]);
    let view = bench.engine.view(count.id).unwrap();
    let (mut phase, mut is_refused) = (view.phase(), false);
    for n in 2..20 {
        // The next commit is the rows', the one after it the view's.
        store.arm(Fault::FailCommit(store.commits() + 2));
        bench.insert(&s, &[(None, n, n)]).await;
        match bench.engine.sync(&[Arc::clone(&view)], bench.engine.journal.last()).await {
            Ok(()) => assert_eq!(bench.rows(&count).await, [n.to_string()]),
            Err(error) => {
                assert_eq!(error.state(), SqlState::DiskFull, "{error}");
                is_refused = true;
            }
        }
        store.disarm();
        phase.wait_for(|phase| *phase == Phase::Running).await.unwrap();
        assert_eq!(bench.rows(&count).await, [n.to_string()], "it goes on by itself");
        if is_refused {
            return;
        }
    }
    panic!("no commit of the view has failed");
}

/// What is stored of a view's changes after an epoch.
pub(super) fn is_kept(bench: &Bench, view: &Relation, epoch: u64) -> bool {
    matches!(changes_since(bench.store.as_ref(), view.id, epoch).unwrap(), Since::Changes(_))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_slow_continuous_query_has_not_read_of_a_view_is_kept_for_it() {
    let bench = open(Arc::new(MemoryStore::new())).await;
    let s = bench.stream().await;
    let low =
        bench.view("low", "SELECT v, count(*) AS n FROM s GROUP BY v", Emission::OnChange).await;
    let rows: Vec<_> = (0..30_000).map(|v| (None, v, 0)).collect();
    bench.insert(&s, &rows).await;
    assert_eq!(bench.rows(&low).await.len(), 30_000);
    let view = bench.engine.view(low.id).unwrap();
    let epoch = view.version().epoch;
    let query = Arc::new(TemporaryQuery::new(0, vec![low.id], String::new()));
    *query.places.lock() = vec![(low.id, epoch)];
    bench.engine.temporary.lock().insert(query.id, query);
    for _ in 0..8 {
        bench.insert(&s, &rows).await;
        bench.engine.sync(&[Arc::clone(&view)], bench.engine.journal.last()).await.unwrap();
    }
    assert!(is_kept(&bench, &low, epoch));
    bench.engine.temporary.lock().clear();
    for _ in 0..8 {
        bench.insert(&s, &rows).await;
        bench.engine.sync(&[Arc::clone(&view)], bench.engine.journal.last()).await.unwrap();
    }
    assert!(!is_kept(&bench, &low, epoch), "nobody needs them any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_insert_is_one_epoch_and_the_commit_of_that_is_known_to_hold_nothing_to_be_read() {
    let bench = open(Arc::new(MemoryStore::new())).await;
    let s = bench.stream().await;
    let view = bench.view("v", "SELECT count(*) AS n FROM s", Emission::OnChange).await;
    let handle = bench.engine.view(view.id).unwrap();
    // From then on it takes part in the common epochs.
    let mut phase = handle.phase();
    phase.wait_for(|phase| *phase == Phase::Running).await.unwrap();
    for n in 1..=20 {
        let (epoch, commit) = (bench.engine.last_epoch(), bench.engine.journal.last().0);
        bench.insert(&s, &[(Some("a"), n, n)]).await;
        assert_eq!(bench.rows(&view).await, [n.to_string()]);
        let version = handle.version();
        assert_eq!((version.epoch, bench.engine.last_epoch()), (epoch + 1, epoch + 1));
        // The insert and its epoch. That the view has come to both is published with the rows: no
        // other epoch has to find that out.
        assert_eq!((version.commit.0, bench.engine.journal.last().0), (commit + 2, commit + 2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_late_rows_of_an_epoch_only_those_are_written_that_are_kept() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), []));
    let bench = open(Arc::clone(&store) as _).await;
    let s = bench.stream().await;
    let tumble = "SELECT window_start, max(v) AS v FROM TUMBLE(s, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end";
    let view = bench.view("t", tumble, Emission::OnClose).await;
    bench.insert(&s, &[(None, 1, 1), (None, 2, 1_000)]).await;
    assert_eq!(bench.rows(&view).await, ["1970-01-01T00:00:00 1"]);
    bench.insert(&s, &(0..9_000).map(|v| (None, v, 5)).collect::<Vec<_>>()).await;
    assert_eq!(bench.rows(&view).await, ["1970-01-01T00:00:00 1"]);
    let most = limits::KEPT_ROWS;
    assert!((most..most + 50).contains(&store.most_changes()), "{} keys", store.most_changes());
    let values = |bench: &Bench| -> Vec<i64> {
        let kept = bench.engine.view(view.id).unwrap().late_rows();
        let value = |row: &RecordBatch| row["v"].as_primitive::<Int64Type>().value(0);
        kept.iter().map(|late| value(&late.row)).collect()
    };
    let newest: Vec<i64> = (9_000 - most as i64..9_000).collect();
    assert_eq!(values(&bench), newest);
    let handle = bench.engine.view(view.id).unwrap();
    assert_eq!(handle.figures().counters.late_rows, 9_000);
    bench.engine.stop().await;
    drop(bench);

    let bench = open(store.inner()).await;
    bench.rows(&view).await;
    assert_eq!(values(&bench), newest, "also after a restart");
}
