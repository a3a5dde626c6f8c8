package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sipvigil/store/storetest"
)

// sngrep listens as a capture server and writes what it gets to a file.
func TestACaptureServerGetsBothLegs(t *testing.T) {
	t.Parallel()
	port := storetest.FreePort(t)
	pcap := filepath.Join(t.TempDir(), "captured.pcap")
	startPeer(t, "sngrep", "-F", "-N", "-q", "-L", fmt.Sprintf("udp:127.0.0.1:%d", port), "-O", pcap)
	eventually(t, "sngrep listens", func() bool { return bound(port) })

	redisURL, _ := storetest.Redis(t)
	config := file(t, "sipvigil.yaml", fmt.Sprintf("hep: {address: \"127.0.0.1:%d\", id: 2001}\n", port))
	d := serve(t, redisURL, "--config", config)
	c := dial(t, d)
	probed(t, c.caller, 1)
	probed(t, c.callee, 1)
	hangUp(t, c.caller, c.callee)

	eventually(t, "both legs are in the file", func() bool {
		b, _ := os.ReadFile(pcap)
		legs := map[string]int{"INVITE": 0, "ACK": 0, "OPTIONS": 0, "BYE": 0}
		for method := range legs {
			for _, leg := range []string{c.caller.CallID, c.callee.CallID} {
				for _, m := range strings.Split(string(b), "\r\n\r\n") {
					if strings.Contains(m, method+" sip:") && strings.Contains(m, leg) {
						legs[method]++
						break
					}
				}
			}
		}
		return legs["INVITE"] == 2 && legs["ACK"] == 2 && legs["OPTIONS"] == 2 && legs["BYE"] == 2
	})
	if n := d.metric("sipvigil_b2bua_unmirrored_total"); n != 0 {
		t.Errorf("%v messages were not mirrored", n)
	}
}
