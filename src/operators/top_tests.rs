//! The first rows of each key against a naive sort: rows that come and go, ties, and restarts.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt64Type};
use arrow::row::SortField;

use super::{Closing, Delta, Operator, RankColumn, Top, TopSpec};
use crate::state::fixture::Dice;
use crate::state::{Numbering, Tally, Wanted};
use crate::time::Watermark;

/// Key, order, and a value.
type Row = [Option<i64>; 3];

fn schema() -> Schema {
    let field = |name: &str| Field::new(name, DataType::Int64, true);
    Schema::new(vec![field("k"), field("o"), field("v")])
}

fn delta(rows: &[(Row, i64)], weighted: bool) -> Delta {
    let column = |at: usize| -> ArrayRef {
        Arc::new(Int64Array::from_iter(rows.iter().map(|(row, _)| row[at])))
    };
    let batch = RecordBatch::try_new(Arc::new(schema()), (0..3).map(column).collect()).unwrap();
    let weights = Int64Array::from_iter_values(rows.iter().map(|row| row.1));
    Delta { batch, weights: weighted.then_some(weights) }
}

fn spec(by_key: bool, options: SortOptions, wanted: Wanted, is_read: bool) -> TopSpec {
    TopSpec {
        keys: if by_key { vec![0] } else { vec![] },
        order: vec![(1, SortField::new_with_options(DataType::Int64, options))],
        wanted,
        width: 3,
        rank: Some(RankColumn { name: "rn".to_owned(), is_read }),
    }
}

/// The rows that are wanted, with their numbers where these are read: how often each is there.
fn naive(all: &[Row], spec: &TopSpec, options: SortOptions) -> BTreeMap<(Row, u64), i64> {
    let mut sorted = all.to_vec();
    // NULL stands where it is put, whichever way the values go.
    sorted.sort_by(|a, b| match (a[1], b[1]) {
        (Some(a), Some(b)) => {
            if options.descending {
                b.cmp(&a)
            } else {
                a.cmp(&b)
            }
        }
        (a, b) => {
            if options.nulls_first {
                a.cmp(&b)
            } else {
                b.is_some().cmp(&a.is_some())
            }
        }
    });
    let mut keys: BTreeMap<Option<i64>, (Tally, Option<Row>)> = BTreeMap::new();
    let mut answer = BTreeMap::new();
    for row in sorted {
        let key = if spec.keys.is_empty() { None } else { row[0] };
        let (count, last) = keys.entry(key).or_default();
        let begins = last.replace(row).is_none_or(|last| last[1] != row[1]);
        let number = spec.wanted.numbering.next(count, begins);
        if number > spec.wanted.skip && number - spec.wanted.skip <= spec.wanted.count {
            let shown = if spec.rank.as_ref().unwrap().is_read { number } else { 0 };
            *answer.entry((row, shown as u64)).or_default() += 1;
        }
    }
    answer
}

/// Takes a change of the answer in; nothing in it cancels out.
fn take_in(view: &mut BTreeMap<(Row, u64), i64>, changes: Vec<Delta>) {
    let mut whole: BTreeMap<(Row, u64), i64> = BTreeMap::new();
    for delta in changes {
        let column = |at: usize| delta.batch.column(at).as_primitive::<Int64Type>();
        let values = [column(0), column(1), column(2)];
        let ranks = delta.batch.column(3).as_primitive::<UInt64Type>();
        for at in 0..delta.rows() {
            let row = values.map(|column| column.iter().nth(at).unwrap());
            let sum = whole.entry((row, ranks.value(at))).or_default();
            assert!(*sum * delta.weight(at) >= 0, "a row leaves and enters in one epoch");
            *sum += delta.weight(at);
        }
    }
    for (row, weight) in whole {
        let count = view.entry(row).or_default();
        *count += weight;
        assert!(*count >= 0, "a row is taken back that had not been given");
        if *count == 0 {
            view.remove(&row);
        }
    }
}

fn settled(top: &mut Top) -> Vec<Delta> {
    let mut out = Vec::new();
    while top.settle(&[Watermark::NONE], &mut out).unwrap() == Closing::More {}
    out
}

fn restored(spec: &TopSpec, stored: &[RecordBatch]) -> Top {
    let mut top = Top::new(spec.clone(), &schema()).unwrap();
    for table in top.tables() {
        stored.iter().for_each(|rows| table.restore_rows(rows).unwrap());
        table.restored().unwrap();
    }
    top.state_restored().unwrap();
    top
}

fn check(spec: &TopSpec, options: SortOptions, seed: u64) {
    let mut dice = Dice(seed);
    let goes = spec.wanted.keeps_rest;
    let mut top = Top::new(spec.clone(), &schema()).unwrap();
    let (mut all, mut view, mut stored) = (Vec::<Row>::new(), BTreeMap::new(), Vec::new());
    for epoch in 0..25 {
        for _ in 0..dice.roll(3) {
            let mut change = Vec::new();
            let mut there = all.len();
            for _ in 0..dice.roll(12) {
                if goes && there > 0 && dice.roll(5) < if epoch < 15 { 2 } else { 4 } {
                    // Of equal rows the newest goes first.
                    let gone = all[dice.roll(there as u64) as usize];
                    let at = all[..there].iter().rposition(|row| *row == gone).unwrap();
                    all.remove(at);
                    there -= 1;
                    change.push((gone, -1));
                    continue;
                }
                let mut maybe = |sides: u64| (dice.roll(6) > 0).then(|| dice.roll(sides) as i64);
                let row = [maybe(3), maybe(6), maybe(2)];
                all.push(row);
                change.push((row, 1));
            }
            drop(top.push(0, &delta(&change, goes)).unwrap());
            let (counted, walked) = top.counted_and_walked();
            assert_eq!(counted, walked, "epoch {epoch} of {spec:?}");
        }
        take_in(&mut view, settled(&mut top));
        assert_eq!(view, naive(&all, spec, options), "epoch {epoch} of {spec:?}");
        let (counted, walked) = top.counted_and_walked();
        assert_eq!(counted, walked, "epoch {epoch} of {spec:?}");
        for table in top.tables() {
            stored.extend(table.take_changed().unwrap());
        }
        if dice.roll(6) == 0 {
            let (_, rows) = top.state_size();
            top = restored(spec, &stored);
            assert_eq!(top.state_size().1, rows, "as many rows as before");
        }
    }
    let most = 4 * (spec.wanted.skip + spec.wanted.count);
    if !goes && spec.wanted.numbering == Numbering::Rows {
        assert!(top.state_size().1 <= most, "only the first rows of each key are kept");
    }
}

#[test]
fn the_first_rows_are_those_of_a_naive_sort_whatever_comes_and_goes() {
    let mut seed = 3;
    for numbering in [Numbering::Rows, Numbering::Rank, Numbering::DenseRank] {
        for (skip, count) in [(0, 1), (0, 2), (3, 2), (0, 50)] {
            let skip = if numbering == Numbering::Rows { skip } else { 0 };
            for (descending, nulls_first) in
                [(false, false), (false, true), (true, false), (true, true)]
            {
                let options = SortOptions { descending, nulls_first };
                for flags in 0..8_u64 {
                    let (by_key, keeps_rest, is_read) =
                        (flags & 1 > 0, flags & 2 > 0, flags & 4 > 0);
                    let wanted = Wanted { numbering, skip, count, keeps_rest };
                    seed += 1;
                    check(&spec(by_key, options, wanted, is_read), options, seed);
                }
            }
        }
    }
}

#[test]
fn a_key_without_rows_is_forgotten() {
    let wanted = Wanted { numbering: Numbering::Rows, skip: 0, count: 1, keeps_rest: true };
    let spec = spec(true, SortOptions::default(), wanted, false);
    let mut top = Top::new(spec, &schema()).unwrap();
    let mut most = 0;
    for key in 0..20_000 {
        let row = [Some(key), Some(1), None];
        drop(top.push(0, &delta(&[(row, 1)], true)).unwrap());
        settled(&mut top);
        drop(top.push(0, &delta(&[(row, -1)], true)).unwrap());
        settled(&mut top);
        if key == 100 {
            most = top.state_size().0 * 2;
        }
    }
    assert!(top.state_size().0 < most, "{:?}", top.state_size());
    assert_eq!(top.state_size().1, 0);
}
