//! A policy that has been checked: plain types, valid by construction.
//!
//! Holds what was asked for, not what runs; it has no defaults of its own, those stand in the table of keys.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::secret::SecretText;

/// Everything an operator said, with defaults filled in.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How Tollgate is placed.
    pub mode: Mode,
    /// Domain of the certificate: our identity outside. Lower case.
    pub domain: String,
    /// Domains that count as ours, lower case; holds `domain`.
    pub local_domains: Vec<String>,
    /// The side of the call agent.
    pub inside: Inside,
    /// The side of the peers.
    pub outside: Outside,
    /// Present in mode off-path, and only there.
    pub mapping: Option<MappingService>,
    /// Present in mode inline, and only there.
    pub inline: Option<Inline>,
    /// Folder for what outlives the process.
    pub state_dir: Option<PathBuf>,
    /// Bounds and sources of learned facts.
    pub learned: Learned,
    /// The co-located validator.
    pub validator: Option<Validator>,
    /// Media.
    pub media: Media,
    /// Call set-up and bounds.
    pub calls: Calls,
    /// Ticket verification.
    pub tickets: Tickets,
    /// Which numbers are reached at which peer; no two have one pattern.
    pub routes: Vec<Route>,
    /// Rules for single peers; no two have one domain.
    pub peers: Vec<Peer>,
    /// Fallback to the PSTN.
    pub fallback: Fallback,
    /// Admin interface.
    pub admin: Admin,
    /// Logs and call records.
    pub logging: Logging,
}

/// How Tollgate is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The call agent has a SIP trunk to Tollgate.
    Trunk,
    /// The call agent asks the mapping service for an inside address standing for a peer's.
    OffPath,
    /// Tollgate is the router between the call agent and the Internet.
    Inline,
}

impl Mode {
    /// As the policy writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trunk => "trunk",
            Self::OffPath => "off-path",
            Self::Inline => "inline",
        }
    }
}

/// The mapping service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingService {
    /// Where call agents ask.
    pub listen: SocketAddr,
    /// Address of the mapped ports.
    pub bind: IpAddr,
    /// Mapped ports.
    pub ports: RangeInclusive<u16>,
    /// A mapping unused for so long is given up: 1 min to 24 h.
    pub idle_timeout: Duration,
    /// Mappings one client may hold.
    pub per_client_max: u32,
}

/// How the agent's connections to peers are taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inline {
    /// Where they arrive: one address, or one of each family.
    pub bind: Vec<SocketAddr>,
    /// The interface towards the call agent.
    pub interface: String,
    /// Ports of peers that are SIP; never empty.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Firewall mark.
    pub mark: u32,
    /// Routing table.
    pub table: u32,
}

/// Bounds and sources of learned facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// Most learned routes held: 1 to 4,000,000.
    pub routes_max: usize,
    /// A file of facts, watched.
    pub file: Option<PathBuf>,
    /// Whether a learned route may lead to a private or loopback address.
    pub allow_private_targets: bool,
}

/// The co-located validator.
#[derive(Clone, Debug)]
pub struct Validator {
    /// Where it listens.
    pub address: ValidatorAddress,
    /// What it speaks.
    pub protocol: ValidatorProtocol,
    /// User that must own its end of a Unix socket; root or our own where none is named.
    pub peer_uid: Option<u32>,
    /// TLS; always there for TCP, unless plain TCP is allowed.
    pub tls: Option<ValidatorTls>,
    /// Pause before it is tried again: 1 to 600 s.
    pub reconnect: Duration,
    /// Silent for so long it is lost: 10 s to 1 h.
    pub silence: Duration,
}

/// Where a validator listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValidatorAddress {
    /// A Unix socket.
    Unix(PathBuf),
    /// TCP.
    Tcp(HostPort),
}

/// What a validator speaks.
#[derive(Clone, Debug)]
pub enum ValidatorProtocol {
    /// Tollgate's own feed.
    Feed,
    /// VAP (draft-jennings-vipr-vap-02).
    Vap {
        /// Our user.
        username: String,
        /// Its password.
        password: SecretText,
        /// The VServiceID subscribed to.
        vservice_id: u64,
        /// Life of a learned route.
        route_life: Duration,
    },
}

/// TLS to the validator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorTls {
    /// Our certificate, its key, and whom we trust.
    pub files: CertificateFiles,
    /// The name its certificate must bear.
    pub server_name: String,
}

/// A SIP transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream.
    Tcp,
    /// A stream inside TLS.
    Tls,
}

/// The side of the call agent.
#[derive(Clone, Debug)]
pub struct Inside {
    /// 1 to 16 listeners.
    pub listeners: Vec<InsideListener>,
    /// The call agent.
    pub agent: Agent,
    /// Present whenever a listener or the agent uses TLS.
    pub tls: Option<InsideTls>,
}

/// A listener of the inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InsideListener {
    /// Its transport.
    pub transport: Transport,
    /// The socket's address.
    pub bind: SocketAddr,
    /// The address told to others; same family, never unspecified.
    pub advertised: SocketAddr,
}

/// The call agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Where its SIP listens.
    pub address: SocketAddr,
    /// By which transport it is reached.
    pub transport: Transport,
    /// Addresses that may place calls; the agent's own is among them.
    pub allow_from: Vec<IpAddr>,
}

/// TLS of the inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InsideTls {
    /// Our certificate, its key, and whom we trust.
    pub files: CertificateFiles,
    /// The name that the agent's certificate must bear; present whenever the agent uses TLS.
    pub server_name: Option<String>,
}

/// PEM files, found readable; their contents are not checked here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// Certificate chain, own certificate first.
    pub certificate: PathBuf,
    /// Its private key.
    pub private_key: PathBuf,
    /// Certificates of the authorities trusted.
    pub trust_roots: PathBuf,
}

/// The side of the peers.
#[derive(Clone, Debug)]
pub struct Outside {
    /// 1 to 16 listeners, always TLS.
    pub listeners: Vec<OutsideListener>,
    /// Our certificate, its key, and whom we trust.
    pub tls: CertificateFiles,
}

/// A listener of the outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideListener {
    /// The socket's address.
    pub bind: SocketAddr,
    /// The address told to others; same family, never unspecified.
    pub advertised: SocketAddr,
}

/// Media.
#[derive(Clone, Debug)]
pub struct Media {
    /// Worker threads; 0 means one a core.
    pub workers: u32,
    /// Calls at once; the port ranges of both sides hold as many.
    pub max_calls: u32,
    /// SRTP suites, best first; never empty, none twice.
    pub suites: Vec<Suite>,
    /// RTCP between the sides.
    pub rtcp: Rtcp,
    /// How long ports rest after a call.
    pub port_quarantine: Duration,
    /// Silence both ways after which a call is ended; `None` never ends one.
    pub media_timeout: Option<Duration>,
    /// Two wakes of a media thread under load are at least so far apart; zero wakes it for each packet.
    pub wait: Duration,
    /// Ranges inside, at most one for each address family.
    pub inside: Vec<MediaRange>,
    /// Ranges outside, at most one for each address family.
    pub outside: Vec<MediaRange>,
}

/// An SRTP suite as SDES names it (RFC 4568, RFC 6188, RFC 7714).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// `AEAD_AES_256_GCM`.
    AeadAes256Gcm,
    /// `AEAD_AES_128_GCM`.
    AeadAes128Gcm,
    /// `AES_CM_128_HMAC_SHA1_80`.
    AesCm128HmacSha1_80,
    /// `AES_CM_128_HMAC_SHA1_32`.
    AesCm128HmacSha1_32,
    /// `AES_256_CM_HMAC_SHA1_80`.
    Aes256CmHmacSha1_80,
    /// `AES_256_CM_HMAC_SHA1_32`.
    Aes256CmHmacSha1_32,
}

/// RTCP between the sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rtcp {
    /// Converted and passed on.
    Relay,
    /// Dropped.
    Drop,
}

/// Ports on one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaRange {
    /// The sockets' address.
    pub bind: IpAddr,
    /// The address told to others; same family, never unspecified.
    pub advertised: IpAddr,
    /// Ports, both ends included, from an even one.
    pub ports: RangeInclusive<u16>,
}

impl MediaRange {
    /// Pairs of an even port and the odd one after it.
    #[must_use]
    pub fn pairs(&self) -> u32 {
        u32::from(*self.ports.end())
            .saturating_sub(u32::from(*self.ports.start()))
            .div_ceil(2)
    }
}

/// Call set-up and bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Status that makes the call agent use the PSTN, 400 to 699.
    pub fallback_code: u16,
    /// From INVITE to the first 18x or final answer.
    pub setup_timeout: Duration,
    /// From INVITE to the final answer.
    pub invite_timeout: Duration,
    /// To connect to a peer.
    pub connect_timeout: Duration,
    /// What a peer sees when its ticket fails.
    pub on_ticket_failure: OnTicketFailure,
    /// New calls a second from one peer.
    pub calls_per_second_per_peer: u32,
    /// How long a drain waits for calls to end.
    pub drain_deadline: Duration,
}

/// What a peer sees when its ticket fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTicketFailure {
    /// 403 Forbidden.
    Reject,
    /// Nothing.
    Drop,
}

/// Ticket verification.
#[derive(Clone, Debug)]
pub struct Tickets {
    /// The header field name sent.
    pub header: TicketHeader,
    /// Tolerance between two hosts' clocks.
    pub clock_skew: Duration,
    /// Longest salt accepted, 4 to 32 bytes.
    pub salt_max: usize,
    /// What the MAC covers.
    pub mac_covers: MacCovers,
    /// Numbers enrolled here, `+` and digits; `None` when not known.
    pub enrolled: Option<Vec<String>>,
    /// Whether `raw-ascii` keys may have 10 to 19 characters.
    pub allow_short_password: bool,
    /// At most 16 keys, no two of one epoch.
    pub keys: Vec<TicketKey>,
    /// Taken back.
    pub denied: DeniedTickets,
}

/// The header field a ticket travels in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketHeader {
    /// `X-Cisco-UC-IME-Ticket`.
    CiscoUcIme,
    /// `X-Cisco-ViPR-Ticket`.
    CiscoVipr,
    /// `Ticket`.
    Ticket,
    /// `ViPR-Ticket`.
    Vipr,
}

/// What the MAC covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacCovers {
    /// The bytes before the Integrity field.
    BeforeIntegrity,
    /// Its type and length too.
    WithIntegrityHeader,
}

/// One ticket key.
#[derive(Clone, Debug)]
pub struct TicketKey {
    /// Selects the key, 1 to 2^32-1.
    pub epoch: u32,
    /// Its algorithm.
    pub alg: KeyAlg,
    /// How its text is written.
    pub form: KeyForm,
    /// Its text, of that form.
    pub text: SecretText,
    /// Nothing is verified before this time since 1970.
    pub not_before: Option<Duration>,
    /// Nothing is verified from this time since 1970 on.
    pub accept_until: Option<Duration>,
    /// Taken back.
    pub revoked: bool,
}

/// A ticket MAC algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAlg {
    /// `v2-hmac-sha256`.
    V2HmacSha256,
    /// `vipr-hmac-sha1`.
    ViprHmacSha1,
}

/// How a key's text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// 32 hexadecimal digits.
    Hex16,
    /// 64 hexadecimal digits.
    Hex32,
    /// 20 to 64 printable characters, or 10 to 19 by permission.
    RawAscii,
}

/// Tickets taken back before their end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeniedTickets {
    /// By unique ID.
    pub uuids: Vec<[u8; 16]>,
    /// By number, `+` and digits.
    pub numbers: Vec<String>,
    /// By granted-to domain, lower case.
    pub domains: Vec<String>,
    /// By epoch.
    pub epochs: Vec<u32>,
}

/// Which numbers are reached at which peer.
#[derive(Clone, Debug)]
pub struct Route {
    /// The numbers.
    pub pattern: NumberPattern,
    /// The peer's domain, lower case.
    pub domain: String,
    /// The peer's addresses, tried in order; never empty.
    pub peers: Vec<HostPort>,
    /// The ticket to send.
    pub ticket: Option<SecretText>,
}

/// One number, numbers by their first digits, or all numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NumberPattern {
    /// One number, `+` and digits.
    Number(String),
    /// Every number that begins so, `+` and digits.
    Prefix(String),
    /// Every number.
    Any,
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPort {
    /// An IP address.
    Address(SocketAddr),
    /// A name that has to be resolved.
    Name {
        /// The name, lower case.
        host: String,
        /// The port.
        port: u16,
    },
}

/// Rules for one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its domain, lower case.
    pub domain: String,
    /// Its name in metrics.
    pub label: Option<String>,
    /// Whether its calls are refused.
    pub deny: bool,
}

/// Fallback to the PSTN.
#[derive(Clone, Debug, PartialEq)]
pub struct Fallback {
    /// Whether calls are handed back at all.
    pub enabled: bool,
    /// How often quality is read.
    pub monitoring_interval: Duration,
    /// From the verdict "poor" to the REFER.
    pub hold_down: Duration,
    /// From the verdict "dead" to the REFER.
    pub dead_hold_down: Duration,
    /// Whether the called side's edge REFERs too.
    pub refer_when_called: bool,
    /// Where "poor" begins: a profile's values with the file's overrides.
    pub thresholds: Thresholds,
}

/// Where "poor" begins and where it ends again. Each `good` lies under its `poor`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Length of the window judged.
    pub window: Duration,
    /// Loss from which on the verdict is poor, 0 to 1.
    pub loss_poor_ratio: f64,
    /// Loss under which it is good again, 0 to 1.
    pub loss_good_ratio: f64,
    /// Jitter from which on the verdict is poor.
    pub jitter_poor: Duration,
    /// Jitter under which it is good again.
    pub jitter_good: Duration,
    /// Silence after which expected media is dead.
    pub dead_after: Duration,
}

/// Admin interface.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where it listens; a loopback address unless a token is asked for.
    pub listen: SocketAddr,
    /// The token that requests must bear: 32 to 256 printable characters.
    pub token: Option<SecretText>,
}

/// Logs and call records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// How log lines look.
    pub format: LogFormat,
    /// The least important lines written.
    pub level: LogLevel,
    /// Where call records go.
    pub call_records: RecordSink,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Importance of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// `error`.
    Error,
    /// `warn`.
    Warn,
    /// `info`.
    Info,
    /// `debug`.
    Debug,
    /// `trace`.
    Trace,
}

/// Where call records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordSink {
    /// Nowhere.
    Off,
    /// To standard output.
    Stdout,
    /// To the end of a file.
    File(PathBuf),
}
