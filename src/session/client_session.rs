//! What a client protocol needs of a session, free of sockets and of messages.
//!
//! `wire` turns Postgres messages into these calls, and nothing else. A session belongs to one
//! connection and is used by one task at a time; dropping a future or a result stream cancels what
//! it was doing.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use super::gate::CommitGate;
use super::message_memory::MessageMemory;
use crate::error::{Error, Result};
use crate::pgtypes::values::TextStyle;
use crate::types::SqlType;

/// A connection's side of SQL.
#[async_trait]
pub trait ClientSession: Send {
    /// Splits the text of a simple query into its statements, without running any. A text without
    /// statements gives none.
    async fn split(&mut self, sql: &str) -> Result<Vec<Prepared>>;

    /// Parses and plans one statement for the extended protocol; `hints` are the parameter types
    /// the client gave (None: to be inferred). A text without a statement gives `Prepared` with
    /// `is_empty`.
    async fn prepare(&mut self, sql: &str, hints: &[Option<SqlType>]) -> Result<Prepared>;

    /// Runs a statement. `params` are the values of `$1…`, an array of length 1 each, typed as in
    /// `Prepared::params`.
    async fn execute(
        &mut self,
        statement: &Prepared,
        params: Params,
        protocol: Protocol,
    ) -> Result<Outcome>;

    /// Called after an error went to the client (also one of the protocol's own), so that an open
    /// transaction block fails.
    fn failed(&mut self, error: &Error);

    /// For ReadyForQuery.
    fn transaction(&self) -> TransactionStatus;

    /// Ends an implicit transaction of the extended protocol (Sync) or of a simple query with
    /// several statements. `Err` is the failure to commit it.
    async fn sync(&mut self) -> Result<()>;

    /// Begins the implicit transaction of a simple query that has several statements.
    fn begin_implicit(&mut self);

    /// What a commit of this session passes; a cancel shuts it first.
    fn gate(&self) -> Arc<CommitGate>;

    /// Where the client's messages are counted.
    fn message_memory(&self) -> MessageMemory {
        MessageMemory::default()
    }

    /// Notices and parameter changes that arose since the last call, in order.
    fn drain_messages(&mut self) -> Vec<SideMessage>;

    /// The columns of a cursor that was DECLAREd: to a driver it is a portal of that name, which it
    /// may describe.
    fn cursor_columns(&self, name: &str) -> Option<SchemaRef> {
        let _ = name;
        None
    }

    /// How values are written as text (time zone, bytea_output, …), by the session's settings.
    fn text_style(&self) -> TextStyle;

    /// `statement_timeout` and `idle_in_transaction_session_timeout`; None is without limit.
    fn timeouts(&self) -> Timeouts;
}

/// A statement that was parsed, and for the extended protocol planned. Cheap to clone.
#[derive(Clone)]
pub struct Prepared {
    /// The types of `$1`, `$2`, ….
    pub params: Vec<SqlType>,
    /// The columns it returns; None for a statement that returns no rows. Only set by `prepare`.
    pub columns: Option<SchemaRef>,
    /// There is no statement in the text (EmptyQueryResponse).
    pub is_empty: bool,
    /// What the session needs to run it: `session` puts its own type here.
    pub inner: std::sync::Arc<dyn std::any::Any + Send + Sync>,
}

/// Parameter values: arrays of length 1.
pub type Params = Vec<arrow::array::ArrayRef>;

/// Which of Postgres's two query protocols asks; a bare SUBSCRIBE answers with copy-out in the
/// simple one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// One text, answered as text.
    Simple,
    /// Parse, Bind, Execute.
    Extended,
}

/// What running a statement gives.
pub enum Outcome {
    /// Done; the command tag, such as `INSERT 0 3`.
    Done(String),
    /// Rows, as they come: send what is there whenever the stream has nothing ready.
    Rows(RowStream),
    /// The client is now to send data.
    CopyIn(Box<dyn CopyIn>),
    /// Data for the client; flush after each item.
    CopyOut(CopyOut),
}

/// Rows of a SELECT, FETCH, RETURNING, SHOW, …
pub struct RowStream {
    /// The columns.
    pub schema: SchemaRef,
    /// Batches with that schema.
    pub stream: BoxStream<'static, Result<RecordBatch>>,
    /// The command tag without its count: `SELECT`, `FETCH`, `INSERT 0`; the number of rows is
    /// appended.
    pub tag: &'static str,
    /// SHOW and EXPLAIN have a tag without a count.
    pub counted: bool,
}

/// Data of a COPY … TO STDOUT or a bare SUBSCRIBE.
pub struct CopyOut {
    /// Overall and per-column format: 0 text and csv, 1 binary.
    pub format: i16,
    /// How many columns.
    pub columns: usize,
    /// Encoded data, and how many rows are in it.
    pub stream: BoxStream<'static, Result<(Bytes, u64)>>,
    /// `COPY`; the number of rows is appended.
    pub tag: &'static str,
}

/// A COPY … FROM STDIN in progress. Dropping it leaves nothing written.
#[async_trait]
pub trait CopyIn: Send {
    /// 0 text and csv, 1 binary.
    fn format(&self) -> i16;
    /// How many columns the data has.
    fn columns(&self) -> usize;
    /// Takes the next bytes; they may end in the middle of a row.
    async fn data(&mut self, bytes: Bytes) -> Result<()>;
    /// The client is done: writes everything, returns the tag (`COPY 42`) when it is durable.
    async fn finish(self: Box<Self>) -> Result<String>;
}

/// The status byte of ReadyForQuery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// `I`.
    Idle,
    /// `T`.
    InBlock,
    /// `E`: failed, only ROLLBACK helps.
    Failed,
}

/// What a statement has to say besides its result.
#[derive(Debug, Clone)]
pub enum SideMessage {
    /// NoticeResponse: severity (`NOTICE`, `WARNING`), and an [`Error`] for its text, code and
    /// hint.
    Notice(&'static str, Error),
    /// ParameterStatus: name and new value.
    Parameter(String, String),
}

/// Time limits of a session.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timeouts {
    /// From receiving a statement to its end, planning included.
    pub statement: Option<std::time::Duration>,
    /// How long a transaction may be left idle.
    pub idle_in_transaction: Option<std::time::Duration>,
}

/// What a client says of itself when it connects.
#[derive(Debug, Clone, Default)]
pub struct Startup {
    /// User name.
    pub user: String,
    /// Database name (any; there is one).
    pub database: String,
    /// The other parameters of the startup message, such as `application_name`, `TimeZone`;
    /// `options` (`-c name=value`) taken apart.
    pub settings: Vec<(String, String)>,
    /// The connection's number (its process id for CancelRequest and `pg_backend_pid()`).
    pub id: i32,
}

/// Opens sessions: one per connection.
#[async_trait]
pub trait SessionFactory: Send + Sync + 'static {
    /// A client has connected (and logged in). Errors end the connection.
    async fn open(&self, startup: Startup) -> Result<Box<dyn ClientSession>>;
}
