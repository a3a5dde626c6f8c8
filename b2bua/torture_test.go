package b2bua

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// relayed is the status that the callee of these tests gives: the INVITE was
// accepted and came through.
const relayed = 486

// taken is the status that the callee, who is the registrar too, gives to what
// is no INVITE.
const taken = 200

// torture holds what becomes of each message of RFC 4475 and RFC 5118 that
// comes over UDP: a status, or 0 for no answer. Where the RFC leaves a choice,
// why says what was chosen.
var torture = []struct {
	file    string
	want    int
	dropped bool // counted as malformed
	why     string
}{
	// RFC 4475 section 3.1.1: valid.
	{file: "wsinv.dat", want: 481, why: "its To tag is none of ours"},
	{file: "intmeth.dat", want: 501},
	{file: "esc01.dat", want: relayed},
	{file: "escnull.dat", want: taken, why: "it is the registrar's business"},
	{file: "esc02.dat", want: 501},
	{file: "lwsdisp.dat", want: 200},
	{file: "longreq.dat", want: relayed},
	{file: "dblreq.dat", want: taken, why: "one answer: what follows the message is ignored"},
	{file: "semiuri.dat", want: 200},
	{file: "transports.dat", want: 200},
	{file: "mpart01.dat", want: taken, why: "its body is compared elsewhere"},
	{file: "unreason.dat", want: 0, why: "no transaction matches"},
	{file: "noreason.dat", want: 0, why: "no transaction matches"},
	// RFC 4475 section 3.1.2: invalid.
	{file: "badinv01.dat", want: 400},
	{file: "clerr.dat", want: 400},
	{file: "ncl.dat", want: 400},
	{file: "scalar02.dat", want: 400},
	{file: "scalarlg.dat", want: 0, dropped: true},
	{file: "quotbal.dat", want: 400},
	{file: "ltgtruri.dat", want: 400},
	{file: "lwsruri.dat", want: 400},
	{file: "lwsstart.dat", want: 400, why: "not guessed what was meant"},
	{file: "trws.dat", want: 400, why: "not guessed what was meant"},
	{file: "escruri.dat", want: 400, why: "headers in a URI are never made ours"},
	{file: "baddate.dat", want: relayed, why: "Date is the far ends' business"},
	{file: "regbadct.dat", want: taken, why: "it is the registrar's business"},
	{file: "badaspec.dat", want: 400},
	{file: "baddn.dat", want: 400},
	{file: "badvers.dat", want: 505},
	{file: "mismatch01.dat", want: 400},
	{file: "mismatch02.dat", want: 501},
	{file: "bigcode.dat", want: 0, dropped: true},
	// RFC 4475 sections 3.2 to 3.4.
	{file: "badbranch.dat", want: 200, why: "its transaction is matched as RFC 2543 has it"},
	{file: "insuf.dat", want: 400},
	{file: "unkscm.dat", want: 416},
	{file: "novelsc.dat", want: 416},
	{file: "unksm2.dat", want: taken, why: "it is the registrar's business"},
	{file: "bext01.dat", want: 420},
	{file: "invut.dat", want: relayed, why: "bodies are the far ends' business"},
	{file: "regaut01.dat", want: taken},
	{file: "multi01.dat", want: 400},
	{file: "mcl01.dat", want: 400},
	{file: "bcast.dat", want: 0, why: "no transaction matches"},
	{file: "zeromf.dat", want: 200, why: "OPTIONS is for us and not sent on"},
	{file: "cparam01.dat", want: taken},
	{file: "cparam02.dat", want: taken},
	{file: "regescrt.dat", want: taken},
	{file: "sdp01.dat", want: relayed, why: "Accept is the far ends' business"},
	{file: "inv2543.dat", want: relayed},
	// RFC 5118 section 4.
	{file: "ipv6/ipv6-good", want: taken},
	{file: "ipv6/ipv6-bad", want: 400},
	{file: "ipv6/port-ambiguous", want: taken},
	{file: "ipv6/port-unambiguous", want: taken},
	{file: "ipv6/via-received-param-with-delim", want: 481},
	{file: "ipv6/via-received-param-no-delim", want: 200},
	{file: "ipv6/ipv6-in-sdp", want: relayed},
	{file: "ipv6/mult-ip-in-header", want: 481},
	{file: "ipv6/mult-ip-in-sdp", want: relayed},
	{file: "ipv6/ipv4-mapped-ipv6", want: relayed},
	{file: "ipv6/ipv6-bug-abnf-3-colons", want: 200, why: "accepted, RFC 5118 section 4.10"},
	{file: "ipv6/ipv6-correct-abnf-2-colons", want: 200},
}

// readTorture gives the files of RFC 5118 the line ends that they lost in the
// archive, the empty line that two of them lost, and the Content-Length that
// the body then has.
func readTorture(t testing.TB, file string) []byte {
	t.Helper()
	msg, err := os.ReadFile(filepath.Join("testdata/torture", file))
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(file, "ipv6/") {
		msg = bytes.ReplaceAll(msg, []byte("\n"), []byte("\r\n"))
		if !bytes.Contains(msg, []byte("\r\n\r\n")) {
			msg = append(msg, "\r\n"...)
		}
		body := len(msg) - bytes.Index(msg, []byte("\r\n\r\n")) - 4
		msg = regexp.MustCompile(`Content-Length: \d+`).ReplaceAll(msg, fmt.Appendf(nil, "Content-Length: %d", body))
	}
	return msg
}

func TestEveryTortureMessageGetsItsAnswerAndCallsGoOn(t *testing.T) {
	noNames(t)
	for _, tt := range torture {
		t.Run(tt.file, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNet(t)
				msg := readTorture(t, tt.file)
				n.send(msg)
				time.Sleep(100 * time.Millisecond)
				finals := n.finals()
				if tt.want == 0 && len(n.answers) > 0 {
					t.Fatalf("answered:\n%s", n.answers[0])
				}
				if tt.want != 0 {
					if len(finals) != 1 || status(finals[0]) != tt.want {
						t.Fatalf("got %d final answers, want one with %d:\n%s", len(finals), tt.want, bytes.Join(finals, nil))
					}
					sameFields(t, msg, finals[0])
				}
				if got := n.count("sipvigil_b2bua_malformed_total"); (got == 1) != tt.dropped {
					t.Errorf("malformed counts %v, want it counted: %v", got, tt.dropped)
				}
				n.call("after-" + filepath.Base(tt.file))
				if got := n.count("sipvigil_b2bua_panics_total"); got != 0 {
					t.Errorf("%v panics", got)
				}
			})
		})
	}
}

func TestEveryTortureFileIsInTheTable(t *testing.T) {
	all, err := filepath.Glob("testdata/torture/*.dat")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("testdata/torture/ipv6/*")
	if err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]bool)
	for _, tt := range torture {
		listed[filepath.Join("testdata/torture", tt.file)] = true
	}
	for _, file := range append(all, more...) {
		if !listed[file] {
			t.Errorf("%s is in no table", file)
		}
	}
	if len(all) != 49 || len(more) != 12 {
		t.Errorf("%d and %d files, want 49 and 12", len(all), len(more))
	}
}

// noNames has every look-up of a name fail at once. It is called outside of
// bubbles, as the net package makes channels at the first look-up.
func noNames(t *testing.T) {
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no names here")
	}}
	if _, err := net.DefaultResolver.LookupHost(context.Background(), "host.example.com"); err == nil {
		t.Fatal("a name was found")
	}
}

// sameFields compares what a response repeats of its request, RFC 3261 section
// 8.2.6.2, but for LWS, and sees that To has a tag.
func sameFields(t *testing.T, req, res []byte) {
	t.Helper()
	of := func(msg []byte) (first [fieldContentLength + 1]string, vias int) {
		f := fields{rest: msg}
		f.line()
		for f.next() {
			kind := fieldOf(f.name)
			if kind == fieldVia {
				for more := true; more; vias++ {
					_, f.value, more = cutUnquoted(f.value)
				}
				continue
			}
			if first[kind] == "" {
				first[kind] = strings.Join(strings.Fields(string(f.value)), " ")
			}
		}
		return first, vias
	}
	in, wantVias := of(req)
	out, vias := of(res)
	if vias != wantVias && !bytes.Contains(req, []byte(";;,;,,")) {
		t.Errorf("%d Vias in the answer, want %d:\n%s", vias, wantVias, res)
	}
	for _, kind := range []field{fieldFrom, fieldCallID, fieldCSeq} {
		if in[kind] != out[kind] {
			t.Errorf("answer repeats %q, want %q", out[kind], in[kind])
		}
	}
	if !strings.HasPrefix(out[fieldTo], in[fieldTo]) || in[fieldTo] != "" && !hasTag([]byte(out[fieldTo])) {
		t.Errorf("To of the answer is %q, want %q with a tag", out[fieldTo], in[fieldTo])
	}
}
