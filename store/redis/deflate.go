package redis

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"math/bits"
	"sync"
)

// deflater compresses texts as RFC 1951 says, with the one dictionary and the
// codes that are fixed there (section 3.2.6). The general compressor clears
// tables of half a megabyte and works out codes of its own for each text, which
// takes ten times as long and saves nothing on texts as short as these.
//
// A deflater is of use again and again, for one at a time.
type deflater struct {
	window []byte   // the dictionary, then the text
	head   []uint16 // by hash: where such bytes came last, plus one
	before []uint16 // by place: where such bytes came before that, plus one

	out  []byte
	acc  uint64 // bits that are not in out yet, lowest first
	held uint   // how many
}

const (
	hashBits  = 12
	matchMin  = 3       // of what is copied, by RFC 1951 section 3.2.5
	matchMost = 258     //
	tries     = 16      // places that are compared
	textFits  = 1 << 15 // of dictionary and text together: as far as a copy may reach back
)

// indexed is the dictionary with its places, which every text begins with.
var indexed = sync.OnceValue(func() *deflater {
	d := &deflater{
		window: []byte(dictionary), head: make([]uint16, 1<<hashBits), before: make([]uint16, len(dictionary)),
	}
	for at := 0; at+matchMin <= len(d.window); at++ {
		d.index(at)
	}
	return d
})

// deflate appends the compressed text to out.
func (d *deflater) deflate(out, text []byte) []byte {
	base := indexed()
	if len(base.window)+len(text) > textFits {
		return deflateLong(out, text)
	}
	d.window = append(append(d.window[:0], base.window...), text...)
	d.head = append(d.head[:0], base.head...)
	d.before = append(d.before[:0], base.before...)
	d.before = append(d.before, make([]uint16, len(text))...)
	d.out, d.acc, d.held = out, 0, 0

	d.bits(1|1<<1, 3) // the last block, with fixed codes
	end := len(d.window)
	at := len(base.window)
	length, distance := d.match(at)
	for at < end {
		// A copy waits if a longer one begins at the next byte.
		d.index(at)
		nextLength, nextDistance := 0, 0
		if length < 32 {
			nextLength, nextDistance = d.match(at + 1)
		}
		if length == 0 || nextLength > length {
			d.literal(d.window[at])
			at++
			length, distance = nextLength, nextDistance
			continue
		}
		d.copied(length, distance)
		for range length - 1 {
			at++
			d.index(at)
		}
		at++
		length, distance = d.match(at)
	}
	d.symbol(256)
	d.bits(0, 7) // the rest of the last byte
	d.flush()
	return d.out
}

// deflateLong takes texts as they hardly ever are.
func deflateLong(out, text []byte) []byte {
	packed := bytes.NewBuffer(out)
	w, _ := flate.NewWriterDict(packed, flate.BestSpeed, []byte(dictionary)) // fails for a wrong level only
	_, _ = w.Write(text)                                                     // a buffer takes all
	_ = w.Close()
	return packed.Bytes()
}

// hash is that of the three bytes at a place.
func (d *deflater) hash(at int) uint32 {
	w := d.window[at : at+matchMin : at+matchMin]
	v := uint32(w[0]) | uint32(w[1])<<8 | uint32(w[2])<<16
	return v * 0x9e3779b1 >> (32 - hashBits)
}

// index notes a place for what comes later.
func (d *deflater) index(at int) {
	if at+matchMin > len(d.window) {
		return
	}
	h := d.hash(at)
	d.before[at] = d.head[h]
	d.head[h] = uint16(at + 1)
}

// match finds the longest copy of what comes at a place, 0 if none is worth it.
func (d *deflater) match(at int) (length, distance int) {
	rest := len(d.window) - at
	if rest < matchMin {
		return 0, 0
	}
	most := min(rest, matchMost)
	want := d.window[at : at+most]
	place := d.head[d.hash(at)]
	for range tries {
		if place == 0 {
			break
		}
		from := int(place) - 1
		if have := d.window[from:]; length == 0 || have[length] == want[length] {
			n := same(have, want)
			if n > length {
				if length, distance = n, at-from; n == most {
					break
				}
			}
		}
		place = d.before[from]
	}
	if length < matchMin {
		return 0, 0
	}
	return length, distance
}

// same is how many bytes want has in common with the longer have.
func same(have, want []byte) int {
	n := 0
	for ; n+8 <= len(want); n += 8 {
		if diff := binary.LittleEndian.Uint64(have[n:]) ^ binary.LittleEndian.Uint64(want[n:]); diff != 0 {
			return n + bits.TrailingZeros64(diff)/8
		}
	}
	for n < len(want) && have[n] == want[n] {
		n++
	}
	return n
}

func (d *deflater) literal(b byte) { d.symbol(uint32(b)) }

// symbol writes a literal, the end, or what a length begins with, by RFC 1951
// section 3.2.6. Codes are packed from their highest bit on.
func (d *deflater) symbol(n uint32) {
	switch {
	case n < 144:
		d.code(0x30+n, 8)
	case n < 256:
		d.code(0x190+n-144, 9)
	case n < 280:
		d.code(n-256, 7)
	default:
		d.code(0xc0+n-280, 8)
	}
}

// copied writes a length and a distance, by RFC 1951 section 3.2.5.
func (d *deflater) copied(length, distance int) {
	if length == matchMost {
		d.symbol(285)
	} else {
		n, extra, size := ranged(uint32(length-matchMin), 4)
		d.symbol(257 + n)
		d.bits(extra, size)
	}
	n, extra, size := ranged(uint32(distance-1), 2)
	d.code(n, 5)
	d.bits(extra, size)
}

// ranged splits a value into the number of its range and its place therein.
// Ranges double in size after every so many.
func ranged(v, each uint32) (n, extra uint32, size uint) {
	top := uint(bits.Len32(each)) // of the first range that has a place
	if l := uint(bits.Len32(v)); l > top {
		size = l - top
	}
	return uint32(size)*each + v>>size, v & (1<<size - 1), size
}

func (d *deflater) code(c uint32, size uint) {
	d.bits(bits.Reverse32(c)>>(32-size), size)
}

func (d *deflater) bits(v uint32, size uint) {
	d.acc |= uint64(v) << d.held
	if d.held += size; d.held >= 32 {
		d.out = binary.LittleEndian.AppendUint32(d.out, uint32(d.acc))
		d.acc >>= 32
		d.held -= 32
	}
}

// flush writes the bytes that are full.
func (d *deflater) flush() {
	for ; d.held >= 8; d.held -= 8 {
		d.out = append(d.out, byte(d.acc))
		d.acc >>= 8
	}
}
