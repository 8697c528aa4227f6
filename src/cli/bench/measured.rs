//! The figures of one measurement, as its process hands them over: a line of JSON.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What one process measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) events: u64,
    pub(super) wall_s: f64,
    pub(super) cpu_s: f64,
    /// More than there was before, the events in memory included there.
    pub(super) peak_rss_mb: f64,
    pub(super) output_rows: u64,
    /// Rows that appeared less rows that went.
    pub(super) net_rows: i64,
    /// Late, rejected, without a time: rows that the query did not count.
    pub(super) unread: u64,
    pub(super) epoch_p50_ms: f64,
    pub(super) epoch_p99_ms: f64,
}

/// As JSON.
pub(super) fn text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::internal(error.to_string()))
}
