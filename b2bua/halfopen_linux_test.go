package b2bua

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// A probe that is not answered is asked again after 32 s, and that one must not
// go to a connection that is gone.
func TestAFarEndThatIsGoneIsFoundBeforeItIsAskedAgain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	setKeepAlive(conn)
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var limit int
	_ = raw.Control(func(fd uintptr) { limit, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) })
	if err != nil || limit != 25000 {
		t.Errorf("given up after %d ms, %v", limit, err)
	}
}
