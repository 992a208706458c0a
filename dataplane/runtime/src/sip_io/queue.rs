//! Messages waiting to be written on one connection, bounded in bytes.
//!
//! It does no I/O; it only knows what is next and whose it is.

use std::collections::VecDeque;

use tollgate_call::transport::SendToken;

use crate::config::WAITING_PER_DIAL;

/// Whom to tell when a message is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) worker: usize,
    pub(super) token: SendToken,
}

/// One message to write.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) bytes: Vec<u8>,
    pub(super) sender: Option<Sender>,
}

/// The queue of one connection.
#[derive(Debug)]
pub(super) struct Outbound {
    waiting: VecDeque<Queued>,
    /// Bytes of the first message that are written.
    written: usize,
    /// Sum of all lengths.
    bytes: usize,
    bytes_max: usize,
    /// Written, and nothing has come from the peer since: what a silently dead connection would have swallowed.
    unanswered: VecDeque<Sender>,
}

impl Outbound {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            written: 0,
            bytes: 0,
            bytes_max,
            unanswered: VecDeque::new(),
        }
    }

    /// Takes a message, or hands it back when there is no room.
    pub(super) fn push(&mut self, queued: Queued) -> Result<(), Queued> {
        if self.bytes + queued.bytes.len() > self.bytes_max {
            return Err(queued);
        }
        self.bytes += queued.bytes.len();
        self.waiting.push_back(queued);
        Ok(())
    }

    /// What is to be written next.
    pub(super) fn next(&self) -> Option<&[u8]> {
        self.waiting.front().and_then(|queued| queued.bytes.get(self.written..))
    }

    /// `count` bytes of the first message were written. Whether that was its end.
    pub(super) fn on_written(&mut self, count: usize) -> bool {
        self.written += count;
        let Some(done) = self.waiting.pop_front_if(|queued| queued.bytes.len() <= self.written) else {
            return false;
        };
        self.written = 0;
        self.bytes -= done.bytes.len();
        if let Some(sender) = done.sender {
            if self.unanswered.len() >= WAITING_PER_DIAL {
                self.unanswered.pop_front();
            }
            self.unanswered.push_back(sender);
        }
        true
    }

    /// The peer is alive: what was written has arrived as far as can be known.
    pub(super) fn on_heard(&mut self) {
        self.unanswered.clear();
    }

    /// The connection is lost: number of messages not written, and those who want to know.
    pub(super) fn into_lost(self) -> (usize, impl Iterator<Item = Sender>) {
        let waiting = self.waiting.len();
        (
            waiting,
            self.unanswered
                .into_iter()
                .chain(self.waiting.into_iter().filter_map(|queued| queued.sender)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(bytes: &[u8], call: u64) -> Queued {
        let sender = Sender {
            worker: 0,
            token: SendToken { call, transaction: 0 },
        };
        Queued {
            bytes: bytes.to_vec(),
            sender: Some(sender),
        }
    }

    #[test]
    fn queue_is_bounded_in_bytes_and_frees_what_is_written() {
        let mut outbound = Outbound::new(8);
        outbound.push(queued(b"12345", 1)).unwrap();
        assert!(outbound.push(queued(b"6789", 2)).is_err());
        assert!(!outbound.on_written(3));
        assert_eq!(outbound.next(), Some(&b"45"[..]));
        assert!(outbound.on_written(2));
        outbound.push(queued(b"6789", 2)).unwrap();
    }

    #[test]
    fn message_written_to_a_peer_never_heard_again_counts_as_lost() {
        let mut outbound = Outbound::new(100);
        for call in 1..=3 {
            outbound.push(queued(b"x", call)).unwrap();
        }
        outbound.on_written(1);
        outbound.on_heard();
        outbound.on_written(1);
        let (waiting, lost) = outbound.into_lost();
        assert_eq!(
            (waiting, lost.map(|s| s.token.call).collect::<Vec<_>>()),
            (1, vec![2, 3])
        );
    }
}
