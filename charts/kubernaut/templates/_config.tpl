{{/*
The configuration of Data Storage. Addresses and passwords come by environment.
*/}}
{{- define "kubernaut.datastorageConfig" -}}
{{- $tls := dict "certFile" "/etc/kubernaut/tls/tls.crt" "keyFile" "/etc/kubernaut/tls/tls.key" -}}
{{- $catalog := dict "verifyBundles" .Values.datastorage.catalog.verifyBundles "registryCAFile" "/etc/kubernaut/registries/ca.crt" -}}
{{- if include "kubernaut.registryLogins" . }}{{ $_ := set $catalog "dockerConfigFile" "/etc/kubernaut/logins/.dockerconfigjson" }}{{ end -}}
{{- $own := dict "auth" "kubernetes" "tls" $tls "catalog" $catalog "redis" (dict "capacity" (int .Values.redis.capacity)) -}}
{{- mergeOverwrite $own (deepCopy .Values.datastorage.config) | toYaml -}}
{{- end -}}

{{/*
The configuration of the controller.
*/}}
{{- define "kubernaut.controllerConfig" -}}
{{- $storage := dict
  "url" (printf "https://%s:8443" (include "kubernaut.host" (list . "datastorage")))
  "caFile" "/etc/kubernaut/ca/ca.crt"
  "tokenFile" "/var/run/secrets/datastorage/token" -}}
{{- $own := dict "dataStorage" $storage "leaderElection" true -}}
{{- mergeOverwrite $own (deepCopy .Values.controller.config) | toYaml -}}
{{- end -}}
