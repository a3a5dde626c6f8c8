package b2bua

import (
	"bytes"
	"errors"

	"sipvigil/b2bua/dialog"
)

// tidy takes LWS where the library reads none out of the Vias of the message in
// buf[:n], and returns its new length.
func tidy(buf []byte, n int) int {
	b := make([]byte, 0, n)
	f := fields{rest: buf[:n]}
	f.line()
	b = append(b, buf[:n-len(f.rest)]...)
	for start := len(f.rest); f.next(); start = len(f.rest) {
		whole := buf[n-start : n-len(f.rest)]
		if fieldOf(f.name) == fieldVia {
			whole = bytes.Replace(whole, f.value, tidyVia(f.value), 1)
		}
		b = append(b, whole...)
	}
	b = append(append(b, "\r\n"...), f.rest...)
	return copy(buf, b)
}

// tidyVia takes LWS out of a Via wherever it may be left out, RFC 3261 section
// 25.1, which is everywhere but before the host.
func tidyVia(value []byte) []byte {
	b := make([]byte, 0, len(value))
	quoted := false
	for i, c := range value {
		switch {
		case c == '"':
			quoted = !quoted
		case !quoted && isLWS(c):
			if next := trimSpace(value[i:]); isLWS(value[i-1]) ||
				bytes.IndexByte([]byte("/;=,:"), b[len(b)-1]) >= 0 || bytes.IndexByte([]byte("/;=,:"), next[0]) >= 0 {
				continue
			}
			c = ' '
		}
		b = append(b, c)
	}
	return b
}

// isOddVia says whether a Via has LWS elsewhere than before its host.
func isOddVia(value []byte) bool {
	spaces := 0
	for _, c := range value {
		if isLWS(c) {
			spaces++
		}
	}
	return spaces > 1
}

// inviteTarget is where the requests of a call that this INVITE makes go. An
// RFC 2543 peer, which is known by its missing From tag, need not name a
// Contact and is called back at its From.
func inviteTarget(m *received) (string, error) {
	uri, err := contactURI(m)
	from := value(m, "from")
	if err == nil || !errors.Is(err, errNoContact) || dialog.Tag(from) != "" {
		return uri, err
	}
	addr, err := dialog.ParseAddr(from)
	if err != nil {
		return "", err
	}
	if _, err := dialog.ParseURI(addr.URI); err != nil {
		return "", err
	}
	return addr.URI, nil
}
