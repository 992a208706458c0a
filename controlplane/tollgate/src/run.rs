//! `tollgate run`: the edge in the foreground, until it is told to leave.

use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tollgate_contract::publish::Publisher;
use tollgate_contract::{Admission, CallPhase, Report};
use tollgate_control::{AdminState, Command, Facts, Names, Plane, compile, open_sink, resolve, router};
use tollgate_policy::Policy;

use crate::boot::{BootError, boot};
use crate::exit::{self, fail};
use crate::plane::EdgePlane;
use crate::{check, logging};

/// Facts waiting to be taken in; more are counted as lost by the workers.
const REPORT_QUEUE: usize = 16_384;

/// How often a drain looks whether the last call has ended.
const DRAIN_POLL: Duration = Duration::from_millis(200);

/// How long forced calls have for their BYEs.
const CLOSING_GRACE: Duration = Duration::from_millis(1_500);

/// How often names of peers are resolved anew.
const RESOLVE_EVERY: Duration = Duration::from_secs(60);

/// Runs the edge of a policy file.
pub(crate) fn run(path: &Path) -> ExitCode {
    let policy = match tollgate_policy::load(path) {
        Ok(policy) => policy,
        Err(errors) => return check::refuse(&errors),
    };
    logging::start(&policy.logging);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(serve(policy)),
        Err(why) => fail(exit::OS, format!("cannot start the control plane: {why}")),
    }
}

async fn serve(policy: Policy) -> ExitCode {
    let (names, unresolved) = resolve(&policy, &Names::new()).await;
    unresolved
        .iter()
        .for_each(|why| tracing::warn!(event = "unresolved", %why, "its calls go to the PSTN until it has"));
    let snapshot = match compile(&policy, &names, Admission::Open) {
        Ok(snapshot) => snapshot,
        Err(errors) => {
            errors.iter().for_each(|why| eprintln!("tollgate: {why}"));
            return ExitCode::from(exit::CONFIG);
        }
    };
    let sink = match open_sink(&policy.logging.call_records) {
        Ok(sink) => sink,
        Err(why) => return fail(exit::NO_INPUT, format!("logging.call_records: {why}")),
    };
    let (report_tx, report_rx) = sync_channel(REPORT_QUEUE);
    let (plane, publisher) = match boot(&policy, snapshot, report_tx) {
        Ok(started) => started,
        Err(why) => return fail(code_of(&why), why),
    };
    let plane = Arc::new(plane);
    let facts = Arc::new(Mutex::new(Facts::new(sink)));
    consume(report_rx, Arc::clone(&facts));
    let (command_tx, commands) = mpsc::channel(8);
    let admin = AdminState::new(Arc::clone(&plane) as Arc<dyn Plane>, facts, command_tx);
    let listener = match TcpListener::bind(policy.admin.listen).await {
        Ok(listener) => listener,
        Err(why) => {
            return fail(
                exit::UNAVAILABLE,
                format!("admin.listen {}: {why}", policy.admin.listen),
            );
        }
    };
    let pages = router(admin.clone());
    tokio::spawn(async move {
        if let Err(why) = axum::serve(listener, pages).await {
            tracing::error!(event = "admin_ended", %why, "the admin address is gone");
        }
    });
    announce(&policy, &plane);
    Edge {
        policy,
        plane,
        publisher,
        admin,
        commands,
        names,
    }
    .until_told()
    .await
}

/// A running edge and what steers it.
struct Edge {
    policy: Policy,
    plane: Arc<EdgePlane>,
    publisher: Publisher,
    admin: AdminState,
    commands: mpsc::Receiver<Command>,
    names: Names,
}

impl Edge {
    async fn until_told(mut self) -> ExitCode {
        let signals = signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
        let (mut term, mut interrupt) = match signals {
            Ok(signals) => signals,
            Err(why) => return fail(exit::OS, format!("cannot wait for signals: {why}")),
        };
        let mut refresh = tokio::time::interval(RESOLVE_EVERY);
        refresh.tick().await;
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = interrupt.recv() => break,
                Some(Command::Drain) = self.commands.recv() => break,
                _ = refresh.tick() => self.refresh_names().await,
            }
        }
        self.drain(&mut term, &mut interrupt).await
    }

    /// Names of peers may have moved; a change is a new snapshot.
    async fn refresh_names(&mut self) {
        self.publisher.release_retired();
        let (names, unresolved) = resolve(&self.policy, &self.names).await;
        unresolved
            .iter()
            .for_each(|why| tracing::warn!(event = "unresolved", %why, "kept as it was"));
        if names != self.names {
            self.names = names;
            self.publish(Admission::Open);
        }
    }

    fn publish(&mut self, admission: Admission) {
        match compile(&self.policy, &self.names, admission) {
            Ok(snapshot) => {
                self.publisher.publish(snapshot);
                self.plane.handle.wake();
            }
            Err(errors) => errors
                .iter()
                .for_each(|why| tracing::error!(event = "not_published", %why, "kept as it was")),
        }
    }

    /// New calls get 503 and readiness is off; calls in progress go on until they end, the deadline passes, or a second
    /// signal comes.
    async fn drain(mut self, term: &mut Signal, interrupt: &mut Signal) -> ExitCode {
        self.admin.set_draining();
        self.publish(Admission::Draining);
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        let deadline = Instant::now() + self.policy.calls.drain_deadline;
        tracing::info!(event = "draining", calls = self.live_calls().await, "leaving service");
        let mut poll = tokio::time::interval(DRAIN_POLL);
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = interrupt.recv() => break,
                _ = poll.tick() => {
                    if self.live_calls().await == 0 || Instant::now() >= deadline {
                        break;
                    }
                }
            }
        }
        let forced = self.live_calls().await;
        if forced > 0 {
            self.admin.set_forced(forced);
            self.publish(Admission::Closing);
            tokio::time::sleep(CLOSING_GRACE).await;
            tracing::warn!(event = "drain_forced", calls = forced, "calls were ended");
        }
        self.plane.handle.stop();
        tracing::info!(event = "stopped", "bye");
        ExitCode::SUCCESS
    }

    async fn live_calls(&self) -> u64 {
        let plane = Arc::clone(&self.plane);
        let counted = tokio::task::spawn_blocking(move || {
            plane
                .calls()
                .iter()
                .filter(|call| call.phase != CallPhase::Ending)
                .count() as u64
        });
        counted.await.unwrap_or_default()
    }
}

/// Takes reports in on a thread of its own, so that a slow record file delays nothing but records.
fn consume(reports: Receiver<Report>, facts: Arc<Mutex<Facts>>) {
    let work = move || {
        while let Ok(report) = reports.recv() {
            facts
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .observe(&report);
        }
    };
    if let Err(why) = std::thread::Builder::new().name("facts".into()).spawn(work) {
        tracing::error!(event = "facts_thread", %why, "reports are not taken in");
    }
}

fn announce(policy: &Policy, plane: &EdgePlane) {
    let addresses: Vec<String> = plane.handle.sip_addresses().iter().map(ToString::to_string).collect();
    tracing::info!(
        event = "started",
        version = env!("CARGO_PKG_VERSION"),
        domain = %policy.domain,
        sip = addresses.join(" "),
        admin = %policy.admin.listen,
        workers = plane.counters.len(),
        routes = policy.routes.len(),
        "ready",
    );
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

fn code_of(why: &BootError) -> u8 {
    match why {
        BootError::Tls(..) => exit::CONFIG,
        BootError::Start(_) => exit::UNAVAILABLE,
    }
}
