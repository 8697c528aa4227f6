//! A sink that takes everything and keeps nothing: to see what a query costs.

use super::options::ConnectorOptions;
use super::sink::{Publication, Sink};
use crate::error::Result;

/// It has no options.
pub(super) struct Blackhole;

impl Blackhole {
    pub(super) fn open(options: &ConnectorOptions<'_>) -> Result<Blackhole> {
        options.only("blackhole", &[])?;
        Ok(Blackhole)
    }
}

impl Sink for Blackhole {
    fn publish(&self, _: &Publication) -> Result<()> {
        Ok(())
    }
}
