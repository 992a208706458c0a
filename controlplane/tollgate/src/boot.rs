//! From a policy to a running data plane: the one place where both planes' words are translated.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use rand::RngCore;
use tollgate_call::transport::{Listener, LocalAddresses, Role};
use tollgate_call::{CallIdCodec, CallTable, CallTableConfig, PortPair};
use tollgate_contract::counters::WorkerCounters;
use tollgate_contract::publish::Publisher;
use tollgate_contract::{Report, Side, Snapshot, Transport, WireAddr};
use tollgate_control::CertificateExpiry;
use tollgate_media::SocketId;
use tollgate_policy::{CertificateFiles, InsideListener, Policy};
use tollgate_runtime::tls::{ClientAuth, TlsError, TlsFiles, TlsSide};
use tollgate_runtime::{
    BindError, Dataplane, MediaPair, MediaRange, RuntimeConfig, RuntimeLimits, StartError, media_layout,
};

use crate::core::EdgeCore;
use crate::exit;
use crate::plane::EdgePlane;
use crate::steering::EdgeSteering;

/// For telling how long a certificate has been dead.
const SECONDS_PER_DAY: u64 = 86_400;

/// One reason for which an edge does not start.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The policy key to look at, such as `outside.tls.certificate`; empty for the policy as a whole.
    pub(crate) key: String,
    /// What is wrong. Holds no key material.
    pub(crate) problem: String,
    /// What to do about it.
    pub(crate) mend: &'static str,
    /// The exit code it earns.
    pub(crate) code: u8,
}

impl Fault {
    pub(crate) fn new(code: u8, key: impl Into<String>, problem: impl Into<String>, mend: &'static str) -> Self {
        Self {
            key: key.into(),
            problem: problem.into(),
            mend,
            code,
        }
    }

    /// An address that cannot be bound, and the key that names it.
    pub(crate) fn bind(key: String, what: &str, why: &io::Error) -> Self {
        let mend = if why.kind() == ErrorKind::AddrInUse {
            "end the program that holds it (`ss -lntup` shows it), or choose another address or port"
        } else if why.kind() == ErrorKind::AddrNotAvailable {
            "write an address of this host, or add this one to an interface"
        } else if why.kind() == ErrorKind::PermissionDenied {
            "choose a port of 1024 or more, or grant CAP_NET_BIND_SERVICE; mode inline needs CAP_NET_ADMIN"
        } else {
            "choose another address or port"
        };
        Self::new(exit::UNAVAILABLE, key, format!("cannot bind {what}: {why}"), mend)
    }
}

/// The TLS settings of a policy's sides; `check` builds them too.
pub(crate) struct TlsSides {
    pub(crate) inside: Option<TlsSide>,
    pub(crate) outside: TlsSide,
}

/// Reads and checks the certificates of a policy. Every side that cannot be used is told.
pub(crate) fn tls_of(policy: &Policy) -> Result<TlsSides, Vec<Fault>> {
    let inside = policy
        .inside
        .tls
        .as_ref()
        .map(|tls| tls_side("inside", &tls.files, ClientAuth::NotAsked))
        .transpose();
    let outside = tls_side("outside", &policy.outside.tls, ClientAuth::Required)
        .and_then(|side| bears(side, &policy.domain, &policy.outside.tls));
    match (inside, outside) {
        (Ok(inside), Ok(outside)) => Ok(TlsSides { inside, outside }),
        (inside, outside) => Err([inside.err(), outside.err()].into_iter().flatten().collect()),
    }
}

fn tls_side(side: &str, files: &CertificateFiles, client_auth: ClientAuth) -> Result<TlsSide, Fault> {
    let built = TlsSide::from_files(&files_of(files), client_auth).map_err(|why| tls_fault(side, files, &why))?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    if built.not_after_unix() > now {
        return Ok(built);
    }
    let days = (now - built.not_after_unix()) / SECONDS_PER_DAY;
    Err(Fault::new(
        exit::CONFIG,
        format!("{side}.tls.certificate"),
        format!(
            "the certificate in {} expired {days} days ago",
            files.certificate.display()
        ),
        "put a certificate there that is valid now; no peer accepts this one",
    ))
}

/// Peers know us by the names in our certificate: without our domain among them they refuse every call.
fn bears(side: TlsSide, domain: &str, files: &CertificateFiles) -> Result<TlsSide, Fault> {
    if side.domains().iter().any(|name| name == domain) {
        return Ok(side);
    }
    let path = files.certificate.display();
    let problem = match side.domains() {
        [] => format!("the certificate in {path} names no SIP domain"),
        names => format!("the certificate in {path} names {}, and not {domain}", names.join(", ")),
    };
    let mend = "get one whose SubjectAltName has the policy's domain as a dNSName; wildcards and the CN do not count";
    Err(Fault::new(exit::CONFIG, "outside.tls.certificate", problem, mend))
}

fn files_of(files: &CertificateFiles) -> TlsFiles {
    TlsFiles {
        certificates: files.certificate.clone(),
        key: files.private_key.clone(),
        roots: files.trust_roots.clone(),
    }
}

/// Finds the file to blame.
fn tls_fault(side: &str, files: &CertificateFiles, why: &TlsError) -> Fault {
    let certificate = (
        "certificate",
        &files.certificate,
        "put our certificate there as PEM, then its intermediates",
    );
    let key = (
        "private_key",
        &files.private_key,
        "put the private key of that certificate there as PEM (PKCS#8, SEC1 or PKCS#1)",
    );
    let roots = (
        "trust_roots",
        &files.trust_roots,
        "put the certificates of the authorities we trust there as PEM",
    );
    let all = [certificate, key, roots];
    let (name, path, mend) = match why {
        TlsError::Unreadable { path, .. } => all
            .into_iter()
            .find(|(_, known, _)| *known == path)
            .unwrap_or(certificate),
        TlsError::BrokenPem { what } if what.contains("key") => key,
        TlsError::BrokenPem { what } if what.contains("roots") => roots,
        TlsError::NoKey | TlsError::KeyMismatch | TlsError::BadKey => key,
        TlsError::NoRoots | TlsError::BadRoot(_) => roots,
        TlsError::NoCertificate | TlsError::BadCertificate | TlsError::BrokenPem { .. } | TlsError::Refused(_) | _ => {
            certificate
        }
    };
    Fault::new(
        exit::CONFIG,
        format!("{side}.tls.{name}"),
        format!("{}: {why}", path.display()),
        mend,
    )
}

/// Finds the key to blame for a data plane that does not start.
fn start_fault(policy: &Policy, why: &StartError) -> Fault {
    match why {
        StartError::Bind(bind) => {
            let what = format!("{} {} {}", bind.purpose, bind.transport, bind.address);
            Fault::bind(key_of_address(policy, bind), &what, &bind.why)
        }
        StartError::Layout(_) => Fault::new(
            exit::CONFIG,
            "media",
            why.to_string(),
            "give the range more ports, or fewer workers",
        ),
        StartError::Descriptors(_) => Fault::new(
            exit::OS,
            "media.max_calls",
            why.to_string(),
            "raise the hard limit of open files (LimitNOFILE, ulimit -Hn), or allow fewer ports",
        ),
        StartError::OutsideNotTls(_)
        | StartError::NoTlsSettings(_)
        | StartError::OutsideWithoutClientAuth
        | StartError::Mismatch { .. }
        | StartError::TooManyListeners
        | StartError::System(_)
        | _ => Fault::new(exit::OS, "", why.to_string(), "see what the system says"),
    }
}

/// The key under which an address stands that could not be bound.
fn key_of_address(policy: &Policy, bind: &BindError) -> String {
    let (inside, outside) = (&policy.inside.listeners, &policy.outside.listeners);
    let is_udp = |listener: &InsideListener| listener.transport == tollgate_policy::Transport::Udp;
    if bind.purpose == "media" {
        let holds = |range: &tollgate_policy::MediaRange| {
            range.bind == bind.address.ip() && range.ports.contains(&bind.address.port())
        };
        let sides = [("inside", &policy.media.inside), ("outside", &policy.media.outside)];
        let found = sides
            .into_iter()
            .find_map(|(side, ranges)| Some((side, ranges.iter().position(holds)?)));
        return found.map_or_else(String::new, |(side, at)| format!("media.{side}[{at}].ports"));
    }
    let wants_udp = bind.transport.eq_ignore_ascii_case(Transport::Udp.name());
    let at_inside = inside
        .iter()
        .position(|listener| listener.bind == bind.address && is_udp(listener) == wants_udp);
    let at_outside = outside.iter().position(|listener| listener.bind == bind.address);
    let is_mapped = policy
        .mapping
        .as_ref()
        .is_some_and(|service| service.bind == bind.address.ip());
    let is_taken = policy
        .inline
        .as_ref()
        .is_some_and(|inline| inline.bind.contains(&bind.address));
    match (at_inside, at_outside) {
        (Some(at), _) => format!("inside.listeners[{at}].bind"),
        (None, Some(at)) => format!("outside.listeners[{at}].bind"),
        (None, None) if is_taken => "inline.bind".to_owned(),
        (None, None) if is_mapped => "mapping.ports".to_owned(),
        (None, None) => String::new(),
    }
}

/// Starts the data plane of a policy.
pub(crate) fn boot(
    policy: &Policy,
    snapshot: Snapshot,
    reports: SyncSender<Report>,
) -> Result<(EdgePlane, Publisher), Vec<Fault>> {
    let tls = tls_of(policy)?;
    let certificates = certificates_of(&tls);
    let workers = worker_count(policy);
    let config = RuntimeConfig {
        local: local_addresses(policy),
        tls_outside: Some(tls.outside),
        tls_inside: tls.inside,
        media: media_ranges(policy),
        workers,
        limits: RuntimeLimits {
            media_wait: policy.media.wait,
            ..RuntimeLimits::default()
        },
    };
    let layout = media_layout(&config.media, workers).map_err(|why| vec![start_fault(policy, &why.into())])?;
    let call_ids = CallIdCodec::default();
    let max_calls = (snapshot.limits.max_calls as usize).div_ceil(workers);
    let mut counters = Vec::new();
    let mut cores = Vec::new();
    for pairs in &layout {
        let own = Arc::new(WorkerCounters::default());
        counters.push(Arc::clone(&own));
        cores.push(EdgeCore(CallTable::new(
            table_config(&config.local, pairs, max_calls, &call_ids),
            own,
        )));
    }
    let mut publisher = Publisher::new(snapshot);
    let readers = (0..=workers).map(|_| publisher.reader()).collect();
    let handle = Dataplane::start(config, cores, EdgeSteering { call_ids }, readers, reports);
    let handle = handle.map_err(|why| vec![start_fault(policy, &why)])?;
    Ok((
        EdgePlane {
            handle,
            counters,
            certificates: Mutex::new(certificates),
        },
        publisher,
    ))
}

fn table_config(
    local: &LocalAddresses,
    pairs: &[MediaPair],
    max_calls: usize,
    call_ids: &CallIdCodec,
) -> CallTableConfig {
    let mut seed = [0; 32];
    rand::rng().fill_bytes(&mut seed);
    let ports = pairs.iter().map(|pair| PortPair {
        side: pair.side,
        advertised: pair.advertised_ip,
        port: pair.rtp_port,
        rtp: SocketId(pair.rtp_socket),
        rtcp: SocketId(pair.rtcp_socket),
    });
    CallTableConfig {
        local: local.clone(),
        ports: ports.collect(),
        sockets: pairs.len() * 2,
        max_calls,
        call_ids: call_ids.clone(),
        seed,
    }
}

/// As many workers as the policy says, 0 for one per core; never more than there are port pairs to share.
fn worker_count(policy: &Policy) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = if policy.media.workers == 0 {
        cores
    } else {
        policy.media.workers as usize
    };
    let pairs = policy
        .media
        .inside
        .iter()
        .chain(&policy.media.outside)
        .map(|range| range.pairs() as usize)
        .min();
    wanted.min(pairs.unwrap_or(1)).max(1)
}

fn local_addresses(policy: &Policy) -> LocalAddresses {
    let inside = policy.inside.listeners.iter().map(|listener| Listener {
        side: Side::Inside,
        transport: match listener.transport {
            tollgate_policy::Transport::Udp => Transport::Udp,
            tollgate_policy::Transport::Tcp => Transport::Tcp,
            tollgate_policy::Transport::Tls => Transport::Tls,
        },
        address: WireAddr {
            bound: listener.bind,
            advertised: listener.advertised,
        },
        role: Role::Trunk,
    });
    let outside = policy.outside.listeners.iter().map(|listener| Listener {
        side: Side::Outside,
        transport: Transport::Tls,
        address: WireAddr {
            bound: listener.bind,
            advertised: listener.advertised,
        },
        role: Role::Trunk,
    });
    let stands_for_peers = |bound: SocketAddr, role| Listener {
        side: Side::Inside,
        transport: Transport::Tcp,
        address: WireAddr {
            bound,
            advertised: bound,
        },
        role,
    };
    let mapped = policy.mapping.iter().map(|service| {
        let last_port = *service.ports.end();
        stands_for_peers(
            SocketAddr::new(service.bind, *service.ports.start()),
            Role::Mapped { last_port },
        )
    });
    let taken = policy.inline.iter().flat_map(|inline| &inline.bind);
    let taken = taken.map(|bind| stands_for_peers(*bind, Role::Transparent));
    LocalAddresses {
        listeners: inside.chain(outside).chain(mapped).chain(taken).collect(),
    }
}

fn media_ranges(policy: &Policy) -> Vec<MediaRange> {
    let ranges = |side: Side, ranges: &[tollgate_policy::MediaRange]| {
        ranges
            .iter()
            .map(|range| MediaRange {
                side,
                bound_ip: range.bind,
                advertised_ip: range.advertised,
                ports: range.ports.clone(),
            })
            .collect::<Vec<_>>()
    };
    [
        ranges(Side::Inside, &policy.media.inside),
        ranges(Side::Outside, &policy.media.outside),
    ]
    .concat()
}

pub(crate) fn certificates_of(tls: &TlsSides) -> Vec<CertificateExpiry> {
    let one = |name, side: &TlsSide| CertificateExpiry {
        name,
        not_after_unix_s: side.not_after_unix(),
    };
    tls.inside
        .iter()
        .map(|side| one("inside", side))
        .chain([one("outside", &tls.outside)])
        .collect()
}
