//! Machines as instances of a software's deployment, set up by cloud-init.

use super::{
    CloudBroker,
    cloud_init::user_data,
    failure::{Failure, No},
    http::Body,
    poll::{Poll, Progress},
    records::{Instance, liveliest, one},
    wire::Document,
};
use crate::{Application, Flavour, Machine, MachineState, Order};
use base64::{Engine, prelude::BASE64_STANDARD};
use std::sync::PoisonError;
use tokio::time::Instant;

impl CloudBroker {
    /// The existing instance of this order, or a new one.
    pub(super) async fn launch_instance(
        &self,
        order: &Order,
        application: &Application,
        flavour: &Flavour,
    ) -> Result<Machine, Failure> {
        let listed = self.account.listing.get(&self.account.link).await?;
        let named = listed
            .instances
            .iter()
            .filter(|instance| instance.name == order.name)
            .filter_map(|instance| instance.machine(&order.cluster));
        if let Some(machine) = liveliest(
            named.filter(|machine| machine.state != MachineState::Stopping),
            |machine| machine.state,
        ) {
            return Ok(machine);
        }
        let body = self.instance_body(order, application, flavour).await?;
        self.account.listing.creating();
        let purpose = format!("create instance `{}`", order.name);
        let instance: Instance = self
            .account
            .link
            .create("/instances.xml", Body::Xml(body), &purpose, one)
            .await?;
        let instance = if instance.name.is_empty() {
            self.show_instance(&instance).await?
        } else {
            instance
        };
        match instance
            .machine(&order.cluster)
            .filter(|machine| machine.name == order.name)
        {
            Some(machine) => Ok(machine),
            None => Err(self.turn_away(&instance, order).await),
        }
    }

    async fn instance_body(
        &self,
        order: &Order,
        application: &Application,
        flavour: &Flavour,
    ) -> Result<String, Failure> {
        let user_data = user_data(&order.files).map_err(Failure::no)?;
        let (software, site) = (self.software(application).await?, self.site().await?);
        let document = Document::new("instance")
            .with("name", &*order.name)
            .with("deployment-id", self.deployment(&software, &site).await?.id)
            .with(
                "instance-type-id",
                self.instance_type(flavour, &site.resource).await?.id,
            )
            .with("disable-autostop", "true")
            .with("isolated", "true")
            .with("cloud-init", BASE64_STANDARD.encode(user_data))
            .with("cloud-init-b64", "true");
        Ok(document.finish(&self.cloud.wire.extra, &application.extra))
    }

    async fn show_instance(&self, instance: &Instance) -> Result<Instance, Failure> {
        self.account
            .link
            .read(
                format!("/instances/{}.xml", instance.id),
                &format!("look at instance {}", instance.id),
                one,
            )
            .await
    }

    /// Stops an instance that could not be found again, because the broker has renamed it.
    async fn turn_away(&self, instance: &Instance, order: &Order) -> Failure {
        let (id, name) = (&instance.id, &instance.name);
        self.strays().insert(id.clone());
        self.stop_strays().await;
        let words = format!(
            "the broker calls instance `{}` `{name}`, so it could not be found again",
            order.name
        );
        if self.strays().contains(id) {
            return Failure::Lost(format!(
                "{words}; it still runs and is paid for: stop instance {id} at the broker"
            ));
        }
        Failure::no(format!(
            "{words}: it was stopped again; rent the application as jobs (<rent>jobs</rent> in cloudsetup.xml)"
        ))
    }

    /// Stops renamed instances that could not be stopped before.
    pub(super) async fn stop_strays(&self) {
        let strays = self.strays().clone();
        for id in strays {
            match self
                .stop("instances", &id, &format!("stop instance {id}"))
                .await
            {
                Ok(()) => drop(self.strays().remove(&id)),
                Err(failure) if failure.is(No::Absent) || failure.is(No::WrongStatus) => {
                    self.strays().remove(&id);
                }
                Err(failure) => tracing::error!(
                    "an instance that nobody can find runs and is paid for: {failure}"
                ),
            }
        }
    }

    fn strays(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeSet<String>> {
        self.account
            .strays
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the instance; resolves once it has stopped.
    pub(super) async fn end_instance(
        &self,
        listed: &Instance,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let (mut instance, mut poll, mut asked) =
            (listed.clone(), Poll::default(), None::<Instant>);
        while !instance.is_halted() {
            progress.note(format!(
                "instance {} is still `{}`",
                instance.id, instance.status
            ));
            if asked.is_none_or(|asked| asked.elapsed() >= super::jobs::STOP_AGAIN) {
                match self
                    .stop(
                        "instances",
                        &instance.id,
                        &format!("stop instance {}", instance.id),
                    )
                    .await
                {
                    Ok(()) => asked = Some(Instant::now()),
                    Err(failure) if failure.is(No::WrongStatus) || failure.is(No::Absent) => {}
                    Err(failure) => return Err(failure),
                }
            }
            poll.pause().await;
            instance = match self.show_instance(&instance).await {
                Err(failure) if failure.is(No::Absent) => return Ok(()),
                shown => shown?,
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
