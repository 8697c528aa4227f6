//! Sessions on an engine in memory, without a wire: the pages of SQL in `tests/slt` that need no
//! system schemas, and what takes two hands.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Record, Runner};

use super::{
    ClientSession, EngineSessions, Outcome, Prepared, Protocol, RowStream, Session, SideMessage,
    Startup, TransactionStatus,
};
use crate::error::{Error, Result, SqlState};
use crate::exec::view::Update;
use crate::exec::{Engine, EngineOptions, Env};
use crate::limits;
use crate::pgtypes::values::Encoder;
use crate::state::Delta;
use crate::store::faulty::{Fault, FaultyStore};
use crate::store::{DiskOptions, DiskStore, FreeSpace, MemoryStore, Store};

async fn sessions() -> EngineSessions {
    sessions_over(Arc::new(MemoryStore::new())).await
}

async fn sessions_over(store: Arc<dyn Store>) -> EngineSessions {
    EngineSessions::new(engine_over(store).await)
}

/// An engine on two threads.
pub(super) async fn engine_over(store: Arc<dyn Store>) -> Arc<Engine> {
    let options = EngineOptions {
        files: ".".into(),
        memory: 1 << 30,
        threads: 2,
        bounded: false,
        common_epoch: Duration::from_millis(limits::COMMON_EPOCH_MS),
        fold_bytes: limits::FOLD_BYTES,
        unread_bytes: limits::UNREAD_BYTES,
    };
    Engine::open(Env::of_server(store, tokio::runtime::Handle::current()), options).await.unwrap()
}

/// Does with a session what the wire does with it for a simple query.
struct Client(Session);

fn client(sessions: &EngineSessions) -> Client {
    Client(sessions.session(Startup { user: "tester".into(), ..Startup::default() }).unwrap())
}

/// What a statement gave: its tag or its rows as text.
#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Tag(String),
    Rows(Vec<Vec<String>>),
}

impl Client {
    async fn text(&mut self, sql: &str, data: &str) -> Result<Answer> {
        let answer = self.run_text(sql, data).await;
        if let Err(error) = &answer {
            self.0.failed(error);
            self.0.sync().await?;
        }
        answer
    }

    async fn run_text(&mut self, sql: &str, data: &str) -> Result<Answer> {
        let statements = self.0.split(sql).await?;
        if statements.len() > 1 {
            self.0.begin_implicit();
        }
        let mut last = Answer::Tag(String::new());
        for statement in &statements {
            last = self.one(statement, data).await?;
        }
        self.0.sync().await?;
        Ok(last)
    }

    async fn one(&mut self, statement: &Prepared, data: &str) -> Result<Answer> {
        match self.0.execute(statement, Vec::new(), Protocol::Simple).await? {
            Outcome::Done(tag) => Ok(Answer::Tag(tag)),
            Outcome::Rows(rows) => self.rows(rows).await.map(Answer::Rows),
            Outcome::CopyIn(mut sink) => {
                sink.data(Bytes::from(data.to_owned())).await?;
                sink.finish().await.map(Answer::Tag)
            }
            Outcome::CopyOut(mut out) => {
                let mut all = BytesMut::new();
                while let Some(part) = out.stream.next().await {
                    all.extend_from_slice(&part?.0);
                }
                let text = String::from_utf8_lossy(&all).replace('\t', "<tab>");
                Ok(Answer::Rows(text.lines().map(|line| vec![line.to_owned()]).collect()))
            }
        }
    }

    async fn rows(&self, mut rows: RowStream) -> Result<Vec<Vec<String>>> {
        let style = self.0.text_style();
        let encoders: Vec<_> =
            rows.schema.fields().iter().map(|field| Encoder::new(field)).collect();
        let mut shown = Vec::new();
        while let Some(batch) = rows.stream.next().await {
            let batch = batch?;
            for row in 0..batch.num_rows() {
                let cell = |(encoder, column): (&Encoder, &arrow::array::ArrayRef)| {
                    if encoder.is_null(column.as_ref(), row) {
                        return "NULL".to_owned();
                    }
                    let mut bytes = BytesMut::new();
                    encoder.text(column.as_ref(), row, &style, &mut bytes);
                    if bytes.is_empty() {
                        "(empty)".to_owned()
                    } else {
                        String::from_utf8_lossy(&bytes).into_owned()
                    }
                };
                shown.push(encoders.iter().zip(batch.columns()).map(cell).collect());
            }
        }
        Ok(shown)
    }

    async fn ok(&mut self, sql: &str) -> Answer {
        self.text(sql, "").await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    async fn state(&mut self, sql: &str) -> SqlState {
        match self.text(sql, "").await {
            Ok(answer) => panic!("{sql} should fail, but gives {answer:?}"),
            Err(error) => error.state(),
        }
    }
}

/// The error as psql shows it.
#[derive(Debug)]
struct Shown(Error);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ERROR [{}]: {}", self.0.state().code(), self.0)?;
        if let Some(detail) = self.0.detail_text() {
            write!(f, " DETAIL: {detail}")?;
        }
        match self.0.hint_text() {
            Some(hint) => write!(f, " HINT: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Shown {}

#[async_trait]
impl AsyncDB for Client {
    type Error = Shown;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Shown> {
        let is_copy_in =
            sql.to_uppercase().starts_with("COPY") && sql.to_uppercase().contains("FROM STDIN");
        let (statement, data) = if is_copy_in {
            sql.split_once(";\n").unwrap_or((sql.trim_end_matches(';'), ""))
        } else {
            (sql, "")
        };
        let data = if data.is_empty() {
            String::new()
        } else {
            format!("{}\n", data.replace("<tab>", "\t"))
        };
        let work = self.text(statement, &data);
        let answer = tokio::time::timeout(Duration::from_secs(20), work)
            .await
            .unwrap_or_else(|_| Err(Error::new(SqlState::Cancelled, "no answer in 20 s")));
        match answer.map_err(Shown)? {
            Answer::Tag(tag) => {
                let count =
                    tag.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
                Ok(DBOutput::StatementComplete(count))
            }
            Answer::Rows(rows) => {
                let width = rows.first().map_or(1, Vec::len);
                Ok(DBOutput::Rows { types: vec![DefaultColumnType::Any; width], rows })
            }
        }
    }

    async fn shutdown(&mut self) {}

    fn error_sql_state(error: &Shown) -> Option<String> {
        Some(error.0.state().code().to_owned())
    }
}

/// Runs a page to its end and gives everything that is not as it says.
async fn page(name: &str, text: &str) -> Vec<String> {
    let sessions = sessions().await;
    let mut runner = Runner::new(|| async { Ok(client(&sessions)) });
    let mut failures = Vec::new();
    for record in sqllogictest::parse::<DefaultColumnType>(text).unwrap() {
        if matches!(record, Record::Halt { .. }) {
            break;
        }
        if let Err(error) = runner.run_async(record).await {
            failures.push(format!("{name}: {error}"));
        }
    }
    failures
}

macro_rules! pages {
    ($($test:ident = $path:literal,)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            let failures = page($path, include_str!(concat!("../../tests/slt/", $path))).await;
            assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n\n"));
        })*
    };
}

pages! {
    page_tables = "ddl/tables.slt",
    page_cursors = "live/cursors.slt",
    page_subscribe = "live/subscribe.slt",
    page_snapshots = "query/snapshots.slt",
    page_settings = "system/settings.slt",
    page_copy = "write/copy.slt",
    page_transactions = "write/transactions.slt",
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_block_takes_nothing_but_its_end() {
    let sessions = sessions().await;
    let mut client = client(&sessions);
    client.ok("CREATE TABLE t (a INT)").await;
    client.ok("BEGIN").await;
    client.ok("INSERT INTO t VALUES (1)").await;
    assert_eq!(client.ok("SELECT * FROM t").await, Answer::Rows(vec![vec!["1".into()]]));
    assert_eq!(client.state("SELECT * FROM nothing").await, SqlState::UndefinedTable);
    assert_eq!(client.0.transaction(), TransactionStatus::Failed);
    assert_eq!(client.state("SELECT 1").await, SqlState::FailedTransaction);
    assert_eq!(client.ok("COMMIT").await, Answer::Tag("ROLLBACK".into()));
    assert_eq!(client.ok("SELECT * FROM t").await, Answer::Rows(Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_statements_are_written_together_or_not_at_all() {
    let sessions = sessions().await;
    let mut client = client(&sessions);
    client.ok("CREATE TABLE t (a INT)").await;
    assert_eq!(
        client.state("INSERT INTO t VALUES (1); SELECT 1/0").await,
        SqlState::DivisionByZero
    );
    assert_eq!(client.ok("SELECT * FROM t").await, Answer::Rows(Vec::new()));
    client.ok("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)").await;
    assert_eq!(client.ok("SELECT count(*) FROM t").await, Answer::Rows(vec![vec!["2".into()]]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prepared_statements_know_their_parameters_and_columns() {
    let sessions = sessions().await;
    let mut session = sessions.session(Startup::default()).unwrap();
    let names = |prepared: &Prepared| -> Vec<String> {
        let schema = prepared.columns.as_ref().unwrap();
        schema.fields().iter().map(|field| field.name().to_string()).collect()
    };
    let prepared =
        session.prepare("SELECT $1::int + 1, $2 AS t, count(*) LIMIT $3", &[]).await.unwrap();
    use crate::types::SqlType::{BigInt, Int, Text};
    assert_eq!(prepared.params, [Int, Text, BigInt]);
    assert_eq!(names(&prepared), ["?column?", "t", "count"]);
    assert!(session.prepare("", &[]).await.unwrap().is_empty);
    let params: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(arrow::array::Int32Array::from(vec![41])),
        Arc::new(arrow::array::StringArray::from(vec!["it's"])),
        Arc::new(arrow::array::Int64Array::from(vec![5])),
    ];
    let Outcome::Rows(rows) = session.execute(&prepared, params, Protocol::Extended).await.unwrap()
    else {
        panic!("rows");
    };
    let client = Client(session);
    assert_eq!(client.rows(rows).await.unwrap(), [["42", "it's", "1"]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_continuous_select_gives_rows_as_they_come_and_ends_with_its_limit() {
    let sessions = sessions().await;
    let (mut reader, mut writer) = (client(&sessions), client(&sessions));
    writer.ok("CREATE STREAM s (v INT)").await;
    writer.ok("INSERT INTO s VALUES (1)").await;
    let reading =
        tokio::spawn(async move { reader.ok("SELECT v, v FROM s EMIT CHANGES LIMIT 3").await });
    writer.ok("INSERT INTO s VALUES (2)").await;
    writer.ok("INSERT INTO s VALUES (3), (4)").await;
    let rows = tokio::time::timeout(Duration::from_secs(10), reading).await.unwrap().unwrap();
    let row = |v: &str| vec![v.to_owned(), v.to_owned()];
    assert_eq!(rows, Answer::Rows(vec![row("1"), row("2"), row("3")]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_in_a_block_is_refused_with_a_hint() {
    let sessions = sessions().await;
    let mut client = client(&sessions);
    client.ok("BEGIN").await;
    assert_eq!(client.state("CREATE TABLE t (a INT)").await, SqlState::ActiveTransaction);
    client.ok("ROLLBACK").await;
    client.ok("COMMIT").await;
    let messages = client.0.drain_messages();
    assert!(messages.iter().any(|message| matches!(message, SideMessage::Notice("WARNING", _))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_drop_makes_room_and_a_refused_pause_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(u64::MAX));
    let asked = Arc::clone(&free);
    let free_space: FreeSpace = Arc::new(move |_| Ok(asked.load(Ordering::Relaxed)));
    let options = DiskOptions { free_space, ..DiskOptions::default() };
    let sessions =
        sessions_over(Arc::new(DiskStore::open_with(dir.path(), options).unwrap())).await;
    let mut client = client(&sessions);
    for sql in [
        "CREATE STREAM s (k BIGINT)",
        "CREATE STREAM junk (k BIGINT)",
        "CREATE TABLE old (k BIGINT PRIMARY KEY)",
        "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM s",
        "CREATE MATERIALIZED VIEW w AS SELECT count(*) AS n FROM s",
        "INSERT INTO junk SELECT * FROM generate_series(1, 1000)",
        "INSERT INTO old VALUES (1)",
        "INSERT INTO s VALUES (1)",
    ] {
        client.ok(sql).await;
    }
    let one = |n: &str| Answer::Rows(vec![vec![n.into()]]);
    assert_eq!(client.ok("SELECT n FROM v").await, one("1"));
    free.store(limits::DISK_RESERVE_BYTES - 1, Ordering::Relaxed);
    assert_eq!(client.state("INSERT INTO s VALUES (2)").await, SqlState::DiskFull);
    assert_eq!(client.state("ALTER MATERIALIZED VIEW v PAUSE").await, SqlState::DiskFull);
    client.ok("DROP STREAM junk").await;
    client.ok("DROP TABLE old").await;
    client.ok("DROP MATERIALIZED VIEW w").await;
    free.store(u64::MAX, Ordering::Relaxed);
    client.ok("INSERT INTO s VALUES (3)").await;
    assert_eq!(client.ok("SELECT n FROM v").await, one("2"), "it runs as if nobody had asked");
    client.ok("ALTER MATERIALIZED VIEW v PAUSE").await;
    client.ok("INSERT INTO s VALUES (4)").await;
    assert_eq!(client.ok("SELECT n FROM v").await, one("2"));
    client.ok("ALTER MATERIALIZED VIEW v RESUME").await;
    assert_eq!(client.ok("SELECT n FROM v").await, one("3"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_drop_that_failed_each_view_runs_once() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), []));
    let engine = engine_over(Arc::clone(&store) as _).await;
    let mut client = client(&EngineSessions::new(Arc::clone(&engine)));
    client.ok("CREATE STREAM s (k BIGINT)").await;
    client.ok("CREATE MATERIALIZED VIEW low AS SELECT count(*) AS n FROM s").await;
    client.ok("CREATE MATERIALIZED VIEW high AS SELECT max(n) AS n FROM low").await;
    let one = |n: u64| Answer::Rows(vec![vec![n.to_string()]]);
    assert_eq!(client.ok("SELECT n FROM high").await, one(0));
    let followed =
        engine.catalog.names().find("public", "high").map(|relation| relation.id).unwrap();
    let (_, mut followed) = engine.view(followed).unwrap().subscribe(followed);
    // The view above is stopped first, and then its removal fails; the one below still runs.
    store.arm(Fault::FailRead(store.reads() + 1));
    assert_eq!(client.state("DROP MATERIALIZED VIEW low CASCADE").await, SqlState::Io);
    let low = engine.catalog.names().find("public", "low").map(|relation| relation.id).unwrap();
    let (_, mut changes) = engine.view(low).unwrap().subscribe(low);
    for n in 1..=3 {
        client.ok("INSERT INTO s VALUES (1)").await;
        assert_eq!(client.ok("SELECT n FROM high").await, one(n));
        assert_eq!(client.ok("SELECT n FROM low").await, one(n));
    }
    let mut told = 0;
    while let Some(update) = changes.try_next() {
        if let Update::Epoch(_, deltas) = update {
            told += deltas.iter().map(Delta::rows).sum::<usize>();
        }
    }
    assert_eq!(told, 6, "each change takes a row away and gives one, once");
    let mut goes_on = false;
    while let Some(update) = followed.try_next() {
        assert!(!matches!(update, Update::Ended(_)), "who follows a view still has it");
        goes_on = true;
    }
    assert!(goes_on);
}
