//! The feeds of a query: one for each of its sources, in their order.

use futures::FutureExt;
use futures::future::{BoxFuture, select_all};

use super::super::position::{FeedPosition, SourceProgress};
use super::Feed;
use super::shared::Wish;
use crate::announced::Listener;
use crate::catalog::RelationId;
use crate::log::CommitNo;

/// The feeds of a query.
pub struct Feeds(pub Vec<Feed>);

impl Feeds {
    /// Whether new rows of all of them announce themselves; see [`Feed::is_log`].
    pub fn are_logs(&self) -> bool {
        self.0.iter().all(Feed::is_log)
    }

    /// Whether all would read nothing.
    pub fn are_idle(&self) -> bool {
        self.0.iter().all(Feed::is_idle)
    }

    /// Waits until there may be more to read by one of them; false: there will be no more, the server
    /// is going down.
    pub async fn changed(&mut self, commits: &mut Listener<CommitNo>) -> bool {
        match &mut self.0[..] {
            [] => return commits.changed().await.is_ok(),
            [only] => return only.changed(commits).await,
            _ => {}
        }
        let mut news: Vec<BoxFuture<'_, bool>> = Vec::new();
        if self.0.iter().any(|feed| !feed.is_view()) {
            news.push(async { commits.changed().await.is_ok() }.boxed());
        }
        news.extend(self.0.iter_mut().filter_map(Feed::published));
        select_all(news).await.0
    }

    /// What they would read next of connectors.
    pub fn wishes(&self) -> impl Iterator<Item = Wish> + '_ {
        self.0.iter().filter_map(Feed::wish)
    }

    /// Where they stand.
    pub fn positions(&self) -> Vec<FeedPosition> {
        self.0.iter().map(Feed::position).collect()
    }

    /// The epoch in which something fresh was taken has been given its number.
    pub fn reached_epoch(&mut self, epoch: u64) {
        self.0.iter_mut().for_each(|feed| feed.reached_epoch(epoch));
    }

    /// The last commit of which all of them have read everything, as far as they have still to read;
    /// 0: not known.
    pub fn read_to(&self) -> CommitNo {
        let reading = self.0.iter().filter(|feed| self.0.len() == 1 || !feed.is_idle());
        reading.map(Feed::read_to).min().unwrap_or(CommitNo(0))
    }

    /// What they read, see [`Feed::source`].
    pub fn sources(&self) -> impl Iterator<Item = RelationId> + '_ {
        self.0.iter().map(Feed::source)
    }

    /// How far they have come in connectors.
    pub fn source_progress(&self) -> Vec<(RelationId, SourceProgress)> {
        let of = |feed: &Feed| Some((feed.source(), feed.source_progress()?));
        self.0.iter().filter_map(of).collect()
    }
}
