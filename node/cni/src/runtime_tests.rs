//! Chains of plugins that are shell scripts: each notes how it was called and what it was given.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A folder with plugins, and what they noted.
struct Place {
    folder: tempfile::TempDir,
    cni: Cni,
}

const SPOKEN: &str = r#"{"cniVersion": "1.1.0", "supportedVersions": ["0.4.0", "1.0.0", "1.1.0"]}"#;

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("makes a folder");
        let root = folder.path().to_owned();
        let place = Self {
            cni: Cni::new(Dirs { conf: Some(root.join("conf")), bin: vec![root.join("bin")], cache: root.join("cache") }),
            folder,
        };
        std::fs::create_dir(root.join("bin")).expect("makes a folder");
        place
    }

    /// A plugin that answers `ADD` with this, and fails whatever is in the file `NAME.fails`.
    fn plugin(&self, name: &str, answer: &str) {
        let root = self.folder.path().display();
        let script = format!(
            r#"#!/bin/sh
if [ "$CNI_COMMAND" = VERSION ]; then echo '{SPOKEN}'; exit 0; fi
echo "$CNI_COMMAND {name} $CNI_CONTAINERID $CNI_IFNAME $CNI_NETNS $CNI_ARGS $(cat)" >> {root}/noted
if [ "$(cat {root}/{name}.fails 2>/dev/null)" = "$CNI_COMMAND" ]; then
  echo '{{"cniVersion": "1.1.0", "code": 11, "msg": "try again", "details": "in a while"}}'; exit 1
fi
[ "$CNI_COMMAND" = ADD ] && echo '{answer}'
exit 0
"#
        );
        let path = self.folder.path().join("bin").join(name);
        std::fs::write(&path, script).expect("writes");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("sets the mode");
    }

    fn fails(&self, name: &str, command: &str) {
        std::fs::write(self.folder.path().join(format!("{name}.fails")), command).expect("writes");
    }

    /// (command and plugin, input) of each call since the last look.
    fn noted(&self) -> Vec<(String, Value)> {
        let path = self.folder.path().join("noted");
        let noted = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        let parsed = |line: &str| {
            let (call, input) = line.split_once(" {").expect("has an input");
            let command = call.split(' ').take(2).collect::<Vec<_>>().join(" ");
            (command, serde_json::from_str(&format!("{{{input}")).expect("is JSON"))
        };
        noted.lines().map(parsed).collect()
    }

    fn calls(&self) -> Vec<String> {
        self.noted().into_iter().map(|(call, _)| call).collect()
    }

    fn kept(&self) -> usize {
        cache::all(&self.cni.dirs.cache).expect("reads").len()
    }
}

fn list(version: &str) -> NetworkList {
    let text = format!(
        r#"{{"cniVersion": "{version}", "name": "pods", "plugins":
            [{{"type": "one"}}, {{"type": "two", "capabilities": {{"ips": true}}}}]}}"#
    );
    NetworkList::parse(text.as_bytes()).expect("is valid")
}

fn id(container: &str) -> AttachmentId {
    AttachmentId { container: container.to_owned(), interface: "eth0".to_owned() }
}

fn attachment(container: &str) -> Attachment {
    Attachment { id: id(container), namespace: "/proc/self/ns/net".into(), args: vec![("IgnoreUnknown".into(), "1".into())] }
}

const NEW: Version = Version(1, 1, 0);

fn two() -> Place {
    let place = Place::new();
    place.plugin("one", r#"{"cniVersion": "1.1.0", "ips": [{"address": "10.1.0.7/16"}]}"#);
    place.plugin("two", r#"{"cniVersion": "1.1.0", "ips": [{"address": "10.1.0.8/16"}]}"#);
    place
}

#[tokio::test]
async fn a_chain_is_added_in_order_and_deleted_backwards_each_with_what_was_before() {
    let (place, list) = (two(), list("1.1.0"));
    assert_eq!(place.cni.agree(&list).await.expect("agree"), NEW);
    let config = RuntimeConfig { ips: vec!["10.1.0.8/16".into()], ..RuntimeConfig::default() };
    let result = place.cni.add((&list, NEW), attachment("a"), &config).await.expect("is added");
    assert_eq!(crate::address_of(&result, "eth0"), Ok(vec!["10.1.0.8".parse().expect("an address")]));
    let whole = std::fs::read_to_string(place.folder.path().join("noted")).expect("was noted");
    assert!(whole.starts_with("ADD one a eth0 /proc/self/ns/net IgnoreUnknown=1 {"), "{whole}");
    let noted = place.noted();
    assert_eq!((noted[0].0.as_str(), noted[1].0.as_str()), ("ADD one", "ADD two"));
    assert_eq!(noted[0].1, json!({"cniVersion": "1.1.0", "name": "pods", "type": "one"}));
    assert_eq!(noted[1].1["prevResult"]["ips"][0]["address"], "10.1.0.7/16");
    assert_eq!(noted[1].1["runtimeConfig"], json!({"ips": ["10.1.0.8/16"]}));

    place.cni.check("a").await.expect("is as it was");
    let noted = place.noted();
    assert_eq!((noted[0].0.as_str(), noted[1].0.as_str()), ("CHECK one", "CHECK two"));
    assert_eq!(noted[0].1["prevResult"]["ips"][0]["address"], "10.1.0.8/16", "the last result");

    place.cni.delete("a").await.expect("is deleted");
    let noted = place.noted();
    assert_eq!((noted[0].0.as_str(), noted[1].0.as_str()), ("DEL two", "DEL one"));
    assert_eq!(noted[0].1["runtimeConfig"], json!({"ips": ["10.1.0.8/16"]}));
    assert_eq!(noted[1].1["prevResult"]["ips"][0]["address"], "10.1.0.8/16");
    place.cni.delete("a").await.expect("is no error");
    assert_eq!((place.calls().len(), place.kept()), (0, 0));
}

#[tokio::test]
async fn a_failure_is_told_in_the_plugins_words_and_what_was_done_is_taken_back() {
    let (place, list) = (two(), list("1.0.0"));
    place.fails("two", "ADD");
    let version = Version(1, 0, 0);
    let error = place.cni.add((&list, version), attachment("a"), &RuntimeConfig::default()).await.expect_err("fails");
    assert_eq!(error.to_string(), "plugin type=\"two\" failed (add): try again; in a while (code 11)");
    assert_eq!((place.calls(), place.kept()), (["ADD one", "ADD two", "DEL two", "DEL one"].map(str::to_owned).to_vec(), 0));

    // What cannot be taken away is remembered, and taken away later.
    place.fails("two", "");
    place.cni.add((&list, version), attachment("a"), &RuntimeConfig::default()).await.expect("is added");
    place.fails("one", "DEL");
    place.cni.delete("a").await.expect_err("fails");
    assert_eq!(place.kept(), 1);
    place.fails("one", "");
    place.calls();
    place.cni.collect(Some((&list, version)), &BTreeSet::new()).await.expect("is collected");
    assert_eq!((place.calls(), place.kept()), (["DEL two", "DEL one"].map(str::to_owned).to_vec(), 0), "no GC before 1.1");
}

#[tokio::test]
async fn from_1_1_on_plugins_collect_what_is_not_valid_and_tell_whether_they_are_ready() {
    let (place, list) = (two(), list("1.1.0"));
    for container in ["a", "b"] {
        place.cni.add((&list, NEW), attachment(container), &RuntimeConfig::default()).await.expect("is added");
    }
    place.calls();
    place.cni.collect(Some((&list, NEW)), &BTreeSet::from([id("b")])).await.expect("is collected");
    let noted = place.noted();
    let calls: Vec<_> = noted.iter().map(|(call, _)| call.as_str()).collect();
    assert_eq!(calls, ["DEL two", "DEL one", "GC one", "GC two"]);
    assert_eq!(noted[2].1["cni.dev/valid-attachments"], json!([{"containerID": "b", "ifname": "eth0"}]));
    place.cni.status((&list, NEW)).await.expect("is ready");
    place.fails("two", "STATUS");
    let error = place.cni.status((&list, NEW)).await.expect_err("is not").to_string();
    assert!(error.contains("failed (status): try again"), "{error}");
    place.cni.status((&list, Version(1, 0, 0))).await.expect("is not asked");
}

#[tokio::test]
async fn plugins_that_are_not_there_or_speak_another_version_are_named() {
    let place = two();
    let nothing = NetworkList::parse(br#"{"cniVersion": "1.0.0", "name": "n", "type": "nothing"}"#).expect("is valid");
    let error = place.cni.agree(&nothing).await.expect_err("is not there").to_string();
    assert!(error.starts_with("failed to find plugin \"nothing\" in path ["), "{error}");
    let error = place.cni.agree(&list("0.3.1")).await.expect_err("is not spoken").to_string();
    let expected = "network \"pods\": not all plugins speak 0.3.1 (\"one\": 0.4.0, 1.0.0, 1.1.0; \"two\": 0.4.0, 1.0.0, 1.1.0)";
    assert_eq!(error, expected);
    place.plugin("one", "no JSON");
    let error = place.cni.add((&list("1.1.0"), NEW), attachment("a"), &RuntimeConfig::default()).await;
    assert!(error.expect_err("is no result").to_string().starts_with("plugin type=\"one\" answered (add) with no result"));
    let error = place.cni.add((&list("1.1.0"), NEW), attachment("../a"), &RuntimeConfig::default()).await;
    assert!(error.expect_err("is no name").to_string().contains("cannot name a container"));
}
