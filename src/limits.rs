//! Every bound there is, with its unit and what it protects: "everything that waits has a bound".
//!
//! A bound is a constant here, has a name, and is a row of `tidemill.settings`. Nothing in the
//! house waits in an unbounded queue or buffers an unbounded message.

/// The largest protocol message a client may send once it is logged in, bytes. A larger one is
/// refused by its length word, before any of it is buffered.
pub const MESSAGE_BYTES: usize = 64 << 20;

/// In what steps messages of clients are counted against the memory limit, bytes; smaller ones are
/// not.
pub const MESSAGE_STEP_BYTES: usize = 64 << 10;

/// How many times its own size a statement's text counts while it runs: it is parsed and planned.
pub const STATEMENT_SHARE: usize = 4;

/// The largest message before login, bytes (as in Postgres).
pub const STARTUP_BYTES: usize = 10_000;

/// The longest a client may take to log in, seconds.
pub const LOGIN_SECONDS: u64 = 10;

/// How many connections may be open that have not logged in, half of them from one address; for one
/// more, the oldest of them gives way. A quarter of the descriptors, where these are fewer.
pub const PENDING_LOGINS: usize = 512;

/// How much of what a client sends is read ahead while its statement runs, bytes; the rest waits in
/// the kernel.
pub const READ_AHEAD_BYTES: usize = 256 << 10;

/// How much of an answer is gathered before it is sent, bytes; less when the query has nothing more
/// to give yet.
pub const SEND_BYTES: usize = 16 << 10;

/// The longest message, detail, hint or setting that goes to a client, bytes; longer ones are cut.
pub const REPORT_BYTES: usize = 8 << 10;

/// How long a connection that ends waits for its client to take the last error, seconds.
pub const FAREWELL_SECONDS: u64 = 2;

/// After how many seconds of silence a client's machine is asked whether it is still there.
pub const KEEPALIVE_SECONDS: u64 = 60;

/// How long it is waited between asking again, seconds; the system gives up after about nine times.
pub const KEEPALIVE_RETRY_SECONDS: u64 = 10;

/// The longest SQL text of one statement, bytes.
pub const STATEMENT_BYTES: usize = 16 << 20;

/// How many operators and operands an expression or set operation may have, counted over one
/// statement.
pub const STATEMENT_TERMS: usize = 4_000;

/// How many operators may follow each other in one expression without AND, OR or a comma between
/// them, and how many joins and set operations a statement may have: each is a level of the plan,
/// and planning visits levels again and again.
pub const EXPRESSION_CHAIN: usize = 500;

/// The sum of the squares of such chains over one statement: what planning them costs.
pub const EXPRESSION_WORK: usize = 1_000_000;

/// How deep expressions and subqueries may be nested.
pub const STATEMENT_DEPTH: usize = 120;

/// How deep JSON may be nested that is taken apart.
pub const JSON_DEPTH: usize = 128;

/// How deep a JSONB value may be nested: it is read and written by recursion.
pub const JSONB_DEPTH: usize = 512;

/// The stack of a thread that plans, bytes: DataFusion's planner recurses over expressions.
pub const PLANNING_STACK_BYTES: usize = 64 << 20;

/// How many relations and subqueries a statement may have in its FROM clauses.
pub const STATEMENT_RELATIONS: usize = 1_000;

/// How many nodes the plan of a statement may have, with what stands behind the names of views and
/// WITH queries.
pub const PLAN_NODES: usize = 4_000;

/// How many expressions the plan of a statement may have, constants not counted.
pub const PLAN_EXPRESSIONS: usize = 50_000;

/// How many nodes may be copied while a statement is planned: each name in FROM is replaced by its
/// plan.
pub const PLANNING_WORK: usize = 100_000;

/// Up to how many nodes and expressions a plan is small, and made among the small ones; larger ones
/// wait for each other.
pub const SHORT_PLAN_NODES: usize = 60;

/// See [`SHORT_PLAN_NODES`].
pub const SHORT_PLAN_EXPRESSIONS: usize = 2_000;

/// Up to how many bytes of text a statement is read among the small ones.
pub const SHORT_STATEMENT_BYTES: usize = 64 << 10;

/// How many small and how many large statements are planned at a time, at the least; more where
/// more threads compute.
pub const PLANNING_PLACES: usize = 2;

/// Up to how many joins a plan may have for their order to be looked for; others are done as they
/// are written.
pub const REORDERED_JOINS: usize = 64;

/// How many grouping sets a query may have (as in Postgres).
pub const GROUPING_SETS: usize = 4_096;

/// How many elements CUBE may have (as in Postgres).
pub const CUBE_ELEMENTS: usize = 12;

/// How many columns a query's result may have (as in Postgres).
pub const RESULT_COLUMNS: usize = 1_664;

/// How deep arrays may be nested (as in Postgres).
pub const ARRAY_DIMENSIONS: usize = 6;

/// The largest value a scalar function may make, bytes (`repeat`, `lpad`, `rpad`, string
/// concatenation).
pub const VALUE_BYTES: usize = 64 << 20;

/// The largest that all values of one call, and all that one row makes, may be together, bytes.
pub const CALL_BYTES: usize = 4 * VALUE_BYTES;

/// How much the expressions of an operator may make at a time, bytes; where rows make more, they
/// are taken fewer at a time.
pub const PIECE_BYTES: usize = 16 << 20;

/// How many different regular expressions are compiled at a time, where they come from the data.
pub const PIECE_PATTERNS: usize = 16;

/// How many rows an operator takes at a time that computes what may be large and cannot do with
/// fewer when it was too much.
pub const CAREFUL_ROWS: usize = 64;

/// The largest that one statement may write in one go, bytes of Arrow.
pub const WRITE_BYTES: usize = 1 << 30;

/// With less memory than this for all queries, a snapshot does not deal out batches to its threads:
/// large rows would wait in memory to be taken.
pub const DEALING_BYTES: usize = 1 << 30;

/// How many rows a batch has at the most on its way through a pipeline.
pub const BATCH_ROWS: usize = 8_192;

/// A query that reads at the most so many rows (where it joins, so many combinations of them)
/// computes little, and does not stand in line with those that compute much.
pub const LIGHT_ROWS: usize = 8 * BATCH_ROWS;

/// A row of more bytes counts as several there.
pub const LIGHT_ROW_BYTES: usize = 256;

/// How many computed values a batch of a projection has at the most: 64 columns of whole batches.
pub const BATCH_CELLS: usize = 64 * BATCH_ROWS;

/// How many chunks of a view's rows, of which most is gone, one change writes anew at the most.
pub const TIDIED_CHUNKS: usize = 64;

/// How many bytes of changes of state, or of an answer, are left in the store before they are
/// folded.
pub const FOLD_BYTES: u64 = 4 << 20;

/// About how many bytes of a query's state and answer are copied in one commit when a view parts
/// from those that have the same query.
pub const COPIED_BYTES: usize = 4 << 20;

/// About how many bytes a piece of state has, of which a commit writes some to shorten what a
/// restart reads. At least one row.
pub const STATE_PIECE_BYTES: usize = 256 << 10;

/// The largest value of state or of an answer, bytes of Arrow; more is written in parts. Far below
/// what the store takes.
pub const STATE_PART_BYTES: usize = 16 << 20;

/// How many old pieces and changes of state a commit deletes at the most.
pub const STATE_DELETIONS: usize = 64;

/// How many windows of HOP or CUMULATE one row may be in: a day by the second is 86,400.
pub const WINDOWS_PER_ROW: i64 = 100_000;

/// How many rows one epoch reads from a stream at the most.
pub const EPOCH_ROWS: usize = 262_144;

/// How long a view works on one portion of its input, about, milliseconds: between two of them it
/// can be stopped.
pub const PORTION_MS: usize = 50;

/// How few rows such a portion may have.
pub const LEAST_PORTION_ROWS: usize = 64;

/// How many windows the rows of the first portion may change, all together.
pub const PORTION_WINDOWS: usize = 100_000;

/// How long the views of an epoch wait for each other, milliseconds: one that takes longer goes on
/// by itself.
pub const COMMON_EPOCH_MS: u64 = 50;

/// How long watermarks that follow the clock are left alone between two looks, milliseconds.
pub const CLOCK_WATERMARK_MS: u64 = 100;

/// How far the clock moves a watermark on that has been reached and for which something still waits,
/// milliseconds.
pub const CLOCK_STEP_MS: i64 = 1_000;

/// How long a stream with `idle_advance` is silent before the clock moves its watermark on,
/// milliseconds, where it does not say.
pub const IDLE_TIMEOUT_MS: i64 = 30_000;

/// How long a view that goes on by itself must have been quick before it takes part in the common
/// epochs again, milliseconds.
pub const REJOIN_MS: i64 = 10_000;

/// How many views that go on by themselves compute at the same time.
pub const LONE_VIEWS: usize = 16;

/// How many stateful operators a continuous query has at the most: each is stored under a part of
/// its own.
pub const QUERY_OPERATORS: usize = 32;

/// How many streams, views and tables a continuous query may read, each as often as it names it:
/// what is stored of each has a name of one byte.
pub const QUERY_SOURCES: usize = 64;

/// How many ports an operator has that keeps their rows: what is stored of each has a name of its
/// own, beside what was answered. Further inputs share the last.
pub const OPERATOR_PORTS: usize = 3;

/// Work of an operator on fewer rows is not measured: reading the clock would take as long.
pub const MEASURED_ROWS: usize = 256;

/// How many requests wait for the loop of the common epochs; whoever has one more waits himself.
pub const COMMANDS: usize = 1 << 10;

/// How far a view may be behind a stream before its writers are held back, milliseconds, if the
/// stream does not say.
pub const MAX_LAG_MS: i64 = 30_000;

/// How exactly it is known when a commit was made, milliseconds, and of how many times.
pub const COMMIT_MARK_MS: i64 = 100;
/// See [`COMMIT_MARK_MS`].
pub const COMMIT_MARKS: usize = 4_096;

/// How long a reader of a view waits for what other sessions have written, milliseconds; for what
/// its own has, it waits until it is there.
pub const OTHERS_WRITES_MS: u64 = 1_000;

/// How many rows of history a new view takes in before others may use its thread.
pub const HISTORY_ROWS: usize = 65_536;

/// How many bytes of a connector's decoded rows wait to be taken by the views that read them
/// together; a portion that would be more is cut.
pub const SHARED_DECODE_BYTES: usize = 64 << 20;

/// How far a subscriber may fall behind before it is ended with 53400, bytes.
pub const SUBSCRIPTION_BYTES: usize = 64 << 20;

/// How many bytes a view may change by while the client of a continuous SELECT over it takes nothing
/// of what it has been given: so much is kept on the disk for it, and read at once when it goes on.
pub const UNREAD_BYTES: usize = 1 << 30;

/// How many bytes of changes wait for a sink to publish them before its query stands still.
pub const OUTBOX_BYTES: usize = 256 << 20;

/// How many bytes of changes go out of a sink together, as they are stored; one epoch at least.
pub const PUBLICATION_BYTES: usize = 32 << 20;

/// How long a sink waits at the most before it offers again what the other side has not taken,
/// milliseconds.
pub const SINK_RETRY_MS: u64 = 10_000;

/// How long changes are gathered for a file, if the sink says nothing else, milliseconds.
pub const FILE_ROLLOVER_MS: u64 = 1_000;

/// How many batches wait between a continuous SELECT and its client; after that the query waits.
pub const RESULT_BATCHES: usize = 4;

/// How many writes wait for the commit thread; after that writers wait.
pub const COMMIT_QUEUE: usize = 4_096;

/// How many bytes of writes share one fsync at the most.
pub const COMMIT_GROUP_BYTES: usize = 32 << 20;

/// How many bytes of recently written blocks all logs together keep decoded in memory for their
/// readers; the logs that were used longest ago give way.
pub const LOG_TAIL_BYTES: usize = 64 << 20;

/// Which part of `--memory-limit` these blocks may take, if that is less: one in so many.
pub const LOG_TAIL_SHARE: usize = 8;

/// How many bytes of rows one reading of a log gives at the most; a row that is larger goes through
/// alone.
pub const READ_BYTES: usize = 32 << 20;

/// How many bytes of blocks a reader of a log holds decoded ahead; a block that is larger is held
/// alone.
pub const READ_BLOCKS_BYTES: usize = 8 << 20;

/// How many bytes the rows of one block of a log, and of a batch that is joined from small ones,
/// may have; a single row may be larger.
pub const BLOCK_BYTES: usize = 4 << 20;

/// How many small blocks a log gathers before they are joined.
pub const JOINED_BLOCKS: usize = 64;

/// How many bytes of joined blocks become durable together, about.
pub const JOINED_COMMIT_BYTES: usize = 8 << 20;

/// How many rows, and how many bytes of them, a chunk of a table may have to be merged with its
/// neighbours.
pub const TABLE_MERGED_ROWS: usize = 8 * BATCH_ROWS;

/// See [`TABLE_MERGED_ROWS`].
pub const TABLE_MERGED_BYTES: usize = 16 << 20;

/// How many bytes of changes a table may have in the store even if it is small itself; then it is
/// written anew.
pub const TABLE_CHANGE_BYTES: usize = 256 << 10;

/// A table that takes more bytes in the store is written anew in parts, in the background.
pub const TABLE_BASE_BYTES: usize = 64 << 20;

/// How many bytes such a part has, about: one in so many of these.
pub const TABLE_PARTS: usize = 8;

/// How long a table keeps rows that are no more, if it does not say so itself, milliseconds.
pub const TABLE_HISTORY_MS: i64 = 24 * 60 * 60 * 1_000;

/// And of how many bytes.
pub const TABLE_HISTORY_BYTES: usize = 16 << 20;

/// And of what share of the memory limit.
pub const TABLE_HISTORY_SHARE: usize = 128;

/// Rows in a piece of them that is put together from smaller ones.
pub const TABLE_PAST_ROWS: usize = 8 * BATCH_ROWS;

/// How many late rows, and how many rejected rows, are kept per query or stream (the newest).
pub const KEPT_ROWS: usize = 1_000;

/// A record of a connector that is longer than this is cut there and rejected, bytes.
pub const RECORD_BYTES: usize = 16 << 20;

/// A CSV record with quotes is closed within so many bytes; otherwise its quote was a mistake.
pub const QUOTED_RECORD_BYTES: usize = 1 << 20;

/// How far event times of a connector may lie ahead of the clock if the stream does not say,
/// milliseconds (`max_future`).
pub const MAX_FUTURE_MS: i64 = 86_400_000;

/// At how many bytes a batch of COPY's rows is closed before it has all its rows.
pub const COPY_BATCH_BYTES: usize = 16 << 20;

/// How much of a line or a field an error of COPY quotes, bytes.
pub const QUOTE_BYTES: usize = 100;

/// How deep views may be nested.
pub const VIEW_DEPTH: usize = 32;

/// How many arguments a function of the user's may have (as in Postgres).
pub const FUNCTION_ARGUMENTS: usize = 100;

/// How deep functions of the user's may call each other.
pub const FUNCTION_DEPTH: usize = 32;

/// How many operators and calls a function of the user's may have, with those of the functions that
/// it calls: one that calls another twice, which does the same, is soon endless.
pub const FUNCTION_NODES: usize = 10_000;

/// How many operators and calls a function of the user's has at the most that is planned as a part
/// of the statement; a larger one is planned once, however often it is called.
pub const INLINED_NODES: usize = 200;

/// How long figures about all views wait for those that catch up, milliseconds: a view over little
/// history is through by then.
pub const FIGURES_MS: u64 = 500;

/// How many clients the kernel lets wait to be accepted.
pub const BACKLOG: u32 = 1_024;

/// How long a statement waits for another transaction's lock on a table when `lock_timeout` is not
/// set, milliseconds: two transactions that wait for each other both end.
pub const LOCK_MS: u64 = 30_000;

/// How much of a file is read at a time, bytes.
pub const FILE_READ_BYTES: usize = 1 << 20;

/// How much of what has been read of a file is looked at first for records, bytes: little, so that
/// small reads do not check much text twice.
pub const FILE_LOOK_BYTES: usize = 256 << 10;

/// The largest row that the protocol can carry, bytes: its length word is signed and counts itself
/// and the number of columns.
pub const WIRE_ROW_BYTES: usize = i32::MAX as usize - 6;

/// An INSERT of more rows of constants goes the general way, which fills whole columns and is
/// faster from there on.
pub const PLAIN_ROWS: usize = 16;

/// In how many windows a bid may be with the benchmark's query `qhopN`.
pub const BENCH_WINDOWS: u32 = 3_600;

/// How many bytes of a rejected row are kept.
pub const KEPT_ROW_BYTES: usize = 8 << 10;

/// How much of the reason is kept why a record of a file is rejected, characters.
pub const FIELD_ERROR_CHARS: usize = 200;

/// How many columns a relation may have (as in Postgres).
pub const COLUMNS: usize = 1_600;

/// The longest name, bytes (as in Postgres; a longer one is refused, not cut).
pub const NAME_BYTES: usize = 63;

/// The longest comment on a relation or a column, bytes.
pub const COMMENT_BYTES: usize = 64 << 10;

/// How many prepared statements, portals and cursors a session may hold each.
pub const SESSION_OBJECTS: usize = 1_000;

/// How long a clean shutdown waits for the running epoch, seconds.
pub const SHUTDOWN_SECONDS: u64 = 10;

/// How much room must be left on the disk for a write to be accepted, bytes: what background work
/// may still need to write for what has been accepted before. A write that would leave less is
/// refused with 53100.
pub const DISK_RESERVE_BYTES: u64 = 192 << 20;

/// How much room must be left for what makes room: a commit that only deletes (DROP, retention).
/// Less than the reserve for writes, or a full disk could not be emptied from within.
pub const DISK_LAST_RESERVE_BYTES: u64 = 64 << 20;

/// How much a commit that deletes may put beside that and still be taken for one that makes room,
/// bytes.
pub const SMALL_PUTS_BYTES: usize = 256 << 10;

/// How many bytes of writes wait for the commit thread; after that writers wait.
pub const COMMIT_QUEUE_BYTES: usize = 128 << 20;

/// The largest body of an HTTP post, bytes: as it is sent, and unpacked.
pub const HTTP_BODY_BYTES: usize = 16 << 20;

/// How long an HTTP post waits for views that are too far behind before it is refused, milliseconds.
pub const POST_HELD_BACK_MS: u64 = 1_000;

/// After how long what was refused so may be posted again, seconds.
pub const RETRY_AFTER_SECONDS: u32 = 1;

/// Of how many records that it rejects the answer to a post says what is wrong with them.
pub const POST_ERRORS: usize = 10;

/// How many Idempotency-Keys of a stream are remembered, the newest.
pub const POST_KEYS: usize = 100_000;

/// The longest Idempotency-Key, bytes.
pub const POST_KEY_BYTES: usize = 255;

/// How many posts with a key are made durable at a time, at the most.
pub const POST_KEY_LINES: usize = 64;

/// How much of what has come over a socket is written in one go, bytes; a longer record is, too.
pub const SOCKET_WRITE_BYTES: usize = 1 << 20;

/// How long a socket may take to be connected, milliseconds.
pub const SOCKET_CONNECT_MS: u64 = 10_000;

/// How long it is waited before a socket that has ended is connected again, milliseconds: at first,
pub const SOCKET_RETRY_MS: u64 = 100;

/// and after many attempts in vain.
pub const SOCKET_RETRY_MOST_MS: u64 = 10_000;

/// How often it is looked for streams whose sockets are to be followed, milliseconds.
pub const SOCKET_LOOK_MS: u64 = 100;

/// How many sockets the HTTP side has at a time; others wait in the kernel.
pub const HTTP_SOCKETS: usize = 64;

/// How long an HTTP socket may be without an answer sent on it, seconds: half a request, or none.
pub const HTTP_SECONDS: u64 = 10;

/// How many files of tables the store keeps open at the most.
pub const STORE_FILES: usize = 256;

/// How many descriptors no socket may take, so that the store can always write: journals, files
/// that are being flushed and compacted; and files of connectors.
pub const RESERVED_DESCRIPTORS: usize = 128;

/// The largest value of the store, bytes: the storage crate keeps lengths in 32 bits and does not
/// check them.
pub const STORE_VALUE_BYTES: usize = 2 << 30;

/// What the store keeps of its tables in memory, over all spaces, bytes.
pub const STORE_CACHE_BYTES: u64 = 32 << 20;

/// All journals of the store together, bytes (the least that the storage crate allows is 64 MiB).
pub const STORE_JOURNALS_BYTES: u64 = 128 << 20;

/// What a space of the store keeps in memory before it is flushed, bytes.
pub const STORE_MEMTABLE_BYTES: u64 = 16 << 20;

/// Values of the log, of state and of answers that are larger than this, bytes, are kept apart from
/// their keys, so that compaction does not copy them.
pub const STORE_SEPARATE_BYTES: u32 = 1 << 10;

/// To how many descriptors the process raises its limit at the most: more are of no use, and on
/// some systems there is no end.
pub const DESCRIPTORS: u64 = 65_536;

/// How long a statement of `tidemill test` may take, seconds of the machine's clock: one that waits
/// for ever is found out.
pub const TEST_SECONDS: u64 = 60;

/// How much memory the queries of a page of `tidemill test` may use, bytes.
pub const TEST_MEMORY_BYTES: usize = 1 << 30;
/// After so many runs a physical plan is replaced by a fresh one: each run adds to the metrics that
/// the plan keeps, some KiB.
pub const RUNS_PER_PLAN: usize = 64;

/// The same where the plan joins a table: a fresh one reads the table again.
pub const RUNS_PER_TABLE_PLAN: usize = 1_024;
