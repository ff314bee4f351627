package local

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// links is what the node's network is made of: its address and the way to
// Services, from where kube-proxy's rules take over. There is no default route,
// so what is not in the cluster is unreachable at once instead of after a while.
const links = `link set lo up
address add ` + nodeIP + `/32 dev lo
route add ` + serviceCIDR + ` dev lo src ` + nodeIP + `
`

// connect sets up the network of the namespace it is called in.
func connect() error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(links)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("setting up the node's network: ip: %w: %s", err, bytes.TrimSpace(out))
	}
	const forwarding = "/proc/sys/net/ipv4/ip_forward"
	if err := os.WriteFile(forwarding, []byte("1"), 0); err != nil {
		return fmt.Errorf("setting up the node's network: %w", err)
	}
	return nil
}
