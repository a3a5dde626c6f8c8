package page

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
)

// Two thousand changes a second, told to a page that is open: `-benchtime 180x`
// is three minutes of it. What page and server hold afterwards is told beside what
// they held after the first ten seconds.
func BenchmarkTwoThousandChangesASecond(b *testing.B) {
	const calls = 5000
	c := gather(calls)
	tab := open(b, c.serve(b), "/?sort=evidence", 1440, 760)
	tab.text(".tally", "5,000")
	tab.await(`!document.querySelector('.link').innerText.includes('reading')`)
	if _, err := chromedp.Call(tab.ctx, performance.Enable, performance.EnableParams{TimeDomain: performance.EnableTimeDomainThreadTicks}); err != nil {
		b.Fatal(err)
	}
	told := 0
	held := func() (page, server float64) {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return tab.heap(), float64(m.HeapAlloc) / 1e6
	}
	for range 10 {
		c.second(&told)
	}
	page, server := held()
	script := tab.script()
	for b.Loop() {
		c.second(&told)
	}
	pageNow, serverNow := held()
	tab.text(".row .c-evidence", fmt.Sprintf("INFO %d", (told-1)/calls)) // and it has shown the last ones
	b.ReportMetric(page, "page-MB-before")
	b.ReportMetric(pageNow, "page-MB")
	b.ReportMetric(server, "server-MB-before")
	b.ReportMetric(serverNow, "server-MB")
	b.ReportMetric(float64((tab.script()-script).Milliseconds())/float64(b.N), "script-ms/s")
}

// perSecond is how many changes there are in these benchmarks.
const perSecond = 2000

// second has a second pass, with its changes.
func (c *crowd) second(told *int) {
	ticks := time.NewTicker(100 * time.Millisecond)
	defer ticks.Stop()
	for range 10 {
		<-ticks.C
		for range perSecond / 10 {
			c.change(*told)
			*told++
		}
	}
}

// change has the nth change happen: one call after the other shows itself.
func (c *crowd) change(n int) {
	c.mu.Lock()
	call := &c.calls[n%len(c.calls)]
	for side := range call.Legs {
		call.Legs[side].LastAlive, call.Legs[side].LastEvidence = time.Now(), fmt.Sprintf("INFO %d", n/len(c.calls))
	}
	id := call.ID
	c.mu.Unlock()
	c.follower.Changed(id)
}

// What fifty thousand calls, two thousand changes a second and ten open pages cost
// the server: CPU and heap of this process, in which only the connections of the
// readers are beside it.
func BenchmarkTenReaders(b *testing.B) {
	const readers = 10
	c := gather(crowded)
	address := c.serve(b)
	ask := func(path string) net.Conn {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = conn.Close() })
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n", path); err != nil {
			b.Fatal(err)
		}
		return conn
	}
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / 1e6
	}
	calls, before := heap(), used(b)
	if _, err := io.Copy(io.Discard, ask("/api/v1/table")); err != nil {
		b.Fatal(err)
	}
	table := used(b) - before

	var reading sync.WaitGroup
	var conns []net.Conn
	for range readers {
		conn := ask("/api/v1/events")
		conns = append(conns, conn)
		reading.Go(func() { _, _ = io.Copy(io.Discard, conn) }) // until it is closed
	}
	told := 0
	for range 10 { // until as much is kept of the past as ever
		c.second(&told)
	}
	before = used(b)
	for b.Loop() {
		c.second(&told)
	}
	b.ReportMetric(float64((used(b)-before).Milliseconds())/float64(b.N), "CPU-ms/s")
	b.ReportMetric(heap()-calls, "MB")
	b.ReportMetric(float64(table.Milliseconds()), "table-CPU-ms")
	for _, conn := range conns {
		_ = conn.Close()
	}
	reading.Wait()
}

// used is the CPU time of this process.
func used(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
