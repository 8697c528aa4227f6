//! Schema `tidemill`: streams, queries, what came late or was rejected, checkpoints, memory,
//! settings.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::catalog::TableProvider;

use super::super::transaction::SystemContext;
use super::bounds::BOUNDS;
use crate::catalog::{Kind, Relation, RelationId, StreamDef};
use crate::connect;
use crate::error::Result;
use crate::exec::position::SourceProgress;
use crate::exec::view::{Phase, QueryFigures};
use crate::log::{StreamId, StreamStats};
use crate::pgtypes::values::row_as_json;
use crate::session::pg_catalog::shape::{SystemValue, TableColumns, row};
use crate::time::Watermark;

/// The tables there are.
pub(crate) const NAMES: &[&str] = &[
    "checkpoints",
    "late_rows",
    "memory",
    "operators",
    "queries",
    "rejected_rows",
    "settings",
    "sinks",
    "sockets",
    "streams",
];

/// One of them.
pub(crate) fn table(cx: &SystemContext, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    match name {
        "streams" => streams(cx),
        "queries" => queries(cx),
        "operators" => operators(cx),
        "sinks" => super::sinks::sinks(cx),
        "sockets" => sockets(cx),
        "late_rows" => late_rows(cx),
        "rejected_rows" => rejected_rows(cx),
        "checkpoints" => checkpoints(cx),
        "settings" => settings(cx),
        "memory" => super::memory::memory(cx),
        _ => return Ok(None),
    }
    .map(Some)
}

/// Ticks of a unit as microseconds; infinity stays.
fn micros(ticks: i64, unit: TimeUnit) -> SystemValue {
    if ticks == i64::MIN || ticks == i64::MAX {
        return SystemValue::Micros(ticks);
    }
    SystemValue::Micros(match unit {
        TimeUnit::Second => ticks.saturating_mul(1_000_000),
        TimeUnit::Millisecond => ticks.saturating_mul(1_000),
        TimeUnit::Microsecond => ticks,
        TimeUnit::Nanosecond => ticks.div_euclid(1_000),
    })
}

fn millis(ms: i64) -> SystemValue {
    SystemValue::Micros(ms.saturating_mul(1_000))
}

/// The unit of a stream's event time.
fn unit(relation: &Relation) -> TimeUnit {
    let Kind::Stream(StreamDef { watermark: Some(spec), .. }) = &relation.kind else {
        return TimeUnit::Microsecond;
    };
    match relation.columns.get(spec.column).map(|column| column.sql_type.data_type()) {
        Some(DataType::Timestamp(unit, _)) => unit,
        _ => TimeUnit::Microsecond,
    }
}

fn watermark(mark: Option<Watermark>, unit: TimeUnit) -> SystemValue {
    match mark {
        Some(mark) if mark != Watermark::NONE => micros(mark.0, unit),
        _ => SystemValue::Null,
    }
}

fn streams(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new(
        "name:text kind:text connector:text watermark:timestamp last_event_time:timestamp idle_since:timestamptz \
         rows:int8 bytes:int8 first_offset:int8 next_offset:int8 rejected_rows:int8 created_at:timestamptz",
    )?;
    let now = cx.engine.now_ms();
    let names = cx.engine.catalog.names();
    let mut rows = Vec::new();
    for relation in names.all() {
        let Kind::Stream(stream) = &relation.kind else { continue };
        let connector = stream.connector_name().map(str::to_owned);
        let kind = if stream.connector.is_some() { "connector" } else { "embedded log" };
        // What a connector has is known by whoever reads it; an embedded log knows it itself.
        let stats = match stream.connector {
            Some(_) => None,
            None => cx.engine.journal.stats(StreamId(relation.id.0)).ok(),
        };
        let read = source_progress(cx, relation.id);
        let unit = unit(relation);
        let figure = |of: fn(&StreamStats) -> u64| stats.as_ref().map(of);
        let records = read.map(|read| read.records);
        let mark = stats.as_ref().map(|stats| stats.watermark).or(read.map(|read| read.watermark));
        let last_event = match &stats {
            Some(stats) => stats.last_event_time.map(|time| time.0),
            None => read.and_then(|read| read.last_event),
        };
        let malformed = cx.engine.rejected.malformed_count(relation.id);
        let idle = stats.as_ref().and_then(|stats| stats.last_write_ms).filter(|last| *last < now);
        rows.push(row![
            relation.shown_name(),
            kind,
            connector,
            watermark(mark, unit),
            last_event.map_or(SystemValue::Null, |time| micros(time, unit)),
            idle.map_or(SystemValue::Null, millis),
            figure(|stats| stats.rows).or(records.map(|records| records.saturating_sub(malformed))),
            figure(|stats| stats.bytes),
            figure(|stats| stats.first_offset),
            figure(|stats| stats.next_offset).or(records),
            cx.engine.rejected.rejected_count(relation.id)
                + stats.as_ref().map_or(0, |stats| stats.untimed),
            millis(relation.created_ms),
        ]);
    }
    shape.table(rows)
}

/// The sockets that streams are fed from.
fn sockets(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new(
        "name:text host:text port:text state:text connects:int8 since:timestamptz error:text",
    )?;
    let names = cx.engine.catalog.names();
    let mut rows = Vec::new();
    for relation in names.all() {
        let Kind::Stream(stream) = &relation.kind else { continue };
        if stream.feeder.is_none() || stream.connector_name() != Some("socket") {
            continue;
        }
        let socket = cx.engine.sockets.get(relation.id);
        rows.push(row![
            relation.shown_name(),
            stream.option("host").map(str::to_owned),
            stream.option("port").map(str::to_owned),
            if socket.is_connected { "connected" } else { "waiting" },
            socket.connects,
            socket.since_ms.map_or(SystemValue::Null, millis),
            socket.error,
        ]);
    }
    shape.table(rows)
}

/// How far the views of a connector have come in it; None: no view reads it.
fn source_progress(cx: &SystemContext, stream: RelationId) -> Option<SourceProgress> {
    let known = cx.engine.views().into_iter().flat_map(|view| view.source_progress());
    known
        .filter(|(of, _)| *of == stream)
        .map(|(_, progress)| progress)
        .max_by_key(|read| read.records)
}

/// The unit of the event time of the first stream that a view reads, through other views.
fn view_unit(cx: &SystemContext, relation: &Relation, depth: usize) -> TimeUnit {
    let names = cx.engine.catalog.names();
    for used in relation.depends_on.iter().filter_map(|id| names.by_id(*id)) {
        match &used.kind {
            Kind::Stream(_) => return unit(used),
            Kind::Table(_) | Kind::Sink(_) => {}
            Kind::View { .. } | Kind::MaterializedView(_) if depth < 32 => {
                return view_unit(cx, used, depth + 1);
            }
            Kind::View { .. } | Kind::MaterializedView(_) => {}
        }
    }
    TimeUnit::Microsecond
}

fn figures(figures: &QueryFigures, unit: TimeUnit, now: i64) -> Vec<SystemValue> {
    let mark = figures.watermark.filter(|mark| mark.0 != i64::MAX && *mark != Watermark::NONE);
    let lag = mark.and_then(|mark| match micros(mark.0, unit) {
        SystemValue::Micros(micros) => Some(now.saturating_sub(micros.div_euclid(1_000))),
        _ => None,
    });
    row![
        figures.counters.rows_in,
        figures.counters.rows_out,
        figures.counters.late_rows,
        figures.counters.rejected_rows,
        figures.epoch,
        watermark(figures.watermark, unit),
        lag,
        figures.state_bytes,
        figures.state_rows,
        figures.last_epoch_ms,
        figures.last_epoch_at_ms.map_or(SystemValue::Null, millis),
    ]
}

fn queries(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new(
        "id:int8 name:text kind:text sql:text state:text rows_in:int8 rows_out:int8 late_rows:int8 rejected_rows:int8 \
         epoch:int8 watermark:timestamp lag_ms:int8 state_bytes:int8 state_rows:int8 last_epoch_ms:float8 \
         last_epoch_at:timestamptz error:text behind_ms:int8",
    )?;
    let now = cx.engine.now_ms();
    let mut rows = Vec::new();
    for (relation, view) in cx.engine.answers() {
        let phase = view.phase().borrow().clone();
        let error = match &phase {
            Phase::Failed(failure) => {
                Some(format!("{} ({})", failure.message, failure.state.code()))
            }
            Phase::Stalled(message) => Some(message.clone()),
            Phase::CatchingUp
            | Phase::Running
            | Phase::Trailing
            | Phase::Paused
            | Phase::Dropped => None,
        };
        let mut cells = row![
            relation.id.0,
            relation.shown_name(),
            relation.kind_name(),
            relation.sql.as_str(),
            phase.name()
        ];
        cells.extend(figures(&view.figures(), view_unit(cx, &relation, 0), now));
        cells.push(error.into());
        cells.push(cx.engine.behind_ms(&view, now).into());
        rows.push(cells);
    }
    for query in cx.engine.temporary_queries() {
        let mut cells =
            row![query.id, SystemValue::Null, "continuous select", query.sql.as_str(), "running"];
        cells.extend(figures(&query.figures.lock(), TimeUnit::Microsecond, now));
        cells.push(SystemValue::Null);
        cells.push(SystemValue::Null);
        rows.push(cells);
    }
    shape.table(rows)
}

fn operators(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new(
        "query_id:int8 query:text node:int4 operator:text rows_in:int8 rows_out:int8 state_rows:int8 \
         state_bytes:int8 watermark:timestamp epoch_ms:float8",
    )?;
    let mut rows = Vec::new();
    let mut add = |id: u64, name: Option<&str>, figures: &QueryFigures| {
        for (node, figures) in figures.nodes.iter().enumerate() {
            rows.push(row![
                id,
                name,
                node as i32,
                &*figures.name,
                figures.rows_in,
                figures.rows_out,
                figures.state_rows,
                figures.state_bytes,
                figures.watermark.map_or(SystemValue::Null, SystemValue::Micros),
                figures.epoch_ms,
            ]);
        }
    };
    for (relation, view) in cx.engine.answers() {
        add(relation.id.0, Some(&relation.shown_name()), &view.figures());
    }
    for query in cx.engine.temporary_queries() {
        add(query.id, None, &query.figures.lock());
    }
    shape.table(rows)
}

fn late_rows(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape =
        TableColumns::new("query:text stream:text row:jsonb watermark:timestamp at:timestamptz")?;
    let names = cx.engine.catalog.names();
    let mut rows = Vec::new();
    for (relation, view) in cx.engine.answers() {
        // What it reads rows of, through views without rows of their own; a table beside it has no
        // late rows. Of several sources it is not kept whose row it was.
        let places = view.places().unwrap_or_default();
        let source = match &places[..] {
            [(id, _)] => {
                let read = names.by_id(*id).or_else(|| names.answers_of(*id).next());
                read.map(|relation| relation.shown_name())
            }
            _ => None,
        };
        let unit = view_unit(cx, &relation, 0);
        for late in view.late_rows() {
            rows.push(row![
                relation.shown_name(),
                source.clone(),
                row_as_json(&late.row, 0),
                watermark(Some(late.watermark), unit),
                millis(late.at_ms),
            ]);
        }
    }
    shape.table(rows)
}

fn rejected_rows(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new(
        "stream:text partition:int4 offset:int8 raw:bytea error:text time:timestamptz",
    )?;
    let names = cx.engine.catalog.names();
    let mut rows = Vec::new();
    for rejected in cx.engine.rejected.rows() {
        rows.push(row![
            names.by_id(rejected.stream).map(|relation| relation.shown_name()),
            0,
            rejected.offset,
            SystemValue::Bytes(rejected.raw),
            rejected.error,
            millis(rejected.at_ms)
        ]);
    }
    for relation in names.all() {
        let Kind::Stream(StreamDef { watermark: Some(time), connector: None, .. }) = &relation.kind
        else {
            continue;
        };
        let column = relation.columns.get(time.column).map_or("", |column| column.name.as_str());
        for row in cx.engine.journal.untimed(StreamId(relation.id.0))? {
            rows.push(row![
                relation.shown_name(),
                0,
                row.offset,
                SystemValue::Bytes(row.raw),
                connect::without_time(column),
                millis(row.at_ms)
            ]);
        }
    }
    shape.table(rows)
}

fn checkpoints(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape =
        TableColumns::new("view:text epoch:int8 commit:int8 state_bytes:int8 state_rows:int8")?;
    let rows = cx.engine.answers().into_iter().map(|(view, query)| {
        let published = query.published();
        row![
            view.shown_name(),
            published.version.epoch,
            published.version.commit.0,
            published.figures.state_bytes,
            published.figures.state_rows
        ]
    });
    shape.table(rows.collect())
}

/// Every bound and every option of the engine.
fn settings(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let mut rows: Vec<_> = BOUNDS
        .iter()
        .map(|bound| row![bound.name.to_ascii_lowercase(), bound.value, bound.unit, bound.what])
        .collect();
    let options = &cx.engine.options;
    rows.push(row![
        "files",
        options.files.display().to_string(),
        "",
        "the directory that file connectors reach"
    ]);
    rows.push(row!["memory_limit", options.memory, "bytes", "memory that queries may use"]);
    rows.push(row!["threads", options.threads, "count", "partitions of a snapshot"]);
    TableColumns::new("name:text value:text unit:text description:text")?.table(rows)
}
