//! Static tables that change while a query over them is put together or runs an epoch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;

use super::map::Tables;
use super::runner::Runner;
use super::tables::PresentTables;
use super::tests::{Bench, open, sorted_rows};
use crate::catalog::{Emission, Relation};
use crate::error::{Result, SqlState};
use crate::log::TableVersion;
use crate::log::Transaction;
use crate::operators::lateness::{Input, Writes};
use crate::plan::{CutOptions, Pipeline};
use crate::sql;
use crate::state::Delta;
use crate::store::MemoryStore;
use crate::time::Watermark;

/// Tables one of which changes as soon as a plan has been given its version.
struct Racing<'a> {
    tables: PresentTables,
    bench: &'a Bench,
    names: Arc<Relation>,
    has_changed: AtomicBool,
}

impl Tables for Racing<'_> {
    fn resolve(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        let resolved = self.tables.resolve(plan)?;
        if !self.has_changed.swap(true, Ordering::Relaxed) {
            let change = self.bench.fill(&self.names, &[("a", "Anna")]);
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(change));
        }
        Ok(resolved)
    }

    fn version(&self, pipeline: &Pipeline) -> Result<u64> {
        self.tables.version(pipeline)
    }

    fn table(&self, relation: &Relation) -> Result<Arc<TableVersion>> {
        self.tables.table(relation)
    }

    fn now_ms(&self) -> i64 {
        self.tables.now_ms()
    }
}

impl Bench {
    fn racing(&self, names: &Arc<Relation>) -> Racing<'_> {
        Racing {
            tables: PresentTables::new(&self.engine),
            bench: self,
            names: Arc::clone(names),
            has_changed: AtomicBool::new(false),
        }
    }

    pub(super) async fn pipeline(&self, query: &str) -> (Arc<Pipeline>, Arc<SessionState>) {
        let options = CutOptions {
            emission: Emission::OnChange,
            lateness_ms: 0,
            limit_ends: true,
            state: Default::default(),
        };
        let parsed = sql::parse_query(query).unwrap();
        let planned =
            super::define::continuous_pipeline(&self.engine, &parsed.query, options).await;
        let (pipeline, state, _) = planned.unwrap();
        (Arc::new(pipeline), state)
    }
}

/// A row with key `a`: of its columns those that the pipeline reads.
pub(super) fn key_a(pipeline: &Pipeline) -> RecordBatch {
    let source = &pipeline.sources[0].scan;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["a"])),
        Arc::new(Int64Array::from(vec![1])),
        Arc::new(TimestampMicrosecondArray::from(vec![1])),
    ];
    let row = RecordBatch::try_new(source.relation.schema(), columns).unwrap();
    row.project(&source.columns).unwrap()
}

/// What one row with key `a` brings.
async fn row_of_a(runner: &mut Runner, tables: &dyn Tables) -> Result<Vec<String>> {
    let row = key_a(runner.pipeline());
    let writes = Writes::Runs(Vec::new());
    let input = Input { batch: row, writes, after: Watermark::NONE, weights: None };
    let mut out: Vec<Delta> = Vec::new();
    runner.accept(0, vec![input], tables, &mut out).await?;
    runner.end(&mut out).await?;
    Ok(sorted_rows(&out.into_iter().map(|delta| delta.batch).collect::<Vec<_>>()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_change_that_commits_while_a_query_is_put_together_is_seen() {
    let bench = open(Arc::new(MemoryStore::new())).await;
    bench.stream().await;
    let names = bench.table().await;
    let query = "SELECT s.k, n.title FROM s LEFT JOIN names n ON s.k = n.k";
    let (pipeline, state) = bench.pipeline(query).await;
    let mut runner = Runner::new(pipeline, state, &bench.racing(&names)).await.unwrap();
    let rows = row_of_a(&mut runner, &PresentTables::new(&bench.engine)).await.unwrap();
    assert_eq!(rows, ["a Anna"]);
    bench.engine.closed(&names);
    let dropped = row_of_a(&mut runner, &PresentTables::new(&bench.engine)).await.unwrap_err();
    assert_eq!(dropped.state(), SqlState::UndefinedTable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_sees_one_version_of_the_tables_below_and_above_an_aggregate() {
    let bench = open(Arc::new(MemoryStore::new())).await;
    bench.stream().await;
    let names = bench.table().await;
    let (pipeline, state) = bench
        .pipeline(
            "SELECT g.k, g.title AS below, n.title AS above, g.n FROM
               (SELECT s.k, n.title, count(*) AS n FROM s LEFT JOIN names n ON n.k = s.k GROUP BY s.k, n.title) g
             LEFT JOIN names n ON n.k = g.k",
        )
        .await;
    let mut runner =
        Runner::new(pipeline, state, &PresentTables::new(&bench.engine)).await.unwrap();
    bench.fill(&names, &[("b", "Bert")]).await;
    assert_eq!(row_of_a(&mut runner, &bench.racing(&names)).await.unwrap(), ["a 1"]);
    let next = row_of_a(&mut runner, &PresentTables::new(&bench.engine)).await.unwrap();
    assert_eq!(next, ["a Anna Anna 1"]);
}

/// Two tables that change in one transaction just before they are asked for something for the
/// `left`th time.
struct RacingPair<'a> {
    tables: PresentTables,
    bench: &'a Bench,
    pair: &'a [Arc<Relation>; 2],
    left: &'a AtomicI64,
}

impl RacingPair<'_> {
    fn asked(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            let change = self.bench.fill_pair(self.pair, "a");
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(change));
        }
    }
}

impl Tables for RacingPair<'_> {
    fn resolve(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        self.asked();
        self.tables.resolve(plan)
    }

    fn version(&self, pipeline: &Pipeline) -> Result<u64> {
        self.asked();
        self.tables.version(pipeline)
    }

    fn table(&self, relation: &Relation) -> Result<Arc<TableVersion>> {
        self.tables.table(relation)
    }

    fn now_ms(&self) -> i64 {
        self.tables.now_ms()
    }
}

impl Bench {
    /// A row in each of two tables, in one transaction.
    async fn fill_pair(&self, pair: &[Arc<Relation>; 2], key: &str) {
        let mut transaction = Transaction::at(0);
        for table in pair {
            self.put(&mut transaction, table, &[(key, "new")]).await;
        }
        self.engine.journal.commit(transaction).await.unwrap();
    }
}

/// What one row brings while both tables change before they are asked for the `at`th time, and what
/// another one brings after that.
async fn rows_around_a_change(query: &str, at: i64) -> [Vec<String>; 2] {
    let bench = open(Arc::new(MemoryStore::new())).await;
    bench.stream().await;
    let names = bench.table().await;
    let more = bench.create("more", names.columns.clone(), names.kind.clone(), Vec::new()).await;
    let (pair, left) = ([names, more], AtomicI64::new(at));
    let racing = || RacingPair {
        tables: PresentTables::new(&bench.engine),
        bench: &bench,
        pair: &pair,
        left: &left,
    };
    let (pipeline, state) = bench.pipeline(query).await;
    let mut runner = Runner::new(pipeline, state, &racing()).await.unwrap();
    // Something has changed in any case, so that the epoch asks for everything anew.
    bench.fill_pair(&pair, "b").await;
    let row = row_of_a(&mut runner, &racing()).await.unwrap();
    while left.load(Ordering::Relaxed) > 0 {
        racing().asked();
    }
    [row, row_of_a(&mut runner, &PresentTables::new(&bench.engine)).await.unwrap()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tables_that_change_together_are_both_old_or_both_new_whenever_that_is() {
    for (below, above) in [("names", "more"), ("more", "names")] {
        let query = format!(
            "SELECT g.k, g.title AS below, y.title AS above, g.n FROM
               (SELECT s.k, x.title, count(*) AS n FROM s LEFT JOIN {below} x ON x.k = s.k GROUP BY s.k, x.title) g
             LEFT JOIN {above} y ON y.k = g.k"
        );
        // Three times while the query is put together, three times in its epoch, and later.
        for at in 1..=7 {
            let [row, next] = rows_around_a_change(&query, at).await;
            // What has committed before the epoch looks is seen by it.
            let is_old = at > 4 && row == ["a 1"];
            assert!(is_old || row == ["a new new 1"], "{query}\n{at}: {row:?}");
            let is_new = |row: &String| row.contains(" new new ");
            assert!(!next.is_empty() && next.iter().all(is_new), "{query}\n{at}: {next:?}");
        }
    }
}
