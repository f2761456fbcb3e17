{{/*
The objects are those of manifests/base and manifests/components: `files` has copies of them, which a test keeps (UPDATE=1 cargo test
--test it chart). What is here only puts in the values. `helm template` makes the same as `kubectl kustomize`, which tests/manifests holds.
*/}}

{{/* A file, for the namespace of the release. */}}
{{- define "mirrorgate.file" -}}
{{- $text := required (printf "the chart is not whole: files/%s is missing" .file) (.root.Files.Get (printf "files/%s" .file)) -}}
{{- $namespace := .root.Release.Namespace -}}
{{- if has $namespace (list "default" "kube-system" "kube-node-lease" "kube-public") -}}
{{- fail (printf "mirrorgate needs a namespace of its own, as its webhooks leave out the one that it is in; not %s: --namespace mirrorgate-system --create-namespace" $namespace) -}}
{{- end -}}
{{- replace "mirrorgate-system" $namespace $text -}}
{{- end -}}

{{/* An object, with the labels of the release. */}}
{{- define "mirrorgate.object" -}}
{{- $release := dict "app.kubernetes.io/instance" .root.Release.Name "app.kubernetes.io/managed-by" .root.Release.Service "helm.sh/chart" (printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_")) -}}
{{- $labels := merge (dict) (.object.metadata.labels | default dict) (.labels | default dict) .root.Values.labels $release -}}
{{- $_ := set .object.metadata "labels" $labels }}
---
{{ toYaml .object }}
{{- end -}}

{{/* Every object of a file. */}}
{{- define "mirrorgate.objects" -}}
{{- $call := . -}}
{{- range splitList "\n---\n" (include "mirrorgate.file" .) -}}
{{- include "mirrorgate.object" (dict "object" (fromYaml .) "labels" $call.labels "root" $call.root) }}
{{- end -}}
{{- end -}}

{{/* Refuses a policy that mirrorgate would refuse, where the chart has to read it: what it is of, the kind that it must be, the value. */}}
{{- define "mirrorgate.is" -}}
{{- $of := index . 0 -}}{{- $kind := index . 1 -}}{{- $value := index . 2 -}}
{{- if not (or (kindIs "invalid" $value) (kindIs $kind $value)) -}}
{{- fail (printf "the policy is faulty: %s must be a %s; `mirrorgate check` shows every fault with its line" $of (ternary "list" "map" (eq $kind "slice"))) -}}
{{- end -}}
{{- end -}}

{{/* The policy as a text. */}}
{{- define "mirrorgate.policy" -}}
{{- if not .Values.policy -}}
{{- if .Release.IsUpgrade -}}
{{- $there := lookup "v1" "ConfigMap" .Release.Namespace "mirrorgate-policy" -}}
{{- dig "data" "policy.yaml" "" $there | required "the policy is missing, and the example would take the place of yours: --set-file policy=policy.yaml" -}}
{{- else -}}
{{- required "the chart is not whole: files/policy.yaml is missing" (.Files.Get "files/policy.yaml") -}}
{{- end -}}
{{- else if kindIs "string" .Values.policy -}}
{{- .Values.policy -}}
{{- else -}}
{{- toYaml .Values.policy -}}
{{- end -}}
{{- end -}}
