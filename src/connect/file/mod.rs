//! Files as sources: one file or, by a glob, many that are read one after the other as a single
//! log.
//!
//! Files come in the order of their names; in watch mode those that appear later follow in the
//! order in which they are discovered. Once a file follows another the earlier one is finished:
//! that it grows afterwards is an error, since its new lines would have to be squeezed into the
//! middle of the log. An incomplete last line of the last file is no record yet in watch mode; at
//! the end of a finished file, and in once mode, it is one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use parking_lot::Mutex;

use super::decode::{
    BatchBuilder, CSV_OPTIONS, CsvDecoder, CsvHeader, CsvStyle, Decoder, JsonDecoder, RecordFormat,
    csv_style,
};
use super::options::ConnectorOptions;
use super::{EventTimes, Source, SourceOffset, SourceReader};
use crate::error::{Error, Result, SqlState};

mod paths;
mod reader;
mod sink;

use paths::Files;
use reader::FileReader;
pub(super) use sink::FileSink;

const OPTIONS: [&str; 10] = [
    "path",
    "format",
    "mode",
    "on_error",
    "on_truncate",
    "header",
    "delimiter",
    "quote",
    "escape",
    "null",
];

/// Whether the source ends where its files end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileMode {
    Once,
    Watch,
}

/// What a record that does not parse does to the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnError {
    Reject,
    Fail,
}

/// What a file that has become shorter than it was read does to the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnTruncate {
    Fail,
    Restart,
}

#[derive(Debug, Clone)]
enum SourceFormat {
    Csv { style: CsvStyle, header: CsvHeader },
    Json,
}

/// The files that match a path, as one log.
#[derive(Clone)]
pub(super) struct FileSource {
    schema: SchemaRef,
    files: Files,
    format: SourceFormat,
    mode: FileMode,
    on_error: OnError,
    on_truncate: OnTruncate,
    times: Option<EventTimes>,
    /// In watch mode: the files in the order in which they were discovered, the same for all
    /// readers.
    discovered: Arc<Mutex<Vec<String>>>,
}

impl FileSource {
    pub(super) fn open(
        options: &ConnectorOptions<'_>,
        columns: &[Field],
        root: &Path,
        times: Option<EventTimes>,
    ) -> Result<FileSource> {
        options.only("file", &OPTIONS)?;
        let path = options.required("path")?;
        let format = format(options)?;
        if columns.is_empty() {
            return Err(Error::new(
                SqlState::InvalidTableDefinition,
                "connector 'file' needs columns",
            )
            .hint(
                "Declare the columns of the file: CREATE SOURCE name (column type, …) WITH (…).",
            ));
        }
        let mode = match options.word("mode", &["once", "watch"])? {
            "once" => FileMode::Once,
            _ => FileMode::Watch,
        };
        let on_error = match options.word("on_error", &["reject", "fail"])? {
            "reject" => OnError::Reject,
            _ => OnError::Fail,
        };
        let on_truncate = match options.word("on_truncate", &["fail", "restart"])? {
            "fail" => OnTruncate::Fail,
            _ => OnTruncate::Restart,
        };
        let files = Files::new(root, path)?;
        if mode == FileMode::Once && files.list()?.is_empty() {
            return Err(Error::new(SqlState::BadArgument, format!("no file matches '{path}'")).hint(
                "The path is relative to the directory of --files; with mode = 'watch' files may come later.",
            ));
        }
        let schema = Arc::new(Schema::new(columns.to_vec()));
        Ok(FileSource {
            schema,
            files,
            format,
            mode,
            on_error,
            on_truncate,
            times,
            discovered: Arc::default(),
        })
    }

    /// A decoder for records that begin at the start of a file.
    fn decoder(&self) -> Box<dyn Decoder> {
        match &self.format {
            SourceFormat::Csv { style, .. } => {
                Box::new(CsvDecoder::new(style.clone(), self.schema.fields().len()))
            }
            SourceFormat::Json => {
                Box::new(JsonDecoder::new(self.schema.fields().iter().map(AsRef::as_ref)))
            }
        }
    }

    fn names(&self) -> Vec<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }
}

fn format(options: &ConnectorOptions<'_>) -> Result<SourceFormat> {
    let known = [RecordFormat::Csv, RecordFormat::Json];
    if RecordFormat::of(options.required("format")?, "file", &known)? == RecordFormat::Csv {
        let (style, header) = csv_style(options)?;
        return Ok(SourceFormat::Csv { style, header });
    }
    options.only_csv(&CSV_OPTIONS)?;
    Ok(SourceFormat::Json)
}

impl Source for FileSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn place(&self, offset: &SourceOffset) -> Result<Vec<u8>> {
        Ok(reader::FilePosition::from_offset(offset)?.place().into_bytes())
    }

    fn records(&self, offset: &SourceOffset) -> u64 {
        reader::FilePosition::from_offset(offset).map_or(0, |position| position.record)
    }

    fn reader(
        &self,
        from: SourceOffset,
        columns: Option<&[usize]>,
    ) -> Result<Box<dyn SourceReader>> {
        let fields: Vec<Field> =
            self.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        let (schema, wanted) = match columns {
            None => (self.schema.clone(), (0..fields.len()).collect()),
            Some(some) => (Arc::new(self.schema.project(some)?), some.to_vec()),
        };
        let position = reader::FilePosition::from_offset(&from)?;
        let rows = BatchBuilder::new(&fields, wanted, position.record, self.times);
        Ok(Box::new(FileReader::new(self.clone(), schema, rows, position)))
    }
}

/// The file as messages name it.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

type FilePath = PathBuf;

#[cfg(test)]
mod tests;
