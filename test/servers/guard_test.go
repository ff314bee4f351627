package servers

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/internal/build"
)

// killedTest makes this program the test that is killed.
const killedTest = "KUBERNAUT_KILLED_TEST"

func TestAPIServerEndsWithAKilledTest(t *testing.T) {
	if os.Getenv(killedTest) != "" {
		serveUntilKilled(t)
		return
	}
	needs(t, "kube-apiserver and etcd")
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), killedTest+"=yes")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	must(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	pids := strings.Fields(line)
	if len(pids) != 2 {
		t.Fatalf("the killed test says %q, not two process ids: those of etcd and kube-apiserver", line)
	}
	for _, text := range pids {
		pid, err := strconv.Atoi(text)
		must(t, err)
		for deadline := time.Now().Add(patience); runs(pid); {
			if time.Now().After(deadline) {
				t.Fatalf("process %d still runs %s after its test was killed", pid, patience)
			}
			<-time.After(10 * time.Millisecond)
		}
	}
}

// serveUntilKilled starts the servers and tells who they are.
func serveUntilKilled(t *testing.T) {
	cache, err := build.Open()
	must(t, err)
	assets, err := build.Assets(cache)
	must(t, err)
	_, err = StartAPIServer()
	must(t, err)
	fmt.Println(strings.Trim(fmt.Sprint(childrenOf(t, assets)), "[]"))
	select {}
}

// childrenOf are the processes that this one has started from programs in a folder.
func childrenOf(t *testing.T, dir string) []int {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	must(t, err)
	var found []int
	for _, list := range lists {
		raw, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended; its children have another parent now
		}
		for field := range strings.FieldsSeq(string(raw)) {
			pid, err := strconv.Atoi(field)
			must(t, err)
			line, err := os.ReadFile(filepath.Join("/proc", field, "cmdline"))
			if err == nil && strings.HasPrefix(string(line), dir+"/") {
				found = append(found, pid)
			}
		}
	}
	return found
}
