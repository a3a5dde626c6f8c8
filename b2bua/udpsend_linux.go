package b2bua

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What the kernel takes at once: so many datagrams, of which so many to one
// address and of one length go through it as one, udp(7), with so many bytes in
// all. A datagram that may be too large for a path goes by itself.
const (
	mostTogether = 128
	mostSegments = 64
	mostInOne    = 60000
	mostOfOne    = 1200
)

// outgoing is where the kernel reads datagrams from.
type outgoing struct {
	heads   [mostTogether]mmsghdr
	parts   [mostTogether]unix.Iovec
	to      [mostTogether]sockaddr
	control [mostTogether][unix.SizeofCmsghdr + 8]byte
}

// sendAll sends datagrams, as many as it can, and says how many that were, and
// why the next one did not go.
func (s *udpSocket) sendAll(all []packet) (sent int, err error) {
	s.sending.Lock()
	defer s.sending.Unlock()
	if s.outgoing == nil {
		s.outgoing = new(outgoing)
	}
	for sent < len(all) && err == nil {
		var n int
		n, err = s.sendSome(all[sent:min(sent+mostTogether, len(all))])
		sent += n
	}
	return sent, err
}

// sendSome is sendAll for what the kernel takes at once. Called with sending
// locked.
func (s *udpSocket) sendSome(all []packet) (sent int, err error) {
	o := s.outgoing
	defer clear(o.parts[:len(all)]) // the texts are used again
	heads := 0
	for from := 0; from < len(all) && o.to[heads].write(all[from].to, s.family); heads++ {
		n := 1
		if !s.apart {
			n = alike(all[from:])
		}
		o.head(heads, from, all[from:from+n])
		from += n
	}
	if heads == 0 {
		return 0, unix.EAFNOSUPPORT
	}
	done, err := s.use(unix.SYS_SENDMMSG, unsafe.Pointer(&o.heads), uintptr(heads), unix.MSG_DONTWAIT, nil, 0)
	if err == unix.EIO { // where the network device makes no checksums
		s.apart = true
	}
	for i := range int(done) {
		sent += int(o.heads[i].Iovlen)
	}
	return sent, err
}

// alike is how many of these datagrams, from the first on, can be one for the
// kernel.
func alike(all []packet) int {
	n, size := 1, len(all[0].text)
	if size > mostOfOne {
		return 1
	}
	for n < min(len(all), mostSegments, mostInOne/max(size, 1)) && len(all[n].text) == size && all[n].to == all[0].to {
		n++
	}
	return n
}

// head describes datagrams that are one for the kernel, of which the first is the
// one with this number. Where they go stands there already.
func (o *outgoing) head(number, first int, all []packet) {
	for i, d := range all {
		o.parts[first+i].Base = unsafe.SliceData(d.text)
		o.parts[first+i].SetLen(len(d.text))
	}
	h := &o.heads[number]
	*h = mmsghdr{}
	h.Name, h.Namelen = (*byte)(unsafe.Pointer(&o.to[number])), unix.SizeofSockaddrInet6
	h.Iov = &o.parts[first]
	h.SetIovlen(len(all))
	if len(all) == 1 {
		return
	}
	c := (*unix.Cmsghdr)(unsafe.Pointer(&o.control[number]))
	c.Level, c.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	c.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(o.control[number][unix.CmsgLen(0):], uint16(len(all[0].text)))
	h.Control = &o.control[number][0]
	h.SetControllen(unix.CmsgSpace(2))
}
