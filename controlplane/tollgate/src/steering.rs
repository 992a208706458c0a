//! Which worker a message belongs to, before it is parsed: the keyed hash of its Call-ID.

use std::ops::Range;

use tollgate_call::CallIdCodec;
use tollgate_call::transport::Source;
use tollgate_contract::{Now, Snapshot};
use tollgate_runtime::{BrokenStream, Framer, Steering, Verdict};
use tollgate_sip::framing::{StreamFramer, datagram};
use tollgate_sip::{SipMessage, peek_call_id, response};

/// The steering of the SIP thread.
#[derive(Debug)]
pub(crate) struct EdgeSteering {
    pub(crate) call_ids: CallIdCodec,
}

/// The stream framer behind the runtime's trait.
#[derive(Debug, Default)]
pub(crate) struct EdgeFramer(StreamFramer);

impl Framer for EdgeFramer {
    fn push(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }

    fn next_message(&mut self) -> Result<Option<Vec<u8>>, BrokenStream> {
        self.0.next_message().map_err(|_| BrokenStream)
    }

    fn take_ping(&mut self) -> bool {
        self.0.take_pings() > 0
    }

    fn is_mid_message(&self) -> bool {
        self.0.buffered() > 0
    }
}

impl Steering for EdgeSteering {
    type Framer = EdgeFramer;

    fn framer(&self) -> EdgeFramer {
        EdgeFramer::default()
    }

    fn datagram(&self, bytes: &[u8]) -> Option<Range<usize>> {
        let message = datagram(bytes)?;
        // Leading line ends were skipped and trailing bytes cut: both ends are known from the lengths.
        let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
        Some(start..start + message.len())
    }

    fn steer(&mut self, _: Now, _: &Snapshot, _: &Source, message: &[u8], workers: usize) -> Verdict {
        match peek_call_id(message) {
            Some(call_id) => Verdict::Deliver((self.call_ids.steer(call_id) % workers.max(1) as u64) as usize),
            // Without a Call-ID it can only be refused; any worker can count that.
            None => Verdict::Deliver(0),
        }
    }

    fn overload_answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let message = SipMessage::index(message.to_vec()).ok()?;
        let begins = message.method() == Some(&tollgate_sip::Method::Invite) && message.to()?.tag().is_none();
        let unknown = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
        begins.then(|| response::respond(&message, unknown, 503, Some("overload"), &[]))
    }
}
