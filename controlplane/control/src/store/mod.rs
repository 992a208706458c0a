//! What outlives the process: the learned facts, in one file of the folder `state.dir`.
//!
//! The file is a redb database of mode 0600, since ticket keys are among the facts. It is read whole at start and only
//! written afterwards, by one thread behind a bounded queue: the control loop never waits for the disk. A commit is whole
//! or absent after a kill at any moment. It knows nothing of policies, and no other file is kept here.

mod code;
mod fault;
mod open;
#[cfg(test)]
mod tests;
mod writer;

pub use fault::StoreFault;
pub(crate) use open::open;
pub(crate) use writer::Writer;

/// Name of the file within `state.dir`.
pub(crate) const FILE_NAME: &str = "learned.redb";
