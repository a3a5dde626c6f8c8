package daemon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"sipvigil/b2bua"
)

// Listen reads the certificates, opens the files that are written and binds all sockets,
// so that their addresses are known before Run. On an error nothing stays bound.
func (d *Daemon) Listen() error {
	if d.certificates != nil {
		if err := d.certificates.load(); err != nil {
			return err
		}
	}
	if err := d.loadAdmin(); err != nil {
		return err
	}
	if d.cdrs != nil {
		if err := d.cdrs.check(); err != nil {
			return err
		}
	}
	if d.journal != nil {
		if err := d.journal.Open(); err != nil {
			return fmt.Errorf("store.data: %w", err)
		}
	}
	for _, uri := range d.cfg.SIP.Listen {
		if err := d.listen(uri); err != nil {
			d.close()
			return err
		}
	}
	ln, err := net.Listen("tcp", d.cfg.Admin.Listen)
	if err != nil {
		d.close()
		return unbound("admin.listen "+d.cfg.Admin.Listen, err, "--admin")
	}
	d.admin = ln
	return nil
}

func (d *Daemon) listen(uri string) error {
	network, address, err := ParseListen(uri)
	if err != nil {
		return err
	}
	// One address family a socket: replies then leave from the right one.
	host, _, _ := net.SplitHostPort(address)
	family := "4"
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() {
		family = "6"
	}
	if network == "udp" {
		conn, err := net.ListenPacket("udp"+family, address)
		if err != nil {
			return unbound("sip.listen "+uri, err, "--listen")
		}
		_ = conn.(*net.UDPConn).SetReadBuffer(b2bua.ReceiveBuffer) // the kernel may give less
		d.packets = append(d.packets, conn)
		return nil
	}
	ln, err := net.Listen("tcp"+family, address)
	if err != nil {
		return unbound("sip.listen "+uri, err, "--listen")
	}
	d.streams = append(d.streams, b2bua.Listener{Listener: ln, Transport: network})
	return nil
}

// unbound is why there is no socket for a key of the configuration, and what to do.
func unbound(key string, err error, flag string) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = "is another sipvigil or SIP server running? "
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = "this host has no such address; "
	case errors.Is(err, syscall.EACCES):
		hint = "ports below 1024 are for root, or need CAP_NET_BIND_SERVICE; "
	}
	return fmt.Errorf("%s: %w (%schoose another with %s)", key, err, hint, flag)
}

func (d *Daemon) close() {
	for _, conn := range d.packets {
		_ = conn.Close()
	}
	for _, ln := range d.streams {
		_ = ln.Close()
	}
	d.packets, d.streams = nil, nil
	if d.journal != nil {
		_ = d.journal.Close()
	}
}

// SIPAddrs are the addresses bound by Listen, UDP first.
func (d *Daemon) SIPAddrs() []net.Addr {
	var addrs []net.Addr
	for _, conn := range d.packets {
		addrs = append(addrs, conn.LocalAddr())
	}
	for _, ln := range d.streams {
		addrs = append(addrs, ln.Addr())
	}
	return addrs
}

// AdminAddr is the address of the HTTP API and page, bound by Listen.
func (d *Daemon) AdminAddr() net.Addr { return d.admin.Addr() }
