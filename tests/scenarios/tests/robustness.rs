//! Whatever is sent, in whatever order: no panic, no port more than the live calls hold, nothing left at the end.
#![forbid(unsafe_code)]

use std::time::Duration;

use tollgate_contract::{Side, SrtpSuite, Transport, Way};
use tollgate_testkit::{Setup, fuzz};

use Side::{Inside, Outside};

/// Scripts played; each is a seed, so a failure names the one to replay.
const SCRIPTS: u64 = 2_000;

#[test]
fn random_scripts_break_nothing() {
    for seed in 0..SCRIPTS {
        let played = std::panic::catch_unwind(|| fuzz::play(seed));
        assert!(played.is_ok(), "script {seed}");
    }
}

#[test]
fn every_message_of_a_good_call_may_be_cut_or_changed_anywhere() {
    for way in [Way::Outbound, Way::Inbound] {
        let (caller, callee) = (way.caller_side(), way.caller_side().other());
        let mut bed = Setup::default().build();
        let offer = if caller == Inside {
            bed.agent_sdp()
        } else {
            bed.peer_sdp()
        };
        let invite = bed.party(caller).invite(Some(&offer.text()));
        fuzz::mutilate(&mut bed, caller, &invite.to_bytes());
        // Some of the changed INVITEs are as good as the first and make calls of their own.
        let mut bed = Setup::over(Transport::Tcp).build();
        bed.invite(caller, Some(&offer.text()));
        bed.expect(caller, "100");
        let invite = bed.expect(callee, "INVITE");
        let answer = if callee == Inside {
            bed.agent_sdp()
        } else {
            bed.peer_answer(&invite.body, SrtpSuite::AesCm128HmacSha1_80)
        };
        let ok = bed.party(callee).response(&invite, 183, Some(&answer.text()));
        fuzz::mutilate(&mut bed, callee, &ok.to_bytes());
    }
}

#[test]
fn requests_in_a_call_may_be_cut_or_changed_anywhere() {
    for side in [Inside, Outside] {
        let mut bed = Setup::default().build();
        bed.answered(Way::Outbound);
        for method in ["INFO", "ACK", "UPDATE", "NOTIFY"] {
            let request = bed
                .party(side)
                .request(method)
                .with("Event", "refer;id=1")
                .with("RAck", "1 2 INVITE");
            fuzz::mutilate(&mut bed, side, &request.to_bytes());
        }
        bed.wait(Duration::from_secs(40));
        bed.request(side, "BYE");
        bed.expect_nothing_left();
    }
}

#[test]
fn noise_on_the_sip_port_gets_silence() {
    let noise: [&[u8]; 6] = [
        b"",
        b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        &[0x80, 0, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4],
        &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3],
        &[0xff; 2_000],
    ];
    let mut bed = Setup::default().build();
    for side in [Inside, Outside] {
        for bytes in noise {
            bed.send_bytes(side, bytes.to_vec());
        }
        bed.expect_nothing(side);
    }
    assert_eq!(bed.leftovers(), [0, 0, 0]);
}
