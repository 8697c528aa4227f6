//! A sink that writes lines to the standard output of the server: to look at what a query gives.
//! `print` is Flink's name of it.
//!
//! What has been written cannot be taken back, so a change that was on its way out when a crash came
//! is there twice: at least once.

use std::io::Write;

use arrow::datatypes::SchemaRef;

use super::encode::RowFormat;
use super::options::ConnectorOptions;
use super::sink::{Publication, Sink};
use crate::error::Result;

/// Lines of JSON, or of CSV.
pub(super) struct Stdout {
    format: RowFormat,
}

impl Stdout {
    pub(super) fn open(
        name: &str,
        options: &ConnectorOptions<'_>,
        schema: &SchemaRef,
    ) -> Result<Stdout> {
        options.only(name, &["format"])?;
        let format = match options.word("format", &["json", "csv"])? {
            "json" => RowFormat::json(),
            _ => RowFormat::csv(schema, false),
        };
        Ok(Stdout { format })
    }
}

impl Sink for Stdout {
    fn publish(&self, publication: &Publication) -> Result<()> {
        let lines = self.format.encode(&publication.batches)?;
        let mut out = std::io::stdout().lock();
        out.write_all(&lines)?;
        Ok(out.flush()?)
    }
}
