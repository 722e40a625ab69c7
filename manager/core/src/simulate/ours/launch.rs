//! The beginning of a simulated cluster: its first machines, and its services with their policies.

use super::{CLIENT, Ours, Service};
use crate::{
    control::Request,
    engine::ImageFacts,
    scaling::Slotting,
    simulate::cloud::{APPLICATION, CLOUD, FLAVOUR, MEMORY},
};
use micado_api::{
    CloudName, FlavourName, LaunchRequest, Location, NanoCpus, Resources, ServiceName, ServiceSpec,
    StartRequest, Tag, Timestamp, Unnamed,
};
use std::{collections::BTreeMap, num::NonZeroU32};

impl Ours {
    /// Rents the first machines, and launches the services with their policies.
    pub(super) fn launch(&mut self, demands: &[f64]) {
        let counts: Vec<u32> = demands
            .iter()
            .map(|demand| self.options.copies(*demand))
            .collect();
        for number in 1..=self.options.machines(counts.iter().sum()) {
            self.request(Request::Start(machine(number)));
        }
        self.advance(Timestamp(self.now.0 + 10_000));
        for (number, count) in (1..).zip(counts) {
            let name = format!("load{number}");
            self.services.push(Service {
                name: ServiceName::trusted(format!("{CLIENT}_{name}")),
                used: 0.0,
                slotting: Slotting::default(),
                slots: Vec::new(),
            });
            self.request(self.launch_of(&name, count));
        }
        for at in 0..self.services.len() {
            self.request(Request::SetPolicy {
                service: self.services[at].name.to_string(),
                policies: Box::new(self.options.policies.clone()),
            });
        }
    }

    fn launch_of(&self, image: &str, count: u32) -> Request {
        let spec = ServiceSpec {
            image: image.to_owned(),
            client: CLIENT.to_owned(),
            location: Location::default(),
            entrypoint: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            ports: Vec::new(),
            domain: None,
            tags: Vec::new(),
            reservation: Resources::new(MEMORY, NanoCpus((self.options.cores * 1e9) as u64)),
            volumes: Vec::new(),
            restart: Default::default(),
            anti_affinity: Default::default(),
            run: Default::default(),
        };
        let facts = ImageFacts {
            pull: Some(format!("{image}@sha256:0")),
            exposed: Vec::new(),
            platforms: Default::default(),
        };
        let launch = LaunchRequest {
            spec,
            publish_all: false,
            request: None,
            copies: NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN),
            unnamed: Unnamed::default(),
        };
        Request::Launch(Box::new(launch), facts)
    }
}

fn machine(number: u32) -> StartRequest {
    StartRequest {
        cloud: CloudName::trusted(CLOUD),
        application: APPLICATION.to_owned(),
        flavour: FlavourName::trusted(FLAVOUR),
        tag: Tag::trusted(format!("first{number:02}")),
        location: Location::default(),
        files: BTreeMap::new(),
        first: false,
    }
}
