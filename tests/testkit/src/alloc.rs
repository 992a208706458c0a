//! A global allocator that counts: the proof that the packet path allocates nothing, and how much a table weighs.
//!
//! The one place of the workspace with `unsafe`, as an allocator cannot be written without.
#![allow(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::thread::LocalKey;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static ALLOCATED_BYTES: Cell<u64> = const { Cell::new(0) };
    static FREED_BYTES: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting per thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAllocator;

/// Allocations of this thread so far, growth of existing ones included.
#[must_use]
pub fn allocations() -> u64 {
    ALLOCATIONS.try_with(Cell::get).unwrap_or_default()
}

/// Bytes this thread asked for so far; a growth counts as a new allocation of the whole.
#[must_use]
pub fn allocated_bytes() -> u64 {
    ALLOCATED_BYTES.try_with(Cell::get).unwrap_or_default()
}

/// Bytes this thread gave back so far: allocated minus freed is what it still holds, if no other thread frees for it.
#[must_use]
pub fn freed_bytes() -> u64 {
    FREED_BYTES.try_with(Cell::get).unwrap_or_default()
}

fn count_allocation(bytes: usize) {
    add(&ALLOCATIONS, 1);
    add(&ALLOCATED_BYTES, bytes);
}

fn count_freed(bytes: usize) {
    add(&FREED_BYTES, bytes);
}

fn add(counter: &'static LocalKey<Cell<u64>>, amount: usize) {
    // During a thread's end its counter may be gone; what is allocated then is nobody's measurement.
    let _ = counter.try_with(|counter| counter.set(counter.get() + amount as u64));
}

// SAFETY: every call goes unchanged to the system's allocator, which upholds the trait's contract; counting touches a
// const-initialised thread-local without a destructor, so it neither allocates nor unwinds.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_allocation(layout.size());
        // SAFETY: the caller upholds the contract for `layout`, and it is passed on unchanged.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count_freed(layout.size());
        // SAFETY: `pointer` came from `System` through this allocator, with this `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count_freed(layout.size());
        count_allocation(new_size);
        // SAFETY: `pointer` came from `System` with this `layout`, and the caller vouches for `new_size`.
        unsafe { System.realloc(pointer, layout, new_size) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_allocation(layout.size());
        // SAFETY: the caller upholds the contract for `layout`, and it is passed on unchanged.
        unsafe { System.alloc_zeroed(layout) }
    }
}
