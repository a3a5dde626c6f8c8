package redis

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Config says which Redis keeps the calls and who writes them.
type Config struct {
	// URL is redis://[user:password@]host[:port][/db], or one of
	// redis-sentinel://host,host/MASTER[/db] and redis-cluster://host,host.
	// With rediss instead of redis the connections use TLS. User and password
	// are those of the Redis servers, % escapes are understood in both;
	// Sentinels are asked without a password.
	URL string
	// Node is the name of this process among those that share the Redis.
	Node string
	// Prefix begins every key. Empty means sv.
	Prefix string

	// Fenced is told of a call whose change was refused because a later owner
	// has it: this process must forget the call. Missing is told of a call of
	// which Redis has no record although a part of it was to be written, which
	// happens when Redis lost its data: the owner saves the call again, and
	// the health of both legs. What was refused is written with it. Lost is
	// told that another server than before answers, or that one was emptied, so
	// that writes may be missing that were acknowledged: the owner saves all
	// calls again.
	//
	// All may be nil. They are called by Run, one at a time, may use the
	// store, must not block, and may be told of a call more than once.
	Fenced  func(id string)
	Missing func(id string)
	Lost    func()
}

// Validate returns all that is wrong with a configuration. It never tells the
// password.
func (c Config) Validate() error {
	err := CheckURL(c.URL)
	if err != nil {
		err = fmt.Errorf("store URL: %w", err)
	}
	if c.Node == "" {
		err = errors.Join(err, errors.New("store: the node has no name"))
	}
	if strings.ContainsAny(c.Prefix, "{} \t\r\n") {
		err = errors.Join(err, fmt.Errorf("store: prefix %q holds a brace or a space", c.Prefix))
	}
	return err
}

// CheckURL says what is wrong with the URL of a [Config]. It never tells the
// password.
func CheckURL(raw string) error {
	_, err := parse(raw)
	return err
}

// How long an exchange may take. Run takes a Redis for lost that is silent for
// ioTimeout, and waits longer each time up to ioMost, so that a slow one is
// written to all the same; nobody waits for Run. Others wait up to ioMost unless
// their context ends earlier. Scripts may be run twice, so that one retry does
// no harm.
const (
	dialTimeout = time.Second
	ioTimeout   = 500 * time.Millisecond
	ioMost      = 4 * time.Second
	retries     = 1
	redirects   = 2 // Cluster counts a retry as one
)

// The kinds of endpoint, as Status names them.
const (
	standalone = "redis"
	sentinel   = "redis-sentinel"
	cluster    = "redis-cluster"
)

// endpoint is a parsed URL.
type endpoint struct {
	kind           string
	tls            bool
	addrs          []string
	master         string // of Sentinel
	db             int
	user, password string
}

func parse(raw string) (endpoint, error) {
	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		return endpoint{}, errors.New("is not of the form redis://host:port/db")
	}
	var e endpoint
	kind, secured := strings.CutPrefix(scheme, "rediss")
	e.tls = secured
	if !secured {
		kind, _ = strings.CutPrefix(scheme, "redis")
	}
	e.kind = "redis" + kind
	port := "6379"
	switch {
	case !strings.HasPrefix(scheme, "redis"), e.kind != standalone && e.kind != sentinel && e.kind != cluster:
		return endpoint{}, fmt.Errorf("scheme %q is none of redis, rediss, redis-sentinel, redis-cluster", scheme)
	case e.kind == sentinel:
		port = "26379"
	}
	if strings.ContainsAny(rest, "?#") {
		return endpoint{}, errors.New("options after ? or # are not supported")
	}
	authority, path, _ := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if err := e.login(authority[:at]); err != nil {
			return endpoint{}, err
		}
		authority = authority[at+1:]
	}
	if err := e.hosts(authority, port); err != nil {
		return endpoint{}, err
	}
	return e, e.path(path)
}

// login takes user:password.
func (e *endpoint) login(info string) error {
	user, password, _ := strings.Cut(info, ":")
	var err1, err2 error
	e.user, err1 = url.PathUnescape(user)
	e.password, err2 = url.PathUnescape(password)
	if err1 != nil || err2 != nil {
		return errors.New("bad % escape in user or password")
	}
	return nil
}

// hosts takes a list of host or host:port.
func (e *endpoint) hosts(list, defaultPort string) error {
	for host := range strings.SplitSeq(list, ",") {
		name, port, err := net.SplitHostPort(host)
		if err != nil { // no port
			name, port = strings.Trim(host, "[]"), defaultPort
		}
		if n, err := strconv.ParseUint(port, 10, 16); name == "" || n == 0 || err != nil {
			return fmt.Errorf("%q is no host or host:port", host)
		}
		e.addrs = append(e.addrs, net.JoinHostPort(name, port))
	}
	if e.kind == standalone && len(e.addrs) > 1 {
		return errors.New("several hosts need redis-sentinel or redis-cluster")
	}
	return nil
}

// path takes what follows the hosts: MASTER/db for Sentinel, db for one server.
func (e *endpoint) path(path string) error {
	db := path
	if e.kind == sentinel {
		e.master, db, _ = strings.Cut(path, "/")
		if e.master == "" {
			return errors.New("the name of Sentinel's master is missing: redis-sentinel://host,host/MASTER/0")
		}
	}
	if db == "" {
		return nil
	}
	n, err := strconv.ParseUint(db, 10, 31)
	if err != nil || e.kind == cluster && n > 0 {
		return fmt.Errorf("%q is no database number", db)
	}
	e.db = int(n)
	return nil
}

// client makes the client that suits the endpoint. It connects to nothing yet.
func (e endpoint) client() goredis.UniversalClient {
	var secure *tls.Config
	if e.tls {
		secure = &tls.Config{MinVersion: tls.VersionTLS12} // the server's name is taken from its address
	}
	switch e.kind {
	case sentinel:
		return goredis.NewFailoverClient(&goredis.FailoverOptions{
			MasterName: e.master, SentinelAddrs: e.addrs, DB: e.db,
			Username: e.user, Password: e.password, TLSConfig: secure,
			DialTimeout: dialTimeout, DialerRetries: 1, ReadTimeout: ioMost, WriteTimeout: ioMost,
			MaxRetries: retries, ContextTimeoutEnabled: true, Protocol: 2, DisableIdentity: true,
		})
	case cluster:
		return goredis.NewClusterClient(&goredis.ClusterOptions{
			Addrs: e.addrs, Username: e.user, Password: e.password, TLSConfig: secure,
			DialTimeout: dialTimeout, DialerRetries: 1, ReadTimeout: ioMost, WriteTimeout: ioMost,
			MaxRedirects: redirects, ContextTimeoutEnabled: true, Protocol: 2, DisableIdentity: true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
	default:
		return goredis.NewClient(&goredis.Options{
			Addr: e.addrs[0], DB: e.db, Username: e.user, Password: e.password, TLSConfig: secure,
			DialTimeout: dialTimeout, DialerRetries: 1, ReadTimeout: ioMost, WriteTimeout: ioMost,
			MaxRetries: retries, ContextTimeoutEnabled: true, Protocol: 2, DisableIdentity: true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
	}
}
