//! Names that images of an archive may have.

use super::*;

fn items(names: &[&[&str]]) -> Vec<Item> {
    let item = |names: &&[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let item = serde_json::json!({ "Config": "c", "RepoTags": names });
        serde_json::from_value(item).expect("an item")
    };
    names.iter().map(item).collect()
}

fn refused(names: &[&[&str]], name: Option<&str>) -> String {
    let refusal = given(&items(names), name).expect_err("refused");
    format!("{} {}", refusal.message, refusal.hint.unwrap_or_default())
}

#[test]
fn names_are_those_of_the_archive_or_the_given_one() {
    let all = given(
        &items(&[&["web:1", "web"], &["r.example.org:5000/a/b:2"]]),
        None,
    );
    let expected = [
        vec!["web:1", "web:latest"],
        vec!["r.example.org:5000/a/b:2"],
    ];
    assert_eq!(all.expect("names"), expected);
    let one = given(&items(&[&["micado-node:latest"]]), Some("web"));
    assert_eq!(one.expect("a name"), [["web:latest"]]);
    // As the engine shows them.
    let hub = given(&items(&[&["docker.io/library/web:1"]]), None);
    assert_eq!(hub.expect("a name"), [["web:1"]]);
}

#[test]
fn missing_and_ambiguous_names_are_refused_with_the_next_step() {
    assert!(refused(&[&[]], None).contains("`-n NAME[:TAG]`"));
    assert!(refused(&[&["web:1"], &[]], None).contains("image 2 of the archive has no name"));
    let several = refused(&[&["a:1"], &["b:1"]], Some("web"));
    assert!(several.contains("has 2 images") && several.contains("leave `-n` out"));
    assert!(refused(&[&["a:1"], &["a:1"]], None).contains("two images with the name `a:1`"));
}

#[test]
fn own_images_and_invalid_names_are_refused() {
    for own in [
        "micado-node:latest",
        "micado-registry:7",
        "library/micado-node:latest",
        "docker.io/library/micado-cloudbroker:latest",
        "index.docker.io/micado-node:1",
    ] {
        let refusal = refused(&[&["web:1", own]], None);
        assert!(refusal.contains("one of micado's own"), "{own}: {refusal}");
        assert!(checked(own).is_err(), "{own}");
    }
    let long = "a".repeat(1 << 20);
    for invalid in [
        "",
        "Web:1",
        "web:",
        "web:-1",
        "../info:1",
        "a//b",
        "-x",
        "x_",
        "web@sha256:00",
        "a b",
        "web:a/b",
        &long,
    ] {
        let refusal = refused(&[&[invalid]], None);
        assert!(refusal.contains("no image name"), "{refusal}");
        assert!(refusal.len() < 700, "{}", refusal.len());
    }
}

fn found(id: &str, platform: &str) -> Found {
    Found {
        id: id.to_owned(),
        platform: platform.parse().expect("a platform"),
        names: vec!["web:1".to_owned()],
    }
}

#[test]
fn a_name_of_another_image_is_taken_only_by_force() {
    let engine: EngineNames = [("sha256:1".to_owned(), vec!["web:1".to_owned()])].into();
    let images = |id| [found(id, "linux/amd64")];
    assert_eq!(check_free(&images("sha256:1"), &engine, false), Ok(()));
    let refusal = check_free(&images("sha256:2"), &engine, false).expect_err("taken");
    assert_eq!(refusal.code, ErrorCode::Conflict);
    assert!(refusal.message.contains("`web:1`"), "{refusal}");
    assert_eq!(check_free(&images("sha256:2"), &engine, true), Ok(()));
}

#[test]
fn an_image_for_another_platform_is_refused_with_both() {
    let engine = "linux/amd64".parse().expect("a platform");
    assert_eq!(
        check_platform(&[found("1", "linux/amd64")], &engine),
        Ok(())
    );
    let refusal = check_platform(&[found("1", "linux/arm64")], &engine).expect_err("another");
    let words = "image `web:1` is made for linux/arm64, and the manager's engine is linux/amd64";
    assert_eq!(refusal.message, words);
}
