//! `tidemill bench`.
use clap::Args;

use crate::error::{Error, Result};

/// The flags of `bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {}

pub(super) fn bench(_: &BenchArgs) -> Result<()> {
    Err(Error::unsupported("bench"))
}
