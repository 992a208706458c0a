//! One call: two legs, their transactions and dialogs, its media and its fallback.
//!
//! It holds the parts and routes between them; the parts decide. It lives on one worker and knows no other call.

mod begin;
mod compose;
mod end;
mod lone;
mod request;
mod response;
mod timer;

use std::collections::VecDeque;
use std::time::Instant;

use tollgate_contract::counters::WorkerCounters;
use tollgate_contract::{
    AgentTarget, CallOutcome, CallPhase, CallRules, CallView, E164, FallbackSettings, Now, Side, Snapshot, Way,
};
use tollgate_media::{FlowId, FlowTable};
use tollgate_sip::SipMessage;

pub(crate) use self::begin::{Invitation, Refusal, begins_call};
pub(crate) use self::compose::response_target;
pub(crate) use self::lone::stands_alone;
use crate::alg::Hiding;
use crate::call_id::CallIdCodec;
use crate::dialog::{Dialog, Leg, Party};
use crate::fallback::Fallback;
use crate::negotiate::{Negotiation, Resources};
use crate::output::Output;
use crate::peer::Peer;
use crate::transport::{LocalAddresses, Target};
use crate::txn::{Client, RequestKey, Server};

/// Most transactions of one call at once; a further request gets 503.
const MAX_TRANSACTIONS: usize = 32;

/// What a call draws on while it handles one input.
pub(crate) struct Cx<'w> {
    pub(crate) snapshot: &'w Snapshot,
    pub(crate) local: &'w LocalAddresses,
    pub(crate) call_ids: &'w CallIdCodec,
    pub(crate) counters: &'w WorkerCounters,
    pub(crate) outputs: &'w mut VecDeque<Output>,
    pub(crate) res: Resources<'w>,
}

impl Cx<'_> {
    pub(crate) fn now(&self) -> Now {
        self.res.now
    }
}

/// What a call copied from the snapshot at its start: later snapshots do not touch it.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) domain: String,
    pub(crate) rules: CallRules,
    pub(crate) fallback: FallbackSettings,
    pub(crate) agent: AgentTarget,
    pub(crate) hiding: Hiding,
    pub(crate) peer: Peer,
}

#[derive(Debug)]
struct Times {
    started: Now,
    ringing: Option<Instant>,
    answered: Option<Instant>,
    setup_deadline: Option<Instant>,
    invite_deadline: Option<Instant>,
    /// When an ended call is forgotten whatever its transactions still wait for.
    forgotten_at: Option<Instant>,
}

/// A 2xx to INVITE as it was forwarded, for its retransmissions.
#[derive(Debug)]
struct Forwarded2xx {
    server: u64,
    tag: Vec<u8>,
    bytes: Vec<u8>,
}

/// An ACK to a 2xx as it was forwarded, for the 2xx's retransmissions.
#[derive(Debug)]
struct ForwardedAck {
    side: Side,
    tag: Vec<u8>,
    cseq: u32,
    target: Target,
    bytes: Vec<u8>,
}

/// How an INVITE's number was mapped: ACK, CANCEL and RAck follow it, not the present difference (calls.md 7).
#[derive(Clone, Copy, Debug)]
struct InviteNumber {
    from: Side,
    received: u32,
    sent: u32,
}

/// One call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) key: u64,
    pub(crate) way: Way,
    phase: CallPhase,
    settings: Settings,
    called: Option<E164>,
    ticket: Option<[u8; 16]>,
    legs: [Leg; 2],
    caller: Party,
    caller_tag: Vec<u8>,
    own_tag: String,
    dialogs: Vec<Dialog>,
    servers: Vec<Server>,
    clients: Vec<Client>,
    next_transaction: u64,
    invite_numbers: VecDeque<InviteNumber>,
    forwarded_2xx: VecDeque<Forwarded2xx>,
    forwarded_acks: VecDeque<ForwardedAck>,
    negotiation: Negotiation,
    fallback: Fallback,
    refer_cseq: Option<u32>,
    times: Times,
    bye_from: [bool; 2],
    outcome: Option<CallOutcome>,
    final_status: u16,
    peer_status: Option<u16>,
}

impl Call {
    /// The Call-ID of a leg.
    pub(crate) fn call_id(&self, side: Side) -> &[u8] {
        &self.legs[side.index()].call_id
    }

    /// Where it stands.
    pub(crate) fn phase(&self) -> CallPhase {
        self.phase
    }

    /// Transactions not yet over.
    pub(crate) fn transactions(&self) -> usize {
        self.servers.len() + self.clients.len()
    }

    /// Whether nothing is left to do: the call can be forgotten.
    pub(crate) fn is_finished(&self) -> bool {
        self.phase == CallPhase::Ending && self.servers.is_empty() && self.clients.is_empty()
    }

    /// Whether a hold-down runs.
    pub(crate) fn is_holding_down(&self) -> bool {
        self.fallback.is_holding_down()
    }

    /// The flows in force, with whether each is audio.
    pub(crate) fn flows(&self) -> impl Iterator<Item = (FlowId, bool)> {
        self.negotiation.flows()
    }

    /// Whether a message of one of the call's Call-IDs is of this call: a transaction or dialog of it.
    pub(crate) fn claims(&self, side: Side, message: &SipMessage) -> bool {
        if message.status().is_some() {
            return self.client_for(side, message).is_some();
        }
        let of_a_transaction = RequestKey::of(message).is_some_and(|key| {
            self.servers
                .iter()
                .any(|server| server.is_for(side, &key, &server.method))
        });
        of_a_transaction || self.dialog_of(side, message).is_some()
    }

    /// Gives everything back without a word, after a bug.
    pub(crate) fn discard(&mut self, res: &mut Resources<'_>) {
        self.negotiation.end(res);
    }

    /// The call as `show calls` sees it.
    pub(crate) fn view(&self, now: Now, flows: &FlowTable) -> CallView {
        let text = |side: Side| String::from_utf8_lossy(self.call_id(side)).into_owned();
        CallView {
            call_id_inside: text(Side::Inside),
            call_id_outside: text(Side::Outside),
            way: self.way,
            phase: self.phase,
            peer_domain: self.settings.peer.domain.clone(),
            called: self.called,
            age: now.instant.saturating_duration_since(self.times.started.instant),
            media: self.negotiation.views(flows),
        }
    }

    fn leg(&self, side: Side) -> &Leg {
        &self.legs[side.index()]
    }

    fn leg_mut(&mut self, side: Side) -> &mut Leg {
        &mut self.legs[side.index()]
    }

    fn caller_side(&self) -> Side {
        self.way.caller_side()
    }

    /// The dialog a request or response of a side belongs to, by both tags (calls.md 2).
    fn dialog_of(&self, side: Side, message: &SipMessage) -> Option<usize> {
        let (from, to) = (message.from()?, message.to()?);
        let (from, to) = (from.tag()?, to.tag()?);
        let sender_is_caller = (side == self.caller_side()) == message.status().is_none();
        let (caller, callee) = if sender_is_caller { (from, to) } else { (to, from) };
        if caller != self.caller_tag {
            return None;
        }
        self.dialogs.iter().position(|dialog| dialog.callee_tag == callee)
    }

    /// The confirmed dialog, if the call was answered.
    fn confirmed(&self) -> Option<usize> {
        self.dialogs.iter().position(|dialog| dialog.is_confirmed)
    }

    /// The party at the far end of a leg within a dialog.
    fn party(&self, side: Side, dialog: Option<usize>) -> Option<&Party> {
        if side == self.caller_side() {
            return Some(&self.caller);
        }
        dialog.and_then(|at| self.dialogs.get(at)).map(|dialog| &dialog.callee)
    }

    fn party_mut(&mut self, side: Side, dialog: usize) -> Option<&mut Party> {
        if side == self.caller_side() {
            return Some(&mut self.caller);
        }
        self.dialogs.get_mut(dialog).map(|dialog| &mut dialog.callee)
    }

    fn server(&self, id: u64) -> Option<usize> {
        self.servers.iter().position(|server| server.id == id)
    }

    fn client_for(&self, side: Side, message: &SipMessage) -> Option<usize> {
        let via = message.top_via()?;
        let (branch, cseq) = (via.branch()?, message.cseq()?);
        self.clients
            .iter()
            .position(|client| client.is_for(side, branch, &cseq.method))
    }

    fn transaction_id(&mut self) -> u64 {
        self.next_transaction += 1;
        self.next_transaction
    }

    fn is_at_transaction_limit(&self) -> bool {
        self.transactions() >= MAX_TRANSACTIONS
    }
}
