//! A client of the manager's API, over its unix socket or over HTTPS.

mod address;
mod failure;
mod images;
mod logins;
mod registrations;
mod session;

pub use address::ConnectOptions;
pub use failure::ClientError;
pub use session::{Session, SessionInput, SessionOutput, SessionPiece};

use crate::{
    BuildEvent, BuildRequest, BuilderView, ContainerView, DiscoveryQuery, ErrorBody, EventQuery,
    EventView, Explanation, History, HistoryQuery, InstanceView, LOG_CONTAINERS, LaunchRequest,
    LogEntry, LogQuery, MetricsQuery, Progress, PrometheusTarget, ScaleRequest, ScalingView,
    ServiceView, StartRequest, StatusView, Timestamp, VerdictQuery, VerdictSpan, VerdictView,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// Time-out of replies that are not streams. A launch may ask a distant registry first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// A client of one manager; cheap to clone. Nothing is sent before the first call.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    /// Address as given, for messages.
    address: String,
    base: Url,
    token: Option<String>,
}

impl Client {
    /// The manager at `unix:///path/to/micado.sock` or `https://host:port`.
    ///
    /// # Errors
    /// If the address is neither, or a file that `options` names cannot be used.
    pub fn connect(address: &str, options: &ConnectOptions) -> Result<Self, ClientError> {
        address::connect(address, options)
    }

    /// The cluster on one screen.
    ///
    /// # Errors
    /// See [`ClientError`], as for all calls.
    pub async fn status(&self) -> Result<StatusView, ClientError> {
        self.get(&["v1", "status"], &[]).await
    }

    /// Succeeds if the manager is up and observes its engine.
    ///
    /// # Errors
    /// `Unavailable` otherwise.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.send(Method::GET, &["readyz"], &[], None::<&()>)
            .await
            .map(drop)
    }

    /// Instances; with `all`, ended ones too.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn instances(&self, all: bool) -> Result<Vec<InstanceView>, ClientError> {
        self.get(&["v1", "instances"], &[("all", all.to_string())])
            .await
    }

    /// Rents a machine; resolves when that is recorded, long before it is up.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn start(&self, request: &StartRequest) -> Result<InstanceView, ClientError> {
        self.ask(Method::POST, &["v1", "instances"], &[], Some(request))
            .await
    }

    /// Drains a machine and returns it; resolves when that is recorded.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn stop(&self, tag: &str, force: bool) -> Result<InstanceView, ClientError> {
        self.ask(
            Method::DELETE,
            &["v1", "instances", tag],
            &[("force", force.to_string())],
            None::<&()>,
        )
        .await
    }

    /// Containers; with `all`, ended ones too.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn containers(&self, all: bool) -> Result<Vec<ContainerView>, ClientError> {
        self.get(&["v1", "containers"], &[("all", all.to_string())])
            .await
    }

    /// Runs more containers; resolves when that is recorded, before they run.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn launch(&self, request: &LaunchRequest) -> Result<Vec<ContainerView>, ClientError> {
        self.ask(Method::POST, &["v1", "containers"], &[], Some(request))
            .await
    }

    /// Stops the containers of this name (a service's or a container's); resolves when that is
    /// recorded.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn quit(&self, name: &str, remove: bool) -> Result<Vec<ContainerView>, ClientError> {
        self.ask(
            Method::POST,
            &["v1", "containers", name, "quit"],
            &[("remove", remove.to_string())],
            None::<&()>,
        )
        .await
    }

    /// Removes the records of stopped containers of this name.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove(&self, name: &str) -> Result<Vec<ContainerView>, ClientError> {
        self.ask(
            Method::DELETE,
            &["v1", "containers", name],
            &[],
            None::<&()>,
        )
        .await
    }

    /// All services.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn services(&self) -> Result<Vec<ServiceView>, ClientError> {
        self.get(&["v1", "services"], &[]).await
    }

    /// One service, by its name or that of one of its containers.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn service(&self, name: &str) -> Result<ServiceView, ClientError> {
        self.get(&["v1", "services", name], &[]).await
    }

    /// Reasons for the placement and state of a container, the containers of a service, or an
    /// instance.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn explain(&self, name: &str) -> Result<Vec<Explanation>, ClientError> {
        self.get(&["v1", "explain", name], &[]).await
    }

    /// Protects an instance, a container or the containers of a service from the manager's own
    /// returns, moves and shrinks; or ends that.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn protect(
        &self,
        name: &str,
        protected: bool,
    ) -> Result<Vec<Explanation>, ClientError> {
        let method = if protected {
            Method::PUT
        } else {
            Method::DELETE
        };
        self.ask(method, &["v1", "protected", name], &[], None::<&()>)
            .await
    }

    /// The verdict of the scaling on a service at a moment, with those around it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn explain_at(
        &self,
        name: &str,
        at: Timestamp,
    ) -> Result<Vec<Explanation>, ClientError> {
        let at = [("at", at.0.to_string())];
        self.get(&["v1", "explain", name], &at).await
    }

    /// Verdicts of the scaling, oldest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn verdicts(&self, query: &VerdictQuery) -> Result<Vec<VerdictSpan>, ClientError> {
        let pairs: Vec<_> = [
            ("service", query.service.clone()),
            ("since", query.since.map(|since| since.to_string())),
            ("limit", query.limit.map(|limit| limit.to_string())),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
        self.get(&["v1", "verdicts"], &pairs).await
    }

    /// Scaling of a service: counts, policy and the last verdict.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn scaling(&self, name: &str) -> Result<ScalingView, ClientError> {
        self.get(&["v1", "services", name, "scaling"], &[]).await
    }

    /// The policy of a service.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn policy<P: DeserializeOwned>(&self, name: &str) -> Result<P, ClientError> {
        self.get(&["v1", "services", name, "policy"], &[]).await
    }

    /// Sets the policy of a service.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_policy(
        &self,
        name: &str,
        policy: &(impl Serialize + Sync),
    ) -> Result<ScalingView, ClientError> {
        let path = ["v1", "services", name, "policy"];
        self.ask(Method::PUT, &path, &[], Some(policy)).await
    }

    /// Checks a policy on the present load of a service that has one.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn check_policy(
        &self,
        name: &str,
        policy: &(impl Serialize + Sync),
    ) -> Result<Option<VerdictView>, ClientError> {
        let path = ["v1", "services", name, "policy", "check"];
        self.ask(Method::POST, &path, &[], Some(policy)).await
    }

    /// Removes the policy of a service.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove_policy(&self, name: &str) -> Result<ScalingView, ClientError> {
        let path = ["v1", "services", name, "policy"];
        self.ask(Method::DELETE, &path, &[], None::<&()>).await
    }

    /// Sets the count of a service, or pins it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn scale(
        &self,
        name: &str,
        request: &ScaleRequest,
    ) -> Result<ScalingView, ClientError> {
        let path = ["v1", "services", name, "scale"];
        self.ask(Method::POST, &path, &[], Some(request)).await
    }

    /// The builders of the manager's engine.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn builders(&self) -> Result<BuilderView, ClientError> {
        self.get(&["v1", "builds"], &[]).await
    }

    /// Builds an image of a context, a tar. Events come as it runs; the context is sent meanwhile.
    /// Dropping the stream cancels the build.
    ///
    /// # Errors
    /// See [`ClientError`]; the stream ends with an error if the manager does.
    pub async fn build<S, E>(
        &self,
        request: &BuildRequest,
        context: S,
    ) -> Result<impl Stream<Item = Result<BuildEvent, ClientError>> + Send + use<S, E>, ClientError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let context = reqwest::Body::wrap_stream(context);
        self.upload(&["v1", "builds"], &request.pairs(), context)
            .await
    }

    /// Past usage of a container or an instance.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn history(&self, name: &str, query: &HistoryQuery) -> Result<History, ClientError> {
        let numbers = [
            ("from", query.from),
            ("until", query.until),
            ("resolution", query.resolution.map(u64::from)),
        ];
        let pairs: Vec<_> = numbers
            .into_iter()
            .filter_map(|(key, number)| Some((key, number?.to_string())))
            .collect();
        self.get(&["v1", "history", name], &pairs).await
    }

    /// Events of containers, oldest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn events(&self, query: &EventQuery) -> Result<Vec<EventView>, ClientError> {
        let words = [
            ("name", query.name.clone()),
            ("instance", query.instance.clone()),
        ];
        let numbers = [
            ("since", query.since.map(|since| since.to_string())),
            ("limit", query.limit.map(|limit| limit.to_string())),
        ];
        let pairs: Vec<_> = words
            .into_iter()
            .chain(numbers)
            .filter_map(|(key, value)| Some((key, value?)))
            .collect();
        self.get(&["v1", "events"], &pairs).await
    }

    /// Metrics of the manager and the cluster, as text in Prometheus' format.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn metrics(&self, query: &MetricsQuery) -> Result<String, ClientError> {
        let pairs = query.containers.map(|all| ("containers", all.to_string()));
        let pairs: Vec<_> = pairs.into_iter().collect();
        let response = self.send(Method::GET, &["metrics"], &pairs, None::<&()>);
        let text = response.await?.text().await;
        text.map_err(|error| ClientError::from_http(&self.address, &error))
    }

    /// Targets for Prometheus: published ports of running containers.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn targets(
        &self,
        query: &DiscoveryQuery,
    ) -> Result<Vec<PrometheusTarget>, ClientError> {
        let pairs: Vec<_> = [
            ("service", query.service.clone()),
            ("client", query.client.clone()),
            ("location", query.location.clone()),
            ("port", query.port.map(|port| port.to_string())),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
        self.get(&["v1", "discovery", "prometheus"], &pairs).await
    }

    /// The log of a container, or of all containers of a service, and the number of containers.
    ///
    /// # Errors
    /// See [`ClientError`]; the stream ends with an error if the manager does.
    pub async fn logs(
        &self,
        name: &str,
        query: &LogQuery,
    ) -> Result<
        (
            usize,
            impl Stream<Item = Result<LogEntry, ClientError>> + Send + use<>,
        ),
        ClientError,
    > {
        let mut pairs = vec![("lines", true.to_string())];
        let flags = [
            ("follow", query.follow),
            ("timestamps", query.timestamps),
            ("previous", query.previous),
        ];
        let given = flags.into_iter().filter(|(_, given)| *given);
        pairs.extend(given.map(|(name, given)| (name, given.to_string())));
        pairs.extend(query.tail.map(|tail| ("tail", tail.to_string())));
        pairs.extend(query.since.map(|since| ("since", since.to_string())));
        let path = ["v1", "containers", name, "logs"];
        let response = self.send(Method::GET, &path, &pairs, None::<&()>).await;
        let response = response.map_err(ClientError::cut)?;
        let count = response.headers().get(LOG_CONTAINERS);
        let count = count.and_then(|count| count.to_str().ok()?.parse().ok());
        let lines = crate::lines::lines(self.body(response).map_err(ClientError::cut));
        let entries = lines.map(|line| {
            line.and_then(|line| serde_json::from_slice(&line).map_err(ClientError::unreadable))
        });
        Ok((count.unwrap_or(1), entries))
    }

    /// Progress of a container or an instance: past steps, then new ones as they come. Ends once it
    /// is settled.
    ///
    /// # Errors
    /// See [`ClientError`]; the stream ends with an error if the manager does.
    pub async fn progress(
        &self,
        subject: &str,
    ) -> Result<impl Stream<Item = Result<Progress, ClientError>> + Send + use<>, ClientError> {
        let response = self
            .send(Method::GET, &["v1", "progress", subject], &[], None::<&()>)
            .await?;
        Ok(self.objects(response))
    }

    /// Sends a body as it comes. The answer has one object per line, and comes meanwhile.
    async fn upload<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        body: reqwest::Body,
    ) -> Result<impl Stream<Item = Result<T, ClientError>> + Send + use<T>, ClientError> {
        let request = self
            .request(Method::POST, path, query)
            .header(reqwest::header::CONTENT_TYPE, "application/octet-stream")
            .body(body);
        Ok(self.objects(self.answered(request).await?))
    }

    /// Objects of an answer with one per line.
    fn objects<T: DeserializeOwned>(
        &self,
        response: Response,
    ) -> impl Stream<Item = Result<T, ClientError>> + Send + use<T> {
        crate::lines::lines(self.body(response)).map(|line| {
            line.and_then(|line| serde_json::from_slice(&line).map_err(ClientError::unreadable))
        })
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, ClientError> {
        self.ask(Method::GET, path, query, None::<&()>).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<T, ClientError> {
        let answer = async {
            let response = self.send(method, path, query, body).await?;
            let body = response
                .bytes()
                .await
                .map_err(|error| ClientError::from_http(&self.address, &error))?;
            serde_json::from_slice(&body).map_err(ClientError::unreadable)
        };
        tokio::time::timeout(ANSWER_TIMEOUT, answer)
            .await
            .unwrap_or_else(|_| {
                Err(ClientError::Broken(format!(
                    "no answer from {} within {} s",
                    self.address,
                    ANSWER_TIMEOUT.as_secs()
                )))
            })
    }

    /// Sends a request and awaits the reply's head; a refusal is read completely.
    async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<Response, ClientError> {
        let mut request = self.request(method, path, query);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.answered(request).await
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn answered(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request
            .send()
            .await
            .map_err(|error| ClientError::from_http(&self.address, &error))?;
        let status = response.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let body = response
            .bytes()
            .await
            .map_err(|error| ClientError::from_http(&self.address, &error))?;
        Err(match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(refusal) => ClientError::Refused(refusal),
            Err(_) => ClientError::Broken(format!(
                "{} answers {status}, but not as a micado manager does",
                self.address
            )),
        })
    }

    fn body(
        &self,
        response: Response,
    ) -> impl Stream<Item = Result<Bytes, ClientError>> + Send + use<> {
        let address = self.address.clone();
        response
            .bytes_stream()
            .map_err(move |error| ClientError::from_http(&address, &error))
    }
}
