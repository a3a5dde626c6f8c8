package b2bua

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"
)

func TestACertificateIsForTheNamesThatItHasEntirely(t *testing.T) {
	uris := func(texts ...string) (list []*url.URL) {
		for _, text := range texts {
			u, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, u)
		}
		return list
	}
	dns := &x509.Certificate{DNSNames: []string{"sip.Example.com", "*.example.net"}, IPAddresses: []net.IP{net.ParseIP("192.0.2.1")}}
	both := &x509.Certificate{DNSNames: []string{"web.example.com"}, URIs: uris("SIP:example.com", "sip:example.org;transport=tls")}
	user := &x509.Certificate{DNSNames: []string{"example.com"}, URIs: uris("sip:ann@example.org", "https://example.net", "sips:example.info")}
	for _, tt := range []struct {
		cert *x509.Certificate
		host string
		want bool
	}{
		{dns, "sip.example.com", true},
		{dns, "SIP.EXAMPLE.COM.", true},
		{dns, "example.com", false},
		{dns, "a.sip.example.com", false},
		{dns, "a.example.net", false}, // RFC 5922 section 7.2: no wildcards
		{dns, "192.0.2.1", true},
		{dns, "192.0.2.2", false},
		{dns, "", false},
		{both, "example.com", true},
		{both, "example.org", true},
		{both, "web.example.com", false}, // RFC 5922 section 7.1: SIP URIs go before DNS names
		{user, "example.com", true},
		{user, "example.org", false},
		{user, "example.net", false},
		{user, "example.info", false},
		{&x509.Certificate{}, "", false},
	} {
		if got := names(tt.cert, tt.host); got != tt.want {
			t.Errorf("%v names %q: %v, want %v", identities(tt.cert), tt.host, got, tt.want)
		}
	}
}

func TestTheNextHopIsWhoMustShowACertificate(t *testing.T) {
	for _, tt := range []struct{ uri, route, want string }{
		{"sip:bob@Example.com:5061;transport=tls", "", "example.com"},
		{"sip:bob@example.com", "<sip:proxy.example.net;lr;transport=tls>, <sip:other.example.net;lr>", "proxy.example.net"},
		{"sip:strict.example.net", "<sip:bob@example.com>", "strict.example.net"},
		{"sip:bob@[2001:db8::1]", "", "2001:db8::1"},
	} {
		req := &request{uri: tt.uri}
		if tt.route != "" {
			req.add("Route", tt.route)
		}
		if got := nextHopHost(req); got != tt.want {
			t.Errorf("%s by way of %q: %q, want %q", tt.uri, tt.route, got, tt.want)
		}
	}
}

// selfSigned is TLS with a certificate that is its own root.
func selfSigned(t *testing.T, names ...string) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		DNSNames: names, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: cert}}}
}

func TestAnAddressIsTrustedUnderTheNameThatItWasReachedByBefore(t *testing.T) {
	secured := selfSigned(t, "carrier.example", "other.example")
	l, err := tls.Listen("tcp", "127.0.0.1:0", secured)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake()
			defer conn.Close()
		}
	}()
	n := newNet(t)
	n.agent.cfg.TLS = func() *tls.Config { return secured }
	addr := l.Addr().String()
	connect := func(host string) (*stream, error) {
		return n.agent.connect(t.Context(), &request{uri: "sip:" + host, transport: "tls", to: addr})
	}
	fails := func(host string) {
		t.Helper()
		if _, err := connect(host); err == nil {
			t.Errorf("connected to %s", host)
		}
	}
	works := func(host string) *stream {
		t.Helper()
		s, err := connect(host)
		if err != nil {
			t.Fatalf("%s: %v", host, err)
		}
		return s
	}
	fails("127.0.0.1") // the certificate has no address
	fails("sub.carrier.example")
	first := works("carrier.example")
	if works("127.0.0.1") != first || works("other.example") != first {
		t.Error("a connection was opened although there was one")
	}
	fails("third.example")
	first.close()
	if works("127.0.0.1") == first {
		t.Error("a closed connection was found")
	}
}
