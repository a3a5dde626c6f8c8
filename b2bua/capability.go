package b2bua

import (
	"slices"
	"strconv"
	"strings"

	"sipvigil/b2bua/dialog"
)

// Capabilities are what a far end says that it can do, RFC 3261 section 11.2.
// What is nil was not said; what it has said that cannot be read is left out.
type Capabilities struct {
	Allow     []string // methods
	Supported []string // option tags
	Accept    []string // types of bodies
	Encodings []string // Accept-Encoding
	Languages []string // Accept-Language
	Codecs    []string // of its session description, such as "audio PCMU/8000"
}

// Bounds of what is kept of one answer.
const (
	mostListed  = 64
	longestWord = 128
)

// capabilities reads what a message says.
func capabilities(m *received) Capabilities {
	return Capabilities{
		Allow:     listed(m, "allow"),
		Supported: listed(m, "supported"),
		Accept:    listed(m, "accept"),
		Encodings: listed(m, "accept-encoding"),
		Languages: listed(m, "accept-language"),
		Codecs:    codecs(m),
	}
}

// listed are the elements of all headers of a name, without their parameters and
// each once. A header without elements says something, too.
func listed(m *received, name string) []string {
	lines := values(m, name)
	if len(lines) == 0 {
		return nil
	}
	all := []string{}
	for _, line := range lines {
		for _, element := range dialog.SplitList(line) {
			word, _, _ := strings.Cut(element, ";")
			word = strings.Trim(word, lws)
			same := func(s string) bool { return strings.EqualFold(s, word) }
			if len(all) < mostListed && isWord(word) && !slices.ContainsFunc(all, same) {
				all = append(all, word)
			}
		}
	}
	return all
}

// isWord says whether a text can be shown as it is.
func isWord(s string) bool {
	return s != "" && len(s) <= longestWord && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// audiovisual are the formats that need no rtpmap, RFC 3551 section 6.
var audiovisual = map[string]string{
	"0": "PCMU/8000", "3": "GSM/8000", "4": "G723/8000", "5": "DVI4/8000", "6": "DVI4/16000", "7": "LPC/8000",
	"8": "PCMA/8000", "9": "G722/8000", "10": "L16/44100/2", "11": "L16/44100", "12": "QCELP/8000", "13": "CN/8000",
	"14": "MPA/90000", "15": "G728/8000", "16": "DVI4/11025", "17": "DVI4/22050", "18": "G729/8000",
	"25": "CelB/90000", "26": "JPEG/90000", "28": "nv/90000", "31": "H261/90000", "32": "MPV/90000", "33": "MP2T/90000", "34": "H263/90000",
}

// codecs are those of a session description that tells capabilities, RFC 3264
// section 9, in their order and each once: the medium and the name of the
// format, or the format itself where the medium is not over RTP.
func codecs(m *received) []string {
	kind, _, _ := strings.Cut(value(m, "content-type"), ";")
	if !strings.EqualFold(strings.Trim(kind, lws), "application/sdp") {
		return nil
	}
	all := []string{}
	var media string
	var formats []string
	names := make(map[string]string)
	next := func() {
		for _, f := range formats {
			codec := f
			if name := names[f]; name != "" {
				codec = name
			}
			codec = media + " " + codec
			if len(all) < mostListed && !slices.Contains(all, codec) {
				all = append(all, codec)
			}
		}
		formats = nil
	}
	for line := range strings.Lines(string(m.body)) {
		line = strings.TrimRight(line, "\r\n")
		if rest, ok := strings.CutPrefix(line, "m="); ok {
			next()
			media, formats, names = mediaOf(rest)
		} else if rest, ok := strings.CutPrefix(line, "a=rtpmap:"); ok {
			payload, name, _ := strings.Cut(rest, " ")
			if name = strings.TrimSpace(name); isWord(name) {
				names[payload] = name
			}
		}
	}
	next()
	return all
}

// mediaOf reads what follows m=: RFC 8866 section 5.14.
func mediaOf(line string) (media string, formats []string, names map[string]string) {
	words := strings.Fields(line)
	names = make(map[string]string)
	if len(words) < 4 || slices.ContainsFunc(words, func(s string) bool { return !isWord(s) }) {
		return "", nil, names
	}
	formats = words[3:min(len(words), 3+mostListed)]
	if strings.Contains(words[2], "RTP/") {
		for _, f := range formats {
			if n, err := strconv.Atoi(f); err == nil {
				names[f] = audiovisual[strconv.Itoa(n)]
			}
		}
	}
	return words[0], formats, names
}
