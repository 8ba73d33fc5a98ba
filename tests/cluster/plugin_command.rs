//! `mizzen plugin` and registries: what is pushed is what is inspected, and what the server would refuse is refused before.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use mizzen_tests::Registry;
use mizzen_tests::authority::Authority;
use mizzen_tests::command::{Ran, run};
use mizzen_tests::executables::{guest, mizzen};
use mizzen_tests::images;
use nix::sched::{CloneFlags, unshare};

/// What `mizzen plugin` says, with a cache of compiled plugins of its own and variables for registries.
fn plugin(cache: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = mizzen();
    command.args(["plugin", "--cache", cache.to_str().unwrap()]).args(arguments).envs(variables.iter().copied());
    run(&mut command)
}

/// The value of a line of a report.
fn line<'a>(report: &'a str, name: &str) -> &'a str {
    let found = report.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {name} in {report}")).trim()
}

#[test]
fn a_plugin_that_was_pushed_is_inspected_by_its_tag_and_by_its_digest() {
    let (work, registry) = (tempfile::tempdir().unwrap(), Registry::start());
    let component = guest("policy_v1");
    let component = component.to_str().unwrap();
    let tag = registry.reference("team/labels:v1");
    let digest = plugin(work.path(), &["push", &tag, "--plugin", component], &[]).ok();
    let digest = digest.trim();
    assert!(digest.starts_with("sha256:"), "{digest}");

    let settings = ["--settings", r#"{"labels": ["team"]}"#];
    let here = plugin(work.path(), &[&["inspect", component], &settings[..]].concat(), &[]).ok();
    for reference in [tag.clone(), registry.reference(&format!("team/labels@{digest}"))] {
        let there = plugin(work.path(), &[&["inspect", &reference], &settings[..]].concat(), &[]).ok();
        assert_eq!(line(&there, "manifest"), digest);
        assert_eq!(there.split_once('\n').unwrap().1, here, "the same component");
    }
    assert_eq!(line(&here, "world"), "an admission policy 0.2.0");
    assert_eq!(line(&here, "mutating"), "no");
    // Settings that it refuses are said, and the rest as well.
    let wrong = plugin(work.path(), &["inspect", &tag, "--settings", r#"{"labels": "all"}"#], &[]).ok();
    assert!(line(&wrong, "load").contains("the settings are not valid"), "{wrong}");

    // A project's folder is meant as its component, also by leaving it out.
    let project = work.path().join("labels");
    std::fs::create_dir(&project).unwrap();
    std::fs::write(project.join("plugin.yaml"), "name: labels\nkind: policy\nbuild: []\n").unwrap();
    let folder = ["--plugin", project.to_str().unwrap()];
    let early = plugin(work.path(), &[&["push", &tag], &folder[..]].concat(), &[]).err();
    assert!(early.contains("labels.wasm is not there yet: run `mizzen plugin build`"), "{early}");
    std::fs::copy(component, project.join("labels.wasm")).unwrap();
    assert_eq!(plugin(work.path(), &[&["push", &tag], &folder[..]].concat(), &[]).ok().trim(), digest);
    let mut within = mizzen();
    within.args(["plugin", "inspect", "--settings", settings[1]]).env("MIZZEN_PLUGIN_CACHE", work.path()).current_dir(&project);
    assert_eq!(run(&mut within).ok(), here);
}

#[test]
fn who_has_read_enough_is_no_failure() {
    let work = tempfile::tempdir().unwrap();
    let mizzen = mizzen();
    let script = "{ \"$0\" plugin --cache \"$1\" inspect \"$2\"; echo $? >&2; } | :";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(mizzen.get_program()).arg(work.path()).arg(guest("policy_v1"));
    assert_eq!(run(&mut shell).stderr, "141\n", "as if SIGPIPE had ended it");
}

#[test]
fn what_is_no_plugin_or_not_there_is_said() {
    let (work, registry) = (tempfile::tempdir().unwrap(), Registry::start());
    let said = |arguments: &[&str]| plugin(work.path(), arguments, &[]).err();
    let tag = registry.reference("labels:v1");

    let text = work.path().join("notes.txt");
    std::fs::write(&text, "no plugin").unwrap();
    let error = said(&["push", &tag, "--plugin", text.to_str().unwrap()]);
    assert!(error.contains("notes.txt: not a WebAssembly component or module"), "{error}");
    // A component of another world.
    let hello = guest("hello_http");
    let error = said(&["push", &tag, "--plugin", hello.to_str().unwrap()]);
    assert!(error.contains("exports neither mizzen:scheduler/plugin nor mizzen:policy/policy"), "{error}");
    assert!(said(&["inspect", &tag]).contains("not found"), "nothing was sent");

    assert!(said(&["inspect", "./missing.wasm"]).contains("./missing.wasm is not there"));
    assert!(said(&["inspect", "two words"]).contains("image reference \"two words\""));
    assert!(said(&["push", "two words", "--plugin", text.to_str().unwrap()]).contains("image reference \"two words\""));
    let error = said(&["inspect", &images::busybox(&registry, "web:v1")]);
    assert!(error.contains("is not a plugin but a container image"), "{error}");
    let error = said(&["inspect", &images::not_wasm(&registry, "bad:v1")]);
    assert!(error.contains("bad:v1: the component cannot be compiled"), "{error}");
    let address = registry.address();
    drop(registry);
    let error = said(&["inspect", &tag]);
    assert!(error.contains(&format!("registry {address} cannot be reached")), "{error}");
}

#[test]
fn a_registry_with_a_login_takes_the_name_and_the_password_of_the_flags_or_the_environment() {
    let (work, registry) = (tempfile::tempdir().unwrap(), Registry::with_login("ann", "secret"));
    let component = guest("policy_v1");
    let reference = registry.reference("labels:v1");
    let push = ["push", &reference, "--plugin", component.to_str().unwrap()];
    let inspect = ["inspect", &reference];
    for command in [&push[..], &inspect[..]] {
        for login in [&[][..], &["--username", "ann", "--password", "guess"]] {
            let error = plugin(work.path(), &[command, login].concat(), &[]).err();
            assert!(error.contains("refused the credentials") && error.contains("MIZZEN_REGISTRY_PASSWORD"), "{error}");
        }
        plugin(work.path(), &[command, &["--username", "ann", "--password", "secret"]].concat(), &[]).ok();
        let kept = [("MIZZEN_REGISTRY_PASSWORD", "secret")];
        plugin(work.path(), &[command, &["--username", "ann"]].concat(), &kept).ok();
    }
}

/// In a network namespace of its own, where 10.99.0.1 is this machine and yet no loopback name: such registries speak TLS.
#[test]
fn a_registry_elsewhere_is_spoken_to_over_https() {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        for args in [["link", "set", "lo", "up"].as_slice(), &["addr", "add", "10.99.0.1/32", "dev", "lo"]] {
            assert!(std::process::Command::new("ip").args(args).status().unwrap().success());
        }
        let work = tempfile::tempdir().unwrap();
        let authority = Authority::new(work.path());
        let host: IpAddr = "10.99.0.1".parse().unwrap();
        let registry = Registry::with_tls(host, &authority, "ann", "secret");
        let (component, reference) = (guest("policy_v1"), registry.reference("labels:v1"));
        let login = ["--username", "ann", "--password", "secret"];
        let push = [&["push", &reference, "--plugin", component.to_str().unwrap()], &login[..]].concat();
        let inspect = [&["inspect", &reference], &login[..]].concat();
        let trusted = [("SSL_CERT_FILE", authority.file().to_str().unwrap())];
        let error = plugin(work.path(), &push, &[]).err();
        assert!(error.contains("UnknownIssuer"), "{error}");
        let digest = plugin(work.path(), &push, &trusted).ok();
        assert_eq!(line(&plugin(work.path(), &inspect, &trusted).ok(), "manifest"), digest.trim());
    });
    thread.join().unwrap();
}
