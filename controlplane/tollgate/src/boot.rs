//! From a policy to a running data plane: the one place where both planes' words are translated.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use rand::RngCore;
use tollgate_call::transport::{Listener, LocalAddresses};
use tollgate_call::{CallIdCodec, CallTable, CallTableConfig, PortPair};
use tollgate_contract::counters::WorkerCounters;
use tollgate_contract::publish::Publisher;
use tollgate_contract::{Report, Side, Snapshot, Transport, WireAddr};
use tollgate_control::CertificateExpiry;
use tollgate_media::SocketId;
use tollgate_policy::{CertificateFiles, Policy};
use tollgate_runtime::tls::{ClientAuth, TlsError, TlsFiles, TlsSide};
use tollgate_runtime::{Dataplane, MediaPair, MediaRange, RuntimeConfig, RuntimeLimits, StartError, media_layout};

use crate::core::EdgeCore;
use crate::plane::EdgePlane;
use crate::steering::EdgeSteering;

/// Why an edge does not start.
#[derive(Debug)]
pub(crate) enum BootError {
    /// Certificates or keys of a side.
    Tls(&'static str, TlsError),
    /// Sockets, ports, threads.
    Start(StartError),
}

impl std::fmt::Display for BootError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tls(side, why) => write!(f, "{side}.tls: {why}"),
            Self::Start(why) => write!(f, "{why}"),
        }
    }
}

/// The TLS settings of a policy's sides; `check` builds them too.
pub(crate) struct TlsSides {
    pub(crate) inside: Option<TlsSide>,
    pub(crate) outside: TlsSide,
}

/// Reads and checks the certificates of a policy.
pub(crate) fn tls_of(policy: &Policy) -> Result<TlsSides, BootError> {
    let files = |files: &CertificateFiles| TlsFiles {
        certificates: files.certificate.clone(),
        key: files.private_key.clone(),
        roots: files.trust_roots.clone(),
    };
    let outside = TlsSide::from_files(&files(&policy.outside.tls), ClientAuth::Required);
    let inside = policy
        .inside
        .tls
        .as_ref()
        .map(|tls| TlsSide::from_files(&files(&tls.files), ClientAuth::NotAsked));
    Ok(TlsSides {
        inside: inside.transpose().map_err(|why| BootError::Tls("inside", why))?,
        outside: outside.map_err(|why| BootError::Tls("outside", why))?,
    })
}

/// Starts the data plane of a policy.
pub(crate) fn boot(
    policy: &Policy,
    snapshot: Snapshot,
    reports: SyncSender<Report>,
) -> Result<(EdgePlane, Publisher), BootError> {
    let tls = tls_of(policy)?;
    let certificates = certificates_of(&tls);
    let workers = worker_count(policy);
    let config = RuntimeConfig {
        local: local_addresses(policy),
        tls_outside: Some(tls.outside),
        tls_inside: tls.inside,
        media: media_ranges(policy),
        workers,
        limits: RuntimeLimits::default(),
    };
    let layout = media_layout(&config.media, workers).map_err(|why| BootError::Start(why.into()))?;
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
    let handle = handle.map_err(BootError::Start)?;
    Ok((
        EdgePlane {
            handle,
            counters,
            certificates,
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
    });
    let outside = policy.outside.listeners.iter().map(|listener| Listener {
        side: Side::Outside,
        transport: Transport::Tls,
        address: WireAddr {
            bound: listener.bind,
            advertised: listener.advertised,
        },
    });
    LocalAddresses {
        listeners: inside.chain(outside).collect(),
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

fn certificates_of(tls: &TlsSides) -> Vec<CertificateExpiry> {
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
