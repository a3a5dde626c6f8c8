package test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sipvigil/test/ua"
)

// baresip is the phone of that name: it answers by itself, and is told what to
// do over TCP. Version 1.0.0 answers any OPTIONS with 200, also for a dialog
// that it does not know.
type baresip struct {
	*peer
	uri     string
	control net.Conn
}

func startBaresip(t *testing.T, s site, d *sipvigil) *baresip {
	t.Helper()
	dir := t.TempDir()
	control := s.inside + ":4444"
	for name, text := range map[string]string{
		"config": `
sip_listen ` + s.inside + `:5060
audio_player aubridge,a
audio_source aubridge,a
audio_alert aubridge,b
module_path /usr/lib/baresip/modules
module g711.so
module aubridge.so
module_app account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen ` + control + "\n",
		"accounts": fmt.Sprintf("<sip:bob@%s>;regint=0;answermode=auto;outbound=\"sip:%s;transport=udp\"\n", s.inside, d.udp),
		"contacts": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := &baresip{peer: startPeer(t, "ip", "netns", "exec", s.name, "baresip", "-f", dir), uri: "sip:bob@" + s.inside}
	eventually(t, "baresip takes commands", func() bool {
		conn, err := net.Dial("tcp", control)
		b.control = conn
		return err == nil
	})
	t.Cleanup(func() { _ = b.control.Close() })
	return b
}

// command has baresip do something: its commands come as JSON in a netstring.
func (b *baresip) command(name, params string) {
	b.t.Helper()
	text, err := json.Marshal(map[string]string{"command": name, "params": params, "token": name})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(b.control, "%d:%s,", len(text), text); err != nil {
		b.t.Fatalf("baresip: %v", err)
	}
}

func TestBaresipAsAPhone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	config := file(t, "sipvigil.yaml", "trunks: [{name: phones, sources: ["+s.network+"]}]\n")
	d := serveAt(t, &sipvigil{udp: s.host + ":0", tcp: s.host + ":0", admin: "127.0.0.1:0"}, "embedded", "--config", config)
	b := startBaresip(t, s, d)
	alice := listen(t, ua.Config{User: "alice", Addr: s.host + ":0"})
	ring := func() *ua.Dialog {
		t.Helper()
		leg, err := alice.Call(limit(t, patience), d.udp, b.uri, ua.Offer{SDP: ua.Media{Port: 40000, Address: s.host}.String()})
		if err != nil {
			t.Fatalf("call to baresip: %v", err)
		}
		shows(t, d, leg.CallID, "both have answered a probe", func(c shown) bool {
			return c.Caller.Liveness == "alive" && (c.Callee.Liveness == "alive" || c.Callee.Liveness == "reachable")
		})
		return leg
	}

	// Called, and it hangs up.
	leg := ring()
	b.command("hangup", "")
	released(t, leg)
	shows(t, d, leg.CallID, "the callee ended it", func(c shown) bool { return c.EndedBy == "callee-bye" })

	// It calls, and is hung up on.
	b.command("dial", alice.URI())
	in, err := alice.Invited(limit(t, patience))
	if err != nil {
		t.Fatalf("baresip does not call: %v", err)
	}
	if leg, err = in.Accept(ua.Media{Port: 40000, Address: s.host}.String()); err != nil {
		t.Fatal(err)
	}
	probed(t, leg, 2)
	shows(t, d, leg.CallID, "baresip, which answers OPTIONS of any dialog, is reachable", func(c shown) bool { return c.Caller.Liveness == "reachable" })
	if err := leg.Bye(limit(t, patience)); err != nil {
		t.Fatal(err)
	}
	if err := leg.CheckCSeq(); err != nil {
		t.Error(err)
	}
	eventually(t, "baresip knows that the call is over", func() bool { return strings.Contains(b.output.String(), "terminated") })

	// Called, and it vanishes.
	leg = ring()
	b.kill()
	wantReason(t, released(t, leg), "SIP;cause=408", "Q.850;cause=102")
	if c := d.terminated(leg.CallID); c.EndedBy != "callee-silent" || c.Callee.Released != "unconfirmed" {
		t.Errorf("ended by %q, the callee's release is %q", c.EndedBy, c.Callee.Released)
	}
}

// shows waits until the API shows a call as it should be.
func shows(t *testing.T, d *sipvigil, id, what string, as func(shown) bool) {
	t.Helper()
	var c shown
	defer func() {
		if t.Failed() {
			t.Logf("the API shows %+v", c)
		}
	}()
	eventually(t, what, func() bool {
		c, _ = d.call(id)
		return as(c)
	})
}
