//! A request outside any dialog that goes out by the catch-all route: MESSAGE, REGISTER, OPTIONS to somebody, and methods
//! nobody here knows (edge.md 3, rule 5). It makes no dialog and moves no media.
//!
//! It is a call that is over from the start: what is left of one, its transactions, is all that such a request needs.

use tollgate_contract::counters::AdmissionResult;
use tollgate_contract::{CallOutcome, CallPhase, E164};
use tollgate_sip::{Method, SipMessage};

use super::begin::{Invitation, Refusal};
use super::end::LINGER;
use super::{Call, Cx};
use crate::peer::Peer;
use crate::transport::Source;
use crate::txn::Server;

impl Call {
    /// Sends a request on and waits for its answer.
    ///
    /// # Errors
    /// [`Refusal`]: it cannot be passed on, and nothing of it is left.
    pub(crate) fn pass_alone(
        cx: &mut Cx<'_>,
        key: u64,
        source: &Source,
        request: SipMessage,
        (number, peer): (Option<E164>, Peer),
    ) -> Result<Self, Refusal> {
        let malformed = Refusal::new(400, AdmissionResult::BadSdp);
        let invitation = Invitation::Outbound { number, peer };
        let mut call = Self::assemble(cx, key, source, &request, invitation).ok_or(malformed)?;
        (call.phase, call.outcome) = (CallPhase::Ending, Some(CallOutcome::Completed));
        (call.times.setup_deadline, call.times.invite_deadline) = (None, None);
        call.times.forgotten_at = Some(cx.now().instant + LINGER);
        let id = call.transaction_id();
        call.servers
            .push(Server::new(id, source.clone(), request).ok_or(malformed)?);
        call.relay_request(cx, 0, None)?;
        Ok(call)
    }
}

/// Whether a method may stand outside a dialog without making one. What makes one (SUBSCRIBE, REFER) is not carried:
/// nothing here would know the requests that follow.
pub(crate) fn stands_alone(method: &Method) -> bool {
    match method {
        Method::Options | Method::Message | Method::Register | Method::Info | Method::Notify | Method::Other(_) => true,
        Method::Invite
        | Method::Ack
        | Method::Cancel
        | Method::Bye
        | Method::Update
        | Method::Prack
        | Method::Refer
        | Method::Subscribe => false,
    }
}
