//! The other part of the independent answer: DataFusion over finite tables, and rows as comparable
//! text.
//!
//! Tables: `w` holds each row once per window it is in, `s` every row, `d` the static table. None
//! of the engine's code is used, so an error of the engine's windows, state or planning cannot be
//! in both answers.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use chrono::DateTime;
use datafusion::prelude::SessionContext;

use super::case::Case;
use super::case::SECOND;
use super::rows::{Expanded, History, Keep, Row};

/// The finite tables of one moment.
pub struct Batch(SessionContext);

impl Batch {
    pub async fn new(case: &Case, history: &History, keep: Keep) -> Batch {
        let context = SessionContext::new();
        register(&context, "w", in_windows(&history.expanded(keep)));
        let sessions = history.sessions(3 * SECOND, keep);
        register(&context, "z", in_windows(&sessions.iter().collect::<Vec<_>>()));
        let all: Vec<&Row> = history.rows.iter().collect();
        register(&context, "s", self::columns(&all));
        let dim = &case.dim_rows;
        let keys: ArrayRef = Arc::new(StringArray::from_iter_values(dim.iter().map(|d| d.0)));
        let names: ArrayRef = Arc::new(StringArray::from_iter(dim.iter().map(|d| d.1)));
        let factors: ArrayRef = Arc::new(Int32Array::from_iter_values(dim.iter().map(|d| d.2)));
        register(&context, "d", vec![("k", keys), ("name", names), ("f", factors)]);
        Batch(context)
    }

    /// The answer as sorted lines.
    pub async fn answer(&self, sql: &str) -> Vec<String> {
        let work = async { self.0.sql(sql).await?.collect().await };
        let batches = work
            .await
            .unwrap_or_else(|error| panic!("the oracle's own query is wrong: {error}\n{sql}"));
        let mut lines: Vec<String> = batches.iter().flat_map(self::lines).collect();
        lines.sort();
        lines
    }
}

/// The columns of rows in their windows.
pub fn in_windows(expanded: &[&Expanded]) -> Vec<(&'static str, ArrayRef)> {
    let rows: Vec<&Row> = expanded.iter().map(|e| &e.row).collect();
    let times = |pick: &dyn Fn(usize) -> i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values((0..expanded.len()).map(pick)))
    };
    let mut columns = columns(&rows);
    columns.push(("window_start", times(&|i| expanded[i].start)));
    columns.push(("window_end", times(&|i| expanded[i].end)));
    columns.push(("window_time", times(&|i| expanded[i].end - 1000)));
    columns
}

/// The columns of these rows.
pub fn columns(rows: &[&Row]) -> Vec<(&'static str, ArrayRef)> {
    vec![
        ("id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.id)))),
        ("k", Arc::new(StringArray::from_iter(rows.iter().map(|r| r.k)))),
        ("g", Arc::new(Int32Array::from_iter(rows.iter().map(|r| r.g)))),
        ("v", Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.v)))),
        ("x", Arc::new(Float64Array::from_iter(rows.iter().map(|r| r.x)))),
        ("b", Arc::new(BooleanArray::from_iter(rows.iter().map(|r| r.b)))),
        ("ts", Arc::new(TimestampMicrosecondArray::from_iter(rows.iter().map(|r| r.ts)))),
    ]
}

/// Makes a table of columns.
pub fn register(context: &SessionContext, name: &str, columns: Vec<(&str, ArrayRef)>) {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length");
    context.register_batch(name, batch).expect("a new name");
}

/// The rows of a batch, each as one [`line`].
pub fn lines(batch: &RecordBatch) -> Vec<String> {
    let cells = |row| batch.columns().iter().map(|column| text(column, row)).collect();
    (0..batch.num_rows()).map(|row| line(cells(row))).collect()
}

/// A value as Postgres would write it; what [`cell`] evens out need not be exact here.
fn text(column: &ArrayRef, row: usize) -> Option<String> {
    if column.is_null(row) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Boolean => if column.as_boolean().value(row) { "t" } else { "f" }.to_owned(),
        DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, _) => {
            let us = column.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().value(row);
            let time = DateTime::from_timestamp_micros(us).expect("in range").naive_utc();
            time.format("%Y-%m-%d %H:%M:%S%.f").to_string()
        }
        DataType::List(_) => {
            let values = column.as_list::<i32>().value(row);
            let cells =
                (0..values.len()).map(|i| text(&values, i).unwrap_or_else(|| "NULL".to_owned()));
            format!("{{{}}}", cells.collect::<Vec<_>>().join(","))
        }
        _ => array_value_to_string(column, row).expect("a printable value"),
    })
}

/// A row as one line in which equal values are equal text: numbers to ten digits, times without
/// trailing zeros.
pub fn line(cells: Vec<Option<String>>) -> String {
    cells
        .into_iter()
        .map(|c| c.map_or_else(|| "NULL".to_owned(), cell))
        .collect::<Vec<_>>()
        .join(" | ")
}

fn cell(text: String) -> String {
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.');
    if numeric && let Ok(number) = text.parse::<f64>() {
        return if number.abs() < 1e-9 { "0".to_owned() } else { format!("{number:.9e}") };
    }
    let is_time = text.len() >= 19 && text.as_bytes()[4] == b'-' && text.as_bytes()[10] == b' ';
    if is_time {
        let text = text.trim_end_matches("+00");
        let whole = text.contains('.').then(|| text.trim_end_matches('0').trim_end_matches('.'));
        whole.unwrap_or(text).to_owned()
    } else {
        text
    }
}

#[test]
fn equal_values_are_equal_text() {
    let same = [
        ("3", "3.0000000000"),
        ("0.1", "0.10000000000001"),
        ("1969-12-31 23:59:58.500", "1969-12-31 23:59:58.5+00"),
    ];
    for (a, b) in same {
        assert_eq!(cell(a.to_owned()), cell(b.to_owned()));
    }
    assert_ne!(cell("3".to_owned()), cell("3.001".to_owned()));
}
