//! The server: puts the house together, opens its doors, and closes them when it is told to.
//!
//! ```text
//!  io threads   wire, http: sockets and messages
//!  plan threads statements are read and planned, with deep stacks (exec::planning)
//!  cpu threads  queries
//!  epochs       one thread: the epochs of all views          (exec)
//!  commits      one thread: the writes and their fsync       (log)
//! ```
//! Starting goes from the ground up: ports are claimed, the store is opened and recovered, the init
//! scripts run, and only then are clients let in. A start that fails says why in one line and
//! leaves nothing behind.

mod core;
mod process;
mod script;
mod shutdown;
mod simulated;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

pub use self::core::{Core, CoreOptions, Data};
pub use script::{Failure, Output, Script};
pub use simulated::{Answer, Caller, Simulated, text_rows};

use crate::error::{Error, Result, SqlState};
use crate::http;
use crate::limits;
use crate::wire::{self, WireOptions};

/// Threads for sockets and messages; computing is done elsewhere.
const IO_THREADS: usize = 2;

/// How the server is started.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where Postgres clients connect.
    pub listen: SocketAddr,
    /// Where the small HTTP side listens.
    pub http: SocketAddr,
    /// The engine's part.
    pub core: CoreOptions,
    /// Scripts to run before anyone is let in.
    pub init: Vec<PathBuf>,
    /// How many clients may be logged in at a time.
    pub max_connections: usize,
}

/// Serves until SIGTERM or Ctrl-C.
pub fn serve(options: &ServerOptions) -> Result<(), Failure> {
    let scripts =
        options.init.iter().map(|path| Script::read(path)).collect::<Result<Vec<_>, Failure>>()?;
    process::keep_files_private();
    let shares = process::share(process::raise_descriptors(), options.max_connections)?;
    let io = core::runtime("io", IO_THREADS)?;
    let entered = io.enter();
    let doors = Doors::claim(options)?;
    drop(entered);
    let core =
        Core::open(&CoreOptions { store_files: shares.store_files, ..options.core.clone() })?;
    for script in scripts {
        core.run(script, Box::new(script::Quiet))?;
    }
    let served = io.block_on(doors.open(options, &shares, &core));
    core.stop(Duration::from_secs(limits::SHUTDOWN_SECONDS));
    io.shutdown_timeout(Duration::from_secs(1));
    Ok(served?)
}

/// The two ports: claimed first, so that a port in use is told before anything is touched, and
/// opened last.
struct Doors {
    postgres: TcpSocket,
    http: TcpSocket,
}

impl Doors {
    fn claim(options: &ServerOptions) -> Result<Doors> {
        Ok(Doors {
            postgres: claim(options.listen, "--listen")?,
            http: claim(options.http, "--http")?,
        })
    }

    async fn open(
        self,
        options: &ServerOptions,
        shares: &process::Shares,
        core: &Core,
    ) -> Result<()> {
        let (raise, raised) = watch::channel(false);
        let mut signals = shutdown::StopSignals::listen()?;
        let postgres = listen(self.postgres, options.listen, "--listen")?;
        let web = listen(self.http, options.http, "--http")?;
        let (address, web_address) = (postgres.local_addr()?, web.local_addr()?);
        let ready = Arc::new(AtomicBool::new(true));
        let is_ready = Arc::clone(&ready);
        let wire_options = WireOptions {
            max_connections: shares.clients,
            pending_logins: shares.logins,
            shutdown: raised.clone(),
        };
        let mut clients = tokio::spawn(wire::serve(postgres, core.sessions(), wire_options));
        let pages = tokio::spawn(http::serve(
            web,
            Arc::new(move || is_ready.load(Ordering::Relaxed)),
            core.posts(),
            raised,
        ));
        announce(address, web_address, &options.core.data);
        let signal = tokio::select! {
            signal = signals.next() => signal,
            ended = &mut clients => {
                return ended.map_err(|error| Error::internal(error.to_string()))?;
            }
        };
        tracing::info!("{signal}: shutting down");
        ready.store(false, Ordering::Relaxed);
        // Everyone who listens to it is here.
        let _ = raise.send(true);
        signals.next_ends_at_once();
        // Clients are told and have half of the time to go; the other half is the running epoch's.
        let half = Duration::from_secs(limits::SHUTDOWN_SECONDS / 2);
        if tokio::time::timeout(half, clients).await.is_err() {
            tracing::warn!("clients that did not leave in time are cut off");
        }
        pages.abort();
        Ok(())
    }
}

fn claim(address: SocketAddr, flag: &str) -> Result<TcpSocket> {
    let claimed = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
    .and_then(|socket| {
        // A port whose last connections are still fading away can be had again.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(socket)
    });
    claimed.map_err(|error| cannot_listen(&error, address, flag))
}

fn listen(socket: TcpSocket, address: SocketAddr, flag: &str) -> Result<TcpListener> {
    socket.listen(limits::BACKLOG).map_err(|error| cannot_listen(&error, address, flag))
}

fn cannot_listen(error: &std::io::Error, address: SocketAddr, flag: &str) -> Error {
    let (why, hint) = match error.kind() {
        std::io::ErrorKind::AddrInUse => (
            "the port is in use".to_owned(),
            format!("Another server may be running there; choose another port with {flag}."),
        ),
        std::io::ErrorKind::PermissionDenied => {
            ("permission denied".to_owned(), format!("Choose a port from 1024 on with {flag}."))
        }
        _ => (error.to_string(), format!("Choose an address of this machine with {flag}.")),
    };
    Error::new(SqlState::Io, format!("cannot listen on {address}: {why}")).hint(hint)
}

/// Says where it listens and what to type next.
fn announce(postgres: SocketAddr, http: SocketAddr, data: &Data) {
    let host = match postgres.ip() {
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        ip => ip.to_string(),
    };
    let kept = match data {
        Data::Directory(dir) => format!("in {}", dir.display()),
        Data::Memory => "in memory; it is gone when the server ends".to_owned(),
    };
    let next = if Path::new("sql/quickstart.sql").exists() {
        "\\i sql/quickstart.sql"
    } else {
        "CREATE SOURCE bid WITH (connector = 'nexmark', \"table\" = 'bid', rate = '1000');  then  SELECT * FROM bid LIMIT 5;"
    };
    let text = format!(
        "tidemill {} is ready\n  postgres  {postgres}\n  http      {http}\n  data      {kept}\n\nConnect with\n  psql -h {host} -p {} -d tidemill\nand type\n  {next}\n",
        env!("CARGO_PKG_VERSION"),
        postgres.port(),
    );
    let mut out = std::io::stdout().lock();
    // Whoever started it may not want to read this.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_the_flag_that_changes_it() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = claim(address, "--http")
            .and_then(|socket| listen(socket, address, "--http"))
            .unwrap_err();
        assert_eq!(error.message(), format!("cannot listen on {address}: the port is in use"));
        assert!(error.hint_text().unwrap().contains("--http"));
    }
}
