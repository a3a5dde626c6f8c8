package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

// certificates are what the files of a configuration hold. They are looked at
// whenever a connection is made, so that a renewed certificate is in force at
// once. Files that cannot be used leave in force what was read before.
type certificates struct {
	files TLS
	path  string // of the files in the configuration
	log   *zap.Logger

	mu     sync.Mutex // guards the rest
	inUse  *tls.Config
	looked stamp // of the files that were read last, whether or not they could be used
}

// stamp tells one state of the files from another.
type stamp [4]struct {
	changed time.Time
	size    int64
}

// load reads all files and fails if one cannot be used.
func (c *certificates) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looked = c.stamp()
	read, err := c.read()
	if err == nil {
		c.inUse = read
	}
	return err
}

// current is what is in force. The result belongs to all and is not changed.
func (c *certificates) current() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.stamp()
	if now == c.looked {
		return c.inUse
	}
	c.looked = now
	read, err := c.read()
	if err != nil {
		c.log.Warn("changed certificates cannot be used, those from before stay in force", zap.Error(err))
		return c.inUse
	}
	c.inUse = read
	c.log.Info("certificates read again", zap.String("cert", c.files.Cert))
	return read
}

func (c *certificates) stamp() stamp {
	var s stamp
	for i, name := range []string{c.files.Cert, c.files.Key, c.files.CA, c.files.ClientCA} {
		if info, err := os.Stat(name); err == nil {
			s[i].changed, s[i].size = info.ModTime(), info.Size()
		}
	}
	return s
}

func (c *certificates) read() (*tls.Config, error) {
	var faults []error
	read := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.files.Cert != "" && c.files.Key != "" {
		pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s.cert and %[1]s.key: %w", c.path, err))
		}
		read.Certificates = []tls.Certificate{pair}
	}
	var err error
	if read.RootCAs, err = readPool(c.files.CA); err != nil {
		faults = append(faults, fmt.Errorf("%s.ca: %w", c.path, err))
	}
	if read.ClientCAs, err = readPool(c.files.ClientCA); err != nil {
		faults = append(faults, fmt.Errorf("%s.client_ca: %w", c.path, err))
	}
	return read, errors.Join(faults...)
}

// readPool reads roots, nil for no file.
func readPool(name string) (*x509.CertPool, error) {
	if name == "" {
		return nil, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", name)
	}
	return pool, nil
}
