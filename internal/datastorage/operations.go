package datastorage

import (
	"errors"
	"net/http"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// Live says that the process runs.
func (s *Server) Live(w http.ResponseWriter, r *http.Request) {
	s.say(w, r, answer{http.StatusOK, api.Health{Status: api.HealthStatusOk}})
}

// Ready says whether requests are taken.
func (s *Server) Ready(w http.ResponseWriter, r *http.Request) {
	ready, checks := s.health.Ready()
	if !ready {
		s.say(w, r, answer{http.StatusServiceUnavailable, api.Health{Status: api.HealthStatusUnavailable, Checks: checks}})
		return
	}
	s.say(w, r, answer{http.StatusOK, api.Health{Status: api.HealthStatusOk, Checks: checks}})
}

// Health is Ready by its older name.
func (s *Server) Health(w http.ResponseWriter, r *http.Request) { s.Ready(w, r) }

// Metrics serves the measurements.
func (s *Server) Metrics(w http.ResponseWriter, r *http.Request) { s.metrics.ServeHTTP(w, r) }

// Openapi serves the contract.
func (s *Server) Openapi(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(api.OpenAPI) // the client may have left
}

// WorkflowSchema serves the schema of workflow.yaml.
func (s *Server) WorkflowSchema(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/schema+json")
	_, _ = w.Write(api.WorkflowSchema) // the client may have left
}

func (s *Server) say(w http.ResponseWriter, r *http.Request, a answer) {
	if err := writeJSON(w, r, a); err != nil {
		s.refuse(w, r, err)
	}
}

// wrongParameter answers when the generated code cannot read a parameter.
func (s *Server) wrongParameter(w http.ResponseWriter, r *http.Request, err error) {
	name := "query"
	if format, ok := errors.AsType[*api.InvalidParamFormatError](err); ok {
		name = format.ParamName
	}
	s.refuse(w, r, invalid("correct the parameter named; /openapi.yaml has its form",
		api.FieldProblem{Field: name, Message: "is not of the form that the contract says"}))
}

// Operations serves what probes and monitoring ask for, where the contract itself
// is behind TLS.
func (s *Server) Operations() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health/live", s.Live)   // liveness probe
	mux.HandleFunc("GET /health/ready", s.Ready) // readiness probe
	mux.HandleFunc("GET /metrics", s.Metrics)    // Prometheus
	return s.survive(mux)
}
