use super::*;

#[track_caller]
fn tag(text: &str, expected: Option<&str>) {
    assert_eq!(text.parse::<Tag>().ok().map(|tag| tag.to_string()).as_deref(), expected, "{text:?}");
}

#[test]
fn tags_are_a_name_and_a_version() {
    tag("iris_clf", Some("iris_clf:latest"));
    tag("iris_clf:latest", Some("iris_clf:latest"));
    tag("iris-clf.2:20261126-143015-4f3a9c", Some("iris-clf.2:20261126-143015-4f3a9c"));
    // The beginning of a version may end anywhere.
    tag("a:2026-", Some("a:2026-"));
    let longest = "a".repeat(63);
    tag(&format!("{longest}:{longest}"), Some(&format!("{longest}:{longest}")));
}

#[test]
fn what_is_no_tag_is_refused() {
    let too_long = "a".repeat(64);
    for text in
        ["", ":", ":1", "a:", "a:b:c", "A", "a/b", "../a", "a:..\\b", "a:1/2", "-a", "a b", "ä", "a:1\0", &too_long]
    {
        tag(text, None);
    }
    tag(&format!("a:{too_long}"), None);
    let error = "Iris".parse::<Tag>().unwrap_err().to_string();
    assert!(error.contains("\"Iris\"") && error.contains("name:version"), "{error}");
}

#[test]
fn latest_is_no_version() {
    assert!("latest".parse::<Version>().is_err());
    assert!("latest.1".parse::<Version>().is_ok());
    assert!("..".parse::<Version>().is_err());
}

#[test]
fn names_are_made_of_the_names_of_files() {
    let near = |text: &str| ModelName::near(text).map(|name| name.to_string());
    assert_eq!(near("Iris CLF"), Some("iris-clf".to_owned()));
    assert_eq!(near("_résumé (2)"), Some("r-sum---2".to_owned()));
    assert_eq!(near("日本"), None);
    assert_eq!(near("---"), None);
    assert_eq!(near(&format!("{}-b", "a".repeat(62))), Some("a".repeat(62)));
}

#[test]
fn files_stay_in_their_folder() {
    for good in ["weights.safetensors", "a/b/c", ".hidden", "...", "a b", &"a".repeat(100)] {
        assert!(good.parse::<FilePath>().is_ok(), "{good:?}");
    }
    let error = "/etc/passwd".parse::<FilePath>().unwrap_err().to_string();
    assert!(error.ends_with("it is absolute"), "{error}");
    let too_long = "a".repeat(101);
    let bad = [
        "",
        "/",
        "/etc/passwd",
        "..",
        "a/..",
        "../a",
        "a/../../b",
        ".",
        "./a",
        "a//b",
        "a/",
        "a\\b",
        "C:x",
        "a\nb",
        "a\0b",
    ];
    for bad in bad.into_iter().chain(["model.toml", "Model.TOML", &too_long]) {
        assert!(bad.parse::<FilePath>().is_err(), "{bad:?}");
    }
}
