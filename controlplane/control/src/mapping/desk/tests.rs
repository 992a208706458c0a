use tokio::sync::oneshot::error::TryRecvError;
use tollgate_contract::Snapshot;
use tollgate_contract::publish::Publisher;
use tollgate_validator::facts::{GlobalEnd, InsideEnd};

use super::*;

#[test]
fn an_answer_waits_until_the_data_plane_serves_the_mapping() {
    let mut desk = desk(8);
    let mut answer = ask(&mut desk, now(), 1, "203.0.113.7", "b.example");
    assert!(desk.is_changed() && desk.has_pending());
    desk.settle(now(), |_| true);
    assert_eq!(answer.try_recv(), Err(TryRecvError::Empty), "nothing is published yet");
    desk.on_published(3);
    desk.settle(now(), |generation| generation < 3);
    assert_eq!(
        answer.try_recv(),
        Err(TryRecvError::Empty),
        "a thread has not seen it yet"
    );
    desk.settle(now(), |generation| generation <= 3);
    let mapped = mapped(&mut answer);
    assert_eq!(desk.table().at(mapped, now().unix).unwrap().domain, "b.example");
    assert!(!desk.has_pending());
}

#[test]
fn the_slowest_thread_of_the_data_plane_decides() {
    let mut publisher = Publisher::new(Snapshot::without_policy());
    let (mut fast, mut slow) = (publisher.reader(), publisher.reader());
    let mut desk = desk(8);
    let mut answer = ask(&mut desk, now(), 1, "203.0.113.7", "b.example");
    let mut snapshot = Snapshot::without_policy();
    snapshot.mappings = desk.table();
    desk.on_published(publisher.publish(snapshot));
    fast.load();
    desk.settle(now(), |generation| publisher.is_seen_by_all(generation));
    assert_eq!(answer.try_recv(), Err(TryRecvError::Empty));
    let seen = slow.load().mappings.clone();
    desk.settle(now(), |generation| publisher.is_seen_by_all(generation));
    assert!(seen.at(mapped(&mut answer), now().unix).is_some());
}

#[test]
fn a_mapping_in_force_is_answered_at_once() {
    let mut desk = desk(8);
    let mut first = ask(&mut desk, now(), 1, "203.0.113.7", "b.example");
    publish(&mut desk);
    let mut second = ask(&mut desk, now(), 2, "203.0.113.7", "b.example");
    assert_eq!(mapped(&mut second), mapped(&mut first));
    assert!(!desk.is_changed());
}

#[test]
fn what_the_data_plane_does_not_take_in_time_is_taken_back() {
    let mut desk = desk(8);
    let mut answer = ask(&mut desk, now(), 1, "203.0.113.7", "b.example");
    desk.on_published(1);
    desk.settle(now().plus(READY_LIMIT - Duration::from_millis(1)), |_| false);
    assert_eq!(answer.try_recv(), Err(TryRecvError::Empty));
    desk.settle(now().plus(READY_LIMIT), |_| false);
    assert_eq!(answer.try_recv(), Ok(Err(Cause::NotReady)));
    assert!(desk.is_changed() && desk.table().is_empty());
}

#[test]
fn clients_find_their_mappings_again_after_a_restart() {
    let mut before = desk(8);
    let mut first = ask(&mut before, now(), 1, "203.0.113.7", "b.example");
    let mut shared = ask(&mut before, now(), 2, "203.0.113.7", "b.example");
    publish(&mut before);
    let (told, kept) = (mapped(&mut first), before.kept(now()));
    assert_eq!((mapped(&mut shared), kept.len(), kept[0].clients.len()), (told, 1, 2));
    let mut after = desk(8);
    assert_eq!(after.restore(now(), &kept), 2);
    assert!(after.is_changed());
    publish(&mut after);
    assert_eq!(after.table().at(told, now().unix).unwrap().domain, "b.example");
    let mut again = ask(&mut after, now(), 1, "203.0.113.7", "b.example");
    publish(&mut after);
    assert_eq!(mapped(&mut again), told);
    let moved = KeptMapping {
        mapped: "192.0.2.99:1".parse().unwrap(),
        ..kept[0].clone()
    };
    assert_eq!(desk(8).restore(now(), &[moved]), 0, "another policy's ports");
}

#[test]
fn a_late_sight_still_counts_as_in_force() {
    let mut desk = desk(8);
    let mut answer = ask(&mut desk, now(), 1, "203.0.113.7", "b.example");
    desk.on_published(1);
    desk.settle(now().plus(READY_LIMIT * 2), |_| true);
    mapped(&mut answer);
}

#[test]
fn a_question_that_shares_an_unserved_mapping_waits_as_well() {
    let mut desk = desk(8);
    let mut first = ask(&mut desk, now(), 1, "203.0.113.7", "b.example");
    desk.on_published(1);
    let mut second = ask(&mut desk, now().plus(READY_LIMIT / 2), 2, "203.0.113.7", "b.example");
    desk.settle(now().plus(READY_LIMIT), |_| false);
    assert_eq!(first.try_recv(), Ok(Err(Cause::NotReady)));
    assert_eq!(second.try_recv(), Err(TryRecvError::Empty), "it asked later");
    desk.settle(now().plus(READY_LIMIT), |_| true);
    mapped(&mut second);
}

#[test]
fn a_mapping_given_up_while_it_is_waited_for_is_not_answered_as_made() {
    let mut desk = desk(8);
    let mut answer = ask(&mut desk, now(), 1, "203.0.113.7", "b.example");
    let (reply, mut unmapped) = oneshot::channel();
    let asked = Asked::Unmap("10.0.0.2:20000".parse().unwrap());
    let question = Question {
        client: client(1),
        asked,
        reply,
    };
    assert_eq!(desk.ask(now(), question), Outcome::Answered);
    publish(&mut desk);
    assert_eq!(unmapped.try_recv(), Ok(Ok(vec![Answer::Unmapped])));
    assert_eq!(answer.try_recv(), Ok(Err(Cause::NotReady)));
}

#[test]
fn far_addresses_that_are_not_public_or_ours_are_refused() {
    let mut desk = desk(8);
    for ip in [
        "10.9.9.9",
        "127.0.0.1",
        "169.254.1.1",
        "224.0.0.1",
        "0.0.0.0",
        "::1",
        "fd00::1",
        "fe80::1",
        "192.0.2.1",
    ] {
        let mut answer = ask(&mut desk, now(), 1, ip, "b.example");
        assert_eq!(answer.try_recv(), Ok(Err(Cause::PrivateTarget)), "{ip}");
    }
    assert!(desk.table().is_empty());
    desk.addresses.allow_private = true;
    let mut answer = ask(&mut desk, now(), 1, "127.0.0.1", "b.example");
    publish(&mut desk);
    mapped(&mut answer);
    let mut answer = ask(&mut desk, now(), 1, "192.0.2.1", "b.example");
    assert_eq!(
        answer.try_recv(),
        Ok(Err(Cause::PrivateTarget)),
        "our own stays refused"
    );
}

#[test]
fn a_name_whose_addresses_take_turns_keeps_its_mapping() {
    let mut desk = desk(8);
    let asked = |desk: &mut MappingDesk, ips: [&str; 2]| {
        let (reply, answer) = oneshot::channel();
        let target = ResolvedTarget {
            host: TargetHost::Name("sip.b.example".parse().unwrap()),
            addresses: ips.map(|ip| ip.parse().unwrap()).to_vec(),
            ..target("203.0.113.7", "b.example")
        };
        desk.ask(now(), question(1, Asked::Map(target), reply));
        publish(desk);
        answer
    };
    let first = mapped(&mut asked(&mut desk, ["203.0.113.7", "203.0.113.8"]));
    let second = mapped(&mut asked(&mut desk, ["203.0.113.8", "203.0.113.7"]));
    assert_eq!(first, second);
    let table = desk.table();
    let mapping = table.at(first, now().unix).unwrap();
    assert_eq!((mapping.global_host.as_str(), table.len()), ("sip.b.example", 1));
}

#[test]
fn quota_and_full_table_are_told_apart() {
    let mut desk = desk(4);
    let refusals: Vec<_> = (1..=4)
        .map(|last| ask(&mut desk, now(), 1, &format!("203.0.113.{last}"), "b.example").try_recv())
        .collect();
    assert_eq!(refusals.last(), Some(&Ok(Err(Cause::Quota))));
    ask(&mut desk, now(), 2, "203.0.113.9", "b.example");
    let mut answer = ask(&mut desk, now(), 2, "203.0.113.10", "b.example");
    assert_eq!(answer.try_recv(), Ok(Err(Cause::TableFull)));
}

#[test]
fn answers_that_wait_are_bounded() {
    let mut desk = desk(8);
    let mut waiting: Vec<_> = (0..MAX_PENDING)
        .map(|_| ask(&mut desk, now(), 1, "203.0.113.7", "b.example"))
        .collect();
    let mut answer = ask(&mut desk, now(), 2, "203.0.113.7", "b.example");
    assert_eq!(answer.try_recv(), Ok(Err(Cause::NotReady)));
    publish(&mut desk);
    waiting.iter_mut().for_each(|answer| _ = mapped(answer));
}

#[test]
fn a_list_comes_in_pages_of_the_clients_own_mappings() {
    let rules = LeaseRules {
        per_client_max: 100,
        ..rules(100)
    };
    let mut desk = MappingDesk::new(rules, AddressRules::default(), Arc::default());
    for last in 1..=40 {
        ask(&mut desk, now(), 1, &format!("203.0.113.{last}"), "b.example");
    }
    ask(&mut desk, now(), 2, "203.0.113.99", "b.example");
    let mut seen = Vec::new();
    for (after, count, more) in [(0, 32, true), (20_031, 8, false), (20_039, 0, false)] {
        let (reply, mut answer) = oneshot::channel();
        desk.ask(now(), question(1, Asked::List { after }, reply));
        let mut lines = answer.try_recv().unwrap().unwrap();
        assert_eq!(lines.pop(), Some(Answer::Listed { count, more }));
        assert_eq!(lines.len(), usize::from(count));
        seen.extend(lines);
    }
    let Some(Answer::Item(last)) = seen.last() else {
        panic!("{seen:?}");
    };
    assert_eq!(
        (last.global.to_string().as_str(), last.lifetime),
        ("203.0.113.40:5061", IDLE)
    );
}

#[test]
fn a_mapping_of_the_feed_is_shared_with_clients_and_judged_alike() {
    let mut desk = desk(8);
    let made = desk.put(now(), Origin::Feed, &fact("203.0.113.7", 20_003)).unwrap();
    publish(&mut desk);
    let mut answer = ask(&mut desk, now(), 1, "203.0.113.7", "b.example");
    publish(&mut desk);
    assert_eq!((mapped(&mut answer), made.port()), (made, 20_003));
    let private = desk.put(now(), Origin::Feed, &fact("10.9.9.9", 20_004));
    assert_eq!(private, Err(PutError::PrivateTarget));
    let any = desk.put(now(), Origin::Api, &fact("203.0.113.8", 0)).unwrap();
    assert!(desk.leases.rules().ports.contains(&any.port()));
    assert!(desk.withdraw(now(), Origin::Api, &"m1".parse().unwrap(), Duration::ZERO));
    assert!(desk.table().at(any, now().unix).is_none());
}

#[test]
fn the_view_tells_orphans_from_mappings_in_use() {
    let stats: Arc<MappingStats> = Arc::default();
    let mut desk = MappingDesk::new(rules(8), AddressRules::default(), Arc::clone(&stats));
    let session = stats.open(client(1), now().instant).unwrap();
    let mut answer = ask(&mut desk, now(), 1, "2001:db8::7", "b.example");
    publish(&mut desk);
    mapped(&mut answer);
    let view = desk.view(now().plus(Duration::from_secs(10)));
    let mapping = &view["mappings"][0];
    let [orphan, in_force, host, idle, remaining] =
        ["orphan", "in_force", "host", "idle_s", "remaining_s"].map(|member| mapping[member].clone());
    assert_eq!((orphan, in_force), (json!(false), json!(true)));
    assert_eq!((host, idle, remaining), (json!("[2001:db8::7]"), json!(10), json!(590)));
    assert_eq!(view["clients"][0]["client"], "10.0.1.1");
    drop(session);
    assert_eq!(desk.view(now())["mappings"][0]["orphan"], true);
    assert!(desk.expire(now()).is_empty());
    let mut page = crate::exposition::Exposition::default();
    crate::mapping::expose(&mut page, &stats);
    let page = page.into_text();
    assert!(page.contains("tollgate_mapping_orphans 1\n"), "{page}");
    assert!(
        page.contains("tollgate_mapping_ports{state=\"by_client\"} 1\n"),
        "{page}"
    );
    assert_eq!(desk.expire(now().plus(IDLE)).len(), 1);
    assert_eq!(desk.view(now())["ports"]["resting"], 1);
}

const IDLE: Duration = Duration::from_secs(600);

fn rules(ports: u16) -> LeaseRules {
    LeaseRules {
        bind: "10.0.0.2".parse().unwrap(),
        ports: 20_000..=19_999 + ports,
        idle_timeout: IDLE,
        per_client_max: 3,
        quarantine: Duration::from_secs(60),
    }
}

fn desk(ports: u16) -> MappingDesk {
    let addresses = AddressRules {
        own: vec!["192.0.2.1".parse().unwrap()],
        ..AddressRules::default()
    };
    MappingDesk::new(rules(ports), addresses, Arc::default())
}

fn client(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 1, last])
}

fn question(last: u8, asked: Asked, reply: oneshot::Sender<Reply>) -> Question {
    let client = client(last);
    Question { client, asked, reply }
}

fn target(ip: &str, domain: &str) -> ResolvedTarget {
    let ip: IpAddr = ip.parse().unwrap();
    ResolvedTarget {
        host: TargetHost::Ip(ip),
        addresses: vec![ip],
        port: NonZeroU16::new(5061).unwrap(),
        transport: Transport::Tls,
        domain: domain.parse().unwrap(),
    }
}

fn ask(desk: &mut MappingDesk, now: Now, last: u8, ip: &str, domain: &str) -> oneshot::Receiver<Reply> {
    let (reply, answer) = oneshot::channel();
    desk.ask(now, question(last, Asked::Map(target(ip, domain)), reply));
    answer
}

/// As the control loop does where the data plane is quick.
fn publish(desk: &mut MappingDesk) {
    if desk.is_changed() {
        desk.on_published(1);
    }
    desk.settle(now(), |_| true);
}

fn mapped(answer: &mut oneshot::Receiver<Reply>) -> SocketAddr {
    let reply = answer.try_recv().unwrap().unwrap();
    let [Answer::Mapped { mapped, lifetime }] = reply[..] else {
        panic!("{reply:?}");
    };
    assert_eq!(lifetime, IDLE);
    mapped
}

fn fact(ip: &str, port: u16) -> MappingFact {
    MappingFact {
        mapping_id: "m1".parse().unwrap(),
        global: GlobalEnd {
            ip: ip.parse().unwrap(),
            port: 5061,
            transport: Transport::Tls,
        },
        inside: InsideEnd {
            ip: "10.0.0.2".parse().unwrap(),
            port,
            interface: String::new(),
        },
        expected_tls_domain: "b.example".parse().unwrap(),
        route_ids: Vec::new(),
        expires_at: now().unix + Duration::from_secs(86_400),
    }
}

fn now() -> Now {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    Now {
        instant: *START.get_or_init(Instant::now),
        unix: Duration::from_secs(1_800_000_000),
    }
}
