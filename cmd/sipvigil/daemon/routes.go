package daemon

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sipvigil/b2bua"
	"sipvigil/store"
)

// mostWeight bounds a weight, and mostChannels a capacity.
const (
	mostWeight   = 65535
	mostChannels = 1_000_000
)

// whenFull are the values of when_full and the status that each stands for.
var whenFull = map[string]int{"": 0, "next": 0, "486": 486, "503": 503}

// limit is what the trunk takes.
func (t *Trunk) limit() store.Limit {
	return store.Limit{In: t.Capacity.In, Out: t.Capacity.Out, Total: t.Capacity.Total, PerSecond: t.CPS}
}

func validateCapacity(t *Trunk, path string, fault report) {
	for _, n := range []struct {
		key   string
		value int
	}{{"capacity.in", t.Capacity.In}, {"capacity.out", t.Capacity.Out}, {"capacity.total", t.Capacity.Total}, {"cps", t.CPS}} {
		if n.value < 0 || n.value > mostChannels {
			fault(path+"."+n.key, "%d is not from 0 (no limit) to %d", n.value, mostChannels)
		}
	}
	if _, ok := whenFull[t.WhenFull]; !ok {
		fault(path+".when_full", "%q is neither next, 486 nor 503", t.WhenFull)
	} else if t.WhenFull != "" && t.limit() == (store.Limit{}) {
		fault(path+".when_full", "has no effect without capacity or cps")
	}
}

// agent is the route as b2bua has it. Validate has compiled its expressions.
func (r *Route) agent() b2bua.Route {
	user, _ := expression(r.User, r.Prefix)
	caller, _ := expression(r.Caller, r.CallerPrefix)
	return b2bua.Route{From: r.From, User: user, Caller: caller, SetUser: r.SetUser, SetCaller: r.SetCaller,
		To: r.To, Choose: b2bua.Choice(r.Choose), Weights: r.Weights}
}

// expression is that of a number: as it is given, or one whose first group is
// what follows the longest of these prefixes. Without either it is nil.
func expression(text string, prefixes []string) (*regexp.Regexp, error) {
	if len(prefixes) > 0 {
		sorted := slices.Clone(prefixes)
		slices.SortStableFunc(sorted, func(a, b string) int { return len(b) - len(a) })
		for i, p := range sorted {
			sorted[i] = regexp.QuoteMeta(p)
		}
		text = "^(?:" + strings.Join(sorted, "|") + ")(.*)$"
	}
	if text == "" {
		return nil, nil
	}
	return regexp.Compile(text)
}

func validateRoutes(routes []Route, trunks map[string]*Trunk, fault report) {
	for i := range routes {
		r, path := &routes[i], item("routes", i)
		if r.From != "" && r.From != b2bua.OtherTrunk && trunks[r.From] == nil {
			fault(path+".from", "there is no trunk %q", r.From)
		}
		validateNumber(path, numberKeys{"user", "prefix", "set_user", r.User, r.Prefix, r.SetUser}, fault)
		validateNumber(path, numberKeys{"caller", "caller_prefix", "set_caller", r.Caller, r.CallerPrefix, r.SetCaller}, fault)
		if len(r.To) == 0 {
			fault(path+".to", "is empty: a route leads to at least one trunk")
		}
		for j, name := range r.To {
			switch t := trunks[name]; {
			case t == nil:
				fault(item(path+".to", j), "there is no trunk %q", name)
			case len(t.Targets) == 0:
				fault(item(path+".to", j), "trunk %q has no targets", name)
			case slices.Contains(r.To[:j], name):
				fault(item(path+".to", j), "trunk %q is there already", name)
			case r.Choose == "free" && t.Capacity == (Capacity{}):
				fault(item(path+".to", j), "trunk %q has no capacity, by which choose: free could tell how much is free", name)
			}
		}
		validateChoice(r, path, fault)
	}
}

func validateChoice(r *Route, path string, fault report) {
	switch {
	case !slices.Contains([]string{"", "order", "weight", "free"}, r.Choose):
		fault(path+".choose", "%q is neither order, weight nor free", r.Choose)
	case r.Choose == "weight" && len(r.Weights) != len(r.To):
		fault(path+".weights", "there are %d for %d trunks: give one for each", len(r.Weights), len(r.To))
	case r.Choose != "weight" && len(r.Weights) > 0:
		fault(path+".weights", "has no effect without choose: weight")
	}
	for j, w := range r.Weights {
		if w < 0 || w > mostWeight {
			fault(item(path+".weights", j), "%d is not from 0 (when nothing else is left) to %d", w, mostWeight)
		}
	}
}

// numberKeys are the keys of a route about one number, and their values.
type numberKeys struct {
	match, prefix, set string
	text               string
	prefixes           []string
	template           string
}

func validateNumber(path string, k numberKeys, fault report) {
	re, err := expression(k.text, nil)
	if err != nil {
		fault(path+"."+k.match, "is not a regular expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		return
	}
	if k.text != "" && len(k.prefixes) > 0 {
		fault(path+"."+k.prefix, "goes before %s, so that this has no effect: give one of the two", k.match)
	}
	for j, p := range k.prefixes {
		if !literal.MatchString(p) {
			fault(item(path+"."+k.prefix, j), "%q is not the beginning of a number", p)
		}
	}
	groups, names := 1, []string(nil)
	if re != nil {
		groups, names = re.NumSubexp(), re.SubexpNames()
	}
	if why := badTemplate(k.template, groups, names); why != "" {
		fault(path+"."+k.set, "%q %s", k.template, why)
	}
}

var (
	literal   = regexp.MustCompile(`^(?:[A-Za-z0-9._!~*'()&=+$,/-]|%[0-9A-Fa-f]{2})+$`)
	reference = regexp.MustCompile(`\$(?:\$|\w+|\{\w*\})`)
)

// badTemplate says what is wrong with what a number is to become, "" for nothing.
func badTemplate(template string, groups int, names []string) string {
	for _, ref := range reference.FindAllString(template, -1) {
		name := strings.Trim(ref, "${}")
		n, err := strconv.Atoi(name)
		if ref != "$$" && (err != nil || n > groups) && (name == "" || !slices.Contains(names, name)) {
			return fmt.Sprintf("refers to %s, and there is no such group: digits and letters after $1 need braces, ${1}", ref)
		}
	}
	if rest := reference.ReplaceAllString(template, ""); rest != "" && !literal.MatchString(rest) {
		return "has characters that no number has"
	}
	return ""
}
