package b2bua

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/icholy/digest"
)

// Credentials are what we identify ourselves with to the peers of one trunk.
type Credentials struct {
	Username     string // empty: the trunk has none
	PasswordFile string // read for every challenge, so that it may change
	Realm        string // of the challenges that are answered; empty: of all
}

// maxPassword bounds what is read of a password file.
const maxPassword = 1024

// ReadPassword reads a password from a file, without the line end after it.
func ReadPassword(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxPassword+1))
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", path, err)
	}
	password := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	switch {
	case password == "":
		return "", fmt.Errorf("%s is empty", path)
	case len(password) > maxPassword:
		return "", fmt.Errorf("%s is longer than %d bytes", path, maxPassword)
	case strings.ContainsAny(password, "\r\n"):
		return "", fmt.Errorf("%s has more than one line", path)
	}
	return password, nil
}

// account is the credentials of one trunk, and the challenges that its peers
// made last, so that the next request need not be challenged again.
//
// Departs from RFC 3261 section 22.3: what a proxy demanded is remembered for
// the trunk and not for one dialog, because the credentials are configured for
// that trunk and go nowhere else.
type account struct {
	credentials Credentials

	mu       sync.Mutex // guards what is below
	sessions []*session // at most maxRealms, the last used at the end
	failing  bool       // the peer refused the credentials when they were used last
}

// session is a challenge that is being answered.
type session struct {
	challenge
	password string
	count    int // requests that carried its nonce
}

// newAccounts are the accounts of the trunks that have credentials, by name.
func newAccounts(trunks []Trunk) map[string]*account {
	accounts := make(map[string]*account)
	for i := range trunks {
		if t := &trunks[i]; t.Credentials.Username != "" {
			accounts[t.Name] = &account{credentials: t.Credentials}
		}
	}
	return accounts
}

// authorize gives a request credentials for every challenge that is
// remembered, and says which they are. Those that it has for the same realms,
// of the other leg or of an earlier attempt, give way.
func (ac *account) authorize(req *request) []*session {
	ac.mu.Lock()
	defer ac.mu.Unlock()
	used := slices.Clone(ac.sessions)
	withdraw(req, used)
	for _, s := range used {
		s.count++
		// The digest-uri is the Request-URI: RFC 3261 section 22.4.
		cred, err := digest.Digest(&s.Challenge, digest.Options{
			Method: req.method, URI: req.uri, Count: s.count,
			Username: ac.credentials.Username, Password: s.password,
			GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(req.body)), nil },
		})
		if err == nil { // challenges are only kept when they can be answered
			req.add(s.header, cred.String())
		}
	}
	return used
}

// withdraw takes the credentials for the realms of these sessions out of a
// request.
func withdraw(req *request, of []*session) {
	if len(of) > 0 {
		req.edit(func(name, value string) (string, bool) { return value, !belongs(name, value, of) })
	}
}

// belongs says whether a field, given its long name in lower case, has
// credentials for the realm of one of these sessions.
func belongs(name, value string, of []*session) bool {
	if !isCredentials(name) {
		return false
	}
	params, _ := authParams(value)
	return slices.ContainsFunc(of, func(s *session) bool {
		return strings.EqualFold(name, s.header) && params["realm"] == s.Realm
	})
}

// vouch gives the ACK to a 2xx the credentials of its INVITE, RFC 3261 section
// 22.1. What the far end of the other leg put there itself is in it already.
func (at *attempt) vouch(ack *request) {
	if at == nil || len(at.used) == 0 {
		return
	}
	withdraw(ack, at.used)
	for f := (fields{rest: at.out.header}); f.next(); {
		if name, value := string(f.name), string(f.value); belongs(fieldNamed(name).key, value, at.used) {
			ack.add(name, value)
		}
	}
}

// isCredentials is given a long name in lower case.
func isCredentials(name string) bool {
	return name == "authorization" || name == "proxy-authorization"
}

// Reasons not to answer a challenge.
var (
	errChallenge = errors.New("no challenge that can be answered")
	errRefused   = errors.New("the peer refuses these credentials")
)

// answer prepares the sessions that answer a response to this attempt. It
// fails with errRefused when that would only repeat what was refused.
func (ac *account) answer(at *attempt, res *received) error {
	realm := ac.credentials.Realm
	picked := slices.DeleteFunc(challenges(res), func(ch challenge) bool { return realm != "" && ch.Realm != realm })
	if len(picked) == 0 {
		return errChallenge
	}
	password, err := ReadPassword(ac.credentials.PasswordFile)
	if err != nil {
		return err
	}
	for i := range picked {
		if at.refused(&picked[i], password) {
			ac.forget(&picked[i])
			return errRefused
		}
	}
	ac.mu.Lock()
	defer ac.mu.Unlock()
	for _, ch := range picked {
		at.answered = append(at.answered, ch)
		ac.sessions = slices.DeleteFunc(ac.sessions, func(s *session) bool { return s.sameDomain(&ch) })
		if len(ac.sessions) == maxRealms {
			ac.sessions = slices.Delete(ac.sessions, 0, 1)
		}
		ac.sessions = append(ac.sessions, &session{challenge: ch, password: password})
	}
	return nil
}

// forget drops what is remembered for a realm.
func (ac *account) forget(ch *challenge) {
	ac.mu.Lock()
	defer ac.mu.Unlock()
	ac.sessions = slices.DeleteFunc(ac.sessions, func(s *session) bool { return s.sameDomain(ch) })
}

// failed notes that the credentials were refused; first says whether they had
// not been when they were used before.
func (ac *account) failed() (first bool) {
	ac.mu.Lock()
	defer ac.mu.Unlock()
	first = !ac.failing
	ac.failing = true
	return first
}

func (ac *account) worked() {
	ac.mu.Lock()
	defer ac.mu.Unlock()
	ac.failing = false
}
