package main

import (
	"bytes"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestColourIsForTerminalsWhoseUserWantsIt(t *testing.T) {
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 72}); err != nil {
		t.Fatal(err)
	}
	test := func(f *os.File, want terminal, env map[string]string) {
		t.Helper()
		if got := terminalOf(f, func(name string) string { return env[name] }); got != want {
			t.Errorf("%s with %v: %+v, want %+v", f.Name(), env, got, want)
		}
	}
	test(tty, terminal{72, 24, true}, nil)
	test(tty, terminal{72, 24, true}, map[string]string{"TERM": "xterm", "NO_COLOR": ""})
	test(tty, terminal{72, 24, false}, map[string]string{"TERM": "xterm", "NO_COLOR": "1"})
	test(tty, terminal{72, 24, false}, map[string]string{"TERM": "dumb"})
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	test(null, terminal{}, nil)
}

func TestTheMeterIsOneLineOfATerminal(t *testing.T) {
	test := func(on terminal, want string) {
		t.Helper()
		var b bytes.Buffer
		m := &meter{w: &b, on: on}
		m.clear()
		m.show("batch X: 0 of 10 calls", 0, 10)
		m.show("batch X: 0 of 10 calls", 0, 10)
		m.show("batch X: 5 of 10 calls", 5, 10)
		m.clear()
		if b.String() != want {
			t.Errorf("on %+v:\n%q, want\n%q", on, b.String(), want)
		}
	}
	test(terminal{}, "sipvigil: batch X: 0 of 10 calls\nsipvigil: batch X: 5 of 10 calls\n")
	const empty, full = "░░░░░░░░░░░░░░░░░░░░", "██████████"
	first := "\r\x1b[Kbatch X: 0 of 10 calls  " + empty
	test(terminal{width: 80}, first+first+"\r\x1b[Kbatch X: 5 of 10 calls  "+full+empty[:len(empty)/2]+"\r\x1b[K")
	test(terminal{width: 30, colour: true}, "\r\x1b[Kbatch …  "+empty+"\r\x1b[Kbatch …  "+empty+
		"\r\x1b[Kbatch …  "+green+full+plain+empty[:len(empty)/2]+"\r\x1b[K")
}

func TestLongTextIsWrappedBetweenWords(t *testing.T) {
	for width, want := range map[int]string{0: "INVITE ACK BYE CANCEL", 20: "INVITE ACK BYE\n    CANCEL", 5: "INVITE\n    ACK\n    BYE\n    CANCEL", 4: "INVITE ACK BYE CANCEL"} {
		if got := wrap("INVITE ACK BYE CANCEL", width, 4); got != want {
			t.Errorf("width %d: %q, want %q", width, got, want)
		}
	}
}
