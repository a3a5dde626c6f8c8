package redis

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"sipvigil/store"
)

// The text of a call is what is long and hardly ever changes: who the two far
// ends are and how they are reached. It has a key of its own, because one value
// over 64 bytes makes Redis keep a whole hash in its large form, several times
// the size. It has a line for each of textFields, in their order, with \ and
// line feeds escaped, and is compressed (RFC 1951) with a dictionary of what
// such texts hold.

const (
	textLevel = 2       // of compression; higher levels save a few bytes
	textMost  = 1 << 20 // of a text that is read, decompressed
)

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

var (
	escapeText   = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	unescapeText = strings.NewReplacer(`\\`, `\`, `\n`, "\n")
)

// texts makes texts and reads them. It may be used by many at once.
type texts struct{ writers, readers sync.Pool }

// encode returns the text of a call.
func (t *texts) encode(c *store.Call) []byte {
	lines := make([]byte, 0, 1024)
	for i := range textFields {
		lines = append(lines, escapeText.Replace(textFields[i].get(c))...)
		lines = append(lines, '\n')
	}
	lines = bytes.TrimRight(lines, "\n")
	packed := bytes.NewBuffer(make([]byte, 0, 512))
	w, ok := t.writers.Get().(*flate.Writer)
	if ok {
		w.Reset(packed)
	} else {
		w, _ = flate.NewWriterDict(packed, textLevel, []byte(dictionary)) // fails for a wrong level only
	}
	_, _ = w.Write(lines) // a buffer takes all
	_ = w.Close()
	t.writers.Put(w)
	return packed.Bytes()
}

// decode sets the fields of a call that are in its text.
func (t *texts) decode(c *store.Call, packed string) error {
	from := strings.NewReader(packed)
	r, ok := t.readers.Get().(io.Reader)
	if ok {
		_ = r.(flate.Resetter).Reset(from, []byte(dictionary)) // never fails
	} else {
		r = flate.NewReaderDict(from, []byte(dictionary))
	}
	lines, err := io.ReadAll(io.LimitReader(r, textMost+1))
	t.readers.Put(r)
	switch {
	case err != nil:
		return fmt.Errorf("text: %w", err)
	case len(lines) > textMost:
		return errors.New("text: it is too long")
	}
	i := 0
	for line := range strings.SplitSeq(string(lines), "\n") {
		if i == len(textFields) {
			break
		}
		if line != "" {
			if err := textFields[i].set(c, unescapeText.Replace(line)); err != nil {
				return fmt.Errorf("text: field %s: %w", textFields[i].name, err)
			}
		}
		i++
	}
	return nil
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
				name: f.name,
				get:  func(c *store.Call) string { return f.get(&c.Legs[side].Dialog) },
				set:  func(c *store.Call, v string) error { return f.set(&c.Legs[side].Dialog, v) },
			})
		}
	}
	return of
}
