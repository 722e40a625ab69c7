//! The relevant parts of the broker's records, read from its documents in any spelling.

use super::{description::Description, failure::Failure};
use crate::{Machine, MachineState, dom::Element};
use micado_api::{CloudName, ClusterId, FlavourName, InstanceId, Tag};
use std::{collections::BTreeSet, net::IpAddr, sync::Mutex};

/// Upper bound for remembered unknown words.
const MOST_STRANGE: usize = 100;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) status: String,
    pub(super) description: Description,
    pub(super) outcome: Option<String>,
    pub(super) stop_reason: Option<String>,
    pub(super) resource: Option<String>,
    pub(super) region: Option<String>,
    pub(super) instance_type: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Instance {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) status: String,
    pub(super) job: Option<String>,
    pub(super) deployment: Option<String>,
    pub(super) instance_type: Option<String>,
    pub(super) address: Option<String>,
}

/// A record with an id.
pub(super) trait Record: Sized {
    /// The element's name.
    const ITEM: &'static str;
    /// Reads the element with this id.
    fn read(id: String, element: &Element) -> Self;
}

fn owned(element: &Element, name: &str) -> Option<String> {
    element.text_of(name).map(str::to_owned)
}

fn status(element: &Element) -> String {
    element
        .text_of("status")
        .unwrap_or_default()
        .to_ascii_lowercase()
}

impl Record for Job {
    const ITEM: &'static str = "job";

    fn read(id: String, element: &Element) -> Self {
        Self {
            id,
            name: owned(element, "name").unwrap_or_default(),
            status: status(element),
            description: Description::read(element.text_of("description").unwrap_or_default()),
            outcome: owned(element, "job-outcome-string"),
            stop_reason: owned(element, "stop-reason"),
            resource: owned(element, "resource-id"),
            region: owned(element, "region-id"),
            instance_type: owned(element, "instance-type-id"),
        }
    }
}

impl Record for Instance {
    const ITEM: &'static str = "instance";

    fn read(id: String, element: &Element) -> Self {
        // `not allocated` and other texts mean that there is no address yet.
        let address = |name: &str| {
            element
                .text_of(name)
                .and_then(|text| text.parse::<IpAddr>().ok())
                .map(|address| address.to_string())
        };
        Self {
            id,
            name: owned(element, "name").unwrap_or_default(),
            status: status(element),
            job: owned(element, "job-id"),
            deployment: owned(element, "deployment-id"),
            instance_type: owned(element, "instance-type-id"),
            address: address("external-ip-address").or_else(|| address("internal-ip-address")),
        }
    }
}

/// The record in a document.
pub(super) fn one<R: Record>(root: &Element) -> Result<R, Failure> {
    identified(root, R::ITEM).map(|id| R::read(id, root))
}

/// The records in a list.
pub(super) fn all<R: Record>(root: &Element) -> Result<Vec<R>, Failure> {
    items(root, R::ITEM)?.into_iter().map(one).collect()
}

/// The elements of this name in a document, under a root of any name; or the root itself.
pub(super) fn items<'e>(root: &'e Element, item: &str) -> Result<Vec<&'e Element>, Failure> {
    if root.is(item) {
        return Ok(vec![root]);
    }
    let items: Vec<_> = root
        .children
        .iter()
        .filter(|child| child.is(item))
        .collect();
    // Machines must never count as gone because something else was read, such as a log-in page.
    let nothing = root.children.is_empty() && root.text.is_empty() && !root.is("html");
    if items.is_empty() && !nothing {
        return Err(Failure::Lost(format!(
            "the answer is no list of <{item}>, but <{}>",
            root.name
        )));
    }
    Ok(items)
}

/// The id of a record, which is an element of this name.
pub(super) fn identified(element: &Element, item: &str) -> Result<String, Failure> {
    let id = element
        .text_of("id")
        .filter(|_| element.is(item))
        .map(str::to_owned);
    id.ok_or_else(|| {
        Failure::Lost(format!(
            "the answer has no <{item}> with an id, but <{}>",
            element.name
        ))
    })
}

impl Job {
    pub(super) fn is_completed(&self) -> bool {
        self.status == "completed"
    }

    pub(super) fn is_half_made(&self) -> bool {
        self.status == "created"
    }

    /// The machine in its listed state; `None` for another cluster's.
    pub(super) fn machine(&self, cluster: &ClusterId) -> Option<Machine> {
        let words = [self.outcome.as_deref(), self.stop_reason.as_deref()]
            .into_iter()
            .flatten();
        Some(Machine {
            instance: instance_of(&self.name, cluster)?,
            name: self.name.clone(),
            id: self.id.clone(),
            state: job_state(&self.status),
            address: None,
            tag: self
                .description
                .tag
                .as_deref()
                .and_then(|tag| tag.parse::<Tag>().ok()),
            location: self
                .description
                .location
                .as_deref()
                .and_then(|location| location.parse().ok()),
            application: self.description.application.clone(),
            flavour: self
                .description
                .flavour
                .as_deref()
                .and_then(|flavour| flavour.parse::<FlavourName>().ok()),
            detail: Some(words.fold(self.status.clone(), |text, word| format!("{text}; {word}"))),
        })
    }

    /// Compares its description with this cloud; `None` without a description of ours.
    pub(super) fn says_cloud(&self, cloud: &CloudName) -> Option<bool> {
        self.description
            .cloud
            .as_deref()
            .map(|said| said == cloud.as_str())
    }
}

impl Instance {
    pub(super) fn is_halted(&self) -> bool {
        self.status == "halted"
    }

    /// The machine in its listed state; `None` for another cluster's, or a returned one.
    pub(super) fn machine(&self, cluster: &ClusterId) -> Option<Machine> {
        let instance = instance_of(&self.name, cluster).filter(|_| !self.is_halted())?;
        Some(Machine {
            instance,
            name: self.name.clone(),
            id: self.id.clone(),
            state: instance_state(&self.status),
            address: self.address.clone(),
            tag: None,
            location: None,
            application: None,
            flavour: None,
            detail: Some(self.status.clone()),
        })
    }
}

/// Our instance's id, if the name is one of this cluster's.
fn instance_of(name: &str, cluster: &ClusterId) -> Option<InstanceId> {
    name.strip_prefix("micado-")?
        .strip_prefix(cluster.as_str())?
        .strip_prefix('-')?
        .parse()
        .ok()
}

fn job_state(status: &str) -> MachineState {
    match status {
        "created" | "submitted" | "assembling" | "starting" | "preparing" => MachineState::Pending,
        "running" => MachineState::Running,
        "stopping" | "finishing" => MachineState::Stopping,
        "completed" => MachineState::Dead,
        strange => pending(strange),
    }
}

fn instance_state(status: &str) -> MachineState {
    match status {
        "starting" | "initializing" | "preparing" => MachineState::Pending,
        "running" => MachineState::Running,
        "stopping" | "halted" => MachineState::Stopping,
        strange => pending(strange),
    }
}

/// An unknown status word is reported once, and counts as a machine on its way, bounded by its
/// deadline.
fn pending(strange: &str) -> MachineState {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if said.len() < MOST_STRANGE && said.insert(strange.to_owned()) {
        tracing::warn!(
            status = strange,
            "CloudBroker uses a status that is not known: taken for pending"
        );
    }
    MachineState::Pending
}

/// The relevant one of several machines of one name: an order with a lost answer may have left
/// another, half made.
pub(super) fn liveliest<T>(
    records: impl IntoIterator<Item = T>,
    state: impl Fn(&T) -> MachineState,
) -> Option<T> {
    records
        .into_iter()
        .min_by_key(|record| match state(record) {
            MachineState::Running => 0,
            MachineState::Pending => 1,
            MachineState::Stopping => 2,
            MachineState::Dead => 3,
        })
}

#[cfg(test)]
mod proptests;
#[cfg(test)]
mod tests;
