package controller

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// Config is the whole of what an operator may say to the controller. Every key
// may be left out.
type Config struct {
	// DataStorage is where the catalog is and where audit events go.
	DataStorage DataStorageConfig `json:"dataStorage"`
	// Execution is what executions may do, and their defaults.
	Execution ExecutionConfig `json:"execution"`
	// MetricsAddress serves Prometheus metrics. Default ":8080".
	MetricsAddress string `json:"metricsAddress"`
	// ProbeAddress serves /healthz and /readyz. Default ":8081".
	ProbeAddress string `json:"probeAddress"`
	// LeaderElection lets several replicas run, of which one works.
	LeaderElection bool `json:"leaderElection"`
	// Identity is this replica's name in the lease: that of its pod, from the
	// environment. Default: one that is drawn at each start.
	Identity string `json:"-"`
	// Audit says what the controller may do while the audit trail is away.
	Audit AuditConfig `json:"audit"`
	// LogLevel is debug, info, warn or error. Default info.
	LogLevel string `json:"logLevel"`
}

// DataStorageConfig says how Data Storage is reached.
type DataStorageConfig struct {
	// URL. Default "https://datastorage.kubernaut-system.svc:8443".
	URL string `json:"url"`
	// CAFile holds the certificates that Data Storage's is checked against.
	// Default: those of the system.
	CAFile string `json:"caFile"`
	// TokenFile holds the bearer token; it is read anew for each request. Empty:
	// no token is sent.
	TokenFile string `json:"tokenFile"`
}

// AuditConfig says what the controller may do while the audit trail is away.
type AuditConfig struct {
	// Strict starts nothing before the audit trail has acknowledged what led to it.
	// Off: an outage of the trail delays no remedy, and nothing of it is lost.
	Strict bool `json:"strict"`
}

// KeepConfig is how long finished executions are kept, by how they ended; 0s: for
// ever. Their audit trail stays.
type KeepConfig struct {
	Completed *metav1.Duration `json:"completed"` // default 720h
	Failed    *metav1.Duration `json:"failed"`    // default 2160h
	Skipped   *metav1.Duration `json:"skipped"`   // default 168h
	Cancelled *metav1.Duration `json:"cancelled"` // default 720h
}

// ExecutionConfig is what executions may do, and their defaults.
type ExecutionConfig struct {
	// Timeout of a run that names none. Default 30m.
	Timeout *metav1.Duration `json:"timeout"`
	// MaxWait of an execution that names none. Default 15m.
	MaxWait *metav1.Duration `json:"maxWait"`
	// StopGrace is how long the engine may take to enforce a timeout before the
	// controller does. Default 30s.
	StopGrace *metav1.Duration `json:"stopGrace"`
	// Cooldown after a completed run of the same workflow on the same target.
	// Default 5m; 0s means none.
	Cooldown *metav1.Duration `json:"cooldown"`
	// BackoffBase and BackoffMax bound the wait after a run that failed before it
	// could begin. Default 60s and 10m.
	BackoffBase *metav1.Duration `json:"backoffBase"`
	BackoffMax  *metav1.Duration `json:"backoffMax"`
	// MaxFailures of that kind in a row; then the workflow is blocked on the
	// target. Default 5.
	MaxFailures int32 `json:"maxFailures"`
	// AllowUnregistered lets images run that the catalog does not know, with the
	// default account and without Secrets.
	AllowUnregistered bool `json:"allowUnregistered"`
	// MaxRunning bounds how many executions hold a target at a time. 0: no limit.
	MaxRunning int `json:"maxRunning"`
	// MaxRunningPerNamespace bounds the same for the executions of one namespace.
	// 0: no limit.
	MaxRunningPerNamespace int `json:"maxRunningPerNamespace"`
	// Keep is how long finished executions are kept.
	Keep KeepConfig `json:"keep"`
	// Retention is how long a finished run and its logs are kept. Default 24h.
	Retention *metav1.Duration `json:"retention"`
	// PullSecret is the registry credential of the runs. Default "registry-pull";
	// "none" for none.
	PullSecret string `json:"pullSecret"`
	// Workers is how many executions are decided on at a time. Default 16.
	Workers int `json:"workers"`
	// Paused stops the start of anything new, until the configuration is changed; the
	// text says who did it and why. `kubernaut pause` does the same at once.
	Paused string `json:"paused"`
}

// ParseConfig reads a configuration strictly: an unknown key is an error, a
// missing one its default.
func ParseConfig(raw []byte) (Config, error) {
	var c Config
	if err := yaml.UnmarshalStrict(raw, &c); err != nil {
		return Config{}, fmt.Errorf("reading the configuration: %w", err)
	}
	c.setDefaults()
	if err := c.validate(); err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	return c, nil
}

func (c *Config) setDefaults() {
	text(&c.DataStorage.URL, v1alpha1.DataStorageURL)
	text(&c.MetricsAddress, ":8080")
	text(&c.ProbeAddress, ":8081")
	text(&c.LogLevel, "info")
	e := &c.Execution
	text(&e.PullSecret, v1alpha1.DefaultPullSecret)
	duration(&e.Timeout, 30*time.Minute)
	duration(&e.MaxWait, 15*time.Minute)
	duration(&e.StopGrace, 30*time.Second)
	duration(&e.Cooldown, 5*time.Minute)
	duration(&e.BackoffBase, time.Minute)
	duration(&e.BackoffMax, 10*time.Minute)
	duration(&e.Retention, 24*time.Hour)
	duration(&e.Keep.Completed, 30*24*time.Hour)
	duration(&e.Keep.Failed, 90*24*time.Hour)
	duration(&e.Keep.Skipped, 7*24*time.Hour)
	duration(&e.Keep.Cancelled, 30*24*time.Hour)
	if e.MaxFailures == 0 {
		e.MaxFailures = 5
	}
	if e.Workers == 0 {
		e.Workers = 16
	}
}

func text(value *string, preset string) {
	if *value == "" {
		*value = preset
	}
}

func duration(value **metav1.Duration, preset time.Duration) {
	if *value == nil {
		*value = &metav1.Duration{Duration: preset}
	}
}

func (c *Config) validate() error {
	var all []error
	if u, err := url.Parse(c.DataStorage.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		all = append(all, fmt.Errorf("dataStorage.url: %q is not an http or https URL", c.DataStorage.URL))
	}
	e := &c.Execution
	for _, d := range []struct {
		key   string
		value time.Duration
		min   time.Duration
	}{
		{"timeout", e.Timeout.Duration, time.Second},
		{"maxWait", e.MaxWait.Duration, time.Second},
		{"stopGrace", e.StopGrace.Duration, 0},
		{"cooldown", e.Cooldown.Duration, 0},
		{"backoffBase", e.BackoffBase.Duration, 0},
		{"backoffMax", e.BackoffMax.Duration, e.BackoffBase.Duration},
		{"retention", e.Retention.Duration, 0},
		{"keep.completed", e.Keep.Completed.Duration, 0},
		{"keep.failed", e.Keep.Failed.Duration, 0},
		{"keep.skipped", e.Keep.Skipped.Duration, 0},
		{"keep.cancelled", e.Keep.Cancelled.Duration, 0},
	} {
		if d.value < d.min {
			all = append(all, fmt.Errorf("execution.%s: %s is less than %s", d.key, d.value, d.min))
		}
	}
	if e.MaxFailures < 1 || e.MaxRunning < 0 || e.MaxRunningPerNamespace < 0 || e.Workers < 1 {
		all = append(all, errors.New("execution: maxFailures and workers are at least 1, maxRunning and maxRunningPerNamespace at least 0"))
	}
	return errors.Join(all...)
}
