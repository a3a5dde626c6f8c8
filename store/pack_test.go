package store_test

import (
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sipvigil/store"
	"sipvigil/store/storetest"
)

func TestAPackedCallReadsAsItWas(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := storetest.Call()
		text := rapid.SampledFrom([]string{"", "a", "sip:é@x\r\n\x00\xff", strings.Repeat("x", 127), strings.Repeat("y", 128), strings.Repeat("z", 70_000)})
		want.ID, want.TrunkIn = text.Draw(rt, "id"), text.Draw(rt, "trunk")
		for i := range want.Legs {
			leg := want.Leg(store.Side(i))
			leg.CallID, leg.Allow, leg.RemoteTag = text.Draw(rt, "Call-ID"), text.Draw(rt, "Allow"), text.Draw(rt, "tag")
			leg.RouteSet = nil
			if routes := rapid.SliceOfN(text, 0, 200).Draw(rt, "routes"); len(routes) > 0 {
				leg.RouteSet = routes
			}
			if rapid.Bool().Draw(rt, "has a session timer") {
				leg.Session = store.Session{Interval: 90 * time.Second, MinSE: time.Hour, Refresher: store.Self,
					Refreshed: want.Answered, Offer: text.Draw(rt, "offer")}
			}
			if rapid.Bool().Draw(rt, "was asked") {
				leg.Health = storetest.Health()
			}
		}
		if rapid.Bool().Draw(rt, "is over") {
			want.State, want.End = store.Terminated, store.End{Reason: store.Operator, Status: 200, Text: text.Draw(rt, "why"), At: want.Answered}
		}
		if rapid.Bool().Draw(rt, "was never answered") {
			want.Answered = time.Time{}
		}
		p := store.Pack(want)
		same(rt, "unpacked", want, p.Call())

		compact := want
		compact.Legs[0].RouteSet = append([]string(nil), want.Legs[0].RouteSet...)
		compact.Compact()
		again := store.Pack(compact)
		if unsafe.StringData(again.Text) != unsafe.StringData(compact.Text) {
			rt.Error("what is compact was packed into a text of its own")
		}
		compact.Text = ""
		same(rt, "compact", want, compact)
	})
}

func TestATextThatIsOutOfDateIsMadeAnew(t *testing.T) {
	for name, change := range map[string]func(*store.Call){
		"the last text":  func(c *store.Call) { c.Legs[1].Allow = "INVITE" },
		"a longer one":   func(c *store.Call) { c.Legs[0].Target += ";x" },
		"one route less": func(c *store.Call) { c.Legs[1].RouteSet = c.Legs[1].RouteSet[:1] },
		"one route more": func(c *store.Call) { c.Legs[0].RouteSet = append(c.Legs[0].RouteSet, "<sip:x>") },
		"another route":  func(c *store.Call) { c.Legs[1].RouteSet[1] = "<sip:x>" },
		"no text at all": func(c *store.Call) { c.Text = "\xff\xff\xff\xff\xff" },
		"a cut one":      func(c *store.Call) { c.Text = c.Text[:len(c.Text)-1] },
	} {
		t.Run(name, func(t *testing.T) {
			c := storetest.Call()
			c.Compact()
			change(&c)
			p := store.Pack(c)
			c.Text = ""
			same(t, "unpacked", c, p.Call())
		})
	}
}

func TestMakingACallCompactChangesNoOther(t *testing.T) {
	c := storetest.Call()
	other := c // shares its routes
	c.Legs[0].Target = "sip:elsewhere"
	c.Compact()
	c.Legs[0].RouteSet[0] = "<sip:x>"
	if other.Legs[0].RouteSet[0] == "<sip:x>" {
		t.Error("two calls share their routes")
	}
}

func same(t interface {
	Helper()
	Errorf(string, ...any)
}, what string, want, got store.Call,
) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
