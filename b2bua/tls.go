package b2bua

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// serverTLS is how a connection is accepted. What is in force is asked for at
// each handshake, so certificates can change while we run.
func (a *Agent) serverTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c := a.tlsNow()
			// A resumed session would bring the certificate that was valid then.
			c.SessionTicketsDisabled = true
			if pool := c.ClientCAs; pool != nil {
				c.ClientAuth = tls.RequestClientCert
				c.VerifyConnection = func(cs tls.ConnectionState) error {
					if len(cs.PeerCertificates) == 0 {
						return nil // what it may do without is up to [Agent.certified]
					}
					return verifyChain(cs, pool)
				}
			}
			return c, nil
		},
	}
}

// clientTLS is how a connection is opened to a host of this name. RFC 5922
// section 7.3 has a server's certificate name the domain that was asked for.
func (a *Agent) clientTLS(name string) *tls.Config {
	c := a.tlsNow()
	roots := c.RootCAs
	c.ServerName = name
	c.InsecureSkipVerify = true // done below, by other rules than those of the web
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if err := verifyChain(cs, roots); err != nil {
			return err
		}
		if cert := cs.PeerCertificates[0]; !names(cert, name) {
			return fmt.Errorf("the certificate is for %s", strings.Join(identities(cert), ", "))
		}
		return nil
	}
	return c
}

func (a *Agent) tlsNow() *tls.Config {
	c := &tls.Config{}
	if a.cfg.TLS != nil {
		c = a.cfg.TLS().Clone()
	}
	c.MinVersion = tls.VersionTLS12
	return c
}

// verifyChain follows a certificate to one of these roots, those of the system
// if there are none. A SIP peer is client and server at once, so a certificate
// for either will do.
func verifyChain(cs tls.ConnectionState, roots *x509.CertPool) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("there is no certificate")
	}
	between := x509.NewCertPool()
	for _, cert := range cs.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	return err
}

// leaf is the certificate that the far end showed, which has been verified.
func leaf(cs tls.ConnectionState) *x509.Certificate {
	if len(cs.PeerCertificates) == 0 {
		return nil
	}
	return cs.PeerCertificates[0]
}

// names says whether a certificate is for this host, RFC 5922 section 7.2:
// without regard to case, and without wildcards.
func names(cert *x509.Certificate, host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		for _, own := range cert.IPAddresses {
			if own.Equal(ip) {
				return true
			}
		}
		return false
	}
	for _, own := range identities(cert) {
		if host != "" && sameName(own, host) {
			return true
		}
	}
	return false
}

// identities are the domains that a certificate is for, RFC 5922 section 7.1:
// its SIP URIs, and only without them its DNS names. The common name, which may
// be read where there is neither, is not.
func identities(cert *x509.Certificate) []string {
	var hosts []string
	for _, u := range cert.URIs {
		if host := sipDomain(u); host != "" {
			hosts = append(hosts, host)
		}
	}
	if len(hosts) == 0 {
		return cert.DNSNames
	}
	return hosts
}

// sipDomain is the host of a SIP URI that names a domain and no user.
func sipDomain(u *url.URL) string {
	if !strings.EqualFold(u.Scheme, "sip") || strings.Contains(u.Opaque, "@") {
		return ""
	}
	host, _, _ := strings.Cut(u.Opaque, ";")
	return host
}

// serves says whether a connection may carry a request for this host. One that
// its far end opened does, and so does any for a bare address: it was found by
// the address that it was verified for.
func (s *stream) serves(name string) bool {
	return s.listener != "" || s.peer == nil || net.ParseIP(name) != nil || names(s.peer, name)
}

// certified says whether a request may come from this trunk the way it came: a
// trunk can demand a certificate. A connection that we opened was verified by
// the name that it was opened to. What another node passed on was verified there.
func (a *Agent) certified(in *inbound) bool {
	if in.forwarded {
		return true
	}
	trunk := a.trunkOf(in.ip())
	for i := range a.cfg.Trunks {
		t := &a.cfg.Trunks[i]
		if t.Name != trunk || t.ClientName == "" {
			continue
		}
		s := in.stream()
		return s != nil && s.peer != nil && (s.listener == "" || names(s.peer, t.ClientName))
	}
	return true
}
