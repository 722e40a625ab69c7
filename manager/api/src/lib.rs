//! The contract between the manager and its callers (CLI, agent, proxy): wire types, errors and a
//! client. No I/O except HTTP.

#![warn(missing_docs)]

pub mod agent;
pub mod build;
pub mod client;
pub mod error;
pub mod event;
pub mod foreign;
pub mod health;
pub mod image;
pub mod join;
pub mod labels;
pub mod lines;
pub mod log;
pub mod login;
pub mod monitoring;
pub mod names;
pub mod path;
pub mod placement;
pub mod query;
pub mod registration;
pub mod restart;
pub mod run;
pub mod scaling;
pub mod types;
pub mod units;
pub mod usage;
mod words;

pub use build::{BuildEvent, BuildRequest, Builder, BuilderView, BuiltView};
pub use client::{
    Client, ClientError, ConnectOptions, Session, SessionInput, SessionOutput, SessionPiece,
};
pub use error::{ErrorBody, ErrorCode};
pub use event::EventView;
pub use health::{HealthState, HealthView, Probe};
pub use image::{
    ImportEvent, ImportQuery, ImportedView, PruneQuery, RemovalView, RemovedImage, RevisionView,
    Space, TagRequest, TagView,
};
pub use join::{JoinAnswer, JoinRequest, RegistryAccess, SwarmJoin};
pub use log::{LOG_CONTAINERS, LogEntry, LogStream};
pub use login::{AccessRequest, AccessView, LoginRequest, LoginView};
pub use monitoring::{DiscoveryQuery, MetricsQuery, PrometheusTarget};
pub use names::{
    CloudName, ClusterId, ContainerName, FlavourName, InstanceId, Location, MachineName,
    ServiceName, Tag,
};
pub use path::{HiddenMount, PathEntry, PathKind, PathView};
pub use placement::{AntiAffinity, Platform, PlatformError};
pub use query::{
    AllQuery, CopyQuery, CopyToQuery, EventQuery, ExplainQuery, HistoryQuery, LogQuery, QuitQuery,
    StopQuery, VerdictQuery,
};
pub use registration::{RegisterRequest, RegistrationView};
pub use restart::RestartPolicy;
pub use run::{HealthCheck, RunOptions, Tmpfs, Ulimit};
pub use scaling::{ManualFloor, ScaleRequest, ScalingView, VerdictSpan, VerdictView};
pub use types::{
    ContainerState, ContainerView, DecisionView, Explanation, ForeignNodeView, HeadroomView,
    InstanceState, InstanceView, LaunchRequest, LocationView, Origin, PartView, PortMapping,
    Progress, Protocol, ReturnView, ServiceSpec, ServiceView, Settled, StartRequest, StatusView,
    Unnamed, VolumeMount,
};
pub use units::{Hundredths, MemoryBytes, NanoCpus, PricePerHour, Resources, Timestamp};
pub use usage::{
    ContainerUsage, Critical, History, HistoryPoint, ImageView, MachineUsage, SetImageRequest,
};
