//! Values of `query` policies: a Prometheus is asked at the interval of each policy.

use crate::control::{Event, Handle, Signal, Source};
use serde::Deserialize;
use std::{collections::HashMap, time::Duration};
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};

/// Time between two looks at the policies.
const EVERY: Duration = Duration::from_secs(1);

/// Time-out of a query.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Upper bound for an answer, in bytes.
const MOST: usize = 1 << 20;

/// Asks the sources of all policies.
#[derive(Debug)]
pub struct QueryWatch {
    pub handle: Handle,
}

impl QueryWatch {
    /// Asks until the runtime ends. A slow source delays no other.
    pub async fn run(self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked: HashMap<String, (Instant, JoinHandle<()>)> = HashMap::new();
        loop {
            let now = ticks.tick().await;
            let sources = self.handle.read(|core| core.sources()).await;
            let sources = sources.unwrap_or_default();
            let keys: Vec<String> = sources.iter().map(key).collect();
            asked.retain(|key, _| keys.contains(key));
            for (key, source) in keys.into_iter().zip(sources) {
                let interval = Duration::from_millis(source.interval.0);
                let is_due = asked
                    .get(&key)
                    .is_none_or(|(at, query)| query.is_finished() && now - *at >= interval);
                if is_due {
                    let query = tokio::spawn(ask(self.handle.clone(), source));
                    asked.insert(key, (now, query));
                }
            }
        }
    }
}

fn key(source: &Source) -> String {
    format!(
        "{} {} {} {}",
        source.service, source.policy, source.server, source.query
    )
}

async fn ask(handle: Handle, source: Source) {
    let values = values(&source).await.unwrap_or_else(|error| {
        tracing::debug!(service = %source.service, server = source.server, %error, "no answer to a query");
        Vec::new()
    });
    let signal = Signal { source, values };
    handle.tell(Event::Signal(signal)).await;
}

/// All values of the answer of a Prometheus; none if it warns that they are partial.
async fn values(source: &Source) -> anyhow::Result<Vec<f64>> {
    // Made for each query: a machine without certificate authorities still starts a manager.
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(TIMEOUT)
        .build()?;
    let address = format!("{}/api/v1/query", source.server.trim_end_matches('/'));
    let url = reqwest::Url::parse_with_params(&address, [("query", &source.query)])?;
    let mut answer = http.get(url).send().await?.error_for_status()?;
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        anyhow::ensure!(body.len() + piece.len() <= MOST, "it is larger than 1 MiB");
        body.extend_from_slice(&piece);
    }
    Ok(serde_json::from_slice::<Reply>(&body)?.values())
}

/// Answer of Prometheus' HTTP API to an instant query.
#[derive(Debug, Deserialize)]
struct Reply {
    status: String,
    #[serde(default)]
    warnings: Vec<String>,
    data: Option<Data>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: serde_json::Value,
}

/// A time, and a value as text.
type Sample = (f64, String);

#[derive(Debug, Deserialize)]
struct Series {
    value: Sample,
}

impl Reply {
    fn values(self) -> Vec<f64> {
        if self.status != "success" || !self.warnings.is_empty() {
            return Vec::new();
        }
        let Some(Data {
            result_type,
            result,
        }) = self.data
        else {
            return Vec::new();
        };
        let samples: Vec<Sample> = match result_type.as_str() {
            "vector" => serde_json::from_value(result)
                .map(|all: Vec<Series>| all.into_iter().map(|one| one.value).collect()),
            "scalar" => serde_json::from_value(result).map(|one| vec![one]),
            _ => Ok(Vec::new()),
        }
        .unwrap_or_default();
        let number = |(_, text): Sample| text.parse().unwrap_or(f64::NAN);
        samples.into_iter().map(number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(json: &str) -> Vec<f64> {
        let reply: Reply = serde_json::from_str(json).expect("an answer");
        reply.values()
    }

    #[test]
    fn answers_of_a_prometheus_are_read() {
        let vector = |result: &str| {
            let data = format!(r#"{{"resultType":"vector","result":[{result}]}}"#);
            format!(r#"{{"status":"success","data":{data}}}"#)
        };
        let one = |value: &str| format!(r#"{{"metric":{{"a":"b"}},"value":[1.5,"{value}"]}}"#);
        assert_eq!(values(&vector(&one("4.5"))), [4.5]);
        assert!(values(&vector("")).is_empty());
        assert_eq!(
            values(&vector(&format!("{},{}", one("1"), one("2")))),
            [1.0, 2.0]
        );
        assert!(values(&vector(&one("NaN")))[0].is_nan());
        let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"3"]}}"#;
        assert_eq!(values(scalar), [3.0]);
        let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
        assert!(values(matrix).is_empty());
        let partial = vector(&one("4")).replace(r#","data""#, r#","warnings":["partial"],"data""#);
        assert!(values(&partial).is_empty());
        assert!(values(r#"{"status":"error","error":"bad"}"#).is_empty());
    }
}
