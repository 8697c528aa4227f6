//! Tidemill: a SQL-first streaming query engine in one binary that speaks Postgres.
//!
//! A user declares streams and tables and writes SQL. A query over a stream is continuous: its
//! answer is kept up to date, window by window, and at every moment equals the same query run over
//! the rows that were not late for it.
//!
//! # A statement's way
//!
//! ```text
//!  psql ─bytes─▶ wire ─text─▶ sql ─Statement─▶ session ─query─▶ postgres ─▶ plan
//!                ▲                                │   names: catalog           │
//!                └──rows── DataFusion ◀─────LogicalPlan, a snapshot────────────┤
//!                                                 │  Pipeline, with EMIT or    ▼
//!                                                 │  in a view:       exec (below)
//!                                                 └─ INSERT, COPY ─rows─▶ log ─one commit─▶ store
//! ```
//! [`wire`] knows sockets and messages, [`sql`] is the only parser, [`session`] decides what a
//! statement does, [`postgres`] makes the query mean what Postgres means by it, [`plan`] turns it
//! into a plan that is run once (a snapshot) or again and again (a pipeline).
//!
//! # A row's way
//!
//! ```text
//!  INSERT ─▶ log ─batch, watermark, commit─▶ exec ─▶ lateness ─on time─▶ fragment (DataFusion)
//!  file ─▶ connect ─decoded records─────────▶       │ late: counted,         │
//!                                                   ▼ kept aside             ▼
//!                                     tidemill.late_rows          operator: slices, keys,
//!                                                                 aggregates; its state
//!                                                                            │ Delta
//!                                                                            ▼
//!      view, client ◀── publish ◀── store ◀─── one commit ─────── fragment (DataFusion)
//!      sink, stream ◀── outbox ◀──────┘                                       │
//!                                                                            │ or, where there
//!                                                                            ▼ is another:
//!                                                                         operator ─▶ …
//! ```
//! Several streams come together in an operator of several ports: a union, an
//! [`AppendJoin`](operators::AppendJoin) of rows that stay, an [`InnerJoin`](operators::InnerJoin) of
//! rows that change, or [`PerKey`](operators::PerKey), which keeps the rows of each port by key and
//! has any plan answered anew for the keys that the epoch has touched. Of the
//! first rows in an order [`Top`](operators::Top) keeps no more than is needed, and
//! [`OverEventTime`](operators::OverEventTime) answers each row of an OVER once, when it is final. A
//! [`TemporalFilter`](operators::TemporalFilter) gives and takes back rows as time passes: it is told
//! the time of the epoch, and says when there must be one. All are [`Operator`](operators::Operator)s.
//!
//! An *epoch* is one micro-batch: how far to read (the cut), read, compute, commit offsets,
//! state, watermarks and answer together, publish. Between epochs nothing is in flight; that is
//! what makes recovery, consistent reads and exactly-once simple.
//!
//! # The rooms, in the order in which to read them
//!
//! | room | what it holds | begin with |
//! |---|---|---|
//! | [`time`] | event time, watermarks, windows and the slices they share | [`time::Watermark`], [`time::SliceSpec`] |
//! | [`state`] | keys, aggregates and rows of a query, as columns | [`state::Delta`] |
//! | [`operators`] | what keeps state: windows, running aggregates, buffers, rows by key; which rows are late | the room's page |
//! | [`plan`] | from a query to a pipeline | [`plan::Pipeline`] |
//! | [`exec`] | epochs, views, recovery, reading | the room's page |
//! | [`log`] | the durable, ordered rows of a stream; the one thread that commits | [`log::Journal`] |
//! | [`store`] | durable bytes behind one small trait | [`store::Store`] |
//! | [`connect`] | files and generators as streams; what feeds a stream from outside; files and the terminal as sinks | [`connect::Source`], [`connect::feeder`], [`connect::Sink`] |
//! | [`catalog`] | names | [`catalog::Catalog`] |
//! | [`sql`] | text to statement | [`sql::Statement`] |
//! | [`session`] | statement to action | the room's page |
//! | [`postgres`], [`types`], [`pgtypes`] | SQL and values as Postgres means them; nothing of streams | the rooms' pages |
//! | [`wire`], [`http`] | the ways in | |
//! | [`error`], [`limits`], [`clock`], [`spawn`], [`announced`] | the ground: SQLSTATEs, every bound there is; time, threads and who is told first: a server's or a simulation's | |
//! | [`cli`], [`server`] | flags, start and stop | |
//!
//! A room imports only from rooms below it, no files go in circles, and each word means one thing:
//! `tests/it/architecture` reads the source and says so.
//!
//! # What always holds, and the test that shows it
//!
//! | invariant | held by |
//! |---|---|
//! | a query's output is a function of (plan, log), and of the time where it reads `now()`: not of batch sizes, threads, restarts or hash order | `oracle::live_answer_view_and_snapshot_equal_an_independent_answer` |
//! | nothing is visible before it is durable; what is acknowledged counts exactly once | `crash::twenty_crashes_lose_nothing_and_count_nothing_twice`, `simulation::whatever_fails_and_whenever_each_acknowledged_write_counts_once_and_every_view_is_its_query` |
//! | what goes to files has each change once | `sinks::files_have_each_change_once_however_often_the_server_is_killed` |
//! | a row is late by the writes before its own, wherever batches end | `oracle::rows::a_row_is_late_by_the_writes_before_its_own` |
//! | a statement sees all views that it reads as of one commit, also one that trails | `views::a_statement_sees_a_view_that_trails_and_one_that_does_not_as_of_one_commit` |
//! | a slow view holds up no other view | `views::a_view_that_takes_long_holds_up_no_other_and_is_paused_and_dropped_at_once` |
//! | everything that waits has a bound, and bounds stand in [`limits`] | `architecture::everything_that_waits_has_a_bound_and_bounds_stand_in_limits` |
//! | state is under the memory limit; over it work is refused, and the server lives | `lifecycle::what_does_not_fit_into_memory_is_refused_and_the_server_lives` |
//! | a client can end its own statement, never the process | `raw::garbage_ends_only_its_own_connection` |
//!
//! # Where are late rows decided and counted?
//!
//! In one file, `operators/lateness.rs`: a row is late when every window that it belongs to had
//! been closed by the watermark that the writes before its own had reached
//! ([`time::Watermark::closes`] is the comparison). For a join bounded in event time, and for OVER in
//! its order with EMIT ON WINDOW CLOSE, the window is
//! the row's own moment; which session a row belongs to is known by its operator, which decides by
//! the same watermark. The count is `Counters::late_rows` of the
//! query; the newest rows themselves are kept for `tidemill.late_rows`.

pub mod announced;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod connect;
pub mod error;
pub mod exec;
pub mod http;
pub mod limits;
pub mod log;
pub mod memory;
pub mod operators;
pub mod pgtypes;
pub mod plan;
pub mod postgres;
pub mod server;
pub mod session;
pub mod spawn;
pub mod sql;
pub mod state;
pub mod store;
pub mod time;
pub mod types;
pub mod wire;
