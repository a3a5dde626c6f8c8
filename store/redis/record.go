package redis

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"sipvigil/store"
)

// Layouts of a record, in its field "schema". Records of the layout before are
// read, and written again in the present one.
const (
	schema    = "2"
	oldSchema = "1" // all in the hash, no text
)

// field is one field of a record R: how its value is appended to a text, without
// anything when it is to be left out, and how it is set.
type field[R any] struct {
	name   string
	append func([]byte, *R) []byte
	set    func(*R, string) error
}

// The fields of a record: those of the hash, which are short and change, and
// those of the text. The marks have a rule of their own and stand apart.
var (
	callFields   = fieldsOfCall()
	callTexts    = textsOfCall()
	dialogFields = [2][]field[store.Dialog]{fieldsOfDialog("caller."), fieldsOfDialog("callee.")}
	dialogTexts  = [2][]field[store.Dialog]{textsOfDialog("caller."), textsOfDialog("callee.")}
	healthFields = [2][]field[store.Health]{fieldsOfHealth("caller."), fieldsOfHealth("callee.")}
	markFields   = [2]field[store.Dialog]{markOf("caller."), markOf("callee.")}
)

func fieldsOfCall() []field[store.Call] {
	type call = store.Call
	return []field[call]{
		text("state", func(c *call) *store.State { return &c.State }),
		text("node", func(c *call) *string { return &c.Node }),
		number("epoch", func(c *call) *int64 { return &c.Epoch }),
		moment("answered", func(c *call) *time.Time { return &c.Answered }),
		text("ended_by", func(c *call) *store.Reason { return &c.End.Reason }),
		number("ended_status", func(c *call) *int { return &c.End.Status }),
		moment("ended_at", func(c *call) *time.Time { return &c.End.At }),
		text("caller.released", func(c *call) *store.Outcome { return &c.End.Released[store.Caller] }),
		text("callee.released", func(c *call) *store.Outcome { return &c.End.Released[store.Callee] }),
	}
}

func textsOfCall() []field[store.Call] {
	type call = store.Call
	return []field[call]{
		text("trunk_in", func(c *call) *string { return &c.TrunkIn }),
		text("trunk_out", func(c *call) *string { return &c.TrunkOut }),
		moment("started", func(c *call) *time.Time { return &c.Started }),
		text("ended_text", func(c *call) *string { return &c.End.Text }),
	}
}

func fieldsOfDialog(side string) []field[store.Dialog] {
	type dialog = store.Dialog
	return []field[dialog]{
		number(side+"remote_cseq", func(d *dialog) *uint32 { return &d.RemoteCSeq }),
		moment(side+"refreshed", func(d *dialog) *time.Time { return &d.Session.Refreshed }),
	}
}

func textsOfDialog(side string) []field[store.Dialog] {
	type dialog = store.Dialog
	return []field[dialog]{
		text(side+"call_id", func(d *dialog) *string { return &d.CallID }),
		text(side+"local_tag", func(d *dialog) *string { return &d.LocalTag }),
		text(side+"remote_tag", func(d *dialog) *string { return &d.RemoteTag }),
		text(side+"local_uri", func(d *dialog) *string { return &d.LocalURI }),
		text(side+"remote_uri", func(d *dialog) *string { return &d.RemoteURI }),
		text(side+"target", func(d *dialog) *string { return &d.Target }),
		routes(side + "route_set"),
		text(side+"transport", func(d *dialog) *string { return &d.Transport }),
		text(side+"peer", func(d *dialog) *string { return &d.Peer }),
		text(side+"listener", func(d *dialog) *string { return &d.Listener }),
		text(side+"seen", func(d *dialog) *string { return &d.Seen }),
		flag(side+"kept", func(d *dialog) *bool { return &d.Kept }),
		text(side+"user_agent", func(d *dialog) *string { return &d.UserAgent }),
		text(side+"allow", func(d *dialog) *string { return &d.Allow }),
		duration(side+"session_expires", time.Second, func(d *dialog) *time.Duration { return &d.Session.Interval }),
		duration(side+"min_se", time.Second, func(d *dialog) *time.Duration { return &d.Session.MinSE }),
		text(side+"refresher", func(d *dialog) *store.Refresher { return &d.Session.Refresher }),
		text(side+"offer", func(d *dialog) *string { return &d.Session.Offer }),
	}
}

func fieldsOfHealth(side string) []field[store.Health] {
	type health = store.Health
	return []field[health]{
		text(side+"liveness", func(h *health) *store.Liveness { return &h.Liveness }),
		moment(side+"last_alive", func(h *health) *time.Time { return &h.LastAlive }),
		text(side+"last_evidence", func(h *health) *string { return &h.LastEvidence }),
		number(side+"misses", func(h *health) *int { return &h.Misses }),
		duration(side+"rtt_ms", time.Millisecond, func(h *health) *time.Duration { return &h.RTT }),
		text(side+"method", func(h *health) *string { return &h.Method }),
		flag(side+"answers", func(h *health) *bool { return &h.Answers }),
		text(side+"calibration", func(h *health) *string { return &h.Calibration }),
	}
}

// markOf is the field of the mark. What is read back counts as spent.
func markOf(side string) field[store.Dialog] {
	f := number(side+"local_cseq", func(d *store.Dialog) *uint32 { return &d.LocalMark })
	set := f.set
	f.set = func(d *store.Dialog, v string) error {
		err := set(d, v)
		d.LocalCSeq = d.LocalMark
		return err
	}
	return f
}

// decodeCall makes a call of its hash and its text, and returns the hash of the
// text's lines, 0 where there is none.
func (t *texts) decodeCall(id string, hash map[string]string, text string) (c store.Call, sum uint64, err error) {
	c.ID = id
	switch hash["schema"] {
	case schema:
		sum, err = t.decode(&c, text)
	case oldSchema:
		err = setAll(textFields, &c, hash)
	default:
		err = fmt.Errorf("schema %q is not known", hash["schema"])
	}
	if err == nil {
		err = setAll(callFields, &c, hash)
	}
	for i := range c.Legs {
		if err == nil {
			err = setAll(dialogFields[i], &c.Legs[i].Dialog, hash)
		}
		if err == nil {
			err = setAll(markFields[i:i+1], &c.Legs[i].Dialog, hash)
		}
		if err == nil {
			err = setAll(healthFields[i], &c.Legs[i].Health, hash)
		}
	}
	if err != nil {
		return c, 0, fmt.Errorf("record of call %s: %w", id, err)
	}
	return c, sum, nil
}

func setAll[R any](fields []field[R], r *R, hash map[string]string) error {
	for i := range fields {
		if v, ok := hash[fields[i].name]; ok {
			if err := fields[i].set(r, v); err != nil {
				return fmt.Errorf("field %s: %w", fields[i].name, err)
			}
		}
	}
	return nil
}

func text[R any, S ~string](name string, at func(*R) *S) field[R] {
	return field[R]{
		name:   name,
		append: func(to []byte, r *R) []byte { return append(to, *at(r)...) },
		set:    func(r *R, v string) error { *at(r) = S(v); return nil },
	}
}

func number[R any, N int | int64 | uint32](name string, at func(*R) *N) field[R] {
	return field[R]{
		name: name,
		append: func(to []byte, r *R) []byte {
			if *at(r) == 0 {
				return to
			}
			return strconv.AppendInt(to, int64(*at(r)), 10)
		},
		set: func(r *R, v string) error {
			n, err := strconv.ParseInt(v, 10, 64)
			if err == nil && int64(N(n)) != n {
				err = strconv.ErrRange
			}
			*at(r) = N(n)
			return err
		},
	}
}

// instant is RFC 3339 with milliseconds.
const instant = "2006-01-02T15:04:05.000Z07:00"

func moment[R any](name string, at func(*R) *time.Time) field[R] {
	return field[R]{
		name: name,
		append: func(to []byte, r *R) []byte {
			if at(r).IsZero() {
				return to
			}
			return at(r).UTC().AppendFormat(to, instant)
		},
		set: func(r *R, v string) (err error) {
			*at(r), err = time.Parse(instant, v)
			return err
		},
	}
}

// duration is a number of units, with a fraction where it needs one.
func duration[R any](name string, unit time.Duration, at func(*R) *time.Duration) field[R] {
	return field[R]{
		name: name,
		append: func(to []byte, r *R) []byte {
			if *at(r) == 0 {
				return to
			}
			return strconv.AppendFloat(to, float64(*at(r))/float64(unit), 'f', -1, 64)
		},
		set: func(r *R, v string) error {
			n, err := strconv.ParseFloat(v, 64)
			*at(r) = time.Duration(math.Round(n * float64(unit)))
			return err
		},
	}
}

func flag[R any](name string, at func(*R) *bool) field[R] {
	return field[R]{
		name: name,
		append: func(to []byte, r *R) []byte {
			if !*at(r) {
				return to
			}
			return append(to, "true"...)
		},
		set: func(r *R, v string) (err error) {
			*at(r), err = strconv.ParseBool(v)
			return err
		},
	}
}

// routes is a list of quoted strings. It reads like JSON, but keeps bytes that
// are no characters.
func routes(name string) field[store.Dialog] {
	return field[store.Dialog]{
		name: name,
		append: func(to []byte, d *store.Dialog) []byte {
			if len(d.RouteSet) == 0 {
				return to
			}
			to = append(to, '[')
			for i, route := range d.RouteSet {
				if i > 0 {
					to = append(to, ", "...)
				}
				to = strconv.AppendQuote(to, route)
			}
			return append(to, ']')
		},
		set: func(d *store.Dialog, v string) error {
			rest := strings.TrimSuffix(strings.TrimPrefix(v, "["), "]")
			d.RouteSet = nil
			for rest != "" {
				quoted, err := strconv.QuotedPrefix(rest)
				if err != nil {
					return err
				}
				route, err := strconv.Unquote(quoted)
				if err != nil {
					return err
				}
				d.RouteSet = append(d.RouteSet, route)
				rest = strings.TrimPrefix(rest[len(quoted):], ", ")
			}
			return nil
		},
	}
}
