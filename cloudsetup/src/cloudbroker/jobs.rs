//! Machines as jobs, the original's way: a permanently running job, whose executable gets the
//! order's files as input.

use super::{
    CloudBroker,
    description::describe,
    facts::instances_of,
    failure::{Failure, No},
    http::Body,
    inputs,
    poll::{Poll, Progress},
    records::{Job, identified, items, liveliest, one},
    wire::{Document, arguments},
};
use crate::{Application, Flavour, Machine, MachineState, Order, dom::Element};
use bytes::Bytes;
use reqwest::Method;
use std::{collections::BTreeSet, time::Duration};
use tokio::time::Instant;

/// A stop that was accepted but shows no effect is repeated after this time.
pub(super) const STOP_AGAIN: Duration = Duration::from_secs(10);

impl CloudBroker {
    /// The job of this order: the existing one, completed if an interrupted order left it half
    /// made, or a new one.
    pub(super) async fn launch_job(
        &self,
        order: &Order,
        application: &Application,
        flavour: &Flavour,
    ) -> Result<Machine, Failure> {
        let inputs = inputs::of(order).map_err(Failure::no)?;
        let listed = self.account.listing.get(&self.account.link).await?;
        let machine = |job: &Job| {
            job.machine(&order.cluster).ok_or_else(|| {
                Failure::no(format!(
                    "`{}` is no name of cluster `{}`",
                    order.name, order.cluster
                ))
            })
        };
        let named = listed.jobs.iter().filter(|job| job.name == order.name);
        let found = liveliest(named, |job| {
            machine(job).map_or(MachineState::Dead, |machine| machine.state)
        })
        .cloned();
        if let Some(job) = found.as_ref().filter(|job| !job.is_half_made()) {
            return machine(job);
        }
        let fresh = found.is_none();
        let job = match found {
            Some(job) => job,
            None => self.create_job(order, application, flavour).await?,
        };
        match self.set_off(&job, &inputs, fresh).await {
            Ok(job) => machine(&job),
            Err(failure @ Failure::No(..)) => Err(self.take_back(&job, failure).await),
            Err(lost) => Err(lost),
        }
    }

    async fn create_job(
        &self,
        order: &Order,
        application: &Application,
        flavour: &Flavour,
    ) -> Result<Job, Failure> {
        let body = self.job_body(order, application, flavour).await?;
        self.account.listing.creating();
        let purpose = format!("create job `{}`", order.name);
        let job: Job = self
            .account
            .link
            .create("/jobs.xml", Body::Xml(body), &purpose, one)
            .await?;
        if !job.name.is_empty() && job.name != order.name {
            let words = format!(
                "the broker calls job `{}` `{}`, so it could not be found again",
                order.name, job.name
            );
            return Err(self.take_back(&job, Failure::no(words)).await);
        }
        Ok(job)
    }

    async fn job_body(
        &self,
        order: &Order,
        application: &Application,
        flavour: &Flavour,
    ) -> Result<String, Failure> {
        let document = Document::new("job")
            .with("name", &*order.name)
            .with("description", describe(order, &self.cloud.name));
        let document = if self.cloud.wire.names {
            document
                .with("software-name", &*application.software)
                .with("executable-name", &*application.executable)
                .with("resource-name", &*self.cloud.provider)
                .with("region-name", &*self.cloud.region)
                .with("instance-type-name", &*flavour.id)
        } else {
            let (software, site) = (self.software(application).await?, self.site().await?);
            document
                .with("software-id", &*software.id)
                .with(
                    "executable-id",
                    self.executable(application, &software).await?.id,
                )
                .with("resource-id", &*site.resource.id)
                .with("region-id", &*site.region.id)
                .with(
                    "instance-type-id",
                    self.instance_type(flavour, &site.resource).await?.id,
                )
        };
        let document = match arguments(application, order.location.as_str()) {
            Some(arguments) => document.with("argument-string", arguments),
            None => document,
        };
        Ok(document
            .with("nodes", "1")
            .with("permanently-running", "true")
            .finish(&self.cloud.wire.extra, &application.extra))
    }

    /// Uploads the missing input files, submits the job, and returns its status.
    async fn set_off(
        &self,
        job: &Job,
        inputs: &[(String, Bytes)],
        fresh: bool,
    ) -> Result<Job, Failure> {
        let link = &self.account.link;
        let there = if fresh {
            BTreeSet::new()
        } else {
            self.uploaded(job).await?
        };
        let input_type = self.input_type().await?;
        for (name, content) in inputs.iter().filter(|(name, _)| !there.contains(name)) {
            let texts = vec![
                ("job_id", job.id.clone()),
                ("archive", "false".to_owned()),
                ("data_type_id", input_type.id.clone()),
                ("data_file_name", name.clone()),
            ];
            let upload = Body::Upload {
                texts,
                name: name.clone(),
                content: content.clone(),
            };
            link.upload(upload, &format!("upload `{name}` to job `{}`", job.name))
                .await?;
        }
        let submitted = link
            .act(
                Method::PUT,
                format!("/jobs/{}/submit.xml", job.id),
                &format!("submit job `{}`", job.name),
            )
            .await;
        if let Err(failure) = submitted.as_ref()
            && !failure.is(No::WrongStatus)
        {
            return Err(failure.clone());
        }
        // It may run by now: whatever this request returns, the order is not refused.
        let shown = self
            .show_job(job)
            .await
            .map_err(|failure| Failure::Lost(failure.words().to_owned()))?;
        match submitted {
            // The first of two attempts may have succeeded.
            Err(failure) if shown.is_half_made() => Err(failure),
            Ok(()) if shown.is_half_made() => Err(Failure::Lost(format!(
                "job `{}` was submitted, and the broker still calls it `created`",
                job.name
            ))),
            _ => Ok(shown),
        }
    }

    /// Names of the job's files.
    async fn uploaded(&self, job: &Job) -> Result<BTreeSet<String>, Failure> {
        let names = |root: &Element| {
            let files = items(root, "data-file")?.into_iter().filter(|file| {
                identified(file, "data-file").is_ok() && file.text_of("uploaded") != Some("false")
            });
            Ok(files
                .filter_map(|file| {
                    file.text_of("data-file-name")
                        .or(file.text_of("name"))
                        .map(str::to_owned)
                })
                .collect())
        };
        self.account
            .link
            .read(
                format!("/jobs/{}/data_files.xml", job.id),
                &format!("list the files of job `{}`", job.name),
                names,
            )
            .await
    }

    async fn show_job(&self, job: &Job) -> Result<Job, Failure> {
        let shown: Job = self
            .account
            .link
            .read(
                format!("/jobs/{}.xml", job.id),
                &format!("look at job `{}`", job.name),
                one,
            )
            .await?;
        // This is the requested job, whatever name the answer has.
        Ok(Job {
            name: job.name.clone(),
            ..shown
        })
    }

    /// Deletes a job that never ran, so that a refusal leaves nothing behind. A job that was
    /// submitted after all is left alone: its machine might run on, unseen.
    async fn take_back(&self, job: &Job, failure: Failure) -> Failure {
        let taken_back = match self.show_job(job).await {
            Ok(shown) if shown.is_half_made() => self.delete_job(job).await,
            Ok(shown) => Err(Failure::Lost(format!("it is `{}`", shown.status))),
            Err(gone) if gone.is(No::Absent) => Ok(()),
            Err(unknown) => Err(unknown),
        };
        match taken_back {
            Ok(()) => failure,
            Err(left) => Failure::Lost(format!(
                "{failure}; and job {} is left at the broker: {left}",
                job.id
            )),
        }
    }

    async fn delete_job(&self, job: &Job) -> Result<(), Failure> {
        let _until_it_is = self.account.listing.deleting();
        let deleted = self
            .account
            .link
            .act(
                Method::DELETE,
                format!("/jobs/{}.xml", job.id),
                &format!("delete job `{}`", job.name),
            )
            .await;
        deleted.or_else(|failure| {
            if failure.is(No::Absent) {
                Ok(())
            } else {
                Err(failure)
            }
        })
    }

    /// Stops the job and its instances, and deletes it, whatever its status.
    pub(super) async fn end_job(&self, listed: &Job, progress: &Progress) -> Result<(), Failure> {
        let (mut job, mut poll, mut asked) = (listed.clone(), Poll::default(), None::<Instant>);
        loop {
            progress.note(format!("job `{}` is still `{}`", job.name, job.status));
            if job.is_completed() {
                self.halt_instances(&job, progress).await?;
            }
            if job.is_completed() || job.is_half_made() {
                match self.delete_job(&job).await {
                    // Another call was faster: it is being submitted and must not be deleted.
                    Err(failure) if failure.is(No::WrongStatus) => {}
                    deleted => return deleted,
                }
            } else if asked.is_none_or(|asked| asked.elapsed() >= STOP_AGAIN) {
                match self
                    .stop("jobs", &job.id, &format!("stop job `{}`", job.name))
                    .await
                {
                    Ok(()) => asked = Some(Instant::now()),
                    Err(failure) if failure.is(No::WrongStatus) || failure.is(No::Absent) => {}
                    Err(failure) => return Err(failure),
                }
            }
            poll.pause().await;
            job = match self.show_job(&job).await {
                Err(failure) if failure.is(No::Absent) => {
                    return self.halt_instances(&job, progress).await;
                }
                shown => shown?,
            };
        }
    }

    /// Stops the remaining instances of a job that has ended: not every broker is known to end them
    /// with the job.
    async fn halt_instances(&self, job: &Job, progress: &Progress) -> Result<(), Failure> {
        for instance in instances_of(&self.account.link, &job.id)
            .await?
            .iter()
            .filter(|instance| !instance.is_halted())
        {
            self.end_instance(instance, progress).await?;
        }
        Ok(())
    }

    pub(super) async fn stop(
        &self,
        collection: &str,
        id: &str,
        purpose: &str,
    ) -> Result<(), Failure> {
        self.account
            .link
            .act(Method::PUT, format!("/{collection}/{id}/stop.xml"), purpose)
            .await
    }
}

#[cfg(test)]
mod tests;
