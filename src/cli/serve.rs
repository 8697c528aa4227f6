//! `tidemill serve`: its flags, and which of them are refused.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::value;
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::server::{self, CoreOptions, Data, Failure, ServerOptions};

/// The flags of `serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Where Postgres clients connect.
    #[arg(long, value_name = "ADDR:PORT", env = "TIDEMILL_LISTEN", default_value = "127.0.0.1:5455", value_parser = value::address)]
    listen: SocketAddr,
    /// Where rows are posted to /streams/NAME, and where /healthz and /readyz are.
    #[arg(long, value_name = "ADDR:PORT", env = "TIDEMILL_HTTP", default_value = "127.0.0.1:5456", value_parser = value::address)]
    http: SocketAddr,
    /// Where the data is kept.
    #[arg(long, value_name = "DIR", env = "TIDEMILL_DATA_DIR", default_value = "./tidemill-data")]
    data_dir: PathBuf,
    /// Keep the data in memory only.
    #[arg(long, env = "TIDEMILL_EPHEMERAL", conflicts_with = "data_dir")]
    ephemeral: bool,
    /// Start over a damaged data directory, without what it has lost.
    #[arg(long, env = "TIDEMILL_ACCEPT_LOSS")]
    accept_loss: bool,
    /// A script to run before clients are let in; may be repeated.
    #[arg(long, value_name = "FILE.sql", env = "TIDEMILL_INIT")]
    init: Vec<PathBuf>,
    /// File connectors reach only below this directory [default: the one the server is started in].
    #[arg(long, value_name = "DIR", env = "TIDEMILL_FILES")]
    files: Option<PathBuf>,
    /// How much memory queries may use.
    #[arg(long, value_name = "SIZE", env = "TIDEMILL_MEMORY_LIMIT", default_value = "4GiB", value_parser = value::bytes)]
    memory_limit: usize,
    /// How many clients may be connected at a time.
    #[arg(long, value_name = "N", env = "TIDEMILL_MAX_CONNECTIONS", default_value = "200", value_parser = value::count)]
    max_connections: usize,
    /// How many threads compute [default: one a core].
    #[arg(long, value_name = "N", env = "TIDEMILL_THREADS", value_parser = value::count)]
    threads: Option<usize>,
    /// Users and their passwords (not built yet).
    #[arg(long, value_name = "FILE", env = "TIDEMILL_USERS")]
    users: Option<PathBuf>,
    /// The certificate for TLS (not built yet).
    #[arg(long, value_name = "FILE", env = "TIDEMILL_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate (not built yet).
    #[arg(long, value_name = "FILE", env = "TIDEMILL_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// Listen beyond this machine although anyone may then connect without a password.
    #[arg(long, env = "TIDEMILL_INSECURE")]
    insecure: bool,
    /// How the log on stderr is written; RUST_LOG says how much.
    #[arg(long, value_name = "FORMAT", env = "TIDEMILL_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// Serves until it is told to stop.
pub(super) fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let options = options(args)?;
    log_to_stderr(args.log_format);
    server::serve(&options)
}

fn options(args: &ServeArgs) -> Result<ServerOptions> {
    refuse(args)?;
    let data = if args.ephemeral { Data::Memory } else { Data::Directory(args.data_dir.clone()) };
    let core = CoreOptions {
        data,
        files: files_root(args.files.clone())?,
        memory: args.memory_limit,
        threads: args.threads.unwrap_or_else(super::cores),
        bounded: false,
        accept_loss: args.accept_loss,
        store_files: limits::STORE_FILES,
    };
    Ok(ServerOptions {
        listen: args.listen,
        http: args.http,
        core,
        init: args.init.clone(),
        max_connections: args.max_connections,
    })
}

/// What is not built must not look as if it were.
fn refuse(args: &ServeArgs) -> Result<()> {
    if args.users.is_some() {
        return Err(Error::unsupported("--users is not supported yet (0A000)")
            .hint("Start without it and listen on 127.0.0.1, where only this machine's users can connect."));
    }
    if args.tls_cert.is_some() || args.tls_key.is_some() {
        return Err(Error::unsupported("--tls-cert and --tls-key are not supported yet (0A000)").hint(
            "Start without them; to connect from elsewhere use a tunnel, such as ssh -L 5455:127.0.0.1:5455.",
        ));
    }
    for (flag, address) in [("--listen", args.listen), ("--http", args.http)] {
        if !address.ip().is_loopback() && !args.insecure {
            let what = format!(
                "{flag} {address} can be reached from other machines, and without --users anyone may connect"
            );
            return Err(Error::new(SqlState::BadArgument, what).hint(
                "Listen on 127.0.0.1, or give --insecure if the network around is trusted.",
            ));
        }
    }
    Ok(())
}

/// The directory that file connectors may not leave: the one given, or the one we were started in.
pub(super) fn files_root(given: Option<PathBuf>) -> Result<PathBuf> {
    let Some(dir) = given else {
        return std::env::current_dir().map_err(|error| {
            Error::from(error).context("cannot tell the directory it was started in")
        });
    };
    match std::fs::canonicalize(&dir) {
        Ok(found) if found.is_dir() => Ok(found),
        Ok(_) => Err(Error::new(
            SqlState::BadArgument,
            format!("--files {}: not a directory", dir.display()),
        )),
        Err(error) => Err(Error::from(error).context(format!("--files {}", dir.display()))),
    }
}

/// The log goes to stderr; stdout is for what was asked for.
fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Fails only when there is a log already.
    let _ = match format {
        LogFormat::Text => {
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            log.with_ansi(is_terminal).with_target(false).try_init()
        }
        LogFormat::Json => log.json().try_init(),
    };
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        args: ServeArgs,
    }

    fn told(flags: &[&str]) -> Result<ServerOptions> {
        options(&Only::try_parse_from(["tidemill"].iter().chain(flags)).unwrap().args)
    }

    #[test]
    fn other_machines_are_let_in_only_when_that_is_said() {
        let error = told(&["--listen", "0.0.0.0:1"]).unwrap_err();
        assert!(
            error.message().contains("--users")
                && error.hint_text().unwrap().contains("--insecure")
        );
        assert!(told(&["--http", "10.0.0.1:1"]).is_err());
        assert!(told(&["--listen", "0.0.0.0:1", "--insecure"]).is_ok());
        assert!(told(&["--listen", "[::1]:1"]).is_ok());
    }

    #[test]
    fn what_is_not_built_is_refused() {
        for flags in [["--users", "f"], ["--tls-cert", "f"], ["--tls-key", "f"]] {
            assert_eq!(told(&flags).unwrap_err().state(), SqlState::NotSupported);
        }
    }

    #[test]
    fn memory_or_a_directory_but_not_both() {
        assert!(Only::try_parse_from(["tidemill", "--ephemeral", "--data-dir", "x"]).is_err());
        assert_eq!(told(&["--ephemeral"]).unwrap().core.data, Data::Memory);
        assert_eq!(told(&["--data-dir", "x"]).unwrap().core.data, Data::Directory("x".into()));
    }
}
