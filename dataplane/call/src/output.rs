//! What a worker's calls want done: bytes to send and facts to report.

use tollgate_contract::Report;

use crate::transport::Transmit;

/// One effect, to be applied in order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send this.
    Transmit(Transmit),
    /// Report this upward.
    Report(Report),
}
