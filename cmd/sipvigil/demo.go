package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"sipvigil/cmd/sipvigil/daemon"
	"sipvigil/test/ua"
)

func (t *tool) demo() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the B2BUA with sample phones, some of which die",
		Long: `Run the B2BUA on this host with sample phones that call each other through it,
real SIP over loopback. Most calls end as calls do. One phone forgets its call
and answers 481; one falls silent. Watch both being found and released, in the
log and on the page.`,
		Args: arguments(0, 0),
	}
	admin := cmd.Flags().String("admin", "", "`ADDR` of the HTTP API and page (default 127.0.0.1:8080, or a free port if that is taken)")
	limit := cmd.Flags().Duration("for", 0, "end after this time instead of running until interrupted")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		if *limit > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, *limit)
			defer cancel()
		}
		return t.runDemo(ctx, *admin)
	}
	return cmd
}

// demoTimes are short, so that a newcomer sees the point within a minute.
const (
	demoInterval = 3 * time.Second
	demoTimeout  = 2 * time.Second
)

func (t *tool) runDemo(ctx context.Context, admin string) error {
	log := newLogger(t.stderr, zap.InfoLevel)
	defer log.Sync() // as in serve
	cfg := daemon.Default()
	cfg.Node = "demo"
	cfg.SIP.Listen = []string{"udp://127.0.0.1:0", "tcp://127.0.0.1:0"}
	cfg.Supervise.Interval, cfg.Supervise.Timeout = demoInterval, demoTimeout
	cfg.Admin.Listen = freeAdmin(cfg.Admin.Listen)
	if admin != "" {
		cfg.Admin.Listen = admin
	}
	d, err := daemon.New(cfg, log)
	if err != nil {
		return usage(err)
	}
	if err := d.Listen(); err != nil {
		return failed(err)
	}
	fmt.Fprintf(t.stdout, `
  The page:       http://%[1]s/
  The list:       sipvigil calls --server http://%[1]s
  Each leg is asked every %[2]v; two answers missing within %[3]v each mean silence.
  Ctrl-C ends the demo.

`, d.AdminAddr(), demoInterval, demoTimeout)

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { defer stop(); return d.Run(ctx) })
	p := &play{proxy: d.SIPAddrs()[0].String(), log: log.Named("demo")}
	g.Go(func() error { return p.run(ctx) })
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return failed(err)
	}
	return nil
}

// freeAdmin is addr, or another port if that one is taken.
func freeAdmin(addr string) string {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return "127.0.0.1:0"
	}
	_ = ln.Close()
	return addr
}

// play is the sample phones and what they do.
type play struct {
	proxy string // address of the B2BUA
	log   *zap.Logger
}

// scene is one pair of phones that call each other again and again.
type scene struct {
	caller, callee string
	act            func(context.Context, *play, *pair) error
}

var scenes = []scene{
	{"alice", "bob", talk}, {"carol", "dave", talk}, {"erin", "frank", talk}, {"grace", "heidi", talk},
	{"ivan", "judy", forget},
	{"mallory", "niaj", fallSilent},
}

// pair is one call between two phones of a scene, as both see it.
type pair struct {
	caller, callee         string
	callerSide, calleeSide *ua.Dialog
}

// run plays all scenes until ctx ends.
func (p *play) run(ctx context.Context) error {
	var scenesUp sync.WaitGroup
	for i, s := range scenes {
		scenesUp.Go(func() {
			pause(ctx, time.Duration(i)*400*time.Millisecond)
			for ctx.Err() == nil {
				if err := p.perform(ctx, s); err != nil && ctx.Err() == nil {
					p.log.Warn("call failed", zap.String("caller", s.caller), zap.String("callee", s.callee), zap.Error(err))
				}
				pause(ctx, time.Second+rand.N(3*time.Second))
			}
		})
	}
	scenesUp.Wait()
	return ctx.Err()
}

// perform sets up one call of a scene on two new phones and plays it.
func (p *play) perform(ctx context.Context, s scene) error {
	caller, err := ua.Listen(ua.Config{User: s.caller, UserAgent: "demo phone"})
	if err != nil {
		return err
	}
	defer caller.Close()
	callee, err := ua.Listen(ua.Config{User: s.callee, UserAgent: "demo phone"})
	if err != nil {
		return err
	}
	defer callee.Close()

	call := caller.Dial(p.proxy, callee.URI(), ua.Offer{SDP: ua.SDP(40000)})
	in, err := callee.Invited(ctx)
	if err != nil {
		return err
	}
	in.Ring(180)
	pause(ctx, time.Second+rand.N(time.Second))
	c := &pair{caller: s.caller, callee: s.callee}
	if c.calleeSide, err = in.Accept(ua.SDP(40002)); err != nil {
		return err
	}
	if c.callerSide, err = call.Wait(ctx); err != nil {
		return err
	}
	return s.act(ctx, p, c)
}

// talk is a call that lives and ends normally.
func talk(ctx context.Context, _ *play, c *pair) error {
	pause(ctx, 8*time.Second+rand.N(15*time.Second))
	first, other := c.callerSide, c.calleeSide
	if rand.IntN(2) == 0 {
		first, other = other, first
	}
	if err := first.Bye(ctx); err != nil {
		return err
	}
	_, err := other.WaitEnd(ctx) // it answers the BYE before its phone is put away
	return err
}

// forget is a phone that restarted: it answers 481 to whatever it is asked.
func forget(ctx context.Context, p *play, c *pair) error {
	if pause(ctx, 8*time.Second); ctx.Err() != nil {
		return ctx.Err()
	}
	c.calleeSide.Forget()
	return p.find(ctx, c.callee+"'s phone has forgotten its call and will answer 481", c.callerSide, c.caller)
}

// fallSilent is a phone that lost its network: it answers nothing any more.
func fallSilent(ctx context.Context, p *play, c *pair) error {
	if pause(ctx, 10*time.Second); ctx.Err() != nil {
		return ctx.Err()
	}
	c.callerSide.Silence()
	return p.find(ctx, c.caller+"'s phone has fallen silent", c.calleeSide, c.callee)
}

// find waits until the healthy side of a half-dead call is released.
func (p *play) find(ctx context.Context, what string, healthy *ua.Dialog, who string) error {
	died := time.Now()
	p.log.Info("==> " + what)
	end, err := healthy.WaitEnd(ctx)
	if err != nil {
		return err
	}
	p.log.Info("<== sipvigil noticed, and released "+who, zap.String("reason", end.Reason),
		zap.Duration("after", time.Since(died).Round(100*time.Millisecond)))
	// The BYE to the dead side is repeated for 32 s; its phone stays until then.
	pause(ctx, 35*time.Second)
	return nil
}

// pause waits for d, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
