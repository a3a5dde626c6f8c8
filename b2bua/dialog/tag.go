package dialog

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"strconv"

	"github.com/google/uuid"

	"sipvigil/store"
)

// A tag is one letter for the side and the base32hex text of the call's id and
// of the check.
const (
	idSize    = len(uuid.UUID{})
	checkSize = 6
	tagSize   = 1 + ((idSize+checkSize)*8+4)/5

	callerLetter = 'r' // the letters in which the two words differ
	calleeLetter = 'e'
)

// base32hex is RFC 4648 section 7 in lower case.
const base32hex = "0123456789abcdefghijklmnopqrstuv"

var tagEncoding = base32.NewEncoding(base32hex).WithPadding(base32.NoPadding)

// MintTag makes our local tag of one leg. The tag names the call and the side
// by itself, and carries a check that only holders of key can make, so that a
// request with an invented tag costs no look-up. RFC 3261 section 19.3 asks
// for 32 random bits; a UUID has more. MintTag panics when id is not a UUID.
func MintTag(key []byte, id string, side store.Side) string {
	u := uuid.MustParse(id)
	var raw [idSize + checkSize]byte
	copy(raw[:], u[:])
	sum := check(key, raw[:idSize], side)
	copy(raw[idSize:], sum[:])

	var tag [tagSize]byte
	tag[0] = callerLetter
	if side == store.Callee {
		tag[0] = calleeLetter
	}
	tagEncoding.Encode(tag[1:], raw[:])
	return string(tag[:])
}

// ForkTag makes our local tag of one more dialog on the same leg, from that of
// the first; n is 1 to 9999. It names the same call and side.
func ForkTag(tag string, n int) string {
	return tag + "." + strconv.Itoa(n)
}

// ReadTag says which call and side a tag names, if it has the shape of our
// tags. It does not look at the check: see [CheckTag]. Upper case is accepted,
// because tokens are compared without regard to case: RFC 3261 section 7.3.1.
func ReadTag(tag string) (id string, side store.Side, ok bool) {
	raw, side, ok := decodeTag(tag)
	if !ok {
		return "", 0, false
	}
	return uuid.UUID(raw[:idSize]).String(), side, true
}

// CheckTag says whether a tag was made by [MintTag] with this key. How long it
// takes does not tell how much of the check was right.
func CheckTag(key []byte, tag string) bool {
	raw, side, ok := decodeTag(tag)
	if !ok {
		return false
	}
	sum := check(key, raw[:idSize], side)
	return hmac.Equal(raw[idSize:], sum[:])
}

// check is the begin of an HMAC, made by hand where nothing has to be allocated
// for it.
func check(key, id []byte, side store.Side) (sum [checkSize]byte) {
	if len(key) > sha256.BlockSize || len(id) != idSize {
		mac := hmac.New(sha256.New, key)
		mac.Write(bytes.Clone(id)) // so that only here it goes to the heap
		mac.Write([]byte{byte(side)})
		copy(sum[:], mac.Sum(nil))
		return sum
	}
	var inner [sha256.BlockSize + idSize + 1]byte
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(inner[:], key)
	copy(outer[:], key)
	for i := range sha256.BlockSize {
		inner[i] ^= 0x36 // the pads of RFC 2104
		outer[i] ^= 0x5c
	}
	copy(inner[sha256.BlockSize:], id)
	inner[len(inner)-1] = byte(side)
	hash := sha256.Sum256(inner[:])
	copy(outer[sha256.BlockSize:], hash[:])
	hash = sha256.Sum256(outer[:])
	copy(sum[:], hash[:])
	return sum
}

func decodeTag(tag string) (raw [idSize + checkSize]byte, side store.Side, ok bool) {
	if len(tag) < tagSize || !isFork(tag[tagSize:]) {
		return raw, 0, false
	}
	switch tag[0] | 0x20 {
	case callerLetter:
		side = store.Caller
	case calleeLetter:
		side = store.Callee
	default:
		return raw, 0, false
	}
	bits, n, out := uint(0), 0, 0
	for i := 1; i < tagSize; i++ {
		v, ok := digit(tag[i])
		if !ok {
			return raw, 0, false
		}
		bits, n = bits<<5|v, n+5
		if n >= 8 {
			n -= 8
			raw[out] = byte(bits >> n)
			out++
		}
	}
	// One tag has one spelling: the bits that are left over are zero.
	return raw, side, bits&(1<<n-1) == 0
}

// isFork says whether this is nothing, or what [ForkTag] adds.
func isFork(s string) bool {
	if s == "" {
		return true
	}
	if len(s) < 2 || len(s) > 5 || s[0] != '.' || s[1] == '0' {
		return false
	}
	for i := 1; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func digit(c byte) (uint, bool) {
	switch {
	case '0' <= c && c <= '9':
		return uint(c - '0'), true
	case 'a' <= c && c <= 'v':
		return uint(c-'a') + 10, true
	case 'A' <= c && c <= 'V':
		return uint(c-'A') + 10, true
	}
	return 0, false
}
