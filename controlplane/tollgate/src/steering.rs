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

    fn overload_answer(&self, source: &Source, message: &[u8]) -> Option<Vec<u8>> {
        let message = SipMessage::index(message.to_vec()).ok()?;
        let begins = message.method() == Some(&tollgate_sip::Method::Invite) && message.to()?.tag().is_none();
        begins.then(|| response::respond(&message, source.remote, 503, Some("overload"), &[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_call::transport::ListenerId;
    use tollgate_contract::{Side, Transport};

    #[test]
    fn an_overload_answer_goes_to_new_calls_alone_and_names_their_true_source() {
        let steering = EdgeSteering {
            call_ids: CallIdCodec::default(),
        };
        let source = Source {
            side: Side::Inside,
            transport: Transport::Udp,
            listener: ListenerId(0),
            remote: "192.0.2.9:5070".parse().unwrap(),
            local: "192.0.2.1:5060".parse().unwrap(),
            conn: None,
            peer: None,
        };
        let request = |method: &str, to_tag: &str| {
            format!(
                "{method} sip:+1@e SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bK1\r\nFrom: <sip:a@a>;tag=1\r\n\
                 To: <sip:b@b>{to_tag}\r\nCall-ID: c\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
            )
        };
        let answer = steering.overload_answer(&source, request("INVITE", "").as_bytes());
        let answer = String::from_utf8(answer.expect("a new call is answered")).unwrap();
        assert!(answer.starts_with("SIP/2.0 503 "), "{answer}");
        assert!(answer.contains(";received=192.0.2.9;rport=5070"), "{answer}");
        assert_eq!(
            steering.overload_answer(&source, request("INVITE", ";tag=2").as_bytes()),
            None
        );
        assert_eq!(steering.overload_answer(&source, request("BYE", "").as_bytes()), None);
    }
}
