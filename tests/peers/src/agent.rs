//! A call agent: the SIP user agent of one test enterprise, with real media in every call.
//!
//! It is made for loopback and has no registrar, authentication, PRACK or DNS. RFC 3261, RFC 3264, RFC 3515, RFC 4488.

mod call;
mod inbound;
mod outbound;
mod transaction;
mod transport;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use call::{Call, CallEnd, CallLog, InDialogRequest, Refer};

use crate::certs::Identity;
use crate::media::MediaScript;
use crate::message::SipText;
use crate::payload::PayloadBook;
use crate::sdp::Codec;
use call::CallState;
use transport::{Hop, Transport};

/// How SIP travels inside an enterprise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SipTransport {
    /// Datagrams, retransmitted by the agent.
    Udp,
    /// A stream.
    Tcp,
    /// A stream under TLS, for an agent made with [`CallAgent::bind_with_tls`].
    Tls,
}

/// Who the agent is and whom it talks to.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The user part of its own addresses; a +E.164 number where the far side shall see one.
    pub name: String,
    /// Its domain.
    pub domain: String,
    /// Where it listens, UDP and TCP, or TLS in place of TCP; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The edge's inside listener, or another agent.
    pub edge: SocketAddr,
    /// How new calls reach the edge.
    pub edge_transport: SipTransport,
    /// The address of its media ports.
    pub media_ip: IpAddr,
    /// The book of payloads, shared with the other agents and the relay.
    pub book: PayloadBook,
}

/// By which papers an agent speaks TLS: certificates both ways.
#[derive(Clone, Debug)]
pub struct AgentTls {
    /// Its certificate and key.
    pub identity: Identity,
    /// The authority of the certificates it takes.
    pub ca_pem: String,
    /// The name that the edge's certificate must bear when the agent connects to it.
    pub edge_name: String,
}

/// How a call is placed.
#[derive(Clone, Debug)]
pub struct PlaceOptions {
    /// Header lines added to the INVITE.
    pub extra_headers: Vec<(String, String)>,
    /// The host of the Request-URI; `None` is the edge's address.
    pub host: Option<String>,
    /// No SDP in the INVITE: the far side offers in its 200.
    pub delayed_offer: bool,
    /// Codecs offered, best first. Not empty.
    pub codecs: Vec<Codec>,
    /// What is sent once the call is up.
    pub media: MediaScript,
    /// How long the final answer is awaited before CANCEL.
    pub timeout: Duration,
}

/// How an incoming call is met.
#[derive(Clone, Debug)]
pub struct AnswerBehaviour {
    /// From the 180 or 183 to the final answer. Zero sends no provisional but 100.
    pub ring_for: Duration,
    /// 183 with SDP, and media at once, in place of 180.
    pub early_media: bool,
    /// The final answer.
    pub outcome: Outcome,
    /// Codecs taken or offered, best first. Not empty.
    pub codecs: Vec<Codec>,
    /// What is sent in the call.
    pub media: MediaScript,
}

/// The final answer to an incoming call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 200, with an answer, or with an offer if the INVITE had none.
    Answer,
    /// This status, 300 to 699.
    Reject(u16),
    /// No final answer: it rings until cancelled.
    RingForever,
}

/// How a REFER is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferBehaviour {
    /// The status of the answer: 200, 202 or a refusal.
    pub status: u16,
    /// The status in the NOTIFY's sipfrag, sent unless the REFER says `Refer-Sub: false`; `None` sends none.
    pub notify_status: Option<u16>,
    /// Hangs up so long after an accepted REFER, as an agent does whose PSTN call is up.
    pub bye_after: Option<Duration>,
}

/// A provisional response to a placed call.
#[derive(Clone, Debug)]
pub struct Provisional {
    /// 100 to 199.
    pub status: u16,
    /// Whether it carried SDP.
    pub has_sdp: bool,
    /// Since the INVITE was sent.
    pub elapsed: Duration,
}

/// Why a placed call did not come up.
#[derive(Clone, Debug, thiserror::Error)]
#[error("call failed with {status} after {elapsed:?} ({})", .reason.as_deref().unwrap_or("no reason given"))]
pub struct CallFailure {
    /// The final status; 408 if none came in time, 503 if nothing could be sent.
    pub status: u16,
    /// The Reason header of the answer, or what failed locally.
    pub reason: Option<String>,
    /// The final response, if one came.
    pub response: Option<SipText>,
    /// What came before.
    pub provisionals: Vec<Provisional>,
    /// Since the INVITE was sent.
    pub elapsed: Duration,
}

/// An initial INVITE that reached the agent.
#[derive(Clone, Debug)]
pub struct InviteSeen {
    /// Its Call-ID.
    pub call_id: String,
    /// The user part of its Request-URI.
    pub number: String,
    /// Whether it carried a ticket under one of the four known header names.
    pub has_ticket: bool,
    /// The message.
    pub message: SipText,
}

/// The agent. Dropping it closes its sockets and forgets its calls without a BYE.
#[derive(Debug)]
pub struct CallAgent {
    shared: Arc<Shared>,
    incoming: tokio::sync::Mutex<mpsc::Receiver<Call>>,
    dispatcher: JoinHandle<()>,
}

/// What the agent's tasks share.
#[derive(Debug)]
struct Shared {
    config: AgentConfig,
    transport: Transport,
    calls: Mutex<HashMap<String, Arc<CallState>>>,
    transactions: Mutex<HashMap<String, mpsc::Sender<SipText>>>,
    /// Last response by transaction, resent to retransmitted requests.
    answered: Mutex<Recent<Option<Vec<u8>>>>,
    /// ACK by the INVITE's branch, resent to retransmitted final responses.
    acks: Mutex<Recent<(Hop, Vec<u8>)>>,
    /// Who waits for the ACK of a final response, by Call-ID and CSeq number.
    awaiting_ack: Mutex<HashMap<(String, u32), oneshot::Sender<SipText>>>,
    /// Who waits for a CANCEL, by the INVITE's branch.
    cancellable: Mutex<HashMap<String, oneshot::Sender<()>>>,
    answer: Mutex<AnswerBehaviour>,
    refer: Mutex<ReferBehaviour>,
    invites: Mutex<Vec<InviteSeen>>,
    incoming: mpsc::Sender<Call>,
    unreadable: AtomicU64,
    advertised_media: Mutex<Option<IpAddr>>,
}

/// A map that forgets its oldest entry at [`MAX_RECENT`].
#[derive(Debug)]
struct Recent<V> {
    entries: HashMap<String, V>,
    oldest_first: VecDeque<String>,
}

impl CallAgent {
    /// Opens the sockets and begins to serve.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(config: AgentConfig) -> io::Result<Self> {
        Self::serve(config, None).await
    }

    /// As [`bind`](Self::bind), with TLS on every stream, dialled or accepted.
    ///
    /// # Errors
    /// When the address cannot be bound, or the certificates cannot be used.
    pub async fn bind_with_tls(config: AgentConfig, tls: &AgentTls) -> io::Result<Self> {
        Self::serve(config, Some(tls)).await
    }

    async fn serve(mut config: AgentConfig, tls: Option<&AgentTls>) -> io::Result<Self> {
        let (inbox_sender, inbox) = mpsc::channel(QUEUE_LEN);
        let transport = Transport::bind(config.listen, tls, inbox_sender).await?;
        config.listen = transport.local();
        let (incoming_sender, incoming) = mpsc::channel(QUEUE_LEN);
        let shared = Arc::new(Shared {
            config,
            transport,
            calls: Mutex::default(),
            transactions: Mutex::default(),
            answered: Mutex::default(),
            acks: Mutex::default(),
            awaiting_ack: Mutex::default(),
            cancellable: Mutex::default(),
            answer: Mutex::new(AnswerBehaviour::default()),
            refer: Mutex::new(ReferBehaviour::default()),
            invites: Mutex::default(),
            incoming: incoming_sender,
            unreadable: AtomicU64::new(0),
            advertised_media: Mutex::default(),
        });
        let dispatcher = tokio::spawn(inbound::dispatch(Arc::clone(&shared), inbox));
        Ok(Self {
            shared,
            incoming: tokio::sync::Mutex::new(incoming),
            dispatcher,
        })
    }

    /// Where the agent listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.config.listen
    }

    /// Calls `number` through the edge and waits until the call is up.
    ///
    /// # Errors
    /// Any final answer but 2xx, or none in time.
    pub async fn place(&self, number: &str, options: PlaceOptions) -> Result<Call, CallFailure> {
        outbound::place(&self.shared, number, options).await
    }

    /// Sets how calls that come from now on are met.
    pub fn on_invite(&self, behaviour: AnswerBehaviour) {
        *lock(&self.shared.answer) = behaviour;
    }

    /// Sets how REFERs that come from now on are met.
    pub fn on_refer(&self, behaviour: ReferBehaviour) {
        *lock(&self.shared.refer) = behaviour;
    }

    /// Names this address in the SDP of calls that begin from now on, in place of that of the media sockets.
    pub fn advertise_media(&self, ip: IpAddr) {
        *lock(&self.shared.advertised_media) = Some(ip);
    }

    /// The next incoming call that was answered and acknowledged; `None` if none comes in time.
    pub async fn next_call(&self, within: Duration) -> Option<Call> {
        let mut incoming = self.incoming.lock().await;
        timeout(within, incoming.recv()).await.ok().flatten()
    }

    /// Every initial INVITE seen so far.
    #[must_use]
    pub fn invites(&self) -> Vec<InviteSeen> {
        lock(&self.shared.invites).clone()
    }

    /// Messages that could not be read.
    #[must_use]
    pub fn unreadable_count(&self) -> u64 {
        self.shared.unreadable.load(Ordering::Relaxed)
    }

    /// Calls the agent holds at present.
    #[must_use]
    pub fn call_count(&self) -> usize {
        lock(&self.shared.calls).len()
    }

    /// Sends an OPTIONS outside any dialog to the edge and returns the status of the answer.
    ///
    /// # Errors
    /// When no answer comes within `within`.
    pub async fn ping(&self, within: Duration) -> Result<u16, CallFailure> {
        outbound::ping(&self.shared, within).await
    }
}

impl Drop for CallAgent {
    fn drop(&mut self) {
        self.dispatcher.abort();
        self.shared.transport.close();
        // Calls hold the agent and the agent holds calls: this breaks the ring.
        lock(&self.shared.calls).clear();
    }
}

impl Shared {
    fn via(&self, transport: SipTransport) -> String {
        format!("SIP/2.0/{} {}", transport.via_name(), self.config.listen)
    }

    fn contact(&self, transport: SipTransport) -> String {
        let parameter = match transport {
            SipTransport::Udp => "",
            SipTransport::Tcp => ";transport=tcp",
            SipTransport::Tls => ";transport=tls",
        };
        format!("<sip:{}@{}{parameter}>", self.config.name, self.config.listen)
    }

    fn call(&self, call_id: &str) -> Option<Arc<CallState>> {
        lock(&self.calls).get(call_id).cloned()
    }
}

impl SipTransport {
    /// As in a Via header: `UDP`, `TCP` or `TLS`.
    #[must_use]
    pub const fn via_name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }
}

impl Default for PlaceOptions {
    /// An offer of G.711 A-law and µ-law, media until the end, 10 s of patience.
    fn default() -> Self {
        Self {
            extra_headers: Vec::new(),
            host: None,
            delayed_offer: false,
            codecs: vec![Codec::Pcma, Codec::Pcmu],
            media: MediaScript::default(),
            timeout: Duration::from_secs(10),
        }
    }
}

impl Default for AnswerBehaviour {
    /// Rings for 50 ms, answers, sends media until the end.
    fn default() -> Self {
        Self {
            ring_for: Duration::from_millis(50),
            early_media: false,
            outcome: Outcome::Answer,
            codecs: vec![Codec::Pcma, Codec::Pcmu],
            media: MediaScript::default(),
        }
    }
}

impl Default for ReferBehaviour {
    /// 202, a NOTIFY with 200, and no BYE.
    fn default() -> Self {
        Self {
            status: 202,
            notify_status: Some(200),
            bye_after: None,
        }
    }
}

impl InviteSeen {
    fn new(message: &SipText) -> Self {
        let uri = message.request_uri().unwrap_or_default();
        let user = uri.split_once(':').and_then(|(_, rest)| rest.split_once('@'));
        Self {
            call_id: message.call_id(),
            number: user.map_or_else(String::new, |(user, _)| user.to_owned()),
            has_ticket: TICKET_HEADERS.iter().any(|name| message.header(name).is_some()),
            message: message.clone(),
        }
    }
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            oldest_first: VecDeque::new(),
        }
    }
}

impl<V> Recent<V> {
    fn insert(&mut self, key: String, value: V) {
        if self.entries.insert(key.clone(), value).is_none() {
            self.oldest_first.push_back(key);
        }
        if self.oldest_first.len() > MAX_RECENT
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of the lock panics")
}

fn new_branch() -> String {
    format!("z9hG4bK{:016x}", rand::random::<u64>())
}

fn new_tag() -> String {
    format!("{:012x}", rand::random::<u64>() >> 16)
}

fn since(start: Instant) -> Duration {
    start.elapsed()
}

/// The names under which a ticket may travel.
const TICKET_HEADERS: [&str; 4] = ["X-Cisco-UC-IME-Ticket", "X-Cisco-ViPR-Ticket", "Ticket", "ViPR-Ticket"];

/// Transactions remembered to absorb retransmissions.
const MAX_RECENT: usize = 4_096;

/// Messages that may wait in a queue before the sender waits too.
const QUEUE_LEN: usize = 1_024;

/// RFC 3261 §17.1.1.1. T1, 500 ms.
const T1: Duration = Duration::from_millis(500);

/// RFC 3261 §17.1.2.2. T2, 4 s.
const T2: Duration = Duration::from_secs(4);

/// How long an ACK or an answer inside a dialog is awaited: 64·T1.
const PATIENCE: Duration = Duration::from_secs(32);

#[cfg(test)]
mod tests;
