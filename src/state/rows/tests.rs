//! The rows of a store against a plain list.

use super::*;
use crate::state::fixture::Dice;
use arrow::array::{AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};

fn batch(rows: &[(i64, Option<&str>)]) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, false),
        Field::new("t", DataType::Utf8, true),
    ]));
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0)));
    let text: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|r| r.1)));
    RecordBatch::try_new(schema, vec![keys, text]).unwrap()
}

fn keys(snapshot: &Snapshot) -> Vec<i64> {
    let batches = snapshot.batches().unwrap();
    let mut keys: Vec<i64> = batches
        .iter()
        .flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec())
        .collect();
    keys.sort_unstable();
    keys
}

#[test]
fn rows_come_and_go_by_value_and_a_snapshot_stays_as_it_was() {
    let mut store = RowStore::new(batch(&[]).schema(), &[]).unwrap();
    let mut expect: Vec<i64> = Vec::new();
    for round in 0..60_i64 {
        let old = (store.snapshot(), expect.clone());
        let new: Vec<_> = (round * 100..round * 100 + 150).map(|k| (k, None)).collect();
        store.apply(&Delta::insert(batch(&new))).unwrap();
        expect.extend(new.iter().map(|r| r.0));
        if round >= 2 {
            let gone: Vec<_> = (round * 100 - 200..round * 100 - 100).map(|k| (k, None)).collect();
            let weights = Int64Array::from_value(-1, gone.len());
            store.apply(&Delta::new(batch(&gone), weights)).unwrap();
            for (key, _) in gone {
                let at = expect.iter().position(|&k| k == key).unwrap();
                expect.remove(at);
            }
        }
        expect.sort_unstable();
        assert_eq!(keys(&store.snapshot()), expect);
        assert_eq!(keys(&old.0), old.1);
        assert_eq!(store.rows(), expect.len());
    }
    let error = store.apply(&Delta::new(batch(&[(-1, Some("x"))]), Int64Array::from(vec![-1])));
    assert_eq!(error.unwrap_err().state(), SqlState::Internal);
}

#[test]
fn a_primary_key_finds_its_row_and_refuses_a_second_one() {
    let mut store = RowStore::new(batch(&[]).schema(), &[0]).unwrap();
    store.insert(&batch(&[(1, Some("a")), (2, None)])).unwrap();
    let find =
        |store: &RowStore, k: i64| store.find(&[Arc::new(Int64Array::from(vec![k]))]).unwrap()[0];
    assert_eq!(find(&store, 3), None);
    let at = find(&store, 1).unwrap();
    assert_eq!(store.fetch(&[at]).unwrap(), batch(&[(1, Some("a"))]));
    // A key is given anew in one change.
    let change =
        Delta::new(batch(&[(1, Some("b")), (1, Some("a"))]), Int64Array::from(vec![1, -1]));
    store.apply(&change).unwrap();
    let at = find(&store, 1).unwrap();
    assert_eq!(store.fetch(&[at]).unwrap(), batch(&[(1, Some("b"))]));
    store.delete(&[at]).unwrap();
    assert_eq!((find(&store, 1), store.rows()), (None, 1));
    let error = store.insert(&batch(&[(2, None)])).unwrap_err();
    assert_eq!(error.state(), SqlState::Unique);
}

type Row = (i64, Option<&'static str>);

fn contents(store: &RowStore) -> Vec<(i64, Option<String>)> {
    let mut rows = Vec::new();
    for batch in store.snapshot().batches().unwrap() {
        let (keys, text) =
            (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string::<i32>());
        rows.extend(
            (0..batch.num_rows())
                .map(|i| (keys.value(i), text.iter().nth(i).unwrap().map(str::to_owned))),
        );
    }
    rows.sort();
    rows
}

fn owned(rows: &[Row]) -> Vec<(i64, Option<String>)> {
    let mut rows: Vec<_> = rows.iter().map(|r| (r.0, r.1.map(str::to_owned))).collect();
    rows.sort();
    rows
}

/// The rows after a change, if it is possible.
fn naive(rows: &[Row], change: &[(Row, i64)], keyed: bool) -> Option<Vec<Row>> {
    let mut counts = std::collections::BTreeMap::<Row, i64>::new();
    rows.iter().for_each(|row| *counts.entry(*row).or_default() += 1);
    change.iter().for_each(|(row, weight)| *counts.entry(*row).or_default() += weight);
    if counts.values().any(|&count| count < 0) {
        return None;
    }
    let rows: Vec<Row> = counts
        .into_iter()
        .flat_map(|(row, count)| std::iter::repeat_n(row, count as usize))
        .collect();
    let keys: std::collections::BTreeSet<i64> = rows.iter().map(|r| r.0).collect();
    (!keyed || keys.len() == rows.len()).then_some(rows)
}

#[test]
fn any_change_gives_what_a_plain_list_gives_or_leaves_the_rows_as_they_were() {
    let (mut done, mut refused) = (0, 0);
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let keyed = seed % 2 == 0;
        let mut store = RowStore::new(batch(&[]).schema(), if keyed { &[0] } else { &[] }).unwrap();
        let mut rows: Vec<Row> = Vec::new();
        for _ in 0..60 {
            let mut change: Vec<(Row, i64)> = Vec::new();
            for _ in 0..dice.roll(12) {
                let row =
                    (dice.roll(40) as i64, [None, Some(""), Some("text")][dice.roll(3) as usize]);
                change.push((row, 1 + (dice.roll(8) == 0) as i64));
            }
            for _ in 0..dice.roll(12).min(rows.len() as u64) {
                change.push((rows[dice.roll(rows.len() as u64) as usize], -1));
            }
            let delta = Delta::new(
                batch(&change.iter().map(|c| c.0).collect::<Vec<_>>()),
                Int64Array::from_iter_values(change.iter().map(|c| c.1)),
            );
            match (store.apply(&delta), naive(&rows, &change, keyed)) {
                (Ok(_), Some(after)) => {
                    rows = after;
                    done += 1;
                }
                (Err(_), None) => refused += 1,
                (got, expect) => panic!("seed {seed}: {got:?} but {expect:?}"),
            }
            assert_eq!(contents(&store), owned(&rows), "seed {seed}");
            assert_eq!(store.rows(), rows.len());
            if keyed {
                let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..40));
                let found = store.find(&[keys]).unwrap();
                let there: Vec<Location> = found.iter().flatten().copied().collect();
                assert_eq!(there.len(), rows.len());
                let fetched = store.fetch(&there).unwrap();
                let fetched = fetched.column(0).as_primitive::<Int64Type>().values().to_vec();
                let expect: Vec<i64> = (0..40).filter(|k| found[*k as usize].is_some()).collect();
                assert_eq!(fetched, expect);
                if dice.roll(4) == 0 && !there.is_empty() {
                    store.delete(&there[..1]).unwrap();
                    rows.retain(|r| r.0 != expect[0]);
                }
            }
        }
    }
    assert!(done > 500 && refused > 200, "{done} {refused}");
}

#[test]
fn a_row_that_is_there_a_hundred_thousand_times_is_taken_back_as_quickly_as_another() {
    let same = vec![(7, Some("x")); 100_000];
    let mut store = RowStore::new(batch(&[]).schema(), &[]).unwrap();
    store.insert(&batch(&same)).unwrap();
    for _ in 0..10 {
        let delta = Delta::new(batch(&same[..10_000]), Int64Array::from_value(-1, 10_000));
        store.apply(&delta).unwrap();
    }
    assert_eq!((store.rows(), store.snapshot().rows()), (0, 0));
}

#[test]
fn rows_restored_by_number_are_those_that_were_there() {
    for seed in 0..80 {
        let mut dice = Dice(seed + 500);
        let mut store = RowStore::new(batch(&[]).schema(), &[]).unwrap();
        let mut rows: Vec<i64> = Vec::new();
        let (mut parts, mut removed) = (Vec::<NumberedRows>::new(), Vec::<u64>::new());
        let mut cursor = 0;
        for step in 0..40 {
            let count = dice.roll(30) as i64;
            let new: Vec<Row> = (0..count).map(|i| (step * 100 + i, Some("x"))).collect();
            rows.extend(new.iter().map(|row| row.0));
            let mut change: Vec<(Row, i64)> = new.into_iter().map(|row| (row, 1)).collect();
            for _ in 0..dice.roll(25).min(rows.len() as u64) {
                let gone = rows.swap_remove(dice.roll(rows.len() as u64) as usize);
                change.push(((gone, Some("x")), -1));
            }
            let all = batch(&change.iter().map(|c| c.0).collect::<Vec<_>>());
            let weights = Int64Array::from_iter_values(change.iter().map(|c| c.1));
            let applied = store.apply(&Delta::new(all.clone(), weights)).unwrap();
            let numbers = applied.first..applied.first + applied.added.len() as u64;
            let batch = take_record_batch(&all, &UInt32Array::from(applied.added)).unwrap();
            parts.push(NumberedRows { numbers: numbers.collect(), batch });
            removed.extend(applied.removed.iter().map(|row| row.1));
            // A sweep through the pieces; when it begins anew, what was before it is not needed.
            match store.piece(cursor, 1 + dice.roll(20) as usize).unwrap() {
                Some((piece, next)) => {
                    if cursor == 0 && dice.roll(2) == 0 {
                        parts = store_parts(&store);
                        removed.clear();
                    }
                    parts.push(piece);
                    cursor = next;
                }
                None => cursor = 0,
            }
            if dice.roll(4) == 0 {
                let mut restored = RowStore::new(store.schema(), &[]).unwrap();
                restored.restore(parts.clone(), removed.clone(), store.next_number()).unwrap();
                assert_eq!(contents(&restored), contents(&store), "seed {seed} step {step}");
                assert_eq!(restored.rows(), rows.len());
                assert_eq!(restored.next_number(), store.next_number());
                (store, cursor) = (restored, 0);
            }
        }
        assert_eq!(store.rows(), rows.len());
    }
}

/// A whole sweep at one moment.
fn store_parts(store: &RowStore) -> Vec<NumberedRows> {
    let (mut parts, mut from) = (Vec::new(), 0);
    while let Some((piece, next)) = store.piece(from, 7).unwrap() {
        parts.push(piece);
        from = next;
    }
    parts
}

#[test]
fn what_is_counted_of_chunks_is_what_they_take_and_they_stay_few() {
    let mut store = RowStore::new(batch(&[]).schema(), &[]).unwrap();
    let all: Vec<Row> = (0..40_000).map(|k| (k, Some("x"))).collect();
    store.insert(&batch(&all)).unwrap();
    let mut dice = Dice(1);
    for round in 0..400 {
        let old =
            batch(&(0..250).map(|i| ((i * 160 + round) % 40_000, Some("x"))).collect::<Vec<_>>());
        store.apply(&Delta::new(old.clone(), Int64Array::from_value(-1, 250))).unwrap();
        store.insert(&old).unwrap();
        if dice.roll(20) == 0 {
            let walked: usize = store.chunks.iter().map(Chunk::bytes).sum();
            assert_eq!(store.chunk_bytes, walked);
            assert_eq!(store.sparse, store.chunks.iter().filter(|chunk| chunk.is_sparse()).count());
        }
    }
    let there: usize = store.chunks.iter().map(Chunk::len).sum();
    assert_eq!(store.rows(), 40_000);
    assert!(
        there < 90_000 && store.chunks.len() < 60,
        "{there} rows in {} chunks",
        store.chunks.len()
    );
}
