//! The overlays and components, and what others make of them.

use serde_json::json;

use crate::objects::{kustomized, named};

const NAMESPACE: &str = "mirrorgate-system";

/// Where cert-manager puts the certificate is where mirrorgate looks, for the name by which the API server calls, and what its injector is
/// pointed at is that certificate.
#[test]
fn the_certificate_of_cert_manager_is_the_one_that_is_served() {
    let objects = kustomized("overlays/cert-manager");
    let certificate = named(&objects, "Certificate", "mirrorgate-serving");
    assert_eq!(certificate["metadata"]["namespace"], NAMESPACE);
    assert_eq!(certificate["spec"]["secretName"], "mirrorgate-serving");
    assert!(certificate["spec"]["usages"].as_array().unwrap().contains(&json!("server auth")), "{certificate:#}");
    let names = certificate["spec"]["dnsNames"].as_array().unwrap();
    let mut configurations = 0;
    for object in objects.iter().filter(|object| object.kind().ends_with("WebhookConfiguration")) {
        configurations += 1;
        let injected = &object.0["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
        assert_eq!(injected, &format!("{NAMESPACE}/mirrorgate-serving"), "{object}");
        for webhook in object.0["webhooks"].as_array().unwrap() {
            let service = &webhook["clientConfig"]["service"];
            let name = format!("{}.{}.svc", service["name"].as_str().unwrap(), service["namespace"].as_str().unwrap());
            assert!(names.contains(&json!(name)), "{name} is not in {names:?}");
        }
    }
    assert!(configurations > 0);
    // The leaf is signed by the CA, which signs itself.
    let issuer =
        |of: &serde_json::Value| named(&objects, "Issuer", of["spec"]["issuerRef"]["name"].as_str().unwrap()).clone();
    let ca = named(&objects, "Certificate", "mirrorgate-ca");
    assert_eq!(issuer(certificate)["spec"]["ca"]["secretName"], ca["spec"]["secretName"]);
    assert_eq!(issuer(ca)["spec"], json!({"selfSigned": {}}));
    assert_eq!((&ca["spec"]["isCA"], &ca["spec"]["privateKey"]["rotationPolicy"]), (&json!(true), &json!("Never")));
}

#[test]
fn an_overlay_says_whose_the_certificate_is_and_changes_nothing_else_of_the_base() {
    let base = kustomized("base");
    for way in ["cert-manager", "own"] {
        let overlay = kustomized(if way == "own" { "overlays/own-certificate" } else { "overlays/cert-manager" });
        for object in &base {
            let mut expected = object.0.clone();
            if object.kind() == "Deployment" {
                let arguments = &mut expected["spec"]["template"]["spec"]["containers"][0]["args"];
                arguments.as_array_mut().unwrap().push(json!(format!("--serving-certificate={way}")));
            }
            let mut found = named(&overlay, object.kind(), object.name()).clone();
            found["metadata"].as_object_mut().unwrap().remove("annotations");
            assert_eq!(found, expected, "{way}: {object}");
        }
    }
}
