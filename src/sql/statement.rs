//! The statements of Tidemill's SQL, as the rest of the house sees them.
//!
//! Where a statement is the same as in Postgres its parts are sqlparser's AST nodes; where it is
//! ours the parts are spelled out. Options are checked for their form here, for their meaning by
//! whoever uses them.

use std::time::Duration;

use datafusion::sql::sqlparser::ast::{self, Expr, Ident, ObjectName, Query};

pub use crate::catalog::{BodyText, Stability};
pub use crate::pgtypes::copy::{CopyFormat, CopyHeader, CopyOptions, ForceColumns};
use crate::types::SqlType;

/// One statement.
#[derive(Debug, Clone)]
#[allow(missing_docs, clippy::large_enum_variant)]
pub enum Statement {
    /// SELECT, VALUES, WITH …, TABLE t; with EMIT it is continuous.
    Query(ContinuousQuery),
    /// EXPLAIN \[(ANALYZE)\] query, EXPLAIN MATERIALIZED VIEW v, EXPLAIN WATERMARK FOR v.
    Explain(Explain),
    /// SUBSCRIBE \[TO\] …
    Subscribe(Subscribe),
    /// INSERT.
    Insert(ast::Insert),
    /// INSERT … EMIT …: [`feeding_insert`](super::feeding_insert) has more of it.
    InsertEmitting(ast::Insert),
    /// UPDATE (the AST node is `Statement::Update`).
    Update(ast::Update),
    /// DELETE.
    Delete(ast::Delete),
    /// WITH of statements that write.
    Changes(Box<Changes>),
    /// TRUNCATE \[TABLE\] name, ….
    Truncate(Vec<ObjectName>),
    /// COPY … FROM STDIN.
    CopyFrom(CopyFrom),
    /// COPY … TO STDOUT.
    CopyTo(CopyTo),
    /// CREATE STREAM, CREATE SOURCE, and CREATE TABLE with WATERMARK or a `connector`.
    CreateStream(CreateRelation),
    /// CREATE TABLE.
    CreateTable(CreateRelation),
    /// CREATE TABLE … AS query.
    CreateTableAs {
        name: ObjectName,
        if_not_exists: bool,
        columns: Vec<Ident>,
        query: Box<Query>,
        with_data: WithData,
    },
    /// CREATE \[OR REPLACE\] VIEW; `text` is the query as written.
    CreateView {
        name: ObjectName,
        or_replace: bool,
        if_not_exists: bool,
        columns: Vec<Ident>,
        query: Box<Query>,
        text: String,
    },
    /// CREATE MATERIALIZED VIEW; `text` is the query as written, EMIT included.
    CreateMaterializedView {
        name: ObjectName,
        if_not_exists: bool,
        columns: Vec<Ident>,
        options: Options,
        query: ContinuousQuery,
        text: String,
    },
    /// CREATE SINK.
    CreateSink(Box<CreateSink>),
    /// CREATE STREAM name \[(columns)\] \[WITH (…)\] AS query.
    CreateStreamAs(Box<CreateStreamAs>),
    /// INSERT as what feeds a sink.
    FeedSink(Box<FeedSink>),
    /// CREATE \[OR REPLACE\] FUNCTION.
    CreateFunction(Box<CreateFunction>),
    /// CREATE \[OR REPLACE\] AGGREGATE.
    CreateAggregate(Box<CreateAggregate>),
    /// DROP FUNCTION|AGGREGATE|ROUTINE \[IF EXISTS\] name \[(types)\], … \[CASCADE\].
    DropRoutines {
        kind: RoutineType,
        if_exists: bool,
        routines: Vec<NamedRoutine>,
        cascade: Cascade,
    },
    /// CREATE SCHEMA.
    CreateSchema { name: Ident, if_not_exists: bool },
    /// DROP SCHEMA.
    DropSchemas { names: Vec<Ident>, if_exists: bool, cascade: Cascade },
    /// CREATE INDEX: what it is over.
    CreateIndex { relation: ObjectName, columns: Vec<Ident> },
    /// DROP INDEX.
    DropIndex,
    /// REFRESH TABLE: parsed to be refused well.
    NotBuilt { what: String, hint: String },
    /// DROP kind \[IF EXISTS\] names \[CASCADE\].
    Drop { kind: RelationKind, if_exists: bool, names: Vec<ObjectName>, cascade: Cascade },
    /// ALTER … RENAME TO.
    Rename { kind: RelationKind, name: ObjectName, to: Ident },
    /// ALTER MATERIALIZED VIEW|SINK name PAUSE|RESUME.
    SetRunning { kind: RelationKind, name: ObjectName, run: PauseOrResume },
    /// SHOW STREAMS|TABLES|VIEWS|MATERIALIZED VIEWS|SINKS|QUERIES.
    ShowRelations(Listing),
    /// SHOW CREATE … name.
    ShowCreate(ObjectName),
    /// DESCRIBE name.
    Describe(ObjectName),
    /// SHOW name | SHOW ALL (None).
    ShowVariable(Option<String>),
    /// SET \[SESSION|LOCAL\] name = value; None is DEFAULT.
    SetVariable { scope: SetScope, name: String, value: Option<String> },
    /// RESET name | RESET ALL (None).
    Reset(Option<String>),
    /// COMMENT ON …: without a text it goes.
    Comment { name: ObjectName, on: CommentOn, text: Option<String> },
    /// SET TRANSACTION (Local), SET SESSION CHARACTERISTICS (Session), with READ ONLY or READ WRITE if one
    /// is there.
    SetTransaction { scope: SetScope, read_only: Option<bool> },
    /// BEGIN, START TRANSACTION.
    Begin { read_only: Option<bool> },
    /// COMMIT, END.
    Commit,
    /// ROLLBACK, ABORT.
    Rollback,
    /// SAVEPOINT name.
    Savepoint(Ident),
    /// ROLLBACK TO \[SAVEPOINT\] name.
    RollbackTo(Ident),
    /// RELEASE \[SAVEPOINT\] name.
    Release(Ident),
    /// DECLARE name \[BINARY\] … CURSOR \[WITH HOLD\] FOR query | SUBSCRIBE.
    Declare { name: Ident, binary: bool, hold: bool, source: CursorSource },
    /// FETCH … FROM name.
    Fetch { name: Ident, count: FetchCount, timeout: Option<Duration> },
    /// MOVE … IN name.
    Move { name: Ident, count: FetchCount },
    /// CLOSE name | CLOSE ALL (None).
    Close(Option<Ident>),
    /// PREPARE name \[(types)\] AS statement.
    Prepare { name: Ident, types: Vec<SqlType>, statement: Box<Statement> },
    /// EXECUTE name \[(values)\].
    Execute { name: Ident, values: Vec<Expr> },
    /// DEALLOCATE name | ALL (None).
    Deallocate(Option<Ident>),
    /// DISCARD ALL, LISTEN, UNLISTEN and the like, which drivers send between uses: the tag to
    /// answer.
    Discard(&'static str),
}

/// `WITH a AS (DELETE … RETURNING …), … INSERT …`: statements that write together, of which none sees
/// what another one does to a table.
#[derive(Debug, Clone)]
pub struct Changes {
    /// In order: an INSERT, UPDATE or DELETE, and under which name, with which columns, those behind it
    /// see what it returns.
    pub named: Vec<(ast::TableAlias, Statement)>,
    /// An INSERT, UPDATE, DELETE or a query.
    pub last: Statement,
}

impl Changes {
    /// All of them.
    pub fn statements(&self) -> impl Iterator<Item = &Statement> {
        self.named.iter().map(|(_, statement)| statement).chain([&self.last])
    }
}

/// A query with its EMIT clause.
#[derive(Debug, Clone)]
pub struct ContinuousQuery {
    /// The query; a LIMIT written after EMIT is put into it.
    pub query: Box<Query>,
    /// None: a snapshot (for a view or SUBSCRIBE: EMIT CHANGES).
    pub emit: Option<Emit>,
}

/// When a continuous query emits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// EMIT ON WINDOW CLOSE, EMIT FINAL: each window once.
    OnWindowClose,
    /// EMIT CHANGES: the new version of each row that changed.
    Changes,
}

/// EXPLAIN.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum Explain {
    /// Of a query; `analyze` runs it.
    Query { analyze: bool, verbose: bool, query: ContinuousQuery },
    /// Of a running view; `analyze` with what each of its operators has done.
    View { analyze: bool, name: ObjectName },
    /// EXPLAIN WATERMARK FOR view.
    Watermark(ObjectName),
}

/// SUBSCRIBE \[TO\] {view | (query) | query} \[WITH (SNAPSHOT, PROGRESS)\] \[AS OF EPOCH n\].
#[derive(Debug, Clone)]
pub struct Subscribe {
    /// A relation's name, or a query.
    pub what: SubscribeTo,
    /// Begin with the present contents.
    pub snapshot: bool,
    /// A row for each epoch without changes.
    pub progress: bool,
    /// Resume after this epoch.
    pub as_of: Option<u64>,
}

/// What a SUBSCRIBE reads.
#[derive(Debug, Clone)]
pub enum SubscribeTo {
    /// By name.
    Relation(ObjectName),
    /// A query of its own.
    Query(ContinuousQuery),
}

/// What a cursor reads.
#[derive(Debug, Clone)]
pub enum CursorSource {
    /// A query, continuous or not.
    Query(ContinuousQuery),
    /// A subscription.
    Subscribe(Subscribe),
}

/// How many rows FETCH and MOVE take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchCount {
    /// NEXT, n, FORWARD n; 0 is allowed.
    Rows(u64),
    /// ALL, FORWARD ALL.
    All,
}

/// COPY name \[(columns)\] FROM STDIN.
#[derive(Debug, Clone)]
pub struct CopyFrom {
    /// Into which relation.
    pub name: ObjectName,
    /// Empty: all columns.
    pub columns: Vec<Ident>,
    /// How the data is written.
    pub options: CopyOptions,
}

/// COPY … TO STDOUT.
#[derive(Debug, Clone)]
pub struct CopyTo {
    /// What to write out.
    pub source: CopySource,
    /// How.
    pub options: CopyOptions,
}

/// What COPY … TO writes out.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum CopySource {
    /// COPY name \[(columns)\] TO.
    Relation { name: ObjectName, columns: Vec<Ident> },
    /// COPY (query \[EMIT …\]) TO.
    Query(ContinuousQuery),
    /// COPY (SUBSCRIBE …) TO.
    Subscribe(Subscribe),
}

/// CREATE STREAM / CREATE TABLE with a column list.
#[derive(Debug, Clone)]
pub struct CreateRelation {
    /// Its name.
    pub name: ObjectName,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// In order.
    pub columns: Vec<ColumnDef>,
    /// WATERMARK FOR; a second one is a syntax error already.
    pub watermark: Option<WatermarkDef>,
    /// PRIMARY KEY columns, from the column or the table constraint; empty: none.
    pub primary_key: Vec<Ident>,
    /// UNIQUE, of columns and of several together.
    pub uniques: Vec<UniqueDef>,
    /// CHECK, of columns and of the whole row.
    pub checks: Vec<CheckDef>,
    /// APPEND ONLY, as RisingWave writes it.
    pub append_only: bool,
    /// WITH (…).
    pub options: Options,
    /// The statement as written, for SHOW CREATE.
    pub text: String,
}

/// One column of a CREATE.
#[derive(Debug, Clone)]
pub struct ColumnDef {
    /// Its name, folded to lower case unless quoted.
    pub name: Ident,
    /// Its type; None for Flink's `name AS expr`, where the expression has it.
    pub sql_type: Option<SqlType>,
    /// NOT NULL (or part of the primary key).
    pub not_null: bool,
    /// DEFAULT expr.
    pub default: Option<Expr>,
    /// GENERATED ALWAYS AS (expr) STORED, `name AS expr`.
    pub generated: Option<Expr>,
}

/// \[CONSTRAINT name\] UNIQUE (columns).
#[derive(Debug, Clone)]
pub struct UniqueDef {
    /// Its name, if it has been given one.
    pub name: Option<Ident>,
    /// Its columns.
    pub columns: Vec<Ident>,
    /// 1-based character offset of the clause.
    pub position: usize,
}

/// \[CONSTRAINT name\] CHECK (condition).
#[derive(Debug, Clone)]
pub struct CheckDef {
    /// Its name, if it has been given one.
    pub name: Option<Ident>,
    /// What must not be false.
    pub condition: Expr,
    /// 1-based character offset of the clause.
    pub position: usize,
}

/// WATERMARK FOR column \[AS expr\].
#[derive(Debug, Clone)]
pub struct WatermarkDef {
    /// The event-time column.
    pub column: Ident,
    /// None: ascending.
    pub expr: Option<Expr>,
    /// 1-based character offset of the clause.
    pub position: usize,
}

/// CREATE FUNCTION.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct CreateFunction {
    pub name: ObjectName,
    pub or_replace: bool,
    pub arguments: Vec<RoutineArgument>,
    pub returns: SqlType,
    pub body: BodyText,
    /// STRICT, RETURNS NULL ON NULL INPUT.
    pub strict: bool,
    pub stability: Stability,
}

/// CREATE AGGREGATE.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct CreateAggregate {
    pub name: ObjectName,
    pub or_replace: bool,
    pub arguments: Vec<RoutineArgument>,
    /// STYPE.
    pub state: SqlType,
    /// INITCOND.
    pub initial: Option<String>,
    /// SFUNC.
    pub transition: ObjectName,
    /// COMBINEFUNC.
    pub combine: Option<ObjectName>,
    /// FINALFUNC.
    pub finish: Option<ObjectName>,
    /// MINVFUNC.
    pub inverse: Option<ObjectName>,
}

/// An argument of a function.
#[derive(Debug, Clone)]
pub struct RoutineArgument {
    /// Its name, folded.
    pub name: Option<Ident>,
    /// Its type, without length or precision.
    pub sql_type: SqlType,
}

/// A function as DROP names it.
#[derive(Debug, Clone)]
pub struct NamedRoutine {
    /// Its name.
    pub name: ObjectName,
    /// The types of its arguments; None: there is only one of that name.
    pub types: Option<Vec<SqlType>>,
}

/// What DROP says it drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RoutineType {
    Function,
    Aggregate,
    /// Either.
    Routine,
}

/// WITH options in order: names in lower case without quotes, values as text without quotes
/// (numbers and booleans as written). A name given twice is a syntax error already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options(pub Vec<(String, String)>);

/// WITH \[NO\] DATA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithData {
    /// With the rows of the query.
    Yes,
    /// Only the columns.
    No,
}

/// CREATE SINK \[IF NOT EXISTS\] name {FROM relation | AS query \[EMIT …\]} WITH (…).
#[derive(Debug, Clone)]
pub struct CreateSink {
    /// Its name.
    pub name: ObjectName,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// What feeds it.
    pub source: SinkSource,
    /// WITH.
    pub options: Options,
}

/// CREATE STREAM … AS.
#[derive(Debug, Clone)]
pub struct CreateStreamAs {
    /// Its name.
    pub name: ObjectName,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// Names of its first columns.
    pub columns: Vec<Ident>,
    /// WITH.
    pub options: Options,
    /// The query that writes it.
    pub query: ContinuousQuery,
    /// Its text.
    pub text: String,
}

/// INSERT INTO name \[(columns)\] query \[EMIT …\], as what feeds a sink from now on.
#[derive(Debug, Clone)]
pub struct FeedSink {
    /// The stream with the sink's connector.
    pub name: ObjectName,
    /// Which of its columns; none: all.
    pub columns: Vec<Ident>,
    /// The query.
    pub query: ContinuousQuery,
    /// Its text.
    pub text: String,
}

/// What feeds a sink.
#[derive(Debug, Clone)]
pub enum SinkSource {
    /// FROM name.
    Relation(ObjectName),
    /// AS query, and its text without EMIT.
    Query(ContinuousQuery, String),
}

/// The kind named in DROP, ALTER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RelationKind {
    Stream,
    Table,
    View,
    MaterializedView,
    Sink,
}

/// What COMMENT is on, beside the name of the relation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CommentOn {
    Relation(RelationKind),
    Column(Ident),
}

/// CASCADE or RESTRICT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Cascade {
    Restrict,
    Cascade,
}

/// PAUSE or RESUME.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum PauseOrResume {
    Pause,
    Resume,
}

/// What SHOW lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Listing {
    Streams,
    Tables,
    Views,
    MaterializedViews,
    Sinks,
    Queries,
    Functions,
}

/// SET \[SESSION\] or SET LOCAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SetScope {
    Session,
    Local,
}
