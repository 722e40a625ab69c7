//! Orders: required content of a new job or instance, and the resulting records.

use super::{Effect, Refusal, World};
use crate::{
    Content, Fate, Instance, InstanceStatus, Job, JobStatus, Machine, Run,
    catalogue::{Entry, Kind, What},
    fields::{Fields, titled},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;

/// Kinds of ids, their first four digits.
const JOB: u16 = 0x2000;
const INSTANCE: u16 = 0x5000;
pub(super) const DATA_FILE: u16 = 0x7000;

impl World {
    /// Creates a job, complete except for its submit.
    ///
    /// # Errors
    /// Everything wrong with the order at once.
    pub(crate) fn create_job(
        &mut self,
        fields: &Fields,
        fate: Option<Fate>,
        now: Timestamp,
    ) -> Result<String, Refusal> {
        let mut wrong = Vec::new();
        let mut note = |message: String| wrong.push(message);
        let place = self.place(fields).unwrap_or_else(|message| {
            note(message);
            Place::default()
        });
        let name = fields.text("name").unwrap_or_else(|| {
            note("Name can't be blank".to_owned());
            String::new()
        });
        let nodes = fields.count("nodes", 1).unwrap_or_else(|message| {
            note(message);
            1
        });
        let mut flag = |name| {
            fields.flag(name).unwrap_or_else(|message| {
                note(message);
                false
            })
        };
        let (archive_output, no_instance_shutdown) =
            (flag("archive-output"), flag("no-instance-shutdown"));
        let (permanently_running, no_execution) =
            (flag("permanently-running"), flag("no-execution"));
        if !wrong.is_empty() {
            return Err(Refusal::invalid(wrong));
        }
        let job = Job {
            id: self.fresh_id(JOB),
            name,
            description: fields.text("description"),
            status: JobStatus::Created,
            history: vec![(JobStatus::Created, now)],
            software: place.software,
            executable: place.executable,
            resource: place.resource,
            region: place.region,
            instance_type: place.instance_type,
            deployment: None,
            arguments: fields.text("argument-string"),
            nodes,
            archive_output,
            no_instance_shutdown,
            permanently_running,
            no_execution,
            instances: Vec::new(),
            outcome: None,
            stop_reason: None,
            tag: fields.text("tag/content"),
            created_at: now,
            run: Run::Nothing,
            output: String::new(),
            fate,
            activity: Vec::new(),
        };
        let id = job.id.clone();
        self.changing().jobs.insert(id.clone(), job);
        Ok(id)
    }

    /// Creates an instance, which boots at once.
    ///
    /// # Errors
    /// The mistake in the order.
    pub(crate) fn create_instance(
        &mut self,
        fields: &Fields,
        fate: Option<Fate>,
        now: Timestamp,
    ) -> Result<(String, Vec<Effect>), Refusal> {
        let refuse = |message: String| Refusal::invalid([message]);
        let deployment = self
            .named(fields, "deployment", Kind::Deployments, |_| true)
            .map_err(refuse)?
            .id
            .clone();
        let (software, resource, region) = self.deployment(&deployment).unwrap_or_default();
        let fits = |entry: &Entry| matches!(&entry.what, What::InstanceType { resource: of, .. } if of == resource);
        let instance_type = self
            .named(fields, "instance-type", Kind::InstanceTypes, fits)
            .map_err(refuse)?
            .id
            .clone();
        let (software, region) = (software.to_owned(), region.to_owned());
        let instance = Instance {
            id: String::new(),
            name: fields.text("name").unwrap_or_default(),
            ordered_as: String::new(),
            description: fields.text("description"),
            job: None,
            status: InstanceStatus::Starting,
            since: now,
            created_at: now,
            software,
            deployment,
            region,
            instance_type,
            opened_port: fields.text("opened-port"),
            key_pair: fields.text("key-pair-id"),
            disable_autostop: fields.flag("disable-autostop").map_err(refuse)?,
            isolated: fields.flag("isolated").map_err(refuse)?,
            user_data: user_data(fields).map_err(refuse)?,
            fate,
            machine: Machine::default(),
        };
        let mut effects = Vec::new();
        let id = self.make_instance(instance, now, &mut effects);
        Ok((id, effects))
    }

    /// Creates the instances of a job that begins to start.
    pub(super) fn make_instances(&mut self, id: &str, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(job) = self.records.jobs.get(id).cloned() else {
            return;
        };
        let deployed = |entry: &&Entry| matches!(&entry.what, What::Deployment { software, region, .. } if *software == job.software && *region == job.region);
        let deployment = self
            .entries(Kind::Deployments)
            .find(deployed)
            .map(|entry| entry.id.clone())
            .unwrap_or_default();
        let template = Instance {
            id: String::new(),
            name: String::new(),
            ordered_as: job.name.clone(),
            description: job.description.clone(),
            job: Some(id.to_owned()),
            status: InstanceStatus::Starting,
            since: now,
            created_at: now,
            software: job.software.clone(),
            deployment: deployment.clone(),
            region: job.region.clone(),
            instance_type: job.instance_type.clone(),
            opened_port: None,
            key_pair: None,
            disable_autostop: false,
            isolated: false,
            user_data: None,
            fate: job.fate,
            machine: Machine::default(),
        };
        let mut instances = job.instances.clone();
        if self.with_ghosts {
            let ghost = Instance {
                id: self.fresh_id(INSTANCE),
                name: "ghost".to_owned(),
                status: InstanceStatus::Halted,
                ..template.clone()
            };
            instances.push(ghost.id.clone());
            self.changing().instances.insert(ghost.id.clone(), ghost);
        }
        instances
            .extend((0..job.nodes).map(|_| self.make_instance(template.clone(), now, effects)));
        if let Some(job) = self.changing().jobs.get_mut(id) {
            job.instances = instances;
            job.deployment = Some(deployment);
        }
    }

    fn make_instance(
        &mut self,
        mut instance: Instance,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> String {
        let id = self.fresh_id(INSTANCE);
        instance.id.clone_from(&id);
        if instance.name.is_empty() {
            instance.name = format!("instance {}", &id[..13]);
        }
        if instance.ordered_as.is_empty() {
            instance.ordered_as.clone_from(&instance.name);
        }
        self.changing().instances.insert(id.clone(), instance);
        self.enter_instance(&id, InstanceStatus::Starting, now, effects);
        id
    }

    /// The software, executable and place: existing, active, and fitting together.
    fn place(&self, fields: &Fields) -> Result<Place, String> {
        let software = &self
            .named(fields, "software", Kind::Softwares, |_| true)?
            .id;
        let of_software = |entry: &Entry| matches!(&entry.what, What::Executable { software: of, .. } if of == software);
        let executable = &self
            .named(fields, "executable", Kind::Executables, of_software)?
            .id;
        let resource = &self
            .named(fields, "resource", Kind::Resources, |_| true)?
            .id;
        let in_resource = |entry: &Entry| match &entry.what {
            What::Region { resource: of } | What::InstanceType { resource: of, .. } => {
                of == resource
            }
            _ => false,
        };
        let region = &self.named(fields, "region", Kind::Regions, in_resource)?.id;
        let instance_type = &self
            .named(fields, "instance-type", Kind::InstanceTypes, in_resource)?
            .id;
        let [software, executable, resource, region, instance_type] =
            [software, executable, resource, region, instance_type].map(String::clone);
        Ok(Place {
            software,
            executable,
            resource,
            region,
            instance_type,
        })
    }

    /// The thing that `NAME-id` or else `NAME-name` refers to. Of several with the name, the first
    /// active one that fits.
    fn named(
        &self,
        fields: &Fields,
        name: &str,
        kind: Kind,
        fits: impl Fn(&Entry) -> bool,
    ) -> Result<&Entry, String> {
        let title = titled(name);
        let found: Vec<_> = match (
            fields.get(&format!("{name}-id")),
            fields.get(&format!("{name}-name")),
        ) {
            (Some(id), _) => self.entries(kind).filter(|entry| entry.id == id).collect(),
            (None, Some(called)) => self
                .entries(kind)
                .filter(|entry| entry.name == called)
                .collect(),
            (None, None) => return Err(format!("{title} can't be blank")),
        };
        let active = found.iter().find(|entry| entry.active && fits(entry));
        match (active, found.is_empty()) {
            (Some(entry), _) => Ok(entry),
            (None, true) => Err(format!("{title} can't be found")),
            (None, false) if found.iter().any(|entry| fits(entry)) => {
                Err(format!("{title} is not active"))
            }
            (None, false) => Err(format!("{title} does not belong to the rest of the order")),
        }
    }
}

/// The ids of an order's parts.
#[derive(Default)]
struct Place {
    software: String,
    executable: String,
    resource: String,
    region: String,
    instance_type: String,
}

fn user_data(fields: &Fields) -> Result<Option<Content>, String> {
    let Some(text) = fields.get("cloud-init") else {
        return Ok(None);
    };
    if !fields.flag("cloud-init-b64")? {
        return Ok(Some(Content(text.as_bytes().to_vec())));
    }
    let folded: String = text.split_whitespace().collect();
    let bytes = BASE64_STANDARD
        .decode(folded)
        .map_err(|_| "Cloud init is not valid base64".to_owned())?;
    Ok(Some(Content(bytes)))
}
