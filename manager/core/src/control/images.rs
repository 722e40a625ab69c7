//! Images: learning from their containers' use, offers at launch, views, and settings by people.

use super::{
    Core, Reply,
    index::{Build, Gauge},
    owner::{Known, Owner},
    warming::Warming,
};
use crate::{
    metrics::{Seen, Used},
    model::{Desired, Image, Service},
};
use ahash::HashMap;
use micado_api::{
    Critical, ErrorBody, ErrorCode, ImageView, LaunchRequest, NanoCpus, Resources, ServiceName,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Retention of an image without services and without settings by people.
const REMEMBERED: Duration = Duration::from_secs(90 * 24 * 3600);

/// Measurements that are not written yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Learning {
    /// Measured time of the containers of a build, in milliseconds.
    unwritten: BTreeMap<Arc<Build>, u64>,
    /// Builds of all gauges, once each.
    builds: BTreeSet<Arc<Build>>,
    pub(super) warming: Warming,
}

impl Learning {
    fn build(&mut self, image: &str, digest: &str) -> Arc<Build> {
        let build = (image.to_owned(), digest.to_owned());
        if let Some(known) = self.builds.get(&build) {
            return known.clone();
        }
        let build = Arc::new(build);
        self.builds.insert(build.clone());
        build
    }
}

impl Owner for Learning {
    fn prune(&mut self, known: &Known<'_>) {
        let ledger = known.ledger;
        let is_known = |name: &str| ledger.index.by_swarm_name(name).is_some();
        self.warming
            .retain(is_known, |image| ledger.images.get(image).is_some());
    }
}

/// An image that a service needs: of its present settings or of earlier ones that it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageNeed {
    pub service: ServiceName,
    /// Name, as requested.
    pub image: String,
    /// Reference that nodes pull; `None` until it was pushed.
    pub pull: Option<String>,
    /// Id in the manager's engine, if known.
    pub image_id: Option<String>,
}

/// The digest in a reference that nodes pull.
pub(super) fn digest(pull: &str) -> Option<&str> {
    pull.rsplit_once('@').map(|(_, digest)| digest)
}

impl Core {
    /// Learns from what containers used. Only what is news is written; the time measured adds up
    /// until it is.
    pub(super) fn learn(&mut self, used: &[Used]) {
        // By address of the build: there is one of each.
        let mut sums: HashMap<*const Build, (Arc<Build>, Seen)> = HashMap::default();
        for used in used {
            let at = match self.ledger.index.gauges.get_index_of(&*used.service) {
                Some(at) => at,
                None => {
                    let Some(gauge) = self.gauge(&used.service) else {
                        continue;
                    };
                    let gauges = &mut self.ledger.index.gauges;
                    gauges.insert_full(used.service.to_string(), gauge).0
                }
            };
            let gauge = &self.ledger.index.gauges[at];
            let sum = sums.entry(Arc::as_ptr(&gauge.build));
            let (_, seen) = sum.or_insert_with(|| (gauge.build.clone(), Seen::default()));
            seen.add(used, gauge.limit);
        }
        let sums: BTreeMap<Arc<Build>, Seen> = sums.into_values().collect();
        for (build, seen) in sums {
            self.learn_build(build, seen);
        }
    }

    fn learn_build(&mut self, build: Arc<Build>, mut seen: Seen) {
        let (name, digest) = &*build;
        let unwritten = self.learning.unwritten.remove(&build).unwrap_or(0);
        seen.measured_ms = seen.measured_ms.saturating_add(unwritten);
        let image = self.ledger.images.get(name);
        let known = image.and_then(|image| image.learned_of(digest));
        if known.is_some_and(|learned| !learned.is_news(self.now, &seen)) {
            self.learning.unwritten.insert(build, seen.measured_ms);
            return;
        }
        if image.is_none() {
            let image = Image {
                digest: Some(digest.clone()),
                ..Image::new(name, self.now)
            };
            self.ledger.images.insert(image);
        }
        if let Some(image) = self.ledger.images.edit(name) {
            image.learn(digest, self.now, &seen);
        }
    }

    /// Gauge of a Swarm service's copy. Its use counts within the copy's memory limit and the
    /// machine's cores: an agent may report anything, and what it reports is offered to services
    /// on all machines.
    fn gauge(&mut self, swarm_name: &str) -> Option<Gauge> {
        let name = self.ledger.index.by_swarm_name(swarm_name)?;
        let container = self.ledger.container(name)?;
        let service = self.ledger.service(&container.service)?;
        // A service that is being removed may have an earlier image of the same name.
        let same =
            container.desired != Desired::Removed || container.created_at >= service.created_at;
        let digest = digest(service.pull.as_deref().filter(|_| same)?)?;
        let mut copies = container.copies.iter();
        let copy = copies.find(|copy| copy.swarm_name == swarm_name)?;
        let instance = self.ledger.instance(&copy.instance);
        let cores = instance.map_or(NanoCpus(u64::MAX), |instance| instance.size.cpu);
        Some(Gauge {
            build: self.learning.build(&service.spec.image, digest),
            limit: Resources::new(copy.reservation.memory, cores),
        })
    }

    /// The record of an image as it is once this is launched: a new service pulls the present
    /// digest, if that is known yet.
    pub(super) fn image_to_launch(&self, name: &str, pull: Option<&str>, is_new: bool) -> Image {
        let mut image = self
            .ledger
            .images
            .get(name)
            .cloned()
            .unwrap_or_else(|| Image::new(name, self.now));
        image.seen_at = self.now;
        if let Some(digest) = pull
            .and_then(digest)
            .filter(|_| is_new || image.digest.is_none())
        {
            image.pulls(digest);
        }
        image
    }

    /// Records the pushed image of a service, which nodes pull from now on.
    pub(super) fn image_is(&mut self, service: &Service) {
        let image = self.image_to_launch(&service.spec.image, service.pull.as_deref(), true);
        self.ledger.images.insert(image);
    }

    /// Images that services with containers need, in all revisions that they keep.
    #[must_use]
    pub fn image_needs(&self) -> Vec<ImageNeed> {
        let services = self.ledger.services().values();
        let kept = services.filter(|service| self.kept(&service.name).is_some());
        let needs = kept.flat_map(|service| {
            let older = service.older.iter();
            let older = older.map(|older| (&older.spec, &older.pull, &older.image_id));
            let all = older.chain([(&service.spec, &service.pull, &service.image_id)]);
            all.map(|(spec, pull, image_id)| ImageNeed {
                service: service.name.clone(),
                image: spec.image.clone(),
                pull: pull.clone(),
                image_id: image_id.clone(),
            })
        });
        needs.collect()
    }

    /// Drops the record of an image, unless a service runs it.
    pub(super) fn forget_image(&mut self, name: &str) -> Reply {
        let mut needs = self.image_needs().into_iter();
        if !needs.any(|need| need.image == name) {
            self.ledger.images.remove(&name.to_owned());
        }
        Reply::Recorded
    }

    /// Records a built image. Services that have one of this name keep theirs.
    pub(super) fn image_built(&mut self, name: &str, pull: &str) -> Reply {
        self.ledger
            .images
            .insert(self.image_to_launch(name, Some(pull), true));
        let view = self.image_view(&name.to_owned());
        Reply::Image(Box::new(view.expect("it was inserted a moment ago")))
    }

    /// Returns the reservation of a container: given values, else those of its service, else
    /// learned ones. The learned ones are returned too.
    pub(super) fn reservation(
        &self,
        launch: &LaunchRequest,
        kept: Option<&Service>,
        image: &Image,
    ) -> (Resources, Option<Resources>) {
        let (asked, unnamed) = (launch.spec.reservation, launch.unnamed);
        let fill = |offered: Resources| Resources {
            memory: if unnamed.memory {
                offered.memory
            } else {
                asked.memory
            },
            cpu: if unnamed.cpu { offered.cpu } else { asked.cpu },
        };
        if let Some(service) = kept {
            return (fill(service.spec.reservation), None);
        }
        let learned = image
            .footprint()
            .filter(|_| unnamed.memory || unnamed.cpu)
            .map(fill);
        (learned.unwrap_or(asked), learned)
    }

    pub(super) fn set_image(
        &mut self,
        name: String,
        critical: Critical,
    ) -> Result<Reply, ErrorBody> {
        let Some(image) = self.ledger.images.edit(&name) else {
            return Err(ErrorBody::new(
                ErrorCode::NotFound,
                format!("no image `{name}` was ever launched"),
            )
            .hint("`micado image list` shows all, named as they were launched"));
        };
        image.critical = critical;
        Ok(Reply::Image(Box::new(
            self.image_view(&name).expect("it was there a moment ago"),
        )))
    }

    /// All images that services run or ran, by name.
    #[must_use]
    pub fn images(&self) -> Vec<ImageView> {
        self.ledger
            .images
            .keys()
            .filter_map(|name| self.image_view(name))
            .collect()
    }

    pub(super) fn image_view(&self, name: &String) -> Option<ImageView> {
        let mut view = self.ledger.images.get(name)?.view();
        let unwritten = view
            .digest
            .clone()
            .and_then(|digest| self.learning.unwritten.get(&(name.clone(), digest)));
        view.measured_ms = view.measured_ms.saturating_add(*unwritten.unwrap_or(&0));
        Some(view)
    }

    /// The learned footprint and the settings of a service's image, if any.
    pub(super) fn learned_view(&self, service: &Service) -> Option<ImageView> {
        let image = self.ledger.images.get(&service.spec.image)?;
        let anything = !image.learned.is_empty() || image.critical != Critical::default();
        self.image_view(&image.name).filter(|_| anything)
    }

    /// Drops images that were not used for long and have no settings by people.
    pub(super) fn prune_images(&mut self) {
        let in_use: BTreeSet<&str> = self
            .ledger
            .services()
            .values()
            .map(|it| it.spec.image.as_str())
            .collect();
        let old = |it: &&Image| {
            self.now.since(it.seen_at) > REMEMBERED
                && it.critical == Critical::default()
                && !in_use.contains(it.name.as_str())
        };
        for name in self
            .ledger
            .images
            .values()
            .filter(old)
            .map(|it| it.name.clone())
            .collect::<Vec<_>>()
        {
            self.ledger.images.remove(&name);
        }
        let images = &self.ledger.images;
        self.learning.unwritten.retain(|build, _| {
            let image = images.get(&build.0);
            image.is_some_and(|it| it.learned_of(&build.1).is_some())
        });
        let builds = &mut self.learning.builds;
        builds.retain(|build| Arc::strong_count(build) > 1);
    }
}
