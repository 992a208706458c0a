//! An edge's half of the line, with a ledger behind it, and folders that clean up after themselves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tollgate_control::Exposition;
use tollgate_control::ime::{
    EVENT_QUEUE, Start, UP_QUEUE, ValidatorChannels, ValidatorEvent, ValidatorSettings, ValidatorStats, expose,
    run_validator,
};
use tollgate_control::learned::{Bounds, FactsDocument, Ledger, LedgerSettings};
use tollgate_policy::ValidatorAddress;
use tollgate_validator::checks::RouteRules;
use tollgate_validator::facts::UpFact;

/// Nothing here takes longer on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

/// Pause between tries.
pub(crate) const RECONNECT: Duration = Duration::from_millis(50);

/// A folder for one test's sockets and files.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tollgate-validator-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("validator.sock")
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn settings(socket: &Path) -> ValidatorSettings {
    ValidatorSettings {
        address: ValidatorAddress::Unix(socket.to_owned()),
        vap: None,
        peer_uid: None,
        tls: None,
        reconnect: RECONNECT,
        silence: Duration::from_secs(15),
        routes_max: 1_000,
    }
}

/// An edge's half of the line.
pub(crate) struct Edge {
    pub(crate) events: mpsc::Receiver<ValidatorEvent>,
    pub(crate) up: mpsc::Sender<UpFact>,
    pub(crate) stats: Arc<ValidatorStats>,
    pub(crate) ledger: Ledger,
    /// What happened but for batches, in a word each.
    pub(crate) seen: Vec<String>,
    pub(crate) rules: watch::Sender<RouteRules>,
    task: JoinHandle<()>,
}

impl Edge {
    pub(crate) fn start(settings: ValidatorSettings) -> Self {
        let bounds = Bounds {
            routes_max: settings.routes_max,
            keys_max: 16,
        };
        let ledger = LedgerSettings {
            state_dir: None,
            bounds,
            rules: RouteRules::default(),
        };
        Self::with(settings, Ledger::open(ledger, unix()).0)
    }

    /// The same with what was learned before.
    pub(crate) fn with(settings: ValidatorSettings, ledger: Ledger) -> Self {
        let (event_tx, events) = mpsc::channel(EVENT_QUEUE);
        let (up, up_rx) = mpsc::channel(UP_QUEUE);
        let (rules_tx, rules) = watch::channel(ledger.rules().clone());
        let stats = Arc::new(ValidatorStats::default());
        let channels = ValidatorChannels {
            events: event_tx,
            up: up_rx,
            rules,
        };
        let start = Start::of(ledger.table());
        let task = tokio::spawn(run_validator(settings, start, channels, Arc::clone(&stats)));
        Self {
            events,
            up,
            stats,
            ledger,
            seen: Vec::new(),
            rules: rules_tx,
            task,
        }
    }

    /// Does a control loop's work until something is so.
    pub(crate) async fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !is_so(self) {
                match timeout(Duration::from_millis(10), self.events.recv()).await {
                    Ok(Some(event)) => self.take(event),
                    Ok(None) => panic!("the task has ended"),
                    Err(_) => {}
                }
            }
        };
        if timeout(LIMIT, waiting).await.is_err() {
            panic!("not within {LIMIT:?}: {what}; {:?}\n{}", self.seen, self.page());
        }
    }

    /// The same for a while, whatever comes.
    pub(crate) async fn go_on_for(&mut self, time: Duration) {
        let over = sleep(time);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return,
                Some(event) = self.events.recv() => self.take(event),
            }
        }
    }

    pub(crate) fn domain_of(&self, number: &str) -> Option<String> {
        let held = self.ledger.table().in_use(number.parse().unwrap())?;
        Some(held.route.domain.to_string())
    }

    pub(crate) fn page(&self) -> String {
        let mut page = Exposition::default();
        expose(&mut page, &self.stats);
        page.into_text()
    }

    /// A sample of the page.
    pub(crate) fn sample(&self, name: &str) -> f64 {
        let page = self.page();
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(&format!("tollgate_{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in\n{page}")).parse().unwrap()
    }

    /// Ends the line, as a restart does; the ledger stays.
    pub(crate) async fn stop(self) -> Ledger {
        drop(self.events);
        timeout(LIMIT, self.task)
            .await
            .expect("the task ends with its control loop")
            .unwrap();
        self.ledger
    }

    fn take(&mut self, event: ValidatorEvent) {
        match event {
            ValidatorEvent::Up { source } => self.seen.push(format!("up {source}")),
            ValidatorEvent::Down { why } => self.seen.push(format!("down {why}")),
            ValidatorEvent::Ring { is_up } => self.seen.push(format!("ring {is_up}")),
            ValidatorEvent::Batch { source, batch } => {
                self.ledger.apply(unix(), source, batch);
            }
        }
    }
}

/// A document of routes: number, domain.
pub(crate) fn document(routes: &[(&str, &str)]) -> FactsDocument {
    let route = |(number, domain): &(&str, &str)| {
        format!(
            r#"{{"number":"{number}","domain":"{domain}","targets":["192.0.2.4:5061"],
                "ticket":"AAEAEGunuBCdrUHRgLQAwE_UMMg."}}"#
        )
    };
    let routes: Vec<String> = routes.iter().map(route).collect();
    serde_json::from_str(&format!(r#"{{"routes":[{}]}}"#, routes.join(","))).unwrap()
}

pub(crate) fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}
