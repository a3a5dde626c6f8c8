package test

import (
	"context"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

func TestSipsakIsAnswered(t *testing.T) {
	t.Parallel()
	d := serve(t, "embedded")
	const flood = 200
	for _, c := range []struct {
		name string
		args []string
		want []string // in the answer
	}{
		{"OPTIONS", []string{"-vv"}, []string{`SIP/2\.0 200`, `Allow: .*OPTIONS`, `Accept: application/sdp`, `Accept-Encoding: `, `Accept-Language: `, `Supported: `}},
		{"OPTIONS with Max-Forwards 0", []string{"-vv", "-m", "0"}, []string{`Max-Forwards set to 0`, `SIP/2\.0 200`}},
		{"traceroute", []string{"-T", "-vv"}, []string{`200 OK`}},
		{"flood", []string{"-F", "-e", strconv.Itoa(flood)}, nil}, // waits for no answer
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			out, err := exec.CommandContext(ctx, "sipsak", append(c.args, "-s", "sip:probe@"+d.udp)...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, want := range c.want {
				if !regexp.MustCompile(want).Match(out) {
					t.Errorf("nothing like %q in\n%s", want, out)
				}
			}
		})
	}
	t.Run("all were answered", func(t *testing.T) {
		t.Parallel()
		eventually(t, "each request of the flood has its 200", func() bool {
			return d.metric(`sipvigil_b2bua_requests_total{method="OPTIONS"}`) >= flood &&
				d.metric(`sipvigil_b2bua_requests_total{method="OPTIONS"}`) == d.metric(`sipvigil_b2bua_responses_total{class="2xx"}`)
		})
	})
}
