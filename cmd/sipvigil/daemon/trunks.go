package daemon

import (
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"sipvigil/b2bua/dialog"
	"sipvigil/supervisor/links"
)

// validateTrunks returns the trunks by name.
func validateTrunks(trunks []Trunk, fault report) map[string]*Trunk {
	byName := make(map[string]*Trunk)
	owner := make(map[netip.Prefix]string)
	for i := range trunks {
		t, path := &trunks[i], item("trunks", i)
		switch {
		case t.Name == "":
			fault(path, "has no name")
		case !namePattern.MatchString(t.Name):
			fault(path+".name", "%q is not a name of at most 63 letters, digits, '.', '_' and '-' that begins with a letter or digit", t.Name)
		case byName[t.Name] != nil:
			fault(path+".name", "there is a trunk %q already", t.Name)
		default:
			byName[t.Name] = t
		}
		validateTrunk(t, path, fault)
		for j, source := range t.Sources {
			p, err := ParseSource(source)
			if err != nil {
				fault(item(path+".sources", j), "%v", err)
				continue
			}
			if other, taken := owner[p]; taken {
				fault(item(path+".sources", j), "%s belongs to trunk %q already", p, other)
				continue
			}
			owner[p] = t.Name
		}
	}
	for i := range trunks {
		path := item("trunks", i) + ".coupled_to"
		switch other := byName[trunks[i].CoupledTo]; {
		case trunks[i].CoupledTo == "":
		case other == nil:
			fault(path, "there is no trunk %q", trunks[i].CoupledTo)
		case other.Name == trunks[i].Name:
			fault(path, "is the trunk itself")
		case other.Monitor == nil:
			fault(path, "trunk %q has no monitor, so that nobody knows when it is down", other.Name)
		}
	}
	return byName
}

// validateTrunk looks at what is said of one trunk alone.
func validateTrunk(t *Trunk, path string, fault report) {
	if t.Action != "" && !isAction(t.Action) {
		fault(path+".action", "%q is neither hangup nor observe", t.Action)
	}
	if len(t.Targets) == 0 && len(t.Sources) == 0 {
		fault(path, "has neither targets nor sources")
	}
	if t.NAT != "" && t.NAT != "auto" && t.NAT != "off" {
		fault(path+".nat", "%q is neither auto nor off", t.NAT)
	}
	if t.RefuseWith != "" && t.RefuseWith != refuseDrop && !slices.Contains(refuseCodes, t.RefuseWith) {
		fault(path+".refuse_with", "%q is neither drop nor one of %s", t.RefuseWith, strings.Join(refuseCodes, ", "))
	}
	validateCapacity(t, path, fault)
	switch c := t.Credentials; {
	case c.Username == "" && c.PasswordFile != "":
		fault(path+".credentials", "has a password_file but no username")
	case c.Username == "" && c.Realm != "":
		fault(path+".credentials", "has a realm but no username")
	case c.Username != "" && c.PasswordFile == "":
		fault(path+".credentials", "has a username but no password_file")
	case strings.ContainsFunc(c.Username, func(r rune) bool { return !unicode.IsPrint(r) || r == ':' }):
		fault(path+".credentials.username", "%q holds a colon or a control character, which no password goes with", c.Username)
	}
	validateMonitor(t, path, fault)
	for j, target := range t.Targets {
		if err := checkTarget(target); err != nil {
			fault(item(path+".targets", j), "%q %v", target, err)
		}
	}
}

// validateMonitor looks at what is given and at what comes of it with the
// preset.
func validateMonitor(t *Trunk, path string, fault report) {
	m := t.Monitor
	if m == nil {
		return
	}
	path += ".monitor"
	if len(t.Targets) == 0 {
		fault(path, "has no effect without targets, whose addresses are watched")
	}
	if _, ok := links.Preset(m.Preset); m.Preset != "" && !ok {
		fault(path+".preset", "%q is none of %s", m.Preset, strings.Join(links.Presets(), ", "))
	}
	c := m.links(func(key, format string, args ...any) { fault(path+"."+key, format, args...) })
	for key, err := range c.Faults() {
		fault(path+"."+key, "%v", err)
	}
	for _, target := range t.Targets {
		u, err := dialog.ParseURI(target)
		over, _ := u.Param("transport")
		if err == nil && (c.Probe == links.CRLF || c.Probe == links.TCP) && !strings.EqualFold(over, "tcp") && !strings.EqualFold(over, "tls") {
			fault(path+".probe", "%s needs a connection: give target %q transport=tcp or transport=tls", c.Probe, target)
		}
	}
}
