//! What the rules let through and what they refuse, one fault at a time.

use tollgate_contract::Pii;

use super::*;
use crate::VServiceId;
use crate::facts::DomainMode;

const NOW: Duration = Duration::from_secs(1_800_000_000);

#[test]
fn the_shape_of_the_draft_passes() {
    let route = RouteRules::default().check(&claimed(), NOW).unwrap();
    assert_eq!(route.number.to_string(), "+14085555432");
    assert_eq!(route.domain.as_str(), "example.com");
    assert_eq!(route.targets[0].socket_addr(), Some("192.0.2.4:2371".parse().unwrap()));
    assert_eq!(route.targets[0].uri, URI);
    assert!(route.is_live(NOW) && !route.is_live(route.expires_at));
}

#[test]
fn a_checked_route_told_again_passes_unchanged() {
    let rules = RouteRules::default();
    let mut claimed = claimed();
    claimed.targets.push(ClaimedTarget {
        uri: "sip:x@EXAMPLE.com:5061;maddr=[2001:db8::1]".into(),
        ..ClaimedTarget::default()
    });
    let route = rules.check(&claimed, NOW).unwrap();
    assert_eq!(rules.check(&ClaimedRoute::from(&route), NOW), Ok(route));
}

#[test]
fn each_fault_of_a_uri_has_its_name() {
    let long = format!("sip:{}@example.com:1;maddr=192.0.2.4", "u".repeat(600));
    let long_maddr = format!("sip:u@example.com:1;maddr={}a", "a.".repeat(127));
    for (uri, fault) in [
        ("", RouteFault::UriScheme),
        ("sips:u@example.com:1;maddr=192.0.2.4", RouteFault::UriScheme),
        ("sip:example.com:1;maddr=192.0.2.4", RouteFault::UriUser),
        ("sip:@example.com:1;maddr=192.0.2.4", RouteFault::UriUser),
        ("sip:u:p@example.com:1;maddr=192.0.2.4", RouteFault::UriUser),
        ("sip:u%4@example.com:1;maddr=192.0.2.4", RouteFault::UriUser),
        ("sip:u v@example.com:1;maddr=192.0.2.4", RouteFault::UriUser),
        ("sip:u@ex_ample.com:1;maddr=192.0.2.4", RouteFault::UriHost),
        ("sip:u@192.0.2.4:1;maddr=192.0.2.4", RouteFault::UriHost),
        ("sip:u@other@example.com:1;maddr=192.0.2.4", RouteFault::UriHost),
        ("sip:u@example.com;maddr=192.0.2.4", RouteFault::PortMissing),
        ("sip:u@example.com:0;maddr=192.0.2.4", RouteFault::PortRange),
        ("sip:u@example.com:65536;maddr=192.0.2.4", RouteFault::PortRange),
        ("sip:u@example.com:+1;maddr=192.0.2.4", RouteFault::PortRange),
        ("sip:u@example.com:;maddr=192.0.2.4", RouteFault::PortRange),
        ("sip:u@example.com:1", RouteFault::MaddrMissing),
        ("sip:u@example.com:1;transport=tcp", RouteFault::MaddrMissing),
        ("sip:u@example.com:1;maddr=", RouteFault::MaddrSyntax),
        ("sip:u@example.com:1;maddr=192.0.2.256", RouteFault::MaddrSyntax),
        ("sip:u@example.com:1;maddr=127.1", RouteFault::MaddrSyntax),
        ("sip:u@example.com:1;maddr=2130706433", RouteFault::MaddrSyntax),
        ("sip:u@example.com:1;maddr=0x7f000001", RouteFault::MaddrSyntax),
        ("sip:u@example.com:1;maddr=[fe80::1%25eth0]", RouteFault::MaddrSyntax),
        (&long_maddr, RouteFault::MaddrSyntax),
        ("sip:u@example.com:1;maddr=edge.example.com", RouteFault::HostName),
        (
            "sip:u@example.com:1;maddr=192.0.2.4;maddr=10.0.0.1",
            RouteFault::UriSyntax,
        ),
        ("sip:u@example.com:1;maddr=192.0.2.4;;x", RouteFault::UriSyntax),
        ("sip:u@example.com:1;maddr=192.0.2.4?Subject=x", RouteFault::UriSyntax),
        ("sip:u@example.com:1;maddr=192.0.2.4\r\nX: y", RouteFault::UriSyntax),
        (
            "sip:u@example.com:1;maddr=192.0.2.4;transport=udp",
            RouteFault::Transport,
        ),
        ("sip:u@example.net:1;maddr=192.0.2.4", RouteFault::DomainMismatch),
        ("sip:u@example.com:1;maddr=10.1.2.3", RouteFault::PrivateAddress),
        ("sip:u@example.com:1;maddr=127.0.0.1", RouteFault::LoopbackAddress),
        (
            "sip:u@example.com:1;maddr=[::ffff:10.1.2.3]",
            RouteFault::PrivateAddress,
        ),
        (&long, RouteFault::UriTooLong),
    ] {
        let mut claimed = claimed();
        claimed.targets[0].uri = uri.into();
        assert_eq!(RouteRules::default().check(&claimed, NOW), Err(fault), "{uri}");
    }
}

#[test]
fn a_uri_of_614_characters_passes_and_one_of_615_does_not() {
    let of_len = |len: usize| format!("sip:{}@example.com:1;maddr=192.0.2.4", "u".repeat(len - 34));
    assert_eq!(of_len(614).len(), 614);
    assert!(LearnedUri::parse(&of_len(614)).is_ok());
    assert_eq!(LearnedUri::parse(&of_len(615)), Err(RouteFault::UriTooLong));
}

#[test]
fn each_fault_of_a_route_has_its_name() {
    type Spoil = fn(&mut ClaimedRoute);
    let cases: [(RouteFault, Spoil); 18] = [
        (RouteFault::RouteId, |route| route.route_id = "a b".into()),
        (RouteFault::Number, |route| route.number = Pii("14085555432".into())),
        (RouteFault::Number, |route| route.number = Pii("+1 408".into())),
        (RouteFault::Number, |route| {
            route.number = Pii("+1234567890123456".into())
        }),
        (RouteFault::Domain, |route| route.domain = "192.0.2.4".into()),
        (RouteFault::OwnDomain, |route| route.domain = "Ours.example".into()),
        (RouteFault::OwnDomain, |route| route.domain = "ours.example.".into()),
        (RouteFault::DomainDenied, |route| route.domain = "denied.example".into()),
        (RouteFault::TicketAlphabet, |route| route.ticket = Pii("a,b".into())),
        (RouteFault::TicketAlphabet, |route| route.ticket = Pii(String::new())),
        (RouteFault::TicketTooLong, |route| route.ticket = Pii("a".repeat(1025))),
        (RouteFault::NoTargets, |route| route.targets.clear()),
        (RouteFault::TooManyTargets, |route| {
            route.targets = vec![route.targets[0].clone(); 9]
        }),
        (RouteFault::TargetMismatch, |route| route.targets[0].port = Some(1)),
        (RouteFault::TargetMismatch, |route| {
            route.targets[0].host = Some("192.0.2.5".into())
        }),
        (RouteFault::DomainMismatch, |route| {
            route.targets[0].expected_tls_domain = Some("a.example".into())
        }),
        (RouteFault::Lifetime, |route| route.learned_at = route.expires_at),
        (RouteFault::Expired, |route| {
            (route.learned_at, route.expires_at) = (Duration::ZERO, NOW)
        }),
    ];
    for (fault, spoil) in cases {
        let mut claimed = claimed();
        spoil(&mut claimed);
        assert_eq!(rules().check(&claimed, NOW), Err(fault), "{}", fault.name());
    }
    assert!(rules().check(&claimed(), NOW).is_ok());
}

#[test]
fn names_and_private_addresses_pass_only_by_permission() {
    let rules = RouteRules {
        allow_host_names: true,
        addresses: AddressRules {
            allow_private: true,
            ..AddressRules::default()
        },
        ..RouteRules::default()
    };
    for maddr in ["edge.example.com", "127.0.0.2", "10.0.0.1"] {
        let mut claimed = claimed();
        claimed.targets[0].uri = format!("sip:u@example.com:1;maddr={maddr}");
        assert!(rules.check(&claimed, NOW).is_ok(), "{maddr}");
    }
}

#[test]
fn targets_are_tried_by_priority() {
    let mut claimed = claimed();
    for (priority, last) in [(1, 5), (0, 6)] {
        claimed.targets.push(ClaimedTarget {
            uri: format!("sip:u@example.com:1;maddr=192.0.2.{last}"),
            priority,
            ..ClaimedTarget::default()
        });
    }
    claimed.targets[0].priority = 2;
    let route = RouteRules::default().check(&claimed, NOW).unwrap();
    let order: Vec<_> = route.targets.iter().map(|target| target.priority).collect();
    assert_eq!(order, [0, 1, 2]);
}

const URI: &str = "sip:17ahhs7zpaksux6z5==@example.com:2371;maddr=192.0.2.4;transport=tcp";

fn rules() -> RouteRules {
    RouteRules {
        local_domains: vec!["ours.example".parse().unwrap()],
        domains: Some(DomainPolicy {
            mode: DomainMode::Deny,
            domains: vec!["denied.example".parse().unwrap()],
        }),
        ..RouteRules::default()
    }
}

fn claimed() -> ClaimedRoute {
    ClaimedRoute {
        route_id: "r1".into(),
        revision: 1,
        number: Pii("+14085555432".into()),
        domain: "example.com".into(),
        targets: vec![ClaimedTarget {
            uri: URI.into(),
            ..ClaimedTarget::default()
        }],
        ticket: Pii("AAEAEGun".into()),
        learned_at: NOW - Duration::from_secs(60),
        expires_at: NOW + Duration::from_secs(86_400),
        vservice_id: VServiceId(7),
        peer: None,
        evidence: None,
    }
}
