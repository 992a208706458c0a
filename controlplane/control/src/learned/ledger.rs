//! The one owner of learned facts: the table, its store, and the policy they live under.
//!
//! Every source's words come through here, one at a time; it publishes nothing but says what changed. Times are
//! arguments, and nothing here waits for the disk but [`Ledger::open`] and [`Ledger::close`].

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tollgate_contract::{E164, MAX_KEYS, NumberPattern, RouteChange, RouteTable};
use tollgate_policy as policy;
use tollgate_validator::checks::{AddressRules, RouteFault, RouteRules};

use super::{
    Answer, Batch, Bounds, Cause, Changes, FactsDocument, LearnedRequest, LearnedRoutes, LearnedView, Mark, Op,
    Outcome, REFUSED_LISTED_MAX, Refused, Scope, Source, Stats,
};
use crate::store::{self, FILE_NAME, StoreFault, Writer};

/// How long [`Ledger::close`] waits for the disk.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);

/// What a policy says about learned facts.
#[derive(Clone, Debug)]
pub struct LedgerSettings {
    /// `state.dir`.
    pub state_dir: Option<PathBuf>,
    /// How much may be learned.
    pub bounds: Bounds,
    /// What every route is judged by.
    pub rules: RouteRules,
}

impl LedgerSettings {
    /// The settings of a policy.
    #[must_use]
    pub fn of(policy: &policy::Policy) -> Self {
        let listeners = &policy.outside.listeners;
        let signalling = listeners.iter().flat_map(|at| [at.bind.ip(), at.advertised.ip()]);
        let media = policy
            .media
            .outside
            .iter()
            .flat_map(|range| [range.bind, range.advertised]);
        let inside = policy
            .inside
            .listeners
            .iter()
            .flat_map(|at| [at.bind.ip(), at.advertised.ip()]);
        let own: BTreeSet<IpAddr> = signalling.chain(media).chain(inside).collect();
        let local_domains = policy.local_domains.iter().filter_map(|domain| domain.parse().ok());
        Self {
            state_dir: policy.state_dir.clone(),
            bounds: Bounds {
                routes_max: policy.learned.routes_max,
                keys_max: MAX_KEYS.saturating_sub(policy.tickets.keys.len()),
            },
            rules: RouteRules {
                local_domains: local_domains.collect(),
                addresses: AddressRules {
                    own: own.into_iter().filter(|ip| !ip.is_unspecified()).collect(),
                    allow_private: policy.learned.allow_private_targets,
                    // Two edges on one host, as in tests, have private addresses anyway.
                    allow_own: policy.learned.allow_private_targets,
                },
                ..RouteRules::default()
            },
        }
    }
}

/// The owner of learned facts.
#[derive(Debug)]
pub struct Ledger {
    table: LearnedRoutes,
    rules: RouteRules,
    writer: Option<Writer>,
    policy_routes: RouteTable,
}

impl Ledger {
    /// Opens the store of a policy and takes in what it held and what still lives at a time since 1970. Reads the disk,
    /// so this is for the start alone. An edge serves without its store: the faults are to be shown loudly.
    #[must_use]
    pub fn open(settings: LedgerSettings, unix: Duration) -> (Self, Vec<StoreFault>) {
        let mut ledger = Self {
            table: LearnedRoutes::new(settings.bounds),
            rules: settings.rules,
            writer: None,
            policy_routes: RouteTable::default(),
        };
        let Some(dir) = settings.state_dir else {
            return (ledger, Vec::new());
        };
        let mut left_out = Vec::new();
        let opened = store::open(&dir, unix, &mut |op| match op {
            Some(op) => left_out.extend(ledger.restore(op)),
            None => {
                ledger.table = LearnedRoutes::new(settings.bounds);
                left_out.clear();
            }
        });
        let mut faults = opened.faults;
        ledger.table.settle_restored();
        if !left_out.is_empty() {
            ledger.table.count_refused(&left_out);
            ledger.table.journal().overflow();
        }
        match Writer::start(dir.join(FILE_NAME), opened.store, unix) {
            Ok(writer) => ledger.writer = Some(writer),
            Err(fault) => faults.push(fault),
        }
        ledger.table.expire(unix);
        ledger.keep_up(unix);
        (ledger, faults)
    }

    /// A policy and its own routes, from now on. At the start it comes before [`Ledger::routes`].
    pub fn set_policy(&mut self, settings: &LedgerSettings, routes: &RouteTable) -> Changes {
        self.rules = settings.rules.clone();
        let exact = |pattern| match pattern {
            NumberPattern::Exact(number) => Some(number),
            NumberPattern::Prefix(_) | NumberPattern::Any => None,
        };
        let mut changes = Changes {
            routes: differences(&self.policy_routes, routes),
            has_additions: true,
            ..Changes::default()
        };
        let numbers: BTreeSet<E164> = routes.iter().filter_map(|(pattern, _)| exact(pattern)).collect();
        changes.extend(self.table.set_policy(settings.bounds, numbers));
        self.policy_routes = routes.clone();
        changes
    }

    /// The whole route table: the policy's routes and what is learned beside them. Later tables follow by [`Changes`].
    /// The seed is as for [`RouteTable::new`].
    #[must_use]
    pub fn routes(&self, seed: u64) -> RouteTable {
        let policy = self
            .policy_routes
            .iter()
            .map(|(pattern, route)| (pattern, route.clone()));
        RouteTable::from_routes(seed, self.table.routes().chain(policy))
    }

    /// What learned facts add to a snapshot beside routes.
    #[must_use]
    pub const fn view(&self) -> LearnedView<'_> {
        self.table.view()
    }

    /// The learned facts.
    #[must_use]
    pub const fn table(&self) -> &LearnedRoutes {
        &self.table
    }

    /// What routes are judged by, for the sources that judge before they tell.
    #[must_use]
    pub const fn rules(&self) -> &RouteRules {
        &self.rules
    }

    /// Where a source stood when its last facts were kept: what the feed says in its Hello.
    #[must_use]
    pub fn mark(&self, source: Source) -> Option<Mark> {
        self.table.mark(source)
    }

    /// Applies a batch of a source that has judged its facts.
    pub fn apply(&mut self, unix: Duration, source: Source, batch: Batch) -> Outcome {
        let outcome = self.table.apply(unix, source, batch);
        self.keep_up(unix);
        outcome
    }

    /// Handles a request and answers it; the changes are for the snapshot.
    pub fn handle(&mut self, unix: Duration, request: LearnedRequest) -> Changes {
        match request {
            LearnedRequest::Put {
                source,
                scope,
                document,
                reply,
            } => {
                let (answer, changes) = self.put(unix, source, scope, document);
                // Who asked may have gone; what was said stays in force.
                let _ = reply.send(answer);
                changes
            }
            LearnedRequest::Remove { what, reply } => {
                let (removed, changes) = self.table.remove(unix, Source::Api, &what);
                self.keep_up(unix);
                let body = json!({ "removed": removed });
                let _ = reply.send(Answer { status: 200, body });
                changes
            }
            LearnedRequest::Ask { question, reply } => {
                let _ = reply.send(self.table.answer(&question));
                Changes::default()
            }
        }
    }

    /// Ends what has ended, and lets the store catch up.
    pub fn tick(&mut self, unix: Duration) -> Changes {
        let changes = self.table.expire(unix);
        self.keep_up(unix);
        changes
    }

    /// When [`Ledger::tick`] is next due, since 1970; after every other call it may have moved.
    #[must_use]
    pub fn next_wake(&self, unix: Duration) -> Option<Duration> {
        let store = self.writer.as_ref().map(|writer| writer.next_wake(unix));
        [self.table.next_expiry(), store].into_iter().flatten().min()
    }

    /// The store's fault since it was last asked for, to be logged.
    #[must_use]
    pub fn take_fault(&self) -> Option<StoreFault> {
        self.writer.as_ref().and_then(Writer::take_fault)
    }

    /// What is counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            store: self.writer.as_ref().map(Writer::stats),
            ..self.table.stats()
        }
    }

    /// Waits up to 3 s until what is queued is on disk; `false` if that was too short.
    pub fn close(self) -> bool {
        self.writer.is_none_or(|writer| writer.close(CLOSE_LIMIT))
    }

    /// Takes in what the store held; what the policy does not allow any more is left out, and why.
    fn restore(&mut self, op: Op) -> Option<Cause> {
        if let Op::PutRoute(held) = &op {
            let ours = &self.rules.local_domains;
            if ours.iter().any(|ours| ours.as_str() == &*held.route.domain) {
                return Some(Cause::Route(RouteFault::OwnDomain));
            }
            let targets = held.route.targets.iter();
            let mut checked = targets.map(|target| self.rules.addresses.check(target.ip()));
            if let Some(Err(fault)) = checked.find(Result::is_err) {
                return Some(Cause::Route(fault));
            }
        }
        (!self.table.restore(op)).then_some(Cause::Full)
    }

    fn put(&mut self, unix: Duration, source: Source, scope: Scope, document: FactsDocument) -> (Answer, Changes) {
        let outcome = match document.batch(scope, &self.rules, unix) {
            Ok(batch) => self.apply(unix, source, batch),
            Err(refused) => self.refuse(refused),
        };
        let Outcome {
            is_applied,
            refused,
            refused_count,
            changes,
        } = outcome;
        let answer = match is_applied {
            true => Answer {
                status: 200,
                body: json!({ "applied": true, "routes_changed": changes.routes.len() }),
            },
            false => refusal(&refused, refused_count),
        };
        (answer, changes)
    }

    /// What comes of a document whose entries cannot be read.
    fn refuse(&mut self, refused: Vec<Refused>) -> Outcome {
        let causes: Vec<Cause> = refused.iter().map(|refusal| refusal.cause).collect();
        self.table.count_refused(&causes);
        Outcome {
            refused_count: refused.len(),
            refused: refused.into_iter().take(REFUSED_LISTED_MAX).collect(),
            ..Outcome::default()
        }
    }

    fn keep_up(&mut self, unix: Duration) {
        match &mut self.writer {
            Some(writer) => writer.follow(&mut self.table, unix),
            None => drop(self.table.journal().take()),
        }
    }
}

/// 507 if something is full, 409 if all are conflicts, else 422.
fn refusal(refused: &[Refused], count: usize) -> Answer {
    let all = |status: u16| refused.iter().all(|refusal| refusal.cause.status() == status);
    let status = match refused.iter().any(|refusal| refusal.cause.status() == 507) {
        true => 507,
        false if all(409) => 409,
        false => 422,
    };
    let entries: Vec<_> = refused
        .iter()
        .map(|refusal| json!({ "index": refusal.index, "cause": refusal.cause.name(), "text": refusal.text }))
        .collect();
    let error = format!("refused whole: {count} bad entries");
    Answer {
        status,
        body: json!({ "error": error, "refused_count": count, "refused": entries }),
    }
}

/// What makes the second table of the first.
fn differences(old: &RouteTable, new: &RouteTable) -> Vec<RouteChange> {
    let is_in = |table: &RouteTable| table.iter().map(|(pattern, _)| pattern).collect::<BTreeSet<_>>();
    let kept = is_in(new);
    let gone = is_in(old).into_iter().filter(|pattern| !kept.contains(pattern));
    let gone = gone.map(|pattern| RouteChange { pattern, route: None });
    let there = new.iter().map(|(pattern, route)| RouteChange {
        pattern,
        route: Some(route.clone()),
    });
    gone.chain(there).collect()
}
