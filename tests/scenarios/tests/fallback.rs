//! A call whose path turns bad is handed back to the PSTN by one REFER (edge.md 8, calls.md 7).
#![forbid(unsafe_code)]

use std::time::Duration;

use tollgate_contract::{CallOutcome, Side, Transport, Way};
use tollgate_testkit::{Setup, Talk, Trapezoid};

use Side::{Inside, Outside};

/// Between two packets of a G.711 stream.
const PACKET: Duration = Duration::from_millis(20);

#[test]
fn thirty_percent_loss_brings_one_refer_after_the_hold_down_and_the_dialog_lives_on() {
    let mut bed = Setup::over(Transport::Tcp).build();
    bed.start_ticking();
    let mut talk = bed.answered(Way::Outbound);
    let mut sequence = speak_for(&mut bed, &mut talk, 1, Duration::from_secs(5), 0);
    bed.expect_nothing(Inside);
    sequence = speak_for(&mut bed, &mut talk, sequence, Duration::from_secs(30), 3);
    let refer = bed.expect(Inside, "REFER");
    assert!(
        refer.field("Refer-To").is_some_and(|to| to.starts_with("<sip:+")),
        "{refer:?}"
    );
    assert_eq!(refer.field("Refer-Sub"), Some("false"));
    assert_eq!(bed.fallback_stages(), ["hold_down", "refer_sent"]);
    bed.respond(Inside, &refer, 202, None);

    // calls.md 7: numbers of the far side are mapped over the REFER's, and mapped back in the answers.
    let asked = bed.request(Outside, "INFO");
    let info = bed.expect(Inside, "INFO");
    assert!(info.cseq().0 > refer.cseq().0, "above the REFER's number");
    bed.respond(Inside, &info, 200, None);
    let answered = bed.expect(Outside, "200");
    assert_eq!(answered.cseq(), asked.cseq());

    speak_for(&mut bed, &mut talk, sequence, Duration::from_secs(60), 3);
    bed.expect_nothing(Inside);
    bed.hang_up(Inside);
    assert_eq!(bed.records()[0].outcome, CallOutcome::FellBackInCall);
    bed.expect_nothing_left();
}

#[test]
fn loss_that_heals_within_the_hold_down_moves_nothing() {
    let mut bed = Setup::default().build();
    bed.start_ticking();
    let mut talk = bed.answered(Way::Outbound);
    let sequence = speak_for(&mut bed, &mut talk, 1, Duration::from_secs(8), 3);
    speak_for(&mut bed, &mut talk, sequence, Duration::from_secs(40), 0);
    bed.expect_nothing(Inside);
    assert_eq!(bed.fallback_stages(), ["hold_down", "cancelled"]);
}

#[test]
fn media_that_stops_brings_the_refer_after_the_shorter_hold_down() {
    let mut bed = Setup::default().build();
    bed.start_ticking();
    let mut talk = bed.answered(Way::Outbound);
    speak_for(&mut bed, &mut talk, 1, Duration::from_secs(5), 0);
    bed.wait(Duration::from_secs(7));
    bed.expect(Inside, "REFER");
}

#[test]
fn the_called_side_does_not_refer() {
    let mut bed = Setup::default().build();
    bed.start_ticking();
    let mut talk = bed.answered(Way::Inbound);
    speak_for(&mut bed, &mut talk, 1, Duration::from_secs(40), 3);
    bed.expect_nothing(Inside);
    assert!(bed.fallback_stages().contains(&"suppressed"));
}

/// Both sides speak; of what the outside sends, `lost` of ten packets never arrive. Returns the next sequence number.
fn speak_for(bed: &mut Trapezoid, talk: &mut Talk, from: u16, span: Duration, lost: u16) -> u16 {
    let count = (span.as_millis() / PACKET.as_millis()) as u16;
    for sequence in from..from + count {
        bed.wait(PACKET);
        assert!(bed.inside_speaks(talk, sequence));
        if sequence * 7 % 10 >= lost {
            assert!(bed.outside_speaks(talk, sequence));
        }
    }
    from + count
}
