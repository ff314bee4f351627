package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/internal/service"
)

// Config is the whole of what an operator may say to Data Storage. Every member
// that is left out has its default.
type Config struct {
	Listen     string            `json:"listen"`     // the contract; default ":8443" with TLS, else ":8080"
	Operations string            `json:"operations"` // probes and metrics without TLS; default ":8080" with TLS, else none
	TLS        service.TLSConfig `json:"tls"`        // no files: plain HTTP
	Auth       string            `json:"auth"`       // "kubernetes" (default) or "none", which lets everybody do everything
	Audience   string            `json:"audience"`   // of the tokens; default "datastorage"
	Kubeconfig string            `json:"kubeconfig"` // default: the cluster that the process runs in
	Database   DatabaseConfig    `json:"database"`
	Redis      RedisConfig       `json:"redis"`
	Catalog    CatalogConfig     `json:"catalog"`
	Limits     LimitsConfig      `json:"limits"`
	Retention  RetentionConfig   `json:"retention"`
	Shutdown   ShutdownConfig    `json:"shutdown"`
	Log        service.LogConfig `json:"log"`

	databaseURL string // $DATABASE_URL
	redisURL    string // $REDIS_URL
}

// DatabaseConfig is how PostgreSQL is used.
type DatabaseConfig struct {
	MaxConnections   int             `json:"maxConnections"`   // default 8
	ConnectTimeout   metav1.Duration `json:"connectTimeout"`   // default 5s
	StatementTimeout metav1.Duration `json:"statementTimeout"` // default 10s
	LockTimeout      metav1.Duration `json:"lockTimeout"`      // default 2s
}

// RedisConfig is how events are parked.
type RedisConfig struct {
	Capacity int `json:"capacity"` // events; default 1,000,000
}

// CatalogConfig is what becomes of workflows that are registered.
type CatalogConfig struct {
	VerifyBundles    datastorage.Verification `json:"verifyBundles"`    // required (default), warn, or off (default with auth: none)
	RegistryCAFile   string                   `json:"registryCAFile"`   // PEM, beside the authorities of the machine
	DockerConfigFile string                   `json:"dockerConfigFile"` // logins for registries
	RegistryTimeout  metav1.Duration          `json:"registryTimeout"`  // for one workflow; default 10s
}

// LimitsConfig bounds what one client can ask for.
type LimitsConfig struct {
	BatchEvents       int     `json:"batchEvents"`       // default and at most 1000
	BodyBytes         int     `json:"bodyBytes"`         // default 16 MiB
	BodiesBytes       int     `json:"bodiesBytes"`       // of all large bodies at once; default twice bodyBytes
	RequestsPerSecond float64 `json:"requestsPerSecond"` // of one caller; default 5000
	Burst             int     `json:"burst"`             // default twice requestsPerSecond
}

// RetentionConfig is which events are removed, and when. Without policies all are kept.
type RetentionConfig struct {
	Every    metav1.Duration `json:"every"`    // default 24h
	Policies []PolicyConfig  `json:"policies"` // the first that matches an event decides
}

// PolicyConfig keeps the events that it matches for some days.
type PolicyConfig struct {
	Category  string `json:"category"`  // empty: every one
	Outcome   string `json:"outcome"`   // empty: every one
	Namespace string `json:"namespace"` // empty: every one, and none
	KeepDays  int    `json:"keepDays"`  // at least 8
}

// policies are the policies in the words of the contract.
func (r RetentionConfig) policies() []api.RetentionPolicy {
	var all []api.RetentionPolicy
	for _, p := range r.Policies {
		all = append(all, api.RetentionPolicy{Category: p.Category, Outcome: p.Outcome, Namespace: p.Namespace, KeepDays: p.KeepDays})
	}
	return all
}

// leastKeep is the fewest days that a policy may keep events, unless the owner of the
// database has raised it there.
const leastKeep = 8

// ShutdownConfig is how long the steps of an orderly end may take. Together they
// stay below the pod's grace period of 30 s.
type ShutdownConfig struct {
	Drain metav1.Duration `json:"drain"` // from not ready to closed for new connections; default 3s
	Grace metav1.Duration `json:"grace"` // for requests under way; default 15s
}

// maxEnd is what the steps of an orderly end may take together.
const maxEnd = 28 * time.Second

// readConfig reads the configuration from a file (none: all defaults) and the
// environment.
func readConfig(file string, getenv func(string) string) (Config, error) {
	c := Config{databaseURL: getenv("DATABASE_URL"), redisURL: getenv("REDIS_URL")}
	if file != "" {
		raw, err := os.ReadFile(file)
		if err != nil {
			return Config{}, fmt.Errorf("reading the configuration: %w", err)
		}
		if err := yaml.UnmarshalStrict(raw, &c); err != nil {
			return Config{}, fmt.Errorf("reading the configuration %s: %w", file, err)
		}
	}
	c.setDefaults()
	return c, c.validate()
}

func (c *Config) setDefaults() {
	if c.Listen == "" {
		c.Listen = ":8080"
		if c.TLS.Enabled() {
			c.Listen = ":8443"
		}
	}
	if c.Operations == "" && c.TLS.Enabled() {
		c.Operations = ":8080"
	}
	if c.Auth == "" {
		c.Auth = "kubernetes"
	}
	if c.Audience == "" {
		c.Audience = api.TokenAudience
	}
	if c.Catalog.VerifyBundles == "" {
		c.Catalog.VerifyBundles = datastorage.Required
		if c.Auth == "none" {
			c.Catalog.VerifyBundles = datastorage.Off
		}
	}
	if c.Catalog.RegistryTimeout.Duration == 0 {
		c.Catalog.RegistryTimeout.Duration = 10 * time.Second
	}
	if c.Shutdown.Drain.Duration == 0 {
		c.Shutdown.Drain.Duration = 3 * time.Second
	}
	if c.Shutdown.Grace.Duration == 0 {
		c.Shutdown.Grace.Duration = 15 * time.Second
	}
	if c.Retention.Every.Duration == 0 {
		c.Retention.Every.Duration = 24 * time.Hour
	}
}

func (c *Config) validate() error {
	var all error
	check := func(ok bool, message string) {
		if !ok {
			all = errors.Join(all, errors.New(message))
		}
	}
	check(c.databaseURL != "", "DATABASE_URL is empty: set it to the database, as the role kubernaut_service")
	check(c.Auth == "kubernetes" || c.Auth == "none", fmt.Sprintf("auth is %q: write kubernetes or none", c.Auth))
	check((c.TLS.CertFile == "") == (c.TLS.KeyFile == ""), "tls needs both certFile and keyFile")
	v := c.Catalog.VerifyBundles
	check(v == datastorage.Required || v == datastorage.Warn || v == datastorage.Off, fmt.Sprintf("catalog.verifyBundles is %q: write required, warn or off", v))
	check(c.Database.MaxConnections >= 0, "database.maxConnections is negative")
	check(c.Redis.Capacity >= 0, "redis.capacity is negative")
	check(c.Limits.BatchEvents >= 0 && c.Limits.BatchEvents <= api.MaxBatchEvents, fmt.Sprintf("limits.batchEvents must be between 1 and %d", api.MaxBatchEvents))
	check(c.Limits.BodyBytes >= 0 && c.Limits.BodiesBytes >= 0 && c.Limits.RequestsPerSecond >= 0 && c.Limits.Burst >= 0, "limits must not be negative")
	check(c.Retention.Every.Duration >= time.Minute, "retention.every is less than a minute")
	for i, p := range c.Retention.Policies {
		check(p.KeepDays >= leastKeep, fmt.Sprintf("retention.policies[%d].keepDays must be at least %d", i, leastKeep))
		check(p.Outcome == "" || api.EventOutcome(p.Outcome).Valid(), fmt.Sprintf("retention.policies[%d].outcome is %q: write success, failure or pending", i, p.Outcome))
	}
	for _, d := range []time.Duration{
		c.Database.ConnectTimeout.Duration, c.Database.StatementTimeout.Duration, c.Database.LockTimeout.Duration,
		c.Shutdown.Drain.Duration, c.Shutdown.Grace.Duration, c.Catalog.RegistryTimeout.Duration,
	} {
		check(d >= 0, "a duration is negative")
	}
	check(c.Shutdown.Drain.Duration+c.Shutdown.Grace.Duration <= maxEnd-endBudget,
		fmt.Sprintf("shutdown.drain and shutdown.grace together exceed %s, which a pod is not given", maxEnd-endBudget))
	return all
}
