//! The validator's end of VAP, as much of it as a stand-in needs: Register, Subscribe, Notify, UploadVCR.
//!
//! It has no DHT, so Publish and Unpublish are refused with 400 and PublishRevoke is sent only when told to. One
//! connection of one known user. Source: draft-jennings-vipr-vap-02 §9.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rand::RngCore;
use rand::rngs::StdRng;
use tollgate_contract::{Now, Secret, Way};
use tollgate_ticket::Ntp64;

use super::{VERSION, code, error, signed, success};
use crate::VServiceId;
use crate::facts::{TrunkClass, VcrReport};
use crate::valinfo::{self, ValInfo};
use crate::vap::attribute::{Attribute, CallDirection, ServiceIdentity, pick};
use crate::vap::auth::Key;
use crate::vap::codec::{Class, Decoder, FrameFault, Message, Method, Read, TransactionId};

/// How a server behaves.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The one user it knows.
    pub username: String,
    /// That user's password.
    pub password: Secret,
    /// How long it keeps a client after its last message. Default 30 s.
    pub keepalive: Duration,
    /// The VServices that may be subscribed to.
    pub vservices: Vec<VServiceId>,
}

impl ServerConfig {
    /// The defaults for a user.
    #[must_use]
    pub fn new(username: &str, password: Secret) -> Self {
        Self {
            username: username.to_owned(),
            password,
            keepalive: Duration::from_secs(30),
            vservices: Vec::new(),
        }
    }
}

/// What the shell has to do, in order.
#[derive(Clone, Debug)]
pub enum ServerOutput {
    /// Send these bytes.
    Send(Vec<u8>),
    /// This has happened.
    Event(Event),
    /// Close the connection; nothing more is read.
    Close,
}

/// Something that happened on the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The client has registered.
    Registered,
    /// The client has shown that it lives.
    KeptAlive,
    /// The client wants to be told of this VService.
    Subscribed(VServiceId),
    /// The client wants no more to be told.
    Unsubscribed(VServiceId),
    /// The client has uploaded a record.
    Vcr(VcrReport),
    /// The client has left.
    Unregistered,
    /// A request was refused with this code.
    Refused(u16),
    /// The client has answered a request of ours: with this error, or success.
    Answered(Method, Option<u16>),
    /// Nothing was heard for the keepalive interval.
    Lost,
    /// The bytes are no VAP.
    NoVap(FrameFault),
}

/// The validator's end of one connection.
pub struct Server {
    config: ServerConfig,
    key: Key,
    random: StdRng,
    decoder: Decoder,
    handle: Option<u32>,
    subscriptions: BTreeMap<u32, VServiceId>,
    open: BTreeMap<TransactionId, Method>,
    deadline: Instant,
    is_closed: bool,
    outputs: VecDeque<ServerOutput>,
}

/// §9.3: until the server closes after Unregister.
const LINGER: Duration = Duration::from_secs(30);

/// Most requests of ours that wait for their response.
const MAX_OPEN: usize = 256;

/// Most subscriptions of a client.
const MAX_SUBSCRIPTIONS: usize = 64;

impl Server {
    /// A server for a connection just accepted. `random` makes handles and transaction ids.
    #[must_use]
    pub fn new(config: ServerConfig, random: StdRng, now: Now) -> Self {
        Self {
            key: Key::derive(&config.username, &config.password),
            deadline: now.instant + config.keepalive,
            config,
            random,
            decoder: Decoder::default(),
            handle: None,
            subscriptions: BTreeMap::new(),
            open: BTreeMap::new(),
            is_closed: false,
            outputs: VecDeque::new(),
        }
    }

    /// Takes all bytes given.
    pub fn handle_bytes(&mut self, now: Now, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.is_closed {
            match self.decoder.push(bytes) {
                Ok((taken, read)) => {
                    bytes = bytes.get(taken..).unwrap_or_default();
                    if let Some(read) = read {
                        self.on_message(now, read);
                    }
                }
                Err(fault) => {
                    self.event(Event::NoVap(fault));
                    self.close();
                }
            }
        }
    }

    /// A time that [`poll_timeout`](Self::poll_timeout) named has come.
    pub fn handle_timeout(&mut self, now: Now) {
        if !self.is_closed && self.deadline <= now.instant {
            self.event(Event::Lost);
            self.close();
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        (!self.is_closed).then_some(self.deadline)
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<ServerOutput> {
        self.outputs.pop_front()
    }

    /// Tells every subscription to a VService of proven numbers; returns how many there are.
    pub fn notify(&mut self, vservice: VServiceId, groups: &[ValInfo]) -> usize {
        self.notify_document(vservice, valinfo::write(groups).as_bytes())
    }

    /// The same with a document as it is, good or bad.
    pub fn notify_document(&mut self, vservice: VServiceId, document: &[u8]) -> usize {
        let of = self.subscriptions.iter().filter(|(_, of)| **of == vservice);
        let ids: Vec<u32> = of.map(|(id, _)| *id).collect();
        for id in &ids {
            self.notify_subscription(*id, vservice, document);
        }
        ids.len()
    }

    /// Sends one Notify, whether or not there is such a subscription.
    pub fn notify_subscription(&mut self, id: u32, vservice: VServiceId, document: &[u8]) {
        self.request(
            Method::Notify,
            vec![
                Attribute::SubscriptionId(id),
                Attribute::ServiceIdentity(ServiceIdentity::numbers_of(vservice)),
                Attribute::ServiceContent(document.to_vec()),
            ],
        );
    }

    /// Tells that the ring of a VService is gone.
    pub fn publish_revoke(&mut self, vservice: VServiceId) {
        let identity = ServiceIdentity {
            subservice: ServiceIdentity::VSERVICE,
            ..ServiceIdentity::numbers_of(vservice)
        };
        self.request(Method::PublishRevoke, vec![Attribute::ServiceIdentity(identity)]);
    }

    fn request(&mut self, method: Method, attributes: Vec<Attribute>) {
        let mut transaction = TransactionId([0; 12]);
        self.random.fill_bytes(&mut transaction.0);
        let mut message = Message::new(method, Class::Request, transaction);
        message.attributes = attributes;
        message
            .attributes
            .push(Attribute::Username(self.config.username.clone()));
        if self.open.len() >= MAX_OPEN {
            self.open.pop_first();
        }
        if let Some(bytes) = signed(message, &self.key) {
            self.open.insert(transaction, method);
            self.outputs.push_back(ServerOutput::Send(bytes));
        }
    }

    fn on_message(&mut self, now: Now, read: Read) {
        match read.class {
            Class::Request => self.on_request(now, read),
            Class::Success | Class::Error => self.on_response(read),
            Class::Indication => {}
        }
    }

    fn on_response(&mut self, read: Read) {
        let Some(method) = self.open.remove(&read.transaction) else {
            return;
        };
        let code = match read.parsed {
            Ok(parsed) => parsed.message.error().map(|error| error.code),
            Err(_) => Some(code::BAD_REQUEST),
        };
        self.event(Event::Answered(method, code));
    }

    /// Checks in the order of vap.md 3: syntax, USERNAME, MAC, method.
    fn on_request(&mut self, now: Now, read: Read) {
        let of = (read.method, read.transaction);
        let Ok(parsed) = read.parsed else {
            return self.refuse(of, code::BAD_REQUEST);
        };
        let message = parsed.message.clone();
        if message.username() != Some(self.config.username.as_str()) {
            return self.refuse(of, code::UNKNOWN_USERNAME);
        }
        if !parsed.is_authentic(&self.key) {
            return self.refuse(of, code::INTEGRITY_CHECK_FAILURE);
        }
        self.deadline = now.instant + self.config.keepalive;
        if self.handle.is_none() && read.method != Method::Register {
            return self.refuse(of, code::UNREGISTERED);
        }
        let answer = match read.method {
            Method::Register => self.on_register(&message),
            Method::Unregister => self.on_unregister(now, &message),
            Method::Subscribe => self.on_subscribe(&message),
            Method::Unsubscribe => self.on_unsubscribe(&message),
            Method::UploadVcr => self.on_upload(now, &message),
            Method::Publish
            | Method::Unpublish
            | Method::PublishRevoke
            | Method::Notify
            | Method::ValExchange
            | Method::Unknown(_) => Err(code::BAD_REQUEST),
        };
        match answer {
            Ok((attributes, event)) => {
                let bytes = success(of.0, of.1, attributes, &self.key);
                self.outputs.extend(bytes.map(ServerOutput::Send));
                self.event(event);
            }
            Err(code) => self.refuse(of, code),
        }
    }

    fn on_register(&mut self, message: &Message) -> Result<Success, u16> {
        let event = match (message.handle(), self.handle) {
            (Some(given), Some(ours)) if given == ours => Event::KeptAlive,
            (Some(_), _) => return Err(code::BAD_CLIENT_HANDLE),
            (None, Some(_)) => return Err(code::ALREADY_REGISTERED),
            (None, None) => Event::Registered,
        };
        let is_named = pick!(message, Attribute::ClientName(_) => ()).is_some();
        let is_labelled = pick!(message, Attribute::ClientLabel(_) => ()).is_some();
        let version = pick!(message, Attribute::ProtocolVersion(major, _) => *major);
        match version {
            Some(major) if major > VERSION.0 => return Err(code::UNSUPPORTED_PROTOCOL_VERSION),
            Some(_) if is_named && is_labelled => {}
            Some(_) | None => return Err(code::BAD_REQUEST),
        }
        let handle = self.handle.unwrap_or_else(|| self.random.next_u32());
        self.handle = Some(handle);
        let keepalive = u32::try_from(self.config.keepalive.as_millis()).unwrap_or(u32::MAX);
        Ok((
            vec![Attribute::ClientHandle(handle), Attribute::Keepalive(keepalive)],
            event,
        ))
    }

    fn on_unregister(&mut self, now: Now, message: &Message) -> Result<Success, u16> {
        if message.handle() != self.handle {
            return Err(code::BAD_CLIENT_HANDLE);
        }
        self.handle = None;
        self.subscriptions.clear();
        self.deadline = now.instant + LINGER;
        Ok((Vec::new(), Event::Unregistered))
    }

    fn on_subscribe(&mut self, message: &Message) -> Result<Success, u16> {
        let identity = message.service().filter(|identity| identity.is_number());
        let vservice = identity.ok_or(code::BAD_REQUEST)?.vservice_id;
        if !self.config.vservices.contains(&vservice) {
            return Err(code::UNREGISTERED);
        }
        let is_twice = self.subscriptions.values().any(|of| *of == vservice);
        if is_twice || self.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            return Err(code::BAD_REQUEST);
        }
        let id = self.random.next_u32();
        self.subscriptions.insert(id, vservice);
        Ok((vec![Attribute::SubscriptionId(id)], Event::Subscribed(vservice)))
    }

    fn on_unsubscribe(&mut self, message: &Message) -> Result<Success, u16> {
        let removed = message.subscription().and_then(|id| self.subscriptions.remove(&id));
        let vservice = removed.ok_or(code::UNKNOWN_SUBSCRIPTION)?;
        Ok((Vec::new(), Event::Unsubscribed(vservice)))
    }

    fn on_upload(&self, now: Now, message: &Message) -> Result<Success, u16> {
        let vservice_id = message.service().ok_or(code::BAD_REQUEST)?.vservice_id;
        if !self.config.vservices.contains(&vservice_id) {
            return Err(code::UNREGISTERED);
        }
        let vcr = vcr_of(message, vservice_id, now).ok_or(code::BAD_REQUEST)?;
        Ok((Vec::new(), Event::Vcr(vcr)))
    }

    fn refuse(&mut self, (method, transaction): (Method, TransactionId), code: u16) {
        let version = Attribute::ProtocolVersion(VERSION.0, VERSION.1);
        let further = (code == code::UNSUPPORTED_PROTOCOL_VERSION).then_some(version);
        let bytes = error(method, transaction, code, further, &self.key);
        self.outputs.extend(bytes.map(ServerOutput::Send));
        self.event(Event::Refused(code));
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(ServerOutput::Event(event));
    }

    fn close(&mut self) {
        self.is_closed = true;
        self.outputs.push_back(ServerOutput::Close);
    }
}

/// The attributes of a success, and what has happened.
type Success = (Vec<Attribute>, Event);

fn vcr_of(message: &Message, vservice_id: VServiceId, now: Now) -> Option<VcrReport> {
    let time = |ntp: u64| Ntp64(ntp).to_unix(now.unix);
    let direction = pick!(message, Attribute::CallDirection(direction) => *direction)?;
    let number = |text: &String| text.parse().ok();
    Some(VcrReport {
        direction: match direction {
            CallDirection::Sent => Way::Outbound,
            CallDirection::Received => Way::Inbound,
        },
        calling: pick!(message, Attribute::CallingNum(text) => text).and_then(number),
        called: pick!(message, Attribute::CalledNum(text) => text).and_then(number)?,
        start: pick!(message, Attribute::StartTime(ntp) => *ntp).and_then(time)?,
        stop: pick!(message, Attribute::StopTime(ntp) => *ntp).and_then(time)?,
        vservice_id,
        trunk_class: TrunkClass::Supervised,
    })
}
