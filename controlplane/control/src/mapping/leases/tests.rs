use std::time::Instant;

use tollgate_contract::Transport;

use super::*;

const IDLE: Duration = Duration::from_secs(600);

#[test]
fn the_same_key_has_the_same_answer_and_a_new_life() {
    let mut table = table(4, 4);
    let start = now();
    let first = ask(&mut table, start, client(1), &key("b.example")).unwrap();
    let later = start.plus(IDLE - Duration::from_secs(1));
    assert_eq!(ask(&mut table, later, client(1), &key("b.example")), Ok(first));
    assert!(table.expire(start.plus(IDLE)).is_empty());
    assert_eq!(table.expire(later.plus(IDLE)), [first]);
}

#[test]
fn another_client_with_the_same_key_shares_the_port() {
    let mut table = table(4, 4);
    let first = ask(&mut table, now(), client(1), &key("b.example"));
    assert_eq!(ask(&mut table, now(), client(2), &key("b.example")), first);
    assert_eq!(table.counts().by_clients, 1);
}

#[test]
fn two_domains_behind_one_address_have_two_ports() {
    let mut table = table(4, 4);
    let (b, c) = (key("b.example"), key("c.example"));
    let tcp = MappingKey {
        transport: Transport::Tcp,
        ..b.clone()
    };
    let ports: BTreeSet<SocketAddr> = [&b, &c, &tcp]
        .into_iter()
        .map(|key| ask(&mut table, now(), client(1), key).unwrap())
        .collect();
    assert_eq!(ports.len(), 3);
    let snapshot = table.table();
    let domains: BTreeSet<&str> = ports
        .iter()
        .map(|mapped| snapshot.at(*mapped, Duration::ZERO).unwrap().domain.as_str())
        .collect();
    assert_eq!(domains.len(), 2);
}

#[test]
fn far_addresses_of_both_families_are_mapped_and_the_inside_one_is_ours() {
    for bind in ["10.0.0.2", "2001:db8:a::2"] {
        let mut table = MappingLeases::new(LeaseRules {
            bind: bind.parse().unwrap(),
            ..rules(4, 4)
        });
        for global in ["203.0.113.7:5061", "[2001:db8::7]:5061"] {
            let key = MappingKey {
                global: global.parse().unwrap(),
                ..key("b.example")
            };
            let mapped = table.ask(now(), client(1), &key, "b.example").unwrap();
            assert_eq!(mapped.ip().to_string(), bind);
            let snapshot = table.table();
            let mapping = snapshot.at(mapped, Duration::ZERO).unwrap();
            assert_eq!(
                (mapping.global, mapping.global_host.as_str()),
                (key.global, "b.example")
            );
        }
    }
}

#[test]
fn a_client_that_asks_for_everything_meets_its_quota_and_others_are_served() {
    let mut table = table(100, 10);
    let asked = (0..50).map(|at| ask(&mut table, now(), client(1), &numbered(at)));
    let refused = asked.filter(|asked| *asked == Err(AskError::Quota)).count();
    assert_eq!(refused, 40);
    assert!(ask(&mut table, now(), client(2), &key("b.example")).is_ok());
    // What it has it keeps.
    assert!(ask(&mut table, now(), client(1), &numbered(3)).is_ok());
}

#[test]
fn asking_and_giving_up_in_turns_does_not_drain_the_range() {
    let mut table = table(100, 10);
    for at in 0..50 {
        if let Ok(mapped) = ask(&mut table, now(), client(1), &numbered(at)) {
            assert!(table.give_up(now(), client(1), mapped));
        }
    }
    assert_eq!((table.counts().resting, table.counts().free), (10, 90));
    assert_eq!(ask(&mut table, now(), client(1), &numbered(77)), Err(AskError::Quota));
    // A resting port of its own may come back, and the quota with it when the rest is over.
    assert!(ask(&mut table, now(), client(1), &numbered(4)).is_ok());
    table.expire(now().plus(PORT_QUARANTINE));
    assert!((100..109).all(|at| ask(&mut table, now(), client(1), &numbered(at)).is_ok()));
    assert_eq!(ask(&mut table, now(), client(1), &numbered(200)), Err(AskError::Quota));
}

#[test]
fn a_full_table_refuses_and_evicts_nobody() {
    let mut table = table(3, 10);
    let held: Vec<SocketAddr> = (0..3)
        .map(|at| ask(&mut table, now(), client(1), &numbered(at)).unwrap())
        .collect();
    assert_eq!(
        ask(&mut table, now(), client(2), &numbered(9)),
        Err(AskError::TableFull)
    );
    let claim = claim("b.example", None, None);
    assert_eq!(
        table.put(now(), Origin::Feed, &id("m1"), &claim),
        Err(PutError::TableFull)
    );
    assert!(held.iter().all(|mapped| table.is_held_by(*mapped, client(1))));
}

#[test]
fn a_port_serves_another_key_only_after_its_rest() {
    let mut table = table(1, 10);
    let start = now();
    let mapped = ask(&mut table, start, client(1), &key("b.example")).unwrap();
    assert!(table.give_up(start, client(1), mapped));
    assert!(table.table().is_empty());
    let just_before = start.plus(PORT_QUARANTINE - Duration::from_millis(1));
    assert_eq!(
        ask(&mut table, just_before, client(2), &key("c.example")),
        Err(AskError::TableFull)
    );
    assert_eq!(
        ask(&mut table, start.plus(PORT_QUARANTINE), client(2), &key("c.example")),
        Ok(mapped)
    );
}

#[test]
fn a_key_that_returns_in_time_finds_its_port_again() {
    let mut table = table(10, 10);
    let mapped = ask(&mut table, now(), client(1), &key("b.example")).unwrap();
    table.give_up(now(), client(1), mapped);
    assert_eq!(ask(&mut table, now(), client(2), &key("b.example")), Ok(mapped));
    assert_eq!((table.counts().resting, table.counts().free), (0, 9));
}

#[test]
fn ports_are_used_in_turns() {
    let mut table = table(3, 10);
    let start = now();
    let mut used = Vec::new();
    for at in 0..3 {
        let then = start.plus(PORT_QUARANTINE * at);
        let mapped = ask(&mut table, then, client(1), &numbered(u16::try_from(at).unwrap())).unwrap();
        table.give_up(then, client(1), mapped);
        table.expire(then.plus(PORT_QUARANTINE));
        used.push(mapped.port());
    }
    assert_eq!(used, [20_000, 20_001, 20_002]);
}

#[test]
fn use_keeps_a_mapping_alive() {
    let mut table = table(4, 4);
    let start = now();
    let mapped = ask(&mut table, start, client(1), &key("b.example")).unwrap();
    table.note_use(start.plus(IDLE / 2), mapped);
    assert!(table.expire(start.plus(IDLE)).is_empty());
    assert_eq!(table.expire(start.plus(IDLE / 2).plus(IDLE)), [mapped]);
}

#[test]
fn a_shared_mapping_lasts_until_its_last_holder_is_gone() {
    let mut table = table(4, 1);
    let mapped = ask(&mut table, now(), client(1), &key("b.example")).unwrap();
    ask(&mut table, now(), client(2), &key("b.example")).unwrap();
    assert!(table.give_up(now(), client(1), mapped));
    assert!(!table.give_up(now(), client(1), mapped));
    assert!(table.is_held_by(mapped, client(2)));
    // No port rests for the first client, so its quota is free.
    assert!(ask(&mut table, now(), client(1), &key("c.example")).is_ok());
}

#[test]
fn nobody_gives_up_what_another_holds() {
    let mut table = table(4, 4);
    let mapped = ask(&mut table, now(), client(1), &key("b.example")).unwrap();
    let elsewhere = SocketAddr::new("10.0.0.3".parse().unwrap(), mapped.port());
    assert!(!table.give_up(now(), client(2), mapped));
    assert!(!table.give_up(now(), client(1), elsewhere));
    assert!(table.is_held_by(mapped, client(1)) && !table.is_held_by(elsewhere, client(1)));
}

#[test]
fn facts_are_not_under_the_quota_and_end_by_themselves() {
    let mut table = table(4, 1);
    let start = now();
    let end = start.unix + Duration::from_secs(30);
    let claims = [
        claim("b.example", Some(20_002), Some(end)),
        claim("c.example", None, None),
    ];
    let b = table.put(start, Origin::Feed, &id("m1"), &claims[0]).unwrap();
    let c = table.put(start, Origin::Api, &id("m1"), &claims[1]).unwrap();
    assert_eq!((b.port(), table.counts().by_facts), (20_002, 2));
    assert_eq!(table.table().at(b, end), None);
    assert_eq!(table.expire(start.plus(Duration::from_secs(30))), [b]);
    assert!(table.expire(start.plus(IDLE * 100)).is_empty());
    assert!(table.withdraw(start, Origin::Api, &id("m1"), Duration::ZERO));
    assert!(!table.withdraw(start, Origin::Api, &id("m1"), Duration::ZERO));
    assert!(table.at(start, c).is_none());
}

#[test]
fn a_demanded_address_must_be_ours_and_free() {
    let mut table = table(4, 4);
    let taken = ask(&mut table, now(), client(1), &key("b.example")).unwrap();
    let mut put = |name: &str, port| table.put(now(), Origin::Feed, &id("m1"), &claim(name, Some(port), None));
    assert_eq!(put("c.example", taken.port()), Err(PutError::Conflict));
    assert_eq!(put("b.example", taken.port() + 1), Err(PutError::Conflict));
    assert_eq!(put("c.example", 19_999), Err(PutError::NotMappable));
    assert_eq!(put("b.example", taken.port()), Ok(taken));
    let elsewhere = Claim {
        mapped: Some("10.0.0.3:20001".parse().unwrap()),
        ..claim("c.example", None, None)
    };
    assert_eq!(
        table.put(now(), Origin::Feed, &id("m2"), &elsewhere),
        Err(PutError::NotMappable)
    );
    let mut datagrams = claim("c.example", None, None);
    datagrams.key.transport = Transport::Udp;
    assert_eq!(
        table.put(now(), Origin::Feed, &id("m2"), &datagrams),
        Err(PutError::NotMappable)
    );
}

#[test]
fn a_fact_that_changes_moves_and_lets_go_of_the_former() {
    let mut table = table(4, 4);
    let first = table
        .put(now(), Origin::Feed, &id("m1"), &claim("b.example", None, None))
        .unwrap();
    let second = table
        .put(now(), Origin::Feed, &id("m1"), &claim("c.example", None, None))
        .unwrap();
    assert_ne!(first, second);
    assert!(table.at(now(), first).is_none() && table.at(now(), second).is_some());
    // One that cannot be moved stays as it was.
    let bad = claim("d.example", Some(1), None);
    assert!(table.put(now(), Origin::Feed, &id("m1"), &bad).is_err());
    assert!(table.at(now(), second).is_some());
}

#[test]
fn a_withdrawn_fact_serves_until_its_drain_is_over() {
    let mut table = table(4, 4);
    let start = now();
    let mapped = table
        .put(start, Origin::Feed, &id("m1"), &claim("b.example", None, None))
        .unwrap();
    table.on_published(1);
    assert!(table.withdraw(start, Origin::Feed, &id("m1"), Duration::from_secs(20)));
    assert!(table.is_changed(), "the data plane must learn the end");
    assert!(table.expire(start.plus(Duration::from_secs(19))).is_empty());
    assert_eq!(table.table().at(mapped, start.unix + Duration::from_secs(20)), None);
    assert_eq!(table.expire(start.plus(Duration::from_secs(20))), [mapped]);
}

#[test]
fn a_client_that_shares_a_facts_mapping_outlasts_it() {
    let mut table = table(4, 4);
    let start = now();
    let end = start.unix + Duration::from_secs(30);
    let claim = claim("b.example", None, Some(end));
    let mapped = table.put(start, Origin::Feed, &id("m1"), &claim).unwrap();
    table.on_published(7);
    assert_eq!(ask(&mut table, start, client(1), &key("b.example")), Ok(mapped));
    // The snapshot published before ends it too early, so it is not in force until the next.
    assert_eq!(table.at(start, mapped).unwrap().generation, None);
    assert!(table.expire(start.plus(Duration::from_secs(31))).is_empty());
    assert!(table.table().at(mapped, end).is_some());
}

#[test]
fn a_change_is_seen_until_it_is_published() {
    let mut table = table(4, 4);
    assert!(!table.is_changed());
    let mapped = ask(&mut table, now(), client(1), &key("b.example")).unwrap();
    assert!(table.is_changed());
    table.on_published(5);
    assert_eq!(table.at(now(), mapped).unwrap().generation, Some(5));
    ask(&mut table, now(), client(1), &key("b.example")).unwrap();
    assert!(!table.is_changed(), "a refresh needs no snapshot");
    table.on_published(6);
    assert_eq!(table.at(now(), mapped).unwrap().generation, Some(5));
    table.give_up(now(), client(1), mapped);
    assert!(table.is_changed());
}

#[test]
fn any_order_of_events_keeps_the_books() {
    for seed in 1..40u64 {
        let mut table = table(8, 3);
        let (mut state, mut then) = (seed, now());
        for _ in 0..400 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let dice = state >> 33;
            let (who, what) = (client((dice % 4) as u8), numbered((dice / 4 % 12) as u16));
            let mapped = SocketAddr::new(table.rules().bind, 20_000 + (dice / 48 % 8) as u16);
            let fact = id(&format!("m{}", dice % 5));
            match dice / 400 % 6 {
                0 | 1 => _ = ask(&mut table, then, who, &what),
                2 => _ = table.give_up(then, who, mapped),
                3 => {
                    let claim = Claim {
                        key: what,
                        ..claim("b.example", None, Some(then.unix + Duration::from_secs(dice % 900)))
                    };
                    _ = table.put(then, Origin::Feed, &fact, &claim);
                }
                4 => _ = table.withdraw(then, Origin::Feed, &fact, Duration::from_secs(dice % 3 * 10)),
                _ => {
                    then = then.plus(Duration::from_secs(dice % 200));
                    table.expire(then);
                }
            }
            check_books(&table, seed);
        }
    }
}

/// What must hold between any two events.
fn check_books(table: &MappingLeases, seed: u64) {
    let (leased, resting, free) = (table.leases.len(), table.resting.len(), table.free.len());
    assert_eq!(leased + resting + free, table.rules.ports.len(), "seed {seed}");
    assert_eq!(table.ports_by_key.len(), leased + resting, "seed {seed}");
    assert!(
        table.leases.values().all(|lease| !lease.holds.is_empty()),
        "seed {seed}"
    );
    let holds = table
        .leases
        .iter()
        .flat_map(|(port, lease)| lease.holds.keys().map(move |source| (*port, source)));
    let mut charges: BTreeMap<IpAddr, u32> = BTreeMap::new();
    let mut facts = BTreeMap::new();
    for (port, source) in holds {
        match source {
            Source::Client(client) => *charges.entry(*client).or_default() += 1,
            Source::Fact(origin, id) => _ = facts.insert((*origin, id.clone()), port),
        }
    }
    for rest in table.resting.values() {
        if let Some(client) = rest.charged {
            *charges.entry(client).or_default() += 1;
        }
    }
    assert_eq!(facts, table.ports_by_fact, "seed {seed}");
    assert_eq!(charges, table.charges, "seed {seed}");
    assert!(
        charges.values().all(|charge| *charge <= table.rules.per_client_max),
        "seed {seed}"
    );
}

fn rules(ports: u16, per_client_max: u32) -> LeaseRules {
    LeaseRules {
        bind: "10.0.0.2".parse().unwrap(),
        ports: 20_000..=19_999 + ports,
        idle_timeout: IDLE,
        per_client_max,
        quarantine: PORT_QUARANTINE,
    }
}

fn table(ports: u16, per_client_max: u32) -> MappingLeases {
    MappingLeases::new(rules(ports, per_client_max))
}

fn ask(table: &mut MappingLeases, now: Now, client: IpAddr, key: &MappingKey) -> Result<SocketAddr, AskError> {
    table.ask(now, client, key, "203.0.113.7")
}

fn key(domain: &str) -> MappingKey {
    MappingKey {
        global: "203.0.113.7:5061".parse().unwrap(),
        transport: Transport::Tls,
        domain: domain.parse().unwrap(),
    }
}

fn numbered(at: u16) -> MappingKey {
    MappingKey {
        global: SocketAddr::from(([203, 0, 113, 7], 1_000 + at)),
        ..key("b.example")
    }
}

fn claim(domain: &str, port: Option<u16>, expires: Option<Duration>) -> Claim {
    Claim {
        key: key(domain),
        host: "203.0.113.7".to_owned(),
        mapped: port.map(|port| SocketAddr::from(([10, 0, 0, 2], port))),
        expires,
    }
}

fn id(text: &str) -> MappingId {
    text.parse().unwrap()
}

fn client(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 1, last])
}

/// The same moment at every call.
fn now() -> Now {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    Now {
        instant: *START.get_or_init(Instant::now),
        unix: Duration::from_secs(1_800_000_000),
    }
}
