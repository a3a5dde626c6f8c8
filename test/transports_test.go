package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

// authority issues certificates.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t}
	pair := a.issue()
	a.cert, a.key = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// issue makes a certificate for names and addresses of hosts; the first is the
// authority's own.
func (a *authority) issue(hosts ...string) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: fmt.Sprint(serial)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// config is TLS of somebody who believes this authority; without hosts it has
// no certificate.
func (a *authority) config(hosts ...string) *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: a.pool()}
	if len(hosts) > 0 {
		cfg.Certificates = []tls.Certificate{a.issue(hosts...)}
	}
	return cfg
}

// secured is a daemon with all transports.
type secured struct {
	*sipvigil
	authority *authority
	dir       string
	redisURL  string
}

// serveSecured starts a daemon with a certificate for 127.0.0.1 and ::1; more
// is appended to its configuration.
func serveSecured(t testing.TB, more string) *secured {
	t.Helper()
	redisURL, _ := storetest.Redis(t)
	s := &secured{authority: newAuthority(t), dir: t.TempDir(), redisURL: redisURL}
	s.renew("127.0.0.1", "::1")
	s.write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.authority.cert.Raw}))
	s.write("sipvigil.yaml", fmt.Appendf(nil,
		"sip: {tls: {cert: %[1]s/cert.pem, key: %[1]s/key.pem, ca: %[1]s/ca.pem, client_ca: %[1]s/ca.pem}}\n%[2]s", s.dir, more))
	flags := []string{"--config", s.dir + "/sipvigil.yaml"}
	for _, l := range []string{"tls://127.0.0.1:0", "ws://127.0.0.1:0", "wss://127.0.0.1:0", "udp://[::1]:0", "tcp://[::1]:0", "tls://[::1]:0"} {
		flags = append(flags, "--listen", l)
	}
	s.sipvigil = serve(t, redisURL, flags...)
	return s
}

// crash ends the daemon, and starts it again on the same ports.
func (s *secured) crash() {
	s.t.Helper()
	flags := []string{"--config", s.dir + "/sipvigil.yaml"}
	for _, e := range s.entries("listening") {
		if l := e.field("transport") + "://" + e.field("addr"); l != "udp://"+s.udp && l != "tcp://"+s.tcp {
			flags = append(flags, "--listen", l)
		}
	}
	s.kill()
	s.sipvigil = s.again(s.redisURL, flags...)
}

// renew gives the daemon a new certificate.
func (s *secured) renew(hosts ...string) {
	pair := s.authority.issue(hosts...)
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		s.authority.t.Fatal(err)
	}
	s.write("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}))
	s.write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
}

func (s *secured) write(name string, text []byte) {
	if err := os.WriteFile(filepath.Join(s.dir, name), text, 0o600); err != nil {
		s.authority.t.Fatal(err)
	}
}

// addr is the daemon's socket of a transport and an IP version.
func (s *secured) addr(transport string, version int) string {
	s.t.Helper()
	for _, e := range s.entries("listening") {
		addr := e.field("addr")
		if e.field("transport") == transport && strings.HasPrefix(addr, "[") == (version == 6) {
			return addr
		}
	}
	s.t.Fatalf("sipvigil does not listen on %s over IPv%d", transport, version)
	return ""
}

// at is the URI of such a socket.
func (s *secured) at(transport string, version int) string {
	s.t.Helper()
	param := transport
	if param == "wss" {
		param = "ws"
	}
	return "sip:" + s.addr(transport, version) + ";transport=" + param
}

// phone is a phone of this transport and IP version with a certificate of its
// address.
func (s *secured) phone(user, transport string, version int) *ua.Phone {
	s.t.Helper()
	ip := map[int]string{4: "127.0.0.1", 6: "::1"}[version]
	return s.phoneWith(ua.Config{User: user, Transport: transport, Addr: net.JoinHostPort(ip, "0"), TLS: s.authority.config(ip)})
}

func (s *secured) phoneWith(cfg ua.Config) *ua.Phone {
	s.t.Helper()
	cfg.History = 2000
	return listen(s.t, cfg)
}

func TestCallsOverEveryTransport(t *testing.T) {
	t.Parallel()
	d := serveSecured(t, "")
	for _, tt := range []struct {
		caller, callee string
		versions       [2]int
	}{
		{"tls", "tls", [2]int{4, 4}},
		{"tls", "udp", [2]int{4, 4}},
		{"udp", "tls", [2]int{4, 4}},
		{"ws", "udp", [2]int{4, 4}},
		{"wss", "tls", [2]int{4, 4}},
		{"wss", "tcp", [2]int{4, 4}},
		{"udp", "udp", [2]int{6, 6}},
		{"tcp", "tcp", [2]int{6, 6}},
		{"tls", "tls", [2]int{6, 6}},
		{"udp", "udp", [2]int{6, 4}},
		{"tls", "udp", [2]int{4, 6}},
	} {
		t.Run(fmt.Sprintf("%s over IPv%d to %s over IPv%d", tt.caller, tt.versions[0], tt.callee, tt.versions[1]), func(t *testing.T) {
			t.Parallel()
			s := *d
			bound := *d.sipvigil
			bound.process = &process{t: t, cmd: d.cmd, stdout: d.stdout, log: d.log, ended: d.ended}
			s.sipvigil = &bound
			c := &talk{
				callerPhone: s.phone("alice", tt.caller, tt.versions[0]),
				calleePhone: s.phone("bob", tt.callee, tt.versions[1]),
				target:      s.at(tt.caller, tt.versions[0]),
			}
			c.connect(t, s.sipvigil)
			t.Cleanup(func() { c.check(t) })
			everyMethod(t, c.caller, c.callee, 40010)
			everyMethod(t, c.callee, c.caller, 40020)
			probed(t, c.caller, 2)
			probed(t, c.callee, 2)
			for who, leg := range map[string]struct {
				dialog    *ua.Dialog
				transport string
			}{"caller": {c.caller, tt.caller}, "callee": {c.callee, tt.callee}} {
				probe := requests(leg.dialog, "OPTIONS")[0].Message
				if want := "SIP/2.0/" + strings.ToUpper(leg.transport) + " "; !strings.HasPrefix(probe.Get("Via"), want) {
					t.Errorf("probe of the %s has Via %q, want %s", who, probe.Get("Via"), want)
				}
			}
			hangUp(t, c.callee, c.caller)
		})
	}
}

func TestALegWhoseConnectionIsGoneIsReachedByANewOne(t *testing.T) {
	t.Parallel()
	d := serveSecured(t, "supervise: {misses: 100}\n") // the browser has time to come back
	var talks []*talk
	for _, transport := range []string{"tls", "tcp"} {
		c := &talk{callerPhone: d.phone("alice", transport, 4), calleePhone: d.phone("bob", transport, 4), target: d.at(transport, 4), leaps: true}
		c.connect(t, d.sipvigil)
		probed(t, c.caller, 1)
		probed(t, c.callee, 1)
		talks = append(talks, c)
	}
	// A browser is reached when it is back: nobody can connect to it.
	browser := &talk{callerPhone: d.phone("alice", "ws", 4), calleePhone: d.phone("bob", "udp", 4), target: d.at("ws", 4), leaps: true}
	browser.connect(t, d.sipvigil)
	probed(t, browser.caller, 1)
	d.crash()
	for _, c := range talks {
		probed(t, c.caller, 1)
		probed(t, c.callee, 1)
		hangUp(t, c.caller, c.callee)
		if got := d.terminated(c.id).EndedBy; got != "caller-bye" {
			t.Errorf("%s: ended by %q", c.callerPhone.URI(), got)
		}
	}
	if res, err := browser.caller.Request(limit(t, patience), "INFO", ""); err != nil || res.Status != 200 {
		t.Errorf("INFO of a browser that is back: %v, %v", res, err)
	}
	probed(t, browser.caller, 1)
	hangUp(t, browser.callee, browser.caller)
	if got := d.terminated(browser.id).EndedBy; got != "callee-bye" {
		t.Errorf("browser: ended by %q", got)
	}
}

func TestARenewedCertificateIsUsedWithoutARestartAndABrokenOneIsNot(t *testing.T) {
	t.Parallel()
	d := serveSecured(t, "")
	shown := func() string {
		t.Helper()
		conn, err := tls.Dial("tcp", d.addr("tls", 4), d.authority.config())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	c := &talk{callerPhone: d.phone("alice", "tls", 4), calleePhone: d.phone("bob", "tls", 4), target: d.at("tls", 4)}
	c.connect(t, d.sipvigil)
	before := shown()
	d.renew("127.0.0.1")
	renewed := shown()
	if renewed == before {
		t.Error("the old certificate is still shown")
	}
	d.write("cert.pem", []byte("broken"))
	if shown() != renewed {
		t.Error("a broken file changed the certificate")
	}
	eventually(t, "the broken file is logged", func() bool { return len(d.entries("changed certificates cannot be used")) == 1 })
	probed(t, c.caller, 1) // the call goes on
	hangUp(t, c.caller, c.callee)
}

func TestATrunkMustShowTheCertificateThatItsConfigurationDemands(t *testing.T) {
	t.Parallel()
	d := serveSecured(t, "trunks: [{name: carrier, sources: [127.0.0.1], tls: {client_name: sip.carrier.example}}]\n")
	stranger := newAuthority(t)
	callee := d.phone("bob", "udp", 6) // whose address is not the trunk's
	refused := func(what string, caller *ua.Phone, transport string) {
		t.Helper()
		target := "sip:" + d.udp
		if transport != "udp" {
			target = d.at(transport, 4)
		}
		_, err := caller.Dial(target, callee.URI(), ua.Offer{SDP: ua.SDP(40000)}).Wait(limit(t, patience))
		var answer *ua.StatusError
		if err == nil || errors.As(err, &answer) && answer.Status != 403 {
			t.Errorf("%s: %v", what, err)
		}
	}
	with := func(transport string, cfg *tls.Config) *ua.Phone {
		return d.phoneWith(ua.Config{User: "alice", Transport: transport, TLS: cfg})
	}
	foreign, pair := d.authority.config(), stranger.issue("sip.carrier.example")
	foreign.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	refused("over UDP", d.phone("alice", "udp", 4), "udp")
	refused("over a WebSocket in the clear", d.phone("alice", "ws", 4), "ws")
	refused("without a certificate", with("wss", d.authority.config()), "wss")
	refused("with another name", with("tls", d.authority.config("sip.other.example")), "tls")
	refused("with the name of a subdomain", with("tls", d.authority.config("a.sip.carrier.example")), "tls")
	conn, err := tls.Dial("tcp", d.addr("tls", 4), foreign)
	if err == nil { // TLS 1.3 tells a client later
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		_, err = conn.Read(make([]byte, 1))
		_ = conn.Close()
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("with the name from another authority: %v", err)
	}

	if got := callee.Received(); len(got) > 0 {
		t.Errorf("refused calls reached the callee: %v", got)
	}
	c := &talk{callerPhone: with("tls", d.authority.config("SIP.carrier.example")), calleePhone: callee, target: d.at("tls", 4)}
	c.connect(t, d.sipvigil)
	probed(t, c.caller, 1)
	hangUp(t, c.caller, c.callee)
}

func TestAServerWithACertificateOfAnotherNameGetsNoCall(t *testing.T) {
	t.Parallel()
	d := serveSecured(t, "")
	alice := d.phone("alice", "udp", 4)
	stranger := newAuthority(t)
	for what, cfg := range map[string]*tls.Config{
		"another name":      d.authority.config("sip.other.example"),
		"another authority": stranger.config("127.0.0.1"),
	} {
		bob := d.phoneWith(ua.Config{User: "bob", Transport: "tls", TLS: cfg})
		_, err := alice.Dial("sip:"+d.udp, bob.URI(), ua.Offer{SDP: ua.SDP(40000)}).Wait(limit(t, patience))
		var answer *ua.StatusError
		if !errors.As(err, &answer) || answer.Status < 400 {
			t.Errorf("%s: %v, want the call to be refused", what, err)
		}
	}
}
