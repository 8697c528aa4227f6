//! CREATE STREAM … AS: a query whose rows are written to an embedded log, and read like those of any
//! other stream.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, TimeUnit};

use super::sink::Feeding;
use super::stream::{EMBEDDED, spec};
use super::view::once;
use super::{Definer, Done, commit_new, is_taken, new_name, options, stream_id};
use crate::catalog::{Column, Kind, Relation, StreamDef, WatermarkSpec};
use crate::error::{Error, Result, SqlState};
use crate::exec::define::columns_of;
use crate::plan::OutputTime;
use crate::sql::{CreateStreamAs, IntervalParts, ident_name};
use crate::types::quote_name;

/// The options of how its query runs.
const RUNNING: [&str; 4] = ["allowed_lateness", "scan_startup", "state_ttl", "table_changes"];

/// Makes a stream that its query writes.
pub async fn create(cx: &Definer, create: CreateStreamAs) -> Result<Done> {
    let tag = "CREATE STREAM";
    let name = new_name(&cx.engine, &create.name)?;
    if let Some(notice) = is_taken(&cx.engine, &name, create.if_not_exists)? {
        return Ok(Done::with(tag, notice));
    }
    options::only(&create.options, "stream", &[&EMBEDDED[..], &RUNNING].concat())?;
    let feeding = Feeding::of(cx, create.query, &create.text, &create.options).await?;
    if !feeding.appends() {
        let what = "a stream of a query that takes rows back is not supported";
        return Err(Error::unsupported(what)
            .hint("Add EMIT ON WINDOW CLOSE, or use CREATE MATERIALIZED VIEW."));
    }
    let names: Vec<String> = create.columns.iter().map(ident_name).collect();
    let columns = columns_of(&feeding.plan.schema, &names)?;
    let watermark = feeding.plan.pipeline.event_time.and_then(|time| watermark(time, &columns));
    let idle_advance = options::boolean(&create.options, "idle_advance")? == Some(true);
    if idle_advance && watermark.is_none() {
        let what = "idle_advance needs a watermark that can advance";
        return Err(Error::new(SqlState::InvalidTableDefinition, what)
            .hint("None of the query's columns is an event time."));
    }
    let stream = StreamDef {
        watermark,
        idle_advance,
        retention_ms: options::time(&create.options, "retention")?,
        retention_bytes: options::bytes(&create.options, "retention_bytes")?,
        max_future_ms: options::time(&create.options, "max_future")?,
        idle_timeout_ms: options::time(&create.options, "idle_timeout")?,
        max_lag_ms: options::time(&create.options, "max_lag")?,
        query: Some(Box::new(feeding.definition())),
        ..StreamDef::default()
    };
    let relation = Relation {
        id: cx.engine.catalog.names().next_id(),
        schema: name.schema().to_owned(),
        name: name.name,
        columns,
        kind: Kind::Stream(stream),
        depends_on: once(feeding.plan.used.clone()),
        sql: cx.reads.text.to_string(),
        created_ms: cx.engine.now_ms(),
        comments: BTreeMap::new(),
    };
    let id = relation.id;
    commit_new(&cx.engine, relation, |relation, transaction| {
        transaction.create_stream(stream_id(relation), spec(relation));
        Ok(())
    })
    .await?;
    Ok(feeding.done(tag, id))
}

/// The watermark of rows that come in order of a column, but for a delay.
fn watermark(time: OutputTime, columns: &[Column]) -> Option<WatermarkSpec> {
    let column = &columns[time.column];
    let DataType::Timestamp(unit, _) = column.sql_type.data_type() else { return None };
    let micros = match unit {
        TimeUnit::Second => time.delay.checked_mul(1_000_000)?,
        TimeUnit::Millisecond => time.delay.checked_mul(1_000)?,
        TimeUnit::Microsecond => time.delay,
        TimeUnit::Nanosecond => time.delay / 1_000,
    };
    let name = quote_name(&column.name);
    let text = (micros != 0)
        .then(|| format!("{name} - INTERVAL '{}'", IntervalParts::from_micros(micros)));
    Some(WatermarkSpec { column: time.column, delay: time.delay, text })
}
