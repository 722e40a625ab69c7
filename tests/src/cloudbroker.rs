//! CloudBroker for tests: the simulator that a cluster rents from, and the `cloudsetup.xml` for it.

use crate::run;
use micado_cloudbroker::{Config, DockerMachines, MachineKind, Pace, Simulator, Spelling};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

pub const USER: &str = "tester@example.net";
/// Password; it must never appear anywhere.
pub const PASSWORD: &str = "correct-horse-battery-staple";
/// Image of the machines, made by `scripts/cloudbroker-image/build`.
const IMAGE: &str = "micado-cloudbroker:latest";

/// Settings of the simulator and the account.
#[derive(Debug, Clone)]
pub struct Rented {
    /// Machines that boot, or records only.
    pub boots: bool,
    /// Machines of a stock image, not of a package of ours.
    pub stock: bool,
    /// `jobs` or `instances`.
    pub rent: &'static str,
    /// Duration of the statuses.
    pub pace: Pace,
    /// Notation of the answers.
    pub spelling: Spelling,
    /// The client's time-out of a call, in seconds.
    pub call_timeout: u32,
    /// Time for a machine to join, in seconds.
    pub join_timeout: u32,
}

impl Default for Rented {
    fn default() -> Self {
        Self {
            boots: true,
            stock: false,
            rent: "jobs",
            pace: Pace::default(),
            spelling: Spelling::default(),
            call_timeout: 10,
            join_timeout: 60,
        }
    }
}

impl Rented {
    /// Records only: sufficient for tests that do not look into a machine.
    #[must_use]
    pub fn records() -> Self {
        Self {
            boots: false,
            call_timeout: 2,
            ..Self::default()
        }
    }

    /// Starts the simulator, with its machines on this network of the engine at this endpoint.
    pub(crate) async fn start(&self, endpoint: &str, network: &str, folder: &Path) -> Simulator {
        let mut config = Config {
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
            pace: self.pace.clone(),
            spelling: self.spelling.clone(),
            ..Config::default()
        };
        if self.boots {
            let labels = [
                (run::RUN_LABEL.to_owned(), run::name()),
                (run::FOLDER_LABEL.to_owned(), folder.display().to_string()),
            ];
            config.machines = MachineKind::Docker(DockerMachines {
                endpoint: endpoint.to_owned(),
                network: network.to_owned(),
                image: IMAGE.to_owned(),
                labels: labels.into(),
            });
            let node = config
                .catalogue
                .softwares
                .iter_mut()
                .find(|it| it.name == "micado node")
                .expect("the catalogue's node");
            node.package = (!self.stock).then(|| package(&folder.join("package")));
        }
        Simulator::start(config)
            .await
            .unwrap_or_else(|error| panic!("the simulator: {error}"))
    }

    /// The `cloudsetup.xml` for this simulator, with its credentials' file in this folder.
    #[must_use]
    pub fn xml(&self, url: &str, folder: &Path) -> String {
        write_credentials(folder, PASSWORD);
        let Self {
            rent,
            call_timeout,
            join_timeout,
            ..
        } = self;
        format!(
            "<setup><clouds><cloud><name>sigma</name><provider>CloudSigma</provider><region>CloudSigma Zurich</region>\n\
             <endpoint>{url}</endpoint><credentials>cbcredentials</credentials><call_timeout>{call_timeout}</call_timeout><calls_per_second>100</calls_per_second>\n\
             <join_timeout>{join_timeout}</join_timeout><flavours>\n\
             <flavour><size>small</size><id>CloudSigma Small</id><memory>704M</memory><cores>1</cores><price>0.05</price></flavour>\n\
             <flavour><size>medium</size><id>CloudSigma Medium</id><memory>1216M</memory><cores>2</cores><price>0.09</price></flavour>\n\
             </flavours></cloud></clouds><applications><application><name>Node</name><sname>micado node</sname><executable>execute.sh</executable>\n\
             <param_template>-start %s</param_template><rent>{rent}</rent></application></applications></setup>\n"
        )
    }
}

/// Writes the credentials' file that [`Rented::xml`] names, with this password.
pub fn write_credentials(folder: &Path, password: &str) {
    let (path, aside) = (
        folder.join("cbcredentials"),
        folder.join("cbcredentials.new"),
    );
    fs::write(&aside, format!("{USER}\n{password}\n")).expect("the credentials");
    fs::set_permissions(&aside, fs::Permissions::from_mode(0o600))
        .expect("the credentials, for us alone");
    fs::rename(&aside, &path).expect("the credentials, in their place");
}

/// Path of the agent for machines with an image that lacks it.
pub(crate) fn agent() -> String {
    run::script("node-agent/build", &[])
}

/// Makes the package of a node, as an administrator would.
fn package(folder: &Path) -> PathBuf {
    run::script("package", &["node", "--out", &folder.display().to_string()]);
    folder.to_owned()
}
