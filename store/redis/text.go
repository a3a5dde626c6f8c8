package redis

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"sipvigil/store"
)

// The text of a call is what is long and hardly ever changes: who the two far
// ends are and how they are reached. It has a key of its own, because one value
// over 64 bytes makes Redis keep a whole hash in its large form, several times
// the size. It has a line for each of textFields, in their order, with \ and
// line feeds escaped, and is compressed (RFC 1951) with a dictionary of what
// such texts hold.

const textMost = 1 << 20 // of a text that is read, decompressed

// dictionary is a part of layout 2: a text reads back with the very same only.
// What comes last is the cheapest to refer to.
const dictionary = "v=0\r\\no=- 0 0 IN IP4 \r\\ns=-\r\\nc=IN IP4 \r\\nt=0 0\r\\nm=audio RTP/AVP 0 8 9 18 101\r\\n" +
	"a=rtpmap:0 PCMU/8000\r\\na=rtpmap:8 PCMA/8000\r\\na=rtpmap:9 G722/8000\r\\na=rtpmap:18 G729/8000\r\\n" +
	"a=fmtp:18 annexb=no\r\\na=rtpmap:101 telephone-event/8000\r\\na=fmtp:101 0-16\r\\na=ptime:20\r\\na=sendrecv\r\\n" +
	"REGISTER,PUBLISH,SUBSCRIBE,INVITE,ACK,CANCEL,OPTIONS,BYE,REFER,NOTIFY,INFO,PRACK,UPDATE,MESSAGE" +
	"INVITE, ACK, OPTIONS, CANCEL, BYE, SUBSCRIBE, NOTIFY, INFO, REFER, UPDATE, REGISTER, PUBLISH, PRACK, " +
	"INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO, NOTIFY, OPTIONS, MESSAGE, SUBSCRIBE, REFER" +
	"Kamailio OpenSIPS FreeSWITCH-mod_sofia/1.10 Cisco- Grandstream PolycomVVX- Yealink SIP-T snom Linphone/ baresip " +
	"Ericsson Oracle Sonus Ribbon FPBX-16.0.Asterisk PBX 1" +
	";user=phone;ob;lr=on;ftag=;transport=tcp;transport=tls;transport=ws;transport=udp\ntcp\ntls\nws\nudp\nudp\n" +
	"\n1800\n90\nself\npeer\n10.0.0.172.16.192.168.1.:5061\n:5060\n127.0.0.1\n127.0.0.1:5060\n" +
	"[\"<sip:;lr>\", \"<sip:;lr>\"]\n\"<sip:+\" <sip:>\n:5060;transport=udp\n" +
	"_other\n_other\n2026-\n" +
	"INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, MESSAGE, NOTIFY, REFER\n" +
	"INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, PUBLISH, MESSAGE\n"

var dictionaryBytes = []byte(dictionary) // not changed

var (
	escapeText   = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	unescapeText = strings.NewReplacer(`\\`, `\`, `\n`, "\n")
)

// texts makes texts and reads them. It may be used by many at once.
type texts struct {
	packers, readers sync.Pool

	mu     sync.Mutex
	seed   maphash.Seed
	known  map[string]uint64 // by call: the hash of the lines that Redis has
	before map[string]uint64 // what was known a while ago and not used since
	turned time.Time
}

// knownFor is how long at least it is known that Redis has the text of a call
// that does not change.
const knownFor = time.Hour

func newTexts() *texts {
	return &texts{seed: maphash.MakeSeed(), known: make(map[string]uint64), before: make(map[string]uint64), turned: time.Now()}
}

// linesOf appends the lines of a call's text.
func linesOf(lines []byte, c *store.Call) []byte {
	for i := range textFields {
		from := len(lines)
		lines = textFields[i].append(lines, c)
		if v := lines[from:]; bytes.IndexByte(v, '\\') >= 0 || bytes.IndexByte(v, '\n') >= 0 {
			lines = append(lines[:from], escapeText.Replace(string(v))...)
		}
		lines = append(lines, '\n')
	}
	return bytes.TrimRight(lines, "\n")
}

// packer is what it takes to make a text.
type packer struct {
	deflater
	lines []byte
}

// encode appends the text of a call, nothing when Redis has it, and returns the
// hash of its lines.
func (t *texts) encode(to []byte, c *store.Call) (packed []byte, sum uint64) {
	p, ok := t.packers.Get().(*packer)
	if !ok {
		p = new(packer)
	}
	defer t.packers.Put(p)
	p.lines = linesOf(p.lines[:0], c)
	sum = maphash.Bytes(t.seed, p.lines)
	if t.has(c.ID, sum) {
		return to, sum
	}
	return p.deflate(to, p.lines), sum
}

// learn notes that Redis has a text with these lines, which its owner alone
// changes.
func (t *texts) learn(id string, sum uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known[id] = sum
}

// has says whether Redis has these lines. If not, nothing is known from now on
// until the new ones are learned.
func (t *texts) has(id string, sum uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.turned) > knownFor { // so that calls that others adopted do not pile up
		t.known, t.before, t.turned = make(map[string]uint64), t.known, time.Now()
	}
	have, ok := t.known[id]
	if !ok {
		have, ok = t.before[id]
	}
	delete(t.before, id)
	if !ok || have != sum {
		delete(t.known, id)
		return false
	}
	t.known[id] = sum
	return true
}

// forget notes that it is not known what Redis has of a call.
func (t *texts) forget(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, id)
	delete(t.before, id)
}

// forgetAll notes that it is not known what Redis has of any call.
func (t *texts) forgetAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.known)
	clear(t.before)
}

// reader is what it takes to read a text.
type reader struct {
	inflater io.ReadCloser
	lines    bytes.Buffer
}

// read returns the lines of a text, until it is called again.
func (r *reader) read(packed string) ([]byte, error) {
	_ = r.inflater.(flate.Resetter).Reset(strings.NewReader(packed), dictionaryBytes) // never fails
	r.lines.Reset()
	n, err := r.lines.ReadFrom(io.LimitReader(r.inflater, textMost+1))
	if err == nil && n > textMost {
		r.lines = bytes.Buffer{}
		err = errors.New("it is too long")
	}
	return r.lines.Bytes(), err
}

// decode sets the fields of a call that are in its text, and returns the hash of
// its lines.
func (t *texts) decode(c *store.Call, packed string) (sum uint64, err error) {
	r, ok := t.readers.Get().(*reader)
	if !ok {
		r = &reader{inflater: flate.NewReaderDict(strings.NewReader(""), dictionaryBytes)}
	}
	defer t.readers.Put(r)
	lines, err := r.read(packed)
	if err != nil {
		return 0, fmt.Errorf("text: %w", err)
	}
	i := 0
	for line := range strings.SplitSeq(string(lines), "\n") {
		if i == len(textFields) {
			break
		}
		if strings.IndexByte(line, '\\') >= 0 {
			line = unescapeText.Replace(line)
		}
		if line != "" {
			if err := textFields[i].set(c, line); err != nil {
				return 0, fmt.Errorf("text: field %s: %w", textFields[i].name, err)
			}
		}
		i++
	}
	return maphash.Bytes(t.seed, lines), nil
}

// textFields are the lines of a text. The two legs alternate, so that what they
// have in common is close together.
var textFields = slices.Concat(callTexts[:3], ofLegs(dialogTexts), callTexts[3:])

func ofLegs(fields [2][]field[store.Dialog]) []field[store.Call] {
	var of []field[store.Call]
	for i := range fields[0] {
		for _, side := range store.Sides {
			f := fields[side][i]
			of = append(of, field[store.Call]{
				name:   f.name,
				append: func(to []byte, c *store.Call) []byte { return f.append(to, &c.Legs[side].Dialog) },
				set:    func(c *store.Call, v string) error { return f.set(&c.Legs[side].Dialog, v) },
			})
		}
	}
	return of
}
