//! Input of a cluster: its `cloudsetup.xml`, and common requests.

use micado_api::{
    CloudName, FlavourName, LaunchRequest, Location, MemoryBytes, NanoCpus, PortMapping, Protocol,
    Resources, ServiceSpec, StartRequest, Tag, VolumeMount,
};
use std::collections::BTreeMap;

/// The image that most tests launch.
const WEB: &str = "micado-web";

/// A `cloudsetup.xml` with one `local` cloud.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Name, memory, cores and price of each flavour.
    pub flavours: Vec<(&'static str, &'static str, &'static str, &'static str)>,
    /// Time for a machine to join, in seconds.
    pub join_timeout: u32,
    /// Room that the default location keeps free.
    pub headroom: Option<&'static str>,
}

impl Default for Setup {
    /// A `small` holds two containers of the default size, a `medium` four.
    fn default() -> Self {
        Self {
            flavours: vec![
                ("small", "704M", "1", "0.05"),
                ("medium", "1216M", "2", "0.09"),
            ],
            join_timeout: 60,
            headroom: None,
        }
    }
}

impl Setup {
    /// A cloud with `small` machines only.
    #[must_use]
    pub fn small() -> Self {
        Self {
            flavours: vec![("small", "704M", "1", "0.05")],
            ..Self::default()
        }
    }

    /// The file's text.
    #[must_use]
    pub fn xml(&self) -> String {
        let flavour = |(name, memory, cores, price): &(&str, &str, &str, &str)| {
            format!(
                "<flavour><size>{name}</size><memory>{memory}</memory><cores>{cores}</cores><price>{price}</price></flavour>\n"
            )
        };
        let flavours: String = self.flavours.iter().map(flavour).collect();
        let timeout = self.join_timeout;
        let location = Location::default();
        let headroom = self.headroom.map_or_else(String::new, |room| {
            format!("<locations><location><name>{location}</name><headroom>{room}</headroom></location></locations>")
        });
        format!(
            "<setup><clouds><cloud><name>local</name><broker>local</broker><join_timeout>{timeout}</join_timeout><flavours>\n{flavours}</flavours></cloud></clouds>\n\
             <applications><application><name>Node</name><sname>node</sname><executable>run</executable></application></applications>{headroom}</setup>\n"
        )
    }
}

/// A request to launch the web server for a client, with the default reservation and its port
/// published on a free port.
#[must_use]
pub fn web(client: &str) -> LaunchRequest {
    let spec = ServiceSpec {
        image: WEB.to_owned(),
        client: client.to_owned(),
        location: Location::default(),
        entrypoint: None,
        arguments: Vec::new(),
        environment: Vec::new(),
        ports: Vec::new(),
        domain: None,
        tags: Vec::new(),
        reservation: Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250)),
        volumes: Vec::new(),
        restart: micado_api::RestartPolicy::default(),
        anti_affinity: micado_api::AntiAffinity::default(),
        run: Box::default(),
    };
    LaunchRequest {
        spec,
        publish_all: true,
        request: None,
        unnamed: micado_api::Unnamed::default(),
        copies: std::num::NonZeroU32::MIN,
    }
}

/// Turns a request into a job: it is done when its process ends with 0.
#[must_use]
pub fn job(mut request: LaunchRequest) -> LaunchRequest {
    request.spec.restart = micado_api::RestartPolicy::OnFailure(None);
    request
}

/// A request to launch a container with a shell and its tools that does nothing by itself.
/// [`crate::Cluster::load_tools`] makes its image.
#[must_use]
pub fn tools(client: &str) -> LaunchRequest {
    let mut request = web(client);
    request.spec.image = "micado-tools".to_owned();
    request.spec.arguments = ["sleep", "1000000"].map(str::to_owned).to_vec();
    request.publish_all = false;
    request
}

/// A machine of the flavour of [`Setup::small`].
#[must_use]
pub fn small_machine(tag: &str) -> StartRequest {
    StartRequest {
        cloud: CloudName::trusted("local"),
        application: "Node".to_owned(),
        flavour: FlavourName::trusted("small"),
        tag: Tag::trusted(tag),
        location: Location::default(),
        first: false,
        files: BTreeMap::new(),
    }
}

/// Changes to a request, for short tests.
pub trait Request: Sized {
    /// Adds environment variables.
    #[must_use]
    fn environment(self, settings: &[&str]) -> Self;
    /// Sets a fixed port of the machine instead of a free one.
    #[must_use]
    fn host_port(self, port: u16) -> Self;
    /// Adds a volume, mounted at this path.
    #[must_use]
    fn volume(self, name: &str, path: &str) -> Self;
    /// Sets the memory.
    #[must_use]
    fn memory_mib(self, mib: u64) -> Self;
    /// Sets a request name, so that repeating it makes no second container.
    #[must_use]
    fn named(self, request: &str) -> Self;
}

impl Request for LaunchRequest {
    fn environment(mut self, settings: &[&str]) -> Self {
        self.spec
            .environment
            .extend(settings.iter().map(|setting| (*setting).to_owned()));
        self
    }
    fn host_port(mut self, port: u16) -> Self {
        self.publish_all = false;
        self.spec.ports.push(PortMapping {
            host: Some(port),
            container: 8080,
            protocol: Protocol::Tcp,
        });
        self
    }
    fn volume(mut self, name: &str, path: &str) -> Self {
        self.spec.volumes.push(VolumeMount {
            name: name.to_owned(),
            path: path.to_owned(),
            shared: false,
        });
        self
    }
    fn memory_mib(mut self, mib: u64) -> Self {
        self.spec.reservation.memory = MemoryBytes::mib(mib);
        self
    }
    fn named(mut self, request: &str) -> Self {
        self.request = Some(request.to_owned());
        self
    }
}
