//! The lease on a Swarm's spec: taken at the start, renewed while the manager runs, and checked
//! before every change of the Swarm. The Swarm's version index makes each write compare-and-set.

use super::ATTEMPTS;
use crate::engine::{EngineError, docker::ask};
use bollard::{Docker, models::SwarmSpec, query_parameters::UpdateSwarmOptions};
use micado_core::lease::{Candidate, Grounds, Lease, Verdict};
use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Pause between two readings of a lease that another manager holds.
const LOOK: Duration = Duration::from_millis(500);
/// Pause before a failed renewal is retried.
const RETRY: Duration = Duration::from_secs(1);

/// A manager's claim to lead the cluster.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Identity of the store.
    pub identity: String,
    /// Take the lease even while its holder is alive.
    pub take_over: bool,
    /// Duration of the lease without a renewal.
    pub lasts: Duration,
}

impl Claim {
    fn lease(&self, term: u64) -> Lease {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Lease {
            holder: self.identity.clone(),
            host: format!("{} (process {})", host.trim(), std::process::id()),
            since: jiff::Timestamp::now()
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string(),
            term,
            beat: 0,
            lasts: self.lasts,
        }
    }
}

/// The lease, held by this manager.
#[derive(Debug)]
pub struct Leadership {
    docker: Docker,
    /// Number of the lease: it rises each time one is taken.
    term: u64,
    lease: tokio::sync::Mutex<Lease>,
    lasts: Duration,
    /// Begin of the time `lasts` in which the lease is certainly ours.
    renewed: Mutex<Instant>,
    lost: watch::Sender<Option<EngineError>>,
}

impl Leadership {
    /// Resolves with the reason once another manager has the lease.
    pub async fn lost(&self) -> EngineError {
        let mut lost = self.lost.subscribe();
        match lost.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(error)) => error.clone(),
            _ => std::future::pending().await,
        }
    }

    /// Number of the lease: it rises each time one is taken.
    #[must_use]
    pub const fn term(&self) -> u64 {
        self.term
    }

    /// Time for which the lease is certainly held, unless it is renewed; zero once it has run out.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.lasts.saturating_sub(self.age())
    }

    /// Makes sure that the lease is held, and renews it first if it has run out.
    pub(super) async fn ensure(&self) -> Result<(), EngineError> {
        if self.age() < self.lasts {
            return Ok(());
        }
        self.renew().await
    }

    fn age(&self) -> Duration {
        self.renewed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }

    async fn renew(&self) -> Result<(), EngineError> {
        let mut lease = self.lease.lock().await;
        for _ in 0..ATTEMPTS {
            let begun = Instant::now();
            let found = Found::look(&self.docker).await?;
            let present = found.lease();
            if !lease.is_held(present.as_ref()) {
                let error = EngineError::Refused(superseded(present.as_ref()));
                self.lost.send_replace(Some(error.clone()));
                return Err(error);
            }
            let next = lease.renewed();
            if found.write(&self.docker, &next).await? {
                *lease = next;
                *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = begun;
                return Ok(());
            }
        }
        Err(EngineError::Unavailable(format!(
            "cannot renew the lease of the cluster: the Swarm was changed by others {ATTEMPTS} times in a row"
        )))
    }
}

/// Takes the lease. One of another identity is watched until it is renewed or expires.
///
/// # Errors
/// `Refused` while its holder is alive.
pub(super) async fn take(docker: &Docker, claim: &Claim) -> Result<Arc<Leadership>, EngineError> {
    let mut candidate = Candidate::new(&claim.identity, claim.take_over);
    let begun = Instant::now();
    let mut told = false;
    loop {
        let looked = Instant::now();
        let found = Found::look(docker).await?;
        let present = found.lease();
        match candidate.judge(begun.elapsed(), present.clone()) {
            Verdict::Refuse(lease) => return Err(EngineError::Refused(refusal(&lease))),
            Verdict::Watch => {
                if let (false, Some(lease)) = (told, &present) {
                    tracing::info!(
                        holder = lease.holder,
                        host = lease.host,
                        since = lease.since,
                        lasts_s = lease.lasts.as_secs(),
                        "the cluster was led by a manager with another store; it is watched for a sign of life"
                    );
                    told = true;
                }
            }
            Verdict::Take(grounds) => {
                let taken = claim.lease(present.map_or(0, |lease| lease.term) + 1);
                if found.write(docker, &taken).await? {
                    return Ok(settle(docker, claim, taken, looked, &grounds).await);
                }
            }
        }
        tokio::time::sleep(LOOK.min(claim.lasts / 10)).await;
    }
}

/// Starts the renewal of a lease that was just taken. A previous holder that may be alive gets time
/// to notice: it reads the lease at each renewal, and changes nothing once its lease has run out.
async fn settle(
    docker: &Docker,
    claim: &Claim,
    taken: Lease,
    renewed: Instant,
    grounds: &Grounds,
) -> Arc<Leadership> {
    let leadership = Arc::new(Leadership {
        docker: docker.clone(),
        term: taken.term,
        lease: tokio::sync::Mutex::new(taken),
        lasts: claim.lasts,
        renewed: Mutex::new(renewed),
        lost: watch::Sender::new(None),
    });
    tokio::spawn(keep(Arc::downgrade(&leadership)));
    match grounds {
        Grounds::Free | Grounds::Own => {}
        Grounds::Expired(former) => tracing::warn!(
            former = former.holder,
            host = former.host,
            since = former.since,
            "the manager that led this cluster gave no sign of life for {} s: its machines and containers are adopted",
            former.lasts.as_secs()
        ),
        Grounds::TakenOver(former) => {
            tracing::warn!(
                former = former.holder,
                host = former.host,
                since = former.since,
                "the cluster is taken over as told; waiting {} s until the manager that led it has stopped deciding",
                former.lasts.as_secs()
            );
            tokio::time::sleep(former.lasts).await;
        }
    }
    leadership
}

/// Renews the lease three times in its duration, until it is lost or dropped.
async fn keep(leadership: Weak<Leadership>) {
    let Some(pause) = leadership.upgrade().map(|it| it.lasts / 3) else {
        return;
    };
    let mut next = pause;
    loop {
        tokio::time::sleep(next).await;
        let Some(held) = leadership.upgrade() else {
            return;
        };
        let renewed = held.renew().await;
        if held.lost.borrow().is_some() {
            return;
        }
        next = match renewed {
            Ok(()) => pause,
            Err(error) => {
                tracing::warn!(%error, "the lease of the cluster could not be renewed yet");
                RETRY.min(pause)
            }
        };
    }
}

/// The Swarm's spec at one version.
struct Found {
    version: i64,
    spec: SwarmSpec,
}

impl Found {
    async fn look(docker: &Docker) -> Result<Self, EngineError> {
        let swarm = ask(
            || "look at the Swarm's lease".to_owned(),
            docker.inspect_swarm(),
        )
        .await?;
        let version = swarm.version.and_then(|version| version.index);
        Ok(Self {
            version: version
                .and_then(|index| i64::try_from(index).ok())
                .unwrap_or_default(),
            spec: swarm.spec.unwrap_or_default(),
        })
    }

    fn lease(&self) -> Option<Lease> {
        self.spec.labels.as_ref().and_then(Lease::read)
    }

    /// Writes the lease; `false` if the Swarm was changed by somebody else in between.
    async fn write(self, docker: &Docker, lease: &Lease) -> Result<bool, EngineError> {
        let mut spec = self.spec;
        lease.write(spec.labels.get_or_insert_default());
        let options = UpdateSwarmOptions {
            version: self.version,
            ..Default::default()
        };
        let update = docker.update_swarm(spec, options);
        match ask(|| "write the Swarm's lease".to_owned(), update).await {
            Ok(()) => Ok(true),
            Err(EngineError::Refused(text) | EngineError::Unavailable(text))
                if text.contains("update out of sequence") =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

fn refusal(lease: &Lease) -> String {
    format!(
        "the cluster is led by another manager: on {} since {}, with the store `{}`; it renewed its lease a moment ago. \
         Stop that manager, use its store, or take the cluster over on purpose with --take-over",
        lease.host, lease.since, lease.holder
    )
}

fn superseded(found: Option<&Lease>) -> String {
    match found {
        Some(lease) => format!(
            "another manager leads the cluster now: on {} since {}, with the store `{}`; this one decides nothing any more",
            lease.host, lease.since, lease.holder
        ),
        None => "the lease of the cluster is gone".to_owned(),
    }
}
