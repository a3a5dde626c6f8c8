package dialog

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/google/uuid"

	"sipvigil/store"
)

const callID = "01987c3f-5e1a-7b2c-8d3e-4f5061728394"

var key = []byte("0123456789abcdef0123456789abcdef")

func TestATagNamesItsCallAndSide(t *testing.T) {
	for _, side := range store.Sides {
		tag := MintTag(key, callID, side)
		if !isToken(tag) || tag != strings.ToLower(tag) || len(tag) != tagSize {
			t.Errorf("tag %q is not a lower-case token of %d bytes", tag, tagSize)
		}
		for _, spelling := range []string{tag, strings.ToUpper(tag)} {
			id, got, ok := ReadTag(spelling)
			if id != callID || got != side || !ok {
				t.Errorf("ReadTag(%q) = %q, %v, %v", spelling, id, got, ok)
			}
			if !CheckTag(key, spelling) {
				t.Errorf("CheckTag(%q) = false", spelling)
			}
		}
	}
}

func TestAForkNamesTheSameCallAndSide(t *testing.T) {
	for _, side := range store.Sides {
		for _, n := range []int{1, 15, 9999} {
			tag := ForkTag(MintTag(key, callID, side), n)
			if id, got, ok := ReadTag(tag); id != callID || got != side || !ok || !CheckTag(key, tag) || !isToken(tag) {
				t.Errorf("ReadTag(%q) = %q, %v, %v", tag, id, got, ok)
			}
		}
	}
	first := MintTag(key, callID, store.Caller)
	for _, suffix := range []string{".", ".0", ".01", ".10000", ".x", ".1x", ".1.1", ";1", "1", ".-1"} {
		if _, _, ok := ReadTag(first + suffix); ok || CheckTag(key, first+suffix) {
			t.Errorf("ReadTag(%q) = true", first+suffix)
		}
	}
}

// Nodes of different versions share the key and the calls, so a tag has one
// form for ever.
func TestTheFormOfATagIsFixed(t *testing.T) {
	test := func(side store.Side, want string) {
		t.Helper()
		if got := MintTag(key, callID, side); got != want {
			t.Errorf("MintTag(%v) = %q, want %q", side, got, want)
		}
	}
	test(store.Caller, "r06c7ofqu39tip39u9t862sk3iifb4sft9vv0")
	test(store.Callee, "e06c7ofqu39tip39u9t862sk3ihskuacjnvjg")
}

func TestAForgedTagFailsItsCheck(t *testing.T) {
	tag := MintTag(key, callID, store.Caller)
	if CheckTag([]byte("another key"), tag) {
		t.Error("a tag passed the check of another key")
	}
	if CheckTag(key, "e"+tag[1:]) {
		t.Error("a tag passed the check for the other side")
	}
	for i := range tag {
		for _, c := range []byte(base32hex) {
			forged := tag[:i] + string(c) + tag[i+1:]
			if forged != tag && CheckTag(key, forged) {
				t.Errorf("CheckTag(%q) = true, minted was %q", forged, tag)
			}
		}
	}
}

func TestReadTagRefusesOtherShapes(t *testing.T) {
	tag := MintTag(key, callID, store.Caller)
	for _, other := range []string{
		"",
		"r",
		tag[:len(tag)-1],
		tag + "0",
		"x" + tag[1:],
		tag[:5] + "w" + tag[6:],
		tag[:5] + "W" + tag[6:],
		tag[:5] + "\x00" + tag[6:],
		tag[:len(tag)-1] + "v", // bits beyond the last byte
		"_token~1'+`*%!-.",
		strings.Repeat("é", len(tag)),
	} {
		if id, _, ok := ReadTag(other); ok || id != "" {
			t.Errorf("ReadTag(%q) = %q, true", other, id)
		}
		if CheckTag(key, other) {
			t.Errorf("CheckTag(%q) = true", other)
		}
	}
}

func TestMintTagRefusesWhatIsNoUUID(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("MintTag made a tag of an id that is no UUID")
		}
	}()
	MintTag(key, "call-1", store.Caller)
}

func FuzzMintTag(f *testing.F) {
	f.Add([]byte{}, []byte{}, false)
	f.Add(key, []byte("0123456789abcdef"), true)
	f.Add([]byte(strings.Repeat("k", 100)), []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), true)
	f.Fuzz(func(t *testing.T, key, bytes []byte, callee bool) {
		var u uuid.UUID
		copy(u[:], bytes)
		side := store.Caller
		if callee {
			side = store.Callee
		}
		tag := MintTag(key, u.String(), side)
		id, got, ok := ReadTag(tag)
		if id != u.String() || got != side || !ok || !CheckTag(key, tag) {
			t.Errorf("ReadTag(%q) = %q, %v, %v; want %q, %v", tag, id, got, ok, u, side)
		}
	})
}

func FuzzReadTag(f *testing.F) {
	f.Add("")
	f.Add("_token~1'+`*%!-.")
	f.Add("r" + strings.Repeat("0", tagSize-1))
	f.Add("E" + strings.Repeat("V", tagSize-2) + "G")
	f.Add(MintTag(key, callID, store.Callee))
	f.Add(ForkTag(MintTag(key, callID, store.Callee), 12))
	f.Fuzz(func(t *testing.T, tag string) {
		id, side, ok := ReadTag(tag)
		if !ok {
			return
		}
		// All but the check, whose first bits share a letter with the id's last.
		const named = 1 + idSize*8/5
		minted := MintTag(key, id, side)
		if !strings.EqualFold(minted[:named], tag[:named]) {
			t.Errorf("ReadTag(%q) = %q, which is minted as %q", tag, id, minted)
		}
		if CheckTag(key, tag) != strings.EqualFold(minted, tag[:tagSize]) {
			t.Errorf("CheckTag(%q) = %v, minted is %q", tag, CheckTag(key, tag), minted)
		}
	})
}

func BenchmarkMintTag(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		MintTag(key, callID, store.Callee)
	}
}

func BenchmarkReadTag(b *testing.B) {
	tag := MintTag(key, callID, store.Callee)
	b.ReportAllocs()
	for b.Loop() {
		ReadTag(tag)
	}
}

func BenchmarkCheckTag(b *testing.B) {
	tag := MintTag(key, callID, store.Callee)
	b.ReportAllocs()
	for b.Loop() {
		CheckTag(key, tag)
	}
}

func TestTheCheckIsAnHMAC(t *testing.T) {
	for _, size := range []int{0, 16, 32, 64, 65, 200} {
		key, id := bytes.Repeat([]byte{0xa7}, size), []byte("0123456789abcdef")
		mac := hmac.New(sha256.New, key)
		mac.Write(append(id, byte(store.Callee)))
		if got := check(key, id, store.Callee); !bytes.Equal(got[:], mac.Sum(nil)[:checkSize]) {
			t.Errorf("with a key of %d bytes: %x", size, got)
		}
	}
}
