//! What is stored of a query over many epochs, with crashes between, and how much a commit writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::Column;

use super::codec::{ANSWER, OPERATOR, key, prefix, weighted};
use super::folding::{Folded, Folder, Folding};
use super::progress::Progress;
use super::stored::{EpochWriter, Since, changes_since, load};
use crate::catalog::RelationId;
use crate::limits::STATE_PIECE_BYTES;
use crate::operators::{AggregateCall, AggregateSpec, RunningAggregate};
use crate::state::fixture::Dice;
use crate::state::{Delta, RowStore, StateTable};
use crate::store::codec::decode_json;
use crate::store::{MemoryStore, Space, Store, WriteBatch};

const ID: RelationId = RelationId(7);

fn input() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, false),
        Field::new("v", DataType::Int64, false),
    ]))
}

/// `SELECT k, count(*), sum(v) … GROUP BY k` over rows that come and go.
fn spec() -> AggregateSpec {
    let call = |udaf, args: Vec<usize>| {
        let builder = AggregateExprBuilder::new(udaf, vec![Arc::new(Column::new("v", 1))]);
        let expr = Arc::new(builder.schema(input()).alias("a").build().unwrap());
        AggregateCall { expr, args, filter: None, distinct: false, retracts: true }
    };
    let aggregates = vec![call(count_udaf(), vec![]), call(sum_udaf(), vec![1])];
    AggregateSpec { input: input(), keys: vec![0], standing: vec![], aggregates, window: None }
}

/// A query between its epochs.
struct Query {
    operator: RunningAggregate,
    rows: RowStore,
    folder: Folder,
    progress: Progress,
}

impl Query {
    fn open(store: &dyn Store, smallest: u64) -> Query {
        let progress = Progress::read(store, ID).unwrap().unwrap_or_default();
        let mut operator = RunningAggregate::new(spec()).unwrap();
        let mut rows = RowStore::new(operator.schema(), &[]).unwrap();
        let mut state = |part: u8, rows: &RecordBatch| {
            assert_eq!(part, OPERATOR);
            operator.restore_rows(rows)
        };
        load(store, ID, &progress, &mut state, &mut rows).unwrap();
        if progress.epoch > 0 {
            operator.restored().unwrap();
        }
        Query { operator, rows, folder: Folder::from_bytes(smallest), progress }
    }

    /// An epoch over rows with weights; what it adds to a commit.
    fn epoch(
        &mut self,
        store: &dyn Store,
        change: &[(i64, i64, i64)],
        folding: Folding,
    ) -> WriteBatch {
        let column = |at: fn(&(i64, i64, i64)) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(change.iter().map(at)))
        };
        let batch =
            RecordBatch::try_new(input(), vec![column(|row| row.0), column(|row| row.1)]).unwrap();
        let weights = Int64Array::from_iter_values(change.iter().map(|row| row.2));
        self.operator.push(&batch, Some(&weights)).unwrap();
        let delta = self.operator.changes().unwrap();
        let epoch = self.progress.epoch + 1;
        let answer_before = self.progress.answer_epoch;
        let mut puts = WriteBatch::default();
        let mut writer = EpochWriter::new(ID, epoch, &mut puts);
        for rows in self.operator.take_changed().unwrap() {
            writer.put_rows(OPERATOR, &rows).unwrap();
        }
        if !delta.is_empty() {
            let applied = self.rows.apply(&delta).unwrap();
            self.progress.retracts |= !applied.removed.is_empty();
            self.progress.answer_epoch = epoch;
            writer.put_change(&delta, &applied).unwrap();
        }
        self.progress.epoch = epoch;
        self.progress.next_row = self.rows.next_number();
        let tables: Vec<(u8, &mut dyn StateTable)> = vec![(OPERATOR, &mut self.operator)];
        let folded = Folded { tables, rows: &self.rows, answer_before, folding };
        self.folder.fold(store, &mut self.progress, folded, &mut writer).unwrap();
        self.progress.write(ID, &mut puts).unwrap();
        puts
    }

    fn answer(&self) -> Vec<Vec<i64>> {
        let mut rows = Vec::new();
        for batch in self.rows.snapshot().batches().unwrap() {
            for row in 0..batch.num_rows() {
                let columns = batch.columns().iter();
                rows.push(columns.map(|c| c.as_primitive::<Int64Type>().value(row)).collect());
            }
        }
        rows.sort();
        rows
    }
}

/// The answer by hand.
fn expected(rows: &[(i64, i64)]) -> Vec<Vec<i64>> {
    let mut groups = BTreeMap::<i64, (i64, i64)>::new();
    for (key, value) in rows {
        let group = groups.entry(*key).or_default();
        *group = (group.0 + 1, group.1 + value);
    }
    groups.into_iter().map(|(key, (count, sum))| vec![key, count, sum]).collect()
}

#[test]
fn what_is_read_back_after_a_crash_is_what_was_committed() {
    let mut sweeps = 0;
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let store = MemoryStore::new();
        let mut query = Query::open(&store, 3_000);
        let mut rows: Vec<(i64, i64)> = Vec::new();
        for step in 0..80 {
            let committed = rows.clone();
            let mut after = rows.clone();
            let mut change = Vec::new();
            for _ in 0..dice.roll(12) {
                let row = (dice.roll(60) as i64, dice.roll(100) as i64);
                after.push(row);
                change.push((row.0, row.1, 1));
            }
            for _ in 0..dice.roll(12).min(rows.len() as u64) {
                // Of the rows that were there before the epoch.
                let at = dice.roll(rows.len() as u64) as usize;
                let row = rows.swap_remove(at);
                let at = after.iter().position(|other| *other == row).unwrap();
                after.swap_remove(at);
                change.push((row.0, row.1, -1));
            }
            let before = query.answer();
            let folding = if dice.roll(3) == 0 { Folding::Held } else { Folding::Allowed };
            let folded = query.progress.folded;
            let puts = query.epoch(&store, &change, folding);
            sweeps += usize::from(query.progress.folded > folded);
            if dice.roll(9) == 0 {
                // The commit is lost, and so is what it would have made of the rows.
                query = Query::open(&store, 3_000);
                assert_eq!(query.answer(), before, "seed {seed} step {step}");
                rows = committed;
                continue;
            }
            store.commit(puts).unwrap();
            rows = after;
            assert_eq!(query.answer(), expected(&rows), "seed {seed} step {step}");
            if dice.roll(6) == 0 {
                query = Query::open(&store, 3_000);
                assert_eq!(query.answer(), expected(&rows), "seed {seed} step {step}: restored");
            }
            // Whoever has read up to the last epoch has nothing to read.
            let since = changes_since(&store, ID, query.progress.epoch).unwrap();
            assert!(matches!(since, Since::Changes(changes) if changes.is_empty()));
        }
    }
    assert!(sweeps > 100, "{sweeps} sweeps came to their end");
}

#[test]
fn what_a_commit_writes_does_not_grow_with_the_state() {
    let (mut largest, mut total) = (Vec::new(), Vec::new());
    for keys in [5_000, 150_000_i64] {
        let store = MemoryStore::new();
        let mut query = Query::open(&store, 1 << 20);
        for from in (0..keys).step_by(5_000) {
            let change: Vec<_> = (from..from + 5_000).map(|k| (k, k, 1)).collect();
            let puts = query.epoch(&store, &change, Folding::Allowed);
            store.commit(puts).unwrap();
        }
        let mut dice = Dice(3);
        let (mut most, mut sum, mut deleted) = (0, 0, 0);
        for _ in 0..300 {
            let change: Vec<_> = (0..200).map(|_| (dice.roll(keys as u64) as i64, 1, 1)).collect();
            let puts = query.epoch(&store, &change, Folding::Allowed);
            let bytes = puts.bytes();
            (most, sum) = (bytes.max(most), sum + bytes);
            deleted = deleted.max(puts.changes.len());
            store.commit(puts).unwrap();
        }
        assert!(deleted < 200, "{deleted} changes of keys in a commit");
        largest.push(most);
        total.push(sum);
        let restored = Query::open(&store, 1 << 20);
        assert_eq!(restored.answer(), query.answer());
        let stored = store.bytes() as usize;
        let state = query.operator.size() + query.rows.bytes();
        assert!(stored < 5 * state + (6 << 20), "{stored} bytes stored of {state} in memory");
    }
    assert!(largest[1] <= largest[0] + 2 * STATE_PIECE_BYTES, "{largest:?}");
    assert!(total[1] <= 3 * total[0], "{total:?}");
}

/// What version 1 of the format stored: state and answer each as one base.
fn write_version_1(store: &dyn Store, query: &Query) {
    let mut puts = WriteBatch::default();
    puts.put(Space::State, key(ID, 5, OPERATOR, 0), ipc_stream(&query.operator.whole().unwrap()));
    for (i, batch) in (0..).zip(query.rows.snapshot().batches().unwrap()) {
        let rows = weighted(&Delta::insert(batch)).unwrap();
        puts.put(Space::Views, key(ID, 4, ANSWER, i), ipc_stream(&rows));
    }
    let mut before = Progress::default();
    (before.base_epoch, before.epoch, before.answer_epoch) = (4, 5, 5);
    before.write(ID, &mut puts).unwrap();
    store.commit(puts).unwrap();
    let progress = store.get(Space::Meta, b"query/0000000000000007").unwrap().unwrap();
    let mut progress: serde_json::Value = decode_json(1, progress).unwrap();
    let fields = progress.as_object_mut().unwrap();
    for field in ["folded", "folded_answer", "next_row", "retracts"] {
        fields.remove(field).unwrap();
    }
    fields.insert("format".to_owned(), 1.into());
    let mut puts = WriteBatch::default();
    puts.put(
        Space::Meta,
        b"query/0000000000000007".to_vec(),
        serde_json::to_vec(&progress).unwrap(),
    );
    store.commit(puts).unwrap();
}

/// State as it was stored before it had a checksum.
fn ipc_stream(batch: &RecordBatch) -> Vec<u8> {
    let mut stream = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    stream.write(batch).unwrap();
    stream.into_inner().unwrap()
}

#[test]
fn a_base_of_the_first_version_is_read_and_folded_away() {
    let store = MemoryStore::new();
    let mut old = Query::open(&store, 3_000);
    let mut rows: Vec<(i64, i64)> = (0..500).map(|k| (k % 100, k)).collect();
    let change: Vec<_> = rows.iter().map(|row| (row.0, row.1, 1)).collect();
    let _ = old.epoch(&store, &change, Folding::Allowed);
    write_version_1(&store, &old);
    let mut query = Query::open(&store, 3_000);
    assert_eq!(query.answer(), expected(&rows));
    for step in 0..60 {
        rows.push((step, 1));
        let puts = query.epoch(&store, &[(step, 1, 1)], Folding::Allowed);
        store.commit(puts).unwrap();
        if step % 7 == 0 {
            query = Query::open(&store, 3_000);
        }
        assert_eq!(query.answer(), expected(&rows), "step {step}");
    }
    for space in [Space::State, Space::Views] {
        let old = store.keys(space, &prefix(ID), &key(ID, 6, 0, 0)).unwrap();
        assert_eq!(old.count(), 0, "{} of the first version is gone", space.name());
    }
}
