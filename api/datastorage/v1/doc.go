// Package datastorage is the HTTP contract of Data Storage: openapi.yaml, the
// types and the server interface generated from it, and a Go client.
//
// The contract comes first: to change what Data Storage says or takes, change
// openapi.yaml and run `make generate`.
package datastorage

import _ "embed"

//go:generate go tool -modfile=../../../tools/go.mod oapi-codegen -config oapi-codegen.yaml openapi.yaml

// OpenAPI is the text of openapi.yaml.
//
//go:embed openapi.yaml
var OpenAPI []byte

// WorkflowSchema is the JSON Schema of workflow.yaml, in which authors say what a
// workflow is.
//
//go:embed workflow.schema.json
var WorkflowSchema []byte

// Limits that the server starts with. It announces those it really has in each
// answer, see HeaderMaxBatchEvents and HeaderMaxBodyBytes.
const (
	MaxBatchEvents = 1000     // events in one batch
	MaxBodyBytes   = 16 << 20 // bytes of one request body, after decompression
)

// Headers by which the server announces its limits.
const (
	HeaderMaxBatchEvents = "Kubernaut-Max-Batch-Events"
	HeaderMaxBodyBytes   = "Kubernaut-Max-Body-Bytes"
	HeaderMaxDataBytes   = "Kubernaut-Max-Data-Bytes"
	HeaderMaxDataDepth   = "Kubernaut-Max-Data-Depth"
	HeaderRate           = "Kubernaut-Requests-Per-Second"
)

// TrailerEvents is the trailer that ends a whole export, and says how many events
// it has.
const TrailerEvents = "Kubernaut-Events"

// TokenAudience is the audience a service account token must be made for.
const TokenAudience = "datastorage"
