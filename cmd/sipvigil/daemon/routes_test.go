package daemon

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"sipvigil/b2bua"
	"sipvigil/store"
)

func TestRoutesAndCapacitiesAreRead(t *testing.T) {
	got, err := load(t, `
trunks:
  - {name: a, targets: [sip:a.example], capacity: 50, cps: 7, when_full: 486}
  - {name: b, targets: [sip:b.example], capacity: {in: 10, out: 20, total: 25}}
  - {name: c, targets: [sip:c.example]}
routes:
  - {prefix: ["00", "0011"], caller: "^0(.*)$", set_user: "+$1", set_caller: "+49$1", to: [a, b], choose: weight, weights: [70, 30]}
  - {user: "^1", caller_prefix: ["+"], to: [a, b], choose: free}
  - {set_user: "$$${1}5", to: [c], choose: order}
`, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	agent := agentConfig(got)
	var limits []store.Limit
	var full []int
	for _, trunk := range agent.Trunks {
		limits, full = append(limits, trunk.Limit), append(full, trunk.WhenFull)
	}
	if d := cmp.Diff([]store.Limit{{Total: 50, PerSecond: 7}, {In: 10, Out: 20, Total: 25}, {}}, limits); d != "" {
		t.Errorf("limits (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]int{486, 0, 0}, full); d != "" {
		t.Errorf("when full (-want +got):\n%s", d)
	}
	type route struct {
		User, Caller, SetUser, SetCaller string
		Choose                           b2bua.Choice
		Weights                          []int
	}
	var routes []route
	for _, r := range agent.Routes {
		text := route{SetUser: r.SetUser, SetCaller: r.SetCaller, Choose: r.Choose, Weights: r.Weights}
		if r.User != nil {
			text.User = r.User.String()
		}
		if r.Caller != nil {
			text.Caller = r.Caller.String()
		}
		routes = append(routes, text)
	}
	want := []route{
		{`^(?:0011|00)(.*)$`, `^0(.*)$`, "+$1", "+49$1", "weight", []int{70, 30}},
		{`^1`, `^(?:\+)(.*)$`, "", "", "free", nil},
		{"", "", "$$${1}5", "", "order", nil},
	}
	if d := cmp.Diff(want, routes); d != "" {
		t.Errorf("routes (-want +got):\n%s", d)
	}
}

func TestFaultsOfRoutesAndCapacities(t *testing.T) {
	_, err := load(t, `trunks:
  - {name: a, targets: [sip:a.example], capacity: {in: -1, both: 3}, cps: -2, when_full: 404}
  - {name: b, targets: [sip:b.example], when_full: next}
routes:
  - {user: "^0", prefix: ["0"], set_user: "$1", caller: "(", to: [a]}
  - {prefix: ["", "0?"], set_user: "+$2", set_caller: "$10", to: [a, a]}
  - {user: "^(?P<rest>.*)$", set_user: "${rest} ", set_caller: "${x}", to: [b], choose: free}
  - {to: [a, b], choose: weight, weights: [1]}
  - {to: [a, b], weights: [1, 2]}
  - {to: [a, b], choose: best}
  - {to: [a], choose: weight, weights: [-1]}
`, nil, nil)
	wantFaults(t, err,
		`sipvigil.yaml:2: trunks[0].capacity: unknown key "both", there are in, out, total`,
		`sipvigil.yaml:2: trunks[0].capacity.in: -1 is not from 0 (no limit) to 1000000`,
		`sipvigil.yaml:2: trunks[0].cps: -2 is not from 0 (no limit) to 1000000`,
		`sipvigil.yaml:2: trunks[0].when_full: "404" is neither next, 486 nor 503`,
		`sipvigil.yaml:3: trunks[1].when_full: has no effect without capacity or cps`,
		`sipvigil.yaml:5: routes[0].prefix: goes before user, so that this has no effect: give one of the two`,
		`sipvigil.yaml:5: routes[0].set_user: "$1" refers to $1, and there is no such group: digits and letters after $1 need braces, ${1}`,
		"sipvigil.yaml:5: routes[0].caller: is not a regular expression: missing closing ): `(`",
		`sipvigil.yaml:6: routes[1].prefix[0]: "" is not the beginning of a number`,
		`sipvigil.yaml:6: routes[1].prefix[1]: "0?" is not the beginning of a number`,
		`sipvigil.yaml:6: routes[1].set_user: "+$2" refers to $2, and there is no such group: digits and letters after $1 need braces, ${1}`,
		`sipvigil.yaml:6: routes[1].set_caller: "$10" refers to $10, and there is no such group: digits and letters after $1 need braces, ${1}`,
		`sipvigil.yaml:6: routes[1].to[1]: trunk "a" is there already`,
		`sipvigil.yaml:7: routes[2].set_user: "${rest} " has characters that no number has`,
		`sipvigil.yaml:7: routes[2].set_caller: "${x}" refers to ${x}, and there is no such group: digits and letters after $1 need braces, ${1}`,
		`sipvigil.yaml:7: routes[2].to[0]: trunk "b" has no capacity, by which choose: free could tell how much is free`,
		`sipvigil.yaml:8: routes[3].weights: there are 1 for 2 trunks: give one for each`,
		`sipvigil.yaml:9: routes[4].weights: has no effect without choose: weight`,
		`sipvigil.yaml:10: routes[5].choose: "best" is neither order, weight nor free`,
		`sipvigil.yaml:11: routes[6].weights[0]: -1 is not from 0 (when nothing else is left) to 65535`,
	)
}
