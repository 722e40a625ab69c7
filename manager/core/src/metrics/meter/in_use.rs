//! Current metrics of one machine, for whoever reads them of many containers at once.

use micado_api::ContainerUsage;

#[derive(Debug, Clone, Copy)]
pub struct InUse<'a> {
    /// Busy share of the machine, 0 to 1, if it is known.
    pub busy: Option<f64>,
    containers: &'a [(String, ContainerUsage)],
}

impl<'a> InUse<'a> {
    /// `containers` are by Swarm service, in order of the names.
    #[must_use]
    pub const fn new(busy: Option<f64>, containers: &'a [(String, ContainerUsage)]) -> Self {
        Self { busy, containers }
    }

    /// Returns the use of the container of a Swarm service. `position` is where it was found last,
    /// and is updated: an agent reports the same containers again and again, so that mostly one
    /// name is compared.
    #[must_use]
    pub fn container(&self, service: &str, position: &mut usize) -> Option<&'a ContainerUsage> {
        let last = self.containers.get(*position);
        if last.is_none_or(|(name, _)| name != service) {
            let found = self
                .containers
                .binary_search_by(|(name, _)| name.as_str().cmp(service));
            *position = found.ok()?;
        }
        self.containers.get(*position).map(|(_, usage)| usage)
    }
}
