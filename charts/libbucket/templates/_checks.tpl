{{/* Contradictory values: one sentence each. The values themselves are checked by values.schema.json. */}}
{{- define "libbucket.checks" -}}
{{- include "libbucket.checkImage" . -}}
{{- include "libbucket.checkOther" . -}}
{{- include "libbucket.checkReplicas" . -}}
{{- include "libbucket.checkRights" . -}}
{{- include "libbucket.checkAdminSecrets" . -}}
{{- include "libbucket.checkAdmissionPolicy" . -}}
{{- include "libbucket.checkUser" . -}}
{{- include "libbucket.checkIdentity" . -}}
{{- include "libbucket.checkArguments" . -}}
{{- include "libbucket.checkClass" . -}}
{{- include "libbucket.checkStorePort" . -}}
{{- include "libbucket.checkCrds" . -}}
{{- end }}

{{- define "libbucket.checkImage" -}}
{{- if not .Values.image.registry }}
{{- fail "image.registry is required: where the images are, such as registry.example.com/buckets" }}
{{- end }}
{{- end }}

{{- define "libbucket.checkOther" -}}
{{- if eq .Values.backend "other" }}
{{- if not .Values.provisionerName }}
{{- fail "backend: other needs provisionerName: which StorageClasses are served, such as store.example.com/bucket" }}
{{- end }}
{{- if not .Values.image.repository }}
{{- fail "backend: other needs image.repository: the name of your image in the registry" }}
{{- end }}
{{- if not (or .Values.image.tag .Values.image.digest) }}
{{- fail "backend: other needs image.tag or image.digest: the chart knows the versions of its own backends only" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "libbucket.checkReplicas" -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.leaderElection) }}
{{- fail (printf "leaderElection: false goes with replicas: 1 only, not with %d: several would work on one claim at once" (int .Values.replicas)) }}
{{- end }}
{{- if and .Values.sharding (not .Values.leaderElection) }}
{{- fail "sharding: true needs leaderElection: true, by which replicas agree on what each serves" }}
{{- end }}
{{- end }}

{{- define "libbucket.checkRights" -}}
{{- if and .Values.adminSecrets (not .Values.namespaces) }}
{{- fail "adminSecrets limits nothing without namespaces: a release for the whole cluster reads every Secret; set namespaces, or leave adminSecrets out" }}
{{- end }}
{{- if and .Values.rbac.create (not .Values.rbac.clusterScope) (not .Values.namespaces) }}
{{- fail "rbac.clusterScope: false needs namespaces: claims of the whole cluster can't be served with Roles alone" }}
{{- end }}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) }}
{{- fail "serviceAccount.create: false needs serviceAccount.name: else the namespace's default account would get the permissions" }}
{{- end }}
{{- end }}

{{- define "libbucket.checkAdminSecrets" -}}
{{- $allowed := .Values.adminSecretNamespaces }}
{{- range .Values.adminSecrets }}
{{- if and $allowed (not (has .namespace $allowed)) }}
{{- fail (printf "adminSecrets names namespace %s, which adminSecretNamespaces does not have: no class could use that Secret" .namespace) }}
{{- end }}
{{- end }}
{{- $class := .Values.exampleClass }}
{{- $named := get $class.parameters "secretNamespace" }}
{{- if and $class.create $allowed $named (not (has $named $allowed)) }}
{{- fail (printf "exampleClass.parameters.secretNamespace: %s is not in adminSecretNamespaces: the class would be refused" $named) }}
{{- end }}
{{- end }}

{{- define "libbucket.checkAdmissionPolicy" -}}
{{- if eq (toString .Values.admissionPolicy.enabled) "true" }}
{{- if not .Values.rbac.clusterScope }}
{{- fail "admissionPolicy.enabled: true needs rbac.clusterScope: true: the policy is cluster-scoped; leave it at auto, and let an administrator create it" }}
{{- end }}
{{- if and (.Capabilities.APIVersions.Has "apps/v1/Deployment") (not (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy")) }}
{{- fail "admissionPolicy.enabled: true needs ValidatingAdmissionPolicy, which this cluster does not have: Kubernetes has it since 1.30" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "libbucket.checkUser" -}}
{{- $pod := .Values.podSecurityContext }}
{{- if and $pod.runAsNonRoot (hasKey $pod "runAsUser") (eq (int $pod.runAsUser) 0) }}
{{- fail "podSecurityContext.runAsUser: 0 is root, which runAsNonRoot: true forbids: no pod would start" }}
{{- end }}
{{- end }}

{{- define "libbucket.checkIdentity" -}}
{{- $identity := .Values.workloadIdentity }}
{{- $given := list
  (list "workloadIdentity.aws.roleArn" "aws-s3" $identity.aws.roleArn)
  (list "workloadIdentity.gcp.serviceAccount" "gcs" $identity.gcp.serviceAccount)
  (list "workloadIdentity.azure.clientId" "azure" $identity.azure.clientId)
  (list "workloadIdentity.azure.tenantId" "azure" $identity.azure.tenantId) }}
{{- $account := .Values.serviceAccount }}
{{- range $given }}
{{- if and (last .) (ne (index . 1) $.Values.backend) }}
{{- fail (printf "%s is for backend %s, and the backend is %s" (first .) (index . 1) $.Values.backend) }}
{{- end }}
{{- if and (last .) (not $account.create) }}
{{- fail (printf "%s needs serviceAccount.create: true: service account %s is not this chart's to annotate" (first .) $account.name) }}
{{- end }}
{{- end }}
{{- if and $identity.azure.tenantId (not $identity.azure.clientId) }}
{{- fail "workloadIdentity.azure.tenantId needs workloadIdentity.azure.clientId: a tenant id alone is no identity" }}
{{- end }}
{{- end }}

{{- define "libbucket.checkArguments" -}}
{{- $values := dict
  "--provisioner-name" "provisionerName" "--namespace" "namespaces" "--workers" "workers"
  "--admin-secret-namespace" "adminSecretNamespaces" "--watch-secrets" "watchSecrets"
  "--leader-elect" "leaderElection" "--sharding" "sharding" "--allow-additional-config" "allowAdditionalConfig"
  "--resync-interval" "resyncInterval" "--repair-interval" "repairInterval" "--log-format" "logFormat"
  "-v" "verbosity" "--v" "verbosity" }}
{{- range .Values.extraArgs }}
{{- $flag := first (splitList "=" .) }}
{{- with get $values $flag }}
{{- fail (printf "extraArgs must not have %s: set value %s instead" $flag .) }}
{{- end }}
{{- if eq $flag "--bind-address" }}
{{- fail "extraArgs must not have --bind-address: probes and metrics need the port that the chart sets" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "libbucket.checkClass" -}}
{{- if and .Values.exampleClass.create (eq .Values.backend "minio") }}
{{- range list "endpoint" "secretName" "secretNamespace" }}
{{- if not (get $.Values.exampleClass.parameters .) }}
{{- fail (printf "exampleClass.parameters.%s is required for backend minio" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The usual ports of a store are permitted; another one would be a timeout without a hint to the NetworkPolicy. */}}
{{- define "libbucket.checkStorePort" -}}
{{- $ports := list }}
{{- range .Values.networkPolicy.store.ports | default (include "libbucket.backend" . | fromJson).ports }}
{{- $ports = append $ports (toString .) }}
{{- end }}
{{- $endpoint := get .Values.exampleClass.parameters "endpoint" | default "" }}
{{- $port := regexFind "^[a-z]+://[^/]+" $endpoint | regexFind ":[0-9]+$" | trimPrefix ":" }}
{{- if and .Values.networkPolicy.enabled .Values.exampleClass.create $port (not (has $port $ports)) }}
{{- fail (printf "exampleClass.parameters.endpoint has port %s, which the NetworkPolicy does not permit: add it to networkPolicy.store.ports" $port) }}
{{- end }}
{{- end }}

{{/* Needs a cluster: has no effect in a plain rendering. */}}
{{- define "libbucket.checkCrds" -}}
{{- if .Values.crds.install }}
{{- range $path, $_ := .Files.Glob "files/crds/*.yaml" }}
{{- $name := ($.Files.Get $path | fromYaml).metadata.name }}
{{- with lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" $name }}
{{- $annotations := .metadata.annotations | default dict }}
{{- $owner := printf "%s/%s" (get $annotations "meta.helm.sh/release-namespace") (get $annotations "meta.helm.sh/release-name") }}
{{- if ne $owner (printf "%s/%s" $.Release.Namespace $.Release.Name) }}
{{- fail (printf "the CRD %s exists already and does not belong to this release: set crds.install: false to keep it" $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
