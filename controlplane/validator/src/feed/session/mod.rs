//! The two ends of the feed as state machines.
//!
//! [`Reader`] is the control plane's, [`Writer`] the validator's over a [`Source`]. One mutation, then drain.

mod delta;
mod output;
mod reader;
mod report;
mod snapshot;
mod source;
mod staging;
pub(crate) mod table;
#[cfg(test)]
mod tests;
mod writer;

pub use output::{Batch, NotTold, Output, ReaderConfig};
pub use reader::Reader;
pub use report::{CloseReason, Report};
pub use source::{Source, SourceError};
pub use table::{Bounds, Position};
pub use writer::{Writer, WriterConfig, WriterOutput};
