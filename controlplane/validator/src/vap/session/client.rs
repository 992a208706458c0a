//! The call agent's end of VAP, as the control plane plays it: Register, Subscribe, take what Notify brings.
//!
//! It publishes nothing and asks nothing of the DHT. One mutation, then [`Client::poll_output`] until it is empty.
//! Source: draft-jennings-vipr-vap-02 §5, §7, §8.
//!
//! ```text
//! Idle ──connected──▶ Registering ──success──▶ Registered ──unregister──▶ Leaving
//!   ▲                                              │                        │
//!   └──────────────── closed, or Close ────────────┴────────────────────────┘
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rand::RngCore;
use rand::rngs::StdRng;
use tollgate_contract::{Now, Secret, Way};
use tollgate_ticket::Ntp64;

use super::output::{ClientOutput, CloseReason, Report};
use super::{MAX_MESSAGES_PER_CALL, VERSION, code, error, signed};
use crate::VServiceId;
use crate::budget::Budget;
use crate::checks::RouteRules;
use crate::facts::{UpFact, VcrReport};
use crate::feed::session::table::Table;
use crate::feed::session::{Bounds, NotTold};
use crate::vap::attribute::{Attribute, CallDirection, ErrorCode, ServiceIdentity, pick};
use crate::vap::auth::Key;
use crate::vap::codec::{Class, Decoder, Message, Method, Parsed, Read, TransactionId};

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// USERNAME.
    pub username: String,
    /// The password.
    pub password: Secret,
    /// Client-Name, `vendor/product/version/host`, 1 to 254 characters.
    pub client_name: String,
    /// Client-Label, 1 to 255 characters.
    pub client_label: String,
    /// The VServices to be told of.
    pub vservices: Vec<VServiceId>,
    /// What every route is judged by.
    pub rules: RouteRules,
    /// Most facts held from this source; only `routes` and `bytes` matter.
    pub bounds: Bounds,
    /// How long a route lives, since VAP does not say. Default 365 d, as in IME.
    pub route_life: Duration,
    /// Ti, until a request counts as unanswered. Default 39.5 s.
    pub transaction_timeout: Duration,
    /// Until a refused Subscribe is tried again. Default 120 s.
    pub retry_interval: Duration,
    /// Most messages read in a second; the rest waits in the socket. Default 1,000.
    pub messages_per_second: u32,
}

impl ClientConfig {
    /// The defaults for a user.
    #[must_use]
    pub fn new(username: &str, password: Secret) -> Self {
        Self {
            username: username.to_owned(),
            password,
            client_name: concat!("tollgate/edge/", env!("CARGO_PKG_VERSION"), "/-").to_owned(),
            client_label: "tollgate".to_owned(),
            vservices: Vec::new(),
            rules: RouteRules::default(),
            bounds: Bounds::default(),
            route_life: Duration::from_secs(365 * 86_400),
            transaction_timeout: Duration::from_millis(39_500),
            retry_interval: Duration::from_secs(120),
            messages_per_second: 1_000,
        }
    }
}

/// The call agent's end of VAP.
pub struct Client {
    pub(super) config: ClientConfig,
    pub(super) key: Key,
    random: StdRng,
    pub(super) state: State,
    decoder: Decoder,
    budget: Option<Budget>,
    is_throttled: bool,
    open: BTreeMap<TransactionId, Open>,
    pub(super) table: Table,
    /// The last revision made up; VAP has none.
    pub(super) revision: u64,
    ring_is_up: Option<bool>,
    outputs: VecDeque<ClientOutput>,
}

pub(super) enum State {
    Idle,
    Registering,
    Registered(Link),
    Leaving,
    Closed,
}

/// What a registration holds.
pub(super) struct Link {
    handle: u32,
    keepalive: Duration,
    last_sent: Instant,
    pub(super) subscriptions: BTreeMap<u32, VServiceId>,
    /// VServices to subscribe to again, and when.
    retries: BTreeMap<VServiceId, Instant>,
}

/// A request that waits for its response.
struct Open {
    request: Request,
    deadline: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Request {
    Register,
    Keepalive,
    Subscribe(VServiceId),
    UploadVcr,
    Unregister,
}

/// Most requests that wait for their response at once.
const MAX_OPEN: usize = 256;

/// Bounds of the server's Keepalive: shorter ones would make us send all the time, longer ones miss a dead server.
const MIN_KEEPALIVE: Duration = Duration::from_secs(3);
const MAX_KEEPALIVE: Duration = Duration::from_secs(3_600);

impl Request {
    const fn method(self) -> Method {
        match self {
            Self::Register | Self::Keepalive => Method::Register,
            Self::Subscribe(_) => Method::Subscribe,
            Self::UploadVcr => Method::UploadVcr,
            Self::Unregister => Method::Unregister,
        }
    }
}

impl Client {
    /// A client without a connection. `random` makes the transaction ids.
    #[must_use]
    pub fn new(config: ClientConfig, random: StdRng) -> Self {
        Self {
            key: Key::derive(&config.username, &config.password),
            config,
            random,
            state: State::Idle,
            decoder: Decoder::default(),
            budget: None,
            is_throttled: false,
            open: BTreeMap::new(),
            table: Table::default(),
            revision: 0,
            ring_is_up: None,
            outputs: VecDeque::new(),
        }
    }

    /// New rules for routes to come.
    pub fn set_rules(&mut self, rules: RouteRules) {
        self.config.rules = rules;
    }

    /// Whether the server knows us.
    #[must_use]
    pub const fn is_registered(&self) -> bool {
        matches!(self.state, State::Registered(_))
    }

    /// A connection stands: registers on it, as a new client without handle.
    pub fn handle_connected(&mut self, now: Now) {
        self.forget_connection();
        self.budget = Some(Budget::new(self.config.messages_per_second, now.instant));
        self.state = State::Registering;
        self.request(now, Request::Register, self.registration());
    }

    /// The connection is gone: registration, subscriptions and open requests with it. Routes learned stand.
    pub fn handle_closed(&mut self) {
        self.forget_connection();
        self.state = State::Idle;
    }

    /// Takes bytes of the connection; returns how many.
    ///
    /// When fewer are taken than given, drain the outputs and call again with the rest: at once if some were taken,
    /// else at [`poll_timeout`](Self::poll_timeout).
    pub fn handle_bytes(&mut self, now: Now, bytes: &[u8]) -> usize {
        let (mut taken, mut messages) = (0, 0);
        while taken < bytes.len() && messages < MAX_MESSAGES_PER_CALL {
            if matches!(self.state, State::Idle | State::Closed) {
                return bytes.len();
            }
            let may_read = self.budget.as_mut().is_some_and(|budget| budget.refill(now.instant));
            self.is_throttled = !may_read;
            if self.is_throttled {
                break;
            }
            match self.decoder.push(bytes.get(taken..).unwrap_or_default()) {
                Err(fault) => {
                    self.close(CloseReason::Frame(fault));
                    return bytes.len();
                }
                Ok((part, read)) => {
                    taken += part;
                    if let Some(read) = read {
                        messages += 1;
                        self.budget.iter_mut().for_each(Budget::spend);
                        self.on_message(now, read);
                    }
                }
            }
        }
        taken
    }

    /// A time that [`poll_timeout`](Self::poll_timeout) named has come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.expire_open(now);
        let State::Registered(link) = &mut self.state else {
            return;
        };
        let due: Vec<VServiceId> = link
            .retries
            .iter()
            .filter(|(_, at)| **at <= now.instant)
            .map(|(vservice, _)| *vservice)
            .collect();
        for vservice in &due {
            link.retries.remove(vservice);
        }
        let is_quiet = link.last_sent + link.keepalive / 3 <= now.instant;
        for vservice in due {
            self.subscribe(now, vservice);
        }
        if is_quiet {
            self.keep_alive(now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is next due, or bytes left over may be given again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let open = self.open.values().map(|open| open.deadline);
        let (quiet, retries) = match &self.state {
            State::Registered(link) => {
                let quiet = link.last_sent + link.keepalive / 3;
                (Some(quiet), link.retries.values().copied().min())
            }
            State::Idle | State::Registering | State::Leaving | State::Closed => (None, None),
        };
        let ready = self
            .budget
            .filter(|_| self.is_throttled)
            .map(|budget| budget.ready_at());
        open.chain(quiet).chain(retries).chain(ready).min()
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<ClientOutput> {
        self.outputs.pop_front()
    }

    /// Uploads a voice call record; VAP has no place for the other things a control plane tells.
    ///
    /// # Errors
    /// [`NotTold`], and why.
    pub fn tell(&mut self, now: Now, fact: &UpFact) -> Result<(), NotTold> {
        let vcr = match fact {
            UpFact::Vcr(vcr) => vcr,
            UpFact::Feedback(_) | UpFact::Fallback(_) => return Err(NotTold::NotWanted),
        };
        if !self.is_registered() {
            return Err(NotTold::NotConnected);
        }
        if self.open.len() >= MAX_OPEN {
            return Err(NotTold::Busy);
        }
        self.request(now, Request::UploadVcr, vcr_attributes(vcr));
        Ok(())
    }

    /// Leaves: tells the server, then closes.
    pub fn unregister(&mut self, now: Now) {
        if self.is_registered() {
            self.request(now, Request::Unregister, Vec::new());
            self.state = State::Leaving;
        } else {
            self.close(CloseReason::Unregistered);
        }
    }

    fn forget_connection(&mut self) {
        self.open.clear();
        self.decoder.clear();
        self.is_throttled = false;
    }

    /// What Register says; the handle, once there is one, goes with every request.
    fn registration(&self) -> Vec<Attribute> {
        vec![
            Attribute::ClientName(self.config.client_name.clone()),
            Attribute::ProtocolVersion(VERSION.0, VERSION.1),
            Attribute::ClientLabel(self.config.client_label.clone()),
        ]
    }

    fn keep_alive(&mut self, now: Now) {
        if self.is_registered() {
            self.request(now, Request::Keepalive, self.registration());
        }
    }

    fn subscribe(&mut self, now: Now, vservice: VServiceId) {
        let identity = ServiceIdentity::numbers_of(vservice);
        self.request(
            now,
            Request::Subscribe(vservice),
            vec![Attribute::ServiceIdentity(identity)],
        );
    }

    /// Sends a request and waits for its response.
    fn request(&mut self, now: Now, request: Request, attributes: Vec<Attribute>) {
        let mut transaction = TransactionId([0; 12]);
        self.random.fill_bytes(&mut transaction.0);
        let mut message = Message::new(request.method(), Class::Request, transaction);
        message.attributes = attributes;
        if let State::Registered(link) = &mut self.state {
            message.attributes.push(Attribute::ClientHandle(link.handle));
            link.last_sent = now.instant;
        }
        message
            .attributes
            .push(Attribute::Username(self.config.username.clone()));
        let bytes = signed(message, &self.key).expect("requests are far shorter than a message may be");
        let deadline = now.instant + self.config.transaction_timeout;
        self.open.insert(transaction, Open { request, deadline });
        self.send(bytes);
    }

    fn on_message(&mut self, now: Now, read: Read) {
        match read.class {
            Class::Request => self.on_request(now, read),
            Class::Success | Class::Error => self.on_response(now, read),
            Class::Indication => self.report(Report::Malformed { method: read.method }),
        }
    }

    fn on_response(&mut self, now: Now, read: Read) {
        let Ok(parsed) = read.parsed else {
            return self.report(Report::Malformed { method: read.method });
        };
        let known = self.open.get(&read.transaction).map(|open| open.request);
        let Some(request) = known.filter(|request| request.method() == read.method) else {
            return self.report(Report::UnknownTransaction);
        };
        let code = match read.class {
            Class::Error => parsed.message.error().map(|error: &ErrorCode| error.code),
            Class::Request | Class::Indication | Class::Success => None,
        };
        if !self.is_believed(&parsed, code) {
            return self.report(Report::BadMac { method: read.method });
        }
        self.open.remove(&read.transaction);
        match (read.class, code) {
            (Class::Error, Some(code)) => self.on_error(now, request, code),
            (Class::Error, None) => {
                self.report(Report::Malformed { method: read.method });
                self.on_error(now, request, code::BAD_REQUEST);
            }
            _ => self.on_success(now, request, &parsed.message),
        }
    }

    /// Only 431 and 436 are taken without a MAC: the server may have no key to make one with.
    fn is_believed(&self, parsed: &Parsed, code: Option<u16>) -> bool {
        let needs_none = matches!(code, Some(code::INTEGRITY_CHECK_FAILURE | code::UNKNOWN_USERNAME));
        parsed.is_authentic(&self.key) || (needs_none && !parsed.has_mac())
    }

    fn on_success(&mut self, now: Now, request: Request, message: &Message) {
        match request {
            Request::Register => self.on_registered(now, message),
            Request::Keepalive => {
                if let (State::Registered(link), Some(keepalive)) = (&mut self.state, keepalive_of(message)) {
                    link.keepalive = keepalive;
                }
            }
            Request::Subscribe(vservice_id) => {
                let (State::Registered(link), Some(id)) = (&mut self.state, message.subscription()) else {
                    return self.report(Report::Malformed {
                        method: Method::Subscribe,
                    });
                };
                link.subscriptions.retain(|_, of| *of != vservice_id);
                link.subscriptions.insert(id, vservice_id);
                self.report(Report::Subscribed { vservice_id });
            }
            Request::UploadVcr => {}
            Request::Unregister => self.close(CloseReason::Unregistered),
        }
    }

    fn on_registered(&mut self, now: Now, message: &Message) {
        let (Some(handle), Some(keepalive)) = (message.handle(), keepalive_of(message)) else {
            return self.close(CloseReason::Refused);
        };
        self.state = State::Registered(Link {
            handle,
            keepalive,
            last_sent: now.instant,
            subscriptions: BTreeMap::new(),
            retries: BTreeMap::new(),
        });
        self.report(Report::Registered { keepalive });
        for vservice in self.config.vservices.clone() {
            self.subscribe(now, vservice);
        }
    }

    /// The one place where an error code becomes an action (§10.3.4).
    fn on_error(&mut self, now: Now, request: Request, code: u16) {
        let method = request.method();
        self.report(Report::Refused { method, code });
        let is_registration = matches!(request, Request::Register | Request::Keepalive);
        match code {
            code::INTEGRITY_CHECK_FAILURE => self.close(CloseReason::IntegrityFailure),
            code::UNKNOWN_USERNAME => self.close(CloseReason::UnknownUsername),
            code::BAD_CLIENT_HANDLE => self.close(CloseReason::BadHandle),
            code::ALREADY_REGISTERED => self.close(CloseReason::AlreadyRegistered),
            code::UNSUPPORTED_PROTOCOL_VERSION => self.close(CloseReason::Version),
            _ if request == Request::Unregister => self.close(CloseReason::Unregistered),
            code::UNREGISTERED if is_registration => self.close(CloseReason::BadHandle),
            _ if is_registration => self.close(CloseReason::Refused),
            code::UNREGISTERED => self.on_unregistered(now, request),
            _ => {}
        }
    }

    /// 474: either the server has forgotten us, which the keepalive brings out, or the VService is not published yet.
    fn on_unregistered(&mut self, now: Now, request: Request) {
        let retry_at = now.instant + self.config.retry_interval;
        if let (Request::Subscribe(vservice), State::Registered(link)) = (request, &mut self.state) {
            link.retries.insert(vservice, retry_at);
        }
        let is_asking = self.open.values().any(|open| open.request == Request::Keepalive);
        if !is_asking {
            self.keep_alive(now);
        }
    }

    fn expire_open(&mut self, now: Now) {
        let late: Vec<TransactionId> = self
            .open
            .iter()
            .filter(|(_, open)| open.deadline <= now.instant)
            .map(|(transaction, _)| *transaction)
            .collect();
        for transaction in late {
            let Some(open) = self.open.remove(&transaction) else {
                continue;
            };
            self.report(Report::TimedOut {
                method: open.request.method(),
            });
            match open.request {
                Request::Register | Request::Keepalive => self.close(CloseReason::Timeout),
                Request::Unregister => self.close(CloseReason::Unregistered),
                Request::Subscribe(vservice) => {
                    if let State::Registered(link) = &mut self.state {
                        link.retries.insert(vservice, now.instant + self.config.retry_interval);
                    }
                }
                Request::UploadVcr => {}
            }
        }
    }

    /// Answers a request of the server's.
    pub(super) fn answer(&mut self, read: (Method, TransactionId), answer: Result<(), u16>) {
        let (method, transaction) = read;
        let bytes = match answer {
            Ok(()) => super::success(method, transaction, Vec::new(), &self.key),
            Err(code) => error(method, transaction, code, None, &self.key),
        };
        self.send(bytes.expect("responses are far shorter than a message may be"));
    }

    pub(super) fn set_ring(&mut self, is_up: bool) {
        if self.ring_is_up.replace(is_up) != Some(is_up) {
            self.report(Report::Ring { is_up });
        }
    }

    pub(super) fn apply(&mut self, facts: Vec<crate::facts::Fact>) {
        if !facts.is_empty() {
            self.outputs.push_back(ClientOutput::Apply(facts));
        }
    }

    pub(super) fn report(&mut self, report: Report) {
        self.outputs.push_back(ClientOutput::Report(report));
    }

    fn send(&mut self, bytes: Vec<u8>) {
        self.outputs.push_back(ClientOutput::Send(bytes));
    }

    fn close(&mut self, reason: CloseReason) {
        if matches!(self.state, State::Closed) {
            return;
        }
        self.forget_connection();
        self.state = State::Closed;
        self.outputs.push_back(ClientOutput::Close(reason));
    }
}

/// The Keepalive of a response, within its bounds.
fn keepalive_of(message: &Message) -> Option<Duration> {
    let millis = pick!(message, Attribute::Keepalive(millis) => *millis)?;
    Some(Duration::from_millis(millis.into()).clamp(MIN_KEEPALIVE, MAX_KEEPALIVE))
}

fn vcr_attributes(vcr: &VcrReport) -> Vec<Attribute> {
    let mut attributes = vec![
        Attribute::ServiceIdentity(ServiceIdentity::numbers_of(vcr.vservice_id)),
        Attribute::CallDirection(match vcr.direction {
            Way::Outbound => CallDirection::Sent,
            Way::Inbound => CallDirection::Received,
        }),
        Attribute::CalledNum(vcr.called.to_string()),
        Attribute::StartTime(Ntp64::from_unix(vcr.start).0),
        Attribute::StopTime(Ntp64::from_unix(vcr.stop).0),
    ];
    attributes.extend(vcr.calling.map(|number| Attribute::CallingNum(number.to_string())));
    attributes
}
