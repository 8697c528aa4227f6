//! The Postgres protocol, version 3.0: bytes of a socket to calls of a
//! [`ClientSession`](crate::session::ClientSession), and back.
//!
//! This is the only room that knows pgwire, and it knows of sessions only what `session` says in
//! its two traits.
//!
//! ```text
//!  accept ─▶ pending: who has to give way ─▶ startup: SSLRequest, CancelRequest, login
//!                                                        └▶ connection: one task
//!                                                          ├─ framing   bytes to messages
//!  cancel: number + secret ─▶ signal ─────────────────────▶├─ link      work against cancel, time
//!                                                          ├─ simple    text in, text out
//!                                                          ├─ extended  Parse, Bind … portals
//!                                                          └─ rows, copy, report: what goes out
//! ```
//!
//! Nothing is queued here: a message is read when the one before it is done, a row is asked for
//! when the socket has taken those before it. Cancelling is dropping. Reference: PostgreSQL manual,
//! part "Frontend/Backend Protocol".

mod cancel;
mod connection;
mod copy;
mod extended;
mod framing;
mod link;
mod messages;
mod pending;
mod portal;
mod report;
mod rows;
mod simple;
mod startup;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use self::cancel::Registry;
use self::connection::Connection;
use self::framing::FrameReader;
use self::link::{Link, raised};
use self::pending::{PendingLogin, PendingLogins};
use self::startup::SocketRequest;
use crate::clock::instant;
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::session::{SessionFactory, Startup};

/// How the protocol is served.
#[derive(Debug, Clone)]
pub struct WireOptions {
    /// How many clients may be logged in at a time; more get 53300.
    pub max_connections: usize,
    /// How many connections may be open that have not logged in.
    pub pending_logins: usize,
    /// Becomes true when the server is to stop.
    pub shutdown: watch::Receiver<bool>,
}

/// What all connections share.
struct ServerShared {
    sessions: Arc<dyn SessionFactory>,
    registry: Arc<Registry>,
    permits: Arc<Semaphore>,
    pending: Arc<PendingLogins>,
    shutdown: watch::Receiver<bool>,
}

/// How long it is waited after a socket could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// Accepts clients until the shutdown flag is raised; returns when all of them have been told and
/// are gone, or had [`limits::SHUTDOWN_SECONDS`] to go.
pub async fn serve(
    listener: TcpListener,
    sessions: Arc<dyn SessionFactory>,
    options: WireOptions,
) -> Result<()> {
    let most = options.max_connections.min(Semaphore::MAX_PERMITS);
    let shared = Arc::new(ServerShared {
        sessions,
        registry: Arc::default(),
        permits: Arc::new(Semaphore::new(most)),
        pending: PendingLogins::new(options.pending_logins),
        shutdown: options.shutdown.clone(),
    });
    let mut shutdown = options.shutdown;
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = raised(&mut shutdown) => break,
            Some(_) = clients.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, address)) => {
                    let login = shared.pending.enter(address.ip());
                    clients.spawn(Arc::clone(&shared).receive(socket, login));
                }
                Err(error) => {
                    // Out of descriptors, mostly: those that have waited longest for nothing give
                    // theirs back.
                    tracing::warn!(%error, "cannot accept a client");
                    shared.pending.dismiss_half();
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }
    drop(listener);
    let all_gone = async { while clients.join_next().await.is_some() {} };
    if timeout(Duration::from_secs(limits::SHUTDOWN_SECONDS), all_gone).await.is_err() {
        tracing::warn!("clients that did not leave in time are cut off");
    }
    clients.shutdown().await;
    Ok(())
}

impl ServerShared {
    /// A socket's whole life.
    async fn receive(self: Arc<Self>, mut socket: TcpStream, mut login: PendingLogin) {
        tune(&socket);
        let mut shutdown = self.shutdown.clone();
        let until = instant() + Duration::from_secs(limits::LOGIN_SECONDS);
        let request = tokio::select! {
            // First what the client has said: who is through in time is not dismissed.
            biased;
            request = startup::handshake(&mut socket, &self.registry) => request,
            () = raised(&mut shutdown) => Err(link::shutting_down_error()),
            () = login.dismissed() => Err(Error::new(
                SqlState::TooManyConnections,
                "too many connections have not logged in: the oldest gives way",
            )),
            () = sleep_until(until) => {
                Err(Error::new(SqlState::Cancelled, "canceling authentication due to timeout"))
            }
        };
        match request {
            Ok(SocketRequest::Session(startup)) => self.admit(socket, startup, login, until).await,
            Ok(SocketRequest::Nothing) => {}
            Err(error) => self.dismiss(self.link(socket, watch::channel(0).1), login, &error).await,
        }
    }

    /// Tells a client that is not logged in why it cannot be. It still holds a socket, and so can
    /// still have to give way.
    async fn dismiss(&self, link: Link, mut login: PendingLogin, error: &Error) {
        tokio::select! {
            biased;
            () = link.close(error) => {}
            () = login.dismissed() => {}
        }
    }

    /// Logs a client in and serves it.
    async fn admit(
        &self,
        socket: TcpStream,
        mut startup: Startup,
        login: PendingLogin,
        until: Instant,
    ) {
        let ticket = self.registry.enter();
        startup.id = ticket.id;
        let mut link = self.link(socket, ticket.signal.clone());
        let Ok(_permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            let error = Error::new(SqlState::TooManyConnections, "sorry, too many clients already").hint(
                "Close connections that are not used, or start the server with a larger --max-connections.",
            );
            return self.dismiss(link, login, &error).await;
        };
        // From here on it counts as one of the clients.
        drop(login);
        link.limit(Some(until.saturating_duration_since(instant())));
        let opened = link.run(self.sessions.open(startup.clone())).await;
        link.limit(None);
        let mut session = match opened {
            Ok(session) => session,
            Err(link::Stop::Gone) => return,
            Err(link::Stop::Error(error) | link::Stop::Fatal(error)) => {
                return link.close(&error).await;
            }
        };
        link.set_gate(session.gate());
        let said = session.drain_messages();
        let zone = session.text_style().time_zone;
        if let Err(error) = startup::welcome(&startup, &zone, &ticket, &said, &mut link.out) {
            return link.close(&error).await;
        }
        Connection::new(link, session, ticket).run().await;
    }

    fn link(&self, socket: TcpStream, cancel: watch::Receiver<u64>) -> Link {
        let (reading, writing) = socket.into_split();
        Link::new(FrameReader::new(reading), writing, cancel, self.shutdown.clone())
    }
}

/// Small answers must not wait for one another, and a client whose machine is gone without a word
/// must be noticed even if there is nothing to send to it. Both only make things better where the
/// system can do them.
fn tune(socket: &TcpStream) {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(limits::KEEPALIVE_SECONDS))
        .with_interval(Duration::from_secs(limits::KEEPALIVE_RETRY_SECONDS));
    let tuned =
        socket.set_nodelay(true).and_then(|()| SockRef::from(socket).set_tcp_keepalive(&keepalive));
    if let Err(error) = tuned {
        tracing::debug!(%error, "a socket's options could not be set");
    }
}
