//! Where conversations begin.

use std::sync::Arc;

use async_trait::async_trait;

use super::conversation::{Conversation, Reception, Startup};
use super::session::Session;
use super::transaction::{SystemSchemas, Writer};
use crate::error::Result;
use crate::exec::Engine;

/// Opens sessions on one engine.
#[derive(Clone)]
pub struct Front {
    engine: Arc<Engine>,
    writer: Arc<dyn Writer>,
    system: Arc<dyn SystemSchemas>,
}

impl Front {
    /// Sessions on this engine; rows are written by `writer`, and `system` has the system's schemas.
    pub fn new(engine: Arc<Engine>, writer: Arc<dyn Writer>, system: Arc<dyn SystemSchemas>) -> Front {
        Front { engine, writer, system }
    }

    /// A session, as [`Reception::open`] gives it.
    pub fn session(&self, startup: Startup) -> Result<Session> {
        Session::new(Arc::clone(&self.engine), Arc::clone(&self.writer), Arc::clone(&self.system), startup)
    }
}

#[async_trait]
impl Reception for Front {
    async fn open(&self, startup: Startup) -> Result<Box<dyn Conversation>> {
        Ok(Box::new(self.session(startup)?))
    }
}
