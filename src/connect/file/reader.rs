//! One pass over the files: bytes into a buffer, records out of it, and the place where to go on.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::{FileMode, FilePath, FileSource, OnError, OnTruncate, SourceFormat, shown};
use crate::connect::decode::{
    BatchBuilder, CsvDecoder, CsvHeader, Decoder, More, decode, match_header,
};
use crate::connect::{SourceBatch, SourceOffset, SourceReader, Why};
use crate::error::{Error, Result, SqlState};
use crate::limits;

/// How often the directory is searched for new files, ms.
const DISCOVERY_MS: i64 = 200;

/// The place between two records.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct FilePosition {
    /// The files in the order of reading, with the sizes of those that are finished.
    files: Vec<(String, u64)>,
    /// Which of them is being read.
    file: usize,
    /// The first byte of it that has not been taken.
    byte: u64,
    /// How many records have been taken, of all files.
    pub(super) record: u64,
}

impl FilePosition {
    pub(super) fn from_offset(offset: &SourceOffset) -> Result<FilePosition> {
        if offset.is_start() {
            return Ok(FilePosition::default());
        }
        serde_json::from_slice(offset.as_bytes()).map_err(|_| {
            Error::new(SqlState::Corrupted, format!("'{offset}' is no offset of a file source"))
        })
    }

    /// The same for readers that read the same from here on; how many later files they know of does
    /// not matter.
    pub(super) fn place(&self) -> String {
        let name = self.files.get(self.file).map_or("", |(name, _)| name.as_str());
        format!("{} {} {} {name}", self.record, self.file, self.byte)
    }
}

pub(super) struct FileReader {
    source: FileSource,
    schema: SchemaRef,
    rows: BatchBuilder,
    position: FilePosition,
    open: Option<OpenFile>,
    discovered_ms: Option<i64>,
}

struct OpenFile {
    path: FilePath,
    file: File,
    decoder: Box<dyn Decoder>,
    buffer: Vec<u8>,
    /// How much of the buffer has been taken.
    taken: usize,
    /// The buffer ends where the file ended when it was last read.
    at_end: bool,
}

impl FileReader {
    pub(super) fn new(
        source: FileSource,
        schema: SchemaRef,
        rows: BatchBuilder,
        position: FilePosition,
    ) -> FileReader {
        FileReader { source, schema, rows, position, open: None, discovered_ms: None }
    }

    /// Looks for new files, and at the finished ones.
    fn discover(&mut self, now_ms: i64) -> Result<()> {
        if self
            .discovered_ms
            .is_some_and(|last| now_ms.saturating_sub(last) < DISCOVERY_MS && now_ms >= last)
        {
            return Ok(());
        }
        let fresh = self.discovered_ms.is_none() && self.position.files.is_empty();
        if fresh || self.source.mode == FileMode::Watch {
            for name in self.listed()? {
                if !self.position.files.iter().any(|(known, _)| *known == name) {
                    self.position.files.push((name, 0));
                }
            }
            self.check_finished()?;
        }
        self.discovered_ms = Some(now_ms);
        Ok(())
    }

    /// The files there are. When one is watched for more, all readers take them in the order in
    /// which the first of them has seen them: the log is the same for all.
    fn listed(&self) -> Result<Vec<String>> {
        let found = self.source.files.list()?;
        if self.source.mode == FileMode::Once {
            return Ok(found);
        }
        let mut order = self.source.discovered.lock();
        for name in self.position.files.iter().map(|(name, _)| name).chain(&found) {
            if !order.contains(name) {
                order.push(name.clone());
            }
        }
        // A file that was taken away after others had read it is none for who comes later.
        let is_there = |name: &&String| {
            found.contains(name) || self.position.files.iter().any(|(known, _)| known == *name)
        };
        Ok(order.iter().filter(is_there).cloned().collect())
    }

    fn check_finished(&self) -> Result<()> {
        for (name, size) in
            &self.position.files[..self.position.file.min(self.position.files.len())]
        {
            // A finished file may be taken away: what it said has been read.
            let Ok(path) = self.source.files.open_path(name) else { continue };
            if path.metadata()?.len() > *size {
                return Err(Error::new(
                    SqlState::NotInState,
                    format!("file '{name}' grew after it was finished"),
                )
                .detail("A file is finished as soon as a later one has been begun.")
                .hint("Let each growing file be a source of its own."));
            }
        }
        Ok(())
    }

    /// Opens the file at the position, if there is one.
    fn open(&mut self) -> Result<bool> {
        if self.open.is_some() {
            return Ok(true);
        }
        let Some((name, _)) = self.position.files.get(self.position.file) else { return Ok(false) };
        let path = self.source.files.open_path(name)?;
        let mut file = File::open(&path).map_err(|error| Error::from(error).context(name))?;
        let Some((decoder, begin)) = begin(&self.source, &mut file, name, self.must_wait())? else {
            return Ok(false);
        };
        // The first record begins after the header and a byte order mark.
        self.position.byte = self.position.byte.max(begin);
        file.seek(SeekFrom::Start(self.position.byte))?;
        self.open =
            Some(OpenFile { path, file, decoder, buffer: Vec::new(), taken: 0, at_end: false });
        Ok(true)
    }

    /// Whether the file at the position may still grow.
    fn must_wait(&self) -> More {
        if self.source.mode == FileMode::Watch
            && self.position.file + 1 >= self.position.files.len()
        {
            More::MayCome
        } else {
            More::Ended
        }
    }

    /// Takes records out of the open file; false when it has no more now.
    fn take(&mut self, max: usize) -> Result<bool> {
        let more = self.must_wait();
        let Some(open) = &mut self.open else { return Ok(false) };
        let mut window = limits::FILE_LOOK_BYTES;
        loop {
            let left = open.buffer.len() - open.taken;
            let seen = left.min(window);
            let ends = if open.at_end && seen == left { more } else { More::MayCome };
            let data = &open.buffer[open.taken..open.taken + seen];
            let taken = match seen {
                0 => 0,
                _ => decode(&mut *open.decoder, data, ends, max, &mut self.rows),
            };
            if taken > 0 {
                open.taken += taken;
                self.position.byte += taken as u64;
                self.position.record = self.rows.record();
                return Ok(true);
            }
            if seen < left {
                window *= 4;
                continue;
            }
            // Nothing whole is left in the buffer.
            assert!(left <= 2 * limits::RECORD_BYTES, "a decoder takes a record that is too long");
            if !open.fill()? {
                if open.at_end {
                    return Ok(false);
                }
                // The end has only now been seen: what is left may be the last record.
                open.at_end = true;
            }
        }
    }

    /// A file that is shorter than what was read of it was written anew.
    fn check_truncated(&mut self) -> Result<bool> {
        let Some((name, _)) = self.position.files.get(self.position.file) else { return Ok(false) };
        let size = match self.source.files.open_path(name).and_then(|path| Ok(path.metadata()?)) {
            Ok(found) => found.len(),
            // Gone: what has been opened can still be read.
            Err(_) if self.open.is_some() => return Ok(false),
            Err(error) => return Err(error),
        };
        let buffered = self.open.as_ref().map_or(0, |open| (open.buffer.len() - open.taken) as u64);
        if size >= self.position.byte + buffered {
            return Ok(false);
        }
        match self.source.on_truncate {
            OnTruncate::Fail => {
                Err(Error::new(SqlState::NotInState, format!("file '{name}' became shorter"))
                    .detail(format!(
                        "{} bytes of it had been read, it has {size}.",
                        self.position.byte + buffered
                    ))
                    .hint(
                        "With on_truncate = 'restart' it would be read again from its beginning.",
                    ))
            }
            OnTruncate::Restart => {
                self.position.byte = 0;
                self.open = None;
                Ok(true)
            }
        }
    }

    /// Goes on to the next file when this one is finished; false when there is none.
    fn next_file(&mut self) -> bool {
        if self.must_wait() == More::MayCome || self.position.file >= self.position.files.len() {
            return false;
        }
        self.position.files[self.position.file].1 = self.position.byte;
        self.position.file += 1;
        self.position.byte = 0;
        self.open = None;
        self.position.file < self.position.files.len()
    }

    fn fail_on_error(&self, batch: &SourceBatch) -> Result<()> {
        let wrong = batch.rejected.iter().find(|record| record.why == Why::Malformed);
        match (self.source.on_error, wrong) {
            (OnError::Fail, Some(first)) => {
                let raw = String::from_utf8_lossy(&first.raw);
                Err(Error::new(
                    SqlState::BadText,
                    format!("record {}: {}", first.offset, first.error),
                )
                .detail(raw.chars().take(200).collect::<String>())
                .hint("With on_error = 'reject' such records are kept aside and the others read."))
            }
            _ => Ok(()),
        }
    }
}

impl SourceReader for FileReader {
    fn read(&mut self, now_ms: i64, max_rows: usize) -> Result<SourceBatch> {
        self.discover(now_ms)?;
        self.rows.begin(now_ms);
        let mut ended = false;
        let before = self.position.clone();
        if self.position.byte > 0 {
            self.check_truncated()?;
        }
        while self.rows.len() < max_rows {
            if !self.open()? {
                ended = self.source.mode == FileMode::Once
                    && self.position.file >= self.position.files.len();
                break;
            }
            if !self.take(max_rows)? && !self.next_file() {
                ended = self.source.mode == FileMode::Once;
                break;
            }
        }
        let (batch, rejected) = self.rows.finish(&self.schema)?;
        let batch = SourceBatch { batch, rejected, ended };
        if let Err(error) = self.fail_on_error(&batch) {
            // The offset stays before the bad record, so that a restart finds it again.
            self.rows.restart(before.record);
            self.position = before;
            self.open = None;
            return Err(error);
        }
        Ok(batch)
    }

    fn keep_raw(&mut self) {
        self.rows.keep_raw();
    }

    fn raw(&self, row: usize) -> Option<&[u8]> {
        self.rows.raw(row)
    }

    fn offset(&self) -> SourceOffset {
        // Names and numbers always have a JSON form.
        SourceOffset::from_bytes(serde_json::to_vec(&self.position).unwrap_or_default())
    }
}

impl OpenFile {
    /// Reads on; false when there is nothing more now.
    fn fill(&mut self) -> Result<bool> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let before = self.buffer.len();
        let read = (&self.file).take(limits::FILE_READ_BYTES as u64).read_to_end(&mut self.buffer);
        read.map_err(|error| Error::from(error).context(shown(&self.path)))?;
        let grew = self.buffer.len() > before;
        self.at_end &= !grew;
        Ok(grew)
    }
}

/// A decoder for the file and where its first record begins; `None` while its header is not
/// complete.
fn begin(
    source: &FileSource,
    file: &mut File,
    name: &str,
    more: More,
) -> Result<Option<(Box<dyn Decoder>, u64)>> {
    let SourceFormat::Csv { style, header: CsvHeader::First } = &source.format else {
        return Ok(Some((source.decoder(), mark(file)?)));
    };
    let mut line = Vec::new();
    let begins = mark(file)?;
    file.seek(SeekFrom::Start(begins))?;
    let mut limited = std::io::BufReader::new(file.take(limits::RECORD_BYTES as u64));
    std::io::BufRead::read_until(&mut limited, b'\n', &mut line)?;
    if more == More::MayCome && line.last() != Some(&b'\n') {
        return Ok(None);
    }
    let columns = source.names();
    let mut decoder = CsvDecoder::new(style.clone(), columns.len());
    if line.is_empty() {
        return Ok(Some((Box::new(decoder), begins)));
    }
    let broken = || {
        Error::new(SqlState::BadCopyFormat, format!("file '{name}' has no readable header line"))
            .hint("Leave header away, or set it to false, if the first line is a record.")
    };
    let text = std::str::from_utf8(&line).map_err(|_| broken())?;
    let names = decoder.header(text).ok_or_else(broken)?;
    let named = columns.iter().map(String::as_str);
    let field_of = match_header(named, &names, &format!("'{name}'"), |_| true)?;
    decoder.match_fields(field_of, names.len());
    Ok(Some((Box::new(decoder), begins + line.len() as u64)))
}

/// How long the byte order mark is that some programs put first.
fn mark(file: &mut File) -> Result<u64> {
    let mut first = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    (&*file).take(3).read_to_end(&mut first)?;
    Ok(if first == b"\xEF\xBB\xBF" { 3 } else { 0 })
}
