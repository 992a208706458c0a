use super::*;
use crate::compare_media::call::Network;
use tollgate_contract::SrtpSuite;
use tollgate_media::MasterKey;

const SUITE: SrtpSuite = SrtpSuite::AesCm128HmacSha1_80;

#[test]
fn ends_that_face_each_other_deliver_all_and_foreign_keys_are_told() {
    let ends: Vec<Ends> = (900..904)
        .map(|place| Ends::new(Network::of_this_process(), place, SUITE))
        .collect();
    let mut generator = Generator::bind(&ends).unwrap();
    for (call, ends) in ends.iter().enumerate() {
        let key = if call == 0 {
            None
        } else {
            Some(MasterKey::new(SUITE, &[7; 30]).unwrap())
        };
        // No relay: each end is the other's relay, so what is protected with a key comes to an end without one.
        let relayed = Relayed {
            inside: ends.outside,
            outside: ends.inside,
            key,
        };
        generator.connect(call, ends, &relayed).unwrap();
    }
    let load = Load {
        packets_per_second: 800.0,
        duration: Duration::from_millis(200),
        favour: Favour::Neither,
    };
    generator.run(load);
    generator.run(load);
    let tally = generator.before();
    // The call without a key is one of four, whatever the machine let us send.
    assert!(
        tally.delivered > 0 && tally.sent.abs_diff(4 * tally.delivered) <= 8,
        "{}",
        tally.sent
    );
    assert_eq!(tally.out_of_order, 0);
    assert!(tally.spoilt > 0, "a foreign key passes");
    let arrived = generator.first_arrivals();
    assert!(arrived[..2].iter().all(Option::is_some) && arrived[2..].iter().all(Option::is_none));
}
