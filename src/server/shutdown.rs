//! SIGTERM and Ctrl-C: the first asks for a clean end, the second does not wait for it.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Result};

/// The signals that end the server.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From now on the signals arrive here instead of ending the process.
    pub(super) fn listen() -> Result<StopSignals> {
        let listen = |kind| {
            signal(kind).map_err(|error| Error::from(error).context("cannot wait for signals"))
        };
        Ok(StopSignals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for one, and names it.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "Ctrl-C",
        }
    }

    /// Who asks twice is in a hurry: what has been acknowledged is durable anyway.
    pub(super) fn next_ends_at_once(mut self) {
        tokio::spawn(async move {
            let signal = self.next().await;
            eprintln!("tidemill: {signal} again: ending at once");
            std::process::exit(1);
        });
    }
}
