//! The control loop of a running edge: policy, names, learned facts and mappings become snapshots, one at a time.
//!
//! It is the only place that publishes. It touches no packet and no message, and waits for the data plane only where a
//! client of the mapping service is to be told an address that works.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, interval};
use tollgate_contract::publish::Publisher;
use tollgate_contract::{Admission, CallPhase, Now, RouteTable, Snapshot};
use tollgate_control::ime::{CallResult, ValidatorEvent};
use tollgate_control::learned::{Changes, Ledger, LedgerSettings, add_learned};
use tollgate_control::mapping::Question;
use tollgate_control::{AdminState, Command, Names, Plane, compile, resolve};
use tollgate_policy::Policy;
use tollgate_validator::checks::RouteRules;

use crate::exit::{self, fail};
use crate::mappings::Mappings;
use crate::plane::EdgePlane;
use crate::validator::Validator;

/// How often names of peers are resolved anew.
const RESOLVE_EVERY: Duration = Duration::from_secs(60);

/// How often what ends by time is looked for.
const TICK: Duration = Duration::from_secs(1);

/// How often answers are looked at that wait for the data plane.
const SETTLE_EVERY: Duration = Duration::from_millis(5);

/// How often a drain looks whether the last call has ended.
const DRAIN_POLL: Duration = Duration::from_millis(200);

/// How long forced calls have for their BYEs.
const CLOSING_GRACE: Duration = Duration::from_millis(1_500);

/// Events taken before the next snapshot, so that a busy validator does not have one made for each route.
const EVENTS_PER_SNAPSHOT: usize = 256;

/// A running edge and what steers it.
pub(crate) struct Edge {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    pub(crate) policy: Policy,
    pub(crate) names: Names,
    pub(crate) plane: Arc<EdgePlane>,
    pub(crate) publisher: Publisher,
    pub(crate) admin: AdminState,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) ledger: Ledger,
    pub(crate) mappings: Option<Mappings>,
    pub(crate) validator: mpsc::Receiver<ValidatorEvent>,
    pub(crate) line: Option<Validator>,
    pub(crate) rules: watch::Sender<RouteRules>,
    pub(crate) base: Snapshot,
    pub(crate) routes: RouteTable,
    pub(crate) stage: Stage,
}

/// How far the edge is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It takes calls.
    Open,
    /// It takes none, and waits for those it has until then.
    Draining(Instant),
    /// It ends those it has, until then.
    Closing(Instant),
}

/// What wakes the loop besides channels.
struct Wakes {
    term: Signal,
    interrupt: Signal,
    hangup: Signal,
    resolve: Interval,
    tick: Interval,
    settle: Interval,
    drain: Interval,
}

impl Wakes {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            resolve: interval(RESOLVE_EVERY),
            tick: interval(TICK),
            settle: interval(SETTLE_EVERY),
            drain: interval(DRAIN_POLL),
        })
    }
}

impl Edge {
    /// Serves until it is told to leave and the last call has ended.
    pub(crate) async fn serve(mut self) -> ExitCode {
        let mut wakes = match Wakes::new() {
            Ok(wakes) => wakes,
            Err(why) => return fail(exit::OS, format!("cannot wait for signals: {why}")),
        };
        wakes.resolve.tick().await;
        while !self.is_over().await {
            self.wait(&mut wakes).await;
        }
        self.plane.handle.stop();
        if !self.ledger.close() {
            tracing::error!(event = "state_not_saved", "the last learned facts may not be on disk");
        }
        tracing::info!(event = "stopped", "bye");
        ExitCode::SUCCESS
    }

    /// Waits for one thing and does what it asks for.
    async fn wait(&mut self, wakes: &mut Wakes) {
        let is_waiting = self
            .mappings
            .as_ref()
            .is_some_and(|mappings| mappings.desk.has_pending());
        tokio::select! {
            _ = wakes.term.recv() => self.leave().await,
            _ = wakes.interrupt.recv() => self.leave().await,
            _ = wakes.hangup.recv() => drop(self.reload().await),
            _ = wakes.drain.tick(), if self.stage != Stage::Open => {}
            _ = wakes.settle.tick(), if is_waiting => self.settle(),
            _ = wakes.tick.tick() => self.on_tick(),
            _ = wakes.resolve.tick() => self.refresh_names().await,
            Some(command) = self.commands.recv() => self.on_command(command).await,
            Some(event) = self.validator.recv() => self.on_validator(event),
            question = next_question(self.mappings.as_mut()) => self.on_question(question),
            result = next_result(self.line.as_mut()) => self.on_result(result),
        }
    }

    async fn on_command(&mut self, command: Command) {
        match command {
            Command::Drain => self.begin_drain().await,
            Command::Reload(reply) => {
                let answer = self.reload().await;
                // Who asked may have gone; what was decided stands.
                let _ = reply.send(answer);
            }
            Command::Mappings(reply) => {
                let view = self.mappings.as_ref().map(|mappings| mappings.desk.view(now()));
                let _ = reply.send(view);
            }
            Command::Learned(request) => {
                let changes = self.ledger.handle(now().unix, request);
                self.take_in(changes);
            }
        }
    }

    fn on_validator(&mut self, first: ValidatorEvent) {
        let mut changes = self.learn(first);
        for _ in 1..EVENTS_PER_SNAPSHOT {
            let Ok(event) = self.validator.try_recv() else { break };
            changes.extend(self.learn(event));
        }
        self.take_in(changes);
    }

    fn learn(&mut self, event: ValidatorEvent) -> Changes {
        match event {
            ValidatorEvent::Batch { source, batch } => {
                let outcome = self.ledger.apply(now().unix, source, batch);
                if outcome.refused_count > 0 {
                    let (source, refused) = (source.name(), outcome.refused_count);
                    tracing::warn!(event = "facts_refused", source, refused, "the metrics tell the causes");
                }
                return outcome.changes;
            }
            ValidatorEvent::Up { source } => {
                tracing::info!(
                    event = "validator_up",
                    protocol = source.name(),
                    "it tells what it knows"
                );
            }
            ValidatorEvent::Down { why } => {
                tracing::warn!(
                    event = "validator_down",
                    why,
                    "what was learned stays until its own end"
                );
            }
            ValidatorEvent::Ring { is_up } => tracing::info!(event = "validator_ring", is_up, "as the validator says"),
        }
        Changes::default()
    }

    fn on_result(&mut self, result: CallResult) {
        if let Some(line) = &mut self.line {
            line.note(self.ledger.table(), result);
        }
    }

    fn on_question(&mut self, question: Question) {
        if let Some(mappings) = &mut self.mappings {
            mappings.take_questions(now(), question);
        }
        self.publish_mappings();
        self.settle();
    }

    fn settle(&mut self) {
        if let Some(mappings) = &mut self.mappings {
            let publisher = &self.publisher;
            mappings
                .desk
                .settle(now(), |generation| publisher.is_seen_by_all(generation));
        }
        // An answer given up takes its mapping back.
        self.publish_mappings();
    }

    fn on_tick(&mut self) {
        self.publisher.release_retired();
        let changes = self.ledger.tick(now().unix);
        self.take_in(changes);
        if let Some(fault) = self.ledger.take_fault() {
            tracing::error!(event = "state_store", %fault, "calls go on; learned facts are not kept");
        }
        if let Some(mappings) = &mut self.mappings {
            mappings.tick(now(), &self.plane.handle.telemetry().mapped);
        }
        if let Some(line) = &mut self.line {
            line.tick();
        }
        self.publish_mappings();
        self.admin.set_learned(self.ledger.stats());
    }

    /// Names of peers may have moved; a change is a new snapshot.
    async fn refresh_names(&mut self) {
        let (names, unresolved) = resolve(&self.policy, &self.names).await;
        unresolved
            .iter()
            .for_each(|why| tracing::warn!(event = "unresolved", %why, "kept as it was"));
        if names == self.names {
            return;
        }
        self.names = names;
        match compile(&self.policy, &self.names, Admission::Open) {
            Ok(base) => self.rebase(base),
            Err(errors) => errors
                .iter()
                .for_each(|why| tracing::error!(event = "not_published", %why, "kept as it was")),
        }
    }

    /// Puts another compiled policy in the place of the present one.
    pub(crate) fn rebase(&mut self, base: Snapshot) {
        let settings = LedgerSettings::of(&self.policy);
        let mut changes = self.ledger.set_policy(&settings, &base.routes);
        self.base = base;
        // The rest of the policy is no route, and may have changed too.
        changes.has_additions = true;
        self.rules.send_replace(settings.rules);
        self.take_in(changes);
    }

    /// A snapshot follows what has been learned.
    fn take_in(&mut self, changes: Changes) {
        if changes.is_empty() {
            return;
        }
        self.routes = self.routes.with_changes(changes.routes);
        if let Some(mappings) = &mut self.mappings {
            mappings.follow(now(), changes.mappings);
        }
        self.publish();
    }

    fn publish_mappings(&mut self) {
        if self
            .mappings
            .as_ref()
            .is_some_and(|mappings| mappings.desk.is_changed())
        {
            self.publish();
        }
    }

    /// Puts everything in force as it is now.
    pub(crate) fn publish(&mut self) {
        let admission = match self.stage {
            Stage::Open => Admission::Open,
            Stage::Draining(_) => Admission::Draining,
            Stage::Closing(_) => Admission::Closing,
        };
        let snapshot = compose(
            &self.base,
            &self.routes,
            &self.ledger,
            self.mappings.as_ref(),
            admission,
        );
        let generation = self.publisher.publish(snapshot);
        if let Some(mappings) = &mut self.mappings {
            mappings.desk.on_published(generation);
        }
        self.plane.handle.wake();
    }

    /// SIGTERM: the first drains, the second forces.
    async fn leave(&mut self) {
        match self.stage {
            Stage::Open => self.begin_drain().await,
            Stage::Draining(_) => self.force().await,
            Stage::Closing(_) => {}
        }
    }

    /// New calls get 503 and readiness is off; calls in progress go on until they end, the deadline passes, or a second
    /// signal comes.
    async fn begin_drain(&mut self) {
        if self.stage != Stage::Open {
            return;
        }
        self.admin.set_draining();
        self.stage = Stage::Draining(Instant::now() + self.policy.calls.drain_deadline);
        self.publish();
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        tracing::info!(event = "draining", calls = self.calls(is_live).await, "leaving service");
    }

    async fn force(&mut self) {
        let calls = self.calls(is_live).await;
        self.stage = Stage::Closing(Instant::now() + CLOSING_GRACE);
        if calls > 0 {
            self.admin.set_forced(calls);
            tracing::warn!(event = "drain_forced", calls, "calls are ended");
        }
        self.publish();
    }

    /// Whether there is nothing left to stay for.
    async fn is_over(&mut self) -> bool {
        match self.stage {
            Stage::Open => false,
            Stage::Draining(deadline) => {
                if self.calls(is_live).await == 0 {
                    return true;
                }
                if Instant::now() >= deadline {
                    self.force().await;
                }
                false
            }
            // A call that is ending waits for the answer to its BYE.
            Stage::Closing(until) => Instant::now() >= until || self.calls(|_| true).await == 0,
        }
    }

    async fn calls(&self, counts: fn(CallPhase) -> bool) -> u64 {
        let plane = Arc::clone(&self.plane);
        let counted = tokio::task::spawn_blocking(move || {
            let calls = plane.calls();
            calls.iter().filter(|call| counts(call.phase)).count() as u64
        });
        counted.await.unwrap_or_default()
    }
}

/// The snapshot of everything there is.
pub(crate) fn compose(
    base: &Snapshot,
    routes: &RouteTable,
    ledger: &Ledger,
    mappings: Option<&Mappings>,
    admission: Admission,
) -> Snapshot {
    let mut snapshot = Snapshot {
        routes: routes.clone(),
        admission,
        ..base.clone()
    };
    add_learned(&mut snapshot, ledger.view());
    if let Some(mappings) = mappings {
        snapshot.mappings = mappings.table();
    }
    snapshot
}

/// Both clocks.
pub(crate) fn now() -> Now {
    Now {
        instant: Instant::now(),
        unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
    }
}

fn is_live(phase: CallPhase) -> bool {
    phase != CallPhase::Ending
}

async fn next_result(line: Option<&mut Validator>) -> CallResult {
    match line {
        Some(line) => line.result().await,
        None => std::future::pending().await,
    }
}

async fn next_question(mappings: Option<&mut Mappings>) -> Question {
    match mappings {
        Some(mappings) => mappings.question().await,
        None => std::future::pending().await,
    }
}
