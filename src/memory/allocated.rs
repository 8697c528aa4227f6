//! How many bytes are allocated now, counted as they come and go.
//!
//! The system tells what the process has in memory, the pool what is reserved; the difference is
//! either something that nobody reserves or pages that the allocator holds ready for the next
//! request. Only a count tells which of the two, and an allocator that keeps pages for each thread
//! has none that is cheap to ask for.
//!
//! Each thread counts in one of a few counters, so that threads do not wait for each other's cache
//! lines. What one thread frees may have been another's: only the sum means something.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

/// An allocator that counts what another gives.
#[derive(Debug, Default)]
pub struct Counting<A>(
    /// The allocator.
    pub A,
);

/// A counter with a cache line of its own, and the next one, which processors fetch with it.
#[repr(align(128))]
struct Counter(AtomicIsize);

const COUNTERS: usize = 32;

static COUNTS: [Counter; COUNTERS] = [const { Counter(AtomicIsize::new(0)) }; COUNTERS];
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    // Neither built when first used nor dropped: both would allocate.
    static OWN: Cell<usize> = const { Cell::new(usize::MAX) };
}

fn count(bytes: isize) {
    let own = OWN.get();
    let own = if own < COUNTERS { own } else { assign() };
    COUNTS[own].0.fetch_add(bytes, Ordering::Relaxed);
}

#[cold]
fn assign() -> usize {
    let own = THREADS.fetch_add(1, Ordering::Relaxed) % COUNTERS;
    OWN.set(own);
    own
}

/// Bytes allocated now; None: nobody counts.
pub fn allocated() -> Option<u64> {
    let sum: isize = COUNTS.iter().map(|count| count.0.load(Ordering::Relaxed)).sum();
    u64::try_from(sum).ok().filter(|bytes| *bytes > 0)
}

#[expect(unsafe_code, reason = "an allocator is; each call is the caller's own, handed on")]
// SAFETY: the inner allocator does everything; counting neither allocates nor panics.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as the caller promises.
        unsafe { self.0.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { self.0.realloc(at, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use std::alloc::System;

    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "an allocator is called")]
    fn what_is_allocated_counts_until_it_is_freed_by_whichever_thread() {
        let counting = Counting(System);
        let layout = Layout::from_size_align(1 << 20, 8).unwrap();
        let before = allocated().unwrap_or_default();
        // SAFETY: the layout is not empty, and the pointer is freed once, as it was grown.
        let at = unsafe {
            let at = counting.alloc(layout);
            counting.realloc(at, layout, 3 << 20) as usize
        };
        assert_eq!(allocated().unwrap() - before, 3 << 20);
        let freeing = move || {
            let grown = Layout::from_size_align(3 << 20, 8).unwrap();
            // SAFETY: as above.
            unsafe { Counting(System).dealloc(at as *mut u8, grown) };
        };
        std::thread::spawn(freeing).join().unwrap();
        assert_eq!(allocated().unwrap_or_default(), before);
    }
}
