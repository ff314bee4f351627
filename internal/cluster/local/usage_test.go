package local

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/internal/cluster"
)

func groupFolder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestUsageOfBothVersions(t *testing.T) {
	v1memory := map[string]string{"memory.stat": "cache 900\nrss 1\ntotal_cache 5000\ntotal_rss 300\ntotal_shmem 20\n"}
	v1cpu := map[string]string{"cpuacct.usage": "2500000000\n", "cpu.stat": "nr_periods 0\n"}
	v2 := map[string]string{"memory.stat": "anon 300\nfile 5000\nshmem 20\n", "cpu.stat": "usage_usec 2500000\nuser_usec 1\n"}
	want := cluster.Usage{Bytes: 320, CPU: 2500 * time.Millisecond}
	for name, folders := range map[string][]string{
		"version 1": {groupFolder(t, nil), groupFolder(t, v1memory), groupFolder(t, v1cpu)},
		"version 2": {groupFolder(t, v2)},
	} {
		got, err := usageOf(folders)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestUsageOfAGroupThatCountsNothing(t *testing.T) {
	if _, err := usageOf([]string{t.TempDir()}); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
