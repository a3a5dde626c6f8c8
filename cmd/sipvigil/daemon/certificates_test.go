package daemon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// writePair writes a certificate with this serial number, and its key.
func writePair(t *testing.T, files TLS, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"sip.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, files.Cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, files.Key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
}

// write gives a file another time of change at each call.
func write(t *testing.T, name, text string) {
	t.Helper()
	before := time.Now().Add(-time.Hour)
	if info, err := os.Stat(name); err == nil {
		before = info.ModTime()
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, time.Time{}, before.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
}

func TestChangedCertificatesAreInForceAtOnceUnlessTheyAreBroken(t *testing.T) {
	dir := t.TempDir()
	files := TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	core, logged := observer.New(zapcore.WarnLevel)
	c := &certificates{files: files, log: zap.New(core)}
	serial := func(want int64) {
		t.Helper()
		cert, err := x509.ParseCertificate(c.current().Certificates[0].Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		if got := cert.SerialNumber.Int64(); got != want {
			t.Errorf("certificate %d is in force, want %d", got, want)
		}
	}
	writePair(t, files, 1)
	if err := c.load(); err != nil {
		t.Fatal(err)
	}
	serial(1)
	writePair(t, files, 2)
	serial(2)
	write(t, files.Cert, "no certificate")
	serial(2)
	serial(2)
	if logged.Len() != 1 {
		t.Errorf("a broken file was logged %d times, want once", logged.Len())
	}
	writePair(t, files, 3)
	serial(3)
	if err := os.Remove(files.Key); err != nil {
		t.Fatal(err)
	}
	serial(3)
}

func TestEveryFileOfTLSThatCannotBeUsedIsNamedAtTheStart(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.pem")
	write(t, text, "text")
	missing := filepath.Join(dir, "missing.pem")
	c := &certificates{path: "sip.tls", files: TLS{Cert: missing, Key: text, CA: text, ClientCA: missing}, log: zap.NewNop()}
	err := c.load()
	if err == nil {
		t.Fatal("no error")
	}
	want := []string{
		"sip.tls.cert and sip.tls.key: open " + missing + ": no such file or directory",
		"sip.tls.ca: " + text + " holds no certificate in PEM form",
		"sip.tls.client_ca: open " + missing + ": no such file or directory",
	}
	if got := err.Error(); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}
