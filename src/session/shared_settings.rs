//! The settings of a session as its statements share them.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::settings::Settings;
use crate::error::Result;
use crate::pgtypes::values::TextStyle;

/// The settings of one session, for it and for the statement that it runs, which may call
/// `set_config`.
///
/// Every call locks and lets go: no guard gets out, so two calls in one expression cannot wait for
/// each other.
#[derive(Debug, Clone, Default)]
pub struct SharedSettings(Arc<Mutex<Settings>>);

/// What a change tells the client.
type Reports = Vec<(String, String)>;

#[allow(missing_docs, reason = "each is the method of `Settings` that has its name")]
impl SharedSettings {
    pub fn new(settings: Settings) -> Self {
        SharedSettings(Arc::new(Mutex::new(settings)))
    }

    /// The settings as they are now, for themselves.
    pub fn copy(&self) -> Settings {
        self.0.lock().clone()
    }

    pub fn get(&self, name: &str) -> Result<String> {
        self.0.lock().get(name)
    }

    pub fn set(&self, name: &str, value: Option<&str>, is_local: bool) -> Result<Reports> {
        self.0.lock().set(name, value, is_local)
    }

    pub fn set_config(&self, name: &str, value: Option<&str>, is_local: bool) -> Result<String> {
        self.0.lock().set_config(name, value, is_local)
    }

    pub fn take_pending_reports(&self) -> Reports {
        self.0.lock().take_pending_reports()
    }

    pub fn reset(&self, name: Option<&str>) -> Result<Reports> {
        self.0.lock().reset(name)
    }

    pub fn begin(&self) {
        self.0.lock().begin();
    }

    pub fn end(&self, is_committed: bool) -> Reports {
        self.0.lock().end(is_committed)
    }

    pub fn all(&self) -> Vec<(String, String, String)> {
        self.0.lock().all()
    }

    pub fn default_of(&self, name: &str) -> Option<String> {
        self.0.lock().default_of(name)
    }

    pub fn time(&self, name: &str) -> Option<Duration> {
        self.0.lock().time(name)
    }

    pub fn version(&self) -> u64 {
        self.0.lock().version()
    }

    pub fn lateness_ms(&self) -> Result<i64> {
        self.0.lock().lateness_ms()
    }

    pub fn from_latest(&self) -> bool {
        self.0.lock().from_latest()
    }

    pub fn style(&self) -> TextStyle {
        self.0.lock().style()
    }
}
