//! Starts, asks, kills and restarts the server under test.
//!
//! A [`Server`] is a child process. It dies with its value, and also with the test process, however
//! that ends: a reaper (a shell that waits on a pipe) outlives us and kills it. [`shared`] is one
//! ephemeral server for the tests that only need names of their own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// A debug build on a busy machine starts slowly; a server that needs longer than this is broken.
const READY: Duration = Duration::from_secs(60);

/// How long one answer may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_tidemill");

/// A running `tidemill serve`.
pub struct Server {
    child: Mutex<Child>,
    reaper: Mutex<Child>,
    output: Arc<Mutex<String>>,
    /// Where it speaks Postgres.
    pub port: u16,
    /// Where it speaks HTTP.
    pub http: u16,
}

impl Server {
    /// An in-memory server.
    pub fn ephemeral() -> Server {
        Self::start(&["--ephemeral"])
    }

    /// A server that keeps its data in `dir`.
    pub fn durable(dir: &Path) -> Server {
        Self::start(&["--data-dir", dir.to_str().expect("a path in UTF-8")])
    }

    /// A server with these flags beside the ports, once it takes connections.
    pub fn start(flags: &[&str]) -> Server {
        Self::start_in(Path::new(env!("CARGO_MANIFEST_DIR")), flags)
    }

    /// The same, started in a directory (the default of `--files`).
    pub fn start_in(dir: &Path, flags: &[&str]) -> Server {
        Self::start_by(Command::new(BINARY).current_dir(dir), flags)
    }

    /// The same, in a process that may have so many descriptors.
    pub fn start_with_descriptors(most: usize, flags: &[&str]) -> Server {
        let limited = format!("ulimit -n {most}; exec \"$0\" \"$@\"");
        Self::start_by(Command::new("sh").args(["-c", &limited, BINARY]), flags)
    }

    fn start_by(command: &mut Command, flags: &[&str]) -> Server {
        let (port, http) = (free_port(), free_port());
        let mut child = command
            .arg("serve")
            .args([
                "--listen",
                &format!("127.0.0.1:{port}"),
                "--http",
                &format!("127.0.0.1:{http}"),
            ])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let output = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().expect("piped"), &output);
        collect(child.stderr.take().expect("piped"), &output);
        let reaper = reaper(child.id());
        let server =
            Server { child: Mutex::new(child), reaper: Mutex::new(reaper), output, port, http };
        blocking(|| server.wait_until_ready());
        server
    }

    fn wait_until_ready(&self) {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Some(status) = self.child.lock().unwrap().try_wait().expect("the child is ours")
            {
                panic!("the server ended ({status}) before it was ready:\n{}", self.output());
            }
            assert!(
                begun.elapsed() < READY,
                "the server is not ready after {READY:?}:\n{}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// A figure of /proc/PID/status, in MiB.
    pub fn memory(&self, what: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("Linux has /proc");
        let line = status.lines().find(|line| line.starts_with(what)).expect("the figure is there");
        let kb = line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok());
        kb.expect("a number") / 1024
    }

    /// How many sockets it has.
    pub fn sockets(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("Linux has /proc");
        let links = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    }

    /// How long it has computed, in hundredths of a second.
    fn ticks(&self) -> u64 {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("Linux has /proc");
        let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
        let field = |n: usize| fields.split_whitespace().nth(n).and_then(|t| t.parse::<u64>().ok());
        field(11).zip(field(12)).map(|(user, system)| user + system).expect("numbers")
    }

    /// Waits until it computes nothing any more.
    pub async fn rests(&self) {
        let begun = std::time::Instant::now();
        loop {
            let before = self.ticks();
            tokio::time::sleep(Duration::from_millis(200)).await;
            if self.ticks() - before <= 2 {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "something goes on computing");
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// Is the process there?
    pub fn is_running(&self) -> bool {
        self.child.lock().unwrap().try_wait().expect("the child is ours").is_none()
    }

    /// kill -9, and waits until it is gone.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// SIGTERM; the exit status, or a panic if it takes longer than a clean shutdown may.
    pub fn terminate(&self) -> ExitStatus {
        signal("TERM", self.pid());
        blocking(|| self.wait_for_its_end())
    }

    fn wait_for_its_end(&self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.lock().unwrap().try_wait().expect("the child is ours")
            {
                return status;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "still there 20 s after SIGTERM:\n{}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A new connection.
    pub async fn connect(&self) -> Client {
        self.try_connect("").await.expect("the server takes a connection")
    }

    /// A new connection with further parameters, such as `user=x options='-c …'`.
    pub async fn try_connect(&self, further: &str) -> Result<Client, tokio_postgres::Error> {
        let mut config = format!("host=127.0.0.1 port={} connect_timeout=30 {further}", self.port);
        for (key, value) in [("user", "tester"), ("dbname", "tidemill")] {
            if !further.contains(&format!("{key}=")) {
                config.push_str(&format!(" {key}={value}"));
            }
        }
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Runs the real psql against this server, quietly and without the user's own settings.
    pub fn psql(&self, args: &[&str]) -> Psql {
        let output = self.psql_command().args(args).output();
        Psql::from(output.unwrap_or_else(|error| panic!("{}: {error}", PSQL_MISSING)))
    }

    /// psql, ready to be given arguments.
    pub fn psql_command(&self) -> Command {
        let mut command = Command::new("psql");
        command
            .args(["--no-psqlrc", "--quiet", "--no-align", "--pset=pager=off"])
            .envs([("PGHOST", "127.0.0.1"), ("PGUSER", "tester"), ("PGDATABASE", "tidemill")])
            .env("PGPORT", self.port.to_string())
            .env("PGCONNECT_TIMEOUT", "30")
            .stdin(Stdio::null());
        command
    }

    /// GET a path of the HTTP side: the status line and everything after it.
    pub fn get(&self, path: &str) -> String {
        let mut socket =
            TcpStream::connect(("127.0.0.1", self.http)).expect("the HTTP port answers");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        let host = format!("127.0.0.1:{}", self.http);
        write!(socket, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
            .expect("sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer in UTF-8");
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut reaper = self.reaper.lock().unwrap_or_else(|e| e.into_inner());
        let _ = reaper.kill();
        let _ = reaper.wait();
        let mut child = self.child.lock().unwrap_or_else(|e| e.into_inner());
        let _ = child.kill();
        let _ = child.wait();
        if std::thread::panicking() {
            eprintln!(
                "--- the server said:\n{}",
                self.output.lock().unwrap_or_else(|e| e.into_inner())
            );
        }
    }
}

const PSQL_MISSING: &str = "psql cannot be run; it is part of these tests: install the Debian package postgresql-client (.ci/run does)";

/// What psql answered.
pub struct Psql {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl From<Output> for Psql {
    fn from(output: Output) -> Self {
        Psql {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Psql {
    /// Its standard output, if all went well.
    pub fn ok(self) -> String {
        assert!(
            self.code == 0 && !self.stderr.contains("ERROR"),
            "psql failed ({}): {}",
            self.code,
            self.stderr
        );
        self.stdout
    }
}

/// The ephemeral server that most tests share. They keep out of each other's way with [`unique`]
/// names.
pub fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(Server::ephemeral)
}

/// A name that no other test uses.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{prefix}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A port nobody listens on. Taken from below the range the kernel gives to outgoing connections,
/// and each only once.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = (std::process::id() % 150) as u16 * 100;
    loop {
        let port = 15_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % 17_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Does what blocks its thread; a runtime's other tasks go on.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Sends a signal by name.
pub fn signal(name: &str, pid: u32) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
    assert!(status.expect("sh is there").success(), "kill -{name} {pid}");
}

/// A directory for one test, removed with its value.
pub fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("tidemill-test-").tempdir().expect("a temporary directory")
}

/// The repository.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs `tidemill` to its end, for the subcommands that are not a server.
pub fn tidemill(dir: &Path, args: &[&str]) -> Psql {
    let child = Command::new(BINARY).args(args).current_dir(dir).stdin(Stdio::null()).output();
    Psql::from(child.expect("the binary runs"))
}

/// The rows of a simple query, as text: NULL is None.
pub async fn rows(
    client: &Client,
    sql: &str,
) -> Result<Vec<Vec<Option<String>>>, tokio_postgres::Error> {
    let work = client.simple_query(sql);
    let messages = tokio::time::timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| panic!("no answer in {PATIENCE:?}: {sql}"))?;
    let cells = |row: tokio_postgres::SimpleQueryRow| {
        (0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect::<Vec<_>>()
    };
    Ok(messages
        .into_iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(cells(row)),
            _ => None,
        })
        .collect())
}

/// The rows of a simple query, cells separated by a bar, NULL as `NULL`; panics with the error
/// otherwise.
pub async fn lines(client: &Client, sql: &str) -> Vec<String> {
    let rows =
        rows(client, sql).await.unwrap_or_else(|error| panic!("{}: {sql}", describe(&error)));
    let cell = |cell: Option<String>| cell.unwrap_or_else(|| "NULL".to_owned());
    rows.into_iter().map(|row| row.into_iter().map(cell).collect::<Vec<_>>().join("|")).collect()
}

/// The only cell of a simple query's only row.
pub async fn value(client: &Client, sql: &str) -> String {
    let mut lines = lines(client, sql).await;
    assert_eq!(lines.len(), 1, "one row from: {sql}");
    lines.remove(0)
}

/// Runs statements, and panics with what the server said if one fails.
pub async fn run(client: &Client, sql: &str) {
    let work = tokio::time::timeout(PATIENCE, client.batch_execute(sql));
    match work.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("{}: {sql}", describe(&error)),
        Err(_) => panic!("no answer in {PATIENCE:?}: {sql}"),
    }
}

/// The SQLSTATE a statement fails with; panics if it does not fail.
pub async fn failure(client: &Client, sql: &str) -> String {
    match tokio::time::timeout(PATIENCE, client.simple_query(sql)).await {
        Ok(Ok(_)) => panic!("this should have failed: {sql}"),
        Ok(Err(error)) => state(&error),
        Err(_) => panic!("no answer in {PATIENCE:?}: {sql}"),
    }
}

/// The SQLSTATE of an error, or what it says if the server did not send one.
pub fn state(error: &tokio_postgres::Error) -> String {
    error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned())
}

/// `[SQLSTATE] message (detail) HINT: hint`.
pub fn describe(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else { return format!("{error:?}") };
    let mut text = format!("[{}] {}", db.code().code(), db.message());
    if let Some(detail) = db.detail() {
        text.push_str(&format!(" ({detail})"));
    }
    if let Some(place) = db.where_() {
        text.push_str(&format!(" WHERE: {place}"));
    }
    if let Some(hint) = db.hint() {
        text.push_str(&format!(" HINT: {hint}"));
    }
    text
}

/// Asks again until the answer is as it should be; what the server does in the background has this
/// long for it.
pub async fn eventually(client: &Client, sql: &str, expected: &str) {
    let begun = Instant::now();
    loop {
        let found = lines(client, sql).await.join("\n");
        if found == expected {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{sql}\nstill answers\n{found}\nand not\n{expected}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Copies what a child prints into `into`, line by line, on a thread of its own.
fn collect(from: impl Read + Send + 'static, into: &Arc<Mutex<String>>) {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut text = into.lock().unwrap_or_else(|e| e.into_inner());
            text.push_str(&line);
            text.push('\n');
        }
    });
}

/// A shell that kills `pid` when this process is gone: its standard input then ends.
fn reaper(pid: u32) -> Child {
    Command::new("sh")
        .args(["-c", &format!("read -r _; kill -9 {pid} 2>/dev/null")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh is there")
}
