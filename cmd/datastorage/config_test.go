package main

import (
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/internal/service"
)

var environment = getenv(map[string]string{"DATABASE_URL": "postgres://db", "REDIS_URL": "redis://cache"})

func TestConfigIsValidAtZero(t *testing.T) {
	got, err := readConfig("", environment)
	must(t, err)
	want := Config{
		Listen: ":8080", Auth: "kubernetes", Audience: "datastorage", databaseURL: "postgres://db", redisURL: "redis://cache",
		Catalog:   CatalogConfig{VerifyBundles: datastorage.Required, RegistryTimeout: metav1.Duration{Duration: 10 * time.Second}},
		Shutdown:  ShutdownConfig{metav1.Duration{Duration: 3 * time.Second}, metav1.Duration{Duration: 15 * time.Second}},
		Retention: RetentionConfig{Every: metav1.Duration{Duration: 24 * time.Hour}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Config{})); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestWithTLSTheProbesGetAnAddressOfTheirOwn(t *testing.T) {
	got, err := readConfig(written(t, "tls: {certFile: a, keyFile: b}"), environment)
	must(t, err)
	want := Config{Listen: ":8443", Operations: ":8080", TLS: service.TLSConfig{CertFile: "a", KeyFile: "b"}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{}), cmpopts.IgnoreFields(Config{}, "Auth", "Audience", "Catalog", "Shutdown", "Retention")); diff != "" {
		t.Errorf("with TLS (-want +got):\n%s", diff)
	}
}

func TestWhoLetsEverybodyInLooksAtNothing(t *testing.T) {
	for text, want := range map[string]datastorage.Verification{
		"auth: none": datastorage.Off, "{}": datastorage.Required, "{auth: none, catalog: {verifyBundles: warn}}": datastorage.Warn,
	} {
		got, err := readConfig(written(t, text), environment)
		must(t, err)
		if got.Catalog.VerifyBundles != want {
			t.Errorf("%s: bundles are verified %q, want %q", text, got.Catalog.VerifyBundles, want)
		}
	}
}

func TestEveryKeyIsRead(t *testing.T) {
	got, err := readConfig(written(t, `
listen: a
operations: b
tls: {certFile: c, keyFile: d}
auth: none
audience: e
kubeconfig: f
database: {maxConnections: 1, connectTimeout: 2s, statementTimeout: 3s, lockTimeout: 4s}
redis: {capacity: 5}
catalog: {verifyBundles: warn, registryCAFile: x, dockerConfigFile: z, registryTimeout: 5s}
limits: {batchEvents: 6, bodyBytes: 7, bodiesBytes: 10, requestsPerSecond: 8, burst: 9}
retention: {every: 60s, policies: [{category: g, outcome: failure, namespace: h, keepDays: 11}]}
shutdown: {drain: 1s, grace: 2s}
log: {level: DEBUG, format: text}
`), environment)
	must(t, err)
	seconds := func(n int) metav1.Duration { return metav1.Duration{Duration: time.Duration(n) * time.Second} }
	want := Config{
		Listen: "a", Operations: "b", TLS: service.TLSConfig{CertFile: "c", KeyFile: "d"}, Auth: "none", Audience: "e", Kubeconfig: "f",
		Database: DatabaseConfig{1, seconds(2), seconds(3), seconds(4)}, Redis: RedisConfig{5},
		Catalog: CatalogConfig{datastorage.Warn, "x", "z", seconds(5)},
		Limits:  LimitsConfig{6, 7, 10, 8, 9}, Retention: RetentionConfig{seconds(60), []PolicyConfig{{"g", "failure", "h", 11}}},
		Shutdown: ShutdownConfig{seconds(1), seconds(2)}, Log: service.LogConfig{Level: -4, Format: "text"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{})); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

func TestConfigRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"lisen: x":                                             `unknown field "lisen"`,
		"database: {maxConnection: 1}":                         `unknown field "maxConnection"`,
		"listen: x\nlisten: y":                                 "already set",
		"auth: open":                                           `auth is "open": write kubernetes or none`,
		"catalog: {verifyBundles: maybe}":                      `catalog.verifyBundles is "maybe": write required, warn or off`,
		"tls: {certFile: a}":                                   "tls needs both",
		"limits: {batchEvents: 1001}":                          "limits.batchEvents must be between",
		"limits: {burst: -1}":                                  "limits must not be negative",
		"database: {maxConnections: -1}":                       "database.maxConnections is negative",
		"database: {lockTimeout: -1s}":                         "a duration is negative",
		"database: {lockTimeout: 5}":                           "cannot unmarshal",
		"shutdown: {drain: 10s, grace: 11s}":                   "together exceed 20s",
		"log: {level: LOUD}":                                   "LOUD",
		"retention: {every: 1s}":                               "retention.every is less than a minute",
		"retention: {policies: [{keepDays: 7}]}":               "retention.policies[0].keepDays must be at least 8",
		"retention: {policies: [{keepDays: 8, outcome: bad}]}": `outcome is "bad"`,
	} {
		_, err := readConfig(written(t, text), environment)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := readConfig("", getenv(nil)); err == nil || !strings.Contains(err.Error(), "DATABASE_URL is empty") {
		t.Errorf("without a database: %v", err)
	}
	if _, err := readConfig("/nowhere", environment); err == nil {
		t.Error("a file that is not there is no error")
	}
}

func written(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// TestEveryKeyIsUsed looks for a key that is read and then never looked at: each
// field of the configuration must be named by the program outside of config.go.
func TestEveryKeyIsUsed(t *testing.T) {
	var program strings.Builder
	files, err := filepath.Glob("*.go")
	must(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || file == "config.go" {
			continue
		}
		source, err := os.ReadFile(file)
		must(t, err)
		program.Write(source)
	}
	policies, err := os.ReadFile("config.go")
	must(t, err)
	_, translation, _ := strings.Cut(string(policies), "policies() []")
	program.WriteString(translation[:strings.Index(translation, "\n}\n")])
	var look func(reflect.Type)
	look = func(of reflect.Type) {
		for field := range fieldsOf(of) {
			if !regexp.MustCompile(`\.` + field.Name + `\b`).MatchString(program.String()) {
				t.Errorf("%s.%s is read from the configuration and never used", of.Name(), field.Name)
			}
			switch inner := field.Type; {
			case inner.Kind() == reflect.Slice:
				look(inner.Elem())
			case inner.Kind() == reflect.Struct && inner.PkgPath() == of.PkgPath():
				look(inner)
			}
		}
	}
	look(reflect.TypeFor[Config]())
}

// fieldsOf are the fields that a configuration file can set.
func fieldsOf(of reflect.Type) iter.Seq[reflect.StructField] {
	return func(yield func(reflect.StructField) bool) {
		for i := range of.NumField() {
			if f := of.Field(i); f.IsExported() && !yield(f) {
				return
			}
		}
	}
}

// TestTheEndFitsIntoTheGracePeriod compares what an orderly end may take with what
// the pod is given.
func TestTheEndFitsIntoTheGracePeriod(t *testing.T) {
	chart, err := os.ReadFile("../../charts/kubernaut/templates/datastorage.yaml")
	must(t, err)
	given := regexp.MustCompile(`terminationGracePeriodSeconds: (\d+)`).FindSubmatch(chart)
	if given == nil {
		t.Fatal("the chart does not say how long the pod is given")
	}
	seconds, err := strconv.Atoi(string(given[1]))
	must(t, err)
	c, err := readConfig("", environment)
	must(t, err)
	ends := c.Shutdown.Drain.Duration + c.Shutdown.Grace.Duration + endBudget
	if period := time.Duration(seconds) * time.Second; ends >= period || maxEnd >= period {
		t.Errorf("ending takes %s by default and may be configured to take %s; the pod is given %s", ends, maxEnd, period)
	}
}
