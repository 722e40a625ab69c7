//! The command line accepts the original's syntax and refuses the rest.

use super::*;
use clap::{CommandFactory, Parser};
use micado_api::Protocol;

fn parsed(line: &str) -> Result<Cli, String> {
    let args = rewritten(line.split(' ').map(OsString::from));
    Cli::try_parse_from(args).map_err(|error| {
        error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    })
}

fn refusal(line: &str) -> String {
    parsed(line).map_or_else(|error| error, |cli| panic!("`{line}` was taken as {cli:?}"))
}

fn launch(line: &str) -> LaunchArgs {
    match parsed(&format!("micado launch -i web -n acme {line}")).map(|cli| cli.verb) {
        Ok(Verb::Launch(args)) => *args,
        other => panic!("`{line}` was taken as {other:?}"),
    }
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn minus_rm_means_remove_for_quit_only() {
    let rm = |line: &str| {
        matches!(
            parsed(line),
            Ok(Cli {
                verb: Verb::Quit(QuitArgs { rm: true, .. }),
                ..
            })
        )
    };
    assert!(rm("micado quit -n acme_web -rm"));
    assert!(rm(
        "micado --output json --manager unix:///x quit -rm -n acme_web"
    ));
    assert!(rm("micado quit --rm -n acme_web"));
    assert!(!rm("micado quit -n acme_web"));
    assert!(refusal("micado remove -n acme_web -rm").contains("unexpected argument '-r'"));
    // `quit` as the value of a flag is not the verb.
    assert!(refusal("micado --manager quit remove -n x -rm").contains("unexpected argument '-r'"));
}

#[test]
fn the_original_start_is_read() {
    let line = [
        "micado",
        "start",
        "-c",
        "CloudSigma",
        "-a",
        "Node DSCR",
        "-f",
        "Small",
        "-t",
        "application01",
        "-n",
        "application",
        "-I",
        "a.txt",
        "b.txt",
    ];
    let Ok(Cli {
        verb: Verb::Start(args),
        ..
    }) = Cli::try_parse_from(line)
    else {
        panic!("not read")
    };
    assert_eq!(
        (
            args.cloud.as_str(),
            args.application.as_str(),
            args.flavour.as_str()
        ),
        ("CloudSigma", "Node DSCR", "Small")
    );
    assert_eq!(
        (
            args.tag.as_str(),
            args.name.as_str(),
            args.first,
            args.files.len()
        ),
        ("application01", "application", true, 2)
    );
    assert!(refusal("micado start -c x").contains("required arguments"));
}

#[test]
fn arguments_come_in_any_number() {
    let args = launch("-a serve /-v -e A=1 -e B=2 -a more -d shop.example");
    assert_eq!(args.arguments, ["serve", "/-v", "more"]);
    assert_eq!(args.environment, ["A=1", "B=2"]);
    assert_eq!(args.domain.as_deref(), Some("shop.example"));
}

#[test]
fn ports_are_read() {
    let ports: Vec<_> = launch("-p 8080:80 -p 53/udp --port 443")
        .ports
        .iter()
        .map(|port| port.0.to_string())
        .collect();
    assert_eq!(ports, ["8080:80/tcp", "53:53/udp", "443:443/tcp"]);
    assert_eq!(launch("-p 53:54/udp").ports[0].0.protocol, Protocol::Udp);
    for bad in ["0", "65536", "80:", "80/sctp", "a:b", "-1"] {
        assert!(bad.parse::<Port>().is_err(), "{bad}");
    }
}

#[test]
fn hosts_are_read_with_and_without_a_port() {
    let read = |text: &str| text.parse::<HostPort>().ok().map(|it| (it.host, it.port));
    for (text, host, port) in [
        ("micado.example.org", "micado.example.org", None),
        ("micado.example.org:443", "micado.example.org", Some(443)),
        ("192.0.2.7:7443", "192.0.2.7", Some(7443)),
        ("2001:db8::7", "2001:db8::7", None),
        ("[2001:db8::7]", "2001:db8::7", None),
        ("[2001:db8::7]:443", "2001:db8::7", Some(443)),
    ] {
        assert_eq!(read(text), Some((host.to_owned(), port)), "{text}");
    }
    for bad in [
        "",
        ":443",
        "host:",
        "host:0",
        "host:http",
        "https://host",
        "a b",
        "[host]x",
        "[2001:db8::7",
        "2001:db8:::7",
    ] {
        assert_eq!(read(bad), None, "{bad}");
    }
}

#[test]
fn a_time_of_day_is_the_last_one() {
    // 1970-01-12 13:46:40 UTC.
    let now = micado_api::Timestamp(1_000_000_000);
    let seconds = |text: &str| {
        text.parse::<Moment>()
            .map(|moment| moment.at(now).0 / 1_000)
    };
    assert_eq!(seconds("13:46"), Ok(999_960));
    assert_eq!(seconds("13:46:41"), Ok(1_000_001 - 86_400));
    assert_eq!(seconds("-5m"), Ok(999_700));
    assert_eq!(seconds("1970-01-01T00:01:00Z"), Ok(60));
    assert!(seconds("25:00").is_err() && seconds("yesterday").is_err());
}

#[test]
fn quantities_are_refused_by_name() {
    let memory = |value: &str| refusal(&format!("micado launch -i web -n acme --memory {value}"));
    assert_eq!(
        memory("0"),
        "error: invalid value '0' for '--memory <MEMORY|SHARE>': memory `0` is zero"
    );
    assert_eq!(
        memory("-1"),
        "error: invalid value '-1' for '--memory <MEMORY|SHARE>': memory `-1` is negative"
    );
    assert!(memory("10X").ends_with("memory `10X` is not an amount such as `256M` or `1G`"));
    assert!(refusal("micado launch -i web -n acme --cpu -1").ends_with("cpu `-1` is negative"));
}

#[test]
fn info_takes_one_of_its_flags_or_none() {
    let lines = [
        "micado info -s acme_web",
        "micado info acme_web",
        "micado info -a",
        "micado info",
    ];
    assert!(lines.iter().all(|line| parsed(line).is_ok()));
    assert!(refusal("micado info -a -s acme_web").contains("cannot be used with"));
    assert!(refusal("micado info -a acme_web").contains("cannot be used with"));
}

#[test]
fn a_name_stands_by_itself_or_after_its_flag() {
    let name = |line: &str| match parsed(line).expect("a good line").verb {
        Verb::Logs(args) => args.of.name().to_owned(),
        Verb::History(args) => args.of.name().to_owned(),
        Verb::Quit(args) => args.of.name().to_owned(),
        Verb::Remove(args) => args.of.name().to_owned(),
        Verb::Execute(args) => format!("{} {:?}", args.of.name(), args.command),
        Verb::Stop(args) => args.machine.tag().to_string(),
        other => panic!("{other:?}"),
    };
    for line in [
        "logs a_web",
        "logs -n a_web",
        "history a_web",
        "quit a_web -rm",
        "remove a_web",
    ] {
        assert_eq!(name(&format!("micado {line}")), "a_web", "{line}");
    }
    for line in ["execute a_web -c ls -l", "execute -n a_web -c ls -l"] {
        assert_eq!(name(&format!("micado {line}")), r#"a_web ["ls", "-l"]"#);
    }
    assert_eq!(name("micado stop db01"), "db01");
    assert_eq!(name("micado stop -t db01 --force"), "db01");
    assert!(refusal("micado logs").contains("required arguments"));
    assert!(refusal("micado logs a_web -n a_web").contains("cannot be used with"));
    assert!(refusal("micado stop a/b").contains("tag `a/b`"));
}

#[test]
fn a_critical_usage_is_set_or_cleared() {
    let critical = |line: &str| match parsed(format!("micado image set web {line}").trim_end())
        .map(|cli| cli.verb)
    {
        Ok(Verb::Image(ImageVerb::Set(args))) => Ok((
            args.critical_memory.map(|it| it.to_string()),
            args.critical_cpu.map(|it| it.to_string()),
            args.clear,
        )),
        Ok(verb) => panic!("taken as {verb:?}"),
        Err(words) => Err(words),
    };
    assert_eq!(
        critical("--critical-memory 400M"),
        Ok((Some("400 MiB".to_owned()), None, false))
    );
    assert_eq!(
        critical("--critical-cpu 0.5 --critical-memory 1G"),
        Ok((Some("1 GiB".to_owned()), Some("0.5".to_owned()), false))
    );
    assert_eq!(critical("--clear"), Ok((None, None, true)));
    assert!(critical("").is_err_and(|words| words.contains("required arguments")));
    assert!(
        critical("--clear --critical-cpu 1")
            .is_err_and(|words| words.contains("cannot be used with"))
    );
    assert!(
        critical("--critical-memory 0").is_err_and(|words| words.contains("memory `0` is zero"))
    );
}

#[test]
fn top_shows_the_busiest_first_every_two_seconds() {
    let Ok(Cli {
        verb: Verb::Top(args),
        ..
    }) = parsed("micado top")
    else {
        panic!("not read")
    };
    assert_eq!((args.sort, args.interval, args.once), (Sort::Cpu, 2, false));
    assert!(refusal("micado top --interval 0").contains("0 is not in 1..=3600"));
}

#[test]
fn moments_are_read() {
    let now = micado_api::Timestamp(1_000_000_000);
    let seconds = |text: &str| text.parse::<Since>().map(|since| since.seconds(now));
    assert_eq!(seconds("10m"), Ok(999_400));
    assert_eq!(seconds("1h 30m"), Ok(994_600));
    assert_eq!(seconds("77"), Ok(77));
    assert_eq!(seconds("1970-01-01T00:01:00Z"), Ok(60));
    assert!(seconds("yesterday").is_err() && seconds("-5m").is_err());
    assert_eq!(seconds("2d"), Ok(1_000_000 - 2 * 86_400), "b20");
    assert_eq!(seconds("1w 1h"), Ok(1_000_000 - 7 * 86_400 - 3_600));
    assert_eq!(seconds("77.5"), Ok(77));
    // By the zone of this machine.
    let day = seconds("1970-01-03").expect("a date");
    assert!((day - 2 * 86_400).abs() <= 14 * 3_600, "{day}");
    assert_eq!(seconds("1970-01-03T00:01"), Ok(day + 60));
}

#[test]
fn the_time_that_a_machine_may_be_silent_has_a_unit_and_bounds() {
    let read = |line: &str| match parsed(line).map(|cli| cli.verb) {
        Ok(Verb::Manager(args)) => Ok(args.down_timeout.as_secs()),
        Ok(verb) => panic!("taken as {verb:?}"),
        Err(words) => Err(words),
    };
    assert_eq!(
        read("micado manager"),
        Ok(micado_core::control::DOWN_TIMEOUT.as_secs())
    );
    assert_eq!(
        [
            read("micado manager --down-timeout 15s"),
            read("micado manager --down-timeout 1h")
        ],
        [Ok(15), Ok(3600)]
    );
    for (wrong, words) in [
        ("90", "such as `90s`"),
        ("soon", "such as `90s`"),
        ("14s", "not from `15s` to `1h`"),
        ("61m", "not from `15s` to `1h`"),
    ] {
        assert!(
            refusal(&format!("micado manager --down-timeout {wrong}")).contains(words),
            "{wrong}"
        );
    }
}

#[test]
fn a_hold_is_a_minute_at_least() {
    for (wrong, words) in [
        ("59s", "not from `60s` to `24h`"),
        ("25h", "not from `60s` to `24h`"),
        ("60", "such as `90s`"),
    ] {
        let refused = refusal(&format!("micado manager --hold {wrong}"));
        assert!(refused.contains(words), "{refused}");
    }
}

#[test]
fn the_tick_is_seconds_or_cron() {
    assert_eq!(
        "10".parse(),
        Ok(Tick::Every(std::time::Duration::from_secs(10)))
    );
    assert_eq!(
        "*/5 * * * * *".parse(),
        Ok(Tick::Cron("*/5 * * * * *".to_owned()))
    );
    assert!("0".parse::<Tick>().is_err() && "often".parse::<Tick>().is_err());
}

/// Help of every verb, at a width of 100 columns.
#[test]
fn help() {
    let mut command = Cli::command().term_width(100);
    command.build();
    insta::assert_snapshot!("help", command.render_help().to_string());
    for verb in command.get_subcommands_mut() {
        let name = verb.get_name().to_owned();
        insta::assert_snapshot!(format!("help_{name}"), verb.render_help().to_string());
        for below in verb.get_subcommands_mut() {
            insta::assert_snapshot!(
                format!("help_{name}_{}", below.get_name().to_owned()),
                below.render_help().to_string()
            );
        }
    }
}

#[test]
fn an_end_of_a_copy_is_a_path_here_or_in_a_container() {
    use std::os::unix::ffi::OsStringExt;
    let place = |word: &[u8]| CopyPlace::try_from(OsString::from_vec(word.to_vec()));
    let here = |word: &[u8]| Ok(CopyPlace::Here(OsString::from_vec(word.to_vec()).into()));
    for word in [
        &b"/a:b"[..],
        b"./a:b",
        b"../a:b",
        b"a/b:c",
        b"a",
        b"-",
        b":a",
        b"a\xff",
        b"./\xff:a",
    ] {
        assert_eq!(place(word), here(word), "{word:?}");
    }
    for (word, path) in [(&b"web.1:/srv"[..], "/srv"), (b"web.1:srv:x", "srv:x")] {
        let container = CopyPlace::Container {
            name: "web.1".to_owned(),
            path: path.to_owned(),
        };
        assert_eq!(place(word), Ok(container));
    }
    let refused = place(b"web.1:/\xff").expect_err("not UTF-8");
    assert!(refused.contains("copy the folder"), "{refused}");
    let flags = match parsed("micado cp -aL - web.1:/srv").map(|cli| cli.verb) {
        Ok(Verb::Cp(args)) => args.flags,
        other => panic!("{other:?}"),
    };
    assert!(flags.follow_link && flags.archive);
}
