package daemon

import (
	"bytes"
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

// BenchmarkAdoption50000 measures the time from when a node with 50,000 calls is
// last heard of to when the others watch them all. 9 s of it are its lease. Every
// call must go on, with numbers above all that the dead node may have used, and
// some are ended to see what the far ends see.
func BenchmarkAdoption50000(b *testing.B) {
	b.Run("one survivor", func(b *testing.B) { benchmarkAdoption(b, "edge-2") })
	b.Run("two survivors", func(b *testing.B) { benchmarkAdoption(b, "edge-2", "edge-3") })
}

func benchmarkAdoption(b *testing.B, survivors ...string) {
	const calls = 50_000
	ends := farEnd(b)
	var slowest, cpu time.Duration
	for b.Loop() {
		b.StopTimer()
		url, _ := storetest.Redis(b)
		s, err := redis.New(redis.Config{URL: url, Node: storetest.Node}, zap.NewNop())
		if err != nil {
			b.Fatal(err)
		}
		stop := storetest.Start(b, s)
		for range calls {
			s.Save(ends.call())
		}
		storetest.Settled(b, s)
		dead := store.Node{Name: storetest.Node, State: store.NodeUp, Epoch: 1}
		renew := func() {
			dead.Seen = time.Now()
			if _, err := s.Renew(b.Context(), dead); err != nil {
				b.Fatal(err)
			}
		}
		renew()
		ctx, cancel := context.WithCancel(b.Context())
		adopted := make(chan int64, 10)
		ended := make(chan error, len(survivors))
		var nodes []*Daemon
		for _, name := range survivors {
			d := node(b, name, Store{URL: url}, zap.New(core{"calls adopted", adopted}))
			nodes = append(nodes, d)
			go func() { ended <- d.Run(ctx) }()
		}
		storetest.Eventually(b, "the survivors know each other and the one to die", func() bool {
			for _, d := range nodes {
				if live, _, err := d.member.survey(b.Context()); err != nil || len(live) != 1+len(nodes) {
					return false
				}
			}
			return true
		})
		renew()
		b.StartTimer()
		start, before := time.Now(), used(b)
		for n := int64(0); n < calls; {
			select {
			case more := <-adopted:
				n += more
			case err := <-ended:
				b.Fatal("a survivor ended: ", err)
			}
		}
		slowest, cpu = max(slowest, time.Since(start)), cpu+used(b)-before
		b.StopTimer()
		checkJump(b, calls, nodes...)
		for _, d := range nodes {
			ends.checkBYE(b, d, 100)
		}
		cancel()
		for range nodes {
			if err := storetest.Receive(b, "a survivor stops", ended); err != nil {
				b.Error(err)
			}
		}
		stop()
		b.StartTimer()
	}
	b.ReportMetric(slowest.Seconds(), "s/slowest-adoption")
	b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s/adoption")
}

// stored is the mark of each leg that storetest makes.
var stored = storetest.Call().Legs[store.Caller].LocalMark

// checkJump demands that all of so many calls go on, each of both legs above
// everything that may have been used.
func checkJump(b *testing.B, calls int, nodes ...*Daemon) {
	b.Helper()
	right := 0
	for _, d := range nodes {
		d.agent.Calls(func(c store.Call) bool {
			if c.State != store.Confirmed || !jumped(c.Legs[0].LocalCSeq) || !jumped(c.Legs[1].LocalCSeq) {
				b.Errorf("call %s is %s, with CSeq %d and %d", c.ID, c.State, c.Legs[0].LocalCSeq, c.Legs[1].LocalCSeq)
				return false
			}
			right++
			return true
		})
	}
	if right != calls {
		b.Errorf("%d calls go on, want %d", right, calls)
	}
}

// jumped says whether a leg that had the stored mark has jumped once since. It may
// have been probed a few times after that.
func jumped(cseq uint32) bool {
	return cseq >= stored+dialog.Jump && cseq < stored+dialog.Jump+dialog.Block
}

// peers is the far end of all legs.
type peers struct {
	net.PacketConn
	byes chan []byte
}

func farEnd(b *testing.B) *peers {
	b.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	p := &peers{conn, make(chan []byte, 1000)}
	go func() { // until the socket is closed
		buf := make([]byte, 65536)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if bye := bytes.Clone(buf[:n]); bytes.HasPrefix(bye, []byte("BYE ")) {
				_, answer, _ := bytes.Cut(bye, []byte("\r\n")) // all header fields are returned
				_, _ = conn.WriteTo(append([]byte("SIP/2.0 200 OK\r\n"), answer...), from)
				p.byes <- bye
			}
		}
	}()
	return p
}

// call is one whose legs both lead here.
func (p *peers) call() store.Call {
	c := storetest.Call()
	for i := range c.Legs {
		leg := &c.Legs[i]
		leg.Peer, leg.Listener, leg.RouteSet = p.LocalAddr().String(), "", nil
		leg.Target = "sip:+15550100@" + leg.Peer
	}
	return c
}

// checkBYE has a node end some of its calls, and demands that each far end gets a
// BYE with a number above the jump.
func (p *peers) checkBYE(b *testing.B, d *Daemon, some int) {
	b.Helper()
	want := make(map[string]bool) // Call-IDs
	d.agent.Calls(func(c store.Call) bool {
		want[c.Legs[0].CallID], want[c.Legs[1].CallID] = true, true
		d.agent.Release(c.ID, store.End{Reason: store.Operator})
		return len(want) < 2*some
	})
	for len(want) > 0 {
		bye := storetest.Receive(b, "a BYE comes", p.byes)
		if n, _ := strconv.ParseUint(strings.TrimSuffix(headerOf(bye, "CSeq"), " BYE"), 10, 32); !jumped(uint32(n) - 1) {
			b.Errorf("a far end got\n%s\nand had seen at most %d", bye, stored)
		}
		delete(want, headerOf(bye, "Call-ID"))
	}
}

// headerOf is the value of a header field.
func headerOf(message []byte, name string) string {
	_, value, _ := bytes.Cut(message, []byte("\r\n"+name+": "))
	value, _, _ = bytes.Cut(value, []byte("\r\n"))
	return string(value)
}
