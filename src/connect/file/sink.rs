//! Files as a sink: a directory that gets a file for each publication, whole or not at all.
//!
//! A file is written under a name that no glob finds, made durable, and then renamed to one that says
//! of which sink and up to which epoch it is. Publishing the same epochs again puts the same file in
//! its place: each change is there once, whatever crashes come in between.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;

use super::super::encode::RowFormat;
use super::super::options::{ConnectorOptions, bad};
use super::super::sink::{Publication, Sink, SinkIdentity};
use super::paths;
use crate::error::{Error, Result};
use crate::limits;

const OPTIONS: [&str; 4] = ["path", "format", "header", "rollover"];

/// A directory that files are added to.
pub(in crate::connect) struct FileSink {
    directory: PathBuf,
    /// What the name of each file begins with.
    name: String,
    format: RowFormat,
    gathers_ms: u64,
}

impl FileSink {
    /// Makes the directory if it is not there.
    pub(in crate::connect) fn open(
        options: &ConnectorOptions<'_>,
        schema: &SchemaRef,
        root: &Path,
        identity: SinkIdentity,
    ) -> Result<FileSink> {
        options.only("file", &OPTIONS)?;
        let path = options.required("path")?;
        if path.contains("://") {
            let what = format!("a sink at '{path}' is not supported");
            return Err(Error::unsupported(what).hint("Name a directory of the server's disk."));
        }
        let header = options.boolean("header")?;
        let format = match options.word("format", &["json", "csv", "parquet"])? {
            "csv" => RowFormat::csv(schema, header.unwrap_or(true)),
            _ if header.is_some() => {
                return Err(bad("option \"header\" is for the format 'csv'".to_owned()));
            }
            "json" => RowFormat::json(),
            _ => RowFormat::parquet(schema)?,
        };
        let gathers_ms = options.duration_ms("rollover")?.unwrap_or(limits::FILE_ROLLOVER_MS);
        let directory = paths::directory(root, path)?;
        let name = format!("part-{:012x}-{:04x}", identity.created_ms, identity.id);
        Ok(FileSink { directory, name, format, gathers_ms })
    }
}

impl Sink for FileSink {
    fn publish(&self, publication: &Publication) -> Result<()> {
        let name = format!("{}-{:012}.{}", self.name, publication.last, self.format.extension());
        let (unfinished, finished) =
            (self.directory.join(format!(".{name}")), self.directory.join(&name));
        let written = self.format.encode(&publication.batches)?;
        let put = || -> std::io::Result<()> {
            let mut file = File::create(&unfinished)?;
            file.write_all(&written)?;
            file.sync_all()?;
            std::fs::rename(&unfinished, &finished)?;
            // Only then is the name durable, too.
            File::open(&self.directory)?.sync_all()
        };
        put().map_err(|error| Error::from(error).context(name))
    }

    fn gathers_ms(&self) -> u64 {
        self.gathers_ms
    }
}
