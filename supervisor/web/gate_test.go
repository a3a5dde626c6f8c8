package web

import (
	"fmt"
	"log"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// crowd is a listener that connections come to from a list of addresses.
type crowd []string

func (c *crowd) Close() error   { return nil }
func (c *crowd) Addr() net.Addr { return nil }

func (c *crowd) Accept() (net.Conn, error) {
	if len(*c) == 0 {
		return nil, net.ErrClosed
	}
	addr, err := net.ResolveTCPAddr("tcp", (*c)[0])
	*c = (*c)[1:]
	return &caller{addr: addr}, err
}

type caller struct {
	net.Conn
	addr net.Addr
}

func (c *caller) RemoteAddr() net.Addr { return c.addr }
func (c *caller) Close() error         { return nil }

func TestWhoOnlyConnectsGetsOnlySoManyConnections(t *testing.T) {
	var come crowd
	refused := 0
	g := newGate(&come, func(string) { refused++ })
	test := func(taken int, from ...string) (all []net.Conn) {
		t.Helper()
		come, refused = from, 0
		for {
			conn, err := g.Accept()
			if err != nil {
				break
			}
			all = append(all, conn)
		}
		if len(all) != taken || refused != len(from)-taken {
			t.Errorf("%d are taken and %d refused, want %d of %d", len(all), refused, taken, len(from))
		}
		return all
	}
	one := test(mostFromOne, slices.Repeat([]string{"192.0.2.1:5000"}, mostFromOne+10)...)
	test(1, "192.0.2.2:5000")
	var neighbours []string
	for n := range mostFromOne + 10 {
		neighbours = append(neighbours, fmt.Sprintf("[2001:db8::%x]:5000", n+1))
	}
	six := test(mostFromOne, neighbours...)
	test(1, "[2001:db8:0:1::1]:5000")

	_ = one[0].Close()
	_ = one[0].Close() // by net/http and by TLS
	test(1, "192.0.2.1:5000", "192.0.2.1:5000")

	for _, conn := range append(one[1:], six...) {
		_ = conn.Close()
	}
	var many []string
	for n := range mostConnections {
		many = append(many, fmt.Sprintf("10.0.%d.%d:5000", n/100, n%100))
	}
	test(mostConnections-3, many...)
}

func TestLinesThatAnybodyCanHaveWrittenAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, lines := observer.New(zap.WarnLevel)
		l := log.New(newComplaints(zap.New(core)), "", 0)
		flood := func(want int) {
			t.Helper()
			for range 1000 {
				l.Printf("http: TLS handshake error from 192.0.2.1:5000: EOF")
			}
			if n := len(lines.TakeAll()); n != want {
				t.Errorf("%d lines, want %d", n, want)
			}
		}
		flood(5)
		time.Sleep(30 * time.Second)
		flood(3)
	})
}
