//! Measures the same question as DataFusion answers it: one batch over the same rows, in its own
//! SQL and with its own functions, on as many threads. Its answer is counted as it comes, and not
//! held.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::datasource::MemTable;
use datafusion::prelude::{
    CsvReadOptions, JsonReadOptions, ParquetReadOptions, SessionConfig, SessionContext,
};
use futures::StreamExt;

use super::input::FileFormat;
use super::measured::Measured;
use super::queries::Query;
use super::stage::BenchRelations;
use super::{input, usage};
use crate::clock::Stopwatch;
use crate::error::{Error, Result};
use crate::limits;

/// Answers the query once over so many generated rows, or over the bids in a file.
pub(super) async fn measure(
    query: Query,
    events: u64,
    file: Option<&Path>,
    threads: usize,
) -> Result<Measured> {
    let stage = BenchRelations::set()?;
    let config =
        SessionConfig::new().with_target_partitions(threads).with_batch_size(limits::BATCH_ROWS);
    let context = SessionContext::new_with_config(config);
    context.register_batch("side_input", stage.side_rows().clone())?;
    let streams = streams(&context, &query.batch)?;
    for name in &streams {
        let schema = stage.schema(name)?;
        match file {
            Some(path) => {
                input::only_bids(&streams)?;
                register_file(&context, path, &schema).await?;
            }
            None => {
                let columns = used_columns(&query.batch, &schema);
                let rows = input::share(name, &streams, events);
                let rows = input::generate(name, rows, Arc::clone(&schema), &columns)?;
                let schema = Arc::new(schema.project(&columns)?);
                let table = in_memory(schema, &rows.batches, threads)?;
                context.register_table(*name, Arc::new(table))?;
            }
        }
    }
    run(&context, &query, events).await
}

/// The streams that it reads, each once, in their order.
fn streams(context: &SessionContext, sql: &str) -> Result<Vec<&'static str>> {
    let state = context.state();
    let statement = state.sql_to_statement(sql, &state.config_options().sql_parser.dialect)?;
    let named = state.resolve_table_references(&statement)?;
    let is_read = |name: &&str| named.iter().any(|known| known.table() == *name);
    Ok(input::STREAMS.map(|(name, _)| name).into_iter().filter(is_read).collect())
}

/// The columns whose names the text has; reading fewer than there are costs DataFusion nothing
/// either.
fn used_columns(sql: &str, schema: &Schema) -> Vec<usize> {
    let words: Vec<&str> = sql.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    (0..schema.fields().len())
        .filter(|at| words.contains(&schema.field(*at).name().as_str()))
        .collect()
}

fn in_memory(schema: SchemaRef, batches: &[RecordBatch], threads: usize) -> Result<MemTable> {
    let mut partitions: Vec<Vec<RecordBatch>> = vec![Vec::new(); threads.max(1)];
    let count = partitions.len();
    for (number, batch) in batches.iter().enumerate() {
        partitions[number % count]
            .push(RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec())?);
    }
    Ok(MemTable::try_new(schema, partitions)?)
}

async fn register_file(context: &SessionContext, path: &Path, schema: &Schema) -> Result<()> {
    let name = path.to_str().ok_or_else(|| Error::internal("the file's name is not UTF-8"))?;
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_owned();
    let ending = format!(".{ending}");
    match input::file_format(path)? {
        FileFormat::Csv { has_header } => {
            let options =
                CsvReadOptions::new().schema(schema).has_header(has_header).file_extension(&ending);
            context.register_csv("bid", name, options).await?;
        }
        FileFormat::Json => {
            let options = JsonReadOptions::default().schema(schema).file_extension(&ending);
            context.register_json("bid", name, options).await?;
        }
        FileFormat::Parquet => {
            let options = ParquetReadOptions::default().schema(schema).file_extension(&ending);
            context.register_parquet("bid", name, options).await?;
        }
    }
    Ok(())
}

async fn run(context: &SessionContext, query: &Query, events: u64) -> Result<Measured> {
    usage::forget_peak();
    let (memory_before, _) = usage::memory()?;
    let cpu_before = usage::cpu_seconds()?;
    let watch = Stopwatch::start();
    let mut rows = context.sql(&query.batch).await?.execute_stream().await?;
    let mut output_rows = 0;
    while let Some(batch) = rows.next().await.transpose()? {
        output_rows += batch.num_rows() as u64;
    }
    let wall_s = watch.ms() / 1_000.0;
    let cpu_s = usage::cpu_seconds()? - cpu_before;
    let (_, peak) = usage::memory()?;
    Ok(Measured {
        events,
        wall_s,
        cpu_s,
        peak_rss_mb: peak.saturating_sub(memory_before) as f64 / 1e6,
        output_rows,
        net_rows: output_rows as i64,
        unread: 0,
        epoch_p50_ms: 0.0,
        epoch_p99_ms: 0.0,
    })
}
