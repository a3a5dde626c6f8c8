package b2bua

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/maphash"

	"sipvigil/b2bua/dialog"
)

// A transaction of an RFC 2543 peer has no branch that names it: RFC 3261
// section 17.2.3 has it matched by Request-URI, From tag, Call-ID, CSeq number
// and topmost Via. The library demands a From tag for that, which such peers
// need not send, so the request gets a branch made of these before the library
// sees it, and no response leaves with it. The To tag is left out, so that ACK
// and CANCEL find their INVITE.
const (
	madeBranch = "z9hG4bK.2543."
	noBranch   = ";branch=" + madeBranch + "none." // and the hash; the Via had no branch
	ownBranch  = madeBranch + "own."               // and the hash, a dot, and what the branch was
	hashLen    = 16
)

// adapt rewrites the Vias of the request in buf[:n], and returns its new
// length: without LWS where the library reads none, and with a branch in the
// topmost. What would not fit stays as it is.
func (g *guard) adapt(buf []byte, n int) int {
	b := make([]byte, 0, n+len(noBranch)+hashLen)
	f := fields{rest: buf[:n]}
	_, uri, _ := bytes.Cut(f.line(), []byte{' '})
	b = append(b, buf[:n-len(f.rest)]...)
	top := true
	for start := len(f.rest); f.next(); start = len(f.rest) {
		if fieldOf(f.name) != fieldVia {
			b = append(b, buf[n-start:n-len(f.rest)]...)
			continue
		}
		via := tidyVia(f.value)
		if top {
			via = addBranch(via, g.hash2543(buf[:n], uri, via))
		}
		top = false
		b = append(append(append(b, "Via: "...), via...), "\r\n"...)
	}
	b = append(append(b, "\r\n"...), f.rest...)
	if len(b) > len(buf) {
		return n
	}
	return copy(buf, b)
}

// hash2543 is the same for the requests of one transaction.
func (g *guard) hash2543(datagram, uri, via []byte) []byte {
	var h maphash.Hash
	h.SetSeed(g.seed)
	add := func(b []byte) { _, _ = h.Write(b); _ = h.WriteByte('\n') }
	add(uri)
	add(via)
	f := fields{rest: datagram}
	f.line()
	for f.next() {
		switch fieldOf(f.name) {
		case fieldFrom:
			add([]byte(dialog.Tag(string(f.value))))
		case fieldCallID:
			add(f.value)
		case fieldCSeq:
			number, _, _ := bytes.Cut(f.value, []byte{' '})
			add(bytes.TrimLeft(trimSpace(number), "0"))
		}
	}
	return hex.AppendEncode(nil, binary.BigEndian.AppendUint64(nil, h.Sum64()))
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

// addBranch gives the first value of a tidy Via a branch unless it has one of
// RFC 3261.
func addBranch(via, hash []byte) []byte {
	one, _, _ := cutUnquoted(via)
	rest := via[len(one):]
	for i := range one {
		name := bytes.IndexByte(one[i:], '=')
		if one[i] != ';' || name < 0 || !bytes.EqualFold(one[i+1:i+name], []byte("branch")) {
			continue
		}
		value := i + name + 1
		// The library knows only the lower case of the name.
		start := [][]byte{one[:i], []byte(";branch=")}
		if !bytes.HasPrefix(one[value:], []byte("z9hG4bK")) {
			start = append(start, []byte(ownBranch), hash, []byte{'.'})
		}
		return bytes.Join(append(start, one[value:], rest), nil)
	}
	return bytes.Join([][]byte{one, []byte(noBranch), hash, rest}, nil)
}

// withoutBranch is a message as it should leave: a response to an RFC 2543
// peer has the topmost Via of the request, RFC 3261 section 8.2.6.2.
func withoutBranch(msg []byte) []byte {
	if !isStatusLine(msg) || !bytes.Contains(msg, []byte(madeBranch)) {
		return msg
	}
	f := fields{rest: msg}
	f.line()
	for f.next() {
		if fieldOf(f.name) != fieldVia {
			continue
		}
		var made int // length of what was added
		at := bytes.Index(f.value, []byte(noBranch))
		if at >= 0 {
			made = len(noBranch) + hashLen
		} else if at = bytes.Index(f.value, []byte(ownBranch)); at >= 0 {
			made = len(ownBranch) + hashLen + 1
		}
		if at < 0 || at+made > len(f.value) {
			break
		}
		via := bytes.Join([][]byte{f.value[:at], f.value[at+made:]}, nil)
		return bytes.Replace(msg, f.value, via, 1)
	}
	return msg
}

// isOddVia says whether the library needs help with a Via.
func isOddVia(value []byte, top bool) bool {
	if top && !bytes.Contains(value, []byte(";branch=z9hG4bK")) {
		return true
	}
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
