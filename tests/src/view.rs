//! Views of the manager, and waiting for them.

use crate::Cluster;
use micado_api::{ClientError, ContainerState, ContainerView, InstanceState, InstanceView};
use std::time::{Duration, Instant};

/// Interval of polling. The manager streams progress, but not everything that tests wait for.
const POLL: Duration = Duration::from_millis(100);

/// Views at one moment, including finished objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    pub instances: Vec<InstanceView>,
    pub containers: Vec<ContainerView>,
}

impl View {
    /// The container of this name.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&ContainerView> {
        self.containers.iter().find(|it| it.name.as_str() == name)
    }

    /// The container of this name, if it is in this state.
    #[must_use]
    pub fn container_in(&self, name: &str, state: ContainerState) -> Option<&ContainerView> {
        self.container(name).filter(|it| it.state == state)
    }

    /// The instance of this tag.
    #[must_use]
    pub fn instance(&self, tag: &str) -> Option<&InstanceView> {
        self.instances.iter().find(|it| it.tag.as_str() == tag)
    }

    /// The instance of this tag, if it is in this state.
    #[must_use]
    pub fn instance_in(&self, tag: &str, state: InstanceState) -> Option<&InstanceView> {
        self.instance(tag).filter(|it| it.state == state)
    }

    /// Instances that are neither gone nor failed.
    #[must_use]
    pub fn in_use(&self) -> Vec<&InstanceView> {
        self.instances
            .iter()
            .filter(|it| !matches!(it.state, InstanceState::Gone | InstanceState::Failed))
            .collect()
    }

    /// Without measured values, which change by themselves.
    #[must_use]
    pub fn without_usage(mut self) -> Self {
        self.instances.iter_mut().for_each(|it| it.usage = None);
        self.containers.iter_mut().for_each(|it| it.usage = None);
        self
    }

    /// Tag of the instance of the container with this name.
    #[must_use]
    pub fn place_of(&self, name: &str) -> Option<String> {
        self.container(name)?
            .instance
            .as_ref()
            .map(ToString::to_string)
    }
}

/// Retries until there is a result, for at most this many seconds.
///
/// # Panics
/// After that time, naming what was waited for.
pub async fn wait<T>(what: &str, seconds: u64, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let (begin, limit) = (Instant::now(), Duration::from_secs(seconds));
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(begin.elapsed() < limit, "not within {seconds} s: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// Returns true in a long run: `scripts/test --full`.
#[must_use]
pub fn is_full() -> bool {
    std::env::var_os("MICADO_TEST_FULL").is_some()
}

/// Prints a measured time.
pub fn measured(what: &str, time: Duration) {
    println!("measured: {what}: {} ms", time.as_millis());
}

impl Cluster {
    /// Returns the present views.
    ///
    /// # Errors
    /// If the manager does not answer.
    pub async fn look(&self) -> Result<View, ClientError> {
        let (instances, containers) =
            tokio::try_join!(self.api.instances(true), self.api.containers(true))?;
        Ok(View {
            instances,
            containers,
        })
    }

    /// Polls until the condition holds. A manager that does not answer is asked again.
    ///
    /// # Panics
    /// After this many seconds; then dropping the cluster prints its diagnosis.
    pub async fn until<T>(
        &self,
        what: &str,
        seconds: u64,
        is_so: impl Fn(&View) -> Option<T>,
    ) -> T {
        wait(what, seconds, async || is_so(&self.look().await.ok()?)).await
    }

    /// Waits until the container of this name is in this state.
    pub async fn until_container(
        &self,
        name: &str,
        state: ContainerState,
        seconds: u64,
    ) -> ContainerView {
        self.until(&format!("{name} is {state}"), seconds, |view| {
            view.container_in(name, state).cloned()
        })
        .await
    }

    /// Waits until the instance of this tag is in this state.
    pub async fn until_instance(
        &self,
        tag: &str,
        state: InstanceState,
        seconds: u64,
    ) -> InstanceView {
        self.until(&format!("{tag} is {state}"), seconds, |view| {
            view.instance_in(tag, state).cloned()
        })
        .await
    }
}
