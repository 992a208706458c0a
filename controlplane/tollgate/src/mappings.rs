//! The mapping service as the control loop drives it: its questions, its mappings, and their file.
//!
//! What a mapping is and who may have it is decided in `tollgate_control::mapping`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tollgate_contract::{MappingTable, Now};
use tollgate_control::learned::{MappingChange, Source};
use tollgate_control::mapping::{
    self, AddressRules, KeptMapping, LeaseRules, MappingDesk, MappingServiceConfig, MappingStats, Origin,
    QUESTION_QUEUE, Question, serve_mappings, system_resolver,
};
use tollgate_policy::{MappingService, Policy};
use tollgate_runtime::MappedPortCounters;

use crate::boot::Fault;

/// The mapping service of a running edge.
pub(crate) struct Mappings {
    pub(crate) desk: MappingDesk,
    pub(crate) stats: Arc<MappingStats>,
    questions: mpsc::Receiver<Question>,
    dir: Option<PathBuf>,
    saved: Vec<KeptMapping>,
    saving: Option<JoinHandle<()>>,
}

impl Mappings {
    /// Opens the service of a policy that has one, with the mappings of before a restart. It answers nobody yet.
    pub(crate) async fn open(policy: &Policy, addresses: AddressRules, now: Now) -> Result<Option<Opened>, Fault> {
        let Some(service) = &policy.mapping else {
            return Ok(None);
        };
        let listener = TcpListener::bind(service.listen)
            .await
            .map_err(|why| Fault::bind("mapping.listen".to_owned(), &format!("tcp {}", service.listen), &why))?;
        let stats = Arc::new(MappingStats::default());
        let mut desk = MappingDesk::new(LeaseRules::of(service), addresses, Arc::clone(&stats));
        let kept = policy.state_dir.as_deref().map_or(Ok(Vec::new()), mapping::load);
        let kept = kept.unwrap_or_else(|why| {
            tracing::error!(event = "mappings_lost", %why, "clients must ask anew");
            Vec::new()
        });
        let restored = desk.restore(now, &kept);
        if restored > 0 {
            tracing::info!(event = "mappings_restored", restored, "as they were before the restart");
        }
        let (question_tx, questions) = mpsc::channel(QUESTION_QUEUE);
        let mappings = Self {
            desk,
            stats,
            questions,
            dir: policy.state_dir.clone(),
            saved: kept,
            saving: None,
        };
        let config = config(policy, service);
        Ok(Some(Opened {
            mappings,
            listener,
            config,
            questions: question_tx,
        }))
    }

    /// The next question; never, once the service has ended.
    pub(crate) async fn question(&mut self) -> Question {
        match self.questions.recv().await {
            Some(question) => question,
            None => std::future::pending().await,
        }
    }

    /// Takes questions that wait, up to a round of them.
    pub(crate) fn take_questions(&mut self, now: Now, first: Question) {
        self.desk.ask(now, first);
        for _ in 1..QUESTION_QUEUE {
            let Ok(question) = self.questions.try_recv() else {
                return;
            };
            self.desk.ask(now, question);
        }
    }

    /// Makes the mappings that learned facts demand, or ends them.
    pub(crate) fn follow(&mut self, now: Now, changes: impl IntoIterator<Item = MappingChange>) {
        for MappingChange { source, id, mapping } in changes {
            let origin = origin(source);
            let Some(fact) = mapping else {
                self.desk.withdraw(now, origin, &id, Duration::ZERO);
                continue;
            };
            if let Err(why) = self.desk.put(now, origin, &fact) {
                let origin = origin.name();
                tracing::warn!(event = "mapping_refused", origin, %id, %why, "a fact's mapping is not made");
            }
        }
    }

    /// Ends what is over but for ports in use, and has changes written. Due once a second.
    pub(crate) fn tick(&mut self, now: Now, ports: &[MappedPortCounters]) {
        for port in ports.iter().filter(|port| port.open.get() > 0) {
            self.desk.note_use(now, port.address);
        }
        self.desk.expire(now);
        self.save(now);
    }

    /// The table for a snapshot.
    pub(crate) fn table(&self) -> MappingTable {
        self.desk.table()
    }

    /// Writes the clients' mappings on a thread of its own, one writing at a time.
    fn save(&mut self, now: Now) {
        let is_busy = self.saving.as_ref().is_some_and(|saving| !saving.is_finished());
        let Some(dir) = self.dir.clone().filter(|_| !is_busy) else {
            return;
        };
        let kept = self.desk.kept(now);
        if kept == self.saved {
            return;
        }
        self.saved.clone_from(&kept);
        self.saving = Some(tokio::task::spawn_blocking(move || {
            if let Err(why) = mapping::save(&dir, kept) {
                tracing::error!(event = "mappings_not_saved", dir = %dir.display(), %why, "a restart will lose them");
            }
        }));
    }
}

/// A service that has its address and waits to be started.
pub(crate) struct Opened {
    pub(crate) mappings: Mappings,
    listener: TcpListener,
    config: MappingServiceConfig,
    questions: mpsc::Sender<Question>,
}

impl Opened {
    /// Starts to answer.
    pub(crate) fn start(self) -> Mappings {
        let stats = Arc::clone(&self.mappings.stats);
        tokio::spawn(serve_mappings(self.listener, self.config, self.questions, stats));
        self.mappings
    }
}

fn config(policy: &Policy, service: &MappingService) -> MappingServiceConfig {
    MappingServiceConfig {
        allowed: policy.inside.agent.allow_from.clone(),
        idle: service.idle_timeout,
        resolver: system_resolver(),
    }
}

fn origin(source: Source) -> Origin {
    match source {
        Source::Api | Source::File => Origin::Api,
        Source::Feed | Source::Vap => Origin::Feed,
    }
}
