//! The first INVITE: from an admitted invitation to a call with two legs.

use std::collections::VecDeque;
use std::net::SocketAddr;

use rand::RngCore;
use tollgate_contract::counters::AdmissionResult;
use tollgate_contract::{CallPhase, E164, Report, Side, Transport, Way};
use tollgate_sip::{Method, NameAddr, SipMessage, SipUri};

use super::{Call, Cx, Settings, Times};
use crate::alg::{Hiding, bracketed};
use crate::cseq::CseqBook;
use crate::dialog::{Leg, Party, untagged};
use crate::fallback::Fallback;
use crate::negotiate::{Negotiation, SdpRefusal};
use crate::peer::Peer;
use crate::transport::{ListenerId, LocalAddresses, Source};
use crate::txn::Server;

/// An INVITE that passed admission, and what admission found out.
#[derive(Debug)]
pub(crate) enum Invitation {
    /// From our call agent to a peer; without a number by the catch-all route.
    Outbound { number: Option<E164>, peer: Peer },
    /// From a peer with a valid ticket.
    Inbound {
        number: E164,
        peer_domain: String,
        ticket: [u8; 16],
    },
}

/// Why a call could not begin; nothing of it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) counted: AdmissionResult,
}

impl Refusal {
    pub(crate) const fn new(status: u16, counted: AdmissionResult) -> Self {
        Self { status, counted }
    }
}

impl From<SdpRefusal> for Refusal {
    fn from(refusal: SdpRefusal) -> Self {
        let counted = match refusal {
            SdpRefusal::PlainRtp => AdmissionResult::PlainRtp,
            SdpRefusal::NoPorts => AdmissionResult::NoCapacity,
            SdpRefusal::Invalid(_)
            | SdpRefusal::Crypto
            | SdpRefusal::SecureInside
            | SdpRefusal::Family
            | SdpRefusal::Answer(_)
            | SdpRefusal::NothingLeft
            | SdpRefusal::Pending => AdmissionResult::BadSdp,
        };
        Self::new(refusal.status(), counted)
    }
}

impl Call {
    /// Makes the call and sends its INVITE on.
    ///
    /// # Errors
    /// [`Refusal`]: the INVITE cannot be passed on; every port is given back.
    pub(crate) fn begin(
        cx: &mut Cx<'_>,
        key: u64,
        source: &Source,
        invite: SipMessage,
        invitation: Invitation,
    ) -> Result<Self, Refusal> {
        let malformed = Refusal::new(400, AdmissionResult::BadSdp);
        let mut call = Self::assemble(cx, key, source, &invite, invitation).ok_or(malformed)?;
        let id = call.transaction_id();
        let server = Server::new(id, source.clone(), invite).ok_or(malformed)?;
        call.leg_mut(source.side).highest_cseq = Some(server.cseq);
        call.leg_mut(source.side).learn_allow(&server.request);
        call.caller.learn(&server.request, true);
        call.servers.push(server);
        if let Err(refusal) = call.relay_request(cx, 0, None) {
            call.negotiation.end(&mut cx.res);
            return Err(refusal.into());
        }
        call.reply(cx, id, 100, &[]);
        Ok(call)
    }

    pub(super) fn assemble(
        cx: &mut Cx<'_>,
        key: u64,
        source: &Source,
        invite: &SipMessage,
        invitation: Invitation,
    ) -> Option<Self> {
        let snapshot = cx.snapshot;
        let (way, number, peer, ticket) = match invitation {
            Invitation::Outbound { number, peer } => (Way::Outbound, number, peer, None),
            Invitation::Inbound {
                number,
                peer_domain,
                ticket,
            } => {
                let targets = snapshot.routes.targets_of(&peer_domain).unwrap_or_default().to_vec();
                (
                    Way::Inbound,
                    Some(number),
                    Peer::of_domain(peer_domain, targets),
                    Some(ticket),
                )
            }
        };
        let settings = settings_of(cx, peer);
        let token = format!("{:016x}", cx.res.rng.next_u64());
        let legs = legs_of(cx, source, invite, &settings, way, &token)?;
        let outside_is_ipv4 = match way {
            Way::Outbound => settings.peer.targets.first()?.is_ipv4(),
            Way::Inbound => source.remote.is_ipv4(),
        };
        let families = [settings.agent.address.is_ipv4(), outside_is_ipv4];
        let now = cx.now();
        let setup = (way == Way::Outbound).then(|| now.instant + settings.rules.setup_timeout);
        let invite_deadline = Some(now.instant + settings.rules.invite_timeout);
        Some(Self {
            key,
            way,
            phase: CallPhase::Inviting,
            called: number,
            ticket,
            legs,
            caller: Party::default(),
            caller_tag: invite.from()?.tag()?.to_vec(),
            own_tag: token,
            dialogs: Vec::new(),
            servers: Vec::new(),
            clients: Vec::new(),
            next_transaction: 0,
            invite_numbers: VecDeque::new(),
            forwarded_2xx: VecDeque::new(),
            forwarded_acks: VecDeque::new(),
            negotiation: Negotiation::new(snapshot.media.clone(), families, cx.res.rng),
            fallback: Fallback::default(),
            refer_cseq: None,
            times: Times {
                started: now,
                ringing: None,
                answered: None,
                setup_deadline: setup,
                invite_deadline,
                forgotten_at: None,
            },
            bye_from: [false; 2],
            outcome: None,
            final_status: 0,
            peer_status: None,
            settings,
        })
    }

    /// The Request-URI of the first request sent on: the number at its peer, else the agent's URI at the peer's host.
    pub(super) fn initial_request_uri(&self, request: &SipMessage) -> Vec<u8> {
        let number = self.called.map(|number| number.to_string()).unwrap_or_default();
        let host = &self.settings.peer.uri_host;
        match self.way {
            Way::Outbound if self.called.is_none() => match SipUri::parse(request.request_uri()) {
                Some(uri) => uri.at_host(host),
                None => format!("sip:{host}").into_bytes(),
            },
            Way::Outbound => format!("sip:{number}@{host}").into_bytes(),
            Way::Inbound => {
                let agent = self.settings.agent.address;
                let transport = match self.settings.agent.transport {
                    Transport::Udp => "",
                    Transport::Tcp => ";transport=tcp",
                    Transport::Tls => ";transport=tls",
                };
                format!("sip:{number}@{agent}{transport}").into_bytes()
            }
        }
    }

    /// Reports that a call with state came to nothing, once.
    pub(super) fn report_setup_failure(&self, cx: &mut Cx<'_>, reason: &'static str, status: u16, detail: String) {
        let call_id = String::from_utf8_lossy(self.call_id(Side::Inside)).into_owned();
        let report = Report::SetupFailed {
            call_id,
            way: self.way,
            reason,
            status,
            detail,
        };
        cx.outputs.push_back(crate::output::Output::Report(report));
    }
}

/// What the call copies from the snapshot.
fn settings_of(cx: &Cx<'_>, peer: Peer) -> Settings {
    let snapshot = cx.snapshot;
    let inside = cx
        .local
        .listeners
        .iter()
        .filter(|listener| listener.side == Side::Inside);
    // A wildcard is the address of nothing; looked for as text it would be found in other addresses.
    let inside = inside
        .flat_map(|listener| [listener.address.bound.ip(), listener.address.advertised.ip()])
        .filter(|ip| !ip.is_unspecified());
    let hidden = inside.chain(snapshot.agent.allowed_sources.iter().copied());
    let mut hiding = Hiding::new(&snapshot.domain, hidden.chain([snapshot.agent.address.ip()]));
    hiding.alias.clone_from(&peer.alias);
    Settings {
        domain: snapshot.domain.clone(),
        rules: snapshot.calls.clone(),
        fallback: snapshot.fallback.clone(),
        agent: snapshot.agent.clone(),
        hiding,
        peer,
    }
}

fn legs_of(
    cx: &mut Cx<'_>,
    source: &Source,
    invite: &SipMessage,
    settings: &Settings,
    way: Way,
    token: &str,
) -> Option<[Leg; 2]> {
    let (from, to) = (invite.from()?, invite.to()?);
    let near = leg_toward_caller(cx.local, source, invite, settings, token)?;
    let nonce = cx.res.rng.next_u64();
    match way {
        Way::Outbound => {
            let target = *settings.peer.targets.first()?;
            let listener = pick_listener(cx.local, Side::Outside, Transport::Tls, target)?;
            let call_id = cx.call_ids.encode(invite.call_id(), nonce, &settings.domain);
            let (own, theirs) = (settings.domain.as_str(), settings.peer.to_host.as_str());
            let caller = settings.hiding.party(from.at_host(own), own);
            let callee = settings.hiding.party(to.at_host(theirs), theirs);
            let far = Leg {
                call_id,
                caller,
                callee,
                ..leg(cx.local, (listener, None), Transport::Tls, settings, token)?
            };
            Some([near, far])
        }
        Way::Inbound => {
            let agent = &settings.agent;
            let listener = pick_listener(cx.local, Side::Inside, agent.transport, agent.address)?;
            let call_id = invite.call_id().to_vec();
            let (caller, callee) = (untagged(&from), untagged(&to));
            let far = Leg {
                call_id,
                caller,
                callee,
                ..leg(cx.local, (listener, None), agent.transport, settings, token)?
            };
            Some([far, near])
        }
    }
}

fn leg_toward_caller(
    local: &LocalAddresses,
    source: &Source,
    invite: &SipMessage,
    settings: &Settings,
    token: &str,
) -> Option<Leg> {
    let (from, to): (NameAddr<'_>, NameAddr<'_>) = (invite.from()?, invite.to()?);
    let asked = (source.listener, Some(source.local));
    let base = leg(local, asked, source.transport, settings, token)?;
    let call_id = invite.call_id().to_vec();
    Some(Leg {
        call_id,
        caller: untagged(&from),
        callee: untagged(&to),
        conn: source.conn,
        ..base
    })
}

/// A leg that speaks from a listener, to a party that asked for this address of it.
fn leg(
    local: &LocalAddresses,
    (id, asked): (ListenerId, Option<SocketAddr>),
    transport: Transport,
    settings: &Settings,
    token: &str,
) -> Option<Leg> {
    let listener = local.get(id)?;
    let ours = listener.told(asked.unwrap_or(listener.address.bound));
    let contact = match listener.side {
        Side::Outside => format!("sip:{token}@{}:{};transport=tls", settings.domain, ours.port()),
        Side::Inside => {
            format!(
                "sip:{token}@{}:{};transport={}",
                bracketed(ours.ip()),
                ours.port(),
                transport.name()
            )
        }
    };
    Some(Leg {
        call_id: Vec::new(),
        caller: Vec::new(),
        callee: Vec::new(),
        contact: contact.into_bytes(),
        sent_by: ours.to_string(),
        transport,
        conn: None,
        highest_cseq: None,
        book: CseqBook::default(),
        takes_refer: true,
    })
}

/// The listener a leg speaks from: same side, transport and family, else same transport, else any of the side.
fn pick_listener(local: &LocalAddresses, side: Side, transport: Transport, to: SocketAddr) -> Option<ListenerId> {
    let best = local
        .own(side)
        .find(|(_, listener)| listener.transport == transport && listener.address.same_family(to.ip()))
        .or_else(|| local.own(side).find(|(_, listener)| listener.transport == transport))
        .or_else(|| local.own(side).next())?;
    Some(best.0)
}

/// The listener of a side for datagrams to an address.
pub(super) fn datagram_listener(local: &LocalAddresses, side: Side, to: SocketAddr) -> Option<ListenerId> {
    let mut own = local.own(side);
    let found = own.find(|(_, listener)| listener.transport == Transport::Udp && listener.address.same_family(to.ip()));
    found.map(|(id, _)| id)
}

/// Whether a method makes a call here.
pub(crate) fn begins_call(message: &SipMessage) -> bool {
    message.method() == Some(&Method::Invite) && message.to().is_some_and(|to| to.tag().is_none())
}
