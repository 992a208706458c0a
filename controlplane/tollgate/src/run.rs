//! `tollgate run`: everything of the edge is opened, then the control loop has it.
//!
//! What is not there at start is not there later: an edge that cannot start leaves nothing running.

use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};

use rand::RngCore;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tollgate_contract::publish::Publisher;
use tollgate_contract::{Admission, Report, RouteTable, Snapshot};
use tollgate_control::ime::EVENT_QUEUE;
use tollgate_control::learned::{Ledger, LedgerSettings, MappingChange, watch as watch_file};
use tollgate_control::{AdminState, Command, Facts, Names, Plane, compile, mapping, open_sink, resolve, router};
use tollgate_policy::Policy;

use crate::boot::{Fault, boot};
use crate::edge::{Edge, Stage, compose, now};
use crate::exit::{self, fail};
use crate::mappings::{Mappings, Opened};
use crate::plane::EdgePlane;
use crate::validator::Validator;
use crate::{check, logging};

/// Facts waiting to be taken in; more are counted as lost by the workers.
const REPORT_QUEUE: usize = 16_384;

/// Requests of the admin address and the facts file that wait for the control loop.
const COMMAND_QUEUE: usize = 64;

/// Runs the edge of a policy file.
pub(crate) fn run(path: &Path) -> ExitCode {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let policy = match tollgate_policy::load(path) {
        Ok(policy) => policy,
        Err(errors) => return check::refuse(&errors),
    };
    logging::start(&policy.logging);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(serve(path, text, policy)),
        Err(why) => fail(exit::OS, format!("cannot start the control plane: {why}")),
    }
}

async fn serve(path: &Path, text: String, policy: Policy) -> ExitCode {
    let (names, unresolved) = resolve(&policy, &Names::new()).await;
    unresolved
        .iter()
        .for_each(|why| tracing::warn!(event = "unresolved", %why, "its calls go to the PSTN until it has"));
    let started = match start(&policy, &names).await {
        Ok(started) => started,
        Err(faults) => return check::refuse_faults(path, &faults),
    };
    let Started {
        listener,
        plane,
        publisher,
        facts,
        ledger,
        opened,
        base,
        routes,
    } = started;
    let mappings = opened.map(Opened::start);
    let (rules, rules_rx) = watch::channel(ledger.rules().clone());
    let (event_tx, validator) = mpsc::channel(EVENT_QUEUE);
    let line = match Validator::start(&policy, &ledger, &facts, event_tx, rules_rx) {
        Ok(line) => line,
        Err(fault) => return check::refuse_faults(path, &[fault]),
    };
    let (command_tx, commands) = mpsc::channel(COMMAND_QUEUE);
    let admin = admin_state(&policy, &plane, facts, &command_tx, mappings.as_ref(), line.as_ref());
    serve_admin(listener, admin.clone());
    follow_file(&policy, command_tx);
    announce(&policy, &plane, &ledger);
    let edge = Edge {
        path: path.to_owned(),
        text,
        policy,
        names,
        plane,
        publisher,
        admin,
        commands,
        ledger,
        mappings,
        validator,
        line,
        rules,
        base,
        routes,
        stage: Stage::Open,
    };
    edge.serve().await
}

/// What runs once nothing can fail any more.
struct Started {
    listener: TcpListener,
    plane: Arc<EdgePlane>,
    publisher: Publisher,
    facts: Arc<Mutex<Facts>>,
    ledger: Ledger,
    opened: Option<Opened>,
    base: Snapshot,
    routes: RouteTable,
}

/// Opens everything of ours; the data plane last, so that no call is taken by an edge that then does not start.
async fn start(policy: &Policy, names: &Names) -> Result<Started, Vec<Fault>> {
    let base = compile(policy, names, Admission::Open).map_err(|errors| check::compile_faults(&errors))?;
    let sink = open_sink(&policy.logging.call_records).map_err(|why| {
        let mend = "name a file in a folder that this user may write to, \"-\" or \"off\"";
        let problem = format!("cannot be opened for appending: {why}");
        vec![Fault::new(exit::CANNOT_CREATE, "logging.call_records", problem, mend)]
    })?;
    let listener = TcpListener::bind(policy.admin.listen).await.map_err(|why| {
        vec![Fault::bind(
            "admin.listen".to_owned(),
            &format!("tcp {}", policy.admin.listen),
            &why,
        )]
    })?;
    let (ledger, routes) = open_ledger(policy, &base);
    let addresses = ledger.rules().addresses.clone();
    let mut opened = Mappings::open(policy, addresses, now())
        .await
        .map_err(|fault| vec![fault])?;
    if let Some(opened) = &mut opened {
        let view = ledger.view();
        let kept = view.mappings().map(|(source, mapping)| MappingChange {
            source,
            id: mapping.mapping_id.clone(),
            mapping: Some(Arc::new(mapping.clone())),
        });
        opened.mappings.follow(now(), kept);
    }
    let mappings = opened.as_ref().map(|opened| &opened.mappings);
    let first = compose(&base, &routes, &ledger, mappings, Admission::Open);
    let (report_tx, report_rx) = sync_channel(REPORT_QUEUE);
    let (plane, publisher) = boot(policy, first, report_tx)?;
    if let Some(opened) = &mut opened {
        opened.mappings.desk.on_published(publisher.current().generation);
    }
    let facts = Arc::new(Mutex::new(Facts::new(sink)));
    consume(report_rx, Arc::clone(&facts));
    Ok(Started {
        listener,
        plane: Arc::new(plane),
        publisher,
        facts,
        ledger,
        opened,
        base,
        routes,
    })
}

/// What was learned before, as far as it still lives, and the routes that makes with the policy's.
fn open_ledger(policy: &Policy, base: &Snapshot) -> (Ledger, RouteTable) {
    let settings = LedgerSettings::of(policy);
    let (mut ledger, faults) = Ledger::open(settings.clone(), now().unix);
    for fault in faults {
        tracing::error!(event = "state_store", %fault, "calls go on; see docs/learned-facts.md");
    }
    let _ = ledger.set_policy(&settings, &base.routes);
    let routes = ledger.routes(rand::rng().next_u64());
    (ledger, routes)
}

fn admin_state(
    policy: &Policy,
    plane: &Arc<EdgePlane>,
    facts: Arc<Mutex<Facts>>,
    commands: &mpsc::Sender<Command>,
    mappings: Option<&Mappings>,
    line: Option<&Validator>,
) -> AdminState {
    let plane = Arc::clone(plane) as Arc<dyn Plane>;
    let mut admin = AdminState::new(plane, facts, commands.clone()).with_token(policy.admin.token.as_ref());
    if let Some(mappings) = mappings {
        let stats = Arc::clone(&mappings.stats);
        admin = admin.with_metrics(move |out| mapping::expose(out, &stats));
    }
    if let Some(line) = line {
        let stats = Arc::clone(line.stats());
        let seen = Arc::clone(line.stats());
        let lost = "validator: lost; what was learned holds until its own end";
        admin = admin
            .with_metrics(move |out| tollgate_control::ime::expose(out, &stats))
            .with_remark(move || (!seen.is_up()).then(|| lost.to_owned()));
    }
    admin
}

fn serve_admin(listener: TcpListener, admin: AdminState) {
    let pages = router(admin);
    tokio::spawn(async move {
        if let Err(why) = axum::serve(listener, pages).await {
            tracing::error!(event = "admin_ended", %why, "the admin address is gone");
        }
    });
}

/// Follows the facts file of a policy that has one.
fn follow_file(policy: &Policy, commands: mpsc::Sender<Command>) {
    let Some(path) = policy.learned.file.clone() else {
        return;
    };
    tokio::spawn(watch_file(path, commands, |came| match came {
        Ok(()) => tracing::info!(event = "facts_file", "taken in"),
        Err(why) => tracing::error!(event = "facts_file", %why),
    }));
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

fn announce(policy: &Policy, plane: &EdgePlane, ledger: &Ledger) {
    let addresses: Vec<String> = plane.handle.sip_addresses().iter().map(ToString::to_string).collect();
    tracing::info!(
        event = "started",
        version = env!("CARGO_PKG_VERSION"),
        domain = %policy.domain,
        sip = addresses.join(" "),
        admin = %policy.admin.listen,
        workers = plane.counters.len(),
        mode = policy.mode.name(),
        routes = policy.routes.len(),
        learned_routes = ledger.table().len(),
        "ready",
    );
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}
