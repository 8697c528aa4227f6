//! Prints results: aligned as psql does, as csv, or as JSON lines.
//!
//! Results may take long, or never end. A table waits for its first rows to see how wide its
//! columns are, but not for all of them: after [`LOOK_AT`] rows, or when nothing more comes for
//! [`SETTLING`], the widths are settled.

use std::io::Write;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use async_trait::async_trait;
use bytes::BytesMut;
use futures::StreamExt;

use super::OutputFormat;
use crate::error::{Error, Result};
use crate::pgtypes::copy::{CopyEncoder, CopyHeader, CopyOptions};
use crate::pgtypes::values::{Encoder, TextStyle};
use crate::server::Output;
use crate::session::{CopyOut, Outcome, RowStream};
use crate::types::SqlType;

/// How many rows a table looks at before it settles its widths.
const LOOK_AT: usize = 10_000;

/// How long a table waits for more rows before it shows those it has.
const SETTLING: Duration = Duration::from_millis(500);

/// Prints what statements give to stdout, and what they say beside to stderr.
pub(super) struct Printer {
    format: OutputFormat,
}

impl Printer {
    pub(super) fn new(format: OutputFormat) -> Printer {
        Printer { format }
    }

    async fn rows(&self, rows: RowStream, style: &TextStyle) -> Result<()> {
        match self.format {
            OutputFormat::Table => table(rows, style).await,
            OutputFormat::Csv => csv(rows, style).await,
            OutputFormat::Json => json(rows, style).await,
        }
    }
}

#[async_trait]
impl Output for Printer {
    async fn take(&mut self, outcome: Outcome, style: &TextStyle) -> Result<()> {
        match outcome {
            // Whoever asks for csv or JSON wants nothing else on stdout.
            Outcome::Done(tag) if self.format == OutputFormat::Table => {
                print(format!("{tag}\n").as_bytes())
            }
            Outcome::Done(_) | Outcome::CopyIn(_) => Ok(()),
            Outcome::Rows(rows) => self.rows(rows, style).await,
            Outcome::CopyOut(data) => copy(data).await,
        }
    }

    fn notice(&mut self, severity: &str, message: &Error) {
        let hint = message.hint_text().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
        // Nobody may be reading.
        let _ = writeln!(std::io::stderr(), "{severity}: {message}{hint}");
    }
}

/// Writes to stdout; when its reader has gone there is nothing left to do.
fn print(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written?),
    }
}

async fn copy(mut data: CopyOut) -> Result<()> {
    while let Some((bytes, _)) = data.stream.next().await.transpose()? {
        print(&bytes)?;
    }
    Ok(())
}

async fn csv(mut rows: RowStream, style: &TextStyle) -> Result<()> {
    let options = CopyOptions { header: CopyHeader::On, ..CopyOptions::csv() };
    let encoder = CopyEncoder::new(&rows.schema, options, style.clone());
    print(&encoder.start())?;
    while let Some(batch) = rows.stream.next().await.transpose()? {
        print(&encoder.batch(&batch)?)?;
    }
    print(&encoder.end())
}

async fn json(mut rows: RowStream, style: &TextStyle) -> Result<()> {
    let cells = Cells::new(&rows.schema, style);
    while let Some(batch) = rows.stream.next().await.transpose()? {
        let mut out = String::new();
        for row in 0..batch.num_rows() {
            out.push('{');
            for (column, name) in cells.names.iter().enumerate() {
                if column > 0 {
                    out.push(',');
                }
                out.push_str(&quoted(name));
                out.push(':');
                out.push_str(&cells.json(&batch, row, column));
            }
            out.push_str("}\n");
        }
        print(out.as_bytes())?;
    }
    Ok(())
}

/// A text as JSON writes it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Writes values as text.
struct Cells<'a> {
    names: Vec<String>,
    encoders: Vec<Encoder>,
    style: &'a TextStyle,
}

impl<'a> Cells<'a> {
    fn new(schema: &Schema, style: &'a TextStyle) -> Cells<'a> {
        let fields = schema.fields();
        Cells {
            names: fields.iter().map(|field| field.name().clone()).collect(),
            encoders: fields.iter().map(|field| Encoder::new(field)).collect(),
            style,
        }
    }

    /// The value as Postgres writes it; None for NULL.
    fn text(&self, batch: &RecordBatch, row: usize, column: usize) -> Option<String> {
        let (encoder, array) = (&self.encoders[column], batch.column(column));
        if encoder.is_null(array, row) {
            return None;
        }
        let mut out = BytesMut::new();
        encoder.text(array, row, self.style, &mut out);
        Some(String::from_utf8_lossy(&out).into_owned())
    }

    /// Numbers, booleans and JSON as themselves, everything else as a text.
    fn json(&self, batch: &RecordBatch, row: usize, column: usize) -> String {
        let Some(text) = self.text(batch, row, column) else {
            return "null".to_owned();
        };
        match self.encoders[column].sql_type() {
            SqlType::Boolean => if text == "t" { "true" } else { "false" }.to_owned(),
            // Their NaN and Infinity are no numbers of JSON's.
            kind if is_number(kind)
                && serde_json::from_str::<serde_json::Number>(&text).is_ok() =>
            {
                text
            }
            SqlType::Json | SqlType::Jsonb
                if serde_json::from_str::<serde_json::Value>(&text).is_ok() =>
            {
                text.replace('\n', " ")
            }
            _ => quoted(&text),
        }
    }

    fn lines(&self, batch: &RecordBatch) -> Vec<Vec<String>> {
        let cell = |row, column| self.text(batch, row, column).unwrap_or_default();
        (0..batch.num_rows())
            .map(|row| (0..self.names.len()).map(|column| cell(row, column)).collect())
            .collect()
    }
}

fn is_number(kind: &SqlType) -> bool {
    matches!(
        kind,
        SqlType::SmallInt
            | SqlType::Int
            | SqlType::BigInt
            | SqlType::Real
            | SqlType::Double
            | SqlType::Decimal(_)
    )
}

async fn table(mut rows: RowStream, style: &TextStyle) -> Result<()> {
    let cells = Cells::new(&rows.schema, style);
    let right = cells.encoders.iter().map(|encoder| is_number(encoder.sql_type())).collect();
    let mut table = PrintedTable { widths: Vec::new(), right };
    let mut waiting: Vec<Vec<String>> = Vec::new();
    let mut count = 0;
    loop {
        let next = if waiting.is_empty() || table.is_settled() {
            Ok(rows.stream.next().await)
        } else {
            tokio::time::timeout(SETTLING, rows.stream.next()).await
        };
        match next {
            Ok(Some(batch)) => {
                let lines = cells.lines(&batch?);
                count += lines.len();
                waiting.extend(lines);
                if waiting.len() < LOOK_AT && !table.is_settled() {
                    continue;
                }
            }
            Ok(None) => break,
            Err(_) => {}
        }
        print(table.show(&cells.names, &waiting).as_bytes())?;
        waiting.clear();
    }
    let mut last = table.show(&cells.names, &waiting);
    last.push_str(&match count {
        1 => "(1 row)\n\n".to_owned(),
        count => format!("({count} rows)\n\n"),
    });
    print(last.as_bytes())
}

/// A table on its way to the screen.
struct PrintedTable {
    /// Of the columns, in characters; empty before the head has been shown.
    widths: Vec<usize>,
    /// Numbers stand to the right.
    right: Vec<bool>,
}

impl PrintedTable {
    fn is_settled(&self) -> bool {
        !self.widths.is_empty()
    }

    /// The rows, and before the first of them the head.
    fn show(&mut self, names: &[String], rows: &[Vec<String>]) -> String {
        let mut out = String::new();
        if !self.is_settled() && !names.is_empty() {
            self.widths = (0..names.len())
                .map(|column| {
                    rows.iter()
                        .map(|row| width(&row[column]))
                        .max()
                        .unwrap_or(0)
                        .max(width(&names[column]))
                })
                .collect();
            let head: Vec<String> = names
                .iter()
                .zip(&self.widths)
                .map(|(name, width)| format!(" {name:^width$} "))
                .collect();
            let rule: Vec<String> = self.widths.iter().map(|width| "-".repeat(width + 2)).collect();
            out.push_str(&format!("{}\n{}\n", head.join("|").trim_end(), rule.join("+")));
        }
        rows.iter().for_each(|row| self.row(row, &mut out));
        out
    }

    /// A row takes as many lines as its tallest value; `+` says that a value goes on.
    fn row(&self, row: &[String], out: &mut String) {
        let cells: Vec<Vec<&str>> = row.iter().map(|cell| cell.split('\n').collect()).collect();
        let tallest = cells.iter().map(Vec::len).max().unwrap_or(1);
        for line in 0..tallest {
            let parts: Vec<String> = cells
                .iter()
                .zip(self.widths.iter().zip(&self.right))
                .map(|(cell, (width, right))| {
                    let text = cell.get(line).copied().unwrap_or_default();
                    let more = if line + 1 < cell.len() { '+' } else { ' ' };
                    if *right {
                        format!(" {text:>width$}{more}")
                    } else {
                        format!(" {text:<width$}{more}")
                    }
                })
                .collect();
            out.push_str(parts.join("|").trim_end());
            out.push('\n');
        }
    }
}

fn width(cell: &str) -> usize {
    cell.split('\n').map(|line| line.chars().count()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Float64Array, Int64Array, StringArray};

    use super::*;

    #[test]
    fn tables_look_as_in_psql() {
        let mut table = PrintedTable { widths: Vec::new(), right: vec![false, true] };
        let names = ["k".to_owned(), "total".to_owned()];
        let rows =
            [vec!["a".to_owned(), "1".to_owned()], vec!["two\nlines".to_owned(), String::new()]];
        let shown = table.show(&names, &rows);
        assert_eq!(shown, "   k   | total\n-------+-------\n a     |     1\n two  +|\n lines |\n");
        assert_eq!(
            table.show(&names, &[vec!["later".to_owned(), "1234567".to_owned()]]),
            " later | 1234567\n"
        );
    }

    #[test]
    fn json_keeps_numbers_and_booleans_and_writes_nan_as_a_text() {
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("i", Arc::new(Int64Array::from(vec![Some(7), None])) as _, true),
            ("d", Arc::new(Float64Array::from(vec![0.5, f64::NAN])) as _, true),
            ("b", Arc::new(BooleanArray::from(vec![true, false])) as _, true),
            ("t", Arc::new(StringArray::from(vec!["a\"b", "7"])) as _, true),
        ])
        .unwrap();
        let style = TextStyle::default();
        let cells = Cells::new(&batch.schema(), &style);
        let row = |row| (0..4).map(|column| cells.json(&batch, row, column)).collect::<Vec<_>>();
        assert_eq!(row(0), ["7", "0.5", "true", "\"a\\\"b\""]);
        assert_eq!(row(1), ["null", "\"NaN\"", "false", "\"7\""]);
    }
}
