//! Offer/answer between plain RTP inside and SRTP outside (RFC 3264, RFC 4568, calls.md 5).
//!
//! It decides ports, keys and addresses per m= line and writes the description the other side gets. It sends nothing:
//! flows change only when an exchange is complete, and an exchange that fails leaves everything as it was.

mod stream;
mod write;

use std::time::Duration;

use rand::rngs::StdRng;
use tollgate_contract::{MediaPolicy, MediaView, Now, RtcpPolicy, Side};
use tollgate_media::{FlowId, FlowTable};
use tollgate_sip::sdp::{InvalidSdp, Session};

use self::stream::Stream;
use self::write::{Origin, Role};
use crate::ports::PortPool;

/// Most forks of a call whose answers are remembered.
const MAX_ANSWERS: usize = 8;

/// Why a description cannot be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SdpRefusal {
    /// It does not parse.
    Invalid(InvalidSdp),
    /// RTP without SRTP outside (product.md 6.1).
    PlainRtp,
    /// No crypto line of a stream can be used, or an answer's is not one we offered.
    Crypto,
    /// SRTP keyed in the description inside, where this edge speaks plain RTP.
    SecureInside,
    /// An answer that does not fit its offer.
    Answer(&'static str),
    /// Nothing of the offer can be carried.
    NothingLeft,
    /// An offer while another is open.
    Pending,
    /// A later offer moves a stream to the other address family, where it has no ports.
    Family,
    /// No free ports or flows.
    NoPorts,
}

impl SdpRefusal {
    /// The status the writer of the description gets.
    #[must_use]
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::Pending => 491,
            Self::NoPorts => 503,
            Self::Invalid(_)
            | Self::PlainRtp
            | Self::Crypto
            | Self::SecureInside
            | Self::Family
            | Self::Answer(_)
            | Self::NothingLeft => 488,
        }
    }

    /// The reason in records and metrics.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Invalid(_) => "bad_sdp",
            Self::PlainRtp => "plain_rtp",
            Self::Crypto => "no_usable_crypto",
            Self::SecureInside => "srtp_inside",
            Self::Answer(_) => "bad_answer",
            Self::NothingLeft => "no_usable_stream",
            Self::Pending => "offer_pending",
            Self::Family => "address_family",
            Self::NoPorts => "no_ports",
        }
    }
}

/// What negotiation draws on; borrowed from the worker for one message.
#[derive(Debug)]
pub(crate) struct Resources<'w> {
    /// The moment.
    pub now: Now,
    /// Port pairs.
    pub ports: &'w mut PortPool,
    /// Flows.
    pub flows: &'w mut FlowTable,
    /// Randomness for keys.
    pub rng: &'w mut StdRng,
}

/// How a description came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier<'m> {
    /// In a request other than ACK, of this server transaction.
    Request(u64),
    /// In a response with this To tag, to the request of this server transaction.
    Response(u64, &'m [u8]),
    /// In an ACK.
    Ack,
}

#[derive(Debug, Default)]
enum Exchange {
    #[default]
    Idle,
    Offered {
        by: Side,
        owner: u64,
        proposal: Vec<Stream>,
    },
    Answered {
        by: Side,
        owner: u64,
        proposal: Vec<Stream>,
        answers: Vec<ForkAnswer>,
        selected: usize,
    },
}

/// The answer of one early dialog: how it was passed on, and the media it would put in force.
#[derive(Debug)]
struct ForkAnswer {
    tag: Vec<u8>,
    sdp: Vec<u8>,
    streams: Vec<Stream>,
}

/// The media of one call.
#[derive(Debug)]
pub(crate) struct Negotiation {
    policy: MediaPolicy,
    families: [bool; 2],
    origins: [Origin; 2],
    streams: Vec<Stream>,
    exchange: Exchange,
    answered: bool,
    finished: Vec<MediaView>,
    key_kept_on_move: u32,
    direction_changed: bool,
}

impl Negotiation {
    /// Media of a new call. `families` says per side whether its addresses are IPv4.
    #[must_use]
    pub(crate) fn new(policy: MediaPolicy, families: [bool; 2], rng: &mut StdRng) -> Self {
        let origins = [Origin::new(rng), Origin::new(rng)];
        Self {
            policy,
            families,
            origins,
            streams: Vec::new(),
            exchange: Exchange::Idle,
            answered: false,
            finished: Vec::new(),
            key_kept_on_move: 0,
            direction_changed: false,
        }
    }

    /// A description from a side. Returns what the other side gets, or `None` if it gets none (calls.md 5: SDP in an
    /// ACK after a complete exchange).
    ///
    /// # Errors
    /// [`SdpRefusal`]; then nothing has changed.
    pub(crate) fn handle(
        &mut self,
        res: &mut Resources<'_>,
        from: Side,
        carrier: Carrier<'_>,
        body: &[u8],
    ) -> Result<Option<Vec<u8>>, SdpRefusal> {
        let is_answer = matches!(&self.exchange, Exchange::Offered { by, .. } if *by == from.other());
        match (carrier, &self.exchange) {
            (Carrier::Request(_), Exchange::Offered { .. }) => Err(SdpRefusal::Pending),
            (Carrier::Request(owner), Exchange::Idle | Exchange::Answered { .. }) => {
                self.offer(res, from, owner, body).map(Some)
            }
            (Carrier::Response(owner, tag), Exchange::Offered { owner: of, .. }) if is_answer && *of == owner => {
                self.answer(res, from, tag, body).map(Some)
            }
            (
                Carrier::Response(owner, tag),
                Exchange::Answered {
                    by, answers, owner: of, ..
                },
            ) if *by != from && *of == owner => match answers.iter().position(|answer| answer.tag == tag) {
                Some(at) => Ok(Some(self.select(res, at))),
                None => self.answer(res, from, tag, body).map(Some),
            },
            (Carrier::Response(owner, _), Exchange::Idle | Exchange::Answered { .. }) => {
                self.offer(res, from, owner, body).map(Some)
            }
            (Carrier::Response(..), Exchange::Offered { .. }) => Err(SdpRefusal::Pending),
            (Carrier::Ack, _) if is_answer => self.answer(res, from, b"", body).map(Some),
            (Carrier::Ack, _) => Ok(None),
        }
    }

    /// Whether an offer waits for its answer.
    #[must_use]
    pub(crate) fn is_offer_open(&self) -> bool {
        matches!(self.exchange, Exchange::Offered { .. })
    }

    /// Whether the open or just answered offer came with the request of this server transaction.
    #[must_use]
    pub(crate) fn is_offer_of(&self, server: u64) -> bool {
        match &self.exchange {
            Exchange::Offered { owner, .. } | Exchange::Answered { owner, .. } => *owner == server,
            Exchange::Idle => false,
        }
    }

    /// Whether this side made the open offer.
    #[must_use]
    pub(crate) fn offered_by(&self) -> Option<Side> {
        match &self.exchange {
            Exchange::Offered { by, .. } => Some(*by),
            Exchange::Idle | Exchange::Answered { .. } => None,
        }
    }

    /// The transaction that carried an offer is over with a refusal: what it proposed is forgotten.
    pub(crate) fn roll_back(&mut self, res: &mut Resources<'_>, owner: u64) {
        match &self.exchange {
            Exchange::Offered { owner: of, .. } if *of == owner => {
                let Exchange::Offered { proposal, .. } = std::mem::take(&mut self.exchange) else {
                    return;
                };
                self.release_what_is_not_in_force(res, &proposal);
            }
            Exchange::Answered { owner: of, .. } if *of == owner => self.exchange = Exchange::Idle,
            Exchange::Idle | Exchange::Offered { .. } | Exchange::Answered { .. } => {}
        }
    }

    /// The call was answered, or an INVITE inside it was: its exchange is closed, and media is expected from now on.
    pub(crate) fn on_answered(&mut self, res: &mut Resources<'_>) {
        if matches!(self.exchange, Exchange::Answered { .. }) {
            self.exchange = Exchange::Idle;
        }
        if !self.answered {
            self.answered = true;
            self.apply(res);
        }
    }

    /// Gives every port and flow back. Returns what was measured.
    pub(crate) fn end(&mut self, res: &mut Resources<'_>) -> Vec<MediaView> {
        if let Exchange::Offered { proposal, .. } = std::mem::take(&mut self.exchange) {
            self.release_what_is_not_in_force(res, &proposal);
        }
        for (index, stream) in std::mem::take(&mut self.streams).into_iter().enumerate() {
            self.retire(res, index, &stream);
        }
        std::mem::take(&mut self.finished)
    }

    /// The m= lines as they stand, those that ended first.
    #[must_use]
    pub(crate) fn views(&self, flows: &FlowTable) -> Vec<MediaView> {
        let live = self
            .streams
            .iter()
            .enumerate()
            .filter_map(|(index, stream)| stream.view(index, flows));
        self.finished.iter().cloned().chain(live).collect()
    }

    /// The flows in force, with whether each is audio.
    pub(crate) fn flows(&self) -> impl Iterator<Item = (FlowId, bool)> {
        self.streams
            .iter()
            .filter_map(|stream| Some((stream.flow?, stream.kind == "audio")))
    }

    /// Times a peer kept its key over a change of its address, since the last call of this function.
    pub(crate) fn take_keys_kept_on_move(&mut self) -> u32 {
        std::mem::take(&mut self.key_kept_on_move)
    }

    /// Whether somebody was put on hold or taken off it since the last call of this function.
    pub(crate) fn take_direction_changed(&mut self) -> bool {
        std::mem::take(&mut self.direction_changed)
    }

    fn offer(&mut self, res: &mut Resources<'_>, by: Side, owner: u64, body: &[u8]) -> Result<Vec<u8>, SdpRefusal> {
        let session = Session::parse(body).map_err(SdpRefusal::Invalid)?;
        if session.media.len() < self.streams.len() {
            return Err(SdpRefusal::Answer("fewer m= lines than before"));
        }
        let mut proposal = self.streams.clone();
        let mut moved = 0;
        for (index, media) in session.media.iter().enumerate() {
            if index == proposal.len() {
                proposal.push(Stream::new(media.kind));
            }
            proposal[index].take_offer(by, media, &self.policy)?;
            if let Some(before) = self.streams.get(index) {
                moved += u32::from(proposal[index].keeps_key_on_move(before, by, media));
            }
        }
        let wanted = session.media.iter().any(|media| media.port != 0);
        if wanted && proposal.iter().all(|stream| stream.disabled) {
            return Err(SdpRefusal::NothingLeft);
        }
        if let Err(refusal) = self.equip(res, &mut proposal) {
            self.release_what_is_not_in_force(res, &proposal);
            return Err(refusal);
        }
        self.key_kept_on_move += moved;
        let out = write::describe(
            &session,
            &proposal,
            by.other(),
            Role::Offer,
            self.fallback_address(by.other()),
        );
        let out = self.origins[by.other().index()].stamp(&out);
        self.exchange = Exchange::Offered { by, owner, proposal };
        Ok(out)
    }

    fn answer(&mut self, res: &mut Resources<'_>, from: Side, tag: &[u8], body: &[u8]) -> Result<Vec<u8>, SdpRefusal> {
        let session = Session::parse(body).map_err(SdpRefusal::Invalid)?;
        let (Exchange::Offered { proposal, .. } | Exchange::Answered { proposal, .. }) = &self.exchange else {
            return Err(SdpRefusal::Answer("no offer is open"));
        };
        if session.media.len() != proposal.len() {
            return Err(SdpRefusal::Answer("another number of m= lines"));
        }
        let mut streams = proposal.clone();
        let mut moved = 0;
        for ((stream, media), before) in streams.iter_mut().zip(&session.media).zip(&self.streams) {
            moved += u32::from(stream.keeps_key_on_move(before, from, media));
        }
        for (stream, media) in streams.iter_mut().zip(&session.media) {
            stream.take_answer(from, media)?;
        }
        self.key_kept_on_move += moved;
        let to = from.other();
        let out = write::describe(&session, &streams, to, Role::Answer, self.fallback_address(to));
        let out = self.origins[to.index()].stamp(&out);
        self.remember_answer(ForkAnswer {
            tag: tag.to_vec(),
            sdp: out.clone(),
            streams: streams.clone(),
        });
        self.commit(res, streams);
        Ok(out)
    }

    fn remember_answer(&mut self, answer: ForkAnswer) {
        self.exchange = match std::mem::take(&mut self.exchange) {
            Exchange::Offered { by, owner, proposal } => Exchange::Answered {
                by,
                owner,
                proposal,
                answers: vec![answer],
                selected: 0,
            },
            Exchange::Answered {
                by,
                owner,
                proposal,
                mut answers,
                ..
            } => {
                if answers.len() >= MAX_ANSWERS {
                    answers.remove(0);
                }
                answers.push(answer);
                let selected = answers.len() - 1;
                Exchange::Answered {
                    by,
                    owner,
                    proposal,
                    answers,
                    selected,
                }
            }
            Exchange::Idle => Exchange::Idle,
        };
    }

    /// An early dialog that answered before says so again: the same description goes on, and media goes to that fork
    /// even if another spoke in between (calls.md 5).
    fn select(&mut self, res: &mut Resources<'_>, at: usize) -> Vec<u8> {
        let Exchange::Answered { answers, selected, .. } = &mut self.exchange else {
            return Vec::new();
        };
        let Some(answer) = answers.get(at) else {
            return Vec::new();
        };
        let (sdp, mut streams) = (answer.sdp.clone(), answer.streams.clone());
        if *selected != at {
            *selected = at;
            for (stream, now) in streams.iter_mut().zip(&self.streams) {
                (stream.pairs, stream.flow) = (now.pairs, now.flow);
            }
            self.commit(res, streams);
        }
        sdp
    }

    /// Gives every stream in use its ports, its flow and our keys.
    fn equip(&self, res: &mut Resources<'_>, proposal: &mut [Stream]) -> Result<(), SdpRefusal> {
        for stream in proposal.iter_mut().filter(|stream| !stream.disabled) {
            for side in [Side::Inside, Side::Outside] {
                if !stream.fits_family(side) {
                    return Err(SdpRefusal::Family);
                }
                if stream.pairs[side.index()].is_none() {
                    // The party's own family where it has told it (RFC 3264 leaves an answer no other), else the signalling's.
                    let told = stream.party[side.index()].rtp.map(|rtp| rtp.is_ipv4());
                    let is_ipv4 = told.unwrap_or_else(|| self.families[side.index()]);
                    if !res.ports.has_family(side, is_ipv4) {
                        return Err(SdpRefusal::Family);
                    }
                    let pair = res.ports.take(res.now.instant, side, is_ipv4);
                    stream.pairs[side.index()] = Some(pair.ok_or(SdpRefusal::NoPorts)?);
                }
            }
            stream.make_keys(&self.policy, res.rng);
            if stream.flow.is_none() {
                let spec = stream
                    .spec(false, false, self.relays_rtcp())
                    .ok_or(SdpRefusal::NoPorts)?;
                stream.flow = Some(res.flows.install(res.now, spec).map_err(|_| SdpRefusal::NoPorts)?);
            }
        }
        Ok(())
    }

    fn commit(&mut self, res: &mut Resources<'_>, mut streams: Vec<Stream>) {
        let before = std::mem::take(&mut self.streams);
        for (index, stream) in streams.iter_mut().enumerate() {
            if stream.disabled {
                let ended = stream.take_resources();
                self.retire(res, index, &ended);
                self.withdraw(index);
            }
        }
        for (index, old) in before.iter().enumerate().skip(streams.len()) {
            self.retire(res, index, old);
        }
        let flows_on = |(old, new): (&Stream, &Stream)| old.flows_like(new);
        self.direction_changed |= !before.iter().zip(&streams).all(flows_on);
        self.streams = streams;
        self.apply(res);
    }

    /// What one fork's answer ended is not there for the answer of another.
    fn withdraw(&mut self, index: usize) {
        if let Exchange::Answered { proposal, .. } = &mut self.exchange
            && let Some(stream) = proposal.get_mut(index)
        {
            (stream.pairs, stream.flow) = ([None; 2], None);
        }
    }

    fn apply(&self, res: &mut Resources<'_>) {
        for stream in &self.streams {
            if let (Some(flow), Some(spec)) = (stream.flow, stream.spec(true, self.answered, self.relays_rtcp())) {
                res.flows.update(res.now, flow, spec);
            }
        }
    }

    fn release_what_is_not_in_force(&self, res: &mut Resources<'_>, proposal: &[Stream]) {
        for (index, stream) in proposal.iter().enumerate() {
            let in_force = self.streams.get(index);
            if in_force.is_none_or(|kept| kept.flow != stream.flow)
                && let Some(flow) = stream.flow
            {
                res.flows.remove(flow);
            }
            for (at, pair) in stream.pairs.iter().enumerate() {
                if let Some(pair) = pair
                    && in_force.is_none_or(|kept| kept.pairs[at] != Some(*pair))
                {
                    res.ports.give_back(res.now.instant, *pair, Duration::ZERO);
                }
            }
        }
    }

    fn retire(&mut self, res: &mut Resources<'_>, index: usize, stream: &Stream) {
        if let Some(view) = stream.view(index, res.flows)
            && self.finished.len() < tollgate_sip::sdp::MAX_MEDIA
        {
            self.finished.push(view);
        }
        if let Some(flow) = stream.flow {
            res.flows.remove(flow);
        }
        for pair in stream.pairs.iter().flatten() {
            res.ports.give_back(res.now.instant, *pair, self.policy.port_quarantine);
        }
    }

    fn relays_rtcp(&self) -> bool {
        self.policy.rtcp == RtcpPolicy::Relay
    }

    /// The address for o= and c= when no stream of the description is in use: that of any stream, else unspecified.
    fn fallback_address(&self, side: Side) -> std::net::IpAddr {
        let of_a_stream = self.streams.iter().find_map(|stream| stream.pairs[side.index()]);
        match of_a_stream {
            Some(pair) => pair.advertised,
            None if self.families[side.index()] => std::net::Ipv4Addr::UNSPECIFIED.into(),
            None => std::net::Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}
