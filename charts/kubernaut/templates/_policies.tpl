{{/*
Whether the API server has MutatingAdmissionPolicies; "true" or nothing. Who
wants identity on an older one is refused.
*/}}
{{- define "kubernaut.policiesServed" -}}
{{- $served := semverCompare ">=1.36.0-0" .Capabilities.KubeVersion.Version -}}
{{- if and .Values.identity.enabled (not $served) -}}
{{- fail (printf "Kubernetes %s has no MutatingAdmissionPolicies, by which the API server stamps who created or cancelled an execution: upgrade it to 1.36, or install with identity.enabled=false and trust what clients say" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- if $served }}true{{ end -}}
{{- end -}}

{{/*
The head of an admission object, which has no namespace.
(list . "MutatingAdmissionPolicy" "kubernaut-created-by")
*/}}
{{- define "kubernaut.policyHead" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: {{ index . 1 }}
metadata:
  name: {{ index . 2 }}
  labels:
    {{- include "kubernaut.labels" (list (index . 0) "policies") | nindent 4 }}
{{- end -}}

{{/*
The binding that puts a mutating policy into force everywhere it matches.
(list . "kubernaut-created-by")
*/}}
{{- define "kubernaut.mutatingBinding" -}}
{{ include "kubernaut.policyHead" (list (index . 0) "MutatingAdmissionPolicyBinding" (index . 1)) }}
spec:
  policyName: {{ index . 1 }}
{{- end -}}

{{- define "kubernaut.validatingBinding" -}}
{{ include "kubernaut.policyHead" (list (index . 0) "ValidatingAdmissionPolicyBinding" (index . 1)) }}
spec:
  policyName: {{ index . 1 }}
  validationActions: [Deny]
{{- end -}}

{{/*
What a policy is about: one kind of ours, at these operations.
(list "workflowexecutions" "CREATE")
*/}}
{{- define "kubernaut.matchOwn" -}}
matchConstraints:
  resourceRules:
    - apiGroups: [kubernaut.ai]
      apiVersions: ["*"]
      resources: [{{ index . 0 }}]
      operations: [{{ rest . | join ", " }}]
{{- end -}}
