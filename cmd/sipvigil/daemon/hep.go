package daemon

import (
	"errors"
	"net"
	"syscall"
	"time"

	"go.uber.org/zap"

	"sipvigil/b2bua"
	"sipvigil/b2bua/hep"
)

// capture gives the capture server its copies.
type capture struct {
	to     *hep.Sender
	id     uint32
	log    *zap.Logger
	warned time.Time
}

// warnEvery is how often the log says that the capture server gets nothing.
const warnEvery = time.Minute

func newCapture(cfg HEP, log *zap.Logger) *capture {
	return &capture{to: hep.NewSender(cfg.Address), id: uint32(cfg.ID), log: log.With(zap.String("addr", cfg.Address))}
}

// Message implements [b2bua.Mirror].
func (c *capture) Message(m b2bua.Mirrored) error {
	err := c.to.Send(&hep.Packet{
		At: m.At, TCP: m.Transport != "udp", From: m.From, To: m.To, Agent: c.id, Correlation: m.CallID, Payload: m.Text,
	})
	switch {
	case err == nil, errors.Is(err, hep.ErrTooLong), errors.Is(err, net.ErrClosed):
	case time.Since(c.warned) > warnEvery:
		c.warned = time.Now()
		why := "the name cannot be found, or there is no route"
		if errors.Is(err, syscall.ECONNREFUSED) {
			why = "nobody listens there"
		}
		c.log.Warn("capture server gets no messages, calls go on without it", zap.String("why", why), zap.Error(err))
	}
	return err
}
