package page

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest"

	"sipvigil/cmd/sipvigil/daemon"
	"sipvigil/test/ua"
)

// world is a daemon in this process between two trunks: a PBX whose extensions
// call, and a carrier that answers.
type world struct {
	admin        string // host:port of the page
	sip          string
	pbx, carrier *ua.Phone
	callers      []*ua.Dialog
	stop         func() // ends the daemon in order, and waits
}

// serve starts a daemon with calls that last, each of which has answered.
func serve(t *testing.T, calls int, change ...func(*daemon.Config)) *world {
	t.Helper()
	w := &world{pbx: phone(t, "pbx", "127.0.0.2:0"), carrier: phone(t, "carrier", "127.0.0.3:0")}
	w.carrier.Handle(func(in *ua.Incoming) {
		in.Ring(180)
		_, _ = in.Accept(ua.SDP(40002)) // refused only when the call is given up: then Call fails
	})
	w.start(t, change...)
	for i := range calls {
		w.call(t, fmt.Sprintf("201%02d", i), fmt.Sprintf("+4930555%04d", i))
	}
	return w
}

// beside starts another node between the same trunks.
func (w *world) beside(t *testing.T, change ...func(*daemon.Config)) *world {
	t.Helper()
	other := &world{pbx: w.pbx, carrier: w.carrier}
	other.start(t, change...)
	return other
}

func (w *world) start(t *testing.T, change ...func(*daemon.Config)) {
	t.Helper()
	cfg := daemon.Default()
	cfg.Node = "edge-1"
	cfg.SIP.Listen = []string{"udp://127.0.0.1:0"}
	cfg.Supervise.Interval = 2 * time.Second
	cfg.Admin.Listen = "127.0.0.1:0"
	cfg.CDR.File = filepath.Join(t.TempDir(), "cdr")
	cfg.Trunks = []daemon.Trunk{
		{Name: "pbx", Targets: []string{"sip:" + w.pbx.Addr()}, Sources: []string{"127.0.0.2"}},
		{Name: "carrier", Targets: []string{"sip:" + w.carrier.Addr()}, Sources: []string{"127.0.0.3"}, Capacity: daemon.Capacity{Total: 30}},
	}
	cfg.Routes = []daemon.Route{{From: "pbx", To: []string{"carrier"}}}
	for _, c := range change {
		c(&cfg)
	}
	d, err := daemon.New(cfg, zaptest.NewLogger(t, zaptest.Level(zapcore.WarnLevel)).WithOptions(zap.WithFatalHook(zapcore.WriteThenPanic)))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := d.Run(ctx); err != nil && ctx.Err() == nil {
			t.Errorf("daemon: %v", err)
		}
	})
	w.stop = func() { cancel(); running.Wait() }
	t.Cleanup(w.stop)
	w.admin, w.sip = d.AdminAddr().String(), d.SIPAddrs()[0].String()
}

func phone(t *testing.T, user, addr string) *ua.Phone {
	t.Helper()
	p, err := ua.Listen(ua.Config{User: user, Addr: addr, UserAgent: user + "/1.0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func (w *world) call(t *testing.T, from, to string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	d, err := w.pbx.Call(ctx, "sip:"+w.sip, "sip:"+to+"@"+w.sip, ua.Offer{SDP: ua.SDP(40000), From: "sip:" + from + "@pbx.example"})
	if err != nil {
		t.Fatal(err)
	}
	w.callers = append(w.callers, d)
}

// get reads an answer of the API.
func (w *world) get(t *testing.T, path string, into any) {
	t.Helper()
	res, err := http.Get("http://" + w.admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// demo runs `sipvigil demo` and returns where its page is.
func demo(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "sipvigil")
	if out, err := exec.Command("go", "build", "-race", "-o", binary, "sipvigil/cmd/sipvigil").CombinedOutput(); err != nil {
		t.Fatalf("build sipvigil: %v\n%s", err, out)
	}
	cmd := exec.Command(binary, "demo", "--admin", "127.0.0.1:0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	var text strings.Builder
	for part := make([]byte, 256); ; {
		n, err := out.Read(part)
		text.Write(part[:n])
		if _, rest, ok := strings.Cut(text.String(), "http://"); ok {
			if address, _, ok := strings.Cut(rest, "/"); ok {
				return address
			}
		}
		if err != nil {
			t.Fatalf("the demo does not say where its page is: %v\n%s", err, text.String())
		}
	}
}
