//! Where sessions begin.

use std::sync::Arc;

use async_trait::async_trait;

use super::client_session::{ClientSession, SessionFactory, Startup};
use super::session::Session;
use crate::error::Result;
use crate::exec::Engine;

/// Opens sessions on one engine.
#[derive(Clone)]
pub struct EngineSessions {
    engine: Arc<Engine>,
}

impl EngineSessions {
    /// Sessions on this engine.
    pub fn new(engine: Arc<Engine>) -> EngineSessions {
        EngineSessions { engine }
    }

    /// A session, as [`SessionFactory::open`] gives it.
    pub fn session(&self, startup: Startup) -> Result<Session> {
        Session::new(Arc::clone(&self.engine), startup)
    }
}

#[async_trait]
impl SessionFactory for EngineSessions {
    async fn open(&self, startup: Startup) -> Result<Box<dyn ClientSession>> {
        Ok(Box::new(self.session(startup)?))
    }
}
