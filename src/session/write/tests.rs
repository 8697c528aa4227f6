//! Writing rows, statement by statement, through a session on an engine in memory.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;

use crate::error::{Error, SqlState};
use crate::limits;
use crate::session::tests::engine_over;
use crate::session::{ClientSession, EngineSessions, Outcome, Protocol, SessionFactory, Startup};
use crate::store::MemoryStore;

/// A session on an engine of its own.
pub(in crate::session) struct Client(Box<dyn ClientSession>);

impl Client {
    async fn open() -> Client {
        let engine = engine_over(Arc::new(MemoryStore::new())).await;
        let sessions = EngineSessions::new(engine);
        let startup = Startup { user: "ada".into(), ..Startup::default() };
        Client(sessions.open(startup).await.unwrap())
    }

    /// Runs one statement: its tag, or its rows as lines.
    pub(in crate::session) async fn sql(&mut self, sql: &str) -> Result<String, Error> {
        let mut last = String::new();
        for statement in self.0.split(sql).await? {
            last = match self.0.execute(&statement, Vec::new(), Protocol::Simple).await {
                Ok(Outcome::Done(tag)) => tag,
                Ok(Outcome::Rows(rows)) => lines(&rows.stream.try_collect::<Vec<_>>().await?),
                Ok(_) => return Err(Error::internal("a COPY in this test")),
                Err(error) => {
                    self.0.failed(&error);
                    self.0.sync().await.ok();
                    return Err(error);
                }
            };
            self.0.sync().await?;
        }
        Ok(last)
    }

    async fn check(&mut self, sql: &str, expect: &str) {
        match self.sql(sql).await {
            Ok(got) => assert_eq!(got, expect, "{sql}"),
            Err(error) => panic!("{sql}: {error} {:?}", error.state()),
        }
    }

    async fn fails(&mut self, sql: &str, state: SqlState, message: &str) {
        match self.sql(sql).await {
            Ok(got) => panic!("{sql}: {got}"),
            Err(error) => assert_eq!((error.state(), error.message()), (state, message), "{sql}"),
        }
    }

    async fn copy(&mut self, sql: &str, data: &[u8]) -> Result<String, Error> {
        let statement = self.0.split(sql).await?.remove(0);
        let Outcome::CopyIn(mut copy) =
            self.0.execute(&statement, Vec::new(), Protocol::Simple).await?
        else {
            return Err(Error::internal("no COPY"));
        };
        for piece in data.chunks(7) {
            copy.data(bytes::Bytes::copy_from_slice(piece)).await?;
        }
        let tag = copy.finish().await?;
        self.0.sync().await?;
        Ok(tag)
    }
}

fn lines(batches: &[RecordBatch]) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let mut lines = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            lines.push(
                columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|"),
            );
        }
    }
    lines.join("\n")
}

/// Runs a test on threads with stacks that planning is content with.
pub(in crate::session) fn with_client<F>(test: impl FnOnce(Client) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(limits::PLANNING_STACK_BYTES)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::spawn(async { test(Client::open().await).await }).await.unwrap()
    });
    runtime.shutdown_background();
}

#[test]
fn literals_are_read_as_the_type_of_their_column() {
    with_client(|mut c| async move {
        c.sql(
            "CREATE TABLE t (a int, b text, d decimal(10,2), ts timestamp, l int[], f boolean DEFAULT true)",
        )
        .await
        .unwrap();
        c.check("INSERT INTO t VALUES (1, 'x', 1.005, '2020-01-01', '{1,2}')", "INSERT 0 1").await;
        c.check("INSERT INTO t (b, a) VALUES ('y', 1 + 1), (DEFAULT, 1.6), (5, '7')", "INSERT 0 3")
            .await;
        c.check("SELECT a, b, f FROM t ORDER BY a", "1|x|true\n2|y|true\n2|NULL|true\n7|5|true")
            .await;
        c.check(
            "INSERT INTO t (a, d) VALUES (CAST(-8 AS bigint), CAST(2.5 AS numeric))",
            "INSERT 0 1",
        )
        .await;
        c.check("SELECT d FROM t WHERE a = -8", "2.50").await;
        c.check("SELECT d, l, ts FROM t WHERE a = 1", "1.01|[1, 2]|2020-01-01T00:00:00").await;
    });
}

#[test]
fn what_does_not_fit_is_refused_as_in_postgres() {
    with_client(|mut c| async move {
        c.sql("CREATE TABLE t (a int NOT NULL, b varchar(2), g int GENERATED ALWAYS AS (a * 2) STORED)")
            .await
            .unwrap();
        c.fails(
            "INSERT INTO t VALUES (1, 'x', 3, 4)",
            SqlState::Syntax,
            "INSERT has more expressions than target columns",
        )
        .await;
        c.fails(
            "INSERT INTO t (a, b) VALUES (1)",
            SqlState::Syntax,
            "INSERT has more target columns than expressions",
        )
        .await;
        c.fails(
            "INSERT INTO t (a, a) VALUES (1, 1)",
            SqlState::DuplicateColumn,
            "column \"a\" specified more than once",
        )
        .await;
        c.fails(
            "INSERT INTO t (z) VALUES (1)",
            SqlState::UndefinedColumn,
            "column \"z\" of relation \"t\" does not exist",
        )
        .await;
        c.fails("INSERT INTO t VALUES (3000000000)", SqlState::OutOfRange, "integer out of range")
            .await;
        c.fails(
            "INSERT INTO t VALUES (1, 'abc')",
            SqlState::StringTooLong,
            "value too long for type character varying(2)",
        )
        .await;
        c.fails(
            "INSERT INTO t (a, g) VALUES (1, 1)",
            SqlState::GeneratedAlways,
            "cannot insert a non-DEFAULT value into column \"g\"",
        )
        .await;
        c.fails(
            "INSERT INTO t (a) SELECT b FROM t",
            SqlState::TypeMismatch,
            "column \"a\" is of type integer but expression is of type character varying(2)",
        )
        .await;
        c.fails(
            "INSERT INTO t (b) VALUES ('x')",
            SqlState::NotNull,
            "null value in column \"a\" of relation \"t\" violates not-null constraint",
        )
        .await;
        c.check("INSERT INTO t VALUES (21, 'x') RETURNING g, a + 1 AS n", "42|22").await;
    });
}

#[test]
fn a_conflict_does_what_the_statement_says() {
    with_client(|mut c| async move {
        c.sql("CREATE TABLE t (id int PRIMARY KEY, n int)").await.unwrap();
        c.check("INSERT INTO t VALUES (1, 1), (2, 2)", "INSERT 0 2").await;
        c.check("INSERT INTO t VALUES (1, 9), (3, 3), (3, 4) ON CONFLICT DO NOTHING", "INSERT 0 1")
            .await;
        c.check(
            "INSERT INTO t AS o VALUES (2, 10), (4, 4), (1, 7) ON CONFLICT (id) DO UPDATE SET n = o.n + excluded.n \
             WHERE o.n <> 1 RETURNING id, n",
            "2|12\n4|4",
        )
        .await;
        c.check("SELECT id, n FROM t ORDER BY id", "1|1\n2|12\n3|3\n4|4").await;
        let twice =
            "INSERT INTO t VALUES (1, 1), (1, 2) ON CONFLICT (id) DO UPDATE SET n = excluded.n";
        c.fails(
            twice,
            SqlState::CardinalityViolation,
            "ON CONFLICT DO UPDATE command cannot affect row a second time",
        )
        .await;
        c.fails(
            "INSERT INTO t VALUES (1, 1) ON CONFLICT (n) DO NOTHING",
            SqlState::InvalidColumnReference,
            "there is no unique or exclusion constraint matching the ON CONFLICT specification",
        )
        .await;
    });
}

#[test]
fn update_and_delete_change_what_they_match() {
    with_client(|mut c| async move {
        c.sql(
            "CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 5); CREATE TABLE u (id int, m int)",
        )
        .await
        .unwrap();
        c.sql("INSERT INTO t VALUES (1, 1), (2, 2), (3, 3); INSERT INTO u VALUES (2, 20), (2, 21), (9, 9)")
            .await
            .unwrap();
        c.check("UPDATE t SET id = id + 1", "UPDATE 3").await;
        c.check("UPDATE t SET n = u.m FROM u WHERE u.id = t.id RETURNING t.id", "2").await;
        c.check(
            "UPDATE t AS x SET n = DEFAULT WHERE n IN (SELECT max(n) FROM t WHERE id > 2)",
            "UPDATE 1",
        )
        .await;
        c.check("SELECT id, n FROM t ORDER BY id", "2|20\n3|2\n4|5").await;
        c.check("DELETE FROM t USING u WHERE u.id = t.id", "DELETE 1").await;
        c.check("DELETE FROM t WHERE n > 4 RETURNING *", "4|5").await;
        c.check("DELETE FROM t", "DELETE 1").await;
        c.fails("UPDATE v SET a = 1", SqlState::UndefinedTable, "relation \"v\" does not exist")
            .await;
    });
}

#[test]
fn a_stream_takes_rows_but_no_changes_and_no_infinite_times() {
    with_client(|mut c| async move {
        c.sql("CREATE STREAM s (k text, ts timestamp, p timestamp AS (ts + INTERVAL '1 day'), WATERMARK FOR ts)").await.unwrap();
        c.check("INSERT INTO s (k, ts) VALUES ('a', '2020-01-01')", "INSERT 0 1").await;
        assert_eq!(
            c.copy("COPY s (k, ts) FROM STDIN", b"b\t2020-01-02\nc\t2020-01-03\n").await.unwrap(),
            "COPY 2"
        );
        c.check(
            "SELECT k, p FROM s ORDER BY k",
            "a|2020-01-02T00:00:00\nb|2020-01-03T00:00:00\nc|2020-01-04T00:00:00",
        )
        .await;
        let error =
            c.copy("COPY s (k, ts) FROM STDIN", b"d\t2020-01-02\ne\tnever\n").await.unwrap_err();
        assert_eq!(error.state(), SqlState::BadDatetime);
        assert!(error.detail_text().unwrap().contains("line 2"), "{:?}", error.detail_text());
        c.check("SELECT count(*) FROM s", "3").await;
        let late = c.sql("INSERT INTO s (k, ts) VALUES ('a', 'infinity')").await.unwrap_err();
        assert_eq!(late.state(), SqlState::DatetimeOverflow);
        c.fails("DELETE FROM s", SqlState::WrongObjectType, "cannot delete from stream \"s\"")
            .await;
    });
}
