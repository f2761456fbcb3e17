//! `mirrorgate check` and `mirrorgate schema`, as a person and a program run them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn mirrorgate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mirrorgate")).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn example() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/policy.yaml").display().to_string()
}

fn file(folder: &tempfile::TempDir, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

const WARNED: &str = "apiVersion: mirrorgate.dev/v1alpha1
kind: Policy
registryMirrors:
- name: m
  endpoint: http://m.corp
  plainHTTP: true
  hosts: [quay.io]
";

const FAULTY: &str = "apiVersion: mirrorgate.dev/v1alpha1
kind: Policy
registryMirrors:
- name: m
  endpoint: https://m.corp
  hosts:
  - quay.io
  - m.corp
  - quay.io
";

#[test]
fn a_valid_policy_is_exit_0() {
    let output = mirrorgate(&["check", &example()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stdout(&output), format!("{}: valid, 1 mirror, 0 warnings\n", example()));
    assert!(output.stderr.is_empty(), "{output:?}");
    let output = mirrorgate(&["check", "-q", &example()]);
    assert_eq!(stdout(&output), "");
    let output = mirrorgate(&["check", "-o", "json", &example()]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "[]\n"));
}

#[test]
fn faults_are_exit_1_with_the_source_lines_of_both_places() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "p.yaml", FAULTY).display().to_string();
    let output = mirrorgate(&["check", &path]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let expected = format!(
        "\
error: registryMirrors[0].hosts[1]: a mirror that is also a source: `m.corp` is the endpoint of the mirror `m`, on line 5
 --> {path}:8:5
  |
8 |   - m.corp
  |     ^^^^^^
  |
 ::: {path}:5:13
  |
5 |   endpoint: https://m.corp
  |             -------------- the endpoint
  |
  = help: leave the host out: images that name an endpoint are never rewritten

error: registryMirrors[0].hosts[2]: `quay.io` is listed twice, first on line 7
 --> {path}:9:5
  |
9 |   - quay.io
  |     ^^^^^^^
  |
 ::: {path}:7:5
  |
7 |   - quay.io
  |     ------- first here
  |
  = help: leave one of them out

{path}: refused, 2 errors, 0 warnings
"
    );
    assert_eq!(stdout(&output), expected, "{}", stdout(&output));
}

#[test]
fn an_entry_that_is_there_twice_is_shown_with_both_places() {
    let folder = tempfile::tempdir().unwrap();
    let source = "\
apiVersion: mirrorgate.dev/v1alpha1
kind: Policy
pullSecrets:
- name: harbor-pull
  registries: [harbor.corp]
- registries: [harbor.corp]
  name: harbor-pull
";
    let path = file(&folder, "p.yaml", source).display().to_string();
    let output = mirrorgate(&["check", &path]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let expected = format!(
        "\
error: pullSecrets[1]: says the same as the entry on line 4
 --> {path}:6:3
  |
6 | - registries: [harbor.corp]
  |   ^^^^^^^^^^
  |
 ::: {path}:4:3
  |
4 | - name: harbor-pull
  |   ---- first here
  |
  = help: leave one of them out

{path}: refused, 1 error, 0 warnings
"
    );
    assert_eq!(stdout(&output), expected, "{}", stdout(&output));
}

#[test]
fn json_has_an_entry_for_each_fault_of_every_file() {
    let folder = tempfile::tempdir().unwrap();
    let faulty = file(&folder, "a.yaml", FAULTY).display().to_string();
    let warned = file(&folder, "b.yaml", WARNED).display().to_string();
    let output = mirrorgate(&["check", "-o", "json", &faulty, &warned]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let findings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let facts = |index: usize| {
        let finding = &findings[index];
        let text = |key: &str| finding[key].as_str().unwrap().to_owned();
        let number = |key: &str| finding[key].as_u64().unwrap();
        assert!(!text("message").is_empty());
        (text("file"), text("path"), number("line"), number("column"), text("severity"))
    };
    assert_eq!(findings.as_array().unwrap().len(), 3);
    assert_eq!(facts(0), (faulty.clone(), "registryMirrors[0].hosts[1]".to_owned(), 8, 5, "error".to_owned()));
    assert_eq!(facts(1), (faulty, "registryMirrors[0].hosts[2]".to_owned(), 9, 5, "error".to_owned()));
    assert_eq!(facts(2), (warned, "registryMirrors[0].plainHTTP".to_owned(), 6, 14, "warning".to_owned()));
}

#[test]
fn warnings_alone_are_exit_0() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "p.yaml", WARNED).display().to_string();
    let output = mirrorgate(&["check", &path]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = stdout(&output);
    assert!(text.starts_with("warning: registryMirrors[0].plainHTTP: "), "{text}");
    assert!(text.ends_with(": valid, 1 mirror, 1 warning\n"), "{text}");
}

#[test]
fn what_cannot_be_read_is_exit_2_and_the_rest_is_checked_all_the_same() {
    let output = mirrorgate(&["check", "/there/is/no/such/policy.yaml", &example()]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(stdout(&output).ends_with(": valid, 1 mirror, 0 warnings\n"), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("/there/is/no/such/policy.yaml"), "{output:?}");
    assert_eq!(mirrorgate(&["check"]).status.code(), Some(2));
}

#[test]
fn text_that_is_not_utf_8_is_a_fault_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "p.yaml", b"apiVersion: x\nkind: \xff\n").display().to_string();
    let output = mirrorgate(&["check", &path]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stdout(&output).contains(&format!("{path}:2:7")), "{}", stdout(&output));
}

#[test]
fn colours_are_there_only_where_they_are_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "p.yaml", FAULTY).display().to_string();
    assert!(!stdout(&mirrorgate(&["check", &path])).contains('\u{1b}'));
    assert!(stdout(&mirrorgate(&["check", "--color", "always", &path])).contains('\u{1b}'));
}

#[test]
fn the_schema_command_prints_the_committed_schema() {
    let committed = include_str!("../../manifests/policy.schema.json");
    let output = mirrorgate(&["schema"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), committed));
}
