//! One relation: its columns, its kind, how it was made; and its stored form.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{RELATION_FORMAT, RELATION_HEAD, RELATION_PREFIX, SCHEMA};
use crate::error::{Error, Result};
use crate::store::codec::{decode_json, encode_json};
use crate::types::{SqlType, quote_name};

/// Given once at CREATE, never used again; also the id of the stream's log and the table's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RelationId(pub u64);

/// A stream, table, view or sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Relation {
    /// Its identity.
    pub id: RelationId,
    /// The schema that it is in.
    #[serde(default = "public", skip_serializing_if = "is_public")]
    pub schema: String,
    /// Its name there.
    pub name: String,
    /// Its columns in order.
    pub columns: Vec<Column>,
    /// What it is.
    pub kind: Kind,
    /// The relations its definition names.
    pub depends_on: Vec<RelationId>,
    /// The statement that made it.
    pub sql: String,
    /// When, milliseconds since 1970.
    pub created_ms: i64,
    /// What COMMENT says of its columns, which are counted from 1, and at 0 of itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub comments: BTreeMap<usize, String>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
    /// NOT NULL.
    pub not_null: bool,
    /// DEFAULT, as SQL text.
    pub default: Option<String>,
    /// GENERATED ALWAYS AS, as SQL text.
    pub generated: Option<String>,
}

impl Column {
    /// One that may be NULL, and has nothing but a type.
    pub fn new(name: impl Into<String>, sql_type: SqlType) -> Column {
        Column { name: name.into(), sql_type, not_null: false, default: None, generated: None }
    }

    /// As an Arrow field is.
    pub fn of(field: &Field) -> Column {
        let column = Column::new(field.name(), SqlType::from_field(field));
        Column { not_null: !field.is_nullable(), ..column }
    }

    /// Its Arrow field.
    pub fn field(&self) -> Field {
        self.sql_type.to_field(&self.name, !self.not_null)
    }
}

/// What a relation is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    /// An append-only stream.
    Stream(StreamDef),
    /// A static table.
    Table(TableDef),
    /// A name for a query.
    View {
        /// The query's text.
        query: String,
    },
    /// A query whose answer is kept.
    MaterializedView(ViewDef),
    /// A query whose changes go outside.
    Sink(SinkDef),
}

/// A sink: what it is fed by, and where that goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SinkDef {
    /// Its query, as a materialized view has one.
    pub query: ViewDef,
    /// Where its changes go.
    pub connector: Connector,
    /// How they go there.
    pub form: SinkForm,
}

/// What a sink writes of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SinkForm {
    /// The rows that appear, and nothing else: of a query that takes none back.
    Rows,
    /// As SUBSCRIBE: the epoch, +1 or −1, and the row.
    Changes,
}

/// What a stream has besides columns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamDef {
    /// Its event time.
    pub watermark: Option<WatermarkSpec>,
    /// Where its rows are read, if it is no log.
    pub connector: Option<Connector>,
    /// From where rows are written to its log, besides INSERT and COPY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feeder: Option<Connector>,
    /// Milliseconds its rows are kept; None: for ever.
    pub retention_ms: Option<i64>,
    /// Bytes its rows may take; None: any number.
    pub retention_bytes: Option<u64>,
    /// Rows further ahead of the wall clock than this are rejected, milliseconds; None: no limit.
    pub max_future_ms: Option<i64>,
    /// How long a partition may be silent before it no longer holds the watermark back,
    /// milliseconds. An embedded log has one partition, which there is nothing to hold back for: it
    /// is when `idle_advance` begins. A connector has it among its options.
    #[serde(default)]
    pub idle_timeout_ms: Option<i64>,
    /// Its watermark moves on with the clock when it has been silent for so long.
    #[serde(default)]
    pub idle_advance: bool,
    /// Its event time is PROCTIME(): its watermark follows the clock.
    #[serde(default)]
    pub follows_clock: bool,
    /// How far a view may be behind before writers are held back, milliseconds; None:
    /// [`limits::MAX_LAG_MS`](crate::limits::MAX_LAG_MS).
    #[serde(default)]
    pub max_lag_ms: Option<i64>,
    /// The query that writes it, if nobody else does (CREATE STREAM … AS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<Box<ViewDef>>,
}

impl StreamDef {
    /// Which connector its rows come from.
    pub fn connector_name(&self) -> Option<&str> {
        self.option("connector")
    }

    /// What is said of its connector by this name.
    pub fn option(&self, option: &str) -> Option<&str> {
        self.connector.as_ref().or(self.feeder.as_ref())?.option(option)
    }
}

/// WATERMARK FOR column AS column − delay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WatermarkSpec {
    /// Which column.
    pub column: usize,
    /// The delay in ticks of that column.
    pub delay: i64,
    /// The expression as written, for SHOW CREATE and DESCRIBE.
    pub text: Option<String>,
}

/// An outside source: its options as given (secrets included: never show them).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Connector {
    /// All options, `connector` included.
    pub options: Vec<(String, String)>,
}

impl Connector {
    /// Which connector it is.
    pub fn name(&self) -> Option<&str> {
        self.option("connector")
    }

    /// The value of one of its options.
    pub fn option(&self, option: &str) -> Option<&str> {
        let given = self.options.iter().find(|(name, _)| name == option);
        given.map(|(_, value)| value.as_str())
    }
}

/// What a table has besides columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableDef {
    /// Positions of the primary key's columns; empty: none.
    pub primary_key: Vec<usize>,
    /// How long rows that are no more are kept, milliseconds; None: as long as usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_ms: Option<i64>,
    /// UNIQUE: what no two rows have in common, beside the primary key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uniques: Vec<Unique>,
    /// What its rows must satisfy, in the order of the names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

/// UNIQUE: columns of which no two rows have the same values, none of them NULL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unique {
    /// The constraint's name.
    pub name: String,
    /// Positions of its columns.
    pub columns: Vec<usize>,
}

/// CHECK: a condition that is not false for any row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Check {
    /// The constraint's name.
    pub name: String,
    /// The condition, as SQL text.
    pub condition: String,
}

/// What a materialized view is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewDef {
    /// The query's text, without EMIT.
    pub query: String,
    /// When it emits.
    pub emission: Emission,
    /// Allowed lateness as the session or WITH had it, milliseconds.
    pub lateness_ms: i64,
    /// Rows whose window_end is older than the watermark by this are dropped, milliseconds.
    pub retention_ms: Option<i64>,
    /// Begins with the rows that arrive from now on.
    pub from_latest: bool,
    /// PAUSEd.
    pub paused: bool,
    /// It only ever gains rows: no aggregate that changes, no retention.
    #[serde(default)]
    pub append_only: bool,
    /// What it says of its state.
    #[serde(default)]
    pub state: StateOptions,
    /// The query that it is an answer of, if that runs under the id of another view: see
    /// [`Relation::query_id`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<RelationId>,
}

/// What a view says of its state, in WITH.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateOptions {
    /// `table_changes = 'revise'`: a change of a table that a stream is joined with changes what has
    /// been answered.
    #[serde(default)]
    pub revises: bool,
    /// `state_ttl`: keys that no row comes for are forgotten after so many milliseconds.
    #[serde(default)]
    pub ttl_ms: Option<i64>,
}

/// EMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Emission {
    /// EMIT ON WINDOW CLOSE.
    OnClose,
    /// EMIT CHANGES.
    OnChange,
}

/// What is not stored: relations were all in one schema once.
fn public() -> String {
    SCHEMA.to_owned()
}

fn is_public(schema: &str) -> bool {
    schema == SCHEMA
}

/// A key of a table: PRIMARY KEY or UNIQUE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationKey {
    /// The constraint's name.
    pub constraint: String,
    /// Positions of its columns.
    pub columns: Vec<usize>,
    /// PRIMARY KEY.
    pub is_primary: bool,
}

impl Relation {
    /// Its keys, the primary one first.
    pub fn keys(&self) -> Vec<RelationKey> {
        let Kind::Table(table) = &self.kind else { return Vec::new() };
        let primary = (!table.primary_key.is_empty()).then(|| RelationKey {
            constraint: format!("{}_pkey", self.name),
            columns: table.primary_key.clone(),
            is_primary: true,
        });
        let uniques = table.uniques.iter().map(|unique| RelationKey {
            constraint: unique.name.clone(),
            columns: unique.columns.clone(),
            is_primary: false,
        });
        primary.into_iter().chain(uniques).collect()
    }

    /// Its name, behind its schema if that is another than `public`.
    pub fn shown_name(&self) -> String {
        if is_public(&self.schema) {
            self.name.clone()
        } else {
            format!("{}.{}", self.schema, self.name)
        }
    }

    /// The same as SQL reads it.
    pub fn quoted_name(&self) -> String {
        let name = quote_name(&self.name);
        if is_public(&self.schema) { name } else { format!("{}.{name}", quote_name(&self.schema)) }
    }

    /// The Arrow schema of its columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(Column::field).collect::<Vec<_>>()))
    }

    /// What SHOW and errors call it.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Stream(_) => "stream",
            Kind::Table(_) => "table",
            Kind::View { .. } => "view",
            Kind::MaterializedView(_) => "materialized view",
            Kind::Sink(_) => "sink",
        }
    }

    /// As what the query runs and is stored that a materialized view is the answer of: its own id, or
    /// that of the view, which may be gone by now, that was the first of several with one query.
    pub fn query_id(&self) -> RelationId {
        self.running().and_then(|def| def.answers).unwrap_or(self.id)
    }

    /// What runs for it, if anything does.
    pub fn running(&self) -> Option<&ViewDef> {
        match &self.kind {
            Kind::MaterializedView(def) => Some(def),
            Kind::Sink(sink) => Some(&sink.query),
            Kind::Stream(stream) => stream.query.as_deref(),
            Kind::Table(_) | Kind::View { .. } => None,
        }
    }

    /// The same, to be changed.
    pub fn running_mut(&mut self) -> Option<&mut ViewDef> {
        match &mut self.kind {
            Kind::MaterializedView(def) => Some(def),
            Kind::Sink(sink) => Some(&mut sink.query),
            Kind::Stream(stream) => stream.query.as_deref_mut(),
            Kind::Table(_) | Kind::View { .. } => None,
        }
    }

    /// Whether the changes of its query are handed on, outside or to a log, and not kept as an answer.
    pub fn hands_on(&self) -> bool {
        matches!(self.kind, Kind::Sink(_) | Kind::Stream(StreamDef { query: Some(_), .. }))
    }

    /// A materialized view as its query has it: under the query's id.
    pub fn as_query(&self) -> Relation {
        Relation { id: self.query_id(), ..self.clone() }
    }

    /// The position of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

/// The stored form.
#[derive(Serialize, Deserialize)]
struct Stored<R> {
    format: u32,
    relation: R,
}

/// The key of a relation in the store.
pub(super) fn key(id: RelationId) -> Vec<u8> {
    let mut key = RELATION_PREFIX.to_vec();
    key.extend_from_slice(format!("{:016x}", id.0).as_bytes());
    key
}

pub(super) fn encode(relation: &Relation) -> Result<Bytes> {
    // Those of before know no schema, and would take any for `public`; and a stream that a query
    // writes for one that nobody does.
    let format = match (relation.hands_on(), is_public(&relation.schema)) {
        (true, _) => RELATION_FORMAT,
        (false, true) => 1,
        (false, false) => 2,
    };
    encode_json(RELATION_HEAD, &Stored { format, relation })
}

pub(super) fn decode(value: Bytes) -> Result<Relation> {
    let stored: Stored<Relation> = decode_json(RELATION_HEAD, value)?;
    if stored.format > RELATION_FORMAT {
        Err(Error::internal(format!(
            "format {} is newer than this version's {RELATION_FORMAT}",
            stored.format
        )))
    } else {
        Ok(stored.relation)
    }
}
