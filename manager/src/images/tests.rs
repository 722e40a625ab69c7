//! Decisions on which images may be deleted.

use super::*;

const REPO: &str = "container-web";

/// An image with this number; images share the layer `base`.
fn stored(number: u32) -> Stored {
    Stored {
        repo: REPO.to_owned(),
        digest: format!("sha256:{number:064}"),
        id: id(number),
        blobs: [
            ("base".to_owned(), 1000),
            (format!("layer{number}"), u64::from(number)),
        ]
        .into(),
        children: BTreeSet::new(),
    }
}

fn id(number: u32) -> String {
    format!("sha256:{number:012}{:052}", 0)
}

fn content(number: u32) -> String {
    format!("{REPO}:{number:012}")
}

/// Three builds: the third is the latest, the second was named by a person.
fn engine() -> BTreeMap<String, Vec<String>> {
    let named = |number: u32, more: &[&str]| {
        let more = more.iter().map(|tag| format!("{REPO}:{tag}"));
        (
            id(number),
            [content(number)].into_iter().chain(more).collect(),
        )
    };
    [named(1, &[]), named(2, &["stable"]), named(3, &["latest"])].into()
}

fn need(service: &str, number: u32) -> ImageNeed {
    ImageNeed {
        service: ServiceName::trusted(service),
        image: REPO.to_owned(),
        pull: Some(format!("10.0.0.1:5443/{REPO}@sha256:{number:064}")),
        image_id: None,
    }
}

fn known(needs: &[ImageNeed]) -> Vec<Revision> {
    revisions([1, 2, 3].map(stored).to_vec(), &engine(), needs)
}

fn digests(deletion: &Deletion) -> Vec<u32> {
    let numbers = deletion
        .images
        .iter()
        .map(|it| &it.digest["sha256:".len()..]);
    numbers
        .map(|digits| digits.parse().expect("a number"))
        .collect()
}

fn removed(text: &str, needs: &[ImageNeed]) -> Result<Deletion, Option<InUse>> {
    let target = text.parse().expect("a target");
    remove(&target, &known(needs), &engine(), needs)
}

#[test]
fn prune_keeps_what_services_need_and_people_named() {
    let pruned = prune(&known(&[]), false);
    assert_eq!(digests(&pruned), [1]);
    assert_eq!(pruned.names, [content(1)].into());
    assert!(digests(&prune(&known(&[need("a_web", 1)]), false)).is_empty());
    // Names by people stay in the engine, whatever goes from the registry.
    let all = prune(&known(&[need("a_web", 2)]), true);
    assert_eq!(digests(&all), [1, 3]);
    assert_eq!(all.names, [content(1), content(3)].into());
}

#[test]
fn an_image_is_needed_by_its_reference_its_id_or_its_name() {
    let by_id = ImageNeed {
        image_id: Some(id(1)),
        ..need("a_web", 77)
    };
    let waiting = |image: &str| ImageNeed {
        image: image.to_owned(),
        pull: None,
        ..need("a_web", 0)
    };
    let elsewhere = ImageNeed {
        pull: Some(format!("docker.io/other-{REPO}@sha256:{:064}", 1)),
        ..need("a_web", 1)
    };
    for (need, number) in [
        (need("a_web", 1), Some(0)),
        (by_id, Some(0)),
        (waiting(REPO), Some(2)),
        (waiting("container-web:stable"), Some(1)),
        (waiting("other"), None),
        (elsewhere, None),
    ] {
        let known = known(std::slice::from_ref(&need));
        let used = known.iter().position(|it| !it.services.is_empty());
        assert_eq!(used, number, "{need:?}");
    }
}

#[test]
fn remove_refuses_what_a_service_needs_and_names_all_of_them() {
    let needs = [need("a_web", 1), need("b_web", 1), need("c_web", 3)];
    let services = |names: &[&str]| {
        let names = names.iter().map(|name| ServiceName::trusted(*name));
        Err(Some(InUse(names.collect())))
    };
    let digest = format!("{REPO}@{:064}", 1);
    assert_eq!(removed(&digest, &needs), services(&["a_web", "b_web"]));
    assert_eq!(
        removed(REPO, &needs),
        services(&["a_web", "b_web", "c_web"])
    );
    assert_eq!(
        removed("container-web:latest", &needs),
        services(&["c_web"])
    );
    let waiting = ImageNeed {
        pull: None,
        ..need("d_web", 0)
    };
    assert_eq!(
        remove(
            &"container-web:latest".parse().expect("a target"),
            &[],
            &engine(),
            &[waiting]
        ),
        services(&["d_web"]),
        "it is not pushed yet"
    );
}

#[test]
fn remove_takes_the_names_of_an_image_with_it() {
    let one = removed("container-web:stable", &[]).expect("unneeded");
    assert_eq!(digests(&one), [2]);
    assert_eq!(one.names, [content(2), format!("{REPO}:stable")].into());
    let all = removed(REPO, &[]).expect("unneeded");
    assert_eq!((digests(&all), all.names.len()), (vec![1, 2, 3], 5));
    assert_eq!(removed("container-other", &[]), Err(None));
    assert_eq!(removed("container-web:other", &[]), Err(None));
    // Another name keeps the image, and what needs it.
    let mut engine = engine();
    engine
        .get_mut(&id(3))
        .expect("the third")
        .push(format!("{REPO}:best"));
    let needs = [need("a_web", 3)];
    let known = revisions([1, 2, 3].map(stored).to_vec(), &engine, &needs);
    let target = "container-web:best".parse().expect("a target");
    let name = remove(&target, &known, &engine, &needs).expect("a name only");
    assert!(name.images.is_empty());
    assert_eq!(name.names, [format!("{REPO}:best")].into());
}

#[test]
fn shared_layers_are_not_freed() {
    let stored = [1, 2, 3].map(stored);
    let all: Vec<&Stored> = stored.iter().collect();
    assert_eq!(freed(&all, &stored[..2]), MemoryBytes(3));
    assert_eq!(freed(&all, &stored), MemoryBytes(1006));
    assert_eq!(freed(&all, &[]), MemoryBytes(0));
}

#[test]
fn a_platform_that_another_image_has_stays() {
    let index = |number: u32, children: &[&str]| Stored {
        children: children.iter().map(|it| (*it).to_owned()).collect(),
        ..stored(number)
    };
    let stored = [index(1, &["amd64", "arm64"]), index(2, &["arm64"])];
    let all: Vec<&Stored> = stored.iter().collect();
    let gone = manifests(&stored[0], &all, &stored[..1]);
    assert_eq!(gone, [&"amd64".to_owned(), &stored[0].digest]);
    assert_eq!(manifests(&stored[0], &all, &stored).len(), 3);
}

#[test]
fn targets_are_names_tags_and_digests() {
    for (text, shown) in [
        ("web", "web"),
        ("host:5000/a/web", "host:5000/a/web"),
        ("web:1", "web:1"),
        ("web@0123456789AB", "web@sha256:0123456789ab"),
        ("web@sha256:0123456789ab", "web@sha256:0123456789ab"),
    ] {
        let target: Target = text.parse().expect(text);
        assert_eq!(target.to_string(), shown);
    }
    for text in [
        "",
        ":1",
        "@0123456789ab",
        "web@",
        "web@0123",
        "web@zzzzzzzzzzzz",
    ] {
        assert!(text.parse::<Target>().is_err(), "{text}");
    }
    let names = ["Host:5000/web@sha256:00", "acme/web:1.2", "web"].map(repo_name);
    assert_eq!(names, ["host-5000/web", "acme/web", "web"]);
}
