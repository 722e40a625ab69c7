//! Tests of reading `cloudsetup.xml`.

use super::*;
use crate::Headroom;
use micado_api::{MemoryBytes, NanoCpus};

fn flavour(name: &str, id: &str) -> Flavour {
    Flavour {
        name: FlavourName::trusted(name),
        id: id.to_owned(),
        size: None,
        price: PricePerHour(0),
        billing: Billing::Second,
    }
}

fn old_cloud(name: &str, provider: &str, region: &str, flavours: Vec<Flavour>) -> Cloud {
    Cloud {
        name: CloudName::trusted(name),
        provider: provider.to_owned(),
        region: region.to_owned(),
        broker: BrokerKind::CloudBroker,
        endpoint: None,
        credentials: None,
        authority: None,
        wire: Wire::default(),
        join_timeout: Duration::from_secs(600),
        flavours,
    }
}

fn application(
    name: &str,
    software: &str,
    param_template: Option<&str>,
    role: Role,
) -> Application {
    Application {
        name: name.to_owned(),
        software: software.to_owned(),
        executable: "start.sh".to_owned(),
        param_template: param_template.map(str::to_owned),
        role,
        rent: Rent::Jobs,
        extra: Vec::new(),
    }
}

fn in_repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn an_old_file_still_loads() {
    let expected = CloudSetup {
        clouds: vec![
            old_cloud(
                "zrh",
                "CloudSigma",
                "CloudSigma Zurich",
                vec![
                    flavour("small", "CloudSigma Small"),
                    flavour("medium", "CloudSigma Medium & More"),
                ],
            ),
            old_cloud(
                "dub",
                "Amazon",
                "eu-west-1",
                vec![flavour("small", "t2.small")],
            ),
        ],
        applications: vec![
            application("worker", "worker image", Some("-start %s"), Role::Node),
            application("Proxy01", "proxy image", None, Role::Proxy),
        ],
        locations: Vec::new(),
    };
    assert_eq!(
        CloudSetup::read(&in_repository("tests/data/old.xml")).expect("a good file"),
        expected
    );
}

#[test]
fn the_local_cloud_of_scripts_up_loads() {
    let setup =
        CloudSetup::read(&in_repository("../scripts/cloudsetup.local.xml")).expect("a good file");
    let local = setup.cloud("local").expect("its cloud");
    assert_eq!(
        (local.broker, local.provider.as_str(), local.join_timeout),
        (BrokerKind::Local, "local", Duration::from_secs(120))
    );
    let sizes: Vec<_> = local
        .flavours
        .iter()
        .map(|flavour| {
            (
                flavour.name.as_str(),
                flavour.size.expect("a size"),
                flavour.price.0,
            )
        })
        .collect();
    let size = |mib, cores| Resources::new(MemoryBytes::mib(mib), NanoCpus::cores(cores));
    assert_eq!(
        sizes,
        [
            ("small", size(512, 1), 10_000),
            ("medium", size(1024, 1), 20_000),
            ("large", size(2048, 2), 40_000)
        ]
    );
    assert_eq!(
        setup.application("Node").expect("its application").role,
        Role::Node
    );
}

/// A valid file, one element a line, with our extensions.
const GOOD: &str = "<setup>
<clouds>
<cloud>
<name>zrh</name>
<provider>P</provider>
<region>R</region>
<broker>CloudBroker</broker>
<endpoint>https://platform.example</endpoint>
<credentials>cbcredentials</credentials>
<join-timeout>90</join-timeout>
<ca>ca.pem</ca><send>names</send><call_timeout>20</call_timeout><calls-per-second>4</calls-per-second>
<extra><isolated>true</isolated><dns_names><dns_name>a&amp;b</dns_name></dns_names></extra>
<flavours>
<f><size>small</size><id>S</id><memory>1.5G</memory><cores>0.5</cores><price>0.05</price><billing>hour</billing></f>
<f><size>medium</size><id>M</id></f>
</flavours>
</cloud>
</clouds>
<applications>
<a><name>Node</name><sname>n</sname><executable>e</executable><role>proxy</role><rent>instances</rent><extra><opened_port>22,80</opened_port></extra></a>
</applications>
<locations>
<l><name>database</name><min-machines>1</min-machines><max_machines>4</max_machines><max-price>0.5</max-price><headroom>1 machine</headroom></l>
<l><name>cache</name><max_machines>2</max_machines></l>
</locations>
</setup>";

#[test]
fn our_own_elements_are_read() {
    let setup = CloudSetup::parse(GOOD, "cloudsetup.xml").expect("a good file");
    let cloud = &setup.clouds[0];
    assert_eq!(
        (cloud.endpoint.as_deref(), cloud.credentials.as_deref()),
        (
            Some("https://platform.example"),
            Some(Path::new("cbcredentials"))
        )
    );
    assert_eq!(
        (cloud.broker, cloud.join_timeout),
        (BrokerKind::CloudBroker, Duration::from_secs(90))
    );
    assert_eq!(
        cloud.flavours[0].size,
        Some(Resources::new(
            MemoryBytes::mib(1536),
            NanoCpus::millis(500)
        ))
    );
    assert_eq!(
        (cloud.flavours[0].price, cloud.flavours[1].size),
        (PricePerHour(50_000), None)
    );
    let periods = [0, 1].map(|at: usize| cloud.flavours[at].billing.period());
    assert_eq!(periods, [Some(Duration::from_secs(3600)), None]);
    assert_eq!(
        (setup.applications[0].role, setup.applications[0].rent),
        (Role::Proxy, Rent::Instances)
    );
}

#[test]
fn bounds_of_locations_are_read() {
    let setup = CloudSetup::parse(GOOD, "cloudsetup.xml").expect("a good file");
    let bounds = |name: &str| setup.bounds(&Location::trusted(name));
    let database = Bounds {
        location: Location::trusted("database"),
        min_machines: 1,
        max_machines: Some(4),
        max_price: Some(PricePerHour(500_000)),
        headroom: Some(Headroom::Machines(1)),
    };
    assert_eq!(bounds("database"), Some(&database));
    let cache = bounds("cache").expect("it is in the file");
    assert_eq!(
        (cache.min_machines, cache.max_machines, cache.max_price),
        (0, Some(2), None)
    );
    assert_eq!(bounds("application"), None);
}

fn extra(name: &str, text: &str, children: Vec<Extra>) -> Extra {
    Extra {
        name: name.to_owned(),
        text: text.to_owned(),
        children,
    }
}

#[test]
fn how_the_broker_is_spoken_to_is_read() {
    let setup = CloudSetup::parse(GOOD, "cloudsetup.xml").expect("a good file");
    let cloud = &setup.clouds[0];
    let names = extra("dns_names", "", vec![extra("dns_name", "a&b", Vec::new())]);
    let expected = Wire {
        names: true,
        call_timeout: Duration::from_secs(20),
        calls_per_second: 4,
        extra: vec![extra("isolated", "true", Vec::new()), names],
    };
    assert_eq!(
        (&cloud.wire, cloud.authority.as_deref()),
        (&expected, Some(Path::new("ca.pem")))
    );
    assert_eq!(
        setup.applications[0].extra,
        [extra("opened_port", "22,80", Vec::new())]
    );
}

#[test]
fn credentials_and_authority_are_looked_for_beside_the_file() {
    let folder = std::env::temp_dir().join(format!("micado-cloudsetup-{}", std::process::id()));
    fs::create_dir(&folder).expect("a folder");
    let file = folder.join("cloudsetup.xml");
    fs::write(&file, GOOD).expect("a file");
    let setup = CloudSetup::read(&file);
    fs::remove_dir_all(&folder).expect("cleaning up");
    let cloud = setup.expect("a good file").clouds.remove(0);
    assert_eq!(
        (cloud.credentials, cloud.authority),
        (
            Some(folder.join("cbcredentials")),
            Some(folder.join("ca.pem"))
        )
    );
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_the_next_step() {
    let message = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "{from}");
        CloudSetup::parse(&GOOD.replacen(from, to, 1), "cloudsetup.xml")
            .expect_err(to)
            .to_string()
    };
    let cases = [
        (
            ("<region>R</region>\n", ""),
            "3:1: cloud `zrh` has no `region`: add <region>...</region>",
        ),
        (
            ("<provider>P</provider>", "<provider nil='true'/>"),
            "3:1: cloud `zrh` has no `provider`: add <provider>...</provider>",
        ),
        (
            ("<name>zrh</name>", ""),
            "3:1: a cloud has no `name`: add <name>...</name>",
        ),
        (
            ("<name>zrh</name>", "<name>z h</name>"),
            "4:1: a cloud: cloud `z h` may hold only letters, digits, `-`, `_` and `.`",
        ),
        (
            ("<id>S</id>", ""),
            "14:1: flavour `small` of cloud `zrh` has no `id`: add <id>...</id>",
        ),
        (
            ("<size>small</size>", "<size>medium</size>"),
            "15:1: flavour `medium` of cloud `zrh` is there twice (first in line 14): rename or remove one",
        ),
        (
            ("1.5G", "10X"),
            "14:32: flavour `small` of cloud `zrh`: memory `10X` is not an amount such as `256M` or `1G`",
        ),
        (
            ("1.5G", "0"),
            "14:32: flavour `small` of cloud `zrh`: memory `0` is zero",
        ),
        (
            ("<cores>0.5</cores>", ""),
            "14:1: flavour `small` of cloud `zrh` has no `cores`: add <cores>...</cores>",
        ),
        (
            ("<memory>1.5G</memory>", ""),
            "14:1: flavour `small` of cloud `zrh` has no `memory`: add <memory>...</memory>",
        ),
        (
            ("0.05", "free"),
            "14:71: flavour `small` of cloud `zrh`: price `free` is not a number such as `0.05`",
        ),
        (
            (">90<", ">soon<"),
            "10:1: cloud `zrh`: join_timeout `soon` is not a number of seconds such as `600`",
        ),
        (
            (">names<", ">both<"),
            "11:16: cloud `zrh`: send `both` is not known: write `ids` or `names`",
        ),
        (
            (">20<", ">0<"),
            "11:34: cloud `zrh`: call_timeout `0` is not a number of seconds such as `30`",
        ),
        (
            (">4<", ">2000<"),
            "11:65: cloud `zrh`: calls_per_second `2000` is not a number from 1 to 1000",
        ),
        (
            ("isolated>true</isolated", "name>x</name"),
            "12:8: cloud `zrh`: extra may not set `name`, by which machines are found again: remove it",
        ),
        (
            ("<opened_port>22,80</opened_port>", "isolated"),
            "20:103: application `Node`: extra holds text: write elements, such as <extra><isolated>true</isolated></extra>",
        ),
        (
            (">instances<", ">spot<"),
            "20:81: application `Node`: rent `spot` is not known: write `jobs` or `instances`",
        ),
        (
            (">CloudBroker<", ">ec2<"),
            "7:1: cloud `zrh`: broker `ec2` is not known: write `cloudbroker` or `local`",
        ),
        (
            (">proxy<", ">cook<"),
            "20:63: application `Node`: role `cook` is not known: write `node` or `proxy`",
        ),
        (
            ("<max_machines>4<", "<max_machines>0<"),
            "23:1: location `database`: min_machines 1 is above max_machines 0",
        ),
        (
            (">1</min-machines>", ">one</min-machines>"),
            "23:25: location `database`: min_machines `one` is not a number of machines such as `4`",
        ),
        (
            ("<name>cache</name>", "<name>database</name>"),
            "24:1: location `database` is there twice (first in line 23): rename or remove one",
        ),
        (
            ("<sname>n</sname>", "<sname/>"),
            "20:1: application `Node` has no `sname`: add <sname>...</sname>",
        ),
        (
            ("clouds", "skies"),
            "not well-formed XML: expected `</skies>`, but `</clouds>` was found",
        ),
    ];
    for ((from, to), expected) in cases {
        let message = message(from, to);
        assert!(
            message.starts_with("cloudsetup.xml:") && message.ends_with(expected),
            "{message}\nexpected {expected}"
        );
    }
}

#[test]
fn clouds_and_applications_have_names_of_their_own() {
    let twice = |item: &str, last: &str| {
        let text = GOOD.replacen(last, &format!("{last}\n{item}"), 1);
        CloudSetup::parse(&text, "s.xml")
            .expect_err(item)
            .to_string()
    };
    let cloud = "<c><name>zrh</name><provider>P</provider><region>R</region><flavours><f><size>s</size><id>S</id></f></flavours></c>";
    assert_eq!(
        twice(cloud, "</cloud>"),
        "s.xml:18:1: cloud `zrh` is there twice (first in line 3): rename or remove one"
    );
    let application = "<a><name>Node</name><sname>n</sname><executable>e</executable></a>";
    assert_eq!(
        twice(application, "</a>"),
        "s.xml:21:1: application `Node` is there twice (first in line 20): rename or remove one"
    );
}

#[test]
fn a_file_without_its_sections_says_so() {
    let message = |text: &str| {
        CloudSetup::parse(text, "s.xml")
            .expect_err(text)
            .to_string()
    };
    assert_eq!(
        message("<setup/>"),
        "s.xml:1:1: <setup> has no `clouds`: add <clouds>...</clouds>"
    );
    assert_eq!(
        message(&GOOD.replace("<a>", "<!--").replace("</a>", "-->")),
        "s.xml:1:1: <setup> has no `applications`: add <applications>...</applications>"
    );
    let absent = CloudSetup::read(Path::new("nowhere/cloudsetup.xml"))
        .expect_err("no file")
        .to_string();
    assert_eq!(
        absent,
        "nowhere/cloudsetup.xml: cannot be read: No such file or directory (os error 2): write it, or name another file"
    );
}

#[test]
fn look_ups_say_what_there_is() {
    let setup = CloudSetup::parse(GOOD, "s.xml").expect("a good file");
    let cloud = setup.cloud("zrh").expect("its cloud");
    assert_eq!(
        cloud.flavour("tiny").expect_err("no such").to_string(),
        "cloud `zrh` has no flavour `tiny` (it has: small, medium)"
    );
    assert_eq!(
        setup.cloud("lon").expect_err("no such").to_string(),
        "there is no cloud `lon` (there are: zrh)"
    );
    assert_eq!(
        setup.application("Web").expect_err("no such").to_string(),
        "there is no application `Web` (there are: Node)"
    );
    assert_eq!(
        CloudSetup::default()
            .cloud("x")
            .expect_err("none")
            .to_string(),
        "there is no cloud `x` (there are none)"
    );
}
