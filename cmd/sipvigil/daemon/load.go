package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"sipvigil/b2bua"
)

// setting is a value that can be given without a file: by the environment, and
// some of them by a flag.
type setting struct {
	path string // in the file
	env  string
	flag string
}

var settings = []setting{
	{"node", "SIPVIGIL_NODE", "node"},
	{"sip.listen", "SIPVIGIL_SIP_LISTEN", "listen"},
	{"sip.advertise", "SIPVIGIL_SIP_ADVERTISE", ""},
	{"sip.next_hop", "SIPVIGIL_SIP_NEXT_HOP", "next-hop"},
	{"sip.ring_timeout", "SIPVIGIL_SIP_RING_TIMEOUT", ""},
	{"sip.dns", "SIPVIGIL_SIP_DNS", ""},
	{"sip.unknown", "SIPVIGIL_SIP_UNKNOWN", ""},
	{"sip.source_check", "SIPVIGIL_SIP_SOURCE_CHECK", ""},
	{"sip.takeover", "SIPVIGIL_SIP_TAKEOVER", ""},
	{"sip.tls.cert", "SIPVIGIL_SIP_TLS_CERT", ""},
	{"sip.tls.key", "SIPVIGIL_SIP_TLS_KEY", ""},
	{"sip.tls.ca", "SIPVIGIL_SIP_TLS_CA", ""},
	{"sip.tls.client_ca", "SIPVIGIL_SIP_TLS_CLIENT_CA", ""},
	{"store.url", "SIPVIGIL_STORE_URL", "store"},
	{"store.data", "SIPVIGIL_STORE_DATA", "data"},
	{"store.on_outage", "SIPVIGIL_STORE_ON_OUTAGE", ""},
	{"supervise.interval", "SIPVIGIL_SUPERVISE_INTERVAL", "probe-interval"},
	{"supervise.jitter", "SIPVIGIL_SUPERVISE_JITTER", ""},
	{"supervise.timeout", "SIPVIGIL_SUPERVISE_TIMEOUT", "probe-timeout"},
	{"supervise.misses", "SIPVIGIL_SUPERVISE_MISSES", "probe-misses"},
	{"supervise.method", "SIPVIGIL_SUPERVISE_METHOD", ""},
	{"supervise.policy", "SIPVIGIL_SUPERVISE_POLICY", ""},
	{"supervise.action", "SIPVIGIL_SUPERVISE_ACTION", ""},
	{"supervise.max_duration", "SIPVIGIL_SUPERVISE_MAX_DURATION", ""},
	{"supervise.brake.share", "SIPVIGIL_SUPERVISE_BRAKE_SHARE", ""},
	{"supervise.brake.floor", "SIPVIGIL_SUPERVISE_BRAKE_FLOOR", ""},
	{"supervise.brake.per_minute", "SIPVIGIL_SUPERVISE_BRAKE_PER_MINUTE", ""},
	{"cdr.file", "SIPVIGIL_CDR_FILE", ""},
	{"cdr.max_mb", "SIPVIGIL_CDR_MAX_MB", ""},
	{"cdr.keep", "SIPVIGIL_CDR_KEEP", ""},
	{"hep.address", "SIPVIGIL_HEP_ADDRESS", ""},
	{"hep.id", "SIPVIGIL_HEP_ID", ""},
	{"admin.listen", "SIPVIGIL_ADMIN_LISTEN", "admin"},
	{"admin.tokens_file", "SIPVIGIL_ADMIN_TOKENS_FILE", ""},
	{"admin.tls.cert", "SIPVIGIL_ADMIN_TLS_CERT", ""},
	{"admin.tls.key", "SIPVIGIL_ADMIN_TLS_KEY", ""},
}

// Load returns the configuration: flags before environment before file before
// default. path may be empty; flags holds the values of each flag that was
// given, by its name. The error names every fault, one a line, and where it is.
func Load(path string, getenv func(string) string, flags map[string][]string) (Config, error) {
	l := newLoader()
	if path != "" {
		body, err := os.ReadFile(path)
		if err != nil {
			l.faults = append(l.faults, fault{text: fmt.Sprintf("configuration file: %v", err)})
		}
		l.file = filepath.Base(path)
		l.decodeFile(body)
	}
	for _, s := range settings {
		from := origin{name: "--" + s.flag}
		values, ok := flags[s.flag]
		if text := getenv(s.env); !ok && text != "" {
			from = origin{name: s.env}
			values = strings.Split(text, ",")
		}
		if len(values) > 0 {
			l.give(s.path, from, values)
		}
	}
	if l.config.SIP.NextHop != "" && l.origin("sip.next_hop").line == 0 {
		l.config.Routes = nil // a next hop from outside of the file goes before all that leads elsewhere in it
	}
	validate(&l.config, l.fault)
	l.readPasswords()
	return l.config, l.err()
}

// readPasswords finds files that are not there, or hold no password, before the
// first challenge does.
func (l *loader) readPasswords() {
	for i := range l.config.Trunks {
		if file := l.config.Trunks[i].Credentials.PasswordFile; file != "" {
			if _, err := b2bua.ReadPassword(file); err != nil {
				l.fault(item("trunks", i)+".credentials.password_file", "%v", err)
			}
		}
	}
}

// origin is where a value comes from: a line of the file, or a name.
type origin struct {
	line int
	name string
}

type fault struct {
	line int
	text string
}

// loader collects a configuration, where its values come from, and its faults.
type loader struct {
	file    string
	config  Config
	origins map[string]origin // by path
	broken  map[string]bool   // paths whose value could not be read: what they are part of is not judged
	faults  []fault
}

func newLoader() *loader {
	return &loader{config: Default(), origins: make(map[string]origin), broken: make(map[string]bool)}
}

// give sets a value from the environment or a flag.
func (l *loader) give(path string, from origin, values []string) {
	for i := range values {
		values[i] = strings.TrimSpace(values[i])
	}
	delete(l.broken, path)
	maps.DeleteFunc(l.origins, func(p string, _ origin) bool { return within(p, path) })
	l.origins[path] = from
	v := reflect.ValueOf(&l.config).Elem()
	for key := range strings.SplitSeq(path, ".") {
		v = field(v, key)
	}
	l.set(path, v, values)
}

// fault notes that the value at a path is wrong, and where it was given.
func (l *loader) fault(path, format string, args ...any) {
	for b := range l.broken {
		if within(b, path) {
			return
		}
	}
	text := fmt.Sprintf(format, args...)
	from := l.origin(path)
	switch {
	case from.line > 0:
		text = fmt.Sprintf("%s:%d: %s: %s", l.file, from.line, path, text)
	case from.name != "":
		text = fmt.Sprintf("%s: %s", from.name, text)
	default:
		text = path + ": " + text
	}
	l.faults = append(l.faults, fault{from.line, text})
}

// within says whether a path is another one, or a part of it.
func within(path, other string) bool {
	rest, ok := strings.CutPrefix(path, other)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// origin is where a value was given, or else what it is part of.
func (l *loader) origin(path string) origin {
	for {
		if from, ok := l.origins[path]; ok || path == "" {
			return from
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
}

// err returns all faults, those of the file in the order of its lines first.
func (l *loader) err() error {
	slices.SortStableFunc(l.faults, func(a, b fault) int {
		if (a.line == 0) != (b.line == 0) {
			return cmp.Compare(b.line, a.line)
		}
		return cmp.Compare(a.line, b.line)
	})
	errs := make([]error, len(l.faults))
	for i, f := range l.faults {
		errs[i] = errors.New(f.text)
	}
	return errors.Join(errs...)
}
