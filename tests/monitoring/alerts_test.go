package main

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"sigs.k8s.io/yaml"
)

// rules are those of the manifests, as Prometheus reads them; their templates are parsed too.
func rules(t *testing.T) map[string]rulefmt.Rule {
	t.Helper()
	text, err := os.ReadFile("../../manifests/components/monitoring/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var object struct{ Spec any }
	if err := yaml.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	spec, err := yaml.Marshal(object.Spec)
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(spec, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if groups == nil {
		t.FailNow()
	}
	found := map[string]rulefmt.Rule{}
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			found[rule.Alert] = rule
		}
	}
	return found
}

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	for name, rule := range rules(t) {
		for _, wanted := range []string{"summary", "description", "action"} {
			if rule.Annotations[wanted] == "" {
				t.Errorf("%s has no %s", name, wanted)
			}
		}
		if severity := rule.Labels["severity"]; severity != "warning" && severity != "critical" {
			t.Errorf("%s is of severity %q", name, severity)
		}
	}
}

// Each alert over a day of two replicas: quiet while all is well, and fired within its time by what it is for.
func TestAlerts(t *testing.T) {
	const replica = `mirrorgate_ready{pod="a"} %[1]s
		mirrorgate_ready{pod="b"} %[2]s`
	denied := `mirrorgate_admission_requests_total{mode="enforce",operation="CREATE",result="denied",pod="a"} `
	patched := `mirrorgate_admission_requests_total{mode="enforce",operation="CREATE",result="patched",pod="a"} `
	failed := `mirrorgate_admission_requests_total{mode="enforce",operation="CREATE",result="error",pod="a"} `
	expiry := func(days float64) string {
		return fmt.Sprintf(`mirrorgate_certificate_expiry_timestamp_seconds{pod="a"} %.0fx360
		mirrorgate_certificate_expiry_timestamp_seconds{pod="b"} 0x360`, (6*time.Hour).Seconds()+days*86400)
	}
	tried := map[string]bool{}
	for _, of := range []struct {
		alert, quiet, fired string
	}{
		{"MirrorgateNoReplicaReady", fmt.Sprintf(replica, "0x360", "1x360"), fmt.Sprintf(replica, "0x360", "1x300 0x60")},
		{"MirrorgateNoReplicaReady", fmt.Sprintf(replica, "1x360", "1x360"), `up{job="x"} 1x360`},
		{"MirrorgateNotReached",
			`apiserver_admission_webhook_rejection_count{name="enforce.mirrorgate.dev",type="admit",error_type="no_error",rejection_code="403"} 0+5x360
			apiserver_admission_webhook_rejection_count{name="other.example",type="admit",error_type="calling_webhook_error",rejection_code="0"} 0+5x360
			apiserver_admission_webhook_rejection_count{name="enforce.mirrorgate.dev",type="admit",error_type="calling_webhook_error",rejection_code="0"} 0x100 3x260`,
			`apiserver_admission_webhook_rejection_count{name="enforce.mirrorgate.dev",type="admit",error_type="calling_webhook_error",rejection_code="0"} 0x350 0+1x10`},
		{"MirrorgatePassedUnseen",
			`apiserver_admission_webhook_fail_open_count{name="other.example",type="admit"} 0+1x360`,
			`apiserver_admission_webhook_fail_open_count{name="audit.mirrorgate.dev",type="admit"} 0+1x360`},
		{"MirrorgateReplicaNotReady", fmt.Sprintf(replica, "1x360", "1x355 0x5"), fmt.Sprintf(replica, "1x360", "1x300 0x60")},
		{"MirrorgateReplicasMissing",
			`kube_deployment_status_replicas_unavailable{deployment="mirrorgate",namespace="x"} 0x350 1x10
			kube_deployment_status_replicas_unavailable{deployment="other",namespace="x"} 1x360`,
			`kube_deployment_status_replicas_unavailable{deployment="mirrorgate",namespace="x"} 0x340 1x20`},
		{"MirrorgatePolicyFaulty", `mirrorgate_policy_errors{pod="a"} 0x360`, `mirrorgate_policy_errors{pod="a"} 0x300 2x60`},
		{"MirrorgatePoliciesDiffer",
			`mirrorgate_policy_info{pod="a",sha256="x",generation="7"} 1x360
			mirrorgate_policy_info{pod="b",sha256="x",generation="2"} 1x360`,
			`mirrorgate_policy_info{pod="a",sha256="x",generation="7"} 1x360
			mirrorgate_policy_info{pod="b",sha256="y",generation="8"} 1x360`},
		{"MirrorgateWatchDown", `mirrorgate_watch_up{pod="a",resource="secrets"} 1x355 0x5`, `mirrorgate_watch_up{pod="a",resource="secrets"} 1x300 0x60`},
		{"MirrorgateCertificateExpiring", expiry(30), expiry(13.5)},
		{"MirrorgateCertificateEnding", expiry(13.5), expiry(1.5)},
		{"MirrorgateCertificateEnding", expiry(2.5), expiry(-0.1)},
		{"MirrorgateCertificateUnusable", `mirrorgate_certificate_errors{pod="a"} 0x360`, `mirrorgate_certificate_errors{pod="a"} 0x300 1x60`},
		{"MirrorgateCaBundleErrors", `mirrorgate_ca_bundle_errors{pod="a"} 0x360`, `mirrorgate_ca_bundle_errors{pod="a"} 1x360`},
		{"MirrorgateReviewErrors", patched + "0+1000x360\n" + failed + "0+5x360", patched + "0+1000x360\n" + failed + "0+50x360"},
		{"MirrorgateReviewErrors", patched + "0x360", failed + "0+1x360"},
		{"MirrorgateReviewsSlow",
			`mirrorgate_admission_duration_seconds_bucket{mode="audit",le="0.5"} 0+100x360
			mirrorgate_admission_duration_seconds_bucket{mode="audit",le="+Inf"} 0+100x360`,
			`mirrorgate_admission_duration_seconds_bucket{mode="audit",le="1.0"} 0+90x360
			mirrorgate_admission_duration_seconds_bucket{mode="audit",le="2.5"} 0+100x360
			mirrorgate_admission_duration_seconds_bucket{mode="audit",le="+Inf"} 0+100x360`},
		{"MirrorgateRegistriesUntrusted",
			`mirrorgate_probes_total{verdict="untrusted",class="expired",pod="a"} 0+1x60 60x300`,
			`mirrorgate_probes_total{verdict="untrusted",class="expired",pod="a"} 0+1x360`},
		// Twice, nine minutes from each other; and every four minutes.
		{"MirrorgateRegistriesUntrusted",
			`mirrorgate_probes_total{verdict="untrusted",class="expired",pod="a"} 0x343 1x8 2x7`,
			`mirrorgate_probes_total{verdict="untrusted",class="expired",pod="a"} 0x340 1x3 2x3 3x3 4x3 5x3`},
		{"MirrorgateRegistriesUnreachable",
			`mirrorgate_probes_total{verdict="trusted",class="ok",pod="a"} 0+1x360`,
			`mirrorgate_probes_total{verdict="unreachable",class="timed-out",pod="a"} 0+1x360`},
		// Twice, nine minutes from each other; and every four minutes.
		{"MirrorgateRegistriesUnreachable",
			`mirrorgate_probes_total{verdict="unreachable",class="timed-out",pod="a"} 0x343 1x8 2x7`,
			`mirrorgate_probes_total{verdict="unreachable",class="timed-out",pod="a"} 0x340 1x3 2x3 3x3 4x3 5x3`},
		{"MirrorgatePullSecretsUnfit",
			`mirrorgate_pull_secrets_total{state="covers",pod="a"} 0+1x360`,
			`mirrorgate_pull_secrets_total{state="missing",pod="a"} 0+1x360`},
		{"MirrorgateDenialsSurge", denied + "0+10x360", denied + "0+1x340 360+50x20"},
		{"MirrorgateDenialsSurge", denied + "0x340 0+1x20", denied + "0x340 0+50x20"},
	} {
		rule, ok := rules(t)[of.alert]
		if !ok {
			t.Errorf("there is no %s", of.alert)
			continue
		}
		tried[of.alert] = true
		for name, series := range map[string]string{"quiet": of.quiet, "fired": of.fired} {
			t.Run(of.alert+"/"+name, func(t *testing.T) {
				if fired := fires(t, rule, series); fired != (name == "fired") {
					t.Errorf("fires: %v, with\n%s\nfor %s", fired, rule.Expr, series)
				}
			})
		}
	}
	for alert := range rules(t) {
		if !tried[alert] {
			t.Errorf("%s is not tried", alert)
		}
	}
}

// fires says whether an alert fires at the end of six hours: its expression held at each minute of its `for`.
func fires(t *testing.T, rule rulefmt.Rule, series string) bool {
	t.Helper()
	storage := promqltest.LoadedStorage(t, "load 1m\n\t"+strings.ReplaceAll(series, "\n", "\n\t"))
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, 1_000_000)
	end := time.Unix(0, 0).Add(6 * time.Hour)
	for at := end.Add(-time.Duration(rule.For)); !at.After(end); at = at.Add(time.Minute) {
		query, err := engine.NewInstantQuery(t.Context(), storage, nil, rule.Expr, at)
		if err != nil {
			t.Fatal(err)
		}
		result := query.Exec(t.Context())
		vector, err := result.Vector()
		if err != nil {
			t.Fatal(err)
		}
		held := len(vector) > 0
		query.Close()
		if !held {
			return false
		}
	}
	return true
}
