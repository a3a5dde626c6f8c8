package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// What settings should at most or at least be.
const (
	oldestMajor, oldestMinor = 6, 2
	mostLag                  = 5 // seconds
	mostDownAfter            = 10 * time.Second
	mostFailover             = 60 * time.Second
	fewestSentinels          = 3
)

// Advise connects to every master of the configured Redis, and to its
// Sentinels, and returns what is wrong with their settings, in words for who
// runs them, in a stable order. It returns an error if it could not ask; it
// changes nothing.
func Advise(ctx context.Context, cfg Config) ([]string, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	e, err := parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	logging.Disable() // as in New
	client := e.client()
	defer func() { _ = client.Close() }() // nothing was written
	var a advice
	switch c := client.(type) {
	case *goredis.ClusterClient:
		err = c.ForEachMaster(ctx, func(ctx context.Context, master *goredis.Client) error {
			return a.server(ctx, "redis "+master.Options().Addr, master, e.kind)
		})
	default:
		name := "redis " + strings.Join(e.addrs, ",")
		if e.kind == sentinel {
			a.sentinels(ctx, e)
			name = "master " + e.master
		}
		err = a.server(ctx, name, client, e.kind)
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(a.lines)
	return a.lines, nil
}

// advice is what there is to say. It may be used by many at once.
type advice struct {
	mu    sync.Mutex
	lines []string
}

func (a *advice) say(who, format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lines = append(a.lines, who+": "+fmt.Sprintf(format, args...))
}

// server looks at one server that holds calls.
func (a *advice) server(ctx context.Context, who string, c goredis.Cmdable, kind string) error {
	text, err := c.Info(ctx).Result()
	if err != nil {
		return fmt.Errorf("%s: %w", who, err)
	}
	info := pairs(text)
	if v := info["redis_version"]; tooOld(v) {
		a.say(who, "version %s is too old: take %d.%d or later", v, oldestMajor, oldestMinor)
	}
	if info["role"] == "slave" {
		a.say(who, "is a replica and takes no writes: name its master, or use redis-sentinel://")
	}
	if p := info["maxmemory_policy"]; p != "noeviction" {
		a.say(who, "maxmemory-policy is %s: Redis may throw calls away when its memory is full; set it to noeviction", p)
	}
	if info["aof_enabled"] == "0" {
		a.say(who, "appendonly is no: a Redis that restarts has lost calls; set it to yes")
	}
	if info["connected_slaves"] != "0" {
		a.replicas(ctx, who, c)
	} else if kind != standalone {
		a.say(who, "has no replica: nothing takes over when it fails")
	}
	if kind == cluster {
		a.setting(ctx, who, c, "cluster-require-full-coverage", func(v string) string {
			if v != "yes" {
				return ""
			}
			return "when one master is lost, the others refuse their calls, too; set it to no"
		})
	}
	return nil
}

// replicas looks at what a master asks of its replicas.
func (a *advice) replicas(ctx context.Context, who string, c goredis.Cmdable) {
	a.setting(ctx, who, c, "min-replicas-to-write", func(v string) string {
		if v != "0" {
			return ""
		}
		return "a master that is cut off goes on taking writes, and they are lost in the failover; set it to 1"
	})
	a.setting(ctx, who, c, "min-replicas-max-lag", func(v string) string {
		if n, err := strconv.Atoi(v); err != nil || n <= mostLag {
			return ""
		}
		return "a master that is cut off takes writes for as many seconds, and they are lost in the failover; set it to 2"
	})
}

// setting says what is wrong with a setting, if anything.
func (a *advice) setting(ctx context.Context, who string, c goredis.Cmdable, name string, wrong func(value string) string) {
	values, err := c.ConfigGet(ctx, name).Result()
	if err != nil {
		a.say(who, "%s cannot be read, see to it yourself: %v", name, err)
		return
	}
	if text := wrong(values[name]); text != "" {
		a.say(who, "%s is %s: %s", name, values[name], text)
	}
}

// sentinels looks at what each Sentinel knows of the master.
func (a *advice) sentinels(ctx context.Context, e endpoint) {
	for _, addr := range e.addrs {
		who := "sentinel " + addr
		c := goredis.NewSentinelClient(&goredis.Options{
			Addr: addr, DialTimeout: dialTimeout, DialerRetries: 1, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, Protocol: 2, DisableIdentity: true,
		})
		master, err := c.Master(ctx, e.master).Result()
		_ = c.Close()
		if err != nil {
			a.say(who, "cannot be asked for %s: %v", e.master, err)
			continue
		}
		if n, err := strconv.Atoi(master["num-other-sentinels"]); err == nil && n+1 < fewestSentinels {
			a.say(who, "knows %d Sentinels, itself included: a failover that can be trusted takes %d", n+1, fewestSentinels)
		}
		a.notLonger(who, master, "down-after-milliseconds", mostDownAfter, "a lost master is noticed as late, and changes wait meanwhile; set it to 2000")
		a.notLonger(who, master, "failover-timeout", mostFailover, "a failover that went wrong is tried again as late; set it to 10000")
	}
}

func (a *advice) notLonger(who string, master map[string]string, setting string, most time.Duration, why string) {
	ms, err := strconv.ParseInt(master[setting], 10, 64)
	if err == nil && time.Duration(ms)*time.Millisecond > most {
		a.say(who, "%s is %d: %s", setting, ms, why)
	}
}

// pairs reads the answer to INFO.
func pairs(text string) map[string]string {
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
			info[name] = value
		}
	}
	return info
}

func tooOld(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	m, err1 := strconv.Atoi(major)
	n, err2 := strconv.Atoi(minor)
	return errors.Join(err1, err2) == nil && (m < oldestMajor || m == oldestMajor && n < oldestMinor)
}
