//! New offers in a call: hold, resume, new codecs, new addresses, new keys, and those that are refused (calls.md 5).
#![forbid(unsafe_code)]

use std::time::Duration;

use tollgate_contract::counters::Violation;
use tollgate_contract::{Side, SrtpSuite, Way};
use tollgate_media::DropReason;
use tollgate_testkit::{Sdp, Setup, Talk, Trapezoid, heard, key};

use Side::{Inside, Outside};

const SUITE: SrtpSuite = SrtpSuite::AesCm128HmacSha1_80;

/// The peer's answer in a call under way: the active suite, the same tag, its first key.
fn peer_answer(bed: &Trapezoid, talk: &Talk) -> Sdp {
    Sdp::secure(bed.peer.media, talk.tag, talk.suite, &key(talk.suite, 1))
}

#[test]
fn hold_and_resume_keep_key_tag_and_contexts() {
    for (way, direction) in [Way::Outbound, Way::Inbound]
        .into_iter()
        .flat_map(|way| ["sendonly", "inactive"].map(|direction| (way, direction)))
    {
        let mut bed = Setup::default().build();
        let mut talk = bed.answered(way);
        bed.both_speak(&mut talk, 1);
        let before = heard(&talk.told_outside, 0);
        let offer = bed.agent_sdp().directed(direction);
        let reply = if direction == "sendonly" {
            "recvonly"
        } else {
            "inactive"
        };
        let answer = peer_answer(&bed, &talk).directed(reply);
        let (held, _) = bed.renegotiate(Inside, &offer, &answer);
        let held = heard(&held, 0);
        assert_eq!(held.crypto.len(), 1, "only the active suite");
        assert_eq!(held.line(SUITE), before.line(SUITE), "the same key under the same tag");
        assert_eq!((held.at, held.version()), (before.at, before.version() + 1));
        assert!(!bed.outside_speaks(&mut talk, 2), "the far side agreed not to send");
        assert_eq!(bed.inside_speaks(&mut talk, 2), direction == "sendonly");
        let answer = peer_answer(&bed, &talk);
        let (resumed, _) = bed.renegotiate(Inside, &agent_sdp(3), &answer);
        let resumed = heard(&resumed, 0);
        assert_eq!(resumed.line(SUITE), before.line(SUITE));
        assert_eq!(resumed.version(), before.version() + 2);
        bed.both_speak(&mut talk, 3);
        bed.hang_up(Outside);
        bed.expect_nothing_left();
    }
}

#[test]
fn the_version_of_o_stands_while_the_description_stands() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    let before = heard(&talk.told_outside, 0);
    let answer = peer_answer(&bed, &talk);
    let (first, _) = bed.renegotiate(Inside, &agent_sdp(2), &answer);
    let (second, answered) = bed.renegotiate(Inside, &agent_sdp(3), &answer);
    // The first offer had a line for each suite, so the second differs; the third does not.
    assert_eq!(heard(&first, 0).version(), before.version() + 1);
    assert_eq!(second, first);
    assert_eq!(answered, talk.told_inside);
    bed.both_speak(&mut talk, 1);
}

#[test]
fn an_old_style_hold_keeps_its_unspecified_address() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    bed.both_speak(&mut talk, 1);
    let offer = Sdp {
        is_unspecified: true,
        ..agent_sdp(2)
    };
    let answer = peer_answer(&bed, &talk);
    let (held, _) = bed.renegotiate(Inside, &offer, &answer);
    assert!(heard(&held, 0).at.ip().is_unspecified());
    assert!(!bed.outside_speaks(&mut talk, 2), "nowhere to send it inside");
    let answer = peer_answer(&bed, &talk);
    bed.renegotiate(Inside, &agent_sdp(3), &answer);
    bed.both_speak(&mut talk, 3);
}

#[test]
fn the_far_side_holds_and_resumes_with_its_key() {
    for way in [Way::Outbound, Way::Inbound] {
        let mut bed = Setup::default().build();
        let mut talk = bed.answered(way);
        bed.both_speak(&mut talk, 1);
        let ours = heard(&talk.told_outside, 0).line(SUITE);
        let hold = peer_answer(&bed, &talk).directed("sendonly");
        let answer = bed.agent_sdp().directed("recvonly");
        let (_, told) = bed.renegotiate(Outside, &hold, &answer);
        assert_eq!(heard(&told, 0).line(SUITE), ours);
        assert!(!bed.inside_speaks(&mut talk, 2));
        assert!(bed.outside_speaks(&mut talk, 2));
        let resume = peer_answer(&bed, &talk);
        let answer = bed.agent_sdp();
        bed.renegotiate(Outside, &resume, &answer);
        bed.both_speak(&mut talk, 3);
    }
}

#[test]
fn rollover_is_carried_through_a_hold() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    for sequence in (65_500..=65_535).chain(0..40) {
        bed.both_speak(&mut talk, sequence);
    }
    let answer = peer_answer(&bed, &talk).directed("inactive");
    let offer = bed.agent_sdp().directed("inactive");
    bed.renegotiate(Inside, &offer, &answer);
    let answer = peer_answer(&bed, &talk);
    bed.renegotiate(Inside, &agent_sdp(3), &answer);
    (40..80).for_each(|sequence| bed.both_speak(&mut talk, sequence));
}

#[test]
fn a_new_codec_passes() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    let offer = Sdp {
        formats: "9 101",
        ..agent_sdp(2)
    };
    let answer = Sdp {
        formats: "9 101",
        ..peer_answer(&bed, &talk)
    };
    let (told, answered) = bed.renegotiate(Inside, &offer, &answer);
    assert_eq!(
        (heard(&told, 0).formats.as_str(), heard(&answered, 0).formats.as_str()),
        ("9 101", "9 101")
    );
    bed.both_speak(&mut talk, 1);
}

#[test]
fn a_refused_reinvite_leaves_the_old_media_running() {
    for (by, status) in [
        (Inside, 488),
        (Outside, 488),
        (Inside, 491),
        (Outside, 500),
        (Inside, 302),
    ] {
        let mut bed = Setup::default().build();
        let mut talk = bed.answered(Way::Outbound);
        bed.both_speak(&mut talk, 1);
        let video = if by == Inside {
            "m=video 40000 RTP/AVP 96\r\n".to_owned()
        } else {
            secure_video(2)
        };
        let offer = if by == Inside {
            agent_sdp(2)
        } else {
            peer_answer(&bed, &talk)
        }
        .and(&video);
        bed.reinvite(by, Some(&offer.text()));
        bed.expect(by, "100");
        let invite = bed.expect(by.other(), "INVITE");
        assert_eq!(heard(&invite.body, 0).streams, 2);
        bed.respond(by.other(), &invite, status, None);
        bed.expect(by.other(), "ACK");
        let refusal = bed.take(by).remove(0).message;
        assert_eq!(refusal.status(), Some(if status == 302 { 480 } else { status }));
        bed.ack_refusal(by, &refusal);
        bed.both_speak(&mut talk, 2);
        assert_eq!(bed.leftovers()[2], 2, "the ports of the refused stream are back");
        bed.hang_up(Inside);
        bed.expect_nothing_left();
    }
}

#[test]
fn a_reinvite_with_a_bad_description_is_488_and_changes_nothing() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    let plain = Sdp::plain(bed.peer.media).text();
    for (by, sdp) in [(Outside, plain.as_str()), (Outside, "nonsense"), (Inside, "v=0\r\n")] {
        bed.reinvite(by, Some(sdp));
        let sent = bed.take(by);
        let refusal = sent.last().expect("an answer").message.clone();
        assert_eq!(refusal.status(), Some(488));
        bed.ack_refusal(by, &refusal);
        bed.expect_nothing(by.other());
        bed.wait(Duration::from_secs(1));
    }
    bed.both_speak(&mut talk, 1);
}

#[test]
fn two_invites_that_cross_get_491() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    let (ours, theirs) = (agent_sdp(2).text(), peer_answer(&bed, &talk).text());
    bed.reinvite(Inside, Some(&ours));
    bed.expect(Inside, "100");
    let invite = bed.expect(Outside, "INVITE");
    bed.reinvite(Outside, Some(&theirs));
    let glare = bed.expect(Outside, "491");
    bed.ack_refusal(Outside, &glare);
    bed.expect_nothing(Inside);
    assert_eq!(bed.violations(Violation::Glare), 1);
    bed.respond(Outside, &invite, 200, Some(&theirs));
    bed.expect(Inside, "200");
    bed.ack(Inside, None);
    bed.expect(Outside, "ACK");
    bed.both_speak(&mut talk, 1);
}

#[test]
fn a_new_key_of_the_peer_is_taken_and_its_old_one_ends() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    (1..5).for_each(|sequence| bed.both_speak(&mut talk, sequence));
    let ours = heard(&talk.told_outside, 0).line(SUITE);
    let offer = Sdp::secure(bed.peer.media, talk.tag, SUITE, &key(SUITE, 2));
    let answer = bed.agent_sdp();
    let (_, told) = bed.renegotiate(Outside, &offer, &answer);
    assert_eq!(
        heard(&told, 0).line(SUITE),
        ours,
        "same address of the peer: our key stays"
    );
    assert!(
        bed.outside_speaks(&mut talk, 5),
        "the old key, until the new one has spoken"
    );
    talk.far.speak_with(SUITE, &key(SUITE, 2));
    bed.both_speak(&mut talk, 6);
    talk.far.speak_with(SUITE, &key(SUITE, 1));
    assert!(!bed.outside_speaks(&mut talk, 900), "the old key after the new one");
    talk.far.speak_with(SUITE, &key(SUITE, 2));
    bed.hang_up(Outside);
    bed.expect_nothing_left();
}

#[test]
fn a_peer_that_moves_with_a_new_key_gets_a_new_key_of_ours() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    (1..5).for_each(|sequence| bed.both_speak(&mut talk, sequence));
    let ours = heard(&talk.told_outside, 0).line(SUITE);
    bed.peer.media = "203.0.113.99:31000".parse().expect("an address");
    let offer = Sdp::secure(bed.peer.media, talk.tag, SUITE, &key(SUITE, 2));
    let answer = bed.agent_sdp();
    let (_, told) = bed.renegotiate(Outside, &offer, &answer);
    let fresh = heard(&told, 0).line(SUITE);
    assert_ne!(fresh.1, ours.1);
    assert_eq!(fresh.0, talk.tag);
    talk.far.speak_with(SUITE, &key(SUITE, 2));
    talk.far.hear_with(SUITE, &fresh.1);
    (5..9).for_each(|sequence| bed.both_speak(&mut talk, sequence));
    assert_eq!(bed.violations(Violation::KeyKeptOnMove), 0);
}

#[test]
fn a_peer_that_moves_with_its_old_key_is_served_and_counted() {
    for by in [Inside, Outside] {
        let mut bed = Setup::default().build();
        let mut talk = bed.answered(Way::Outbound);
        for sequence in (65_530..=65_535).chain(0..6) {
            bed.both_speak(&mut talk, sequence);
        }
        bed.peer.media = "203.0.113.99:31000".parse().expect("an address");
        let peer = peer_answer(&bed, &talk);
        let agent = agent_sdp(2);
        match by {
            Outside => bed.renegotiate(Outside, &peer, &agent),
            Inside => bed.renegotiate(Inside, &agent, &peer),
        };
        assert_eq!(bed.violations(Violation::KeyKeptOnMove), 1, "by {}", by.name());
        (6..12).for_each(|sequence| bed.both_speak(&mut talk, sequence));
    }
}

#[test]
fn a_stream_is_added_and_removed_again() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    let offer = agent_sdp(2).and("m=video 40000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n");
    let mut answer = peer_answer(&bed, &talk);
    bed.reinvite(Inside, Some(&offer.text()));
    bed.expect(Inside, "100");
    let invite = bed.expect(Outside, "INVITE");
    let video = heard(&invite.body, 1);
    assert_eq!((video.streams, video.profile.as_str()), (2, "RTP/SAVP"));
    assert_ne!(
        video.line(SUITE).1,
        heard(&invite.body, 0).line(SUITE).1,
        "a key of its own for each stream"
    );
    answer = answer.and(&secure_video(video.line(SUITE).0));
    bed.respond(Outside, &invite, 200, Some(&answer.text()));
    let ok = bed.expect(Inside, "200");
    assert_eq!(heard(&ok.body, 1).profile, "RTP/AVP");
    bed.ack(Inside, None);
    bed.expect(Outside, "ACK");
    assert_eq!(bed.leftovers()[2], 4);
    bed.both_speak(&mut talk, 1);

    let offer = agent_sdp(4).and("m=video 0 RTP/AVP 96\r\n");
    let answer = peer_answer(&bed, &talk).and("m=video 0 RTP/SAVP 96\r\n");
    let (told, answered) = bed.renegotiate(Inside, &offer, &answer);
    assert!(
        told.contains("m=video 0 ") && answered.contains("m=video 0 "),
        "{told}{answered}"
    );
    assert_eq!(bed.leftovers()[2], 2, "a removed stream gives its ports back");
    bed.both_speak(&mut talk, 2);
    bed.hang_up(Inside);
    bed.expect_nothing_left();
    assert_eq!(bed.records()[0].media.len(), 2);
}

#[test]
fn a_stream_the_answer_refuses_holds_no_ports() {
    let mut bed = Setup::default().build();
    let offer = bed.agent_sdp().and("m=video 40000 RTP/AVP 96\r\n").text();
    bed.invite(Inside, Some(&offer));
    bed.expect(Inside, "100");
    let invite = bed.expect(Outside, "INVITE");
    assert_eq!(bed.leftovers()[2], 4);
    let answer = bed
        .peer_answer(&invite.body, SUITE)
        .and("m=video 0 RTP/SAVP 96\r\n")
        .text();
    bed.respond(Outside, &invite, 200, Some(&answer));
    let ok = bed.expect(Inside, "200");
    assert!(ok.body.contains("m=video 0 RTP/AVP 96"));
    bed.ack(Inside, None);
    bed.expect(Outside, "ACK");
    assert_eq!(bed.leftovers()[2], 2);
    let mut talk = bed.talk(Way::Outbound, SUITE, invite, ok);
    bed.both_speak(&mut talk, 1);
}

#[test]
fn sdp_in_an_ack_after_a_complete_exchange_is_removed_and_counted() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    let stray = bed.agent_sdp().directed("inactive").text();
    bed.ack(Inside, Some(&stray));
    let ack = bed.expect(Outside, "ACK");
    assert_eq!((ack.body.as_str(), ack.field("Content-Type")), ("", None));
    assert_eq!(ack.field("Content-Length"), Some("0"));
    assert_eq!(bed.violations(Violation::SdpInAck), 1);
    bed.both_speak(&mut talk, 1);
}

#[test]
fn a_bad_answer_in_the_first_200_ends_that_leg_and_sends_the_agent_to_the_pstn() {
    for bad in bad_answers() {
        let mut bed = Setup::default().build();
        let offer = bed.agent_sdp().text();
        bed.invite(Inside, Some(&offer));
        bed.expect(Inside, "100");
        let invite = bed.expect(Outside, "INVITE");
        let good = bed.peer_answer(&invite.body, SUITE);
        let (tag, _) = heard(&invite.body, 0).line(SUITE);
        let answer = bad(&good, tag);
        bed.respond(Outside, &invite, 200, Some(&answer));
        bed.expect(Outside, "ACK");
        let bye = bed.expect(Outside, "BYE");
        bed.respond(Outside, &bye, 200, None);
        let refusal = bed.expect(Inside, "503");
        assert!(
            refusal
                .field("Reason")
                .is_some_and(|reason| reason.starts_with("SIP;cause=488"))
        );
        bed.ack_refusal(Inside, &refusal);
        bed.expect_nothing(Outside);
        bed.expect_nothing_left();
    }
}

#[test]
fn a_bad_answer_in_a_progress_cancels() {
    for bad in bad_answers() {
        let mut bed = Setup::default().build();
        let offer = bed.agent_sdp().text();
        bed.invite(Inside, Some(&offer));
        bed.expect(Inside, "100");
        let invite = bed.expect(Outside, "INVITE");
        let (tag, _) = heard(&invite.body, 0).line(SUITE);
        let answer = bad(&bed.peer_answer(&invite.body, SUITE), tag);
        bed.respond(Outside, &invite, 183, Some(&answer));
        let cancel = bed.expect(Outside, "CANCEL");
        bed.respond(Outside, &cancel, 200, None);
        bed.respond(Outside, &invite, 487, None);
        bed.expect(Outside, "ACK");
        let refusal = bed.expect(Inside, "503");
        bed.ack_refusal(Inside, &refusal);
        bed.expect_nothing_left();
    }
}

#[test]
fn a_bad_answer_of_our_agent_is_488_outside() {
    let mut bed = Setup::default().build();
    let offer = bed.peer_sdp().text();
    bed.invite(Outside, Some(&offer));
    bed.expect(Outside, "100");
    let invite = bed.expect(Inside, "INVITE");
    let secure = Sdp::secure_offer(bed.agent.media, SUITE, 4).text();
    bed.respond(Inside, &invite, 200, Some(&secure));
    bed.expect(Inside, "ACK");
    let bye = bed.expect(Inside, "BYE");
    bed.respond(Inside, &bye, 200, None);
    let refusal = bed.expect(Outside, "488");
    bed.ack_refusal(Outside, &refusal);
    bed.expect_nothing_left();
}

#[test]
fn a_bad_answer_to_a_reinvite_ends_both_legs() {
    for bad in bad_answers() {
        let mut bed = Setup::default().build();
        let talk = bed.answered(Way::Outbound);
        let offer = agent_sdp(2).text();
        bed.reinvite(Inside, Some(&offer));
        bed.expect(Inside, "100");
        let invite = bed.expect(Outside, "INVITE");
        let answer = bad(&peer_answer(&bed, &talk), talk.tag);
        bed.respond(Outside, &invite, 200, Some(&answer));
        bed.expect(Outside, "ACK");
        let refusal = bed.expect(Inside, "488");
        bed.ack_refusal(Inside, &refusal);
        for side in [Inside, Outside] {
            let bye = bed.expect(side, "BYE");
            bed.respond(side, &bye, 200, None);
        }
        bed.expect_nothing_left();
    }
}

#[test]
fn offers_in_update_are_negotiated_like_those_in_invite() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    bed.both_speak(&mut talk, 1);
    let hold = bed.agent_sdp().directed("sendonly").text();
    let update = bed.agent.request("UPDATE").with_sdp(Some(&hold));
    bed.send(Inside, &update);
    let update = bed.expect(Outside, "UPDATE");
    assert_eq!(heard(&update.body, 0).profile, "RTP/SAVP");
    let answer = peer_answer(&bed, &talk).directed("recvonly").text();
    bed.respond(Outside, &update, 200, Some(&answer));
    assert_eq!(heard(&bed.expect(Inside, "200").body, 0).profile, "RTP/AVP");
    assert!(!bed.outside_speaks(&mut talk, 2));
    assert_eq!(bed.drops(DropReason::WrongDirection), 1);
    assert!(bed.inside_speaks(&mut talk, 2));
}

/// Answers that fit no offer of ours: another tag, two lines, another suite, plain RTP, a broken description.
fn bad_answers() -> [fn(&Sdp, u32) -> String; 5] {
    [
        |good, tag| Sdp::secure(good.at, tag + 90, SUITE, &key(SUITE, 1)).text(),
        |good, _| {
            let mut twice = good.clone();
            twice.crypto.push(good.crypto[0].clone());
            twice.text()
        },
        |good, tag| {
            let suite = SrtpSuite::AesCm256HmacSha1_80;
            Sdp::secure(good.at, tag, suite, &key(suite, 1)).text()
        },
        |good, _| Sdp::plain(good.at).text(),
        |_, _| "v=0\r\nnonsense".to_owned(),
    ]
}

/// What the agent describes, at a version.
fn agent_sdp(version: u32) -> Sdp {
    Sdp {
        version,
        ..Sdp::plain("10.0.0.50:20000".parse().expect("the agent's media address"))
    }
}

fn secure_video(tag: u32) -> String {
    let video = Sdp::secure(
        "203.0.113.77:41000".parse().expect("an address"),
        tag,
        SUITE,
        &key(SUITE, 8),
    );
    format!("m=video 41000 RTP/SAVP 96\r\na={}\r\n", video.crypto[0])
}
