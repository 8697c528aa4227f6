//! Which sockets are followed: those of all streams with such a connector, for as long as there are
//! these streams.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::socket::follow;
use super::stream::FedStream;
use crate::catalog::{Kind, Relation, RelationId};
use crate::connect::feeder::FeederVia;
use crate::error::Result;
use crate::exec::Engine;
use crate::limits;

/// Begins to follow the sockets of an engine's streams.
pub fn follow_sockets(engine: &Arc<Engine>) {
    engine.cpu().spawn(look(Arc::downgrade(engine)));
}

/// Follows what is there and not followed yet, and lets go of what is there no more.
async fn look(engine: Weak<Engine>) {
    let mut followed: HashMap<RelationId, AbortOnDropHandle<()>> = HashMap::new();
    loop {
        let Some(engine) = engine.upgrade() else { return };
        let names = engine.catalog.names();
        followed.retain(|id, _| names.by_id(*id).is_some());
        for relation in names.all().filter(|relation| has_socket(relation)) {
            if followed.contains_key(&relation.id) {
                continue;
            }
            match open(&engine, relation) {
                Ok((stream, host, port)) => {
                    let following = follow(Arc::clone(&engine), stream, host, port);
                    let task = AbortOnDropHandle::new(engine.cpu().spawn(following));
                    followed.insert(relation.id, task);
                }
                Err(error) => tracing::error!("stream {}: {error}", relation.shown_name()),
            }
        }
        let pause = engine.clock().sleep(Duration::from_millis(limits::SOCKET_LOOK_MS));
        drop((names, engine));
        pause.await;
    }
}

fn has_socket(relation: &Relation) -> bool {
    match &relation.kind {
        Kind::Stream(stream) => {
            stream.feeder.is_some() && stream.connector_name() == Some("socket")
        }
        Kind::Table(_) | Kind::View { .. } | Kind::MaterializedView(_) | Kind::Sink(_) => false,
    }
}

fn open(engine: &Engine, relation: &Arc<Relation>) -> Result<(FedStream, String, u16)> {
    let stream = FedStream::open(engine, relation)?;
    match stream.feeder.via.clone() {
        FeederVia::Socket { host, port } => Ok((stream, host, port)),
        FeederVia::Http => Err(crate::error::Error::internal("a socket that is none")),
    }
}
