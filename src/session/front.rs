//! Where conversations begin.

use std::sync::Arc;

use async_trait::async_trait;

use super::conversation::{Conversation, Reception, Startup};
use super::session::Session;
use crate::error::Result;
use crate::exec::Engine;

/// Opens sessions on one engine.
#[derive(Clone)]
pub struct Front {
    engine: Arc<Engine>,
}

impl Front {
    /// Sessions on this engine.
    pub fn new(engine: Arc<Engine>) -> Front {
        Front { engine }
    }

    /// A session, as [`Reception::open`] gives it.
    pub fn session(&self, startup: Startup) -> Result<Session> {
        Session::new(Arc::clone(&self.engine), startup)
    }
}

#[async_trait]
impl Reception for Front {
    async fn open(&self, startup: Startup) -> Result<Box<dyn Conversation>> {
        Ok(Box::new(self.session(startup)?))
    }
}
