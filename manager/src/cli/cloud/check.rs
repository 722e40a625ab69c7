//! `micado cloud check`: checks that everything that `cloudsetup.xml` names exists in its cloud.
//! All clouds at once.

use super::super::{
    args::CheckArgs,
    failure::Failure,
    page::Page,
    printer::{Printer, Steps},
};
use crate::clock;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use micado_api::{CloudName, ErrorBody, ErrorCode, Progress};
use micado_cloudsetup::{
    BrokerKind, Cloud, CloudBroker, CloudSetup, Finding, LocalCloud, LocalConfig,
};
use serde_json::json;

pub(super) async fn check(
    setup: &CloudSetup,
    args: &CheckArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let (brokers, mut findings) = accounts(setup);
    let mut checks: FuturesUnordered<BoxFuture<'_, (CloudName, Vec<Finding>)>> =
        FuturesUnordered::new();
    for broker in &brokers {
        checks.push(Box::pin(async {
            (
                micado_cloudsetup::Broker::cloud(broker).clone(),
                broker.check().await,
            )
        }));
    }
    for cloud in setup
        .clouds
        .iter()
        .filter(|cloud| cloud.broker == BrokerKind::Local)
    {
        checks.push(Box::pin(async {
            (cloud.name.clone(), local(cloud, args).check().await)
        }));
    }
    let steps = printer.steps(true);
    setup
        .clouds
        .iter()
        .for_each(|cloud| tell(&steps, &cloud.name, "asking".to_owned()));
    while let Some((cloud, found)) = checks.next().await {
        tell(
            &steps,
            &cloud,
            format!("{} looked at, {} wrong", found.len(), wrong(&found)),
        );
        findings.extend(found);
    }
    drop(steps);
    findings.sort_by_key(|it| setup.clouds.iter().position(|cloud| cloud.name == it.cloud));
    let lines: Vec<_> = findings.iter().map(|it| json!({ "cloud": it.cloud, "what": it.what, "ok": it.problem.is_none(), "problem": it.problem })).collect();
    printer.data(&lines, || page(&findings))?;
    match wrong(&findings) {
        0 => Ok(()),
        some => Err(ErrorBody::new(
            ErrorCode::Unsatisfiable,
            format!("{some} of {} checks failed", findings.len()),
        )
        .hint("each line that is not `ok` says what to do")
        .into()),
    }
}

/// Clouds that are rented through CloudBroker. If an account is unusable, its clouds are not
/// checked further, but the others are.
fn accounts(setup: &CloudSetup) -> (Vec<CloudBroker>, Vec<Finding>) {
    if let Ok(all) = CloudBroker::all(setup) {
        return (all, Vec::new());
    }
    let (mut brokers, mut findings) = (Vec::new(), Vec::new());
    for cloud in setup
        .clouds
        .iter()
        .filter(|cloud| cloud.broker == BrokerKind::CloudBroker)
    {
        let alone = CloudSetup {
            clouds: vec![cloud.clone()],
            applications: setup.applications.clone(),
            ..CloudSetup::default()
        };
        match CloudBroker::all(&alone) {
            Ok(broker) => brokers.extend(broker),
            Err(error) => findings.push(Finding {
                cloud: cloud.name.clone(),
                what: "account".to_owned(),
                problem: Some(error.to_string()),
            }),
        }
    }
    (brokers, findings)
}

fn local(cloud: &Cloud, args: &CheckArgs) -> LocalCloud {
    let endpoint = args
        .cloud_engine
        .as_ref()
        .or(cloud.endpoint.as_ref())
        .unwrap_or(&args.engine);
    // Machines are put into a network of their cluster, which is made with the first machine.
    LocalCloud::new(
        cloud.clone(),
        endpoint,
        LocalConfig {
            network: String::new(),
            image: args.node_image.clone(),
            subnet: None,
        },
    )
}

fn tell(steps: &Steps, cloud: &CloudName, text: String) {
    steps.step(&Progress {
        subject: cloud.to_string(),
        at: clock::now(),
        text,
        settled: None,
    });
}

fn wrong(findings: &[Finding]) -> usize {
    findings.iter().filter(|it| it.problem.is_some()).count()
}

fn page(findings: &[Finding]) -> Page {
    let mut table = Page::table(&["CLOUD", "WHAT", "RESULT"]);
    for it in findings {
        table.add_row([
            it.cloud.as_str(),
            &it.what,
            it.problem.as_deref().unwrap_or("ok"),
        ]);
    }
    Page::default().with(table)
}
