package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sipvigil/store/storetest"
)

// terminalTime is how long what is drawn may take: a terminal is a session of its
// own, which Linux may give a small share of a busy machine (sched(7), autogroup).
const terminalTime = 3 * patience

// terminal is one in which a command runs, and somebody who types.
type terminal struct {
	t     *testing.T
	keys  *os.File
	ended chan error

	mu    sync.Mutex
	shown bytes.Buffer // all that was written to it
}

// inTerminal starts a command in a terminal of its own, of 140 columns.
func inTerminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	fd := int(ours.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: 140}); err != nil {
		t.Fatal(err)
	}
	theirs, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append(cleanEnv(), "TERM=xterm-256color")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := &terminal{t: t, keys: ours, ended: make(chan error, 1)}
	var reading sync.WaitGroup
	reading.Go(func() {
		b := make([]byte, 4096)
		for {
			n, err := ours.Read(b)
			w.mu.Lock()
			w.shown.Write(b[:n])
			w.mu.Unlock()
			if err != nil { // EIO once nobody has the other side
				return
			}
		}
	})
	go func() {
		err := cmd.Wait()
		reading.Wait()
		w.ended <- err
	}()
	return w
}

func (w *terminal) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shown.String()
}

func (w *terminal) shows(text string) {
	w.t.Helper()
	defer func() {
		if w.t.Failed() {
			w.t.Logf("the terminal got %q", w.text())
		}
	}()
	within(w.t, terminalTime, "the terminal shows "+text, func() bool { return strings.Contains(w.text(), text) })
}

func (w *terminal) press(keys string) {
	w.t.Helper()
	if _, err := w.keys.WriteString(keys); err != nil {
		w.t.Fatal(err)
	}
}

// ends waits for the end of the command, which is to be a good one.
func (w *terminal) ends() {
	w.t.Helper()
	select {
	case err := <-w.ended:
		if err != nil {
			w.t.Errorf("the command ended with %v", err)
		}
	case <-limit(w.t, terminalTime).Done():
		w.t.Fatalf("the command does not end; the terminal shows %q", w.text())
	}
}

func TestATerminalThatAnswersNothingIsAskedNothing(t *testing.T) {
	t.Parallel()
	w := inTerminal(t, "version")
	w.ends()
	if got := w.text(); !strings.HasPrefix(got, "sipvigil ") || strings.Contains(got, "\x1b") {
		t.Errorf("the terminal got %q", got)
	}
}

func TestTopInATerminal(t *testing.T) {
	t.Parallel()
	redisURL, _ := storetest.Redis(t)
	d := serve(t, redisURL)
	calls := dialMany(t, d, 2)
	w := inTerminal(t, "top", "--server", "http://"+d.admin)
	w.shows(calls[0].id)
	w.shows(calls[1].id)

	const f7 = "\x1b[18~"
	w.press(f7 + calls[1].id + "\r") // the filter leaves one call
	w.press(" hy")                   // which is marked and hung up
	released(t, calls[1].caller)
	released(t, calls[1].callee)
	if other, ok := d.call(calls[0].id); !ok || other.State != "confirmed" {
		t.Errorf("the other call is %q", other.State)
	}

	w.press(f7 + strings.Repeat("\x7f", len(calls[1].id)) + calls[0].id + "\r") // which leaves the other
	w.press("\r")                                                               // and that one opens
	w.shows("evidence")
	w.press("qq") // back, and out
	w.ends()
	if got := w.text(); !strings.Contains(got, "\x1b[?1049l") {
		t.Errorf("the terminal is not as it was before: %q", got[max(0, len(got)-200):])
	}
}
