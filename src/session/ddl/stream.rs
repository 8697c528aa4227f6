//! CREATE STREAM, CREATE SOURCE, CREATE TABLE with a watermark or a connector.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr};

use super::super::feed::feeder;
use super::columns::{columns, uses_proctime};
use super::{Definer, Done, commit_new, is_taken, new_name, options, stream_id};
use crate::catalog::{Column, Connector, Kind, Relation, SinkForm, StreamDef, WatermarkSpec};
use crate::connect;
use crate::connect::feeder::is_feeder;
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::log::StreamSpec;
use crate::plan::window::interval_ticks;
use crate::sql::{CreateRelation, Options, WatermarkDef, ident_name};
use crate::types::SqlType;

/// The options of a stream that is written with INSERT and COPY.
pub(super) const EMBEDDED: [&str; 6] =
    ["retention", "retention_bytes", "idle_timeout", "idle_advance", "max_future", "max_lag"];

/// What only tables promise of their rows.
fn refuse_constraints(create: &CreateRelation, is_sink: bool) -> Result<()> {
    if let Some(check) = create.checks.first() {
        return Err(Error::unsupported("CHECK constraints of streams are not supported")
            .hint("Put the condition into WHERE of the query or of a view.")
            .at(check.position));
    }
    if let Some(unique) = create.uniques.first() {
        return Err(Error::unsupported("UNIQUE constraints of streams are not supported")
            .hint("Use a table.")
            .at(unique.position));
    }
    // Flink's key of a sink is not enforced there either.
    if !create.primary_key.is_empty() && !is_sink {
        return Err(Error::unsupported("a PRIMARY KEY on a stream is not supported")
            .hint("A stream is append-only; use CREATE TABLE, or keep the newest row per key with a materialized view."));
    }
    Ok(())
}

/// Makes a stream.
pub async fn create(cx: &Definer, create: CreateRelation) -> Result<Done> {
    let name = new_name(&cx.engine, &create.name)?;
    if let Some(notice) = is_taken(&cx.engine, &name, create.if_not_exists)? {
        return Ok(Done::with("CREATE STREAM", notice));
    }
    let connector = options::get(&create.options, "connector");
    // What is fed is written to from outside, and otherwise a log like any other.
    let is_fed = connector.is_some_and(is_feeder);
    let is_embedded = connector.is_none() || is_fed;
    if connector.is_none() {
        options::only(&create.options, "stream", &EMBEDDED)?;
    }
    let is_sink = connector.is_some_and(connect::takes_only);
    refuse_constraints(&create, is_sink)?;
    let (mut columns, depends_on) = columns(cx, &create.columns).await?;
    if columns.is_empty() && !is_embedded {
        columns = implied(&create.options)?;
    }
    // A connector says itself what it needs.
    if columns.is_empty() && is_embedded {
        let what = "a stream must have at least one column";
        return Err(Error::new(SqlState::InvalidTableDefinition, what));
    }
    let stream = definition(&create, &columns)?;
    let relation = Relation {
        id: cx.engine.catalog.names().next_id(),
        schema: name.schema().to_owned(),
        name: name.name,
        columns,
        kind: Kind::Stream(stream),
        depends_on,
        sql: create.text,
        created_ms: cx.engine.now_ms(),
        comments: BTreeMap::new(),
    };
    if is_sink {
        check_sink(cx, &relation)?;
    } else if is_fed {
        feeder(&relation)?;
    } else if !is_embedded {
        check_source(cx, &relation, &create.options)?;
    }
    commit_new(&cx.engine, relation, |relation, transaction| {
        if is_embedded {
            transaction.create_stream(stream_id(relation), spec(relation));
        }
        Ok(())
    })
    .await?;
    Ok(Done::new("CREATE STREAM"))
}

/// What the clauses of a stream with these columns say.
fn definition(create: &CreateRelation, columns: &[Column]) -> Result<StreamDef> {
    let connector = options::get(&create.options, "connector");
    let is_fed = connector.is_some_and(is_feeder);
    let is_embedded = connector.is_none() || is_fed;
    let mut watermark =
        create.watermark.as_ref().map(|watermark| watermark_of(watermark, columns)).transpose()?;
    if watermark.is_none() && is_embedded {
        // Nothing else can be the time by which its windows close.
        let column = columns.iter().position(is_processing_time);
        watermark = column.map(|column| WatermarkSpec { column, delay: 0, text: None });
    }
    let follows_clock = is_embedded
        && watermark.as_ref().is_some_and(|time| is_processing_time(&columns[time.column]));
    let idle_advance = options::boolean(&create.options, "idle_advance")? == Some(true);
    if idle_advance {
        check_idle_advance(watermark.is_some(), is_embedded)?;
    }
    Ok(StreamDef {
        watermark,
        idle_advance,
        follows_clock,
        connector: (!is_embedded).then(|| Connector { options: create.options.0.clone() }),
        feeder: is_fed.then(|| Connector { options: feeding(&create.options) }),
        retention_ms: options::time(&create.options, "retention")?,
        retention_bytes: options::bytes(&create.options, "retention_bytes")?,
        max_future_ms: max_future(&create.options, connector.is_none())?,
        idle_timeout_ms: options::time(&create.options, "idle_timeout")?,
        max_lag_ms: options::time(&create.options, "max_lag")?,
        query: None,
    })
}

/// The options of a stream that is fed which are not those of any log.
fn feeding(options: &Options) -> Vec<(String, String)> {
    options.0.iter().filter(|(name, _)| !EMBEDDED.contains(&name.as_str())).cloned().collect()
}

/// Whether a column is the time at which the row was taken, and nothing else.
fn is_processing_time(column: &Column) -> bool {
    let is_call = |text: &String| {
        let call: String = text.to_lowercase().chars().filter(|c| !" ()".contains(*c)).collect();
        call == "proctime" && uses_proctime(text)
    };
    matches!(column.sql_type, SqlType::TimestampTz(_))
        && column.generated.as_ref().is_some_and(is_call)
}

fn check_idle_advance(has_watermark: bool, is_embedded: bool) -> Result<()> {
    if !is_embedded {
        return Err(Error::unsupported(
            "idle_advance of a stream with a connector is not supported",
        )
        .hint("The watermark of a connector follows its rows."));
    }
    if !has_watermark {
        let what = "idle_advance needs a watermark that can advance";
        return Err(Error::new(SqlState::InvalidTableDefinition, what)
            .hint("Declare one: WATERMARK FOR ts AS ts - INTERVAL '5 seconds'."));
    }
    Ok(())
}

fn implied(options: &Options) -> Result<Vec<Column>> {
    let fields = connect::implied_columns(&options.0).unwrap_or_default();
    Ok(fields.iter().map(Column::of).collect())
}

fn max_future(options: &Options, is_written_by_hand: bool) -> Result<Option<i64>> {
    match options::get(options, "max_future") {
        Some("none") => Ok(None),
        Some(_) => options::time(options, "max_future"),
        None => Ok((!is_written_by_hand).then_some(limits::MAX_FUTURE_MS)),
    }
}

/// What a connector cannot do is refused now and not by the first reader.
fn check_source(cx: &Definer, relation: &Relation, options: &Options) -> Result<()> {
    for column in &relation.columns {
        if column.generated.as_deref().is_some_and(uses_proctime) {
            let what = "PROCTIME() in a stream with a connector is not supported: reading it again would give another time";
            return Err(Error::unsupported(what).hint("Compute it in a view over the stream."));
        }
        if column.default.is_some() {
            return Err(Error::unsupported(
                "DEFAULT in a stream with a connector is not supported",
            )
            .hint("Use coalesce(column, value) in a view over the stream."));
        }
    }
    cx.engine.open_source(relation, &options.0).map(|_| ())
}

/// What feeds it comes later; what is wrong with it is found now.
fn check_sink(cx: &Definer, relation: &Relation) -> Result<()> {
    let Kind::Stream(StreamDef { connector: Some(connector), .. }) = &relation.kind else {
        return Ok(());
    };
    cx.engine.open_connector(relation, connector, SinkForm::Changes).map(drop)
}

/// What the log is told of a stream.
pub(super) fn spec(relation: &Relation) -> StreamSpec {
    let (watermark, retention_ms, retention_bytes) = match &relation.kind {
        Kind::Stream(stream) => (
            stream.watermark.as_ref().map(|watermark| (watermark.column, watermark.delay)),
            stream.retention_ms,
            stream.retention_bytes,
        ),
        _ => (None, None, None),
    };
    StreamSpec { schema: relation.schema(), watermark, retention_ms, retention_bytes }
}

/// The watermark that a clause means.
fn watermark_of(clause: &WatermarkDef, columns: &[Column]) -> Result<WatermarkSpec> {
    let name = ident_name(&clause.column);
    let place = |error: Error| match error.position() {
        Some(_) => error,
        None => error.at(clause.position),
    };
    let Some(at) = columns.iter().position(|column| column.name == name) else {
        let what = format!("column \"{name}\" named in WATERMARK does not exist");
        return Err(place(Error::new(SqlState::UndefinedColumn, what)));
    };
    let column = &columns[at];
    let unit = match column.sql_type.data_type() {
        DataType::Timestamp(unit, _) => unit,
        _ => {
            let what = format!(
                "the column of a WATERMARK must be a timestamp, but \"{name}\" is of type {}",
                column.sql_type
            );
            return Err(place(
                Error::new(SqlState::TypeMismatch, what)
                    .hint("Add a computed column, for example ts AS to_timestamp_millis(ms)."),
            ));
        }
    };
    let delay = match &clause.expr {
        None => 0,
        Some(expr) => delay(expr, &name, unit).map_err(place)?,
    };
    Ok(WatermarkSpec { column: at, delay, text: clause.expr.as_ref().map(ToString::to_string) })
}

/// `column` or `column - INTERVAL …`.
fn delay(expr: &Expr, column: &str, unit: TimeUnit) -> Result<i64> {
    let other = || {
        Error::unsupported("this expression in WATERMARK is not supported")
            .hint(format!("Write WATERMARK FOR {column} AS {column} - INTERVAL '5 seconds'."))
    };
    let is_column =
        |expr: &Expr| matches!(expr, Expr::Identifier(ident) if ident_name(ident) == column);
    match expr {
        Expr::Nested(inner) => delay(inner, column, unit),
        expr if is_column(expr) => Ok(0),
        Expr::BinaryOp { left, op: BinaryOperator::Minus, right } if is_column(left) => {
            let ticks = interval_ticks(right, unit)?;
            if ticks < 0 {
                Err(Error::new(
                    SqlState::BadArgument,
                    "the delay of a WATERMARK must not be negative",
                )
                .hint("The delay says how late rows may come: column - INTERVAL '5 seconds'."))
            } else {
                Ok(ticks)
            }
        }
        _ => Err(other()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse_expr;

    #[test]
    fn a_watermark_is_its_column_less_a_delay() {
        let of = |text: &str| delay(&parse_expr(text).unwrap(), "ts", TimeUnit::Millisecond);
        assert_eq!(of("ts").unwrap(), 0);
        assert_eq!(of("ts - INTERVAL '5 seconds'").unwrap(), 5_000);
        assert_eq!(of("(ts - INTERVAL '1' MINUTE)").unwrap(), 60_000);
        assert_eq!(of("ts - INTERVAL '-5 seconds'").unwrap_err().state(), SqlState::BadArgument);
        assert_eq!(of("ts - INTERVAL '1 month'").unwrap_err().state(), SqlState::BadArgument);
        assert_eq!(of("other - INTERVAL '1 second'").unwrap_err().state(), SqlState::NotSupported);
    }
}
