package b2bua

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/icholy/digest"

	"sipvigil/b2bua/dialog"
)

// maxChallenge bounds a challenge: what is kept of it goes into every request
// to that trunk.
const maxChallenge = 4096

// maxRealms bounds how many protection domains one peer may have us answer.
const maxRealms = 4

// challenge is one row of a 401 or 407 that we know how to answer.
type challenge struct {
	header string // that the answer goes into: Authorization or Proxy-Authorization
	digest.Challenge
}

// sameDomain says whether credentials for one serve for the other: RFC 3261
// section 22.1 has the realm alone define the protection domain.
func (ch *challenge) sameDomain(other *challenge) bool {
	return ch.header == other.header && ch.Realm == other.Realm
}

// challenges are those of a response that can be answered, one for each realm:
// the topmost whose algorithm is SHA-256 or SHA-512-256, else the topmost with
// MD5. That MD5 comes last wherever it stands is our policy, as RFC 8760
// section 2.4 allows; what is not understood is ignored, as it demands.
func challenges(res *received) []challenge {
	var picked []challenge
	for _, h := range res.fields {
		var answer string
		switch h.key {
		case "www-authenticate":
			answer = "Authorization" // RFC 3261 section 22.2
		case "proxy-authenticate":
			answer = "Proxy-Authorization" // RFC 3261 section 22.3
		default:
			continue
		}
		parsed, ok := parseChallenge(h.value)
		if !ok {
			continue
		}
		ch := challenge{answer, parsed}
		i := slices.IndexFunc(picked, func(c challenge) bool { return c.sameDomain(&ch) })
		switch {
		case i >= 0:
			if isMD5(picked[i].Algorithm) && !isMD5(ch.Algorithm) {
				picked[i] = ch
			}
		case len(picked) < maxRealms:
			picked = append(picked, ch)
		}
	}
	return picked
}

// parseChallenge reads a challenge of the Digest scheme, RFC 7616 section 3.3,
// that can be answered: its algorithm is known, and if it names qualities of
// protection then auth or auth-int is one of them. Each stands in a row of its
// own, RFC 3261 section 7.3.1: two in one are not understood.
func parseChallenge(value string) (digest.Challenge, bool) {
	params, ok := authParams(value)
	if !ok {
		return digest.Challenge{}, false
	}
	c := digest.Challenge{
		Realm: params["realm"], Nonce: params["nonce"], Opaque: params["opaque"],
		Algorithm: params["algorithm"],
		Stale:     strings.EqualFold(params["stale"], "true"),
		Userhash:  strings.EqualFold(params["userhash"], "true"),
	}
	if qop, ok := params["qop"]; ok {
		for one := range strings.SplitSeq(qop, ",") {
			c.QOP = append(c.QOP, strings.ToLower(strings.Trim(one, lws)))
		}
	}
	_, realm := params["realm"]
	return c, realm && c.Nonce != "" && knownAlgorithm(c.Algorithm) && digest.CanDigest(&c)
}

// authParams are the parameters of a challenge or of credentials of the Digest
// scheme, by their names in lower case. The library's own reader demands more
// than RFC 3261 section 25.1 does of case, spaces and tokens.
func authParams(value string) (map[string]string, bool) {
	if len(value) > maxChallenge {
		return nil, false
	}
	value = strings.Trim(value, lws)
	end := strings.IndexAny(value, lws)
	if end < 0 || !strings.EqualFold(value[:end], "Digest") {
		return nil, false
	}
	params := make(map[string]string)
	for _, param := range dialog.SplitList(value[end:]) {
		name, text, ok := strings.Cut(param, "=")
		name = strings.ToLower(strings.Trim(name, lws))
		_, twice := params[name]
		if !ok || twice || strings.ContainsAny(name, lws) {
			return nil, false
		}
		if params[name], ok = unquote(strings.Trim(text, lws)); !ok {
			return nil, false
		}
	}
	return params, true
}

const lws = " \t\r\n"

// unquote is the text of a quoted string or of a token. Text that could not be
// given back as it came is refused: control characters, broken UTF-8.
func unquote(s string) (string, bool) {
	if quoted, ok := strings.CutPrefix(s, `"`); ok {
		if quoted, ok = strings.CutSuffix(quoted, `"`); !ok {
			return "", false
		}
		var b strings.Builder
		for i := 0; i < len(quoted); i++ {
			switch quoted[i] {
			case '"':
				return "", false
			case '\\':
				if i++; i == len(quoted) {
					return "", false
				}
			}
			b.WriteByte(quoted[i])
		}
		s = b.String()
	}
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	return s, utf8.ValidString(s) && strings.IndexFunc(s, unprintable) < 0
}

// knownAlgorithm lists those of RFC 8760 section 2.1 that we compute. The
// variants with -sess are left to servers that offer nothing else, of which
// none is known.
func knownAlgorithm(name string) bool {
	return isMD5(name) || strings.EqualFold(name, "SHA-256") || strings.EqualFold(name, "SHA-512-256")
}

// isMD5 says whether an algorithm is MD5, which it is when none is named: RFC
// 7616 section 3.3.
func isMD5(name string) bool { return name == "" || strings.EqualFold(name, "MD5") }
