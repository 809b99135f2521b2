{{/* Names, labels, and what is known of the backend. */}}

{{- define "libbucket.backend" -}}
{{- get (.Files.Get "files/backends.yaml" | fromYaml) .Values.backend | default (dict "ports" (list 443)) | toJson -}}
{{- end }}

{{- define "libbucket.program" -}}
{{ eq .Values.backend "other" | ternary (base .Values.image.repository) (printf "%s-provisioner" .Values.backend) }}
{{- end }}

{{- define "libbucket.fullname" -}}
{{ .Values.fullnameOverride | default .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* Objects of the cluster carry the namespace in their names: two releases may have the same one. */}}
{{- define "libbucket.clusterName" -}}
{{ include "libbucket.fullname" . }}-{{ .Release.Namespace }}
{{- end }}

{{- define "libbucket.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "libbucket.fullname" .) }}
{{- end }}

{{- define "libbucket.provisionerName" -}}
{{ .Values.provisionerName | default (include "libbucket.backend" . | fromJson).provisionerName }}
{{- end }}

{{/* As the provisioner names it (`_lease_name` in libbucket): a provisioner's name may hold what a Lease's can't. */}}
{{- define "libbucket.leaseName" -}}
{{ regexReplaceAll "[.-]*[.][.-]*" (regexReplaceAll "[^a-z0-9.-]+" (printf "libbucket-%s" (include "libbucket.provisionerName" .) | lower) "-") "." | trunc 253 }}
{{- end }}

{{- define "libbucket.selectorLabels" -}}
app.kubernetes.io/name: {{ include "libbucket.program" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "libbucket.labels" -}}
{{ include "libbucket.selectorLabels" . }}
app.kubernetes.io/component: provisioner
app.kubernetes.io/part-of: libbucket
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "libbucket.image" -}}
{{- $image := .Values.image -}}
{{- $tag := $image.tag -}}
{{- if not (or $tag $image.digest) -}}
{{- $tag = (include "libbucket.backend" . | fromJson).tag -}}
{{- end -}}
{{ $image.registry }}/{{ $image.repository | default (include "libbucket.program" .) }}
{{- with $tag }}:{{ . }}{{ end }}
{{- with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "libbucket.serviceAccountAnnotations" -}}
{{- $identity := .Values.workloadIdentity -}}
{{- $made := dict -}}
{{- with $identity.aws.roleArn }}{{ $_ := set $made "eks.amazonaws.com/role-arn" . }}{{ end -}}
{{- with $identity.gcp.serviceAccount }}{{ $_ := set $made "iam.gke.io/gcp-service-account" . }}{{ end -}}
{{- with $identity.azure.clientId }}{{ $_ := set $made "azure.workload.identity/client-id" . }}{{ end -}}
{{- with $identity.azure.tenantId }}{{ $_ := set $made "azure.workload.identity/tenant-id" . }}{{ end -}}
{{- merge $made .Values.serviceAccount.annotations | toYaml -}}
{{- end }}

{{/* The flags that values set, in the order of the program's own help. */}}
{{- define "libbucket.arguments" -}}
{{- with .Values.provisionerName }}
- --provisioner-name={{ . }}
{{- end }}
{{- range .Values.namespaces }}
- --namespace={{ . }}
{{- end }}
{{- range .Values.adminSecretNamespaces }}
- --admin-secret-namespace={{ . }}
{{- end }}
{{- if not .Values.watchSecrets }}
- --watch-secrets=false
{{- end }}
- --workers={{ .Values.workers }}
- --leader-elect={{ .Values.leaderElection }}
{{- if .Values.sharding }}
- --sharding
{{- end }}
- --bind-address=:8080
- --allow-additional-config={{ join "," .Values.allowAdditionalConfig }}
- --resync-interval={{ .Values.resyncInterval }}
- --repair-interval={{ .Values.repairInterval }}
- --log-format={{ .Values.logFormat }}
- -v={{ .Values.verbosity }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What Prometheus calls the targets of this release. */}}
{{- define "libbucket.metricLabels" -}}
namespace="{{ .Release.Namespace }}",job="{{ include "libbucket.fullname" . }}"
{{- end }}
