//! What the manager shows, and waiting for it to show something.

use crate::Cluster;
use micado_api::{ClientError, ContainerState, ContainerView, InstanceState, InstanceView};
use std::time::{Duration, Instant};

/// Between two looks. The manager tells progress as it happens, but not everything that tests wait
/// for.
const POLL: Duration = Duration::from_millis(25);

/// What the manager shows at one moment, with what is over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// All instances.
    pub instances: Vec<InstanceView>,
    /// All containers.
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

    /// Instances that are neither over nor failed.
    #[must_use]
    pub fn in_use(&self) -> Vec<&InstanceView> {
        self.instances
            .iter()
            .filter(|it| !matches!(it.state, InstanceState::Gone | InstanceState::Failed))
            .collect()
    }

    /// The tag of the instance that the container of this name is on.
    #[must_use]
    pub fn place_of(&self, name: &str) -> Option<String> {
        self.container(name)?
            .instance
            .as_ref()
            .map(ToString::to_string)
    }
}

/// Tries until there is something, for at most so many seconds.
///
/// # Panics
/// When the time is up, saying what was waited for.
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

/// Prints a figure that a test saw.
pub fn measured(what: &str, time: Duration) {
    println!("measured: {what}: {} ms", time.as_millis());
}

impl Cluster {
    /// What the manager shows now.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn look(&self) -> Result<View, ClientError> {
        let (instances, containers) =
            tokio::try_join!(self.api.instances(true), self.api.containers(true))?;
        Ok(View {
            instances,
            containers,
        })
    }

    /// Looks until it is so. A manager that does not answer is asked again.
    ///
    /// # Panics
    /// When it is not so within these seconds; the cluster's end then tells all that is known of
    /// it.
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
