// Command sipload makes calls through a SIP element and prints what they cost
// it. With --hold 0 the calls stay up for --watch, and are then hung up.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"time"

	"sipvigil/test/load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "sipload:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	target := flag.String("target", "127.0.0.1:5060", "address of the element")
	pid := flag.Int("pid", 0, "its process, whose use of CPU and memory is reported")
	caller := flag.String("caller", "", "address of the callers (default 127.0.0.2, or ::1)")
	callee := flag.String("callee", "", "address of the callees (default 127.0.0.3, or ::1)")
	rate := flag.Float64("rate", 500, "calls a second")
	calls := flag.Int("calls", 5000, "how many")
	hold := flag.Duration("hold", 500*time.Millisecond, "how long each lasts; 0: all stay up until the end of --watch")
	watch := flag.Duration("watch", 0, "how long calls stay up that are not hung up")
	flag.Parse()
	addr, err := netip.ParseAddrPort(*target)
	if err != nil {
		return err
	}
	near := [...]string{"127.0.0.2", "127.0.0.3"}
	if addr.Addr().Is6() {
		near = [...]string{"::1", "::1"}
	}
	from, err := netip.ParseAddr(cmp.Or(*caller, near[0]))
	if err != nil {
		return err
	}
	to, err := netip.ParseAddr(cmp.Or(*callee, near[1]))
	if err != nil {
		return err
	}
	g, err := load.Open(addr, from, to)
	if err != nil {
		return err
	}
	defer g.Close()
	m := &meter{pid: *pid, g: g}
	if err := m.start(); err != nil {
		return err
	}
	m.before = m.last
	if err := g.Start(ctx, *rate, *calls, *hold); err != nil {
		return err
	}
	if *hold > 0 {
		if err := g.Settle(ctx); err != nil {
			return err
		}
		return m.print("calls")
	}
	if err := m.print("set up"); err != nil {
		return err
	}
	if err := g.Watch(ctx, *watch); err != nil {
		return err
	}
	if err := m.print("held"); err != nil {
		return err
	}
	if err := g.HangUp(ctx, *rate); err != nil {
		return err
	}
	return m.print("hung up")
}

// meter prints what a phase cost.
type meter struct {
	pid  int
	g    *load.Generator
	last load.Usage
	at   time.Time

	before load.Usage // any call
	held   int64
}

func (m *meter) start() (err error) {
	m.at = time.Now()
	if m.pid != 0 {
		m.last, err = load.Used(m.pid)
	}
	return err
}

func (m *meter) print(phase string) error {
	r, took := m.g.Report(), time.Since(m.at)
	fmt.Printf("%-8s %5.1f s  %v\n", phase, took.Seconds(), r)
	if m.pid == 0 {
		return nil
	}
	last := m.last
	if err := m.start(); err != nil {
		return err
	}
	used := m.last.Sub(last)
	fmt.Printf("%-8s CPU %v (system %v)", "", used.CPU, used.Sys)
	m.held += r.Answered - r.Calls
	if n := max(r.Calls, r.Answered); n > 0 {
		fmt.Printf(", %.0f us a call", float64(used.CPU.Microseconds())/float64(n))
	}
	if m.held > 0 {
		kept := m.last.Sub(m.before)
		fmt.Printf(", %.2f KiB a held call (PSS %.2f)", float64(kept.RSS)/1024/float64(m.held), float64(kept.PSS)/1024/float64(m.held))
	}
	if r.Probes > 0 {
		fmt.Printf(", %.1f us a probe", float64(used.CPU.Microseconds())/float64(r.Probes))
	}
	fmt.Printf(", RSS %.1f MiB\n", float64(m.last.RSS)/(1<<20))
	return nil
}
