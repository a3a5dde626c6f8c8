//go:build chaos

package test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"sipvigil/store/storetest"
)

var (
	chaosTime = flag.Duration("chaos", time.Minute, "how long trouble is made")
	chaosSeed = flag.Uint64("seed", 0, "of the troubles, 0 for one of its own")
	chaosSize = flag.Int("calls", 120, "calls at a time")
)

// weather makes trouble for nodes and their store, at random but from a seed.
type weather struct {
	t       *testing.T
	rand    *rand.Rand
	nodes   []*sipvigil
	flags   [][]string // of each node
	paused  []bool
	traffic *traffic
	agenda  []plan
	since   time.Time
	down    int       // nodes that do not run
	away    bool      // the store is
	frail   bool      // and what it had is lost
	unwell  time.Time // when it was last
}

// plan is what is to happen at a time.
type plan struct {
	at time.Time
	do func()
}

func TestChaosOnOneRedis(t *testing.T) {
	url, redis := storetest.Redis(t)
	w := newWeather(t, url)
	w.run(func() { w.troubleRedis(redis) })
}

func TestChaosWithSentinel(t *testing.T) {
	d := storetest.Deploy(t, "calls", 2*time.Second)
	w := newWeather(t, d.URL())
	servers := append([]*storetest.Server{d.Master}, d.Replicas...)
	w.run(func() { w.troubleServers(servers) })
}

func TestChaosOnACluster(t *testing.T) {
	masters := storetest.Cluster(t, "--cluster-node-timeout", "2000", "--cluster-replica-validity-factor", "0")
	servers := append([]*storetest.Server(nil), masters...)
	var urls []string
	for _, s := range masters {
		servers = append(servers, follow(t, s, masters))
		urls = append(urls, s.Addr())
	}
	w := newWeather(t, "redis-cluster://"+strings.Join(urls, ","))
	w.run(func() { w.troubleServers(servers) })
}

func newWeather(t *testing.T, url string) *weather {
	t.Helper()
	seed := *chaosSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	w := &weather{t: t, rand: rand.New(rand.NewPCG(seed, 0)), since: time.Now(), paused: make([]bool, 3)}
	w.traffic = newTraffic(t, seed, *chaosSize)
	for i := range 3 {
		w.flags = append(w.flags, []string{"--node", fmt.Sprintf("edge-%d", i+1), "--config", w.traffic.config(i),
			"--probe-interval", "1s", "--probe-timeout", "4s", "--log-level", "debug"})
		w.nodes = append(w.nodes, serve(t, url, w.flags[i]...))
		t.Cleanup(func() { w.wake(i) }) // before it is asked to stop
	}
	eventually(t, "all hold their leases", func() bool { return len(w.nodes[0].nodes()) == 3 })
	return w
}

// run has calls go on during trouble, and demands that they are none the worse
// for it.
func (w *weather) run(trouble func()) {
	for _, d := range w.nodes {
		w.traffic.reach(d.udp)
	}
	w.traffic.begin()
	w.at(0, func() { w.troubleNode() })
	w.at(2*time.Second, trouble)
	for end := time.Now().Add(*chaosTime); len(w.agenda) > 0; {
		next := 0
		for i := range w.agenda {
			if w.agenda[i].at.Before(w.agenda[next].at) {
				next = i
			}
		}
		p := w.agenda[next]
		w.agenda = append(w.agenda[:next], w.agenda[next+1:]...)
		time.Sleep(time.Until(p.at))
		if time.Now().After(end) && !w.traffic.calm.Load() {
			w.traffic.calm.Store(true) // what was begun is ended, and nothing more begins
		}
		p.do()
	}
	w.say("calm")
	w.traffic.settle(w.nodes)
}

func (w *weather) at(in time.Duration, do func()) {
	w.agenda = append(w.agenda, plan{time.Now().Add(in), do})
}

func (w *weather) say(format string, args ...any) {
	w.t.Logf("%s %6.2f "+format, append([]any{clock(time.Now()), time.Since(w.since).Seconds()}, args...)...)
}

// seconds is a time between two, short ones more often.
func (w *weather) seconds(least, most float64) time.Duration {
	f := w.rand.Float64()
	return time.Duration((least + (most-least)*f*f) * float64(time.Second))
}

// troubleNode kills a node or has it stand still for a while.
func (w *weather) troubleNode() {
	if w.traffic.calm.Load() {
		return
	}
	i, long := w.rand.IntN(len(w.nodes)), w.seconds(0.2, 40)
	switch {
	case w.frail || time.Since(w.unwell) < 8*time.Second:
		long = 0 // what only this node knows would be lost, or taken for lost
	case w.rand.IntN(3) == 0 && !w.away:
		w.down++
		w.traffic.quiet.Store(true) // what has just begun may be known to this node only
		time.Sleep(time.Second)
		w.say("%s is killed for %v", w.nodes[i].name, long)
		w.nodes[i].kill()
		w.traffic.quiet.Store(false)
		w.at(long, func() {
			w.say("%s is started", w.nodes[i].name)
			d := w.nodes[i]
			w.nodes[i] = d.again(d.redisURL, w.flags[i]...)
			w.down--
		})
	default:
		w.down++
		w.say("%s stands still for %v", w.nodes[i].name, long)
		w.paused[i] = true
		w.signal(i, syscall.SIGSTOP)
		w.at(long, func() {
			w.say("%s wakes", w.nodes[i].name)
			w.wake(i)
			w.down--
		})
	}
	w.at(long+w.seconds(0, 15), w.troubleNode)
}

func (w *weather) wake(i int) {
	if w.paused[i] {
		w.paused[i] = false
		w.signal(i, syscall.SIGCONT)
	}
}

func (w *weather) signal(i int, s syscall.Signal) {
	if err := w.nodes[i].cmd.Process.Signal(s); err != nil {
		w.t.Errorf("%v to %s: %v", s, w.nodes[i].name, err)
	}
}

// troubleRedis has one server stand still, or lose what it has, or a part.
func (w *weather) troubleRedis(redis *storetest.Server) {
	if w.traffic.calm.Load() {
		return
	}
	long := w.seconds(0.1, 20)
	what := w.rand.IntN(5)
	if loses := what == 2 || what == 4; loses && (w.down > 0 || time.Since(w.unwell) < 8*time.Second) {
		what = 0
	}
	w.away = true
	back := func(do func()) {
		w.at(long, func() {
			w.say("Redis is back")
			do()
			w.away, w.frail, w.unwell = false, false, time.Now()
		})
	}
	switch what {
	case 0:
		w.say("Redis stands still for %v", long)
		redis.Pause()
		back(redis.Resume)
	case 1:
		w.say("Redis is saved")
		redis.Do("SAVE")
		w.away, long = false, 0
	case 2:
		w.say("Redis is gone for %v, and comes back as it was saved", long)
		w.frail = true
		redis.Kill()
		back(redis.Start)
	case 3:
		w.say("Redis is gone for %v, and comes back as it was", long)
		redis.Do("SAVE")
		redis.Kill()
		back(redis.Start)
	case 4:
		w.say("Redis is emptied")
		redis.Do("FLUSHALL")
		w.away, w.unwell, long = false, time.Now(), 0
	}
	w.at(long+w.seconds(0, 20), func() { w.troubleRedis(redis) })
}

// troubleServers kills one of many, or has it stand still.
func (w *weather) troubleServers(servers []*storetest.Server) {
	if w.traffic.calm.Load() {
		return
	}
	i, long := w.rand.IntN(len(servers)), w.seconds(0.1, 15)
	s := servers[i]
	if w.rand.IntN(2) == 0 {
		w.say("server %d (master: %v) stands still for %v", i, s.IsMaster(), long)
		s.Pause()
		w.at(long, s.Resume)
	} else {
		w.say("server %d (master: %v) is gone for %v", i, s.IsMaster(), long)
		s.Kill()
		w.at(long, s.Start)
	}
	w.at(long+w.seconds(2, 20), func() { w.troubleServers(servers) })
}
