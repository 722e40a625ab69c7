//! Executes the core's calls on the real engine, brokers and registry. Every call ends, at the
//! latest by its time-out.

use crate::{
    control::{Answer, Call},
    engine::{Engine, EngineError, LogOptions},
    model::{Container, Copy, Login, Service},
    pki::CredentialKey,
    registry::Registry,
};
use futures_util::StreamExt;
use micado_api::{
    CloudName, ClusterId, FlavourName, InstanceId, Location, MachineName, Tag, labels,
};
use micado_cloudsetup::{Broker, BrokerError, Order};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};

/// Time-out of a call; its outcome is unknown after that.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Time-out of a push of an image.
const PUSH_TIMEOUT: Duration = Duration::from_secs(1800);
/// Time-out of reading the end of a log.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);
/// Upper bound for the saved lines of a log.
const LOG_LINES: u32 = 1000;

/// Systems outside of the core that its calls go to.
#[derive(Debug)]
pub struct Effects {
    /// Cluster id, part of every machine's name.
    pub cluster: ClusterId,
    /// Configuration for the files of every ordered machine.
    pub join: JoinConfig,
    pub engine: Arc<dyn Engine>,
    pub brokers: BTreeMap<CloudName, Arc<dyn Broker>>,
    pub registry: Arc<Registry>,
}

/// Data by which a machine finds the manager and proves to be the ordered one.
#[derive(Debug)]
pub struct JoinConfig {
    /// URL for the trade of its credential.
    pub url: String,
    /// Certificate of the authority that signed the certificate at that URL, PEM.
    pub authority: String,
    /// Key of the credentials.
    pub key: Arc<CredentialKey>,
}

impl JoinConfig {
    /// Returns the files below `/etc/micado` of this instance's machine, with these labels.
    fn files(&self, instance: &InstanceId, labels: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        let files = [
            (
                "labels",
                labels
                    .iter()
                    .map(|(key, value)| format!("{key}={value}\n"))
                    .collect::<String>(),
            ),
            ("manager", format!("{}\n", self.url)),
            ("ca.crt", self.authority.clone()),
            ("credential", format!("{}\n", self.key.credential(instance))),
        ];
        files
            .map(|(name, text)| (name.to_owned(), text.into_bytes()))
            .into()
    }
}

impl Effects {
    pub(super) async fn perform(&self, call: Call) -> Answer {
        let kind = call.kind();
        match call {
            Call::LaunchMachine {
                cloud,
                instance,
                tag,
                location,
                application,
                flavour,
                files,
            } => {
                let order =
                    self.order(&cloud, instance, tag, location, application, flavour, files);
                let launched = async { self.broker(&cloud)?.launch(&order).await };
                Answer::Launched(within(TIMEOUT, launched, BrokerError::Unknown).await)
            }
            Call::TerminateMachine { cloud, instance } => {
                let terminated = async {
                    self.broker(&cloud)?
                        .terminate(&self.machine_name(&instance))
                        .await
                };
                Answer::Terminated(within(TIMEOUT, terminated, BrokerError::Unknown).await)
            }
            Call::ListMachines { cloud } => {
                let listed = async { self.broker(&cloud)?.list(&self.cluster).await };
                Answer::Listed(within(TIMEOUT, listed, BrokerError::Unknown).await)
            }
            Call::CreateService {
                service,
                container,
                copy,
                node,
                login,
            } => {
                let login = login.as_deref();
                self.create(service, &container, &copy, &node, login).await
            }
            Call::RemoveService { name, .. } => Answer::Engine(
                within(TIMEOUT, self.engine.remove(&name), EngineError::Unavailable).await,
            ),
            Call::SetActive { node, active } => Answer::Engine(
                within(
                    TIMEOUT,
                    self.engine.set_active(&node, active),
                    EngineError::Unavailable,
                )
                .await,
            ),
            Call::RemoveNode { node } => Answer::Engine(
                within(
                    TIMEOUT,
                    self.engine.remove_node(&node),
                    EngineError::Unavailable,
                )
                .await,
            ),
            Call::RotateToken => Answer::Engine(
                within(
                    TIMEOUT,
                    self.engine.rotate_join_token(),
                    EngineError::Unavailable,
                )
                .await,
            ),
            Call::PushImage { image, login, .. } => Answer::Pushed(
                within(
                    PUSH_TIMEOUT,
                    self.registry.push(&image, login.as_deref()),
                    EngineError::Unavailable,
                )
                .await,
            ),
            Call::SaveLog { name, .. } => Answer::Log(self.log_tail(&name).await),
            Call::Observe { .. } => unreachable!("{kind} is the watcher's"),
        }
    }

    /// Creates a Swarm service, once the registry has its image.
    async fn create(
        &self,
        mut service: Arc<Service>,
        container: &Container,
        copy: &Copy,
        node: &str,
        login: Option<&Login>,
    ) -> Answer {
        let provided = self.registry.provide(&service, login);
        match within(PUSH_TIMEOUT, provided, EngineError::Unavailable).await {
            Ok(None) => {}
            Ok(Some(pull)) => Arc::make_mut(&mut service).pull = Some(pull),
            Err(EngineError::NotFound(message)) => return Answer::ImageLost(message),
            Err(error) => return Answer::Engine(Err(error)),
        }
        let created = self.engine.create(&service, container, copy, node);
        Answer::Engine(within(TIMEOUT, created, EngineError::Unavailable).await)
    }

    fn broker(&self, cloud: &CloudName) -> Result<&Arc<dyn Broker>, BrokerError> {
        self.brokers.get(cloud).ok_or_else(|| {
            BrokerError::Refused(format!("cloud `{cloud}` is not in cloudsetup.xml"))
        })
    }

    fn machine_name(&self, instance: &InstanceId) -> String {
        MachineName::new(&self.cluster, instance).to_string()
    }

    /// Orders a machine, with the files that it finds at boot.
    #[allow(
        clippy::too_many_arguments,
        reason = "the parts of one call, taken apart by its match"
    )]
    fn order(
        &self,
        cloud: &CloudName,
        instance: InstanceId,
        tag: Tag,
        location: Location,
        application: String,
        flavour: FlavourName,
        user_files: BTreeMap<String, Vec<u8>>,
    ) -> Order {
        let said = [
            (labels::CLUSTER, self.cluster.as_str()),
            (labels::INSTANCE, instance.as_str()),
            (labels::TAG, tag.as_str()),
            (labels::LOCATION, location.as_str()),
            (labels::CLOUD, cloud.as_str()),
            (labels::FLAVOUR, flavour.as_str()),
            (labels::APPLICATION, application.as_str()),
        ];
        let mut files = self.join.files(&instance, &said);
        files.extend(
            user_files
                .into_iter()
                .map(|(name, content)| (format!("files/{name}"), content)),
        );
        Order {
            name: self.machine_name(&instance),
            cluster: self.cluster.clone(),
            instance,
            tag,
            location,
            application,
            flavour,
            files,
        }
    }

    /// Reads the end of a log, as much as arrives in time.
    async fn log_tail(&self, name: &str) -> Result<String, EngineError> {
        let options = LogOptions {
            tail: Some(LOG_LINES),
            since: None,
        };
        let mut log = self.engine.logs(name, &options);
        let mut whole = Vec::new();
        let deadline = Instant::now() + LOG_TIMEOUT;
        while let Ok(Some(line)) = timeout_at(deadline, log.next()).await {
            whole.extend_from_slice(&line?.text);
        }
        Ok(String::from_utf8_lossy(&whole).into_owned())
    }
}

/// Returns the result, or a failure with this message after the time-out.
async fn within<T, E>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
    failed: impl FnOnce(String) -> E,
) -> Result<T, E> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(failed(format!("no answer within {} s", limit.as_secs()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Pki;

    #[test]
    fn an_order_carries_what_the_machine_needs_and_no_secret_but_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let pki = Pki::open(folder.path()).expect("an authority");
        let url = "https://10.0.0.1:7443/v1/join".to_owned();
        let join = JoinConfig {
            url,
            authority: pki.authority().to_owned(),
            key: Arc::new(pki.credential_key().expect("a key")),
        };
        let id = InstanceId::trusted("0123abcd");
        let files = join.files(
            &id,
            &[
                (labels::INSTANCE, "0123abcd"),
                (labels::LOCATION, "database"),
            ],
        );
        let text = |name: &str| String::from_utf8(files[name].clone()).expect("text");
        assert_eq!(
            files.keys().map(String::as_str).collect::<Vec<_>>(),
            ["ca.crt", "credential", "labels", "manager"]
        );
        assert_eq!(
            text("labels"),
            "micado.instance=0123abcd\nmicado.location=database\n"
        );
        assert_eq!(text("manager"), "https://10.0.0.1:7443/v1/join\n");
        assert_eq!(text("ca.crt"), pki.authority());
        assert_eq!(
            join.key.instance(text("credential").trim_end()),
            Some(id.clone())
        );
        assert_eq!(
            join.files(
                &id,
                &[
                    (labels::INSTANCE, "0123abcd"),
                    (labels::LOCATION, "database")
                ]
            ),
            files,
            "a repeated order is the same"
        );
    }
}
