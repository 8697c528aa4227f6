//! What a client has sent and that is not done with, under `--memory-limit`.

use datafusion::execution::memory_pool::MemoryReservation;

use crate::error::{Error, Result, SqlState};
use crate::limits;

/// A session's share of the memory for what arrives from its client. Small messages are not worth
/// counting.
#[derive(Debug, Default)]
pub struct MessageMemory(Option<MemoryReservation>);

impl MessageMemory {
    /// Counted in this reservation.
    pub fn new(memory: MemoryReservation) -> MessageMemory {
        MessageMemory(Some(memory))
    }

    /// The client's messages take so many bytes now. 53200: there is no memory for them, and what
    /// was held before is held still.
    pub fn hold(&self, bytes: usize) -> Result<()> {
        let Some(memory) = &self.0 else { return Ok(()) };
        let steps = bytes / limits::MESSAGE_STEP_BYTES;
        memory.try_resize(steps * limits::MESSAGE_STEP_BYTES).map_err(|_| {
            Error::new(SqlState::OutOfMemory, "out of memory for a message of the client").hint(
                "Send less in one statement, or start the server with a larger --memory-limit.",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Accounts, MemoryPart};

    #[test]
    fn large_messages_are_counted_and_refused_when_there_is_no_room() {
        let accounts = Accounts::new(1 << 20);
        let memory = MessageMemory::new(accounts.reserve(MemoryPart::Messages));
        memory.hold(100).unwrap();
        assert_eq!(accounts.part(MemoryPart::Messages), 0, "a small one");
        memory.hold(900 << 10).unwrap();
        let held = accounts.part(MemoryPart::Messages);
        assert!(held > 800 << 10, "{held}");
        assert_eq!(memory.hold(2 << 20).unwrap_err().state(), SqlState::OutOfMemory);
        assert_eq!(accounts.part(MemoryPart::Messages), held);
        drop(memory);
        assert_eq!(accounts.part(MemoryPart::Messages), 0);
    }
}
