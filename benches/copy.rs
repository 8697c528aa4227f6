//! How fast COPY is: decoding narrow rows, and appending them to a log, rows a second on one
//! thread.
//!
//! `cargo bench --bench copy [ROWS]`. The rows are those of a bid without its texts: three numbers
//! and a time. "decode" is the decoder alone; "memory" and "disk" also commit the rows, as one
//! write, to a log in memory and in a temporary directory.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use tidemill::error::Result;
use tidemill::log::{Journal, StreamId, StreamSpec, Transaction};
use tidemill::pgtypes::copy::{CopyDecoder, CopyOptions};
use tidemill::store::{DiskStore, MemoryStore, Store};
use tidemill::types::SqlType;

/// Bytes that arrive at a time.
const CHUNK: usize = 64 << 10;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    // cargo bench gives --bench along.
    let rows =
        std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    for (name, options) in [("text", CopyOptions::text()), ("csv", CopyOptions::csv())] {
        let data = data(rows, char::from(options.delimiter));
        report(&format!("{name} decode"), rows, || decode(&data, options.clone()).map(|_| ()))?;
        report(&format!("{name} memory"), rows, || {
            append(Arc::new(MemoryStore::new()), decode(&data, options.clone())?)
        })?;
        let dir = tempfile::tempdir()?;
        let store = Arc::new(DiskStore::open(dir.path())?);
        report(&format!("{name} disk"), rows, || append(store, decode(&data, options.clone())?))?;
    }
    Ok(())
}

fn report(name: &str, rows: usize, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    work()?;
    let seconds = begun.elapsed().as_secs_f64();
    println!("{name:<12} {rows:>9} rows {seconds:>8.3} s {:>12.0} rows/s", rows as f64 / seconds);
    Ok(())
}

/// auction, bidder, price, date_time.
fn data(rows: usize, delimiter: char) -> Vec<u8> {
    let mut text = String::with_capacity(rows * 48);
    for row in 0..rows {
        let (second, milli) = (row / 10_000 % 60, row / 10 % 1_000);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{}{delimiter}{}{delimiter}{}{delimiter}2026-01-01 00:{:02}:{second:02}.{milli:03}",
            1_000 + row % 7_919,
            1_000 + row % 104_729,
            100 + row * 31 % 1_000_000,
            row / 600_000 % 60,
        );
    }
    text.into_bytes()
}

fn columns() -> Vec<(String, SqlType, bool)> {
    let number = |name: &str| (name.to_owned(), SqlType::BigInt, true);
    let time = ("date_time".to_owned(), SqlType::Timestamp(6), true);
    vec![number("auction"), number("bidder"), number("price"), time]
}

fn decode(data: &[u8], options: CopyOptions) -> Result<Vec<RecordBatch>> {
    let mut decoder = CopyDecoder::new(columns(), options);
    let mut batches = Vec::new();
    for chunk in data.chunks(CHUNK) {
        decoder.push(chunk)?;
        while let Some(batch) = decoder.take() {
            batches.push(batch);
        }
    }
    while let Some(batch) = decoder.finish()? {
        batches.push(batch);
    }
    Ok(batches)
}

fn append(store: Arc<dyn Store>, batches: Vec<RecordBatch>) -> Result<()> {
    let Some(first) = batches.first() else { return Ok(()) };
    let stream = StreamId(1);
    let spec = StreamSpec {
        schema: first.schema(),
        watermark: Some((3, 0)),
        retention_ms: None,
        retention_bytes: None,
    };
    let journal = Journal::open(store)?;
    let mut transaction = Transaction::at(0);
    transaction.create_stream(stream, spec);
    batches.into_iter().for_each(|batch| transaction.append(stream, batch));
    journal.commit_blocking(transaction)?;
    journal.stop();
    Ok(())
}
