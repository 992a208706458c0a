//! What the line to the validator tells the control loop.
//!
//! Values only. Counters and alarms do not come this way: they are in [`ValidatorStats`](super::ValidatorStats).

use crate::learned::{Batch, Source};

/// Events that wait for the control loop; while there is no place, nothing is read from the validator.
pub const EVENT_QUEUE: usize = 256;

/// Something the control loop acts on.
#[derive(Clone, Debug)]
pub enum ValidatorEvent {
    /// The validator answered and the session stands.
    Up {
        /// What it speaks: feed or VAP.
        source: Source,
    },
    /// The session is over. What was learned stays until its own end.
    Down {
        /// Why, a name as in the metrics.
        why: &'static str,
    },
    /// The validator reaches the others again, or no longer.
    Ring {
        /// Whether it does.
        is_up: bool,
    },
    /// Facts, checked, to be applied together in this order.
    Batch {
        /// Who tells them.
        source: Source,
        /// What it tells, and where it stands then.
        batch: Batch,
    },
}
