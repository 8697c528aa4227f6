//! How the sockets stand that streams are fed from, to be shown in `tidemill.sockets`.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::catalog::RelationId;

/// The sockets of all streams that have one.
#[derive(Debug, Default)]
pub struct SocketStates(Mutex<BTreeMap<RelationId, SocketState>>);

/// How one stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SocketState {
    /// It is connected now.
    pub is_connected: bool,
    /// How often it has been connected since the server was started.
    pub connects: u64,
    /// Since when it is as it is, milliseconds since 1970; None: it has not been tried yet.
    pub since_ms: Option<i64>,
    /// Why it is not connected, or was not before.
    pub error: Option<String>,
}

impl SocketStates {
    /// It is connected.
    pub fn connected(&self, stream: RelationId, now_ms: i64) {
        let mut states = self.0.lock();
        let state = states.entry(stream).or_default();
        state.is_connected = true;
        state.connects += 1;
        state.since_ms = Some(now_ms);
    }

    /// It has ended, or could not be connected.
    pub fn ended(&self, stream: RelationId, now_ms: i64, why: String) {
        let mut states = self.0.lock();
        let state = states.entry(stream).or_default();
        if state.is_connected || state.since_ms.is_none() {
            state.since_ms = Some(now_ms);
        }
        state.is_connected = false;
        state.error = Some(why);
    }

    /// Its stream is no more.
    pub fn forget(&self, stream: RelationId) {
        self.0.lock().remove(&stream);
    }

    /// How it stands.
    pub fn get(&self, stream: RelationId) -> SocketState {
        self.0.lock().get(&stream).cloned().unwrap_or_default()
    }
}
