package daemon

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"go.uber.org/zap"
)

func TestASocketThatCannotBeBoundSaysWhatToDo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	test := func(listen, admin, want string) {
		t.Helper()
		cfg := Default()
		cfg.SIP.Listen, cfg.Admin.Listen = []string{"udp://127.0.0.1:0", listen}, admin
		d, err := New(cfg, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Listen(); err == nil || err.Error() != want {
			t.Errorf("%s, %s: %v, want %s", listen, admin, err, want)
		}
	}
	at := taken.Addr().String()
	test("tcp://"+at, "127.0.0.1:0", fmt.Sprintf("sip.listen tcp://%[1]s: listen tcp4 %[1]s: bind: address already in use "+
		"(is another sipvigil or SIP server running? choose another with --listen)", at))
	test("tcp://127.0.0.1:0", at, fmt.Sprintf("admin.listen %[1]s: listen tcp %[1]s: bind: address already in use "+
		"(is another sipvigil or SIP server running? choose another with --admin)", at))
	test("udp://192.0.2.1:5060", "127.0.0.1:0", "sip.listen udp://192.0.2.1:5060: listen udp4 192.0.2.1:5060: bind: cannot assign requested address "+
		"(this host has no such address; choose another with --listen)")
	low := unbound("sip.listen udp://0.0.0.0:87", &net.OpError{Op: "listen", Net: "udp4", Err: os.NewSyscallError("bind", syscall.EACCES)}, "--listen")
	if want := "sip.listen udp://0.0.0.0:87: listen udp4: bind: permission denied " +
		"(ports below 1024 are for root, or need CAP_NET_BIND_SERVICE; choose another with --listen)"; low.Error() != want {
		t.Errorf("%v, want %s", low, want)
	}
}
