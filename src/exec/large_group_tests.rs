//! One group of many values: what a row more costs, and what is read back of the group.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::functions_aggregate as f;
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};

use super::codec::OPERATOR;
use super::folding::{Folded, Folder, Folding};
use super::progress::Progress;
use super::stored::{EpochWriter, load};
use super::tests::sorted_rows;
use crate::catalog::RelationId;
use crate::limits::STATE_PIECE_BYTES;
use crate::operators::{
    AggregateCall, AggregateSpec, Closing, RunningAggregate, Trigger, WindowAggregate, Windowing,
};
use crate::state::fixture::Dice;
use crate::state::{Delta, PieceCursor, RowStore, StateTable};
use crate::store::{MemoryStore, Store, WriteBatch};
use crate::time::{Watermark, WindowKind, WindowSpec};

const ID: RelationId = RelationId(7);

/// A sweep begins after so many bytes.
const SMALLEST: u64 = 3_000;

fn input() -> SchemaRef {
    let column = |name, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        column("k", DataType::Int64),
        column("v", DataType::Float64),
        column("p", DataType::Float64),
        column("ts", DataType::Timestamp(TimeUnit::Millisecond, None)),
    ]))
}

/// `SELECT k, aggregate(v) … GROUP BY k` over rows that only come.
#[derive(Clone)]
struct Asked {
    udaf: Arc<AggregateUDF>,
    distinct: bool,
    /// The share of a percentile.
    share: Option<f64>,
    ordered: bool,
}

impl Asked {
    fn all() -> Vec<Asked> {
        let asked = |udaf, distinct| Asked { udaf, distinct, share: None, ordered: false };
        vec![
            asked(f::count::count_udaf(), true),
            asked(f::sum::sum_udaf(), true),
            asked(f::average::avg_udaf(), true),
            asked(f::median::median_udaf(), false),
            asked(f::median::median_udaf(), true),
            Asked { share: Some(0.3), ..asked(f::percentile_cont::percentile_cont_udaf(), false) },
            asked(f::array_agg::array_agg_udaf(), false),
            Asked { ordered: true, ..asked(f::array_agg::array_agg_udaf(), false) },
        ]
    }

    fn name(&self) -> String {
        format!("{} distinct {} ordered {}", self.udaf.name(), self.distinct, self.ordered)
    }

    fn spec(&self) -> AggregateSpec {
        let value = || -> Arc<dyn PhysicalExpr> { Arc::new(Column::new("v", 1)) };
        let (mut exprs, mut args, mut order) = (vec![value()], vec![1], Vec::new());
        if let Some(share) = self.share {
            exprs.push(Arc::new(Literal::new(ScalarValue::Float64(Some(share)))));
            args.push(2);
        }
        if self.ordered {
            order.push(PhysicalSortExpr::new(value(), Default::default()));
            args.push(1);
        }
        let builder =
            AggregateExprBuilder::new(Arc::clone(&self.udaf), exprs).schema(input()).alias("a");
        let expr = builder.with_distinct(self.distinct).order_by(order).build().unwrap();
        let distinct = self.distinct;
        let call =
            AggregateCall { expr: Arc::new(expr), args, filter: None, distinct, retracts: false };
        AggregateSpec {
            input: input(),
            keys: vec![0],
            standing: vec![],
            aggregates: vec![call],
            window: None,
        }
    }
}

type Row = (i64, Option<f64>);

fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.1))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|_| 0.3))),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|_| 5))),
    ];
    RecordBatch::try_new(input(), columns).unwrap()
}

/// A query between its epochs.
struct Grouped {
    operator: RunningAggregate,
    rows: RowStore,
    folder: Folder,
    progress: Progress,
}

impl Grouped {
    fn open(asked: &Asked, store: &dyn Store) -> Grouped {
        let progress = Progress::read(store, ID).unwrap().unwrap_or_default();
        let mut operator = RunningAggregate::new(asked.spec()).unwrap();
        let mut rows = RowStore::new(operator.schema(), &[]).unwrap();
        let mut state = |_, rows: &RecordBatch| operator.restore_rows(rows);
        load(store, ID, &progress, &mut state, &mut rows).unwrap();
        if progress.epoch > 0 {
            operator.restored().unwrap();
        }
        Grouped { operator, rows, folder: Folder::from_bytes(SMALLEST), progress }
    }

    /// An epoch over these rows: what its commit writes, and how many bytes of that are changed
    /// rows of state.
    fn epoch(&mut self, store: &dyn Store, rows: &[Row]) -> (WriteBatch, u64) {
        self.operator.push(&batch(rows), None).unwrap();
        let delta = self.operator.changes().unwrap();
        let answer_before = self.progress.answer_epoch;
        self.progress.epoch += 1;
        let mut puts = WriteBatch::default();
        let mut writer = EpochWriter::new(ID, self.progress.epoch, &mut puts);
        for rows in self.operator.take_changed().unwrap() {
            writer.put_rows(OPERATOR, &rows).unwrap();
        }
        let changed = writer.bytes;
        self.put_answer(&delta, &mut writer);
        let tables: Vec<(u8, &mut dyn StateTable)> = vec![(OPERATOR, &mut self.operator)];
        let folded = Folded { tables, rows: &self.rows, answer_before, folding: Folding::Allowed };
        self.folder.fold(store, &mut self.progress, folded, &mut writer).unwrap();
        self.progress.write(ID, &mut puts).unwrap();
        (puts, changed)
    }

    fn put_answer(&mut self, delta: &Delta, writer: &mut EpochWriter<'_>) {
        if delta.is_empty() {
            return;
        }
        let applied = self.rows.apply(delta).unwrap();
        self.progress.retracts |= !applied.removed.is_empty();
        self.progress.answer_epoch = self.progress.epoch;
        writer.put_change(delta, &applied).unwrap();
        self.progress.next_row = self.rows.next_number();
    }

    fn answer(&self) -> Vec<String> {
        sorted_rows(&self.rows.snapshot().batches().unwrap())
    }
}

/// What all rows in one batch give.
fn expected(asked: &Asked, rows: &[Row]) -> Vec<String> {
    let mut operator = RunningAggregate::new(asked.spec()).unwrap();
    operator.push(&batch(rows), None).unwrap();
    sorted_rows(&[operator.changes().unwrap().batch])
}

#[test]
fn what_a_row_of_a_large_group_writes_does_not_grow_with_the_group() {
    for asked in Asked::all() {
        let (mut changed, mut largest, name) = (Vec::new(), Vec::new(), asked.name());
        for size in [500, 16_000_i64] {
            let store = MemoryStore::new();
            let mut query = Grouped::open(&asked, &store);
            let mut all: Vec<Row> =
                (0..size).map(|v| (0, Some((v * 7_919 % size) as f64))).collect();
            for rows in all.clone().chunks(4_000) {
                store.commit(query.epoch(&store, rows).0).unwrap();
            }
            let (mut state, mut commit) = (0, 0);
            for v in 0..30 {
                let row = (0, Some((size + v) as f64 / 2.0));
                let (puts, bytes) = query.epoch(&store, &[row]);
                (state, commit) = (bytes.max(state), puts.bytes().max(commit));
                store.commit(puts).unwrap();
                all.push(row);
            }
            changed.push(state);
            largest.push(commit);
            let restored = Grouped::open(&asked, &store);
            assert_eq!(restored.answer(), expected(&asked, &all), "{name}");
        }
        assert!(changed[1] <= changed[0] + 100, "{name}: {changed:?}");
        // A list is an answer as long as the group.
        let is_list = asked.udaf.name() == "array_agg";
        assert!(is_list || largest[1] <= largest[0] + 2 * STATE_PIECE_BYTES, "{name}: {largest:?}");
    }
}

#[test]
fn neither_splits_nor_restarts_show_in_the_answer_of_a_group() {
    for asked in Asked::all() {
        for seed in 0..6_u64 {
            let mut dice = Dice(seed);
            let mut roll = |sides: u64| dice.roll(sides);
            let store = MemoryStore::new();
            let mut query = Grouped::open(&asked, &store);
            let mut all: Vec<Row> = Vec::new();
            for step in 0..60 {
                let rows: Vec<Row> = (0..1 + roll(40))
                    .map(|_| (roll(3) as i64, (roll(9) > 0).then(|| roll(200) as f64 / 4.0 - 9.0)))
                    .collect();
                let before = query.answer();
                let (puts, _) = query.epoch(&store, &rows);
                if roll(6) == 0 {
                    // The commit is lost.
                    query = Grouped::open(&asked, &store);
                    assert_eq!(query.answer(), before, "{} seed {seed} step {step}", asked.name());
                    continue;
                }
                store.commit(puts).unwrap();
                all.extend(rows);
                if roll(5) == 0 {
                    query = Grouped::open(&asked, &store);
                }
                assert_eq!(
                    query.answer(),
                    expected(&asked, &all),
                    "{} seed {seed} step {step}",
                    asked.name()
                );
            }
        }
    }
}

fn closed(operator: &mut WindowAggregate) -> Vec<RecordBatch> {
    let mut out = Vec::new();
    while operator.close(Watermark::INFINITY, &mut out).unwrap() == Closing::More {}
    out.into_iter().map(|delta| delta.batch).collect()
}

#[test]
fn windows_with_a_group_larger_than_a_piece_are_restored_from_their_pieces() {
    for kind in [WindowKind::Tumble { size: 10 }, WindowKind::Hop { slide: 5, size: 10 }] {
        let mut spec = Asked::all()[0].spec();
        // One that counts a group twice if a piece has it twice.
        let builder =
            AggregateExprBuilder::new(f::sum::sum_udaf(), vec![Arc::new(Column::new("v", 1))]);
        let expr = Arc::new(builder.schema(input()).alias("s").build().unwrap());
        spec.aggregates.push(AggregateCall { expr, distinct: false, ..spec.aggregates[0].clone() });
        spec.aggregates.push(Asked::all()[6].spec().aggregates.remove(0));
        let windows = WindowSpec { kind, offset: 0 };
        spec.window =
            Some(Windowing { spec: windows, time: 3, trigger: Trigger::OnClose, lateness: 0 });
        let mut operator = WindowAggregate::new(spec.clone()).unwrap();
        let rows: Vec<Row> = (0..80_000).map(|v| (v % 4 % 3, Some(v as f64))).collect();
        operator.push(&batch(&rows)).unwrap();
        operator.take_changed().unwrap();
        let mut restored = WindowAggregate::new(spec).unwrap();
        let (mut cursor, mut pieces) = (PieceCursor::default(), 0);
        while let Some(piece) = operator.piece(&mut cursor, 1_000).unwrap() {
            restored.restore_rows(&piece).unwrap();
            pieces += 1;
            if pieces == 2 {
                operator.push(&batch(&[(0, Some(-1.0)), (1, Some(1e9))])).unwrap();
            }
        }
        assert!((4..30).contains(&pieces), "{pieces} pieces");
        operator
            .take_changed()
            .unwrap()
            .iter()
            .for_each(|rows| restored.restore_rows(rows).unwrap());
        restored.restored().unwrap();
        assert!(closed(&mut restored) == closed(&mut operator), "{kind:?}");
    }
}
