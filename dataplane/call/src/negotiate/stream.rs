//! One m= line of a call: what each party described, our ports, our keys.

use std::net::SocketAddr;

use rand::RngCore;
use rand::rngs::StdRng;
use tollgate_contract::{DirectionQuality, MediaPolicy, MediaView, Secret, Side, SrtpSuite};
use tollgate_media::{CodecHint, FlowId, FlowSpec, FlowTable, LegSpec, MasterKey, Protection};
use tollgate_sip::sdp::{CryptoLine, Media};

use super::SdpRefusal;
use super::write::Role;
use crate::ports::PortPair;

/// What one party's last description says of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PartyMedia {
    pub(super) rtp: Option<SocketAddr>,
    pub(super) rtcp: Option<SocketAddr>,
    pub(super) proto: String,
    sends: bool,
    receives: bool,
}

/// A sending key of ours, made once for a suite and repeated unchanged (calls.md 5).
#[derive(Clone, Debug, PartialEq, Eq)]
struct SendKey {
    tag: u32,
    suite: SrtpSuite,
    key_and_salt: Secret,
}

#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) kind: String,
    pub(super) pairs: [Option<PortPair>; 2],
    pub(super) flow: Option<FlowId>,
    pub(super) party: [PartyMedia; 2],
    pub(super) disabled: bool,
    send_keys: Vec<SendKey>,
    active: Option<(u32, SrtpSuite)>,
    receive: Option<MasterKey>,
    codec: CodecHint,
    /// What the last offer's payload types are, by number and by name.
    offered: Vec<String>,
}

impl Stream {
    pub(super) fn new(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            pairs: [None; 2],
            flow: None,
            party: Default::default(),
            disabled: false,
            send_keys: Vec::new(),
            active: None,
            receive: None,
            codec: CodecHint::default(),
            offered: Vec::new(),
        }
    }

    /// What `by` offers for this stream. A profile that is not RTP, and port 0, leave it disabled.
    pub(super) fn take_offer(&mut self, by: Side, media: &Media<'_>, policy: &MediaPolicy) -> Result<(), SdpRefusal> {
        self.disabled = media.port == 0 || !media.is_rtp();
        self.kind = media.kind.to_owned();
        let before = self.party[by.index()].rtp;
        self.party[by.index()] = describe_party(media);
        self.codec = codec_of(media);
        self.offered = formats_of(media).collect();
        if self.disabled {
            return Ok(());
        }
        match (by, media.is_secure()) {
            (Side::Inside, false) => Ok(()),
            (Side::Inside, true) => Err(SdpRefusal::SecureInside),
            (Side::Outside, false) => Err(SdpRefusal::PlainRtp),
            (Side::Outside, true) => self.take_offered_crypto(media, policy, before),
        }
    }

    /// What `by` answers. The profile must be the one we offered, and outside there is exactly one of our lines.
    pub(super) fn take_answer(&mut self, by: Side, media: &Media<'_>) -> Result<(), SdpRefusal> {
        if media.port == 0 {
            self.disabled = true;
            self.party[by.index()] = describe_party(media);
            return Ok(());
        }
        if self.disabled {
            return Err(SdpRefusal::Answer("a refused stream was answered"));
        }
        // RFC 3264 §6.1: at least one format of the offer; more beside it are the answerer's own.
        if !formats_of(media).any(|format| self.offered.contains(&format)) {
            return Err(SdpRefusal::Answer("no offered format"));
        }
        match (by, media.is_rtp(), media.is_secure()) {
            (Side::Inside, true, false) => {}
            (Side::Outside, true, true) => self.take_answered_crypto(media)?,
            (Side::Inside, ..) | (Side::Outside, false, _) => {
                return Err(SdpRefusal::Answer("another profile"));
            }
            (Side::Outside, true, false) => return Err(SdpRefusal::PlainRtp),
        }
        self.party[by.index()] = describe_party(media);
        self.codec = codec_of(media);
        if self.fits_family(by) {
            Ok(())
        } else {
            Err(SdpRefusal::Answer("another address family"))
        }
    }

    /// Whether a party is where our socket can send to: it is of the socket's address family, or one of the two is not
    /// known yet.
    pub(super) fn fits_family(&self, side: Side) -> bool {
        let (pair, party) = (self.pairs[side.index()], self.party[side.index()].rtp);
        pair.zip(party)
            .is_none_or(|(pair, party)| pair.advertised.is_ipv4() == party.is_ipv4())
    }

    /// calls.md 5: a peer whose address changed must bring a new key; one that does not is served, and counted.
    pub(super) fn keeps_key_on_move(&self, before: &Self, from: Side, media: &Media<'_>) -> bool {
        let now = describe_party(media).rtp;
        let was = before.party[Side::Outside.index()].rtp;
        from == Side::Outside && was.is_some() && now.is_some() && now != was && self.receive.is_some() && {
            let line = media
                .attributes("crypto")
                .next()
                .and_then(|line| CryptoLine::parse(line).ok());
            line.and_then(|line| master_key(&line))
                .is_some_and(|key| before.receive.as_ref() == Some(&key))
        }
    }

    /// Whether media flows in the same directions as in another state of this stream (calls.md 6).
    pub(super) fn flows_like(&self, other: &Self) -> bool {
        let directions = |party: &PartyMedia| (party.sends, party.receives, party.rtp.is_some());
        self.party.iter().map(directions).eq(other.party.iter().map(directions))
    }

    /// Makes our keys: one for the active suite, or one for each we may offer.
    pub(super) fn make_keys(&mut self, policy: &MediaPolicy, rng: &mut StdRng) {
        let wanted: Vec<(u32, SrtpSuite)> = match self.active {
            Some(active) => vec![active],
            None => policy
                .suites
                .iter()
                .zip(1..)
                .map(|(suite, tag)| (tag, *suite))
                .collect(),
        };
        for (tag, suite) in wanted {
            match self.send_keys.iter_mut().find(|key| key.suite == suite) {
                Some(known) => known.tag = tag,
                None => {
                    let mut bytes = vec![0; suite.key_len() + suite.salt_len()];
                    rng.fill_bytes(&mut bytes);
                    self.send_keys.push(SendKey {
                        tag,
                        suite,
                        key_and_salt: Secret::new(bytes),
                    });
                }
            }
        }
    }

    /// The crypto lines to write: the active one, or in a first offer all of ours.
    pub(super) fn crypto_for(&self, role: Role) -> impl Iterator<Item = (u32, SrtpSuite, &Secret)> {
        debug_assert!(
            role == Role::Offer || self.active.is_some(),
            "an answer has its one suite"
        );
        let wanted = self.active;
        self.send_keys
            .iter()
            .filter(move |key| wanted.is_none_or(|(_, suite)| suite == key.suite))
            .map(|key| (key.tag, key.suite, &key.key_and_salt))
    }

    /// The flow this stream wants; `None` while it has no ports.
    pub(super) fn spec(&self, active: bool, answered: bool, relay_rtcp: bool) -> Option<FlowSpec> {
        let leg = |side: Side, protection| {
            let pair = self.pairs[side.index()]?;
            let (party, other) = (&self.party[side.index()], &self.party[side.other().index()]);
            Some(LegSpec {
                rtp: pair.rtp,
                rtcp: pair.rtcp,
                remote_rtp: party.rtp,
                remote_rtcp: party.rtcp,
                protection,
                may_receive: party.sends,
                expects_media: answered && party.sends && other.receives && party.rtp.is_some(),
            })
        };
        let protection = Protection::Srtp {
            send: self.send_key(),
            receive: self.receive.clone().into_iter().collect(),
        };
        let legs = [leg(Side::Inside, Protection::Plain)?, leg(Side::Outside, protection)?];
        Some(FlowSpec {
            legs,
            codec: self.codec.clone(),
            relay_rtcp,
            active,
        })
    }

    /// This stream as people see it; `None` while it has no flow.
    pub(super) fn view(&self, index: usize, flows: &FlowTable) -> Option<MediaView> {
        let stats = flows.stats(self.flow?)?;
        let port = |side: Side| self.pairs[side.index()].map_or(0, |pair| pair.port);
        let quality: [DirectionQuality; 2] = stats.quality;
        Some(MediaView {
            index,
            kind: self.kind.clone(),
            suite: self.active.map(|(_, suite)| suite),
            local: [port(Side::Inside), port(Side::Outside)],
            remote: stats.remote,
            latched: stats.latched,
            quality,
        })
    }

    /// Takes ports, flow and keys out of a stream that has ended, so that they can be given back.
    pub(super) fn take_resources(&mut self) -> Self {
        let ended = self.clone();
        self.pairs = [None; 2];
        self.flow = None;
        self.send_keys.clear();
        self.active = None;
        self.receive = None;
        ended
    }

    fn send_key(&self) -> Option<MasterKey> {
        let (_, suite) = self.active?;
        let key = self.send_keys.iter().find(|key| key.suite == suite)?;
        MasterKey::new(suite, key.key_and_salt.expose()).ok()
    }

    fn take_offered_crypto(
        &mut self,
        media: &Media<'_>,
        policy: &MediaPolicy,
        before: Option<SocketAddr>,
    ) -> Result<(), SdpRefusal> {
        let lines: Vec<CryptoLine> = media
            .attributes("crypto")
            .filter_map(|line| CryptoLine::parse(line).ok())
            .filter(|line| policy.suites.contains(&line.suite))
            .collect();
        let current = self.active.map(|(_, suite)| suite);
        let chosen = lines
            .iter()
            .find(|line| Some(line.suite) == current)
            .or_else(|| lines.first());
        let chosen = chosen.ok_or(SdpRefusal::Crypto)?;
        let key = master_key(chosen).ok_or(SdpRefusal::Crypto)?;
        let moved = before.is_some() && before != self.party[Side::Outside.index()].rtp;
        if moved && self.receive.as_ref().is_some_and(|old| *old != key) {
            // The peer's device moved and said so with a new key: ours is made anew too, ROC 0 (calls.md 5).
            self.send_keys.clear();
        }
        self.active = Some((chosen.tag, chosen.suite));
        self.receive = Some(key);
        Ok(())
    }

    fn take_answered_crypto(&mut self, media: &Media<'_>) -> Result<(), SdpRefusal> {
        let mut lines = media.attributes("crypto");
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Err(SdpRefusal::Crypto);
        };
        let line = CryptoLine::parse(line).map_err(|_| SdpRefusal::Crypto)?;
        let offered = self
            .crypto_for(Role::Offer)
            .any(|(tag, suite, _)| (tag, suite) == (line.tag, line.suite));
        if !offered {
            return Err(SdpRefusal::Crypto);
        }
        self.receive = Some(master_key(&line).ok_or(SdpRefusal::Crypto)?);
        self.active = Some((line.tag, line.suite));
        Ok(())
    }
}

fn master_key(line: &CryptoLine) -> Option<MasterKey> {
    let inline = line.keys.first()?;
    let key = MasterKey::new(line.suite, inline.key_and_salt.expose()).ok()?;
    match inline.mki {
        None => Some(key),
        Some((value, length)) => {
            let bytes = value.to_be_bytes();
            let mut mki = vec![0; usize::from(length).saturating_sub(bytes.len())];
            mki.extend_from_slice(bytes.get(bytes.len().saturating_sub(usize::from(length))..)?);
            key.with_mki(&mki).ok()
        }
    }
}

fn describe_party(media: &Media<'_>) -> PartyMedia {
    let address = media.connection.filter(|ip| media.port != 0 && !ip.is_unspecified());
    PartyMedia {
        rtp: address.map(|ip| SocketAddr::new(ip, media.port)),
        rtcp: address.map(|ip| SocketAddr::new(ip, media.rtcp_port())),
        proto: media.proto.to_owned(),
        sends: media.port != 0 && media.direction.sends(),
        receives: media.port != 0 && media.direction.receives(),
    }
}

fn codec_of(media: &Media<'_>) -> CodecHint {
    let formats = media
        .formats
        .split_ascii_whitespace()
        .filter_map(|format| format.parse::<u8>().ok());
    let names: Vec<(u8, &str)> = media.attributes("rtpmap").filter_map(rtpmap).collect();
    CodecHint::new(formats.map(|format| {
        (
            format,
            names.iter().find(|(pt, _)| *pt == format).map(|(_, name)| *name),
        )
    }))
}

/// The payload types of a stream as the other side may know them again: by number, and by name and clock rate, since an
/// answer may number a dynamic one anew (RFC 3264 §6.1).
fn formats_of<'m>(media: &'m Media<'_>) -> impl Iterator<Item = String> + 'm {
    let numbers = media.formats.split_ascii_whitespace().map(str::to_owned);
    let names = media.attributes("rtpmap").filter_map(|value| {
        let (_, name) = value.split_once(' ')?;
        Some(name.trim().to_ascii_lowercase())
    });
    numbers.chain(names)
}

fn rtpmap(value: &str) -> Option<(u8, &str)> {
    let (format, name) = value.split_once(' ')?;
    Some((format.parse().ok()?, name))
}
