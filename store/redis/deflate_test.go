package redis

import (
	"bytes"
	"compress/flate"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// inflated is what any other reader of RFC 1951 makes of a text.
func inflated(t interface{ Fatal(...any) }, packed []byte) []byte {
	r := flate.NewReaderDict(bytes.NewReader(packed), []byte(dictionary))
	lines, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func FuzzDeflate(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("a"))
	f.Add([]byte(dictionary))
	f.Add([]byte(strings.Repeat("a", 1000)))
	f.Add([]byte(strings.Repeat("abcdefgh", 5000)))
	f.Add(bytes.Repeat([]byte{0, 143, 144, 255}, 20))
	var d deflater // used again and again
	f.Fuzz(func(t *testing.T, text []byte) {
		if got := inflated(t, d.deflate(nil, text)); !bytes.Equal(got, text) {
			t.Errorf("%q became %q", text, got)
		}
	})
}

// Texts of words and of what is random between them, of all lengths: matches of
// every length and distance are copied right.
func TestWhatIsDeflatedInflates(t *testing.T) {
	var d deflater
	rapid.Check(t, func(rt *rapid.T) {
		var text []byte
		for range rapid.IntRange(0, 60).Draw(rt, "parts") {
			switch n := rapid.IntRange(0, 700).Draw(rt, "length"); rapid.IntRange(0, 2).Draw(rt, "kind") {
			case 0:
				at := rapid.IntRange(0, len(dictionary)-1).Draw(rt, "word")
				text = append(text, dictionary[at:min(at+n, len(dictionary))]...)
			case 1:
				text = append(text, rapid.SliceOfN(rapid.Byte(), 1, 8).Draw(rt, "bytes")...)
			default:
				if len(text) > 0 {
					at := rapid.IntRange(0, len(text)-1).Draw(rt, "earlier")
					text = append(text, text[at:min(at+n, len(text))]...)
				}
			}
		}
		if got := inflated(rt, d.deflate(nil, text)); !bytes.Equal(got, text) {
			rt.Fatalf("%q became %q", text, got)
		}
	})
}
