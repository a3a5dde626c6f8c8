package b2bua

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// answered is a 200 with these header lines and this body.
func answered(body string, lines ...string) *received {
	res := withLines(200, lines...)
	res.body = []byte(body)
	return res
}

func TestCapabilitiesAreRead(t *testing.T) {
	sdp := func(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n" }
	for _, c := range []struct {
		name  string
		body  string
		lines []string
		want  Capabilities
	}{
		{"nothing is said", "", nil, Capabilities{}},
		{"all is said", sdp("v=0", "m=audio 0 RTP/AVP 0 8 96 101", "a=rtpmap:96 opus/48000/2", "a=rtpmap:101 telephone-event/8000",
			"m=video 0 RTP/SAVPF 97 34", "a=rtpmap:97 H264/90000"),
			[]string{"Allow: INVITE, ACK ,BYE", "Allow: REFER,invite", "k: timer", "Supported: 100rel", "Accept: application/sdp;level=1, text/plain",
				"Accept-Encoding: gzip;q=0.5", "Accept-Language: en, de;q=0.1", "c: Application/SDP ;charset=utf-8"},
			Capabilities{Allow: []string{"INVITE", "ACK", "BYE", "REFER"}, Supported: []string{"timer", "100rel"},
				Accept: []string{"application/sdp", "text/plain"}, Encodings: []string{"gzip"}, Languages: []string{"en", "de"},
				Codecs: []string{"audio PCMU/8000", "audio PCMA/8000", "audio opus/48000/2", "audio telephone-event/8000",
					"video H264/90000", "video H263/90000"}}},
		{"an empty Supported is something else than none", "", []string{"Supported: "}, Capabilities{Supported: []string{}}},
		{"a body that is no session description", "m=audio 0 RTP/AVP 0\r\n", []string{"Content-Type: text/plain"}, Capabilities{}},
		{"no medium", sdp("v=0"), []string{"Content-Type: application/sdp"}, Capabilities{Codecs: []string{}}},
		{"media that are not over RTP, lines that are none, a name for another medium", sdp("m=image 0 udptl t38", "m=audio", "a=rtpmap:0 WRONG/1",
			"m=audio 0 RTP/AVP 0 0 200 07", "a=rtpmap:99 none/8000", "a=rtpmap:200"),
			[]string{"Content-Type: application/sdp"}, Capabilities{Codecs: []string{"image t38", "audio PCMU/8000", "audio 200", "audio LPC/8000"}}},
		{"lines that end as on Unix", "m=audio 0 RTP/AVP 18\nm=audio 0 RTP/AVP 9\n", []string{"Content-Type: application/sdp"},
			Capabilities{Codecs: []string{"audio G729/8000", "audio G722/8000"}}},
		{"what cannot be shown", sdp("m=audio 0 RTP/AVP 0 \x1b[2J", "m=audio 0 RTP/AVP 96", "a=rtpmap:96 \x07/1"),
			[]string{"Allow: INVITE, \x1b[2J, BYE", "Content-Type: application/sdp"}, Capabilities{Allow: []string{"INVITE", "BYE"}, Codecs: []string{"audio 96"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, capabilities(answered(c.body, c.lines...))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzCapabilities gives any header and any body: what is kept is bounded, and
// can be shown on a terminal.
func FuzzCapabilities(f *testing.F) {
	var many []string
	for i := range 2 * mostListed {
		many = append(many, fmt.Sprint(i))
	}
	f.Add(strings.Join(many, ","), "m=audio 0 RTP/AVP "+strings.Join(many, " ")+"\nm=video 0 RTP/AVP "+strings.Join(many, " "))
	f.Add("INVITE, ACK;q=1, \"a,b\"", "v=0\r\nm=audio 0 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n")
	f.Add(strings.Repeat("a,", 1000), "m=audio 0 RTP/AVP"+strings.Repeat(" 1", 1000)+"\nm=x 1 y z\n")
	f.Add("(comment, \\) <", "a=rtpmap:0 x\nm=\nm= 0 RTP/ 0\na=rtpmap:0 \xff\n")
	f.Fuzz(func(t *testing.T, header, body string) {
		got := capabilities(answered(body, "Allow: "+header, "Supported: "+header, "Accept: "+header, "Content-Type: application/sdp"))
		for _, list := range [][]string{got.Allow, got.Supported, got.Accept, got.Codecs} {
			if list == nil || len(list) > mostListed {
				t.Fatalf("%d elements of a header that is there", len(list))
			}
			for i, s := range list {
				if slices.Contains(list[:i], s) {
					t.Errorf("%q twice", s)
				}
				for word := range strings.SplitSeq(s, " ") {
					if !isWord(word) {
						t.Errorf("%q cannot be shown", s)
					}
				}
			}
		}
	})
}
