//! What Bind makes and Execute runs.

use super::rows::{Flow, ValueFormat};
use crate::session::{Params, Prepared};

/// A statement with its parameters, and how far it has got.
pub(super) struct Portal {
    pub statement: Prepared,
    pub formats: Vec<ValueFormat>,
    pub progress: PortalProgress,
}

/// How far it has got.
pub(super) enum PortalProgress {
    /// Not executed yet.
    Bound(Params),
    /// Executed in part.
    Flowing { flow: Flow, tag: &'static str, counted: bool },
    /// Its rows have all been sent; executing it again gives none.
    Drained { tag: &'static str, counted: bool },
    /// It ran to its end, or failed.
    Over,
}
