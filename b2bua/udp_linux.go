package b2bua

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sipvigil/b2bua/nap"
)

// udpSocket is a UDP socket that is read in bunches. To be woken for
// one datagram costs more than to read ten: the poller of the runtime is woken
// by each that comes, even while nobody waits. So the socket is taken out of
// that poller, and has one of its own, which reports once and then is silent
// until it is asked again. It is the poller that the runtime waits for.
type udpSocket struct {
	local  *net.UDPAddr
	family uint16 // of its addresses

	mu     sync.RWMutex // held for writing to close what follows
	fd     int          // in blocking mode: who sends waits until there is room
	closed bool

	sending  sync.Mutex // guards what follows
	outgoing *outgoing  // nil until it is needed
	apart    bool       // datagrams are not to be handed over as one

	// What follows is the reader's.
	poll    *os.File // an epoll of the socket alone
	waiting syscall.RawConn
	arm     func(fd uintptr)
	woken   func(fd uintptr) bool
	failed  bool // the socket has an error to tell
	bunch   *bunch
	pauses  *nap.Napper
	next    int  // of the bunch
	have    int  // in the bunch
	drained bool // there was no more when it was read

	answered int         // of the bunch were answers to probes; counted by who reads
	expect   func() bool // whether others are to come
	dropped  uint32      // by the kernel, because the socket was full
}

// mostInBunch is how many datagrams are read at once.
const mostInBunch = 32

// bunch is where the kernel puts datagrams.
type bunch struct {
	heads   [mostInBunch]mmsghdr
	parts   [mostInBunch]unix.Iovec
	from    [mostInBunch]sockaddr
	control [mostInBunch][64]byte
	data    [mostInBunch][maxDatagram]byte
}

// mmsghdr is that of recvmmsg(2).
type mmsghdr struct {
	unix.Msghdr
	n uint32
}

// newUDPSocket takes over a socket, which is closed then, and is nil for what is
// no UDP socket of the kernel: that stays as it is.
func newUDPSocket(conn net.PacketConn, expect func() bool) *udpSocket {
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return nil
	}
	s := &udpSocket{local: udp.LocalAddr().(*net.UDPAddr), family: unix.AF_INET6, expect: expect}
	if s.local.IP.To4() != nil {
		s.family = unix.AF_INET
	}
	if s.open(udp) != nil {
		return nil
	}
	_ = udp.Close() // takes it out of the runtime's poller
	s.bunch = new(bunch)
	s.pauses = nap.New()
	for i := range s.bunch.heads {
		s.bunch.parts[i].Base = &s.bunch.data[i][0]
		s.bunch.parts[i].SetLen(maxDatagram)
		h := &s.bunch.heads[i]
		h.Iov, h.Name, h.Control = &s.bunch.parts[i], (*byte)(unsafe.Pointer(&s.bunch.from[i])), &s.bunch.control[i][0]
		h.SetIovlen(1)
	}
	return s
}

// open makes s another name for a socket, and its poller.
func (s *udpSocket) open(udp *net.UDPConn) error {
	raw, err := udp.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) { s.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return cerr
	}
	if err != nil {
		return err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		_ = unix.Close(s.fd)
		return err
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT}
	var events [1]unix.EpollEvent
	s.arm = func(fd uintptr) { _ = unix.EpollCtl(int(fd), unix.EPOLL_CTL_MOD, s.fd, &event) }
	s.woken = func(fd uintptr) bool {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&events)), 1, 0, 0, 0)
		s.failed = errno == 0 && n > 0 && events[0].Events&unix.EPOLLERR != 0
		return errno == 0 && n > 0
	}
	err = errors.Join(unix.SetNonblock(epoll, true), unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, s.fd, &event))
	s.poll = os.NewFile(uintptr(epoll), "udp")
	if s.waiting, _ = s.poll.SyscallConn(); err == nil {
		err = unix.SetNonblock(s.fd, false)
	}
	if err != nil {
		_ = s.poll.Close()
		_ = unix.Close(s.fd)
	}
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) // without it stamp is a little late
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)    // without it nothing is dropped
	_, tooOld := unix.GetsockoptInt(s.fd, unix.SOL_UDP, unix.UDP_SEGMENT)
	s.apart = tooOld != nil
	// Whoever may not ask for more than net.core.rmem_max keeps what there is.
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, ReceiveBuffer)
	return err
}

// read returns the next datagram, which is good until the next call, its
// sender, and when it came.
func (s *udpSocket) read() (data []byte, from netip.AddrPort, at time.Time, err error) {
	for s.next == s.have {
		if err := s.fill(); err != nil {
			return nil, from, at, err
		}
	}
	i := s.next
	s.next++
	b := s.bunch
	s.countDropped(i)
	return b.data[i][:b.heads[i].n], b.from[i].read(), s.stamp(i), nil
}

// more says whether there is something to read that came together with what was
// read last.
func (s *udpSocket) more() bool { return s != nil && s.next < s.have }

// Datagrams are gathered where more than one came at once, and for longer where
// they were all answers to probes and others are to come, since nobody waits for
// those: to be woken for each costs as much as to serve it. What comes alone does
// not wait.
const (
	pause     = time.Millisecond
	longPause = 4 * time.Millisecond
)

// fill reads what is there, and waits if that is nothing.
func (s *udpSocket) fill() error {
	switch answers := s.have > 0 && s.answered == s.have; {
	case !s.drained:
	case answers && s.expect():
		s.pauses.Sleep(longPause)
	case s.have > 1 && !answers:
		s.pauses.Sleep(pause)
	default:
		if s.waiting.Control(s.arm) != nil || s.waiting.Read(s.woken) != nil {
			return net.ErrClosed
		}
	}
	b := s.bunch
	for i := range b.heads {
		b.heads[i].Namelen = unix.SizeofSockaddrInet6
		b.heads[i].SetControllen(len(b.control[i]))
	}
	n, err := s.use(unix.SYS_RECVMMSG, unsafe.Pointer(&b.heads), mostInBunch, unix.MSG_DONTWAIT, nil, 0)
	s.next, s.have, s.answered = 0, int(n), 0
	s.drained = err == unix.EAGAIN || err == nil && n < mostInBunch
	if err != unix.EAGAIN {
		return err
	}
	if s.failed {
		s.failed = false
		return unix.EPROTO // there is something in the queue of errors
	}
	return nil
}

// use is a system call on the socket that takes these. Calls that do not wait, as
// nearly all, are not told to the runtime: in a process that was at rest its
// monitor would wake up for the first, and then every few microseconds to see
// whether one takes long.
func (s *udpSocket) use(call uintptr, p unsafe.Pointer, n, flags uintptr, q unsafe.Pointer, m uintptr) (uintptr, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	for {
		done, _, errno := unix.RawSyscall6(call, uintptr(s.fd), uintptr(p), n, flags|unix.MSG_DONTWAIT, uintptr(q), m)
		if errno == unix.EAGAIN && flags&unix.MSG_DONTWAIT == 0 {
			done, _, errno = unix.Syscall6(call, uintptr(s.fd), uintptr(p), n, flags, uintptr(q), m)
		}
		switch errno {
		case 0:
			return done, nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// stamp is when the kernel had the datagram.
func (s *udpSocket) stamp(i int) time.Time {
	h := &s.bunch.heads[i]
	c := (*unix.Cmsghdr)(unsafe.Pointer(&s.bunch.control[i]))
	if int(h.Controllen) < unix.CmsgLen(int(unsafe.Sizeof(unix.Timespec{}))) || c.Level != unix.SOL_SOCKET || c.Type != unix.SCM_TIMESTAMPNS {
		return time.Now()
	}
	t := (*unix.Timespec)(unsafe.Pointer(&s.bunch.control[i][unix.CmsgLen(0)]))
	return time.Unix(t.Unix())
}

// countDropped reads, behind the stamp, how many datagrams found no room since
// the socket was opened. It is there from the first one on.
func (s *udpSocket) countDropped(i int) {
	begin := unix.CmsgSpace(int(unsafe.Sizeof(unix.Timespec{})))
	if int(s.bunch.heads[i].Controllen) < begin+unix.CmsgLen(4) {
		return
	}
	c := (*unix.Cmsghdr)(unsafe.Pointer(&s.bunch.control[i][begin]))
	if c.Level == unix.SOL_SOCKET && c.Type == unix.SO_RXQ_OVFL {
		s.dropped = *(*uint32)(unsafe.Pointer(&s.bunch.control[i][begin+unix.CmsgLen(0)]))
	}
}

// send sends one datagram.
func (s *udpSocket) send(b []byte, to netip.AddrPort) error {
	var sa sockaddr
	if !sa.write(to, s.family) {
		return unix.EAFNOSUPPORT
	}
	_, err := s.use(unix.SYS_SENDTO, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), 0, unsafe.Pointer(&sa), unix.SizeofSockaddrInet6)
	return err
}

// Control lends the socket to f, which must not keep it.
func (s *udpSocket) Control(f func(fd uintptr)) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return net.ErrClosed
	}
	f(uintptr(s.fd))
	return nil
}

// Close implements net.PacketConn. Who reads gets net.ErrClosed.
func (s *udpSocket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.closed = true
	s.pauses.Close()
	return errors.Join(s.poll.Close(), unix.Close(s.fd))
}

// ReadFrom, WriteTo, LocalAddr and the deadlines implement net.PacketConn.

func (s *udpSocket) ReadFrom(b []byte) (int, net.Addr, error) {
	data, from, _, err := s.read()
	return copy(b, data), net.UDPAddrFromAddrPort(from), err
}

func (s *udpSocket) WriteTo(b []byte, to net.Addr) (int, error) {
	if err := s.send(b, addrPortOf(to)); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (s *udpSocket) LocalAddr() net.Addr              { return s.local }
func (s *udpSocket) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (s *udpSocket) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (s *udpSocket) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
