package ua_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sipvigil/test/ua"
)

// t1 is short, so that repetitions come soon, and leaves a loaded machine time
// to answer within 64*t1. Tests that wait for a time-out take the hasty one.
const (
	t1      = 50 * time.Millisecond
	hastyT1 = 15 * time.Millisecond
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onEach runs a test over all transports that phones can call each other by.
func onEach(t *testing.T, test func(t *testing.T, alice, bob *ua.Phone)) {
	for _, transport := range []string{"udp", "tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			alice, bob := listen(t, "alice", transport), listen(t, "bob", transport)
			test(t, alice, bob)
			for _, p := range []*ua.Phone{alice, bob} {
				if err := p.Faults(); err != nil {
					t.Errorf("malformed messages: %v", err)
				}
			}
		})
	}
}

func listen(t *testing.T, user, transport string) *ua.Phone {
	t.Helper()
	return listenWith(t, ua.Config{User: user, Transport: transport, UserAgent: user, T1: t1})
}

// listenHasty is a phone whose time-outs are about a second.
func listenHasty(t *testing.T, user, transport string) *ua.Phone {
	t.Helper()
	return listenWith(t, ua.Config{User: user, Transport: transport, UserAgent: user, T1: hastyT1})
}

func listenWith(t *testing.T, cfg ua.Config) *ua.Phone {
	t.Helper()
	if cfg.Transport == "tls" {
		cfg.TLS = ownTLS(t)
	}
	p, err := ua.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// must takes the error out of a call that has to succeed.
func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// connect sets up a call between two phones and returns both ends.
func connect(t *testing.T, alice, bob *ua.Phone) (caller, callee *ua.Dialog) {
	t.Helper()
	out := alice.Dial(bob.Addr(), bob.URI(), ua.Offer{SDP: ua.SDP(40000)})
	in := must[*ua.Incoming](t)(bob.Invited(t.Context()))
	callee = must[*ua.Dialog](t)(in.Accept(ua.SDP(40002)))
	caller = must[*ua.Dialog](t)(out.Wait(t.Context()))
	select {
	case <-callee.Confirmed():
	case <-callee.Ended():
		t.Fatalf("call ended before its ACK: %+v", callee.End())
	}
	return caller, callee
}

// ask demands one status as the answer to a request.
func ask(t *testing.T, d *ua.Dialog, want int, method, body string, headers ...ua.Header) *ua.Message {
	t.Helper()
	response := must[*ua.Message](t)(d.Request(t.Context(), method, body, headers...))
	if response.Status != want {
		t.Fatalf("%s: answered %d, want %d", method, response.Status, want)
	}
	return response
}

// ends waits for the end of a call and compares who ended it.
func ends(t *testing.T, d *ua.Dialog, want ua.Party) ua.End {
	t.Helper()
	end := must[ua.End](t)(d.WaitEnd(t.Context()))
	if end.By != want {
		t.Fatalf("ended by %q, want %q", end.By, want)
	}
	return end
}

func inOrder(t *testing.T, dialogs ...*ua.Dialog) {
	t.Helper()
	for _, d := range dialogs {
		if err := d.CheckCSeq(); err != nil {
			t.Error(err)
		}
	}
}

func wantStatus(t *testing.T, err error, want int) {
	t.Helper()
	var status *ua.StatusError
	if !errors.As(err, &status) || status.Status != want {
		t.Fatalf("error %v, want status %d", err, want)
	}
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*t1)
	t.Cleanup(cancel)
	return ctx
}

func transportOf(p *ua.Phone) string {
	if _, transport, ok := strings.Cut(p.URI(), ";transport="); ok {
		return transport
	}
	return "udp"
}

// ownTLS is TLS with a certificate that its owner believes in, and who has it.
var ownTLS = func() func(*testing.T) *tls.Config {
	var once sync.Once
	var cfg *tls.Config
	return func(t *testing.T) *tls.Config {
		once.Do(func() {
			key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
			template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
				IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
			der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
			roots := x509.NewCertPool()
			roots.AddCert(must[*x509.Certificate](t)(x509.ParseCertificate(der)))
			cfg = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots,
				Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
		})
		return cfg
	}
}()
