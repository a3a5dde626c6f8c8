package web

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// Role says what who has a token may do: each may what those before it may.
type Role string

// The roles.
const (
	Anybody  Role = ""         // needs no token
	Viewer   Role = "viewer"   // looks
	Operator Role = "operator" // probes, hangs up, has held calls released
	Admin    Role = "admin"    // takes trunks out of service
)

// Roles are those that a token can have, in their order.
var Roles = []Role{Viewer, Operator, Admin}

// covers says whether this role may do what needs another.
func (r Role) covers(needed Role) bool {
	return needed == Anybody || slices.Index(Roles, r) >= slices.Index(Roles, needed)
}

// Tokens are the users of the API, by the SHA-256 of their token. A token has
// 160 random bits, so that a slower hash would protect it no better.
type Tokens map[[sha256.Size]byte]User

// User is whose token it is.
type User struct {
	Name string
	Role Role
}

// tokenPrefix has tokens found by those who search files for secrets.
const tokenPrefix = "sipvigil_"

var userPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$`)

// NewToken makes a token, and the line that stands for it in a file of tokens. Its
// error names what is wrong with name and role, a line for each.
func NewToken(name string, role Role) (token, line string, err error) {
	var faults []error
	if !userPattern.MatchString(name) {
		faults = append(faults, fmt.Errorf("name: %q is not a name of at most 63 letters, digits, '.', '_', '@' and '-'", name))
	}
	if !slices.Contains(Roles, role) {
		faults = append(faults, fmt.Errorf("role: %q is none of viewer, operator, admin", role))
	}
	if len(faults) > 0 {
		return "", "", errors.Join(faults...)
	}
	token = tokenPrefix + rand.Text() + rand.Text()[:6]
	sum := sha256.Sum256([]byte(token))
	return token, fmt.Sprintf("%s %s sha256:%s", name, role, hex.EncodeToString(sum[:])), nil
}

// ReadTokens reads a file of tokens: on each line a name, a role and the hash of
// the token, as NewToken makes them. Empty lines and those that begin with #
// are left out. It reports all faults at once; a file without a token is one.
func ReadTokens(r io.Reader) (Tokens, error) {
	tokens := make(Tokens)
	var faults []error
	in := bufio.NewScanner(r)
	for n := 1; in.Scan(); n++ {
		line := strings.TrimSpace(in.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		sum, user, err := readToken(line)
		if err == nil && tokens[sum] != (User{}) {
			err = fmt.Errorf("the token of %s is there already, for %s", user.Name, tokens[sum].Name)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		tokens[sum] = user
	}
	if err := in.Err(); err != nil {
		faults = append(faults, err)
	}
	if len(faults) == 0 && len(tokens) == 0 {
		faults = append(faults, errors.New("holds no token; make one with sipvigil token new"))
	}
	return tokens, errors.Join(faults...)
}

// readToken reads one line. Its errors show nothing of it: it may hold a token
// instead of a hash.
func readToken(line string) (sum [sha256.Size]byte, u User, err error) {
	fields := strings.Fields(line)
	if len(fields) != 3 {
		return sum, u, errors.New("is not NAME ROLE sha256:HEX")
	}
	u = User{fields[0], Role(fields[1])}
	text, ok := strings.CutPrefix(fields[2], "sha256:")
	b, err := hex.DecodeString(text)
	switch {
	case !userPattern.MatchString(u.Name):
		return sum, u, errors.New("its name is none: letters, digits, '.', '_', '@' and '-'")
	case !slices.Contains(Roles, u.Role):
		return sum, u, errors.New("its role is none of viewer, operator, admin")
	case !ok || err != nil || len(b) != len(sum):
		return sum, u, errors.New("its hash is not sha256: and 64 hexadecimal digits")
	}
	return [sha256.Size]byte(b), u, nil
}

// who finds the user of a token.
func (t Tokens) who(token string) (User, bool) {
	u, ok := t[sha256.Sum256([]byte(token))]
	return u, ok
}
