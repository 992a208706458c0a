//! A call that was answered, and the media that flows in it.

use std::net::SocketAddr;

use tollgate_contract::{Side, SrtpSuite, Way};

use super::Trapezoid;
use crate::message::Message;
use crate::packet::{INSIDE_SSRC, OUTSIDE_SSRC, rtcp, rtp};
use crate::sdp::{Sdp, heard};
use crate::srtp_end::{SrtpEnd, key};

/// The suite the outside party takes.
const SUITE: SrtpSuite = SrtpSuite::AesCm128HmacSha1_80;

/// What the two parties know once their call is answered.
#[derive(Debug)]
pub struct Talk {
    /// Which way it was set up.
    pub way: Way,
    /// The suite in use.
    pub suite: SrtpSuite,
    /// The tag of its crypto line.
    pub tag: u32,
    /// The outside party's end of SRTP.
    pub far: SrtpEnd,
    /// Where the inside party sends RTP: an inside address of the edge.
    pub inside_port: SocketAddr,
    /// Where the outside party sends SRTP: an outside address of the edge.
    pub outside_port: SocketAddr,
    /// The INVITE as the called side got it.
    pub invite: Message,
    /// The 200 as the calling side got it.
    pub ok: Message,
    /// The description the outside party got first.
    pub told_outside: String,
    /// The description the inside party got first.
    pub told_inside: String,
}

impl Trapezoid {
    /// A plain offer or answer of the agent.
    #[must_use]
    pub fn agent_sdp(&self) -> Sdp {
        Sdp::plain(self.agent.media)
    }

    /// A first offer of the peer: one suite, tag 1, the peer's first key.
    #[must_use]
    pub fn peer_sdp(&self) -> Sdp {
        Sdp::secure_offer(self.peer.media, SUITE, 1)
    }

    /// The peer's answer to what it was offered: `suite` under the tag it was offered with.
    #[must_use]
    pub fn peer_answer(&self, offered: &str, suite: SrtpSuite) -> Sdp {
        let (tag, _) = heard(offered, 0).line(suite);
        Sdp::secure(self.peer.media, tag, suite, &key(suite, 1))
    }

    /// A whole set-up: INVITE, 100, 180, 200, ACK, with media agreed.
    ///
    /// # Panics
    /// If any step of it goes another way.
    pub fn answered(&mut self, way: Way) -> Talk {
        self.answered_with(way, SUITE)
    }

    /// The same under a suite.
    ///
    /// # Panics
    /// If any step of it goes another way.
    pub fn answered_with(&mut self, way: Way, suite: SrtpSuite) -> Talk {
        let (caller, callee) = (way.caller_side(), way.caller_side().other());
        let offer = match caller {
            Side::Inside => self.agent_sdp().text(),
            Side::Outside => Sdp::secure_offer(self.peer.media, suite, 1).text(),
        };
        self.invite(caller, Some(&offer));
        let invite = self.expect(callee, "INVITE");
        self.expect(caller, "100");
        self.respond(callee, &invite, 180, None);
        self.expect(caller, "180");
        let answer = match callee {
            Side::Outside => self.peer_answer(&invite.body, suite).text(),
            Side::Inside => self.agent_sdp().text(),
        };
        self.respond(callee, &invite, 200, Some(&answer));
        let ok = self.expect(caller, "200");
        self.ack(caller, None);
        self.expect(callee, "ACK");
        self.expect_nothing(Side::Inside);
        self.expect_nothing(Side::Outside);
        self.talk(way, suite, invite, ok)
    }

    /// What the parties know after an INVITE and its 200 that carried offer and answer.
    #[must_use]
    pub fn talk(&self, way: Way, suite: SrtpSuite, invite: Message, ok: Message) -> Talk {
        let (told_outside, told_inside) = match way {
            Way::Outbound => (invite.body.clone(), ok.body.clone()),
            Way::Inbound => (ok.body.clone(), invite.body.clone()),
        };
        let (outside, inside) = (heard(&told_outside, 0), heard(&told_inside, 0));
        let (tag, theirs) = outside.line(suite);
        Talk {
            way,
            suite,
            tag,
            far: SrtpEnd::new(suite, &key(suite, 1), &theirs),
            inside_port: inside.at,
            outside_port: outside.at,
            invite,
            ok,
            told_outside,
            told_inside,
        }
    }

    /// The inside party sends a packet. Returns whether it came out outside, protected and otherwise unchanged.
    ///
    /// # Panics
    /// If it comes out in clear, changed, or at another place than the outside party's.
    pub fn inside_speaks(&mut self, talk: &mut Talk, sequence: u16) -> bool {
        let packet = rtp(INSIDE_SSRC, sequence);
        let Some(out) = self.packet(talk.inside_port, self.agent.media, &packet) else {
            return false;
        };
        assert_eq!((out.from, out.to), (talk.outside_port, self.peer.media));
        assert_ne!(out.bytes[12..], packet[12..], "the payload leaves in clear");
        assert_eq!(talk.far.open(&out.bytes).as_deref(), Ok(&packet[..]));
        true
    }

    /// The outside party sends a packet. Returns whether it came out inside, decrypted and unchanged.
    ///
    /// # Panics
    /// If it comes out changed or at another place than the inside party's.
    pub fn outside_speaks(&mut self, talk: &mut Talk, sequence: u16) -> bool {
        let packet = rtp(OUTSIDE_SSRC, sequence);
        let protected = talk.far.protect(&packet);
        let Some(out) = self.packet(talk.outside_port, self.peer.media, &protected) else {
            return false;
        };
        assert_eq!((out.from, out.to), (talk.inside_port, self.agent.media));
        assert_eq!(out.bytes, packet);
        true
    }

    /// Both parties send a packet of this number, and both arrive.
    ///
    /// # Panics
    /// If one does not.
    pub fn both_speak(&mut self, talk: &mut Talk, sequence: u16) {
        assert!(self.inside_speaks(talk, sequence), "inside to outside, {sequence}");
        assert!(self.outside_speaks(talk, sequence), "outside to inside, {sequence}");
    }

    /// Both parties send RTCP, and both arrive.
    ///
    /// # Panics
    /// If one does not, or leaves in clear.
    pub fn both_report(&mut self, talk: &mut Talk) {
        let above = |at: SocketAddr| SocketAddr::new(at.ip(), at.port() + 1);
        let (agent, peer) = (above(self.agent.media), above(self.peer.media));
        let report = rtcp(INSIDE_SSRC);
        let out = self
            .packet(above(talk.inside_port), agent, &report)
            .expect("RTCP to the outside");
        assert_eq!((out.from, out.to), (above(talk.outside_port), peer));
        assert_eq!(talk.far.open_rtcp(&out.bytes).as_deref(), Ok(&report[..]));
        let report = rtcp(OUTSIDE_SSRC);
        let protected = talk.far.protect_rtcp(&report);
        let out = self
            .packet(above(talk.outside_port), peer, &protected)
            .expect("RTCP to the inside");
        assert_eq!((out.from, out.to, out.bytes), (above(talk.inside_port), agent, report));
    }

    /// One side offers anew and the other answers. Returns what each was told: the offer as it came, then the answer.
    ///
    /// # Panics
    /// If any step of it goes another way.
    pub fn renegotiate(&mut self, by: Side, offer: &Sdp, answer: &Sdp) -> (String, String) {
        self.reinvite(by, Some(&offer.text()));
        self.expect(by, "100");
        let invite = self.expect(by.other(), "INVITE");
        self.respond(by.other(), &invite, 200, Some(&answer.text()));
        let ok = self.expect(by, "200");
        self.ack(by, None);
        self.expect(by.other(), "ACK");
        (invite.body, ok.body)
    }

    /// A side hangs up and the other agrees.
    ///
    /// # Panics
    /// If any step of it goes another way.
    pub fn hang_up(&mut self, by: Side) {
        self.request(by, "BYE");
        let bye = self.expect(by.other(), "BYE");
        self.respond(by.other(), &bye, 200, None);
        self.expect(by, "200");
    }
}
