//! A scripted broker for tests: no network, so that a test can control the time.

use super::{
    credentials::{Credentials, CredentialsFile},
    http::{Answer, Body, Carrier, Request},
    link::Link,
};
use crate::{CloudSetup, Order};
use micado_api::{ClusterId, FlavourName, InstanceId, Location, Tag};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt, fs,
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Outcome of a call.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Answer(Answer),
    /// The connection breaks.
    Lost,
    /// No answer until the time-out.
    Hang,
    /// A delayed answer.
    Slow(Duration, Answer),
}

impl Reply {
    pub(super) fn status(status: u16, body: impl Into<String>) -> Self {
        Self::Answer(Answer {
            status,
            body: body.into(),
            ..Answer::default()
        })
    }
    pub(super) fn ok(body: impl Into<String>) -> Self {
        Self::status(200, body)
    }
    pub(super) fn errors(status: u16, words: &str, kind: &str) -> Self {
        Self::status(
            status,
            format!("<errors><error>{words}</error><type>{kind}</type></errors>"),
        )
    }
    pub(super) fn busy(status: u16, seconds: Option<u64>) -> Self {
        Self::Answer(Answer {
            status,
            retry_after: seconds.map(Duration::from_secs),
            ..Answer::default()
        })
    }
}

/// A received call.
#[derive(Debug, Clone)]
pub(super) struct Came {
    pub(super) at: Duration,
    pub(super) call: String,
    pub(super) body: String,
    pub(super) password: String,
}

const INSTANCES: &str = "GET /instances.xml?page=1&per_page=1000";

/// Answers by `METHOD /path`, with or without the query; the last answer for a call stays. An
/// unscripted list of instances is empty, and its call is not counted.
#[derive(Clone)]
pub(super) struct Script {
    told: Arc<Mutex<BTreeMap<String, VecDeque<Reply>>>>,
    came: Arc<Mutex<Vec<Came>>>,
    begun: Instant,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    pub(super) fn new() -> Self {
        Self {
            told: Arc::default(),
            came: Arc::default(),
            begun: Instant::now(),
        }
    }
    pub(super) fn on(&self, call: &str, replies: impl IntoIterator<Item = Reply>) -> &Self {
        self.told
            .lock()
            .expect("unpoisoned")
            .insert(call.to_owned(), replies.into_iter().collect());
        self
    }
    pub(super) fn came(&self) -> Vec<Came> {
        self.came.lock().expect("unpoisoned").clone()
    }
    /// Calls since the last request, except those with these prefixes.
    pub(super) fn calls_but(&self, without: &[&str]) -> Vec<String> {
        let came = std::mem::take(&mut *self.came.lock().expect("unpoisoned"));
        came.into_iter()
            .map(|came| came.call)
            .filter(|call| !without.iter().any(|prefix| call.starts_with(prefix)))
            .collect()
    }
    pub(super) fn link(&self, file: CredentialsFile, limit: u64) -> Link {
        Link::new(
            Box::new(self.clone()),
            file,
            1000,
            Duration::from_secs(limit),
        )
    }
}

#[async_trait::async_trait]
impl Carrier for Script {
    async fn carry(
        &self,
        request: &Request,
        credentials: &Credentials,
        limit: Duration,
    ) -> Result<Answer, String> {
        let body = match &request.body {
            Body::Nothing => String::new(),
            Body::Xml(text) => text.clone(),
            Body::Upload {
                texts,
                name,
                content,
            } => format!("{texts:?} {name} {}", String::from_utf8_lossy(content)),
        };
        let call = format!("{request:?}");
        let bare = call.split('?').next().unwrap_or_default().to_owned();
        if call == INSTANCES && !self.told.lock().expect("unpoisoned").contains_key(&bare) {
            return Ok(Answer {
                status: 200,
                body: "<instances/>".to_owned(),
                ..Answer::default()
            });
        }
        let came = Came {
            at: self.begun.elapsed(),
            call: call.clone(),
            body,
            password: credentials.password.clone(),
        };
        self.came.lock().expect("unpoisoned").push(came);
        let reply = {
            let mut told = self.told.lock().expect("unpoisoned");
            let key = if told.contains_key(&call) {
                call.clone()
            } else {
                bare
            };
            let replies = told.get_mut(&key);
            replies.and_then(|replies| {
                if replies.len() > 1 {
                    replies.pop_front()
                } else {
                    replies.front().cloned()
                }
            })
        };
        match reply {
            None => panic!("nobody expects {call}"),
            Some(Reply::Answer(answer)) => Ok(answer),
            Some(Reply::Lost) => Err("no answer: connection reset".to_owned()),
            Some(Reply::Hang) => {
                sleep(limit).await;
                Err("no answer in time".to_owned())
            }
            Some(Reply::Slow(time, answer)) => {
                sleep(time).await;
                Ok(answer)
            }
        }
    }
}

/// A valid credentials file, which exists until the folder is dropped.
pub(super) fn credentials() -> (tempfile::TempDir, CredentialsFile) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = CredentialsFile(folder.path().join("cbcredentials"));
    write_credentials(&file, "secret");
    (folder, file)
}

pub(super) fn write_credentials(file: &CredentialsFile, password: &str) {
    fs::write(&file.0, format!("me@example.net\n{password}\n")).expect("a file");
    fs::set_permissions(&file.0, fs::Permissions::from_mode(0o600)).expect("our file");
}

/// The set-up of the tests: two clouds of one account in two regions, an application rented as jobs
/// and one as instances.
pub(super) const SETUP: &str = "<setup>
<clouds>
<cloud><name>zrh</name><provider>CloudSigma</provider><region>CloudSigma Zurich</region><credentials>cbcredentials</credentials>
<flavours><f><size>small</size><id>CloudSigma Small</id></f><f><size>big</size><id>CloudSigma Big</id></f></flavours></cloud>
<cloud><name>lon</name><provider>CloudSigma</provider><region>CloudSigma London</region><credentials>cbcredentials</credentials>
<flavours><f><size>small</size><id>CloudSigma Small</id></f></flavours></cloud>
</clouds>
<applications>
<a><name>Node</name><sname>worker image</sname><executable>start.sh</executable><param_template>-start %s</param_template></a>
</applications>
</setup>";

/// The same, with a second application that is rented as instances.
pub(super) fn with_instances() -> String {
    SETUP.replace("</applications>", "<a><name>VM</name><sname>worker image</sname><executable>start.sh</executable><rent>instances</rent></a></applications>")
}

/// The catalogue's documents, by their paths.
const CATALOGUE: [(&str, &str); 7] = [
    (
        "GET /softwares.xml",
        "<softwares type='array'><software><id>s1</id><name>worker image</name><version>1.0</version><status>active</status></software>
         <software><id>s2</id><name>worker image</name><version>0.9</version><status>inactive</status></software></softwares>",
    ),
    (
        "GET /executables.xml",
        "<executables type='array'><executable><id>e1</id><name>worker start</name><binary>start.sh</binary><active type='boolean'>true</active>
         <software-id>s1</software-id></executable><executable><id>e2</id><name>other</name><binary>start.sh</binary><software-id>s9</software-id></executable></executables>",
    ),
    ("GET /resources.xml", "<resources><resource><id>r1</id><name>CloudSigma</name><active>true</active><maximum-nodes nil='true'/></resource></resources>"),
    (
        "GET /regions.xml",
        "<regions><region><id>z</id><name>CloudSigma Zurich</name><active>true</active><resource_id>r1</resource_id></region>
         <region><id>l</id><name>CloudSigma London</name><active>true</active><resource-id>r1</resource-id></region>
         <region><id>x</id><name>CloudSigma London</name><active>true</active><resource-id>r9</resource-id></region></regions>",
    ),
    (
        "GET /instance_types.xml",
        "<instance-types><instance-type><id>t1</id><name>CloudSigma Small</name><active>true</active><cpus>1</cpus><resource-id>r1</resource-id></instance-type>
         <instance-type><id>t2</id><name>CloudSigma Big</name><active>true</active><resource-id>r1</resource-id></instance-type></instance-types>",
    ),
    (
        "GET /deployments.xml",
        "<deployments><deployment><id>d1</id><name>here</name><status>active</status><software-id>s1</software-id><resource-id>r1</resource-id><region-id>z</region-id></deployment>
         <deployment><id>d2</id><name>there</name><status>active</status><software-id>s1</software-id><resource-id>r1</resource-id><region-id>l</region-id></deployment></deployments>",
    ),
    ("GET /data_types.xml", "<data-types><data-type><id>in</id><name>input</name></data-type><data-type><id>out</id><name>output</name></data-type></data-types>"),
];

impl Script {
    /// The clouds of a set-up, on one account with this broker and a catalogue.
    pub(super) fn brokers(&self, setup: &str, file: CredentialsFile) -> Vec<super::CloudBroker> {
        for (call, document) in CATALOGUE {
            self.on(call, [Reply::ok(document)]);
        }
        let setup = CloudSetup::parse(setup, "cloudsetup.xml").expect("a good set-up");
        let account = Arc::new(super::account::Account::new(
            self.link(file, 30),
            setup.clouds.clone(),
            setup.applications,
        ));
        setup
            .clouds
            .into_iter()
            .map(|cloud| super::CloudBroker {
                cloud,
                account: account.clone(),
            })
            .collect()
    }
}

/// Paths of the catalogue's lists only.
pub(super) const LOOKING_UP: [&str; 7] = [
    "GET /softwares",
    "GET /executables",
    "GET /resources",
    "GET /regions",
    "GET /instance_types",
    "GET /deployments",
    "GET /data_types",
];

/// An order of the instance `i1` of cluster `c`.
pub(super) fn order(application: &str) -> Order {
    let files = [
        ("labels", "micado.tag=t"),
        ("credential", "i1.hush"),
        ("files/a.txt", "A"),
    ];
    Order {
        name: "micado-c-i1".to_owned(),
        cluster: ClusterId::trusted("c"),
        instance: InstanceId::trusted("i1"),
        tag: Tag::trusted("application01"),
        location: Location::trusted("application"),
        application: application.to_owned(),
        flavour: FlavourName::trusted("small"),
        files: files
            .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
            .into(),
    }
}

/// A job's document.
pub(super) fn job(id: &str, status: &str, more: &str) -> String {
    format!(
        "<job><id>{id}</id><name>micado-c-i1</name><status>{status}</status>{more}<tag><id>wrong</id></tag></job>"
    )
}

/// An instance's document.
pub(super) fn instance(id: &str, name: &str, status: &str, more: &str) -> String {
    format!("<instance><id>{id}</id><name>{name}</name><status>{status}</status>{more}</instance>")
}

/// A list of these documents.
pub(super) fn list(of: &str, documents: &[String]) -> Reply {
    Reply::ok(format!(
        "<{of} type=\"array\">{}</{of}>",
        documents.concat()
    ))
}
