//! The catalogue: resources with their regions and instance types, and softwares with their
//! executables.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// The whole catalogue. Every software is deployed in every region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// Clouds.
    pub resources: Vec<Resource>,
    /// Machine images.
    pub softwares: Vec<Software>,
}

/// A cloud.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// Name on the wire.
    pub name: String,
    #[serde(default = "yes")]
    pub active: bool,
    pub regions: Vec<Region>,
    /// Machine sizes.
    pub instance_types: Vec<InstanceType>,
}

/// A place of a cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Name on the wire.
    pub name: String,
    #[serde(default = "yes")]
    pub active: bool,
}

/// A machine size of a cloud.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceType {
    /// Name on the wire.
    pub name: String,
    #[serde(default = "yes")]
    pub active: bool,
    pub cpus: u32,
    /// GiB.
    pub memory: f64,
}

/// A machine image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Software {
    /// Name on the wire.
    pub name: String,
    #[serde(default = "yes")]
    pub active: bool,
    /// Executables for its jobs.
    pub executables: Vec<Executable>,
    /// Folder of the `deploy.sh` and `input.tar.gz` that make its image. Without one, its machines
    /// run an engine and no executable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PathBuf>,
}

/// An executable for jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Executable {
    /// Name on the wire.
    pub name: String,
    /// File in the software's image.
    pub binary: String,
    #[serde(default = "yes")]
    pub active: bool,
}

const fn yes() -> bool {
    true
}

impl Resource {
    /// A cloud with these regions and machine sizes (name, cores, GiB).
    #[must_use]
    pub fn new(name: &str, regions: &[&str], instance_types: &[(&str, u32, f64)]) -> Self {
        Self {
            name: name.to_owned(),
            active: true,
            regions: regions
                .iter()
                .map(|name| Region {
                    name: (*name).to_owned(),
                    active: true,
                })
                .collect(),
            instance_types: instance_types
                .iter()
                .map(|(name, cpus, memory)| InstanceType {
                    name: (*name).to_owned(),
                    active: true,
                    cpus: *cpus,
                    memory: *memory,
                })
                .collect(),
        }
    }
}

impl Software {
    /// A software with one executable, `execute.sh`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let executable = Executable {
            name: "execute.sh".to_owned(),
            binary: "execute.sh".to_owned(),
            active: true,
        };
        Self {
            name: name.to_owned(),
            active: true,
            executables: vec![executable],
            package: None,
        }
    }
}

/// One consistent catalogue with traps for careless look-ups: each software has an executable
/// `execute.sh`, an inactive `CloudSigma Small` stands before the active one, and `CloudSigma Twin`
/// exists twice.
impl Default for Catalogue {
    fn default() -> Self {
        let mut sigma = Resource::new(
            "CloudSigma",
            &["CloudSigma Zurich"],
            &[
                ("CloudSigma Small", 1, 8.0),
                ("CloudSigma Small", 1, 0.5),
                ("CloudSigma Medium", 1, 1.0),
                ("CloudSigma Large", 2, 2.0),
                ("CloudSigma Twin", 1, 1.0),
                ("CloudSigma Twin", 2, 1.0),
            ],
        );
        sigma.instance_types[0].active = false;
        let amazon = Resource::new(
            "Amazon EC2 CloudBroker GmbH",
            &["Amazon EC2 CloudBroker GmbH US East (Northern Virginia)"],
            &[
                ("Amazon EC2 CloudBroker GmbH Micro - 64 bit", 1, 1.0),
                ("Amazon EC2 CloudBroker GmbH Large - 64 bit", 2, 4.0),
            ],
        );
        let softwares = ["micado manager", "micado node", "micado proxy"]
            .map(Software::new)
            .to_vec();
        Self {
            resources: vec![sigma, amazon],
            softwares,
        }
    }
}

/// Kinds of things in lists, named like the collections on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    DataTypes,
    Softwares,
    Executables,
    Deployments,
    Resources,
    Regions,
    InstanceTypes,
}

/// One thing of the catalogue, with its position.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) active: bool,
    pub(crate) what: What,
}

/// Details of each kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    DataType {
        selectable: bool,
    },
    Software {
        package: Option<PathBuf>,
    },
    Executable {
        software: String,
        binary: String,
    },
    Deployment {
        software: String,
        resource: String,
        region: String,
    },
    Resource,
    Region {
        resource: String,
    },
    InstanceType {
        resource: String,
        cpus: u32,
        memory: f64,
    },
}

impl What {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::DataType { .. } => Kind::DataTypes,
            Self::Software { .. } => Kind::Softwares,
            Self::Executable { .. } => Kind::Executables,
            Self::Deployment { .. } => Kind::Deployments,
            Self::Resource => Kind::Resources,
            Self::Region { .. } => Kind::Regions,
            Self::InstanceType { .. } => Kind::InstanceTypes,
        }
    }
}

/// An id derived from the position in the catalogue, so that it survives a restart.
fn id(path: &str) -> String {
    let digest = Sha256::digest(path.as_bytes());
    let hex: String = digest
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!(
        "{}-{}-4{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..]
    )
}

/// The catalogue as one flat list in its own order; things of the same kind and name differ in
/// their position.
pub(crate) fn entries(catalogue: &Catalogue) -> Vec<Entry> {
    let mut all = Vec::new();
    let mut add = |path: String, name: &str, active: bool, what: What| {
        let entry = Entry {
            id: id(&path),
            name: name.to_owned(),
            active,
            what,
        };
        all.push(entry.clone());
        entry.id
    };
    for (name, selectable) in [
        ("stdin", true),
        ("output", false),
        ("input", true),
        ("stdout", false),
        ("stderr", false),
        ("tgzout", false),
    ] {
        add(
            format!("type/{name}"),
            name,
            true,
            What::DataType { selectable },
        );
    }
    let mut regions = Vec::new();
    for (at, one) in catalogue.resources.iter().enumerate() {
        let resource = add(
            format!("resource/{at}"),
            &one.name,
            one.active,
            What::Resource,
        );
        for (below, region) in one.regions.iter().enumerate() {
            let what = What::Region {
                resource: resource.clone(),
            };
            regions.push((
                resource.clone(),
                add(
                    format!("region/{at}/{below}"),
                    &region.name,
                    region.active,
                    what,
                ),
                &one.name,
            ));
        }
        for (below, size) in one.instance_types.iter().enumerate() {
            let what = What::InstanceType {
                resource: resource.clone(),
                cpus: size.cpus,
                memory: size.memory,
            };
            add(format!("size/{at}/{below}"), &size.name, size.active, what);
        }
    }
    for (at, one) in catalogue.softwares.iter().enumerate() {
        let software = add(
            format!("software/{at}"),
            &one.name,
            one.active,
            What::Software {
                package: one.package.clone(),
            },
        );
        for (below, executable) in one.executables.iter().enumerate() {
            let what = What::Executable {
                software: software.clone(),
                binary: executable.binary.clone(),
            };
            add(
                format!("executable/{at}/{below}"),
                &executable.name,
                executable.active,
                what,
            );
        }
        for (resource, region, place) in &regions {
            let what = What::Deployment {
                software: software.clone(),
                resource: resource.clone(),
                region: region.clone(),
            };
            add(
                format!("deployment/{at}/{region}"),
                &format!("{} on {place}", one.name),
                one.active,
                what,
            );
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_entry_has_an_id_of_its_own_that_stays() {
        let all = entries(&Catalogue::default());
        let ids: BTreeSet<_> = all.iter().map(|entry| &entry.id).collect();
        assert_eq!(ids.len(), all.len());
        assert!(ids.iter().all(|id| id.len() == 36), "{ids:?}");
        assert_eq!(all, entries(&Catalogue::default()));
    }

    #[test]
    fn a_catalogue_is_read_from_json() {
        let text = r#"{"resources":[{"name":"r","regions":[{"name":"z"}],"instance_types":[{"name":"s","cpus":1,"memory":0.5}]}],
            "softwares":[{"name":"n","executables":[{"name":"execute.sh","binary":"execute.sh"}]}]}"#;
        let expected = Catalogue {
            resources: vec![Resource::new("r", &["z"], &[("s", 1, 0.5)])],
            softwares: vec![Software::new("n")],
        };
        assert_eq!(
            serde_json::from_str::<Catalogue>(text).expect("a catalogue"),
            expected
        );
    }
}
