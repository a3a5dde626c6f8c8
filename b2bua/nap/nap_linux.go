package nap

import (
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Napper waits. Only one goroutine may at a time.
type Napper struct {
	file *os.File // a timer of the kernel, nil where there is none
	raw  syscall.RawConn
	over func(fd uintptr) bool

	closed atomic.Bool
	length time.Duration
	set    bool // the timer runs
}

// New returns a Napper, to be closed when it is not needed any more.
func New() *Napper {
	n := &Napper{}
	n.over = n.isOver
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return n
	}
	n.file = os.NewFile(uintptr(fd), "timer")
	if n.raw, err = n.file.SyscallConn(); err != nil {
		_ = n.file.Close()
		n.file = nil
	}
	return n
}

// Sleep waits for d, or until the Napper is closed.
func (n *Napper) Sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	if n.file != nil {
		n.length, n.set = d, false
		if n.raw.Read(n.over) == nil || n.closed.Load() {
			return
		}
	}
	time.Sleep(d)
}

// isOver sets the timer at first, and says then whether its time has come. The
// system calls do not wait, so the runtime is not told of them: for that it would
// wake its monitor, too.
func (n *Napper) isOver(fd uintptr) bool {
	if !n.set {
		n.set = true
		at := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(n.length))}
		_, _, _ = unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&at)), 0, 0, 0) // refuses nothing but nonsense
		return false
	}
	var times uint64
	_, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&times)), unsafe.Sizeof(times))
	return errno == 0
}

// Close ends a nap that is under way, and those to come at once.
func (n *Napper) Close() {
	n.closed.Store(true)
	if n.file != nil {
		_ = n.file.Close()
	}
}
