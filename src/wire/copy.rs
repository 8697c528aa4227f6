//! COPY: data in and out, in both protocols.

use pgwire::messages::PgWireBackendMessage as Reply;
use pgwire::messages::copy::{CopyData, CopyDone, CopyInResponse, CopyOutResponse};

use super::connection::Connection;
use super::link::Stop;
use super::messages::Message;
use crate::error::{Error, Result, SqlState};
use crate::session::{CopyIn, CopyOut};

impl Connection {
    /// Takes data from the client until it is done; the tag. An error leaves nothing written: the sink is dropped.
    pub(super) async fn copy_in(&mut self, mut sink: Box<dyn CopyIn>) -> Result<String, Stop> {
        let (format, columns) = shape(sink.format(), sink.columns());
        let formats = vec![i16::from(format); columns as usize];
        self.link.put(&Reply::CopyInResponse(CopyInResponse::new(format, columns, formats)))?;
        self.link.flush().await?;
        loop {
            let frame = self.link.frame_for_statement().await?;
            match Message::decode(frame.tag, frame.body)? {
                Message::CopyData(bytes) => self.link.attend(sink.data(bytes)).await?,
                Message::CopyDone => return self.link.attend(sink.finish()).await,
                Message::CopyFail(why) => {
                    let message = format!("COPY from stdin failed: {why}");
                    return Err(Stop::Error(Error::new(SqlState::Cancelled, message)));
                }
                // A client of the extended protocol may have sent these before it knew that it is a COPY.
                Message::Flush | Message::Sync => {}
                Message::Terminate => return Err(Stop::Gone),
                Message::Query(_)
                | Message::Parse { .. }
                | Message::Bind(_)
                | Message::Describe(..)
                | Message::Execute { .. }
                | Message::Close(..)
                | Message::FunctionCall => {
                    let message =
                        format!("unexpected message type 0x{:02x} during COPY from stdin", frame.tag);
                    return Err(Stop::Error(Error::new(SqlState::ProtocolViolation, message)));
                }
            }
        }
    }

    /// Sends data to the client as it comes; the tag.
    pub(super) async fn copy_out(&mut self, source: CopyOut) -> Result<String, Stop> {
        let (format, columns) = shape(source.format, source.columns);
        let formats = vec![i16::from(format); columns as usize];
        self.link.put(&Reply::CopyOutResponse(CopyOutResponse::new(format, columns, formats)))?;
        let mut stream = source.stream;
        let mut count = 0;
        while let Some((data, rows)) = self.link.next_live(&mut stream).await? {
            count += rows;
            self.link.put(&Reply::CopyData(CopyData::new(data)))?;
            self.link.flush_if_large().await?;
        }
        self.link.put(&Reply::CopyDone(CopyDone::new()))?;
        Ok(format!("{} {count}", source.tag))
    }
}

/// Format and number of columns as the message says them; [`limits::COLUMNS`](crate::limits::COLUMNS) fits.
fn shape(format: i16, columns: usize) -> (i8, i16) {
    (i8::from(format != 0), i16::try_from(columns).unwrap_or(i16::MAX))
}
