//! One HTTP post: taken whole, refused whole, and acknowledged when it is durable.
//!
//! What can be said without the body (that there is no such stream, that the type is unknown, that
//! writers are held back) is said before it is read.

use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::memory_pool::MemoryReservation;

use super::super::calls::relation_named;
use super::super::message_memory::MessageMemory;
use super::super::transaction::no_memory;
use super::super::write::FedWrite;
use super::keys::{KeyedPost, PostCounts, PostKeys, checked};
use super::stream::{FedStream, FedStreams};
use crate::catalog::{Kind, StreamDef};
use crate::clock;
use crate::connect::feeder::{MediaType, refused_by, too_large, unpacked};
use crate::error::{Error, Result, SqlState, panicked};
use crate::exec::Engine;
use crate::limits;
use crate::log::Transaction;
use crate::memory::MemoryPart;

/// What is known of a post before its body.
#[derive(Debug, Clone, Default)]
pub struct PostHead {
    /// The stream, as SQL names it.
    pub stream: String,
    /// Content-Type.
    pub content_type: Option<String>,
    /// The body is packed with gzip.
    pub is_packed: bool,
    /// Idempotency-Key: a post that is repeated with it counts once.
    pub key: Option<String>,
}

/// What has become of a post: it is durable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Posted {
    /// Rows that are in the stream.
    pub taken: u64,
    /// Records that are kept aside.
    pub rejected: u64,
    /// Of the first of these the numbers among the records, and what is wrong with them.
    pub errors: Vec<(u64, String)>,
    /// It had been taken before, and was not taken again.
    pub is_repeated: bool,
}

/// Takes posts for the streams of an engine.
pub struct StreamPosts {
    engine: Arc<Engine>,
    streams: FedStreams,
    keys: Arc<PostKeys>,
}

impl StreamPosts {
    /// For the streams of this engine.
    pub fn new(engine: Arc<Engine>) -> StreamPosts {
        StreamPosts { engine, streams: FedStreams::default(), keys: Arc::default() }
    }

    /// Begins to take a post. 42P01, 42809: there is no such stream; 0A000: its type cannot be read;
    /// 53400: views are too far behind.
    pub async fn begin(&self, head: PostHead) -> Result<IncomingPost> {
        let relation = relation_named(&self.engine, &head.stream)?;
        let is_posted = matches!(&relation.kind, Kind::Stream(stream) if takes_posts(stream));
        if !is_posted {
            let what =
                format!("{} \"{}\" takes no posts", relation.kind_name(), relation.shown_name());
            return Err(Error::new(SqlState::WrongObjectType, what)
                .hint("Only a stream WITH (connector = 'http') does."));
        }
        let stream = self.streams.get(&self.engine, &relation)?;
        let media_type = stream.feeder.media_type(head.content_type.as_deref())?;
        let key = head.key.as_deref().map(checked).transpose()?.map(str::to_owned);
        let patience = Duration::from_millis(limits::POST_HELD_BACK_MS);
        let held_back = self.engine.hold_back(std::slice::from_ref(&relation.id));
        if clock::timeout(self.engine.clock(), patience, held_back).await.is_none() {
            let what = format!("views over \"{}\" are too far behind", relation.shown_name());
            return Err(Error::new(SqlState::LimitExceeded, what)
                .hint("Post it again later; max_lag of the stream says how far they may be."));
        }
        let accounts = self.engine.planner.accounts();
        Ok(IncomingPost {
            held: MessageMemory::new(accounts.reserve(MemoryPart::Messages)),
            memory: accounts.reserve(MemoryPart::Writes),
            engine: Arc::clone(&self.engine),
            stream,
            media_type,
            is_packed: head.is_packed,
            keys: Arc::clone(&self.keys),
            key,
            body: Vec::new(),
        })
    }
}

fn takes_posts(stream: &StreamDef) -> bool {
    stream.feeder.is_some() && stream.connector_name() == Some("http")
}

/// A post whose body is coming in.
pub struct IncomingPost {
    engine: Arc<Engine>,
    stream: Arc<FedStream>,
    media_type: MediaType,
    is_packed: bool,
    keys: Arc<PostKeys>,
    key: Option<String>,
    body: Vec<u8>,
    /// What the body takes of `--memory-limit`.
    held: MessageMemory,
    /// What its rows take.
    memory: MemoryReservation,
}

impl IncomingPost {
    /// The next bytes. 54000: they are too many; 53200: there is no memory for them.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        if self.body.len() + bytes.len() > limits::HTTP_BODY_BYTES {
            return Err(too_large());
        }
        self.held.hold(self.body.len() + bytes.len())?;
        self.body.extend_from_slice(bytes);
        Ok(())
    }

    /// There are no more: makes the rows durable. Once begun this goes to its end, also if nobody
    /// waits for it any more.
    pub async fn finish(self) -> Result<Posted> {
        let engine = Arc::clone(&self.engine);
        match engine.cpu().spawn(self.take()).await {
            Ok(posted) => posted,
            Err(error) if error.is_panic() => Err(panicked("the post", &*error.into_panic())),
            Err(_) => Err(Error::new(SqlState::ShuttingDown, "the server is shutting down")),
        }
    }

    async fn take(mut self) -> Result<Posted> {
        if self.is_packed {
            let body = unpacked(&self.body)?;
            self.held.hold(self.body.len() + body.len())?;
            self.body = body;
        }
        let store = Arc::clone(self.engine.store());
        let stream = Arc::clone(&self.stream);
        let keyed = |now_ms: i64| {
            let stream = &*stream.relation;
            self.key.as_deref().map(|key| KeyedPost { stream, key, body: &self.body, now_ms })
        };
        let mut alone = None;
        if let Some(post) = keyed(self.engine.now_ms()) {
            alone = Some(self.keys.alone(post.stream.id, post.key).await);
            if let Some(PostCounts { taken, rejected }) = self.keys.find(&*store, &post)? {
                return Ok(Posted { taken, rejected, is_repeated: true, errors: Vec::new() });
            }
        }
        // No window over PROCTIME() closes behind it before its rows are there.
        let moment = self.engine.moments.begin(self.engine.clock());
        let now_ms = moment.at_ms.max(self.engine.now_ms());
        let write = self.rows(now_ms).await?;
        let posted = Posted {
            taken: write.row_count(),
            rejected: write.rejected_count,
            errors: write.errors.clone(),
            is_repeated: false,
        };
        let counted = PostCounts { taken: posted.taken, rejected: posted.rejected };
        let remember = |transaction: &mut Transaction| match keyed(now_ms) {
            Some(post) => self.keys.remember(&*store, &post, counted, transaction),
            None => Ok(()),
        };
        stream.write(&self.engine, write, now_ms, remember).await?;
        drop((moment, alone));
        Ok(posted)
    }

    /// The rows of the body, a portion at a time.
    async fn rows(&self, now_ms: i64) -> Result<FedWrite> {
        let feeder = &self.stream.feeder;
        let mut body = feeder.body(&self.body, self.media_type, now_ms)?;
        let mut write = FedWrite::default();
        while let Some(part) = body.next_part()? {
            let bytes = self.stream.rules.complete(part, now_ms, &mut write)?;
            self.memory.try_grow(bytes).map_err(|_| no_memory("the post"))?;
            if self.memory.size() > limits::WRITE_BYTES {
                return Err(Error::new(SqlState::ProgramLimit, "the post has too many rows")
                    .hint("Send them in several posts."));
            }
            if let Some(first) = write.rejected.front().filter(|_| feeder.fails) {
                return Err(refused_by(first));
            }
            tokio::task::yield_now().await;
        }
        Ok(write)
    }
}
