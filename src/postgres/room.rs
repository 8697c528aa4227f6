//! How much functions may make: of the rows that are being computed, or as constants of a statement
//! that is being planned.
//!
//! A function that can make much of little says so before it does ([`take`]). Whoever computes rows
//! says how much room there is for them ([`within`]), for all functions together, and is told when
//! it was not enough.

use std::cell::Cell;

use super::budget::Allowance;

thread_local! {
    /// What the rows that are being computed on this thread may still make.
    static ROOM: Cell<Option<Room>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct Room {
    left: usize,
    is_exceeded: bool,
}

/// A function is about to make so many bytes: whether there is room for them.
pub fn take(bytes: usize) -> bool {
    let Some(room) = ROOM.get() else {
        return Allowance::take_constant(bytes);
    };
    let left = room.left.checked_sub(bytes);
    let is_exceeded = room.is_exceeded || left.is_none();
    ROOM.set(Some(Room { left: left.unwrap_or(0), is_exceeded }));
    left.is_some()
}

/// Puts back what was there before, also when the work panics.
struct Around(Option<Room>);

impl Drop for Around {
    fn drop(&mut self) {
        ROOM.set(self.0);
    }
}

/// Does work with this much room; `None` if it was not enough.
pub fn within<T>(room: usize, work: impl FnOnce() -> T) -> Option<T> {
    let around = Around(ROOM.replace(Some(Room { left: room, is_exceeded: false })));
    let done = work();
    let is_exceeded = ROOM.get().is_some_and(|room| room.is_exceeded);
    drop(around);
    (!is_exceeded).then_some(done)
}
