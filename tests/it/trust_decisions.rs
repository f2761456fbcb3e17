//! What verdicts on registries do to a pod: rules T1, T5, T6, M9 and M11, from the bytes of a review to its answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use mirrorgate::policy::Policy;
use mirrorgate::review::{
    Mode, PullSecrets, Unknown, UnknownClass, Unreachable, UnreachableClass, Untrusted, Verdict, Verdicts,
};
use mirrorgate::server::wire::{self, Request};
use mirrorgate::trust::{Outcome, Roots, judge};
use serde_json::{Value, json};

use super::review::{patched, review};

const POLICY: &str = r#"
apiVersion: mirrorgate.dev/v1alpha1
kind: Policy
registryMirrors:
  - name: first
    endpoint: https://first.corp:5000/v2/proxy
    hosts: [docker.io, quay.io]
    mirrorSourcePolicy: AllowContactingSource
  - name: second
    endpoint: https://second.corp
    hosts: [docker.io, ghcr.io]
    mirrorSourcePolicy: AllowContactingSource
  - name: third
    endpoint: https://third.corp
    hosts: [ghcr.io]
trust:
  registries: ["*.team.corp", docker.io]
"#;

const FIRST: &str = "first.corp:5000";
const AT_FIRST: &str = "first.corp:5000/proxy/library/nginx:1";
const AT_SECOND: &str = "second.corp/library/nginx:1";

fn policy(more: &str) -> Policy {
    let source = POLICY.replace("trust:\n", &format!("trust:\n{more}"));
    Policy::read(&source).unwrap_or_else(|faults| panic!("{faults}")).policy
}

fn unreachable() -> Verdict {
    Verdict::Unreachable(Unreachable { class: UnreachableClass::TimedOut, why: "no answer within 2s".into() })
}

fn unknown(class: UnknownClass) -> Verdict {
    Verdict::Unknown(Unknown { class, why: "the answer was not there in time".into() })
}

fn untrusted() -> Verdict {
    let chain = [rcgen::generate_simple_self_signed(["first.corp".to_owned()]).unwrap().cert.der().to_vec()];
    let judgement = judge(&chain, &Roots::default(), "first.corp", Timestamp::now());
    let Outcome::Untrusted(rejection) = &judgement.outcome else { panic!("{judgement:?}") };
    Verdict::Untrusted(Arc::new(Untrusted::new(&judgement, rejection)))
}

/// The pod after the answer, the answer, and who was asked, in order. Of whom nothing is given is trusted.
struct Answered {
    images: Vec<String>,
    response: Value,
    asked: Vec<String>,
}

impl Answered {
    fn warnings(&self) -> String {
        self.response["warnings"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn message(&self) -> &str {
        self.response["status"]["message"].as_str().unwrap_or_default()
    }
}

fn answer_to(mode: Mode, policy: &Policy, review: &Value, given: &[(&str, Verdict)]) -> Answered {
    let given: BTreeMap<&str, Verdict> = given.iter().cloned().collect();
    let body = review.to_string();
    let request = Request::parse(&body).unwrap();
    let mut verdicts = Verdicts::default();
    let mut asked = Vec::new();
    let mut routed = request.route(policy);
    if let Some(routed) = &mut routed {
        loop {
            let unasked = routed.settle(&verdicts);
            if unasked.is_empty() {
                break;
            }
            for registry in unasked {
                verdicts.put(&registry, given.get(registry.as_str()).cloned().unwrap_or(Verdict::Trusted));
                asked.push(registry.to_string());
            }
        }
    }
    let plan = request.plan(policy, routed, &verdicts, &PullSecrets::unknown());
    let decision = request.decide(mode, &plan);
    let answer: Value = serde_json::from_str(&wire::answer(&request.uid, &decision)).unwrap();
    let response = answer["response"].clone();
    let pod = patched(&review["request"]["object"], &response);
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let images = containers.filter_map(|container| container["image"].as_str().map(str::to_owned)).collect();
    Answered { images, response, asked }
}

fn pod(images: &[&str]) -> Value {
    let containers: Vec<Value> =
        images.iter().enumerate().map(|(n, image)| json!({"name": format!("c{n}"), "image": image})).collect();
    json!({"metadata": {"name": "web"}, "spec": {"containers": containers}})
}

fn created(policy: &Policy, images: &[&str], given: &[(&str, Verdict)]) -> Answered {
    answer_to(Mode::Enforce, policy, &review("CREATE", "", &pod(images), &Value::Null), given)
}

#[test]
fn t1_the_registries_that_are_really_pulled_from_are_asked_about_once_each() {
    let images = ["nginx:1", "quay.io/a/b", "app.team.corp/x", "app.team.corp/y", "first.corp:5000/z", "other.io/x"];
    let answered = created(&policy(""), &images, &[]);
    assert_eq!(answered.asked, [FIRST, "app.team.corp"]);
    assert_eq!(answered.response["allowed"], true);
    assert_eq!((answered.warnings(), answered.response["auditAnnotations"].get("verdicts")), (String::new(), None));
}

#[test]
fn m9_m10_what_is_not_pulled_or_left_alone_needs_no_trust_and_what_an_owner_stops_does() {
    let policy = Policy::read(&format!(
        "{POLICY}ignore: {{images: [auto, \"app.team.corp/mesh/**\"], registries: [ghcr.io], ownerKinds: [a.io/Db]}}\n"
    ));
    let policy = policy.unwrap_or_else(|faults| panic!("{faults}")).policy;
    let mut never = pod(&["nginx:1", "app.team.corp/x", "auto", "app.team.corp/mesh/proxy"]);
    for container in 0..2 {
        never["spec"]["containers"][container]["imagePullPolicy"] = json!("Never");
    }
    let answered = answer_to(Mode::Enforce, &policy, &review("CREATE", "", &never, &Value::Null), &[]);
    assert_eq!(answered.asked, [""; 0]);

    let mut owned = pod(&["nginx:1"]);
    owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "a.io/v1", "kind": "Db"}]);
    let review = review("CREATE", "", &owned, &Value::Null);
    let answered = answer_to(Mode::Enforce, &policy, &review, &[("docker.io", untrusted())]);
    assert_eq!((answered.asked.concat(), answered.images.concat()), ("docker.io".to_owned(), "nginx:1".to_owned()));
    assert_eq!(answered.response["allowed"], false);
}

#[test]
fn t5_an_untrusted_registry_is_denied_or_warned_of() {
    let given = [(FIRST, untrusted())];
    let denied = created(&policy(""), &["nginx:1", "quay.io/a/b", "other.io/x"], &given);
    assert_eq!((&denied.response["allowed"], &denied.response["status"]["code"]), (&json!(false), &json!(403)));
    let causes = denied.response["status"]["details"]["causes"].as_array().unwrap();
    let of_causes: Vec<_> = causes.iter().map(|cause| (&cause["field"], &cause["reason"])).collect();
    let reason = json!("RegistryUntrusted");
    assert_eq!(
        of_causes,
        [(&json!("spec.containers[0].image"), &reason), (&json!("spec.containers[1].image"), &reason)]
    );
    let warned = created(&policy("  onUntrusted: warn\n"), &["nginx:1"], &given);
    assert_eq!((&warned.response["allowed"], &*warned.images), (&json!(true), &[AT_FIRST.to_owned()][..]));
    assert!(
        warned.warnings().starts_with("mirrorgate: the nodes would refuse first.corp:5000: "),
        "{}",
        warned.warnings()
    );
    let annotation = warned.response["auditAnnotations"]["verdicts"].as_str().unwrap();
    let verdicts: Value = serde_json::from_str(annotation).unwrap();
    assert_eq!(verdicts, json!([{"registry": FIRST, "verdict": "untrusted", "class": "unknown-authority"}]));
}

#[test]
fn t5_unreachable_and_unknown_are_never_trusted_and_the_policy_says_what_they_mean() {
    for verdict in [unreachable(), unknown(UnknownClass::NotAsked), unknown(UnknownClass::CannotJudge)] {
        let given = [("app.team.corp", verdict)];
        let answered = |more| created(&policy(more), &["app.team.corp/x"], &given);
        let warned = answered("");
        assert_eq!(warned.response["allowed"], true);
        assert!(warned.warnings().contains("app.team.corp"), "{}", warned.warnings());
        let denied = answered("  onUnreachable: deny\n");
        assert_eq!(denied.response["status"]["details"]["causes"][0]["reason"], "RegistryUnreachable");
        let allowed = answered("  onUnreachable: allow\n");
        assert_eq!((&allowed.response["allowed"], &*allowed.warnings()), (&json!(true), ""));
        assert!(allowed.response["auditAnnotations"]["verdicts"].is_string());
    }
}

#[test]
fn t5_what_nobody_was_to_be_asked_about_is_no_finding() {
    let body = review("CREATE", "", &pod(&["nginx:1"]), &Value::Null).to_string();
    let request = Request::parse(&body).unwrap();
    let policy = policy("  onUnreachable: deny\n");
    let plan = super::review::plan(&request, &policy, &PullSecrets::unknown());
    assert_eq!(plan.trust.registries[0].verdict.class(), "not-asked");
    let decision = request.decide(Mode::Enforce, &plan);
    assert_eq!((decision.allowed, decision.warnings.len()), (true, 0));
    // Asked, and not answered: that is another thing.
    let plan = request.plan(&policy, request.route(&policy), &Verdicts::default(), &PullSecrets::unknown());
    assert!(!request.decide(Mode::Enforce, &plan).allowed);
}

#[test]
fn t6_a_plain_http_mirror_that_answers_is_no_finding() {
    let given = [(FIRST, unknown(UnknownClass::PlainHttp))];
    let answered = created(&policy("  onUnreachable: deny\n"), &["nginx:1"], &given);
    assert_eq!((&answered.response["allowed"], &*answered.warnings()), (&json!(true), ""));
}

#[test]
fn m11_the_next_mirror_is_taken_where_the_first_is_unreachable() {
    let answered = created(&policy(""), &["nginx:1", "quay.io/a/b"], &[(FIRST, unreachable())]);
    // The source of the second is not one of `trust.registries`: nobody has to ask.
    assert_eq!(answered.asked, [FIRST, "second.corp"]);
    assert_eq!(answered.images, [AT_SECOND, "quay.io/a/b"]);
    assert_eq!(answered.warnings(), "mirrorgate: mirror first is unreachable: quay.io/a/b comes from its source");
    assert_eq!(answered.response["allowed"], true);
}

#[test]
fn m11_when_all_are_the_source_is_kept_where_each_of_them_allows_it_and_must_be_trusted() {
    let down = [(FIRST, unreachable()), ("second.corp", unreachable())];
    let answered = created(&policy(""), &["nginx:1"], &down);
    assert_eq!(
        (answered.asked, answered.images),
        ([FIRST, "second.corp", "docker.io"].map(str::to_owned).to_vec(), vec!["nginx:1".to_owned()],)
    );
    let with_bad_source = [&down[..], &[("docker.io", untrusted())]].concat();
    assert_eq!(created(&policy(""), &["nginx:1"], &with_bad_source).response["allowed"], false);

    // One of them forbids it: the first stays, and is warned of.
    let down = [("second.corp", unreachable()), ("third.corp", unreachable())];
    let answered = created(&policy(""), &["ghcr.io/a/b"], &down);
    assert_eq!(
        (&*answered.asked, &*answered.images),
        (&["second.corp", "third.corp"].map(str::to_owned)[..], &["second.corp/a/b".to_owned()][..],)
    );
    assert!(answered.warnings().contains("nothing can be pulled from second.corp now"), "{}", answered.warnings());
}

#[test]
fn m11_neither_an_untrusted_mirror_nor_one_of_which_nothing_is_known_is_passed_over() {
    for (verdict, allowed) in [(untrusted(), false), (unknown(UnknownClass::NotAsked), true)] {
        let answered = created(&policy(""), &["nginx:1"], &[(FIRST, verdict)]);
        assert_eq!((answered.asked.concat(), &answered.response["allowed"]), (FIRST.to_owned(), &json!(allowed)));
        assert!(!allowed || answered.images == [AT_FIRST]);
    }
}

/// M5: called again after a later webhook, with the mirror back.
#[test]
fn m11_what_fell_back_to_another_mirror_stays_there() {
    let answered = created(&policy(""), &[AT_SECOND], &[]);
    assert_eq!((answered.asked.concat(), answered.images.concat()), ("second.corp".to_owned(), AT_SECOND.to_owned()));
}

#[test]
fn u2_u3_only_what_an_update_changes_must_be_trusted() {
    let (old, new) = (pod(&["app.team.corp/x:1", "nginx:1"]), pod(&["app.team.corp/x:2", "nginx:1"]));
    let answered = answer_to(Mode::Enforce, &policy(""), &review("UPDATE", "", &new, &old), &[]);
    assert_eq!(answered.asked, ["app.team.corp"]);
    let mut debugged = old.clone();
    debugged["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "tools.team.corp/busybox"}]);
    let review = review("UPDATE", "ephemeralcontainers", &debugged, &old);
    let answered = answer_to(Mode::Enforce, &policy(""), &review, &[("tools.team.corp", untrusted())]);
    assert_eq!(answered.asked, ["tools.team.corp"]);
    assert!(answered.message().starts_with("spec.ephemeralContainers[0].image: "), "{}", answered.message());
}

#[test]
fn a5_audit_mode_says_the_same_and_denies_nothing() {
    let review = review("CREATE", "", &pod(&["nginx:1", "app.team.corp/x"]), &Value::Null);
    let given = [(FIRST, untrusted()), ("app.team.corp", unreachable())];
    let answered = answer_to(Mode::Audit, &policy(""), &review, &given);
    assert_eq!((&answered.response["allowed"], answered.response.get("patch")), (&json!(true), None));
    let warnings = answered.warnings();
    let denied = "mirrorgate audit: spec.containers[0].image would be denied: container c0: the nodes would refuse";
    assert!(
        warnings.starts_with(denied) && warnings.contains("nothing can be pulled from app.team.corp now"),
        "{warnings}"
    );
    let annotations = &answered.response["auditAnnotations"];
    let told = annotations["denied"].as_str().unwrap();
    assert!(
        told.contains("spec.containers[0].image: ") && told.contains("additionalTrustedCAs")
            || told.contains("caBundle"),
        "{told}"
    );
    assert_eq!(annotations["decision"], "deny");
    assert!(annotations["verdicts"].as_str().unwrap().contains("timed-out"));
}
