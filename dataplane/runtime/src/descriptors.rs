//! Whether the process may hold as many descriptors as it is about to open.
//!
//! It raises the soft limit; it never opens anything.

use crate::config::SPARE_DESCRIPTORS;

/// Not enough descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{needed} file descriptors are needed and the limit (RLIMIT_NOFILE) is {available}; \
     with these connection limits at most {calls_max} calls fit"
)]
pub struct TooFewDescriptors {
    /// What the configuration takes.
    pub needed: u64,
    /// The hard limit.
    pub available: u64,
    /// Calls that would fit, at 4 media sockets each.
    pub calls_max: u64,
}

/// What will be opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    pub(crate) media_sockets: u64,
    pub(crate) listeners: u64,
    pub(crate) connections: u64,
}

/// Raises the soft limit as far as needed.
pub(crate) fn reserve(demand: Demand) -> Result<(), TooFewDescriptors> {
    // Where there is no such limit there is nothing to check.
    let Ok((soft, hard)) = rlimit::Resource::NOFILE.get() else {
        return Ok(());
    };
    let needed = check(demand, hard)?;
    if soft < needed && rlimit::Resource::NOFILE.set(hard, hard).is_err() {
        return check(demand, soft).map(|_| ());
    }
    Ok(())
}

fn check(demand: Demand, available: u64) -> Result<u64, TooFewDescriptors> {
    let beside_media = demand.listeners + demand.connections + SPARE_DESCRIPTORS;
    let needed = beside_media + demand.media_sockets;
    if needed <= available {
        return Ok(needed);
    }
    let calls_max = available.saturating_sub(beside_media) / SOCKETS_PER_CALL;
    Err(TooFewDescriptors {
        needed,
        available,
        calls_max,
    })
}

/// Both sides, RTP and RTCP.
const SOCKETS_PER_CALL: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_names_the_most_calls_that_fit() {
        let demand = Demand {
            media_sockets: 20_000,
            listeners: 2,
            connections: 9_870,
        };
        let refused = check(demand, 20_000).unwrap_err();
        assert_eq!(
            refused,
            TooFewDescriptors {
                needed: 30_000,
                available: 20_000,
                calls_max: 2_500
            }
        );
        assert_eq!(check(demand, 30_000), Ok(30_000));
    }
}
