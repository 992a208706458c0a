//! Fuzz bodies: ordinary functions, replayable on stable from a seed.
//!
//! A script is a list of messages, packets and pauses, legal and not, drawn from a seed and played against a small
//! model: ports never exceed those of live calls, nothing unauthenticated passes, nothing is left at the end.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tollgate_contract::{Side, SrtpSuite, Transport, Way};

use crate::message::Message;
use crate::packet::{INSIDE_SSRC, OUTSIDE_SSRC, rtp};
use crate::sdp::{Sdp, heard};
use crate::trapezoid::{Setup, Talk, Trapezoid};

/// Steps of one script.
const STEPS: usize = 60;

/// Port pairs of a side that one call may hold: as many m= lines as a script offers.
const STREAMS_PER_CALL: usize = 2;

/// Plays the script of a seed to its end and 40 s beyond.
///
/// # Panics
/// If the edge panics or breaks the model.
pub fn play(seed: u64) {
    let mut script = Script::new(seed);
    for _ in 0..STEPS {
        script.one_step();
        script.check_ports();
    }
    script.end();
}

/// Feeds a message cut at every length, and with each of its bytes changed in turn.
///
/// # Panics
/// If the edge does.
pub fn mutilate(bed: &mut Trapezoid, side: Side, bytes: &[u8]) {
    // What is changed may be answered with its own faults, and no description is known as one by another name.
    (bed.seeks_faults, bed.seeks_leaks) = (false, false);
    for len in 0..bytes.len() {
        bed.send_bytes(side, bytes[..len].to_vec());
    }
    for at in 0..bytes.len() {
        for changed in [0, b'\n', b';', 0xff, bytes[at] ^ 0x20] {
            let mut copy = bytes.to_vec();
            copy[at] = changed;
            bed.send_bytes(side, copy);
        }
    }
    for side in [Side::Inside, Side::Outside] {
        bed.take(side);
    }
    (bed.seeks_faults, bed.seeks_leaks) = (true, true);
}

struct Script {
    bed: Trapezoid,
    rng: StdRng,
    /// What each side has received and might answer, repeat or contradict.
    received: [Vec<Message>; 2],
    talk: Option<Talk>,
    sequence: u16,
}

impl Script {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let setup = Setup {
            inside: if rng.random() { Transport::Udp } else { Transport::Tcp },
            inside_is_ipv6: rng.random_ratio(1, 8),
            outside_is_ipv6: rng.random_ratio(1, 8),
            seed: seed as u8,
            ..Setup::default()
        };
        let mut bed = setup.build();
        bed.start_ticking();
        let talk = rng.random_ratio(2, 3).then(|| {
            let way = if rng.random() { Way::Outbound } else { Way::Inbound };
            bed.answered(way)
        });
        Self {
            bed,
            rng,
            received: [Vec::new(), Vec::new()],
            talk,
            sequence: 0,
        }
    }

    fn one_step(&mut self) {
        let side = if self.rng.random() { Side::Inside } else { Side::Outside };
        match self.rng.random_range(0..12) {
            0 => drop(self.invite(side)),
            1..4 => self.answer(side),
            4 => self.follow_up(side),
            5..7 => self.in_dialog(side),
            7 => self.odd(side),
            8..10 => self.packets(),
            10 => self.send_failure(side),
            _ => self.pause(),
        }
        for side in [Side::Inside, Side::Outside] {
            for sent in self.bed.take(side) {
                self.bed.party(side).hear(&sent.message);
                self.received[side.index()].push(sent.message);
            }
            let surplus = self.received[side.index()].len().saturating_sub(8);
            self.received[side.index()].drain(..surplus);
        }
    }

    fn invite(&mut self, side: Side) -> Message {
        let sdp = self.sdp(side);
        self.bed.invite(side, sdp.as_deref())
    }

    /// A request that came is answered, whether or not it was before.
    fn answer(&mut self, side: Side) {
        let requests = self.received[side.index()]
            .iter()
            .filter(|message| !message.method().is_empty());
        let requests: Vec<Message> = requests.cloned().collect();
        let Some(request) = requests.choose(&mut self.rng).cloned() else {
            return;
        };
        let status = *[100, 180, 183, 200, 200, 200, 302, 404, 486, 487, 491, 503, 603]
            .choose(&mut self.rng)
            .expect("not empty");
        let sdp = match (side, heard_crypto(&request.body)) {
            (Side::Outside, Some((tag, suite))) => {
                let wrong = u32::from(self.rng.random_ratio(1, 8));
                let key = crate::key(suite, self.rng.random_range(1..4));
                Some(Sdp::secure(self.bed.peer.media, tag + wrong, suite, &key).text())
            }
            (Side::Inside | Side::Outside, _) => self.sdp(side),
        };
        let tag = format!("fork-{}", self.rng.random_range(0..3));
        let party = self.bed.party(side);
        let response = match self.rng.random_ratio(1, 4) {
            true => party.response_tagged(&request, status, sdp.as_deref(), &tag),
            false => party.response(&request, status, sdp.as_deref()),
        };
        self.bed.send(side, &response);
    }

    /// ACK or CANCEL of the last INVITE, or the INVITE again.
    fn follow_up(&mut self, side: Side) {
        let Some(invite) = self.bed.party(side).invite.clone() else {
            return;
        };
        let sdp = self.sdp(side);
        let message = match self.rng.random_range(0..4) {
            0 => self.bed.party(side).cancel(),
            1 => invite,
            2 => self.bed.party(side).ack(sdp.as_deref()),
            _ => self.bed.party(side).ack(None),
        };
        self.bed.send(side, &message);
    }

    fn in_dialog(&mut self, side: Side) {
        let method = *[
            "BYE", "INFO", "UPDATE", "PRACK", "NOTIFY", "REFER", "MESSAGE", "INVITE", "INVITE", "STRANGE",
        ]
        .choose(&mut self.rng)
        .expect("not empty");
        let sdp = matches!(method, "INVITE" | "UPDATE").then(|| self.sdp(side)).flatten();
        let message = match method {
            "INVITE" => self.bed.party(side).reinvite(sdp.as_deref()),
            _ => self.bed.party(side).request(method).with_sdp(sdp.as_deref()),
        };
        self.bed.send(side, &message);
    }

    /// Out of sequence, of another dialog, of another peer, or broken.
    fn odd(&mut self, side: Side) {
        let number = self.rng.random_range(0..1_000);
        let message = self.bed.party(side).numbered("INFO", number);
        let message = match self.rng.random_range(0..4) {
            0 => message,
            1 => message.set("To", "<sip:x@a.example>;tag=unknown"),
            2 => message.set("Call-ID", "nobody-knows-this"),
            _ => message.with("Content-Length", "99999"),
        };
        let kept = self.bed.peer_domains.clone();
        if self.rng.random_ratio(1, 4) {
            self.bed.peer_domains = vec!["evil.example".to_owned()];
        }
        let mut bytes = message.to_bytes();
        if self.rng.random_ratio(1, 4) {
            bytes.truncate(self.rng.random_range(0..bytes.len()));
        }
        self.bed.send_bytes(side, bytes);
        self.bed.peer_domains = kept;
    }

    /// A forged packet never passes; an authentic one may.
    fn packets(&mut self) {
        let Some(talk) = &mut self.talk else { return };
        self.sequence = self.sequence.wrapping_add(self.rng.random_range(1..5));
        let from = self.bed.peer.media;
        let mut forged = talk.far.protect(&rtp(OUTSIDE_SSRC, self.sequence));
        let at = self.rng.random_range(0..forged.len());
        forged[at] ^= 1 << self.rng.random_range(0..8);
        let passed = self.bed.packet(talk.outside_port, from, &forged);
        assert_eq!(passed, None, "an unauthenticated packet was passed on");
        let stranger = "10.0.0.99:4000".parse().expect("an address");
        let plain = rtp(INSIDE_SSRC, self.sequence);
        let passed = self.bed.packet(talk.inside_port, stranger, &plain);
        assert_eq!(passed, None, "a packet of an unsignalled source was passed on");
        let passed = self.bed.packet(talk.inside_port, self.bed.agent.media, &plain);
        let is_clear = passed.is_some_and(|out| out.bytes.get(12..40) == plain.get(12..40));
        assert!(!is_clear, "a packet left in clear");
    }

    fn send_failure(&mut self, side: Side) {
        use tollgate_call::transport::SendFailure::{ConnectionLost, Overload, Tls, Unreachable};
        let why = *[ConnectionLost, Overload, Tls, Unreachable]
            .choose(&mut self.rng)
            .expect("not empty");
        let has_token = self
            .bed
            .log
            .iter()
            .any(|sent| sent.side == side && sent.token.is_some());
        if has_token && self.rng.random_ratio(1, 3) {
            self.bed.fail_last(side, why);
        }
    }

    fn pause(&mut self) {
        let by = *[20, 600, 5_000, 33_000].choose(&mut self.rng).expect("not empty");
        self.bed.wait(Duration::from_millis(by));
    }

    fn sdp(&mut self, side: Side) -> Option<String> {
        let choice = self.rng.random_range(0..8);
        let number = self.rng.random_range(1..4);
        let plain = self.bed.agent_sdp();
        let secure = Sdp::secure_offer(self.bed.peer.media, SrtpSuite::AesCm128HmacSha1_80, number);
        let usual = if side == Side::Inside {
            plain.clone()
        } else {
            secure.clone()
        };
        let other = if side == Side::Inside { secure } else { plain };
        let video = if side == Side::Inside { "RTP/AVP" } else { "RTP/SAVP" };
        Some(match choice {
            0 => return None,
            1 => other.text(),
            2 => usual.directed("sendonly").text(),
            3 => usual.directed("inactive").text(),
            4 => usual.and(&format!("m=video 0 {video} 96\r\n")).text(),
            5 => "v=0\r\nnonsense".to_owned(),
            _ => usual.text(),
        })
    }

    fn check_ports(&mut self) {
        let [calls, _, ports] = self.bed.leftovers();
        assert!(
            ports <= calls * STREAMS_PER_CALL * 2,
            "{ports} ports lent to {calls} calls"
        );
    }

    /// Both sides hang up whatever there is; what nobody ends is ended by closing the edge.
    fn end(mut self) {
        for side in [Side::Inside, Side::Outside] {
            self.bed.request(side, "BYE");
        }
        self.bed.snapshot.admission = tollgate_contract::Admission::Closing;
        self.bed.wait(Duration::from_secs(1));
        assert_eq!(self.bed.table.live_calls(), 0, "every call is ending");
        self.bed.expect_nothing_left();
    }
}

fn heard_crypto(body: &str) -> Option<(u32, SrtpSuite)> {
    if !body.contains("a=crypto") {
        return None;
    }
    heard(body, 0).crypto.first().map(|line| (line.tag, line.suite))
}
