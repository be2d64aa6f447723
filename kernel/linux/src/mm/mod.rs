//! Address spaces.

/// An address space: the map of what is where, and the page table that caches it.
#[derive(Debug)]
pub struct Mm;
