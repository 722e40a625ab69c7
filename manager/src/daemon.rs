//! The daemon: puts the parts together, runs them until it is told to stop.

use crate::{
    api::{Api, ApiState, Listen, Token},
    cli::args::ManagerArgs,
    control::{
        Config,
        runtime::{self, Outside, Runtime},
    },
    engine::{
        Engine,
        swarm::{Swarm, SwarmConfig},
    },
    pki::Pki,
    registry::Registry,
    store::{Change, EmbeddedStore, Key, Record, Store},
};
use anyhow::{Context, Result, bail};
use micado_api::{CloudName, ClusterId};
use micado_cloudsetup::{Broker, BrokerKind, Cloud, CloudSetup, LocalCloud, LocalConfig};
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tokio::sync::watch;
