use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tollgate_contract::counters::WorkerCounters;
use tollgate_contract::{CallView, Secret};
use tollgate_validator::checks::RouteRules;

use super::mappings::MappingsBody;
use super::revocations::RevocationsBody;
use super::routes::RoutesBody;
use crate::admin::{AdminState, Command, endpoints, router};
use crate::exposition::Exposition;
use crate::facts::Facts;
use crate::learned::{Bounds, FactsDocument, Ledger, LedgerSettings, RouteEntry, Scope, watch};
use crate::plane::{CertificateExpiry, CounterNames, Plane};
use crate::records::open_sink;

const NOW: Duration = Duration::from_secs(1_800_000_000);
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn the_description_and_the_endpoints_are_the_same() {
    let described: Value = serde_json::from_str(super::OPENAPI).unwrap();
    let paths = described["paths"].as_object().unwrap();
    let described: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, verbs)| {
            verbs
                .as_object()
                .unwrap()
                .keys()
                .map(move |verb| (path.clone(), verb.clone()))
        })
        .collect();
    let served: BTreeSet<(String, String)> = endpoints()
        .iter()
        .map(|endpoint| (endpoint.path.to_owned(), endpoint.verb.name().to_owned()))
        .collect();
    assert_eq!(described, served);
}

#[test]
fn the_examples_of_the_description_are_facts() {
    let described: Value = serde_json::from_str(super::OPENAPI).unwrap();
    let example = |path: &str| {
        let body = &described["paths"][path]["put"]["requestBody"]["content"]["application/json"];
        assert!(!body["example"].is_null(), "{path} has no example");
        body["example"].clone()
    };
    let RoutesBody { routes } = serde_json::from_value(example("/v1/routes")).unwrap();
    let MappingsBody { mappings } = serde_json::from_value(example("/v1/mappings")).unwrap();
    let RevocationsBody { revocations } = serde_json::from_value(example("/v1/tickets/revocations")).unwrap();
    let one: RouteEntry = serde_json::from_value(example("/v1/routes/{number}")).unwrap();
    let one = RouteEntry {
        number: "+1".to_owned(),
        ..one
    };
    let document = FactsDocument {
        routes: [routes, vec![one]].concat(),
        revocations,
        mappings,
        domains: None,
    };
    let batch = document.batch(Scope::All, &RouteRules::default(), NOW).unwrap();
    assert_eq!(batch.facts.len(), 6);
}

#[tokio::test]
async fn a_route_is_put_shown_and_removed() {
    let edge = Edge::start(None, Bounds::default()).await;
    let route = json!({ "domain": "b.example", "targets": ["192.0.2.4:5061"], "ticket": "secret-ticket" });
    for changed in [1, 0] {
        let put = edge.json("PUT", "/v1/routes/+14085551234", &route).await;
        assert_eq!(
            (put.status, &put.body["routes_changed"]),
            (200, &json!(changed)),
            "{put:?}"
        );
    }
    let shown = edge.ask("GET", "/v1/routes?number=%2B14085551234", "", "").await;
    assert_eq!(shown.body["routes"][0]["domain"], "b.example");
    assert_eq!(shown.body["routes"][0]["expires_at_ms"], Value::Null);
    assert!(!shown.body.to_string().contains("secret-ticket"));
    assert_eq!(edge.ask("GET", "/v1/routes/14085551234", "", "").await.body, shown.body);
    let removed = edge.ask("DELETE", "/v1/routes/+14085551234", "", "").await;
    assert_eq!((removed.status, &removed.body["removed"]), (200, &json!(1)));
    assert_eq!(edge.ask("GET", "/v1/routes/+14085551234", "", "").await.status, 404);
    assert_eq!(
        edge.ask("DELETE", "/v1/routes/+14085551234", "", "").await.body["removed"],
        0
    );
    assert_eq!(
        edge.ask("GET", "/v1/routes?number=%2B1", "", "").await.body["routes"],
        json!([])
    );
}

#[tokio::test]
async fn a_list_with_bad_entries_is_refused_whole_and_names_each() {
    let edge = Edge::start(None, Bounds::default()).await;
    let route = |number: &str, target: &str| json!({ "number": number, "domain": "b.example", "targets": [target], "ticket": "t" });
    let list =
        json!({ "routes": [route("+1", "192.0.2.4:5061"), route("1", "192.0.2.4:5061"), route("+2", "127.0.0.1:22")] });
    let refused = edge.json("PUT", "/v1/routes", &list).await;
    let causes: Vec<_> = refused.body["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (&entry["index"], &entry["cause"]))
        .collect();
    assert_eq!(refused.status, 422);
    assert_eq!(
        causes,
        [(&json!(1), &json!("number")), (&json!(2), &json!("loopback_address"))]
    );
    assert_eq!(edge.ask("GET", "/v1/routes", "", "").await.body["total"], 0);
}

#[tokio::test]
async fn a_list_that_does_not_fit_is_refused_whole_with_507() {
    let bounds = Bounds {
        routes_max: 2,
        ..Bounds::default()
    };
    let edge = Edge::start(None, bounds).await;
    let route =
        |number: &str| json!({ "number": number, "domain": "b.example", "targets": ["192.0.2.4:5061"], "ticket": "t" });
    let list = |numbers: &[&str]| json!({ "routes": numbers.iter().map(|number| route(number)).collect::<Vec<_>>() });
    assert_eq!(edge.json("PUT", "/v1/routes", &list(&["+1", "+2"])).await.status, 200);
    let full = edge.json("PUT", "/v1/routes", &list(&["+3"])).await;
    assert_eq!((full.status, &full.body["refused"][0]["cause"]), (507, &json!("full")));
    assert_eq!(
        edge.json("PUT", "/v1/routes?replace=true", &list(&["+3"])).await.status,
        200
    );
    let held = edge.ask("GET", "/v1/routes", "", "").await;
    assert_eq!(
        (&held.body["total"], &held.body["routes"][0]["number"]),
        (&json!(1), &json!("+3"))
    );
}

#[tokio::test]
async fn revocations_and_mappings_are_put_shown_page_by_page_and_removed() {
    let edge = Edge::start(None, Bounds::default()).await;
    let list = json!({ "revocations": [{ "number": "+1" }, { "granted_to": "b.example" }, { "number": "+2" }] });
    assert_eq!(edge.json("PUT", "/v1/tickets/revocations", &list).await.status, 200);
    let (mut seen, mut after) = (0, String::new());
    loop {
        let page = edge
            .ask("GET", &format!("/v1/tickets/revocations?limit=1{after}"), "", "")
            .await;
        seen += page.body["revocations"].as_array().unwrap().len();
        match page.body["next"].as_str() {
            Some(next) => after = format!("&after={}", next.replace('+', "%2B")),
            None => break,
        }
    }
    assert_eq!(seen, 3);
    let removed = edge.ask("DELETE", "/v1/tickets/revocations?number=%2B1", "", "").await;
    assert_eq!(removed.body["removed"], 1);
    assert_eq!(
        edge.ask("DELETE", "/v1/tickets/revocations", "", "").await.body["removed"],
        2
    );
    let described: Value = serde_json::from_str(super::OPENAPI).unwrap();
    let body = &described["paths"]["/v1/mappings"]["put"]["requestBody"]["content"]["application/json"]["example"];
    assert_eq!(edge.json("PUT", "/v1/mappings", body).await.status, 200);
    assert_eq!(
        edge.ask("GET", "/v1/mappings", "", "").await.body["mappings"][0]["mapping_id"],
        "m-1"
    );
    assert_eq!(
        edge.ask("DELETE", "/v1/mappings?mapping_id=m-1", "", "").await.body["removed"],
        1
    );
}

#[tokio::test]
async fn a_bad_body_is_told_with_its_place() {
    let edge = Edge::start(None, Bounds::default()).await;
    let broken = edge.ask("PUT", "/v1/routes", JSON, "{\"routes\":[\n {]}").await;
    assert_eq!(
        (broken.status, &broken.body["line"], &broken.body["column"]),
        (400, &json!(2), &json!(3))
    );
    let unknown = edge.ask("PUT", "/v1/routes", JSON, "{\"rutes\":[]}").await;
    assert!(
        unknown.status == 400 && unknown.body["error"].as_str().unwrap().contains("rutes"),
        "{unknown:?}"
    );
    let form = edge
        .ask("PUT", "/v1/routes", "Content-Type: text/plain\r\n", "{}")
        .await;
    assert_eq!(form.status, 415);
    assert_eq!(edge.ask("POST", "/v1/drain", "", "").await.status, 415);
    assert_eq!(edge.ask("GET", "/v1/routes?limit=x", "", "").await.status, 400);
    let long = "x".repeat(super::BODY_MAX + 1);
    assert_eq!(edge.ask("PUT", "/v1/routes", JSON, &long).await.status, 413);
}

#[tokio::test]
async fn with_a_token_only_health_is_told_to_who_does_not_bear_it() {
    let edge = Edge::start(Some(TOKEN), Bounds::default()).await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(edge.ask("GET", path, "", "").await.status, 200);
    }
    let wrong = TOKEN.replace('f', "e");
    let longer = format!("{TOKEN}0");
    let bearers = [
        "".to_owned(),
        format!("Bearer {wrong}"),
        format!("Bearer {longer}"),
        "Bearer ".to_owned(),
        TOKEN.to_owned(),
        format!("Basic {TOKEN}"),
    ];
    let mut refused = 0;
    for bearer in bearers {
        let header = if bearer.is_empty() {
            String::new()
        } else {
            format!("Authorization: {bearer}\r\n")
        };
        for path in ["/metrics", "/v1/routes", "/v1/openapi.json", "/nothing"] {
            let answer = edge.ask("GET", path, &header, "").await;
            assert!(
                answer.status == 401 && answer.head.to_lowercase().contains("www-authenticate: bearer"),
                "{answer:?}"
            );
            refused += 1;
        }
    }
    let right = format!("Authorization: bearer {TOKEN}\r\n");
    assert_eq!(edge.ask("GET", "/v1/routes", &right, "").await.status, 200);
    let twice = format!("{right}{right}");
    assert_eq!(edge.ask("GET", "/v1/routes", &twice, "").await.status, 401);
    let metrics = edge.ask("GET", "/metrics", &right, "").await.text;
    assert!(
        metrics.contains(&format!("tollgate_admin_unauthorised_total {}", refused + 1)),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_page_whose_name_resolves_to_loopback_reads_nothing() {
    let edge = Edge::start(None, Bounds::default()).await;
    for (host, status) in [
        ("evil.example", 421),
        ("localhost:9090", 200),
        ("[::1]:9090", 200),
        ("127.0.0.1", 200),
    ] {
        assert_eq!(
            edge.ask_as(host, "GET", "/v1/routes", "", "").await.status,
            status,
            "{host}"
        );
    }
}

#[tokio::test]
async fn the_facts_file_is_taken_whole_when_it_changes_and_a_bad_one_leaves_the_old() {
    tokio::time::pause();
    let path = std::env::temp_dir().join(format!("tollgate-facts-{}.json", std::process::id()));
    let route = r#"{"number":"+1","domain":"b.example","targets":["192.0.2.4:5061"],"ticket":"t"}"#;
    let good = format!(r#"{{"routes":[{route}]}}"#);
    std::fs::write(&path, &good).unwrap();
    let (commands, mut queue) = mpsc::channel::<Command>(4);
    let (told_tx, mut told) = mpsc::unbounded_channel();
    let tell = move |result| told_tx.send(result).unwrap();
    let watching = tokio::spawn(watch(path.clone(), commands, tell));
    let owner = tokio::spawn(async move {
        let mut ledger = ledger(Bounds::default());
        while let Some(Command::Learned(request)) = queue.recv().await {
            ledger.handle(NOW, request);
        }
        ledger
    });
    assert_eq!(told.recv().await.unwrap(), Ok(()));
    std::fs::write(
        &path,
        format!(r#"{{"routes":[{route},{{"number":"x","domain":"b","targets":[],"ticket":"t"}}]}}"#),
    )
    .unwrap();
    let fault = told.recv().await.unwrap().unwrap_err();
    assert!(
        fault.contains("entry 1: ") && fault.contains("stay in force"),
        "{fault}"
    );
    std::fs::write(&path, "{ not json").unwrap();
    let fault = told.recv().await.unwrap().unwrap_err();
    assert!(fault.contains("line 1 column 3"), "{fault}");
    std::fs::write(&path, format!("{good}\n")).unwrap();
    assert_eq!(told.recv().await.unwrap(), Ok(()));
    watching.abort();
    let _ = watching.await;
    assert_eq!(owner.await.unwrap().table().len(), 1);
    std::fs::remove_file(path).unwrap();
}

#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    text: String,
    body: Value,
}

/// The admin address of an edge that has a ledger and nothing else.
struct Edge {
    at: SocketAddr,
}

impl Edge {
    async fn start(token: Option<&str>, bounds: Bounds) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (commands, mut queue) = mpsc::channel(8);
        let sink = open_sink(&tollgate_policy::RecordSink::Off).unwrap();
        let facts = Arc::new(Mutex::new(Facts::new(sink)));
        let token = token.map(|token| Secret::new(token.as_bytes().to_vec()));
        let state = AdminState::new(Arc::new(Nothing), facts, commands).with_secret(token);
        let pages = router(state);
        tokio::spawn(async move { axum::serve(listener, pages).await });
        tokio::spawn(async move {
            let mut ledger = ledger(bounds);
            while let Some(command) = queue.recv().await {
                if let Command::Learned(request) = command {
                    ledger.handle(NOW, request);
                }
            }
        });
        Self { at }
    }

    async fn json(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.ask(method, path, JSON, &body.to_string()).await
    }

    async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        self.ask_as(&self.at.to_string(), method, path, headers, body).await
    }

    async fn ask_as(&self, host: &str, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        let at = self.at;
        tokio::task::spawn_blocking(move || exchange(at, &request))
            .await
            .unwrap()
    }
}

fn exchange(at: SocketAddr, request: &str) -> Reply {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // A body that is refused unread may be cut off.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Reply {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_owned(),
        body: serde_json::from_str(text).unwrap_or_default(),
        text: text.to_owned(),
    }
}

fn ledger(bounds: Bounds) -> Ledger {
    let settings = LedgerSettings {
        state_dir: None,
        bounds,
        rules: RouteRules::default(),
    };
    Ledger::open(settings, NOW).0
}

/// A data plane without calls.
struct Nothing;

impl Plane for Nothing {
    fn calls(&self) -> Vec<CallView> {
        Vec::new()
    }

    fn counters(&self) -> &[Arc<WorkerCounters>] {
        &[]
    }

    fn names(&self) -> CounterNames {
        CounterNames {
            methods: &[],
            parse_errors: &[],
            drop_reasons: &[],
        }
    }

    fn expose(&self, _: &mut Exposition) {}

    fn illness(&self) -> Option<String> {
        None
    }

    fn certificates(&self) -> Vec<CertificateExpiry> {
        Vec::new()
    }
}
