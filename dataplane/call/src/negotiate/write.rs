//! Writing a description for the other side: addresses, ports, profiles and keys are ours, all else is kept in order.

use std::fmt::Write as _;
use std::net::IpAddr;

use rand::Rng;
use rand::rngs::StdRng;
use tollgate_contract::Side;
use tollgate_sip::sdp::{Line, Media, Session, crypto_line};

use super::stream::Stream;
use crate::alg::holds_address;

/// Attributes that speak of the other leg's transport and would be wrong, or leak, on this one.
const DROPPED: [&str; 13] = [
    "crypto",
    "rtcp",
    "rtcp-mux",
    "rtcp-mux-only",
    "candidate",
    "remote-candidates",
    "end-of-candidates",
    "ice-ufrag",
    "ice-pwd",
    "ice-options",
    "ice-lite",
    "fingerprint",
    "setup",
];

/// Whether an offer or an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Offer,
    Answer,
}

/// The o= line of one leg: ours and constant, its version one up exactly when the description differs.
#[derive(Debug)]
pub(super) struct Origin {
    session: u64,
    version: u64,
    last: String,
}

impl Origin {
    pub(super) fn new(rng: &mut StdRng) -> Self {
        // RFC 8866 §5.2: numeric; kept below 2^63 for peers that read it signed.
        Self {
            session: rng.random::<u64>() >> 1,
            version: 1,
            last: String::new(),
        }
    }

    /// Puts the o= line in place of its mark.
    pub(super) fn stamp(&mut self, description: &Description) -> Vec<u8> {
        if self.last != description.text {
            if !self.last.is_empty() {
                self.version += 1;
            }
            self.last.clone_from(&description.text);
        }
        let origin = format!(
            "o=- {} {} {}\r\n",
            self.session,
            self.version,
            address(description.ours)
        );
        description.text.replacen(ORIGIN_MARK, &origin, 1).into_bytes()
    }
}

/// A description complete but for its o= line.
pub(super) struct Description {
    text: String,
    ours: IpAddr,
}

/// No line of a parsed description can begin with this letter.
const ORIGIN_MARK: &str = "O\r\n";

/// The description that `side` gets for what the other side wrote.
pub(super) fn describe(
    session: &Session<'_>,
    streams: &[Stream],
    side: Side,
    role: Role,
    otherwise: IpAddr,
) -> Description {
    // A stream with a c= of its own may be of another address family than the session's.
    let in_use = || session.media.iter().zip(streams).filter(|(_, stream)| !stream.disabled);
    let of_session = in_use().filter(|(media, _)| !has_connection(media));
    let ours = of_session
        .chain(in_use())
        .find_map(|(_, stream)| stream.pairs[side.index()]);
    let ours = ours.map_or(otherwise, |pair| pair.advertised);
    let hidden = match side {
        Side::Outside => addresses(session),
        Side::Inside => Vec::new(),
    };
    let mut out = String::with_capacity(1_024);
    for line in &session.lines {
        match line.kind {
            b'o' => out.push_str(ORIGIN_MARK),
            b'c' => push_connection(&mut out, line, ours),
            _ => push_line(&mut out, line, &hidden),
        }
    }
    for (media, stream) in session.media.iter().zip(streams) {
        push_media(&mut out, media, stream, (side, role), ours, &hidden);
    }
    Description { text: out, ours }
}

/// The addresses where the writer is and wants its media.
fn addresses(session: &Session<'_>) -> Vec<String> {
    let media = session.media.iter().flat_map(|media| &media.lines);
    let lines = session.lines.iter().chain(media);
    let words = lines
        .filter(|line| matches!(line.kind, b'o' | b'c'))
        .filter_map(|line| line.value.rsplit(' ').next());
    words
        .filter(|word| word.parse::<IpAddr>().is_ok_and(|ip| !ip.is_unspecified()))
        .map(str::to_owned)
        .collect()
}

fn push_media(
    out: &mut String,
    media: &Media<'_>,
    stream: &Stream,
    (side, role): (Side, Role),
    ours: IpAddr,
    hidden: &[String],
) {
    let port = match stream.pairs[side.index()] {
        Some(pair) if !stream.disabled => pair.port,
        _ => 0,
    };
    let proto = match role {
        Role::Answer => stream.party[side.index()].proto.as_str(),
        Role::Offer if media.is_rtp() => profile_for(side, media.proto),
        Role::Offer => media.proto,
    };
    let _ = write!(out, "m={} {port} {proto} {}\r\n", media.kind, media.formats);
    let ours = stream.pairs[side.index()].map_or(ours, |pair| pair.advertised);
    for line in &media.lines {
        match line.kind {
            b'c' => push_connection(out, line, ours),
            _ => push_line(out, line, hidden),
        }
    }
    if side == Side::Outside && port != 0 {
        for (tag, suite, key) in stream.crypto_for(role) {
            let _ = write!(out, "a={}\r\n", crypto_line(tag, suite, key));
        }
    }
}

/// Outside the profile is secure, inside it is plain; feedback (RFC 4585) is kept.
fn profile_for(side: Side, proto: &str) -> &'static str {
    match (side, proto.ends_with('F')) {
        (Side::Outside, false) => "RTP/SAVP",
        (Side::Outside, true) => "RTP/SAVPF",
        (Side::Inside, false) => "RTP/AVP",
        (Side::Inside, true) => "RTP/AVPF",
    }
}

/// Our address in place of theirs; the unspecified one of an old-style hold stays (RFC 3264 §8.4).
fn has_connection(media: &Media<'_>) -> bool {
    media.lines.iter().any(|line| line.kind == b'c')
}

fn push_connection(out: &mut String, line: &Line<'_>, ours: IpAddr) {
    let holds = line
        .value
        .rsplit(' ')
        .next()
        .and_then(|ip| ip.parse::<IpAddr>().ok())
        .is_some_and(|ip| ip.is_unspecified());
    let shown = match (holds, ours) {
        (false, ours) => ours,
        (true, IpAddr::V4(_)) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        (true, IpAddr::V6(_)) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let _ = write!(out, "c={}\r\n", address(shown));
}

/// A line as it came, unless it is of the other leg's transport, or tells an address that this side is not to see.
fn push_line(out: &mut String, line: &Line<'_>, hidden: &[String]) {
    let shows = |address: &String| holds_address(line.value.as_bytes(), address.as_bytes());
    if hidden.iter().any(shows) {
        if line.kind == b's' {
            out.push_str("s=-\r\n");
        }
    } else if line.kind != b'a' || !is_dropped(line) {
        let _ = write!(out, "{}={}\r\n", char::from(line.kind), line.value);
    }
}

fn is_dropped(line: &Line<'_>) -> bool {
    DROPPED.iter().any(|name| line.attribute(name).is_some()) || line.value.starts_with("group:BUNDLE")
}

fn address(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("IN IP4 {ip}"),
        IpAddr::V6(ip) => format!("IN IP6 {ip}"),
    }
}
