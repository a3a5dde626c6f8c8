package b2bua

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// listening hands on what an observer is told of disturbances.
type listening struct {
	noObserver
	disturbed chan string
}

func (o listening) Disturbed(id string, side store.Side, why string) {
	o.disturbed <- id + " " + side.String() + " " + why
}

func bindUDP(t testing.TB, addr string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.UDPConn)
}

func TestAClosedPortIsToldAndKeepsNobodyElseFromBeingReached(t *testing.T) {
	for _, host := range loopbacks {
		t.Run(host, func(t *testing.T) {
			obs := listening{disturbed: make(chan string, 10)}
			a, err := New(Default(), noStore{}, obs, zap.NewNop(), prometheus.NewRegistry())
			if err != nil {
				t.Fatal(err)
			}
			defer a.work.Wait()
			dead, peer := bindUDP(t, host), bindUDP(t, host)
			closed := dead.LocalAddr()
			_ = dead.Close()

			const id = "01890000-0000-7000-8000-000000000001"
			tag := dialog.MintTag(a.identity.Load().tagKey, id, store.Callee)
			a.add(a.newCall(store.Call{ID: id, State: store.Confirmed, Legs: [2]store.Leg{store.Callee: {
				Dialog: store.Dialog{LocalTag: tag, Transport: "udp", Peer: closed.String()}}}}))

			socket := newPacketConn(bindUDP(t, host), a.metrics, a.seed)
			socket.guard.agent = a
			reading := make(chan struct{})
			go func() {
				defer close(reading)
				_, _, _ = socket.next(make([]byte, 1500)) // nothing comes until it is closed
			}()
			defer func() { _ = socket.Close(); <-reading }()

			const count = 500
			ours := []byte("OPTIONS sip:b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=" + tag + "\r\n\r\n")
			buf := make([]byte, 1500)
			for i := range count {
				if err := socket.write(ours, closed.String()); err != nil {
					t.Fatalf("datagram %d to nobody: %v", i, err)
				}
				if err := socket.write(ours, peer.LocalAddr().String()); err != nil {
					t.Fatalf("datagram %d to somebody: %v", i, err)
				}
				_ = peer.SetReadDeadline(time.Now().Add(10 * time.Second))
				if _, _, err := peer.ReadFrom(buf); err != nil {
					t.Fatalf("datagram %d did not arrive: %v", i, err)
				}
			}
			select {
			case got := <-obs.disturbed:
				if want := id + " callee " + portClosed; got != want {
					t.Errorf("told %q, want %q", got, want)
				}
			case <-time.After(10 * time.Second):
				t.Error("nobody was told")
			}
		})
	}
}

func TestOnlyErrorsAboutSomebodyOutOfReachCount(t *testing.T) {
	for _, control := range [][]byte{nil, {1}, make([]byte, 64)} {
		if why := reasonOf(control); why != "" {
			t.Errorf("%x: %s", control, why)
		}
	}
	if to := aimedAt(nil); to != (netip.AddrPort{}) {
		t.Errorf("an address of nobody: %v", to)
	}
}

func FuzzQuoted(f *testing.F) {
	f.Add([]byte("OPTIONS sip:b SIP/2.0\r\nf: <sip:a@b>;tag=x\r\nTo: <sip:c"))
	f.Add([]byte("SIP/2.0 200 OK\r\nTo: <sip:a@b>\r\n ;tag=y\r\n\r\n"))
	f.Fuzz(func(t *testing.T, quoted []byte) {
		if tag := ownTag(quoted); len(tag) > len(quoted) {
			t.Errorf("%q has the tag %q", quoted, tag)
		}
	})
}
