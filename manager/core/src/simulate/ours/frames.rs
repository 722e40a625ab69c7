//! Frames of a simulated cluster, as node agents would report them.

use super::Ours;
use crate::{
    control::{Event, ServiceLoad},
    scaling::{Copies, Frame, Sums},
};
use micado_api::ServiceName;
use std::time::Duration;

impl Ours {
    /// Sends a frame of the past seconds, once enough are covered.
    pub(super) fn send_frame(&mut self) {
        self.covered += 1;
        if self.covered * 1_000 < self.options.frame.0 {
            return;
        }
        let hides = self.cloud.faults.hides(self.cloud.second(self.now));
        let loads = (0..self.services.len()).map(|at| {
            let name = self.services[at].name.clone();
            let load = match hides {
                true => self.no_samples(&name),
                false => self.load(at),
            };
            (name, load)
        });
        let loads = loads.collect();
        self.deliver(Event::Load(loads));
        self.covered = 0;
        self.services
            .iter_mut()
            .for_each(|service| service.used = 0.0);
    }

    /// Metrics of the copies of a service. All copies have the same load.
    fn load(&self, at: usize) -> ServiceLoad {
        let options = &self.options;
        let service = &self.services[at];
        let used = service.used / self.covered as f64;
        let warm_up = Duration::from_millis(options.warm_up.0);
        let mut copies = Copies::default();
        for (_, task) in self.engine.tasks() {
            let is_its = task.service == service.name;
            if let Some(since) = task.ran_at.filter(|_| is_its) {
                match self.now.since(since) >= warm_up {
                    true => copies.warm += 1,
                    false => copies.young += 1,
                }
            }
        }
        let share = options.target * options.cores;
        let is_full = used >= 0.97 * options.cores;
        ServiceLoad {
            frame: Frame {
                copies,
                saturated: if is_full { copies.warm } else { 0 },
                cpu: Sums {
                    warm: used * f64::from(copies.warm),
                    young: used.min(share) * f64::from(copies.young),
                    busiest: used,
                    ..Sums::default()
                },
                ..self.blank()
            },
            ..ServiceLoad::default()
        }
    }

    fn blank(&self) -> Frame {
        Frame {
            at: self.now,
            interval_ms: self.covered as u32 * 1_000,
            ..Frame::default()
        }
    }

    /// The same while all samples are lost.
    fn no_samples(&self, name: &ServiceName) -> ServiceLoad {
        let tasks = self.engine.tasks();
        let blind = tasks.filter(|(_, task)| task.service == *name && task.ran_at.is_some());
        ServiceLoad {
            frame: self.blank(),
            blind: blind.map(|(swarm_name, _)| swarm_name.clone()).collect(),
            ..ServiceLoad::default()
        }
    }
}
