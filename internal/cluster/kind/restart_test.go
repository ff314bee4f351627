package kind

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestWhenTheNodeWasStarted(t *testing.T) {
	const process = "1 (a (strange) name) S 0 1 1 0 -1 4194560 9 8 7 6 5 4 3 2 20 0 1 0 250 1 2 3"
	got, err := startOfInit(process + "\ncpu  1 2 3\nbtime 1764090000\nprocesses 7\n")
	if want := time.Unix(1764090002, 5e8); err != nil || !got.Equal(want) {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	for _, broken := range []string{"", process, "1 (x) S 0\nbtime 1764090000\n", process + "\nbtime x\n"} {
		if got, err := startOfInit(broken); err == nil {
			t.Errorf("%q is taken for %s", broken, got)
		}
	}
}

func TestWhatTheKubeletSaidBeforeTheNodeWasStartedIsNotBelieved(t *testing.T) {
	began := time.Unix(1764090002, 5e8)
	for _, c := range []struct {
		said   time.Time
		status corev1.ConditionStatus
		want   bool
	}{
		{began.Add(-time.Minute), corev1.ConditionTrue, false},
		{began.Truncate(time.Second), corev1.ConditionTrue, true},
		{began.Add(time.Minute), corev1.ConditionTrue, true},
		{began.Add(time.Minute), corev1.ConditionFalse, false},
	} {
		n := corev1.Node{Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
			{Type: corev1.NodeReady, Status: c.status, LastHeartbeatTime: metav1.NewTime(c.said)},
		}}}
		if got := ready(n, began); got != c.want {
			t.Errorf("%s, said %s after the start: ready is %t", c.status, c.said.Sub(began), got)
		}
	}
}

func TestANodeThatWasStartedAgainIsNotKnown(t *testing.T) {
	c := testCluster(t)
	began := time.Unix(1764090002, 5e8)
	if c.Made() || c.known(began) {
		t.Error("nothing was made, and it is known")
	}
	if err := c.remember(began); err != nil {
		t.Fatal(err)
	}
	if !c.Made() || !c.known(began.Add(time.Second)) || c.known(began.Add(20*time.Second)) {
		t.Error("a node is known by when it was started, within the second by which that is told")
	}
}
