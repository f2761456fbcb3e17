//! `mirrorgate review`, the real binary on manifests of every kind.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

pub(crate) fn fixture(name: &str) -> String {
    fixtures().join(name).display().to_string()
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/review")
}

pub(crate) fn text_of(name: &str) -> String {
    std::fs::read_to_string(fixture(name)).unwrap()
}

/// `mirrorgate review --policy <the fixture> ARGUMENTS...` with that on stdin.
fn review_stdin(stdin: &str, arguments: &[&str]) -> Output {
    review_under("policy.yaml", stdin, arguments)
}

/// The same under another policy.
pub(crate) fn review_under(policy: &str, stdin: &str, arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mirrorgate"))
        .args(["review", "--policy", &fixture(policy)])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn review(arguments: &[&str]) -> Output {
    review_stdin("", arguments)
}

#[track_caller]
pub(crate) fn stdout(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
pub(crate) fn entries(output: &Output, code: i32) -> Vec<Value> {
    serde_json::from_str(&stdout(output, code)).unwrap()
}

/// What is left of a manifest is compared to the byte; and a second review finds nothing to do (M5, trap 1).
#[track_caller]
fn becomes(source: &str, expected: &str) {
    let output = stdout(&review_stdin(source, &["-f", "-", "-o", "yaml"]), 0);
    assert_eq!(output, expected);
    let again = stdout(&review_stdin(&output, &["-f", "-", "-o", "yaml"]), 0);
    assert_eq!(again, output, "a review of the result changes nothing");
    let said = stdout(&review_stdin(&output, &["-f", "-"]), 0);
    assert!(said.starts_with("nothing to do: "), "{said}");
}

#[test]
fn every_workload_keeps_its_comments_order_and_quotes() {
    let template = text_of("workloads.yaml");
    let mirrored: Vec<_> = (1..=7).map(|n| (format!("IMAGE{n}"), format!("app{n}:1"))).collect();
    let (mut source, mut expected) = (template.clone(), template);
    for (placeholder, image) in mirrored {
        source = source.replace(&placeholder, &image);
        expected = expected.replace(&placeholder, &format!("harbor.corp:5000/proxy/library/{image}"));
    }
    becomes(&source, &expected);
    becomes(&source.replace('\n', "\r\n"), &expected.replace('\n', "\r\n"));
    becomes(&format!("\u{feff}{source}"), &format!("\u{feff}{expected}"));
}

#[test]
fn the_fields_of_templates_begin_at_the_root() {
    let source = text_of("workloads.yaml").replace("IMAGE", "app");
    let found = entries(&review_stdin(&source, &["-f", "-", "-o", "json", "-n", "team-a"]), 0);
    let fields: Vec<_> = found.iter().map(|entry| entry["images"][0]["field"].as_str().unwrap()).collect();
    assert_eq!(
        fields,
        [
            "spec.template.spec.containers[0].image",
            "spec.template.spec.containers[0].image",
            "spec.template.spec.initContainers[0].image",
            "spec.template.spec.volumes[0].image.reference",
            "spec.template.spec.containers[0].image",
            "spec.jobTemplate.spec.template.spec.containers[0].image",
            "template.spec.containers[0].image",
            "spec.template.spec.containers[0].image",
        ]
    );
    assert_eq!(
        found[5],
        json!({
            "source": "-", "document": 5, "apiVersion": "batch/v1", "kind": "CronJob", "namespace": "team-a", "name": "cronjob",
            "mode": "enforce", "allowed": true,
            "patch": [{"op": "replace", "path": "/spec/jobTemplate/spec/template/spec/containers/0/image",
                "value": "harbor.corp:5000/proxy/library/app6"}],
            "warnings": [], "causes": [], "pull_secrets": [],
            "images": [{"field": "spec.jobTemplate.spec.template.spec.containers[0].image", "input": "app6",
                "rewritten": "harbor.corp:5000/proxy/library/app6", "mirror": "harbor"}],
            "verdicts": [{"registry": "harbor.corp:5000", "verdict": "unknown", "class": "not-asked",
                "message": "whether the nodes would trust harbor.corp:5000 is not known: nobody was asked (not-asked)",
                "images": ["spec.jobTemplate.spec.template.spec.containers[0].image"]}],
        })
    );
}

#[test]
fn m10_a_template_has_the_owner_that_its_pods_will_have() {
    let source = text_of("workloads.yaml").replace("IMAGE", "app");
    let found = entries(&review_stdin(&source, &["-f", "-", "-o", "json"]), 0);
    assert_eq!((&found[7]["kind"], &found[7]["patch"]), (&json!("StatefulSet"), &json!([])));
}

#[test]
fn m12_a_pod_gets_the_annotation_and_nothing_else_moves() {
    becomes(&text_of("pod.yaml"), &text_of("pod.expected.yaml"));
}

#[test]
fn a_list_in_json_stays_json_as_it_was_laid_out() {
    becomes(&text_of("list.json"), &text_of("list.expected.json"));
    let output = review(&["-f", &fixture("list.json"), "-o", "patch"]);
    let lines = stdout(&output, 0);
    let patch: Vec<Value> = serde_json::from_str(lines.trim_end()).unwrap();
    let patched_by_lines = {
        let mut document: Value = serde_json::from_str(&text_of("list.json")).unwrap();
        let patch: json_patch::Patch = serde_json::from_value(Value::Array(patch)).unwrap();
        json_patch::patch(&mut document, &patch).unwrap();
        document
    };
    assert_eq!(patched_by_lines, serde_json::from_str::<Value>(&text_of("list.expected.json")).unwrap());
    let found = entries(&review(&["-f", &fixture("list.json"), "-o", "json"]), 0);
    let paths: Vec<_> = found.iter().map(|entry| (&entry["name"], &entry["patch"][0]["path"])).collect();
    let (pod, deployment) = (json!("/spec/containers/0/image"), json!("/spec/template/spec/containers/0/image"));
    assert_eq!(paths, [(&json!("a"), &pod), (&json!("d"), &deployment)], "paths begin at the object");
}

#[test]
fn json_objects_may_follow_each_other() {
    let pod = |image: &str, metadata: &str| {
        format!(
            r#"{{"apiVersion": "v1", "kind": "Pod", {metadata}"spec": {{"containers": [{{"name": "a", "image": "{image}"}}]}}}}"#
        )
    };
    let source = format!("{0}\n{0}\n", pod("nginx", r#""metadata": {"name": "p"}, "#));
    let metadata =
        r#""metadata": {"annotations": {"mirrorgate.dev/original-images": "{\"a\":\"nginx\"}"}, "name": "p"}, "#;
    becomes(&source, &format!("{0}\n{0}\n", pod("harbor.corp:5000/proxy/library/nginx", metadata)));
}

#[test]
fn what_anchors_share_is_rewritten_once() {
    let source = text_of("anchors.yaml");
    let annotation = r#", name: anchors}"#;
    let output = stdout(&review_stdin(&source, &["-f", "-", "-o", "yaml"]), 0);
    assert!(output.contains("image: &image harbor.corp:5000/proxy/library/nginx\n"), "{output}");
    assert!(output.contains("image: *image\n") && output.contains(annotation), "{output}");
    let shared = source.replace("name: c\n", "name: c\n    args: [*image]\n");
    let output = review_stdin(&shared, &["-f", "-", "-o", "yaml"]);
    assert_eq!(stdout(&output, 2), "");
    assert!(stderr(&output).contains("shared by an anchor"), "{output:?}");
    let said = stdout(&review_stdin(&shared, &["-f", "-"]), 0);
    assert!(said.contains("spec.containers[2].image: nginx -> harbor.corp:5000/proxy/library/nginx"), "{said}");
}

#[test]
fn text_is_a_diff_and_a_line_that_sums_up() {
    let name = fixture("pod.yaml");
    let said = stdout(&review(&["-f", &name]), 0);
    assert!(said.starts_with(&format!("--- {name} (as it is)\n+++ {name} (as admitted)\n@@ ")), "{said}");
    assert!(said.contains("-    image:   'nginx:1.27'   # tag\n"), "{said}");
    assert!(said.contains("+    image:   'harbor.corp:5000/proxy/library/nginx:1.27'   # tag\n"), "{said}");
    assert!(said.ends_with("\n\n3 of 4 images rewritten; 2 registries not asked (--probe asks)\n"), "{said}");
    assert!(!said.contains('\u{1b}'), "no colours where there is no terminal");
    let colored = stdout(&review(&["-f", &name, "--color", "always"]), 0);
    assert!(colored.contains("\u{1b}[31m-    image:   'nginx:1.27'   # tag\u{1b}[0m\n"), "{colored}");
    assert_eq!(
        stdout(&review(&["-f", &name, "-q"]), 0),
        said.strip_suffix("\n3 of 4 images rewritten; 2 registries not asked (--probe asks)\n").unwrap()
    );
    let nothing = "apiVersion: v1\nkind: Service\n";
    assert_eq!(stdout(&review_stdin(nothing, &["-f", "-", "-q"]), 0), "");
    assert_eq!(stdout(&review_stdin(nothing, &["-f", "-"]), 0), "nothing to do: no pod and no pod template\n");
    // What cannot be read may have had some.
    assert_eq!(stdout(&review_stdin("kind: [", &["-f", "-"]), 1), "");
}

#[test]
fn folders_stand_for_the_manifests_in_and_below_them() {
    let folder = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let pod = |name: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n");
    put("b.yml", &pod("b"));
    put("a/z.json", r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "z"}}"#);
    put("c.yaml", &format!("{}---\n{}", pod("c0"), pod("c1")));
    put("README.md", "kind: [");
    put(".hidden.yaml", "kind: [");
    put("values.yaml", "image: nginx\n");
    let path = folder.path().display().to_string();
    let found = entries(&review(&["-f", &path, "-o", "json"]), 0);
    let names: Vec<_> =
        found.iter().map(|entry| (entry["name"].as_str().unwrap(), entry["document"].as_u64())).collect();
    assert_eq!(names, [("z", Some(0)), ("b", Some(0)), ("c0", Some(0)), ("c1", Some(1))]);
    assert_eq!(found[0]["source"], format!("{path}/a/z.json"));
    let stream = stdout(&review(&["-f", &path, "-o", "yaml"]), 0);
    assert_eq!(
        stream,
        format!(
            "{}\n---\n{}---\n{}---\n{}---\nimage: nginx\n",
            r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "z"}}"#,
            pod("b"),
            pod("c0"),
            pod("c1")
        )
    );
    let empty = tempfile::tempdir().unwrap();
    let output = review(&["-f", &empty.path().display().to_string()]);
    assert!(stderr(&output).contains("has no *.yaml, *.yml or *.json"), "{output:?}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a3_a_denial_is_exit_1_in_every_form() {
    let source = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, namespace: team}\n\
                  spec: {template: {spec: {containers: [{name: good, image: nginx}, {name: bad, image: -x}]}}}\n";
    let found = entries(&review_stdin(source, &["-f", "-", "-o", "json"]), 1);
    assert_eq!((&found[0]["allowed"], &found[0]["patch"]), (&json!(false), &json!([])));
    let cause = &found[0]["causes"][0];
    assert_eq!(cause["field"], "spec.template.spec.containers[1].image");
    assert_eq!(cause["reason"], "ImageInvalid");
    assert_eq!(found[0]["images"][1]["rewritten"], Value::Null);
    let said = stdout(&review_stdin(source, &["-f", "-"]), 1);
    assert!(said.starts_with("-: Deployment team/d:\n  denied: spec.template.spec.containers[1].image: "), "{said}");
    assert!(said.ends_with("\n1 of 1 object denied; 1 registry not asked (--probe asks)\n"), "{said}");
    let output = review_stdin(source, &["-f", "-", "-o", "yaml"]);
    assert_eq!(stdout(&output, 1), source, "what is denied stays as it is");
    assert!(stderr(&output).contains("denied: -: Deployment team/d: spec.template"), "{output:?}");
    assert_eq!(stdout(&review_stdin(source, &["-f", "-", "-o", "patch"]), 1), "[]\n");
}

#[test]
fn a5_audit_mode_changes_nothing_and_tells_all() {
    let source = "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, image: nginx}, {name: b, image: -x}]}\n";
    let found = entries(&review_stdin(source, &["-f", "-", "-o", "json", "--mode", "audit"]), 0);
    assert_eq!(
        (&found[0]["allowed"], &found[0]["patch"], &found[0]["mode"]),
        (&json!(true), &json!([]), &json!("audit"))
    );
    assert_eq!(found[0]["causes"].as_array().unwrap().len(), 1);
    assert_eq!(found[0]["warnings"].as_array().unwrap().len(), 2);
    let said = stdout(&review_stdin(source, &["-f", "-", "--mode", "audit"]), 0);
    assert!(said.contains("  warning: mirrorgate audit: spec.containers[0].image nginx would become "), "{said}");
    assert!(
        said.ends_with("\n1 of 2 images would be rewritten (audit); 1 registry not asked (--probe asks)\n"),
        "{said}"
    );
    assert_eq!(stdout(&review_stdin(source, &["-f", "-", "-o", "yaml", "--mode", "audit"]), 0), source);
}

#[test]
fn a_namespace_among_the_manifests_says_its_mode() {
    let namespace =
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: team, labels: {mirrorgate.dev/mode: audit}}\n---\n";
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: team}\n";
    let source = format!("{namespace}{pod}");
    for (arguments, expected) in [(&[][..], "audit"), (&["--mode", "enforce"][..], "enforce")] {
        let arguments = [&["-f", "-", "-o", "json"], arguments].concat();
        assert_eq!(entries(&review_stdin(&source, &arguments), 0)[0]["mode"], expected);
    }
    assert_eq!(entries(&review_stdin(pod, &["-f", "-", "-o", "json"]), 0)[0]["mode"], "enforce");
}

#[test]
fn an_admission_review_is_answered_as_by_the_server() {
    let name = fixture("review.json");
    for form in ["text", "yaml"] {
        let said = stdout(&review(&["-f", &name, "-o", form]), 0);
        let end = said.rfind('}').unwrap() + 1;
        let answer: Value = serde_json::from_str(&said[..end]).unwrap();
        assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
        assert_eq!(answer["response"]["uid"], "705ab4f5-6393-11e8-b7cc-42010a800002");
        assert_eq!(answer["response"]["patchType"], "JSONPatch");
    }
    let found = entries(&review(&["-f", &name, "-o", "json"]), 0);
    assert_eq!((&found[0]["name"], &found[0]["namespace"]), (&json!("web"), &json!("team-a")));
    assert_eq!(found[0]["patch"][0]["path"], "/spec/containers/0/image");
    assert_eq!(found[0]["answer"]["response"]["allowed"], true);
    let output = review_stdin("apiVersion: admission.k8s.io/v1\nkind: AdmissionReview\n", &["-f", "-"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("has no `request`"), "{output:?}");
}

#[test]
fn what_cannot_be_read_is_exit_1_and_the_rest_is_reviewed() {
    let folder = tempfile::tempdir().unwrap();
    let (broken, latin1) = (folder.path().join("broken.yaml"), folder.path().join("latin1.yaml"));
    std::fs::write(&broken, "a: 1\nb: c: d\n").unwrap();
    std::fs::write(&latin1, b"a: \xe4\n").unwrap();
    let (broken, latin1, pod) = (broken.display().to_string(), latin1.display().to_string(), fixture("pod.yaml"));
    let output = review(&["-f", &broken, &latin1, &pod, "-o", "json"]);
    let found = entries(&output, 1);
    assert!(found[0]["error"].as_str().unwrap().starts_with("line 2, column 5: mapping values"), "{found:?}");
    assert_eq!(found[1]["error"], "byte 4 is not UTF-8");
    assert_eq!(found[2]["name"], "web");
    assert!(stderr(&output).contains(&format!("error: {broken}: line 2")), "{output:?}");
    let wrong = "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: 7}]}\n";
    let output = review_stdin(wrong, &["-f", "-", "-o", "json"]);
    let found = entries(&output, 1);
    assert!(found[0]["error"].as_str().unwrap().starts_with("not a pod: "), "{found:?}");
    assert!(!found[0]["error"].as_str().unwrap().contains("column"), "{found:?}");
}

#[test]
fn what_is_not_there_is_exit_2() {
    let output = review(&["-f", "no-such-file.yaml"]);
    assert_eq!(stdout(&output, 2), "");
    assert!(stderr(&output).contains("no-such-file.yaml"), "{output:?}");
    let run = |policy: &str| {
        let arguments = ["review", "-f", &fixture("pod.yaml"), "--policy", policy];
        Command::new(env!("CARGO_BIN_EXE_mirrorgate")).args(arguments).output().unwrap()
    };
    stdout(&run("no-such-policy.yaml"), 2);
    let output = run(&fixture("pod.yaml"));
    assert_eq!(stdout(&output, 1), "", "a policy with faults is a finding");
    assert!(!output.stderr.is_empty());
}
