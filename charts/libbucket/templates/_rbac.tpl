{{/* The rules of RBAC, each once. docs/operating.md says what each is for; the tests, that none is too many. */}}

{{/* For claims, and what stands beside them in their namespaces. */}}
{{- define "libbucket.claimRules" -}}
- apiGroups: [objectbucket.io]
  resources: [objectbucketclaims]
  verbs: [get, list, watch, patch]
- apiGroups: [objectbucket.io]
  resources: [objectbucketclaims/status]
  verbs: [patch]
- apiGroups: [objectbucket.io]
  resources: [objectbucketclaims/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, {{ if .Values.watchSecrets }}list, watch, {{ end }}create, patch, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}

{{/* For what no namespace holds. */}}
{{- define "libbucket.clusterRules" -}}
- apiGroups: [objectbucket.io]
  resources: [objectbuckets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [objectbucket.io]
  resources: [objectbuckets/status]
  verbs: [patch]
- apiGroups: [storage.k8s.io]
  resources: [storageclasses]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [namespaces]
  resourceNames: [kube-system]
  verbs: [get]
{{- end }}

{{/* For the Lease by which replicas agree. A name can't be asked for when something is created. */}}
{{- define "libbucket.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "libbucket.leaseName" . | quote }}]
  verbs: [get, update{{ if .Values.sharding }}, patch{{ end }}]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
{{- end }}

{{/* A role with its binding. Takes a dict: top, kind (Role or ClusterRole), name, namespace, rules. */}}
{{- define "libbucket.role" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "libbucket.labels" .top | nindent 4 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "libbucket.labels" .top | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "libbucket.serviceAccount" .top }}
    namespace: {{ .top.Release.Namespace }}
{{- end }}
