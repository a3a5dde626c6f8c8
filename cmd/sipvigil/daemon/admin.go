package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"sipvigil/store/redis"
	"sipvigil/supervisor/web"
)

// adminConfig is what the HTTP API needs to know.
func (d *Daemon) adminConfig() web.Config {
	c := web.Config{Listen: d.cfg.Admin.Listen, Node: d.cfg.Node, Probe: d.cfg.Supervise.Timeout + time.Second, Nodes: d.nodes, Idle: d.idle,
		Trunks: d.links.Health, Usage: d.usage, Progress: d.progress, Started: d.started.Load,
		Maintenance: &desk{Board: d.board, service: d.service, nodes: d.nodes}, Pinger: &pinger{d.agent, d.service}}
	if st, ok := d.store.(*redis.Store); ok {
		c.Records, c.Wire = st.Records, st
	} else {
		c.Records = d.recent.Records
	}
	if d.cfg.Admin.TokensFile != "" {
		d.tokens = &tokenFile{name: d.cfg.Admin.TokensFile, log: d.log.Named("web")}
		c.Tokens = d.tokens.current
	}
	if d.cfg.Admin.TLS != (AdminTLS{}) {
		d.adminCertificates = &certificates{files: d.cfg.Admin.TLS.files(), path: "admin.tls", log: d.log.Named("web")}
		c.TLS = d.adminCertificates.current
	}
	return c
}

func (t AdminTLS) files() TLS { return TLS{Cert: t.Cert, Key: t.Key} }

// CheckFiles reads the certificates and the tokens that a configuration names, as
// Listen does. Its error names what is wrong with each, one a line. The
// configuration may have faults.
func CheckFiles(c *Config) error {
	sip := certificates{files: c.SIP.TLS, path: "sip.tls"}
	admin := certificates{files: c.Admin.TLS.files(), path: "admin.tls"}
	faults := []error{sip.load(), admin.load()}
	if c.Admin.TokensFile != "" {
		faults = append(faults, (&tokenFile{name: c.Admin.TokensFile}).load())
	}
	return errors.Join(faults...)
}

// loadAdmin reads the files of the HTTP API.
func (d *Daemon) loadAdmin() error {
	var faults []error
	if d.adminCertificates != nil {
		faults = append(faults, d.adminCertificates.load())
	}
	if d.tokens != nil {
		faults = append(faults, d.tokens.load())
		if d.adminCertificates == nil && !isLoopback(d.cfg.Admin.Listen) {
			d.log.Warn("tokens travel in the clear: give admin.tls, or have a proxy serve HTTPS", zap.String("listen", d.cfg.Admin.Listen))
		}
	}
	return errors.Join(faults...)
}

// pageURL is where the page is.
func (d *Daemon) pageURL() string {
	scheme := "http"
	if d.adminCertificates != nil {
		scheme = "https"
	}
	return scheme + "://" + d.AdminAddr().String() + "/"
}

// tokenFile is who may use the API. It is looked at with each request, so that
// a token that was taken out is refused at once. A file that cannot be used
// leaves in force what was read before, unless it is gone: then nobody may.
type tokenFile struct {
	name string
	log  *zap.Logger

	mu      sync.Mutex // guards the rest
	inUse   web.Tokens
	changed time.Time // of the file that was read last, whether or not it could be used
	size    int64
}

// load reads the file and fails if it cannot be used.
func (f *tokenFile) load() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.look()
	return err
}

// current is what is in force. The result belongs to all and is not changed.
func (f *tokenFile) current() web.Tokens {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch anew, err := f.look(); {
	case errors.Is(err, fs.ErrNotExist):
		f.log.Error("the tokens file is gone, and nobody may use the API: put it back", zap.Error(err))
	case err != nil:
		f.log.Error("the tokens file cannot be used, what was read before stays in force: correct the file", zap.Error(err))
	case anew:
		f.log.Info("tokens read again", zap.String("file", f.name), zap.Int("tokens", len(f.inUse)))
	}
	return f.inUse
}

// look reads the file if it has changed. Its error comes once for each change.
func (f *tokenFile) look() (anew bool, err error) {
	info, err := os.Stat(f.name)
	var changed time.Time
	var size int64 = -1
	if err == nil {
		changed, size = info.ModTime(), info.Size()
	}
	if changed.Equal(f.changed) && size == f.size {
		return false, nil
	}
	f.changed, f.size = changed, size
	file, err := os.Open(f.name)
	if errors.Is(err, fs.ErrNotExist) {
		f.inUse = nil
	}
	if err != nil {
		return false, fmt.Errorf("admin.tokens_file: %w", err)
	}
	defer file.Close()
	tokens, err := web.ReadTokens(file)
	if err != nil {
		return false, fmt.Errorf("admin.tokens_file: %s: %s", f.name, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	f.inUse = tokens
	return true, nil
}
