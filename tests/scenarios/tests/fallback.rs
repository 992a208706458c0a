//! Bad media sends the call back to the PSTN by one REFER to the agent (edge.md 8, calls.md 6-7).
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tollgate_contract::{CallOutcome, FallbackTrigger, Report, Side, SrtpSuite, Transport, Way};
use tollgate_testkit::packet::{INSIDE_SSRC, OUTSIDE_SSRC, rtp, rtp_with};
use tollgate_testkit::{Impairment, Message, Netem, Sdp, Setup, Talk, Trapezoid, key};

use Side::{Inside, Outside};

const FRAME: Duration = Duration::from_millis(20);

/// A call in which both sides speak all the time, the far one over a network that may be bad.
struct Line {
    bed: Trapezoid,
    talk: Talk,
    net: Netem,
    sequence: u16,
    far_is_mute: bool,
}

impl Line {
    fn new(way: Way) -> Self {
        Self::over(Setup::default().build(), way)
    }

    fn over(mut bed: Trapezoid, way: Way) -> Self {
        let talk = bed.answered(way);
        bed.start_ticking();
        let net = Netem::new(42, Impairment::default());
        let mut line = Self {
            bed,
            talk,
            net,
            sequence: 0,
            far_is_mute: false,
        };
        line.speak(Duration::from_secs(3));
        line.bed.expect_nothing(Inside);
        line
    }

    fn speak(&mut self, during: Duration) {
        let end = self.bed.now().instant + during;
        while self.bed.now().instant < end {
            self.sequence = self.sequence.wrapping_add(1);
            let plain = rtp(INSIDE_SSRC, self.sequence);
            self.bed.packet(self.talk.inside_port, self.bed.agent.media, &plain);
            if !self.far_is_mute {
                let packet = self.talk.far.protect(&rtp(OUTSIDE_SSRC, self.sequence));
                self.net.send(self.bed.now().instant, &packet);
            }
            self.arrive();
            self.bed.wait(FRAME);
        }
    }

    fn arrive(&mut self) {
        while let Some(packet) = self.net.arrived(self.bed.now().instant) {
            self.bed.packet(self.talk.outside_port, self.bed.peer.media, &packet);
        }
    }

    fn lose(&mut self, loss: f64) -> Instant {
        self.net.impairment.loss = loss;
        self.bed.now().instant
    }

    /// Speaks on until the agent gets a REFER.
    fn until_refer(&mut self) -> Message {
        for _ in 0..400 {
            self.speak(Duration::from_millis(100));
            if let Some(at) = self.bed.log.iter().rposition(|sent| sent.message.name() == "REFER") {
                assert_eq!(self.bed.log[at].side, Inside);
                return self.bed.expect(Inside, "REFER");
            }
        }
        panic!("no REFER: {:?}", self.bed.fallback_stages());
    }

    /// A call about which a REFER was sent and accepted.
    fn referred(way: Way) -> (Self, Message) {
        let mut line = Self::new(way);
        line.lose(0.3);
        let refer = line.until_refer();
        line.bed.respond(Inside, &refer, 202, None);
        (line, refer)
    }

    fn notify(&mut self, refer: &Message, status: u16) {
        let event = format!("refer;id={}", refer.cseq().0);
        let mut notify = self.bed.agent.request("NOTIFY").with("Event", event);
        notify = notify
            .with("Subscription-State", "active")
            .with("Content-Type", "message/sipfrag");
        notify.body = format!("SIP/2.0 {status} Whatever\r\n");
        self.bed.send(Inside, &notify);
        self.bed.expect(Inside, "200");
        self.bed.expect_nothing(Outside);
    }

    /// REFERs sent, their retransmissions apart.
    fn refers(&self) -> usize {
        let refers = self.bed.log.iter().filter(|sent| sent.message.method() == "REFER");
        refers
            .map(|sent| sent.message.field("Via"))
            .collect::<BTreeSet<_>>()
            .len()
    }
}

#[test]
fn thirty_percent_loss_brings_one_refer_after_the_hold_down() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut line = Line::over(Setup::over(transport).build(), Way::Outbound);
        let bad_since = line.lose(0.3);
        let refer = line.until_refer();
        let sent_at = line
            .bed
            .log
            .iter()
            .rfind(|sent| sent.message.name() == "REFER")
            .expect("sent")
            .at;
        let waited = sent_at.duration_since(bad_since);
        // edge.md 8: the trigger comes within 0.2 to 8 s, the REFER a hold-down of 20 s later.
        assert!((20.2..28.0).contains(&waited.as_secs_f64()), "{waited:?}");
        expect_refer(&line, &refer);
        line.bed.respond(Inside, &refer, 202, None);
        line.speak(Duration::from_secs(120));
        assert_eq!(line.refers(), 1);
        line.bed.expect_nothing(Outside);
        assert_eq!(
            line.bed.fallback_stages(),
            ["hold_down", "refer_sent", "refer_accepted"]
        );
        let evidence = line.bed.reports.iter().find_map(|report| match report {
            Report::Fallback(event) => Some(event.clone()),
            Report::CallEnded(_) | Report::SetupFailed { .. } | Report::Contained { .. } => None,
        });
        let evidence = evidence.expect("a report");
        assert_eq!((evidence.trigger, evidence.side), (FallbackTrigger::Loss, Outside));
        assert!(evidence.loss_ratio >= 0.1, "{}", evidence.loss_ratio);
    }
}

/// calls.md 7: within the dialog, as if the far party had sent it.
fn expect_refer(line: &Line, refer: &Message) {
    let ok = &line.talk.ok;
    assert_eq!(refer.uri(), line.bed.agent.contact);
    assert_eq!(refer.param("From", "tag"), ok.param("To", "tag"), "the far tag");
    assert_eq!(refer.param("To", "tag"), Some(line.bed.agent.tag.as_str()));
    assert_eq!(refer.field("Call-ID"), Some(line.bed.agent.call_id()));
    let to = refer.bracketed("Refer-To").expect("a Refer-To");
    assert_eq!(to, "sip:+14085555432@10.0.0.5:5060;user=phone");
    assert_eq!(refer.field("Refer-Sub"), Some("false"));
    assert_eq!(refer.field("Supported"), Some("norefersub"));
    assert!(refer.field("Contact").is_some());
    assert_eq!(refer.cseq(), (1, "REFER"), "the far party has sent nothing yet");
}

#[test]
fn the_refer_goes_by_the_agents_route_set() {
    let mut bed = Setup::default().build();
    bed.agent.record_routes = vec!["<sip:10.0.0.6;lr>".to_owned()];
    let mut line = Line::over(bed, Way::Outbound);
    line.lose(0.3);
    let refer = line.until_refer();
    assert_eq!(refer.all("Route"), ["<sip:10.0.0.6;lr>"]);
}

#[test]
fn loss_that_heals_within_the_hold_down_cancels_it() {
    let mut line = Line::new(Way::Outbound);
    line.lose(0.3);
    line.speak(Duration::from_secs(15));
    line.lose(0.0);
    line.speak(Duration::from_secs(60));
    assert_eq!(line.refers(), 0);
    assert_eq!(line.bed.fallback_stages(), ["hold_down", "cancelled"]);
    line.bed.expect_nothing(Inside);
}

#[test]
fn media_that_stops_brings_the_refer_after_the_shorter_hold_down() {
    let mut line = Line::new(Way::Outbound);
    line.far_is_mute = true;
    let stopped = line.bed.now().instant;
    line.until_refer();
    let sent_at = line
        .bed
        .log
        .iter()
        .rfind(|sent| sent.message.name() == "REFER")
        .expect("sent")
        .at;
    let waited = sent_at.duration_since(stopped).as_secs_f64();
    assert!((4.5..10.0).contains(&waited), "{waited}");
}

#[test]
fn what_is_no_fault_triggers_nothing() {
    let mut line = Line::new(Way::Outbound);
    line.net.impairment = Impairment {
        loss: 0.01,
        jitter: Duration::from_millis(10),
        ..Impairment::default()
    };
    line.speak(Duration::from_secs(120));
    line.far_is_mute = true;
    line.speak(Duration::from_millis(200));
    line.far_is_mute = false;
    line.speak(Duration::from_secs(30));
    assert_eq!(line.bed.fallback_stages(), Vec::<&str>::new());
}

#[test]
fn silence_that_was_announced_is_not_dead_for_30_s() {
    let mut line = Line::new(Way::Outbound);
    line.far_is_mute = true;
    line.sequence = line.sequence.wrapping_add(1);
    let noise = line.talk.far.protect(&rtp_with(OUTSIDE_SSRC, line.sequence, 13, &[40]));
    line.bed.packet(line.talk.outside_port, line.bed.peer.media, &noise);
    line.speak(Duration::from_secs(29));
    assert_eq!(line.bed.fallback_stages(), Vec::<&str>::new());
    line.speak(Duration::from_secs(10));
    assert_eq!(line.bed.fallback_stages().first(), Some(&"hold_down"));
}

#[test]
fn a_held_call_is_not_dead() {
    let mut line = Line::new(Way::Outbound);
    line.far_is_mute = true;
    let hold = line.bed.agent_sdp().directed("sendonly").text();
    line.bed.reinvite(Inside, Some(&hold));
    line.bed.expect(Inside, "100");
    let invite = line.bed.expect(Outside, "INVITE");
    let answer = peer_answer(&line).directed("recvonly").text();
    line.bed.respond(Outside, &invite, 200, Some(&answer));
    line.bed.expect(Inside, "200");
    line.bed.ack(Inside, None);
    line.bed.expect(Outside, "ACK");
    line.speak(Duration::from_secs(100));
    assert_eq!(line.bed.fallback_stages(), Vec::<&str>::new());
}

#[test]
fn a_hold_during_the_hold_down_cancels_it() {
    let mut line = Line::new(Way::Outbound);
    line.lose(0.3);
    line.speak(Duration::from_secs(12));
    assert_eq!(line.bed.fallback_stages(), ["hold_down"]);
    let hold = line.bed.agent_sdp().directed("sendonly").text();
    line.bed.reinvite(Inside, Some(&hold));
    line.bed.expect(Inside, "100");
    let invite = line.bed.expect(Outside, "INVITE");
    let answer = peer_answer(&line).directed("recvonly").text();
    line.bed.respond(Outside, &invite, 200, Some(&answer));
    line.bed.expect(Inside, "200");
    line.bed.ack(Inside, None);
    line.speak(Duration::from_secs(60));
    assert_eq!(line.refers(), 0);
    assert_eq!(line.bed.fallback_stages(), ["hold_down", "cancelled"]);
}

#[test]
fn an_agent_whose_allow_lacks_refer_gets_none() {
    let mut bed = Setup::default().build();
    bed.agent
        .extra
        .push(("Allow".to_owned(), "INVITE, ACK, BYE, CANCEL".to_owned()));
    let mut line = Line::over(bed, Way::Outbound);
    line.lose(0.3);
    line.speak(Duration::from_secs(60));
    assert_eq!(line.refers(), 0);
    assert_eq!(line.bed.fallback_stages(), ["hold_down", "suppressed"]);
}

#[test]
fn the_called_side_does_not_refer_unless_told_to() {
    let mut line = Line::new(Way::Inbound);
    line.lose(0.3);
    line.speak(Duration::from_secs(60));
    assert_eq!(line.refers(), 0);
    assert_eq!(line.bed.fallback_stages(), ["hold_down", "suppressed"]);

    let mut bed = Setup::default().build();
    bed.snapshot.fallback.refer_when_called = true;
    let mut line = Line::over(bed, Way::Inbound);
    line.lose(0.3);
    let refer = line.until_refer();
    assert_eq!(
        refer.bracketed("Refer-To"),
        Some("sip:+14085555432@10.0.0.5:5060;user=phone")
    );
    assert!(refer.cseq().0 > line.talk.invite.cseq().0);
}

#[test]
fn after_the_refer_the_far_sides_numbers_are_mapped_and_its_answers_bear_its_own() {
    let (mut line, refer) = Line::referred(Way::Outbound);
    let mut inside = refer.cseq().0;
    for method in ["INFO", "INVITE", "INFO", "BYE"] {
        let description = peer_answer(&line).text();
        let sent = match method {
            "INVITE" => line.bed.reinvite(Outside, Some(&description)),
            _ => line.bed.request(Outside, method),
        };
        if method == "INVITE" {
            line.bed.expect(Outside, "100");
        }
        let got = line.bed.expect(Inside, method);
        assert!(got.cseq().0 > inside, "{method}: {} after {inside}", got.cseq().0);
        assert_eq!(got.cseq().0, sent.cseq().0 + 1, "δ is 1");
        inside = got.cseq().0;
        let answer = line.bed.agent_sdp().text();
        line.bed
            .respond(Inside, &got, 200, (method == "INVITE").then_some(answer.as_str()));
        let ok = line.bed.expect(Outside, "200");
        assert_eq!(ok.field("CSeq"), sent.field("CSeq"));
        if method == "INVITE" {
            line.bed.ack(Outside, None);
            assert_eq!(
                line.bed.expect(Inside, "ACK").cseq().0,
                inside,
                "the ACK bears its INVITE's number"
            );
        }
    }
    line.bed.expect_nothing_left();
    assert_eq!(line.bed.records()[0].outcome, CallOutcome::FellBackInCall);
}

#[test]
fn a_refer_between_an_invite_and_its_ack_does_not_shift_the_ack() {
    let mut line = Line::new(Way::Outbound);
    line.lose(0.3);
    line.speak(Duration::from_secs(12));
    let offer = peer_answer(&line).text();
    line.bed.reinvite(Outside, Some(&offer));
    line.bed.expect(Outside, "100");
    let invite = line.bed.expect(Inside, "INVITE");
    let answer = line.bed.agent_sdp().text();
    line.bed.respond(Inside, &invite, 200, Some(&answer));
    line.bed.expect(Outside, "200");
    let refer = line.until_refer();
    assert_eq!(refer.cseq().0, invite.cseq().0 + 1);
    line.bed.ack(Outside, None);
    assert_eq!(line.bed.expect(Inside, "ACK").cseq().0, invite.cseq().0);
}

#[test]
fn the_agents_own_numbers_are_not_shifted_by_the_refer() {
    let (mut line, _) = Line::referred(Way::Outbound);
    let sent = line.bed.request(Inside, "INFO");
    assert_eq!(line.bed.expect(Outside, "INFO").cseq(), sent.cseq());
}

#[test]
fn progress_of_our_refer_is_absorbed_and_the_agents_bye_ends_the_call() {
    let (mut line, refer) = Line::referred(Way::Outbound);
    line.notify(&refer, 100);
    line.notify(&refer, 200);
    line.bed.hang_up(Inside);
    line.bed.expect_nothing_left();
    assert_eq!(line.bed.records()[0].outcome, CallOutcome::FellBackInCall);
    let stages = line.bed.fallback_stages();
    assert_eq!(stages, ["hold_down", "refer_sent", "refer_accepted", "moved"]);
}

#[test]
fn a_moved_call_without_a_bye_is_ended_by_the_edge_after_5_s() {
    let (mut line, refer) = Line::referred(Way::Outbound);
    line.notify(&refer, 200);
    line.speak(Duration::from_millis(4_900));
    line.bed.expect_nothing(Inside);
    line.speak(Duration::from_millis(200));
    let bye = line.bed.expect(Inside, "BYE");
    assert_eq!(bye.cseq().0, refer.cseq().0 + 1);
    line.bed.respond(Inside, &bye, 200, None);
    let bye = line.bed.expect(Outside, "BYE");
    line.bed.respond(Outside, &bye, 200, None);
    line.bed.expect_nothing_left();
}

#[test]
fn a_move_that_failed_keeps_the_call_up_and_is_not_repeated() {
    let (mut line, refer) = Line::referred(Way::Outbound);
    line.notify(&refer, 486);
    line.speak(Duration::from_secs(120));
    assert_eq!(line.refers(), 1);
    line.bed.expect_nothing(Inside);
    line.bed.expect_nothing(Outside);
    line.lose(0.0);
    line.speak(Duration::from_secs(1));
    assert_eq!(line.bed.table.live_calls(), 1);
}

#[test]
fn a_refused_refer_keeps_the_call_up_and_is_not_repeated() {
    for status in [403, 501, 603] {
        let mut line = Line::new(Way::Outbound);
        line.lose(0.3);
        let refer = line.until_refer();
        line.bed.respond(Inside, &refer, status, None);
        line.speak(Duration::from_secs(120));
        assert_eq!(line.refers(), 1);
        assert_eq!(line.bed.fallback_stages(), ["hold_down", "refer_sent", "refer_refused"]);
        line.bed.hang_up(Outside);
        line.bed.expect_nothing_left();
        assert_eq!(line.bed.records()[0].outcome, CallOutcome::Completed);
    }
}

#[test]
fn a_refer_nobody_answers_is_repeated_by_timer_e_only_and_keeps_the_call_up() {
    let mut line = Line::new(Way::Outbound);
    line.lose(0.3);
    let refer = line.until_refer();
    line.speak(Duration::from_secs(60));
    let again: Vec<_> = line.bed.take(Inside);
    assert!(again.iter().all(|sent| sent.message == refer), "the same request");
    assert_eq!(line.bed.fallback_stages().last(), Some(&"refer_refused"));
    assert_eq!(line.bed.table.live_calls(), 1);
}

#[test]
fn a_notify_of_another_refer_passes() {
    let (mut line, _) = Line::referred(Way::Outbound);
    let notify = line.bed.agent.request("NOTIFY").with("Event", "refer;id=9999");
    line.bed.send(Inside, &notify);
    line.bed.expect(Outside, "NOTIFY");
    let notify = line.bed.agent.request("NOTIFY").with("Event", "dialog");
    line.bed.send(Inside, &notify);
    line.bed.expect(Outside, "NOTIFY");
}

#[test]
fn bad_media_of_the_inside_is_a_trigger_too() {
    let mut line = Line::new(Way::Outbound);
    let silent = line.bed.agent.media;
    line.bed.agent.media = "10.0.0.50:9".parse().expect("an address");
    line.until_refer();
    line.bed.agent.media = silent;
    let event = line.bed.reports.iter().find_map(|report| match report {
        Report::Fallback(event) => Some((event.trigger, event.side)),
        Report::CallEnded(_) | Report::SetupFailed { .. } | Report::Contained { .. } => None,
    });
    assert_eq!(event, Some((FallbackTrigger::Dead, Inside)));
}

fn peer_answer(line: &Line) -> Sdp {
    let suite = SrtpSuite::AesCm128HmacSha1_80;
    Sdp::secure(line.bed.peer.media, line.talk.tag, suite, &key(suite, 1))
}
