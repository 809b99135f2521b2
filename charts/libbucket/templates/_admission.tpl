{{/*
Whether the chart makes the admission policy; "" if not. `auto` follows the cluster: the kind is there since Kubernetes
1.30. A plain rendering asks no cluster and knows of no kinds at all: then the Kubernetes version that it is for decides.
*/}}
{{- define "libbucket.hasAdmissionPolicy" -}}
{{- $enabled := .Values.admissionPolicy.enabled | toString -}}
{{- if not .Values.rbac.clusterScope -}}
{{- else if ne $enabled "auto" -}}
{{- if eq $enabled "true" }}yes{{ end -}}
{{- else if .Capabilities.APIVersions.Has "apps/v1/Deployment" -}}
{{- if .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy" }}yes{{ end -}}
{{- else if semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version -}}
yes
{{- end -}}
{{- end }}

{{/*
What RBAC cannot express: of all Secrets and ConfigMaps, the provisioner writes those of claims only. The condition
exempts all other users: if the policy cannot be evaluated, the provisioner alone is refused.
*/}}
{{- define "libbucket.admissionPolicy" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ include "libbucket.clusterName" . }}
  labels:
    {{- include "libbucket.labels" . | nindent 4 }}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - apiGroups: [""]
        apiVersions: ["*"]
        # A patch is an UPDATE.
        operations: [CREATE, UPDATE, DELETE]
        resources: [secrets, configmaps]
  matchConditions:
    - name: is-the-provisioner
      expression: >-
        has(request.userInfo.username) && request.userInfo.username ==
        {{ printf "system:serviceaccount:%s:%s" .Release.Namespace (include "libbucket.serviceAccount" .) | quote }}
  variables:
    # As it is to be, and as it is: a deletion has no first, a creation no second.
    - name: versions
      expression: "[object, oldObject].filter(version, version != null)"
  validations:
    # Both versions, so that an object of others is neither taken nor one of a claim given away.
    - expression: >-
        variables.versions.all(version, has(version.metadata.ownerReferences) &&
        version.metadata.ownerReferences.exists(owner, has(owner.controller) && owner.controller &&
        owner.kind == "ObjectBucketClaim" && owner.apiVersion.startsWith("objectbucket.io/")))
      message: >-
        the provisioner of buckets may write only Secrets and ConfigMaps whose controller is an ObjectBucketClaim
        (metadata.ownerReferences)
      reason: Forbidden
    # Kubernetes itself fills other types in: a token of any service account, for one. A ConfigMap has no type.
    - expression: object == null || !has(dyn(object).type) || dyn(object).type == "Opaque"
      message: the provisioner of buckets may write only Secrets of type Opaque (type)
      reason: Forbidden
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ include "libbucket.clusterName" . }}
  labels:
    {{- include "libbucket.labels" . | nindent 4 }}
spec:
  policyName: {{ include "libbucket.clusterName" . }}
  validationActions: [Deny]
{{- end }}
