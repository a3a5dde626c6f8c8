package b2bua

import (
	"errors"

	"sipvigil/b2bua/dialog"
)

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
