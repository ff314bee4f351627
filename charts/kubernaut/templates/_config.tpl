{{/*
The configuration of Data Storage. Addresses and passwords come by environment.
*/}}
{{- define "kubernaut.datastorageConfig" -}}
auth: kubernetes
{{- end -}}

{{/*
The configuration of the controller.
*/}}
{{- define "kubernaut.controllerConfig" -}}
{}
{{- end -}}
